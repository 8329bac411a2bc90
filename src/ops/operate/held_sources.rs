//! The use case that shows the sources whose mass changes wait for an operator.

use super::{BrakeView, CaseList, Error, Operations, Operator};
use crate::intake::{BrakePolicy, BrakeState, Holding, MassChange};
use crate::outbox::{EntryId, State};
use crate::time::Timestamp;

/// A source with held entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSource {
    pub source: String,
    pub policy: BrakePolicy,
    /// The time when the bridge accepted the oldest known held entry.
    pub first: Timestamp,
    /// The mass changes of the held entries. Empty if the bridge has restarted since, because a restart loses the counts.
    pub changes: Vec<(MassChange, Holding)>,
    /// The number of held entries in the cases.
    pub entries: u64,
}

impl Operations {
    /// Returns the sources of the held entries in these cases, with what their brakes know of the mass changes.
    pub fn held_sources(&self, operator: &Operator, cases: &CaseList) -> Vec<HeldSource> {
        let brakes = self.brakes(operator).into_iter();
        let held = brakes.filter_map(|brake| HeldSource::of(brake, cases, None));
        held.collect()
    }

    /// Returns the sources of the held entries among these entries. The cases possibly contain none of them, because the
    /// cases have the newest entries only.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn held_sources_of(
        &self,
        operator: &Operator,
        entries: Vec<EntryId>,
    ) -> Result<Vec<HeldSource>, Error> {
        let mut chosen = self.summaries(operator, entries).await?;
        chosen.retain(|entry| entry.receipt.state == State::Held);
        let cases = self.cases(operator).await?;
        let brakes = self.brakes(operator).into_iter();
        let held = brakes.filter_map(|brake| {
            let chosen = chosen.iter().map(|entry| &entry.receipt);
            let chosen = chosen.filter(|held| held.identity.source.as_str() == brake.source);
            let first = chosen.map(|held| held.accepted_at).min()?;
            HeldSource::of(brake, &cases, Some(first))
        });
        Ok(held.collect())
    }
}

impl HeldSource {
    /// Returns the source of a brake with its held entries: those of the cases, and one that was accepted at this time.
    fn of(brake: BrakeView, cases: &CaseList, accepted: Option<Timestamp>) -> Option<Self> {
        let held = cases.cases.iter().filter(|case| {
            case.cause.state == State::Held.as_str() && case.cause.source.as_str() == brake.source
        });
        let first = held.clone().map(|case| case.first);
        let first = first.chain(accepted).min()?;
        Some(Self {
            first,
            changes: changes(&brake.state, first),
            entries: held.map(|case| case.entries).sum(),
            policy: brake.state.policy,
            source: brake.source,
        })
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
