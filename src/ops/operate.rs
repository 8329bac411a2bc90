//! The use cases of an operator as typed functions, independent of HTTP and of any text format.
//!
//! The admin API offers the use cases as JSON over HTTP. Only the module `operate` decides which entries an operator is
//! allowed to change, which values are masked, and which actions the audit log records.
//!
//! - Every use case takes an [`Operator`], so that no caller can forget to authenticate.
//! - A use case that changes something requires [`Role::Operator`], and a use case that shows stored values unmasked
//!   requires [`Role::Revealer`].
//! - The store writes the audit record of a replay, a discard or a parking in the transaction that changes the entries.
//!   A use case that changes the mode, copies the store or reveals values first writes the audit record. Each audit
//!   record has the operator's name.
//! - The use cases have JSON values only as data: an event is JSON, and the value of a `metadata` field is JSON.

use std::sync::Arc;

use crate::dispatch::destination::Destination;
use crate::dispatch::rules::DeliveryRules;
use crate::event::Visibility;
use crate::http::denied::{DeniedRequests, DeniedRow};
use crate::http::refused::{RefusedRequests, RefusedRow};
use crate::intake::BRAKE_OPEN_MAX;
use crate::metrics::WeakenedMetrics;
use crate::outbox::{self, AuditEvent, AuditRecord, EntryId, Outbox};
use crate::time::Clock;

mod backup;
mod brake;
mod cases;
mod cause;
mod corrections;
mod customer;
mod delivered_before;
mod destination;
mod entries;
mod erase;
mod explain;
mod failing;
mod held_sources;
mod hold;
mod invalid_entries;
mod keys;
mod mapped_entries;
mod mapping_work;
mod passed_entries;
mod preview;
mod reload;
mod replay;
mod secret_files;
mod selection;
mod try_out;
mod unchanged;
mod versions;
mod withdraw;

pub use backup::BackupName;
pub use brake::BrakeView;
pub use cases::{CASE_STATES, Case, CaseCause, CaseError, CaseList};
pub use cause::{CauseClause, cause, connection_cause};
pub use corrections::{Correction, RevealedEvent, RevealedEvents};
pub use customer::{CustomerExport, CustomerName, CustomerView, ExportPage};
pub use delivered_before::ORIGIN_CUSTOMERS_MAX;
pub use destination::{DestinationView, ShadowView};
pub use entries::{EntryContent, EntryView, FieldView, ValueView};
pub use erase::ErasureReport;
pub use failing::{FAILING_CUSTOMERS_MAX, FailingCustomer};
pub use held_sources::HeldSource;
pub use hold::{Hold, next_request, no_entry};
pub use keys::FindKeyFile;
pub use mapping_work::MappingWork;
pub use passed_entries::{PassedEntries, PassedEntry};
pub use preview::{ReplayedEntry, ReplayedField, ReplayedRequest};
pub use reload::{
    ChangedFile, ChangedLine, LiveSources, RefusedSet, ReloadEffect, ReloadFailure, ReloadResult,
    ReloadTrigger, ReloadView, SetChanges, SetView,
};
pub use replay::{
    IgnoredEntry, MappingChoice, REPLAYED_STATES, RejectedEntry, ReplayPreview, Replayed,
    Unmappable,
};
pub use secret_files::{SecretFileView, ShowKeyFiles};
pub use selection::{CHANGE_ENTRIES_MAX, ChangeSelection, Coverage, Reason};
pub use try_out::{EditedResult, TRY_BODY_BYTES_MAX, TriedEvent, TryOut, TryOuts, TryResult};
pub use unchanged::{Unchanged, UnchangedReason};
pub use versions::ResetFields;
pub use withdraw::{WithdrawAction, WithdrawPreview, WithdrawReport};

