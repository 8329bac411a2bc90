//! Computes the requests that a replay would send. This module is pure: it uses no IO, no clock and no random numbers.

use std::collections::BTreeMap;

use super::entries::{FieldView, field_views};
use crate::event::{Version, Visibility};
use crate::fold::{Candidate, FoldEnd, MaxFold, fold};
use crate::imprint::Update;
use crate::outbox::{EntryId, LaneKey, LoadedEntries, LoadedEntry, LoadedLane, Replay};
use crate::time::Timestamp;

/// The request that a replay would send for one customer, with masked values.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedRequest {
    pub customer: String,
    /// The entries in the request, including entries that already wait.
    pub entries: Vec<EntryId>,
    /// The replayed entries that would become superseded, because other entries in the same request have newer values.
    pub superseded: Vec<EntryId>,
    pub values: Vec<FieldView>,
}

/// One entry to replay, with the entry's version and update.
type ReplayCandidate<'a> = (&'a LoadedEntry, Version, &'a Update);

/// Computes the requests of a replay: for each customer, folds the entries to replay with the waiting entries, as
/// delivery does. Also returns the replayed entries that would send nothing.
pub(super) fn preview(
    loaded: &LoadedEntries,
    replays: &[Replay],
    max: MaxFold,
    now: Timestamp,
) -> (Vec<ReplayedRequest>, Vec<EntryId>) {
    let mut customers: BTreeMap<String, Vec<ReplayCandidate<'_>>> = BTreeMap::new();
    for replay in replays {
        let mut entries = loaded.entries.iter();
        let entry = entries.find(|entry| entry.summary.receipt.entry == replay.entry);
        if let Some(entry) = entry
            && let Some((version, update)) = change(entry, replay)
        {
            let replayed = customers.entry(customer(entry, replay)).or_default();
            replayed.push((entry, version, update));
        }
    }
    let (mut requests, mut stale) = (Vec::new(), Vec::new());
    let no_lane = LoadedLane::default();
    for (customer, replayed) in customers {
        let place = replayed.first().and_then(|(entry, ..)| entry.lane);
        let lane = place.and_then(|place| loaded.lanes.get(place));
        let (request, overtaken) = request(customer, lane.unwrap_or(&no_lane), &replayed, max, now);
        requests.push(request);
        stale.extend(overtaken);
    }
    stale.sort_unstable();
    (requests, stale)
}

/// Computes the request for one customer, and finds the replayed entries that would send nothing.
fn request(
    customer: String,
    lane: &LoadedLane,
    replayed: &[ReplayCandidate<'_>],
    max: MaxFold,
    now: Timestamp,
) -> (ReplayedRequest, Vec<EntryId>) {
    let waiting = lane.waiting.iter().map(|waiting| waiting.candidate());
    let again = replayed.iter().map(|(_, version, update)| Candidate {
        version: *version,
        update,
    });
    let candidates: Vec<_> = waiting.chain(again).collect();
    let fold = fold(&lane.versions, &candidates, max, now);
    let is_replayed = |entry: &u64| {
        let mut replayed = replayed.iter();
        replayed.any(|(_, version, _)| version.arrival == *entry)
    };
    let stale = fold.stale.iter().filter(|(entry, _)| is_replayed(entry));
    let stale = stale.map(|(entry, _)| EntryId(*entry)).collect();
    let superseded = fold
        .finished
        .iter()
        .filter(|(entry, end)| is_replayed(entry) && matches!(end, FoldEnd::Superseded(_)));
    let request = ReplayedRequest {
        customer,
        entries: fold.carried.iter().copied().map(EntryId).collect(),
        superseded: superseded.map(|(entry, _)| EntryId(*entry)).collect(),
        values: field_views(Visibility::Masked, &fold.update),
    };
    (request, stale)
}

/// Returns the version and the update of an entry: the result of the current mapping if the replay maps the event
/// again, otherwise the stored version and update.
fn change<'a>(entry: &'a LoadedEntry, replay: &'a Replay) -> Option<(Version, &'a Update)> {
    match (&replay.change, &entry.update) {
        (Some(change), _) => Some((change.version.arrived(replay.entry.0), &change.update)),
        (None, Some((version, update))) => Some((*version, update)),
        (None, None) => None,
    }
}

fn customer(entry: &LoadedEntry, replay: &Replay) -> String {
    if let Some(change) = &replay.change {
        let imprint = change.customer.imprint().map(|imprint| imprint.canonical());
        let partner = change.customer.partner().map(|partner| partner.as_str());
        return imprint
            .or_else(|| partner.map(str::to_owned))
            .unwrap_or_default();
    }
    match &entry.summary.customer {
        Some(LaneKey::Imprint(imprint)) => imprint.canonical(),
        Some(LaneKey::Partner(partner)) => partner.as_str().to_owned(),
        None => String::new(),
    }
}
