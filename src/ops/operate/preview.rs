//! Computes the requests and the results of a replay. This module is pure: it uses no IO, no clock and no random numbers.
//!
//! The preview puts the entries into the lane that they would join, and then runs the steps of dispatch for this lane: it
//! starts an exchange, assumes that Imprint applies the request, and settles the lane. The preview repeats these steps
//! until no replayed entry waits.

use super::entries::{FieldView, field_views};
use super::replay::IgnoredEntry;
use crate::dispatch::lane_exchange::{Conclusion, ExchangeStep, ImprintCall, LaneExchange};
use crate::dispatch::moment::Moment;
use crate::dispatch::policy::Decision;
use crate::dispatch::rules::DeliveryRules;
use crate::dispatch::settlement::settlement;
use crate::event::{Version, Visibility};
use crate::fold::{Fold, LaneVersions, MaxFold, fold};
use crate::imprint::{Echo, Field};
use crate::outbox::{
    ClaimToken, ClaimedLane, Ending, EntryId, FieldOrigin, LaneId, LaneKey, LoadedEntry,
    LoadedLane, Replay, ReplayChange, Trials, WaitingEntry,
};
use crate::time::Timestamp;

/// One request that a replay would send, with masked values.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedRequest {
    pub customer: LaneKey,
    /// The entries in the request, including entries that already wait.
    pub entries: Vec<EntryId>,
    /// The fields of the request, and the cleared fields that the request omits.
    pub fields: Vec<ReplayedField>,
}

/// One field of a request that a replay would send, beside what Imprint has of this field.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedField {
    /// The field with the value of the request, masked.
    pub view: FieldView,
    /// The version of this value. The `arrival` of the version is the number of the entry that contains the value.
    pub version: Option<Version>,
    /// The value that Imprint has from the bridge before the request. `None` means that the bridge has delivered no value of
    /// this field. Its `event` is `None` too after the first [`ORIGIN_CUSTOMERS_MAX`](super::ORIGIN_CUSTOMERS_MAX) customers, and
    /// if an earlier request of the same replay delivers the value.
    pub delivered: Option<FieldOrigin>,
}

/// The result that a replayed entry would have if Imprint applied every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedEntry {
    pub entry: EntryId,
    /// The ending of the entry. `None` means that dispatch must first ask Imprint about the customer.
    pub ending: Option<Ending>,
    /// The fields of the entry for which Imprint would get or already has a newer value, each with the entry of the newer
    /// value.
    pub overtaken: Vec<(Field, EntryId)>,
}

impl ReplayedEntry {
    pub(super) const fn ignored(IgnoredEntry { entry, reason }: IgnoredEntry) -> Self {
        Self {
            entry,
            ending: Some(Ending::Ignored(reason)),
            overtaken: Vec::new(),
        }
    }
}

/// The requests and the results of a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Forecast {
    pub(super) requests: Vec<ReplayedRequest>,
    pub(super) entries: Vec<ReplayedEntry>,
}

/// Returns the waiting entry that a replay makes of a loaded entry: with the result of the current mapping if the replay
/// maps the event again, otherwise with the stored update. Returns `None` if the entry becomes ignored, or if the bridge
/// cannot read the stored update.
pub(super) fn replayed(entry: &LoadedEntry, replay: &Replay) -> Option<WaitingEntry> {
    let receipt = &entry.summary.receipt;
    let (version, update, customer, jump_max) = match &replay.change {
        ReplayChange::Ignored(_) => return None,
        ReplayChange::Mapped(change) => (
            change.version.arrived(replay.entry.0),
            change.update.clone(),
            change.customer.clone(),
            change.jump_max,
        ),
        ReplayChange::Stored => {
            let (version, update) = entry.update.clone()?;
            (version, update, entry.customer.clone()?, entry.jump_max)
        }
    };
    Some(WaitingEntry {
        entry: replay.entry,
        version,
        update,
        customer,
        jump_max,
        source: receipt.identity.source.clone(),
        accepted_at: receipt.accepted_at,
        floors: None,
    })
}

/// Computes the requests and the results of a replay. `lanes` has the lane of each replayed entry.
pub(super) fn forecast(
    replayed: Vec<WaitingEntry>,
    lanes: Vec<LoadedLane>,
    rules: &DeliveryRules,
    now: Timestamp,
) -> Forecast {
    let mut customers: Vec<(LoadedLane, Vec<WaitingEntry>)> = Vec::new();
    for (entry, lane) in replayed.into_iter().zip(lanes) {
        match customers
            .iter_mut()
            .find(|(known, _)| known.key == lane.key)
        {
            Some((_, entries)) => entries.push(entry),
            None => customers.push((lane, vec![entry])),
        }
    }
    let mut forecast = Forecast::default();
    for (lane, replayed) in customers {
        LanePreview::new(lane, replayed).run(rules, now, &mut forecast);
    }
    forecast.entries.sort_by_key(|result| result.entry);
    forecast
}

