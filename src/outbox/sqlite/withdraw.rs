//! The SQL statements that withdraw entries: they park or discard entries that have not ended.

use std::collections::BTreeSet;

use rusqlite::params;

use super::claimed_lanes::ClaimedLanes;
use super::counts::Counts;
use super::operator::subject;
use super::payload::PayloadKey;
use super::signed_event::SignedEvent;
use super::store_connection::StoreConnection;
use super::writer::job::{ActJob, Reply, Wakes};
use super::{audit, columns, payload, versions};
use crate::fold::LaneVersions;
use crate::outbox::{EntryId, LaneId, State, Withdrawal, Withdrawn, WithdrawnState, codec};
use crate::time::Timestamp;

/// Returns the act that withdraws entries.
pub(super) fn act(reply: Reply<Withdrawn>, withdrawal: Withdrawal, event: SignedEvent) -> ActJob {
    let wakes = match withdrawal.may_free_lanes() {
        true => Wakes::Dispatch,
        false => Wakes::Nobody,
    };
    ActJob::with_claims(reply, wakes, move |connection, counts, claimed| {
        let mut withdrawer = Withdrawer {
            connection,
            counts,
            to: withdrawal.to,
            now: event.at,
        };
        let withdrawn = withdrawer.withdraw(&withdrawal, claimed)?;
        if let Some(event) = event.and_then(|event| withdrawn.audit_event(event)) {
            audit::append(connection, &event, withdrawn.entries.len())?;
        }
        Ok(withdrawn)
    })
}

struct Withdrawer<'a> {
    connection: &'a StoreConnection,
    counts: &'a mut Counts,
    to: WithdrawnState,
    now: Timestamp,
}

impl Withdrawer<'_> {
    /// Withdraws the entries. A waiting entry of a claimed lane stays unchanged.
    fn withdraw(
        &mut self,
        withdrawal: &Withdrawal,
        claimed: &ClaimedLanes,
    ) -> rusqlite::Result<Withdrawn> {
        let mut withdrawn = Withdrawn::default();
        let mut left = BTreeSet::new();
        for entry in &withdrawal.entries {
            let Some((state, lane)) = self.find(*entry, &withdrawal.from)? else {
                continue;
            };
            if state == State::Waiting && claimed.is_claimed(lane) {
                withdrawn.in_flight.push(*entry);
                continue;
            }
            let entry = PayloadKey {
                entry: *entry,
                lane,
            };
            self.withdraw_one(entry, state)?;
            withdrawn.entries.push(entry.entry);
            left.extend((state == State::Waiting).then_some(lane));
        }
        for lane in left {
            leave(self.connection, lane, self.now)?;
        }
        Ok(withdrawn)
    }

    /// Finds an entry in one of these states, and returns its state and its lane.
    fn find(&self, entry: EntryId, states: &[State]) -> rusqlite::Result<Option<(State, LaneId)>> {
        for state in states {
            if let Some(subject) = subject(self.connection, entry, *state)? {
                return Ok(Some((*state, subject.lane)));
            }
        }
        Ok(None)
    }

    fn withdraw_one(&mut self, key: PayloadKey, from: State) -> rusqlite::Result<()> {
        let PayloadKey { entry, .. } = key;
        match self.to {
            WithdrawnState::Parked(reason) => {
                payload::park(self.connection, key, from, reason, None)?;
                payload::delete(self.connection, from, entry)?;
            }
            WithdrawnState::Discarded => {
                payload::erase(self.connection, from, entry, self.counts)?;
            }
        }
        let to = self.to.state();
        self.connection
            .prepare_cached("UPDATE entry SET state = ?2, settled_at = ?3 WHERE id = ?1")?
            .execute(params![
                entry.0,
                codec::state_number(to),
                self.now.as_millis()
            ])?;
        self.counts.leave(from);
        self.counts.enter(to);
        Ok(())
    }
}

/// Updates a lane after the withdrawal of waiting entries.
pub(super) fn leave(store: &StoreConnection, lane: LaneId, now: Timestamp) -> rusqlite::Result<()> {
    let before = match versions::of_lane(store, lane) {
        // An operator can withdraw entries whose sealing key is lost. The next claim with the key reads the versions.
        Err(error) if columns::missing_key(&error).is_some() => None,
        versions => Some(versions?),
    };
    let after = before.clone().map(LaneVersions::without_entries);
    if let Some(after) = after
        .as_ref()
        .filter(|after| before.as_ref() != Some(after))
    {
        versions::store(store, lane, after)?;
    }
    // The recorded answer is possibly about an id that only a withdrawn entry has.
    store
        .prepare_cached(
            "UPDATE lane SET maybe_sent = CASE maybe_sent WHEN 0 THEN 0 ELSE -1 END, absence = NULL,
                    idle = NOT EXISTS (SELECT 1 FROM waiting WHERE lane = ?1) WHERE id = ?1",
        )?
        .execute([lane.0])?;
    store
        .prepare_cached("UPDATE lane SET due_at = min(due_at, ?2) WHERE id = ?1 AND idle = 0")?
        .execute(params![lane.0, now.as_millis()])?;
    let Some(after) = after else {
        return Ok(());
    };
    // The answers to requests with the withdrawn entries must not decide about a later entry. If an argument of
    // `max` is NULL, the result is NULL: a lane without values to send again is never due.
    store
        .prepare_cached(
            "UPDATE lane SET due_at = max(coalesce(due_at, 0), ?2), spent = 0, blamed_since = NULL,
                    unproven_since = NULL
             WHERE id = ?1 AND idle <> 0",
        )?
        .execute(params![
            lane.0,
            after.reassert_at().map(Timestamp::as_millis)
        ])?;
    Ok(())
}
