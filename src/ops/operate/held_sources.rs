//! The use case that shows the sources whose mass changes wait for an operator.

use super::{CaseList, Operations, Operator};
use crate::intake::{BrakePolicy, BrakeState, Holding, MassChange};
use crate::outbox::{EntryId, State};
use crate::time::Timestamp;

/// A source with held entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSource {
    pub source: String,
    pub policy: BrakePolicy,
    /// The time when the bridge accepted the oldest held entry of the cases.
    pub first: Timestamp,
    /// The mass changes of the held entries. Empty if the bridge has restarted since, because a restart loses the counts.
    pub changes: Vec<(MassChange, Holding)>,
    /// The newest held entries of the source.
    pub entries: Vec<EntryId>,
}

impl Operations {
    /// Returns the sources of the held entries in these cases, with what their brakes know of the mass changes.
    pub fn held_sources(&self, operator: &Operator, cases: &CaseList) -> Vec<HeldSource> {
        let brakes = self.brakes(operator).into_iter();
        let held = brakes.filter_map(|brake| {
            let held = cases.cases.iter().filter(|case| {
                case.cause.state == State::Held.as_str()
                    && case.cause.source.as_str() == brake.source
            });
            let first = held.clone().map(|case| case.first).min()?;
            Some(HeldSource {
                first,
                changes: changes(&brake.state, first),
                entries: held.flat_map(|case| case.newest.iter().copied()).collect(),
                policy: brake.state.policy,
                source: brake.source,
            })
        });
        held.collect()
    }
}

/// Returns the mass changes that have held an entry since a time.
fn changes(state: &BrakeState, since: Timestamp) -> Vec<(MassChange, Holding)> {
    let changes = state.holding.iter().chain(&state.ended);
    let mut changes: Vec<_> = changes
        .filter(|(_, holding)| holding.last >= since)
        .cloned()
        .collect();
    changes.sort_by_key(|(_, holding)| std::cmp::Reverse(holding.entries));
    changes
}