/// The preview of one customer's lane.
struct LanePreview {
    claimed: ClaimedLane,
    /// The replayed entries that still wait.
    replayed: Vec<WaitingEntry>,
}

impl LanePreview {
    fn new(lane: LoadedLane, replayed: Vec<WaitingEntry>) -> Self {
        let mut waiting = lane.waiting;
        waiting.extend(replayed.iter().cloned());
        waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.entry));
        let empty = ClaimedLane::empty(LaneId(0), ClaimToken::default(), Trials::default());
        let claimed = ClaimedLane {
            key: Some(lane.key),
            versions: lane.versions,
            links: lane.links,
            waiting,
            ..empty
        };
        Self { claimed, replayed }
    }

    /// Runs the steps of dispatch. Each step ends at least one entry, so the number of steps is at most the number of
    /// waiting entries.
    fn run(mut self, rules: &DeliveryRules, now: Timestamp, forecast: &mut Forecast) {
        while !self.replayed.is_empty() {
            let (exchange, step) = LaneExchange::start(self.claimed.clone(), rules, now);
            let decision = match step {
                ExchangeStep::Call(ImprintCall::Update(_)) => {
                    let request = self.request(&exchange.fold, rules);
                    forecast.requests.extend(request);
                    Decision::Deliver(Echo::default())
                }
                ExchangeStep::Conclude(Conclusion::NothingToSend) => Decision::NothingToSend,
                ExchangeStep::Conclude(Conclusion::ProvenAbsent) => Decision::CustomerUnknown,
                ExchangeStep::Call(ImprintCall::Retrieve(_) | ImprintCall::Search(_))
                | ExchangeStep::Conclude(_) => break,
            };
            let moment = Moment { now, random: 0 };
            let settled = settlement(&exchange, decision, rules, moment);
            if settled.endings.is_empty() {
                break;
            }
            self.claimed.versions = settled.versions.unwrap_or(exchange.claimed.versions);
            self.end(settled.endings, forecast);
        }
        if !self.replayed.is_empty() {
            forecast.requests.extend(self.unsure_request(rules, now));
        }
        let asked = self.replayed.iter().map(|entry| ReplayedEntry {
            entry: entry.entry,
            ending: None,
            overtaken: Vec::new(),
        });
        forecast.entries.extend(asked);
    }

    /// Returns the request of this fold, if it has a value of a replayed entry.
    fn request(&self, fold: &Fold, rules: &DeliveryRules) -> Option<ReplayedRequest> {
        let entries: Vec<EntryId> = fold.carried.iter().copied().map(EntryId).collect();
        let mut replayed = self.replayed.iter();
        if !replayed.any(|waiting| entries.contains(&waiting.entry)) {
            return None;
        }
        Some(ReplayedRequest {
            customer: self.claimed.key.clone()?,
            entries,
            fields: self.fields(fold, rules),
        })
    }

    /// Returns the fields of a request, beside what Imprint has of them.
    fn fields(&self, fold: &Fold, rules: &DeliveryRules) -> Vec<ReplayedField> {
        let versions = &self.claimed.versions;
        let views = field_views(Visibility::Masked, &fold.update, rules.clearing);
        let fields = views.into_iter().map(|view| ReplayedField {
            version: fold.version_of(&view.field),
            delivered: versions.version_of(&view.field).map(|version| FieldOrigin {
                field: view.field.clone(),
                version,
                event: None,
            }),
            view,
        });
        fields.collect()
    }

    /// Returns the request that dispatch would send if Imprint confirmed the customer, and had no newer value.
    fn unsure_request(&self, rules: &DeliveryRules, now: Timestamp) -> Option<ReplayedRequest> {
        let candidates = self.claimed.candidates();
        let max = MaxFold(rules.max_fold);
        let fold = fold(&self.claimed.versions, &candidates, max, now);
        self.request(&fold, rules)
    }

    fn end(&mut self, endings: Vec<(EntryId, Ending)>, forecast: &mut Forecast) {
        for (entry, ending) in endings {
            self.claimed
                .waiting
                .retain(|waiting| waiting.entry != entry);
            let place = self
                .replayed
                .iter()
                .position(|replayed| replayed.entry == entry);
            let ended = place.map(|place| self.replayed.swap_remove(place));
            forecast.entries.extend(ended.map(|ended| ReplayedEntry {
                entry,
                overtaken: match ending {
                    Ending::Delivered | Ending::Superseded(_) | Ending::Ignored(_) => {
                        overtaken(&ended, &self.claimed.versions)
                    }
                    Ending::Parked { .. } | Ending::Undecided => Vec::new(),
                },
                ending: Some(ending),
            }));
        }
    }
}

/// Returns the fields of an entry for which Imprint has a newer value, with the entry of the newer value.
fn overtaken(entry: &WaitingEntry, versions: &LaneVersions) -> Vec<(Field, EntryId)> {
    let fields = entry.update.fields().filter_map(|field| {
        let newest = versions.version_of(field)?;
        (newest.arrival != entry.entry.0).then(|| (field.clone(), EntryId(newest.arrival)))
    });
    fields.collect()
}
