//! The weakenings of the protection: each protection that the configuration or the machine has switched off.

use crate::config::sources::{Auth, SourceSettings};
use crate::config::{Config, OperatorFile, Profile, secret};
use crate::confinement::{self, GapKind};
use crate::core_dump;
use crate::intake::{BrakePolicy, CardNumberPolicy, Source, StoredParts};
use crate::metrics::WeakenedMetrics;

/// A protection that is switched off or that the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakening {
    LocalProfile,
    PlainHttp,
    UndocumentedHost,
    StoreNotSealed,
    NoAuthentication,
    NoSigningTime,
    GuessableSecret,
    ExposedSecret,
    CoreDumps,
    ConfinementOff,
    FilesOpen,
    FilesPartlyOpen,
    SystemCallsOpen,
    /// No key seals the audit log.
    AuditKey,
    /// No erasure journal, or a journal in the folder of the store.
    ErasureJournal,
    /// The token file of an operator names no role, so the operator has every role.
    OperatorRoles,
    WholeEvents,
    CardNumbers,
    /// The mass-change brake of a source is off.
    BrakeOff,
    DiskReserve,
    /// The database of the store confirms commits that a crash can lose.
    CommitsLost,
}

impl Weakening {
    const ALL: [Self; 21] = [
        Self::LocalProfile,
        Self::PlainHttp,
        Self::UndocumentedHost,
        Self::StoreNotSealed,
        Self::NoAuthentication,
        Self::NoSigningTime,
        Self::GuessableSecret,
        Self::ExposedSecret,
        Self::CoreDumps,
        Self::ConfinementOff,
        Self::FilesOpen,
        Self::FilesPartlyOpen,
        Self::SystemCallsOpen,
        Self::AuditKey,
        Self::ErasureJournal,
        Self::OperatorRoles,
        Self::WholeEvents,
        Self::CardNumbers,
        Self::BrakeOff,
        Self::DiskReserve,
        Self::CommitsLost,
    ];

    /// The names in the metric `weakened`.
    pub(crate) const NAMES: [&'static str; Self::ALL.len()] = [
        Self::LocalProfile.as_str(),
        Self::PlainHttp.as_str(),
        Self::UndocumentedHost.as_str(),
        Self::StoreNotSealed.as_str(),
        Self::NoAuthentication.as_str(),
        Self::NoSigningTime.as_str(),
        Self::GuessableSecret.as_str(),
        Self::ExposedSecret.as_str(),
        Self::CoreDumps.as_str(),
        Self::ConfinementOff.as_str(),
        Self::FilesOpen.as_str(),
        Self::FilesPartlyOpen.as_str(),
        Self::SystemCallsOpen.as_str(),
        Self::AuditKey.as_str(),
        Self::ErasureJournal.as_str(),
        Self::OperatorRoles.as_str(),
        Self::WholeEvents.as_str(),
        Self::CardNumbers.as_str(),
        Self::BrakeOff.as_str(),
        Self::DiskReserve.as_str(),
        Self::CommitsLost.as_str(),
    ];

    /// Returns the weakening with this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// Returns the name in the metric `weakened`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LocalProfile => "local_profile",
            Self::PlainHttp => "plain_http",
            Self::UndocumentedHost => "undocumented_host",
            Self::StoreNotSealed => "store_not_sealed",
            Self::NoAuthentication => "no_authentication",
            Self::NoSigningTime => "no_signing_time",
            Self::GuessableSecret => "guessable_secret",
            Self::ExposedSecret => "exposed_secret",
            Self::CoreDumps => "core_dumps",
            Self::ConfinementOff => "confinement_off",
            Self::FilesOpen => "files_open",
            Self::FilesPartlyOpen => "files_partly_open",
            Self::SystemCallsOpen => "system_calls_open",
            Self::AuditKey => "audit_key",
            Self::ErasureJournal => "no_erasure_journal",
            Self::OperatorRoles => "operator_roles",
            Self::WholeEvents => "whole_events_kept",
            Self::CardNumbers => "card_numbers_kept",
            Self::BrakeOff => "brake_off",
            Self::DiskReserve => "disk_reserve",
            Self::CommitsLost => "commits_lost",
        }
    }

    /// Returns a sentence about the weakening.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::LocalProfile => "the setting profile is \"local\", which allows unsafe settings",
            Self::PlainHttp => "the bridge sends its requests without TLS",
            Self::UndocumentedHost => "Imprint does not document the host in imprint.base_url",
            Self::StoreNotSealed => {
                "the store is not sealed, because the bridge has no sealing keys"
            }
            Self::NoAuthentication => {
                "everybody can send events as a source without authentication"
            }
            Self::NoSigningTime => {
                "the signature of a source covers no time, so anybody who saw a request can send it again"
            }
            Self::GuessableSecret => "a source allows secrets that an attacker could guess",
            Self::ExposedSecret => {
                "every user of the machine can read or write a secret file, which the log of the bridge names"
            }
            Self::CoreDumps => "a core dump could contain secrets and personal data",
            Self::ConfinementOff => "the process is not confined",
            Self::FilesOpen => "the process can open every file that its user can open",
            Self::FilesPartlyOpen => {
                "the kernel limits only some ways to use a file outside of the allowed folders"
            }
            Self::SystemCallsOpen => "the process can use every system call",
            Self::AuditKey => {
                "an attacker who can write the store can rewrite the audit log unnoticed"
            }
            Self::ErasureJournal => {
                "the restore of an older backup brings erased customers back, because no erasure journal is outside of the folder of the store"
            }
            Self::OperatorRoles => {
                "an operator has every role, because the name of a token file has no role"
            }
            Self::WholeEvents => "a source stores parts of events that no schema describes",
            Self::CardNumbers => "a source allows card numbers in the store",
            Self::BrakeOff => {
                "a faulty import of a source can reach all customers, because the brake of the source is off"
            }
            Self::DiskReserve => {
                "the store has no reserve of disk space for deliveries on a full disk"
            }
            Self::CommitsLost => {
                "a crash of the database can lose accepted events, because synchronous_commit or fsync is not on"
            }
        }
    }
}

