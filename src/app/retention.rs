//! Retention: deletes receipts that are older than `outbox.retain_receipt`, discards entries that have been parked or
//! held for longer than `outbox.retain_parked`, and retires customers who have been idle for longer than
//! `outbox.retain_idle_customer`.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::outbox::{
    AuditEvent, EntryFilter, EntryId, EntrySummary, Error, LaneId, Ledger, State, Withdrawal,
    WithdrawnState,
};
use crate::time::{Clock, Timestamp};

/// The time between two retention passes.
const EVERY: Duration = Duration::from_hours(1);
/// The pause between two batches of a retention pass, so that other writers can use the store.
const PAUSE: Duration = Duration::from_millis(200);
/// The maximum number of parked entries that retention discards in one transaction.
const DISCARDED_MAX: usize = 500;

pub(super) struct Retention {
    outbox: Arc<dyn Ledger>,
    clock: Clock,
    receipts: Duration,
    parked: Duration,
    idle_customer: Duration,
}

impl Retention {
    pub(super) fn new(
        outbox: Arc<dyn Ledger>,
        settings: &config::OutboxSettings,
        clock: Clock,
    ) -> Self {
        Self {
            outbox,
            clock,
            receipts: settings.retain_receipt,
            parked: settings.retain_parked,
            idle_customer: settings.retain_idle_customer,
        }
    }

    /// Runs a retention pass every [`EVERY`], and never returns.
    pub(super) async fn run(&self) {
        loop {
            let passes = [
                self.discard(State::Parked).await,
                self.discard(State::Held).await,
                self.prune().await,
                self.retire().await,
            ];
            for error in passes.iter().filter_map(|pass| pass.as_ref().err()) {
                tracing::warn!(error = %error, "a retention pass failed; the next pass starts in 1 hour");
            }
            self.clock.sleep(EVERY).await;
        }
    }

    /// Returns the current time minus `retention`. A retention pass removes items that are older than this time.
    fn cutoff(&self, retention: Duration) -> Timestamp {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        // A schedule never goes back. If the clock of the database was ahead for a time, nothing is deleted too early.
        let now = self.clock.now().min(self.clock.shared_wall());
        Timestamp::from_millis(now.as_millis().saturating_sub(retention))
    }

