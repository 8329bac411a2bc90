//! The background tasks of a replica: one extends the lease, and one takes over the lanes of lost replicas and adds up the
//! tally.

use std::rc::Rc;
use std::time::Duration;

use super::connection::Connected;
use super::due_floors::pause_after;
use super::engine::Engine;
use super::fault::DbFault;
use super::{key_change, own_lanes, replica, shared_keys, signals, tally};
use crate::outbox::STALLED_AFTER;

/// The time between two tries while the database does not answer.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The number of rounds between two looks at the snapshots and the dead rows: about 15 seconds.
const LOOK_EVERY: u32 = 5;

/// Extends the lease until the task is aborted.
pub(super) async fn keep(engine: Rc<Engine>) {
    let mut pause = replica::BEAT;
    loop {
        tokio::time::sleep(pause).await;
        let beat = tokio::time::timeout(STALLED_AFTER, beat(&engine)).await;
        let answers = match beat {
            Ok(Ok(())) => true,
            Ok(Err(fault)) => {
                tracing::warn!(fault = %fault, "the replica could not extend its lease");
                false
            }
            Err(_late) => false,
        };
        engine.beats.set(match answers {
            true => engine.beats.get().saturating_add(1),
            false => 0,
        });
        if engine.shared.set_answers(answers) {
            engine.answers_again.notify_one();
        }
        pause = if answers { replica::BEAT } else { RETRY_AFTER };
    }
}

async fn beat(engine: &Engine) -> Result<(), DbFault> {
    let (connector, link) = (&engine.connector, &engine.links.keeper);
    let registration = engine.registration();
    let extend = async |db: &Connected| replica::extend(db, registration).await;
    let lease = &engine.shared.lease;
    let asked_at = lease.now();
    if connector.transact(link, extend).await? {
        lease.extended(registration.owner, asked_at);
    } else {
        lease.ended();
        let process = registration.process;
        let keys = shared_keys::listed(&engine.ring.borrow());
        let register = async |db: &Connected| replica::register(db, process, &keys).await;
        let asked_at = lease.now();
        let owner = connector.transact(link, register).await?;
        tracing::error!(
            replica = owner,
            "the lease of this replica has ended, so other replicas have its customers; requests in flight possibly arrive late"
        );
        connector.counts.lost_lease();
        engine.owner.set(owner);
        engine.shared.set_lost_lease();
        engine.claims.borrow_mut().clear();
        lease.extended(owner, asked_at);
    }
    Ok(())
}

/// Compares the claims and the sealing key with the other replicas, takes over the lanes of lost replicas and adds up the
/// tally, until the task is aborted. Each of these works can take longer than a lease.
pub(super) async fn tidy(engine: Rc<Engine>) {
    let mut round = 0_u32;
    let mut next_comparison = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(replica::BEAT) => {}
            // The other replicas possibly could not extend their leases either.
            () = engine.answers_again.notified() => engine.silent.borrow_mut().forget(),
        }
        let began = engine.connector.monotonic();
        if engine.floors.borrow().wants_full_read(began) {
            engine.shared.woken.notify_waiters();
        }
        if began >= next_comparison {
            if let Err(fault) = own_lanes::compare(&engine).await {
                tracing::warn!(fault = %fault, "the replica could not compare its claims with the database");
            }
            // The comparison reads the dead entries of all claims of the replica.
            let ended = engine.connector.monotonic();
            next_comparison = ended.saturating_add(pause_after(ended.saturating_sub(began)));
        }
        if let Err(fault) = key_change::follow(&engine).await {
            tracing::warn!(fault = %fault, "the replica could not read the sealing keys of the other replicas");
        }
        if round.is_multiple_of(LOOK_EVERY)
            && let Err(fault) = look(&engine).await
        {
            tracing::warn!(fault = %fault, "the replica could not look for old snapshots");
        }
        round = round.wrapping_add(1);
        if engine.beats.get() == 0 {
            engine.silent.borrow_mut().forget();
            continue;
        }
        if let Err(fault) = tidy_once(&engine).await {
            tracing::warn!(fault = %fault, "the replica could not look for lost replicas");
        }
    }
}

/// Looks what keeps the database from removing dead rows.
async fn look(engine: &Engine) -> Result<(), DbFault> {
    let sampled = engine.connector.read(&engine.links.tidy, signals::sample);
    let sampled = sampled.await?;
    engine.connector.counts.publish(&sampled);
    Ok(())
}

async fn tidy_once(engine: &Engine) -> Result<(), DbFault> {
    let (connector, link) = (&engine.connector, &engine.links.tidy);
    let leases = connector.read(link, replica::leases).await?;
    let silent = engine.silent.borrow_mut().look(leases);
    let lost = match silent.is_empty() {
        true => Vec::new(),
        false => {
            let take_over = async |db: &Connected| replica::take_over(db, &silent).await;
            connector.transact(link, take_over).await?
        }
    };
    if !lost.is_empty() {
        tracing::warn!(
            replicas = ?lost,
            "the leases of other replicas have ended; this replica freed their customers"
        );
        engine.floors.borrow_mut().ask();
        engine.shared.woken.notify_waiters();
    }
    connector.transact(link, tally::add_up).await
}