/// The operator's use cases, with the parts of the bridge that the use cases read and change.
pub struct Operations {
    pub outbox: Arc<dyn Outbox>,
    pub destination: Arc<Destination>,
    pub sources: Arc<dyn LiveSources>,
    /// The delivery rules. The preview of a replay follows the rules.
    pub rules: DeliveryRules,
    /// The event requests that failed authentication, or that the sender must change.
    pub denied: Arc<DeniedRequests>,
    /// The refused event requests of every problem type.
    pub refused: Arc<RefusedRequests>,
    /// The metric of the weakenings of the protection.
    pub weakened: WeakenedMetrics,
    pub find_key_file: FindKeyFile,
    pub show_key_files: ShowKeyFiles,
    /// The try-outs in progress.
    pub try_outs: TryOuts,
    /// The mapping of events for operators in progress.
    pub mapping_work: MappingWork,
    pub clock: Clock,
}

impl std::fmt::Debug for Operations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

/// A role that a use case requires. Every operator may read masked data, so reading requires no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Changes entries, customers, the mode of the destination, the sources or the files of the store.
    Operator,
    /// Sees the unmasked values of stored events.
    Revealer,
}

impl Role {
    /// Returns the word of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Revealer => "revealer",
        }
    }
}

/// An authenticated operator. Only the authentication of the ops listener creates an `Operator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    name: String,
    roles: Vec<Role>,
}

impl Operator {
    pub(super) const fn authenticated(name: String, roles: Vec<Role>) -> Self {
        Self { name, roles }
    }

    /// Returns an error unless the operator has this role. Every use case that requires a role calls `require` before it
    /// reads or changes anything.
    pub(crate) fn require(&self, role: Role) -> Result<(), Error> {
        if self.has(role) {
            return Ok(());
        }
        Err(Error::RoleRequired {
            role,
            operator: self.name.clone(),
        })
    }

    /// Returns an error unless the operator may see stored values with this visibility.
    fn require_sight(&self, visibility: Visibility) -> Result<(), Error> {
        match visibility {
            Visibility::Masked => Ok(()),
            Visibility::Revealed => self.require(Role::Revealer),
        }
    }