    /// Discards entries that have been in this state for longer than `outbox.retain_parked`, and writes an audit record.
    async fn discard(&self, state: State) -> Result<(), Error> {
        let before = self.cutoff(self.parked);
        // The filter compares the time of acceptance, and `is_old` compares the time of parking. The filter misses no
        // old entry, because the bridge accepts an entry before it parks the entry. An entry is held when it arrives.
        let is_old = |entry: &&EntrySummary| {
            let receipt = &entry.receipt;
            receipt.settled_at.unwrap_or(receipt.accepted_at) < before
        };
        let mut filter = EntryFilter {
            before: Some(before),
            ..EntryFilter::in_state(state, DISCARDED_MAX)
        };
        loop {
            let page = self.outbox.list(filter.clone()).await?;
            let entries: Vec<EntryId> = page
                .entries
                .iter()
                .filter(is_old)
                .map(|entry| entry.receipt.entry)
                .collect();
            if !entries.is_empty() {
                tracing::warn!(
                    entries = entries.len(),
                    state = state.as_str(),
                    "discarding entries that were parked or held for longer than outbox.retain_parked"
                );
                let event = AuditEvent {
                    operator: "retention".to_owned(),
                    action: "discard",
                    target: String::new(),
                    reason: Some(format!(
                        "{} for longer than outbox.retain_parked",
                        state.as_str()
                    )),
                    at: self.clock.now(),
                };
                // An entry that an operator has replayed meanwhile must wait.
                let withdrawal = Withdrawal {
                    entries,
                    from: vec![state],
                    to: WithdrawnState::Discarded,
                };
                self.outbox.withdraw(withdrawal, event).await?;
            }
            let Some(next) = page.next else {
                return Ok(());
            };
            filter.after = next;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn prune(&self) -> Result<(), Error> {
        let kept = self.cutoff(self.receipts)..=self.clock.now();
        let mut from = EntryId::default();
        while let Some(next) = self.outbox.prune_receipts(from, kept.clone()).await? {
            from = next;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Retires the customers whose last delivery is older than `outbox.retain_idle_customer` and whose receipts are deleted.
    async fn retire(&self) -> Result<(), Error> {
        let before = self.cutoff(self.idle_customer);
        let mut retired = self.outbox.retire_customers(LaneId(0), before).await?;
        let mut customers = retired.customers;
        while let Some(next) = retired.next {
            tokio::time::sleep(PAUSE).await;
            retired = self.outbox.retire_customers(next, before).await?;
            customers += retired.customers;
        }
        if customers > 0 {
            tracing::info!(
                customers,
                "replaced the ids of customers without an event for outbox.retain_idle_customer by digests"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Attribute, Identity, SourceName, SourceVersion};
    use crate::imprint::{CustomerChange, CustomerRef, ImprintId, Update};
    use crate::outbox::{
        Digest, Disposition, InvalidReason, Lookup, MemoryOutbox, NewEntry, Outbox, ParkReason,
        Priority,
    };

    const DAY: Duration = Duration::from_hours(24);

    fn parked(id: &str, at: Timestamp) -> NewEntry {
        let change = CustomerChange {
            customer: CustomerRef::Imprint(ImprintId::parse("CUST-1").unwrap()),
            version: SourceVersion { epoch: 0, value: 1 },
            update: Update::default(),
            jump_max: None,
            is_foreign: false,
            skipped: Vec::new(),
        };
        NewEntry {
            identity: Identity {
                source: SourceName::parse("crm").unwrap(),
                ce_source: None,
                id: Attribute::parse(id).unwrap(),
            },
            event_type: Attribute::parse("customer.changed").unwrap(),
            digest: Digest([0; 16]),
            accepted_at: at,
            disposition: Disposition::Park(change, ParkReason::ForeignAddress),
            priority: Priority::Live,
            event: Vec::new(),
        }
    }

    #[tokio::test]
    async fn entries_parked_too_long_are_discarded_and_their_receipts_deleted() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
        let outbox: Arc<dyn Outbox> = Arc::new(MemoryOutbox::default());
        let retention = Retention {
            outbox: Arc::<dyn Outbox>::clone(&outbox),
            clock: clock.clone(),
            receipts: DAY * 30,
            parked: DAY * 90,
            idle_customer: DAY * 400,
        };
        let state = || async {
            let lookup = Lookup {
                source: SourceName::parse("crm").unwrap(),
                ce_source: None,
                id: Attribute::parse("old").unwrap(),
            };
            let found = outbox.find(lookup).await.unwrap();
            found.map(|receipt| receipt.state)
        };
        let mut both = ["old", "newest"].map(|id| parked(id, clock.now()));
        both[0].disposition = Disposition::Invalid(InvalidReason {
            epoch: 0,
            errors: Vec::new(),
        });
        outbox.append(both.to_vec()).await.unwrap();
        let mut held = parked("held", clock.now());
        if let Disposition::Park(change, _) = held.disposition {
            held.disposition = Disposition::Hold(change);
        }
        outbox.append(vec![held]).await.unwrap();
        for (days, expected) in [
            (89, Some(State::Parked)),
            (2, Some(State::Discarded)),
            (29, Some(State::Discarded)),
            (2, None),
        ] {
            clock.advance(DAY * days);
            retention.discard(State::Parked).await.unwrap();
            retention.discard(State::Held).await.unwrap();
            retention.prune().await.unwrap();
            assert_eq!(state().await, expected, "{days} days later");
        }
        let acts = outbox.audit(0, 10).await.unwrap();
        let entries: Vec<usize> = acts.iter().map(|act| act.entries).collect();
        assert_eq!(entries, [2, 1], "the held entry has an act of its own");
        assert_eq!(acts[0].operator, "retention");
    }
}
