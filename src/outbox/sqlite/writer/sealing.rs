//! The sealing keys of the writer thread, and the steps that seal blobs again.

use std::sync::Arc;

use super::Writer;
use super::job::{Reply, recover, send};
use crate::failpoint::{self, CrashPoint};
use crate::outbox::sealing_status::SealingStatus;
use crate::outbox::sqlite::reseal::ResealPass;
use crate::outbox::sqlite::sealing_keys;
use crate::sealing::KeyRing;

/// A command to use other sealing keys.
pub(in crate::outbox::sqlite) struct KeysJob {
    pub(in crate::outbox::sqlite) ring: Arc<KeyRing>,
    pub(in crate::outbox::sqlite) reply: Reply<()>,
}

impl Writer<'_> {
    /// Uses other sealing keys for all later blobs. If the newest key cannot be listed, for example because the disk is
    /// full, the previous keys stay in use.
    pub(super) fn use_keys(&mut self, job: KeysJob) -> rusqlite::Result<()> {
        self.disk.adjust(self.store);
        let KeysJob { ring, reply } = job;
        let listed = sealing_keys::list(self.store, &ring, &self.digest_key);
        let listed = recover(listed, "listing the sealing keys", self.disk)?;
        self.files.leave();
        let answer = listed.map(|used| {
            self.store.sealer().replace(ring, used);
            self.claimed.unlock();
            self.pass = None;
            self.publish_sealing();
            self.shared.woken.notify_waiters();
        });
        send(reply, answer);
        Ok(())
    }

    /// Seals the next blobs again with the newest key. Answers whether blobs are possibly left.
    pub(super) fn reseal(&mut self, reply: Reply<bool>) -> rusqlite::Result<()> {
        self.disk.adjust(self.store);
        let pass = match self.pass.take() {
            Some(pass) => Ok(Some(pass)),
            None => ResealPass::begin(self.store),
        };
        let pass = match recover(pass, "sealing entries again", self.disk)? {
            Ok(Some(pass)) => pass,
            Ok(None) => {
                send(reply, Ok(false));
                return Ok(());
            }
            Err(error) => {
                send(reply, Err(error));
                return Ok(());
            }
        };
        let stepped = recover(self.step(&pass), "sealing entries again", self.disk)?;
        self.files.leave();
        let answer = match stepped {
            Ok(next) if next.has_ended() => {
                self.end_pass(&next)?;
                Ok(false)
            }
            Ok(next) => {
                self.pass = Some(next);
                Ok(true)
            }
            Err(error) => {
                self.pass = Some(pass);
                Err(error)
            }
        };
        self.publish_sealing();
        send(reply, answer);
        Ok(())
    }

    fn step(&self, pass: &ResealPass) -> rusqlite::Result<ResealPass> {
        let transaction = self.store.unchecked_transaction()?;
        let next = pass.step(self.store)?;
        failpoint::crash_point(CrashPoint::BeforeReseal);
        transaction.commit()?;
        failpoint::crash_point(CrashPoint::AfterReseal);
        Ok(next)
    }

    fn end_pass(&self, pass: &ResealPass) -> rusqlite::Result<()> {
        let used = sealing_keys::used(self.store)?;
        let ring = self.store.sealer().ring();
        self.store.sealer().replace(ring, used);
        tracing::info!(
            sealed = pass.sealed,
            "the bridge has sealed every record of the store that it can read with the newest key"
        );
        Ok(())
    }

    /// Publishes the state of the sealing.
    pub(super) fn publish_sealing(&self) {
        self.shared.set_sealing(SealingStatus {
            locked_lanes: self.claimed.locked(),
            left: self.pass.as_ref().map_or(0, ResealPass::left),
            ..sealing_keys::status(self.store)
        });
    }

    /// Publishes the state of the sealing if a claim has found a lane that waits for a missing key.
    pub(super) fn publish_locked_lanes(&self) {
        if self.claimed.locked() != self.shared.locked_lanes() {
            self.publish_sealing();
        }
    }
}