    /// Returns whether the operator has this role. Without it, the use cases that require the role return an error.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Returns the operator's name, which the audit log records.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The reason why a use case failed. The admin API shows the error text to the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "this action requires the role {}, which the operator {operator} does not have",
        role.as_str()
    )]
    RoleRequired { role: Role, operator: String },
    #[error("no entry has this number")]
    UnknownEntry,
    #[error("the entry has ended, and its event is erased")]
    EventErased,
    #[error("no source of this name is configured")]
    UnknownSource,
    #[error("the store knows no customer with this id: use the id in the list of entries")]
    UnknownCustomer,
    #[error(
        "the id is Imprint's id of one customer and the CRM's id of another: name the customer by imprint_id or by partner_id"
    )]
    AmbiguousCustomer,
    #[error("a request of this customer is in progress: repeat the command in a moment")]
    InFlight,
    #[error(
        "the filter has a state that this change does not accept: replay accepts parked, undecided and held, park accepts waiting, undecided and held, discard accepts waiting, undecided, parked and held"
    )]
    WrongState,
    #[error("a filter for waiting entries must contain a customer or an event id")]
    CustomerRequired,
    #[error("a reason is required: the audit log records the reason")]
    ReasonRequired,
    #[error("entry {0} stands twice: a correction has one event for each entry")]
    CorrectedTwice(EntryId),
    #[error("a reason has at most {} characters", selection::REASON_CHARS_MAX)]
    ReasonTooLong,
    #[error(
        "the files of the sources changed while the bridge read them: repeat the command in a moment"
    )]
    SourcesChanging,
    #[error(
        "the files of the sources do not respond: look at the disk of the folders sources_dir and schemas_dir"
    )]
    SourcesHang,
    #[error("the bridge is stopping")]
    Stopping,
    #[error("the entry belongs to another source")]
    OtherSource,
    #[error("another try-out is in progress: repeat it in a moment")]
    TryOutRunning,
    #[error("the system starts no further thread: repeat the request in a moment")]
    NoThread,
    #[error("the try-out needs too much time: try a smaller body or fewer expressions")]
    TryOutTooLong,
    #[error("a try-out takes a request body of at most {TRY_BODY_BYTES_MAX} bytes")]
    TryOutTooLarge,
    #[error("one request can change at most {CHANGE_ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error(
        "a backup has a name and no path, because the bridge writes it into the folder of its store. The name is 1 to {} of A-Z, a-z, 0-9, ., _ and -, and must not end as the files beside a store end, such as -wal, -journal, .lock and .replaced",
        backup::NAME_CHARS_MAX
    )]
    BackupName,
    #[error("the folder of the store has a file with this name: choose another name")]
    CopyExists,
    #[error(
        "a brake is open for at least 1 second and at most {} hours",
        BRAKE_OPEN_MAX.as_secs() / 3600
    )]
    BrakeOpenTime,
    #[error("another backup is in progress: repeat the command when it has ended")]
    BackupRunning,
    #[error(
        "the store is in PostgreSQL: back it up with the tools of PostgreSQL, such as pg_basebackup with an archive of the log"
    )]
    BackupInDatabase,
    #[error(
        "the disk has no space for a copy, and the store continues: a copy needs {} MiB of free space for a moment, and the disk has {} MiB. Free space, or enlarge the disk",
        needed.div_ceil(1024 * 1024),
        free / (1024 * 1024)
    )]
    NoCopySpace { needed: u64, free: u64 },
    #[error(
        "the disk became full during the copy, and the store continues: a copy needs {} MiB of free space for a moment, and no other program may use this space. Free space, or enlarge the disk or the quota",
        needed.div_ceil(1024 * 1024)
    )]
    CopySpaceEnded { needed: u64 },
    #[error(transparent)]
    Store(#[from] outbox::Error),
}

/// One page of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    pub records: Vec<AuditRecord>,
    /// True if every record of this page is unchanged since the bridge wrote the record.
    pub is_intact: bool,
}

/// The maximum number of records on one page of the audit log.
pub const AUDIT_PAGE_MAX: usize = 1_000;

impl Operations {
    /// Returns at most `limit` audit records with a number greater than `after`.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn audit(
        &self,
        _operator: &Operator,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, Error> {
        let limit = limit.clamp(1, AUDIT_PAGE_MAX);
        let records = self.outbox.audit(after, limit).await?;
        let is_intact = records.iter().all(|record| record.is_intact);
        Ok(AuditPage { records, is_intact })
    }

    /// Returns at most `limit` audit records before the record with this number, the newest first. Without a number, the
    /// newest records.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn newest_audit(
        &self,
        operator: &Operator,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, Error> {
        let head = self.outbox.audit_head().await?.record;
        let end = before.map_or(head, |before| head.min(before.saturating_sub(1)));
        let count = u64::try_from(limit.clamp(1, AUDIT_PAGE_MAX)).unwrap_or(u64::MAX);
        let mut page = self
            .audit(operator, end.saturating_sub(count), limit)
            .await?;
        page.records.retain(|record| record.number <= end);
        page.records.reverse();
        Ok(page)
    }

    /// Returns the event requests that the event listener denied or refused, of one source or of all sources.
    pub fn denied_requests(&self, _operator: &Operator, source: Option<&str>) -> Vec<DeniedRow> {
        self.denied.rows(source)
    }

    /// Returns the refused event requests of every problem type, by source.
    pub fn refused_requests(&self, _operator: &Operator) -> Vec<RefusedRow> {
        self.refused.rows()
    }

    fn audit_event(&self, operator: &Operator, action: &'static str, target: String) -> AuditEvent {
        AuditEvent {
            operator: operator.name.clone(),
            action,
            target,
            reason: None,
            at: self.clock.now(),
        }
    }
}
