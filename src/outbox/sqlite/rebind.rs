//! Assigns a store to a different environment or host of Imprint. No process is allowed to have the store open.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::counts::count;
use super::open::{self, check_identity};
use super::open_error::{OpenError, expect_store, explain};
use super::signed_event::SignedEvent;
use super::store_connection::StoreConnection;
use super::{audit, ledger, lock, log_mark, meta, sealing_keys};
use crate::outbox::{
    AuditEvent, AuditKeys, AuditProtection, EntryFilter, EntrySummary, Setting, State,
};
use crate::sealing::KeyRing;

mod forget;

/// The maximum number of waiting entries that a report lists. An operator does not read more.
const LISTED_MAX: usize = 100;

/// The state of a store before the change of its destination.
#[derive(Debug)]
pub struct RebindReport {
    /// The destination to which the store belongs. `None` means that no process has stored a destination yet.
    pub destination: Option<String>,
    /// The number of waiting entries. The bridge will send these entries to the new destination.
    pub waiting: u64,
    /// The first waiting entries.
    pub listed: Vec<EntrySummary>,
}

/// Whether the function only reports, or also changes the destination of the store.
#[derive(Debug)]
pub enum RebindConsent {
    /// Only reports, and changes nothing.
    Preview,
    /// Changes the destination of the store, and appends a record to the audit log.
    Confirmed {
        /// The new destination.
        destination: String,
        /// The action for the audit log.
        event: AuditEvent,
        /// The keys of the audit log.
        keys: AuditKeys,
    },
}

/// Reports to which destination a store belongs. If the operator has confirmed the change, assigns the store to the new
/// destination.
///
/// The versions of delivered values and the identity links describe the customers at the old destination. The function
/// deletes both: otherwise dispatch would treat a value as delivered although only the old destination has it. Entries whose
/// events name only the CRM's id wait for a search at the new destination. Version floors of erasures stay.
///
/// # Errors
/// Returns an error if the file is not a store, or a process has the store open.
pub fn rebind(
    path: &Path,
    consent: &RebindConsent,
    keys: Arc<KeyRing>,
) -> Result<RebindReport, OpenError> {
    rebind_existing(path, consent, keys).map_err(|error| explain(error, path))
}

fn rebind_existing(
    path: &Path,
    consent: &RebindConsent,
    keys: Arc<KeyRing>,
) -> Result<RebindReport, OpenError> {
    let path = &path.canonicalize().map_err(OpenError::file(path))?;
    expect_store(path)?;
    let mut lock = lock::acquire(path)?;
    log_mark::check(path, &lock)?;
    log_mark::permit_new_log(&mut lock)?;
    let mut connection = Connection::open(path).map_err(OpenError::sqlite("opening it"))?;
    check_identity(path, &connection)?;
    open::configure(&connection).map_err(OpenError::sqlite("setting it up"))?;
    open::migrate(&mut connection)?;
    log_mark::will_write_back(&connection).map_err(OpenError::sqlite("marking its log"))?;
    let (store, _digest_key) = sealing_keys::unlock(connection, keys, path)?;
    let report = report(&store).map_err(OpenError::sqlite("listing its waiting entries"))?;
    if let RebindConsent::Confirmed {
        destination,
        event,
        keys,
    } = consent
    {
        let protection = audit::protection(&store, keys);
        let protection = protection.map_err(OpenError::sqlite("reading its audit log"))?;
        if protection == AuditProtection::KeyMissing {
            return Err(OpenError::AuditKeyMissing(path.to_owned()));
        }
        let event = SignedEvent::new(event.clone(), keys.clone());
        let moved = move_to(&store, destination, &event);
        moved.map_err(OpenError::sqlite("moving it to another destination"))?;
    }
    Ok(report)
}

fn report(connection: &StoreConnection) -> rusqlite::Result<RebindReport> {
    let filter = EntryFilter::in_state(State::Waiting, LISTED_MAX);
    Ok(RebindReport {
        destination: meta::read(connection, Setting::Destination)?,
        waiting: count(connection, "waiting")?,
        listed: ledger::list(connection, &filter)?.entries,
    })
}

fn move_to(
    connection: &StoreConnection,
    destination: &str,
    event: &SignedEvent,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let entries = count(&transaction, "waiting")?;
    forget::forget_versions(connection)?;
    forget::forget_found_ids(connection, event.at)?;
    transaction.execute_batch(
        "UPDATE lane SET failures = 0, spent = 0, tried_at = NULL, unfold_to = NULL, maybe_sent = 0,
                blamed_since = NULL, spelled = 0, unproven_since = NULL, absence = NULL,
                due_at = CASE WHEN idle THEN NULL ELSE due_at END;
         DELETE FROM pair;
         DELETE FROM origin;
         DELETE FROM meta WHERE name IN ('destination_wait', 'evidence');",
    )?;
    meta::store(connection, Setting::Destination, destination)?;
    audit::append(
        connection,
        event,
        usize::try_from(entries).unwrap_or(usize::MAX),
    )?;
    transaction.commit()
}
