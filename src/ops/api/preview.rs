//! What a replay would send, before anybody does it. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::facts::facts;
use crate::event::{Version, Visibility};
use crate::fold::{Candidate, FoldEnd, MaxFold, fold};
use crate::imprint::Update;
use crate::outbox::{Inspection, LaneKey, Replay};
use crate::time::Timestamp;

/// What would be sent, and what would not be any more.
pub(super) struct Preview {
    /// One for each lane, values masked.
    pub(super) requests: Vec<Value>,
    /// The entries of which everything has been overtaken.
    pub(super) stale: Vec<u64>,
}

/// Folds what would be replayed with what waits beside it, as delivery will.
pub(super) fn preview(
    inspections: &[Inspection],
    replays: &[Replay],
    max: MaxFold,
    now: Timestamp,
) -> Preview {
    let mut lanes: BTreeMap<String, Vec<(&Inspection, Version, &Update)>> = BTreeMap::new();
    for replay in replays {
        let inspection = inspections
            .iter()
            .find(|inspection| inspection.listed.receipt.entry == replay.entry);
        if let Some(inspection) = inspection
            && let Some((version, update)) = stated(inspection, replay)
        {
            let whose = whose(inspection, replay);
            lanes
                .entry(whose)
                .or_default()
                .push((inspection, version, update));
        }
    }
    let (mut requests, mut stale) = (Vec::new(), Vec::new());
    for (customer, replayed) in lanes {
        let Some((first, ..)) = replayed.first() else {
            continue;
        };
        let waiting = first.waiting.iter().map(|waiting| waiting.candidate());
        let again = replayed.iter().map(|(_, version, update)| Candidate {
            version: *version,
            update,
        });
        let candidates: Vec<_> = waiting.chain(again).collect();
        let fold = fold(&first.versions, &candidates, max, now);
        let is_ours = |entry: &u64| {
            replayed
                .iter()
                .any(|(_, version, _)| version.arrival == *entry)
        };
        let over = fold.stale.iter().filter(|(entry, _)| is_ours(entry));
        stale.extend(over.map(|(entry, _)| *entry));
        let beaten = fold
            .finished
            .iter()
            .filter(|(entry, end)| is_ours(entry) && matches!(end, FoldEnd::Superseded(_)));
        requests.push(json!({
            "customer": customer,
            "entries": fold.carried,
            "beaten": beaten.map(|(entry, _)| *entry).collect::<Vec<_>>(),
            "facts": facts(Visibility::Masked, &fold.update),
        }));
    }
    stale.sort_unstable();
    Preview { requests, stale }
}

/// What an entry would state, and how new that is.
fn stated<'a>(inspection: &'a Inspection, replay: &'a Replay) -> Option<(Version, &'a Update)> {
    match (&replay.change, &inspection.facts) {
        (Some(change), _) => Some((change.version.arrived(replay.entry.0), &change.update)),
        (None, Some((version, update))) => Some((*version, update)),
        (None, None) => None,
    }
}

fn whose(inspection: &Inspection, replay: &Replay) -> String {
    if let Some(change) = &replay.change {
        let imprint = change.customer.imprint().map(|imprint| imprint.canonical());
        let partner = change.customer.partner().map(|partner| partner.as_str());
        return imprint
            .or_else(|| partner.map(str::to_owned))
            .unwrap_or_default();
    }
    match &inspection.listed.customer {
        Some(LaneKey::Imprint(imprint)) => imprint.canonical(),
        Some(LaneKey::Partner(partner)) => partner.as_str().to_owned(),
        None => String::new(),
    }
}
