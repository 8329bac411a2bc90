//! The stored form of the evidence. The stored evidence stays after the process ends. This module is pure: it does no
//! IO and reads no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::proof::Run;
use super::witnesses::Witness;
use super::{Evidence, Proof};
use crate::imprint::ImprintId;
use crate::outbox::{KeyMark, LaneId};
use crate::time::Timestamp;

/// The shortest time between two writes of the evidence to the store. The witnesses change with almost every request.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// The evidence that dispatch saves in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEvidence {
    /// The value of the setting in the store.
    pub text: String,
    /// True if dispatch must make due the lanes that wait for proof; see [`Lanes::release_absent`].
    ///
    /// [`Lanes::release_absent`]: crate::outbox::Lanes::release_absent
    pub wakes_lanes: bool,
}

/// The stored form of the evidence under one API key. All times are milliseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
struct StoredEvidence {
    key: u64,
    /// The times when dispatch sent the first and the last successful request.
    worked: Option<(i64, i64)>,
    denied_at: Option<i64>,
    has_found: bool,
    /// The lane, the Imprint id and the time of the applied update, for each witness.
    witnesses: Vec<(u64, String, i64)>,
}

/// The evidence that answers to requests with one API key gave.
#[derive(Debug)]
pub(super) struct KeyEvidence {
    proof: Proof,
    witnesses: [Option<Witness>; 2],
}

impl Evidence {
    /// Restores the evidence that an earlier process stored under this API key.
    pub(in crate::dispatch) fn begin(
        &mut self,
        key: KeyMark,
        canary: Option<ImprintId>,
        stored: Option<&str>,
        now: Timestamp,
    ) {
        self.proof = Proof::under(key, None);
        self.witnesses.name(canary);
        if let Some(stored) = stored {
            self.restore(stored, now);
        }
    }

    /// Replaces the API key, and makes due the lanes that wait for proof.
    ///
    /// The evidence that answers to the old key gave no longer counts. If the bridge returns to the old key, as after a
    /// trial of the newer key of a rotation, the evidence counts again.
    pub(in crate::dispatch) fn key_changed(&mut self, key: KeyMark, now: Timestamp) {
        if key == self.proof.key {
            return;
        }
        let earlier = self.earlier_key.take();
        let of_key = earlier.filter(|earlier| earlier.proof.key == key);
        let mut next = of_key.unwrap_or_else(|| KeyEvidence {
            proof: Proof::under(key, None),
            witnesses: [None, None],
        });
        next.proof.key_since = Some(now);
        self.earlier_key = Some(KeyEvidence {
            proof: std::mem::replace(&mut self.proof, next.proof),
            witnesses: self.witnesses.replace(next.witnesses),
        });
        self.forget_refusals();
        (self.is_changed, self.wakes_lanes) = (true, true);
    }

    /// Forgets the customers of these lanes as witnesses, also under the API key before the present key. Saves the evidence
    /// again in any case: the stored evidence of this process, or of another one, possibly names a customer.
    pub(in crate::dispatch) fn forget_customers(&mut self, is_forgotten: impl Fn(LaneId) -> bool) {
        let earlier = self.earlier_key.as_mut();
        let earlier = earlier.map(|earlier| earlier.witnesses.as_mut_slice());
        let earlier = earlier.unwrap_or_default();
        for witness in self.witnesses.applied_mut().iter_mut().chain(earlier) {
            witness.take_if(|known| is_forgotten(known.lane));
        }
        self.is_changed = true;
    }

    /// Returns the evidence to save now. Returns `None` if the evidence has not changed, or if dispatch saved it in the
    /// last seconds.
    pub(in crate::dispatch) fn take_changed(&mut self, now: Timestamp) -> Option<SavedEvidence> {
        let is_early = |saved: Timestamp| now < saved.after(SAVE_EVERY);
        if !self.wakes_lanes && (!self.is_changed || self.saved_at.is_some_and(is_early)) {
            return None;
        }
        self.saved_at = Some(now);
        self.is_changed = false;
        Some(SavedEvidence {
            text: self.stored()?,
            wakes_lanes: std::mem::take(&mut self.wakes_lanes),
        })
    }

    /// Restores the evidence that an earlier process stored. Ignores evidence that belongs to a different API key or is
    /// damaged.
    fn restore(&mut self, stored: &str, now: Timestamp) {
        let Ok(stored) = serde_json::from_str::<StoredEvidence>(stored) else {
            return;
        };
        if KeyMark(stored.key) != self.proof.key {
            return;
        }
        // If somebody has set the clock back, a stored time is in the future: use the present time instead.
        let time = |millis| Timestamp::from_millis(millis).min(now);
        self.proof = Proof {
            run: stored.worked.map(|(from, to)| Run {
                from: time(from),
                to: time(to),
            }),
            denied_at: stored.denied_at.map(time),
            has_found: stored.has_found,
            ..Proof::under(self.proof.key, None)
        };
        let witnesses = stored.witnesses.into_iter();
        self.witnesses
            .restore(witnesses.filter_map(|(lane, customer, applied_at)| {
                Some(Witness {
                    lane: LaneId(lane),
                    customer: ImprintId::parse(&customer).ok()?,
                    applied_at: time(applied_at),
                })
            }));
    }

    /// Returns the stored form of the evidence. Returns `None` if the evidence has no JSON form.
    fn stored(&self) -> Option<String> {
        let witnesses = self.witnesses.applied().map(|witness| {
            let customer = witness.customer.as_str().to_owned();
            (witness.lane.0, customer, witness.applied_at.as_millis())
        });
        let stored = StoredEvidence {
            key: self.proof.key.0,
            worked: self
                .proof
                .run
                .map(|run| (run.from.as_millis(), run.to.as_millis())),
            denied_at: self.proof.denied_at.map(Timestamp::as_millis),
            has_found: self.proof.has_found,
            witnesses: witnesses.collect(),
        };
        serde_json::to_string(&stored).ok()
    }
}