/// Shows the weakenings of the process and of the settings in the metrics, and logs why the process is not confined.
pub(super) fn report(metrics: &WeakenedMetrics, config: &Config) {
    for (weakening, reason) in confinement_gaps() {
        let (name, meaning) = (weakening.as_str(), weakening.meaning());
        tracing::warn!(weakening = name, reason, "{meaning}");
        metrics.show(name, true);
    }
    let url = &config.imprint.base_url;
    let lacks_audit_key = config.audit_keys.paths().is_empty();
    let has_all_roles = |operator: &OperatorFile| operator.roles.is_none();
    let lacks_roles = config.operators.iter().any(has_all_roles);
    for (weakening, is_present) in [
        (Weakening::LocalProfile, config.profile == Profile::Local),
        (Weakening::PlainHttp, !url.has_tls()),
        (Weakening::UndocumentedHost, !url.is_documented()),
        (Weakening::StoreNotSealed, config.outbox.keys_dir.is_none()),
        (Weakening::CoreDumps, !core_dump::is_forbidden()),
        (Weakening::AuditKey, lacks_audit_key),
        (Weakening::ErasureJournal, config.outbox.lacks_journal()),
        (Weakening::OperatorRoles, lacks_roles),
    ] {
        metrics.show(weakening.as_str(), is_present);
    }
}

/// Shows the weakenings of the sources in use in the metrics.
pub(super) fn report_sources<'a>(
    metrics: &WeakenedMetrics,
    sources: impl Iterator<Item = &'a SourceSettings>,
) {
    let sources: Vec<_> = sources.collect();
    let is_any = |is_weak: fn(&Auth) -> bool| sources.iter().any(|one| is_weak(&one.auth));
    let keeps = |is_weak: fn(&Source) -> bool| sources.iter().any(|one| is_weak(&one.source));
    let has_no_brake = sources.iter().any(|one| one.brake == BrakePolicy::Off);
    let keeps_whole = |source: &Source| source.stored_parts == StoredParts::All;
    let keeps_cards = |source: &Source| source.card_numbers == CardNumberPolicy::Keep;
    for (weakening, is_present) in [
        (Weakening::NoAuthentication, is_any(Auth::is_none)),
        (Weakening::NoSigningTime, is_any(Auth::lacks_signing_time)),
        (
            Weakening::GuessableSecret,
            is_any(Auth::allows_guessable_secrets),
        ),
        (Weakening::WholeEvents, keeps(keeps_whole)),
        (Weakening::CardNumbers, keeps(keeps_cards)),
        (Weakening::BrakeOff, has_no_brake),
    ] {
        metrics.show(weakening.as_str(), is_present);
    }
}

/// Shows in the metrics whether every user of the machine can read or write one of these secret files.
pub(super) fn report_secrets(metrics: &WeakenedMetrics, config: &Config, auths: &[&Auth]) {
    let is_exposed = config
        .secret_files(auths)
        .iter()
        .any(|file| secret::is_exposed(file));
    metrics.show(Weakening::ExposedSecret.as_str(), is_exposed);
}

/// Returns the limits that the process lacks, each with its reason.
fn confinement_gaps() -> Vec<(Weakening, &'static str)> {
    let Some(gaps) = confinement::gaps() else {
        return vec![(Weakening::ConfinementOff, "confinement.mode is \"off\"")];
    };
    let weakening = |kind| match kind {
        GapKind::Files => Weakening::FilesOpen,
        GapKind::SomeFileRights => Weakening::FilesPartlyOpen,
        GapKind::SystemCalls => Weakening::SystemCallsOpen,
    };
    let gaps = gaps.iter();
    gaps.map(|gap| (weakening(gap.kind), gap.reason.as_str()))
        .collect()
}
