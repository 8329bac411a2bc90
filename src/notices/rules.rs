//! The rules of the notices. Each rule has the name, the severity, the duration and the summary of an alert rule in
//! `deploy/monitoring/alerts.yaml`, and the same condition.
//!
//! Two alert rules have no notice: `ImprintBridgeNoData` and `ImprintBridgeRestarts`. A process cannot report its own
//! absence.

use std::time::Duration;

use super::history::SeriesHistory;
use super::rows::Rows;

mod delivery;
pub(super) mod intake;
mod protection;
mod store;

/// The severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Warning,
    Critical,
}

impl Severity {
    /// Returns the severity as the alert rules spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A rule that decides when the bridge sends a notice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The name of the alert rule.
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// The time for which the condition must hold before its notice.
    pub(super) lasting: Duration,
    /// A sentence for operators.
    pub(super) summary: &'static str,
    /// Returns the series for which the condition holds, each with its number.
    pub(super) holds: fn(&SeriesHistory) -> Rows,
}

/// Returns the rules.
pub(super) const fn rules() -> &'static [Rule] {
    RULES
}

/// The rule about silent sources.
pub(super) const SOURCE_SILENT: &str = "ImprintBridgeSourceSilent";
/// The rule about the fields of a source.
pub(super) const FIELD_DRIFT: &str = "ImprintBridgeFieldDrift";

/// Minutes of a window.
const fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// Hours of a window.
const fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

const RULES: &[Rule] = &[
    Rule {
        name: "ImprintBridgeMisdirected",
        severity: Severity::Critical,
        lasting: Duration::ZERO,
        summary: "Values of an event reached another customer at Imprint.",
        holds: delivery::misdirected,
    },
    Rule {
        name: "ImprintBridgeAuditLogShortened",
        severity: Severity::Critical,
        lasting: Duration::ZERO,
        summary: "The newest records of the audit log are missing.",
        holds: protection::audit_log_shortened,
    },
    Rule {
        name: "ImprintBridgeLoginsFail",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Somebody sends many wrong tokens to the admin API.",
        holds: protection::logins_fail,
    },
    Rule {
        name: "ImprintBridgeStorageQuota",
        severity: Severity::Warning,
        lasting: Duration::from_mins(5),
        summary: "The unfinished events of a source take more than 80 % of its storage quota.",
        holds: intake::storage_quota,
    },
    Rule {
        name: "ImprintBridgeOverQuota",
        severity: Severity::Warning,
        lasting: Duration::from_mins(10),
        summary: "The bridge has refused events of a source for 10 minutes, because the source exceeds a quota.",
        holds: intake::over_quota,
    },
    Rule {
        name: "ImprintBridgeVersionJump",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Events are parked because their versions are absurdly far from the other versions of the customer.",
        holds: intake::version_jump,
    },
    Rule {
        name: "ImprintBridgeInvalidEvents",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Invalid events of a source are parked. The sender was told that the bridge has accepted them.",
        holds: intake::invalid_events,
    },
    Rule {
        name: "ImprintBridgeRefusedEvents",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "The bridge has refused requests of a source, and the sender must change them.",
        holds: intake::refused_events,
    },
    Rule {
        name: "ImprintBridgeSourcesRefused",
        severity: Severity::Warning,
        lasting: Duration::from_secs(30),
        summary: "The bridge does not use the newest files of its sources, because the files have errors.",
        holds: intake::sources_refused,
    },
    Rule {
        name: "ImprintBridgeWeakened",
        severity: Severity::Warning,
        lasting: Duration::from_mins(15),
        summary: "A protection of the bridge is switched off, or the machine does not have it.",
        holds: protection::weakened,
    },
    Rule {
        name: "ImprintBridgeSealingKeyMissing",
        severity: Severity::Critical,
        lasting: Duration::from_mins(1),
        summary: "A sealing key is missing, and the customers whose records need the key wait.",
        holds: protection::sealing_key_missing,
    },
    Rule {
        name: "ImprintBridgeSealingKeysUnreadable",
        severity: Severity::Warning,
        lasting: Duration::from_mins(2),
        summary: "The bridge cannot read its sealing keys. The previous keys stay in use.",
        holds: protection::sealing_keys_unreadable,
    },
    Rule {
        name: "ImprintBridgeSecretUnusable",
        severity: Severity::Warning,
        lasting: Duration::from_mins(2),
        summary: "A secret file of the bridge is missing, unusable or does not respond.",
        holds: protection::secret_unusable,
    },
    Rule {
        name: "ImprintBridgeSecretUnusableForLong",
        severity: Severity::Critical,
        lasting: Duration::from_mins(15),
        summary: "The bridge has failed to read a secret file for 15 minutes, and works with an old secret or without it.",
        holds: protection::secret_unusable,
    },
    Rule {
        name: "ImprintBridgeStopped",
        severity: Severity::Critical,
        lasting: Duration::from_secs(15),
        summary: "Imprint refuses the requests, and the bridge has stopped sending.",
        holds: delivery::stopped,
    },
    Rule {
        name: "ImprintBridgeDown",
        severity: Severity::Warning,
        lasting: Duration::from_secs(15),
        summary: "Imprint is down, or fails every request.",
        holds: delivery::down,
    },
    Rule {
        name: "ImprintBridgeSlow",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Imprint needs more than 2 seconds for a request, on average over 2 minutes.",
        holds: delivery::slow,
    },
    Rule {
        name: "ImprintBridgeUnproven",
        severity: Severity::Warning,
        lasting: Duration::from_mins(10),
        summary: "Imprint answers that customers do not exist, and nothing proves that these answers are true.",
        holds: delivery::unproven,
    },
    Rule {
        name: "ImprintBridgeUndecided",
        severity: Severity::Warning,
        lasting: Duration::from_mins(1),
        summary: "Events have waited for dispatch.undecided_max without evidence of the cause of their failures.",
        holds: delivery::undecided,
    },
    Rule {
        name: "ImprintBridgeMassChangeHeld",
        severity: Severity::Critical,
        lasting: Duration::ZERO,
        summary: "The mass-change brake holds entries until an operator decides.",
        holds: intake::mass_change_held,
    },
    Rule {
        name: "ImprintBridgeNotDelivering",
        severity: Severity::Critical,
        lasting: Duration::from_mins(1),
        summary: "Events wait, and the bridge has delivered nothing for 15 minutes.",
        holds: delivery::not_delivering,
    },
    Rule {
        name: "ImprintBridgeBacklogOld",
        severity: Severity::Warning,
        lasting: Duration::from_mins(5),
        summary: "The oldest event has waited for more than an hour.",
        holds: delivery::backlog_old,
    },
    Rule {
        name: "ImprintBridgePaused",
        severity: Severity::Warning,
        lasting: Duration::from_hours(1),
        summary: "An operator has stopped the delivery for more than an hour, and events wait.",
        holds: delivery::paused,
    },
    Rule {
        name: "ImprintBridgeThrottled",
        severity: Severity::Warning,
        lasting: Duration::from_mins(30),
        summary: "Imprint has asked the bridge to wait for 30 minutes.",
        holds: delivery::throttled,
    },
    Rule {
        name: "ImprintBridgeParked",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Events are parked until an operator decides.",
        holds: delivery::parked,
    },
    Rule {
        name: "ImprintBridgeUnknownOutcomes",
        severity: Severity::Warning,
        lasting: Duration::from_mins(5),
        summary: "More than 5 % of the requests to Imprint end without a clear answer.",
        holds: delivery::unknown_outcomes,
    },
    Rule {
        name: "ImprintBridgeStoreUnavailable",
        severity: Severity::Critical,
        lasting: Duration::from_mins(1),
        summary: "The store does not work, and the bridge refuses events with 503.",
        holds: store::store_unavailable,
    },
    Rule {
        name: "ImprintBridgeStoreFull",
        severity: Severity::Critical,
        lasting: Duration::ZERO,
        summary: "The disk of the store is full, and the bridge refuses every event with 503.",
        holds: store::store_full,
    },
    Rule {
        name: "ImprintBridgeStoreNearlyFull",
        severity: Severity::Warning,
        lasting: Duration::from_mins(15),
        summary: "The disk of the store has less than 512 MiB free, or is full within a day.",
        holds: store::store_nearly_full,
    },
    Rule {
        name: "ImprintBridgeBackupOld",
        severity: Severity::Warning,
        lasting: Duration::from_hours(1),
        summary: "The latest backup of the store is older than 26 hours.",
        holds: store::backup_old,
    },
    Rule {
        name: SOURCE_SILENT,
        severity: Severity::Warning,
        lasting: Duration::from_mins(10),
        summary: "A source has sent no event for 3 hours, and usually sends more than 10 an hour.",
        holds: intake::source_silent,
    },
    Rule {
        name: FIELD_DRIFT,
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "A field of a source is suddenly missing from every event, or suddenly empty in most events.",
        holds: intake::field_drift,
    },
    Rule {
        name: "ImprintBridgeRefusalRate",
        severity: Severity::Warning,
        lasting: Duration::from_mins(10),
        summary: "The bridge refuses more than a tenth of the requests of a source.",
        holds: intake::refusal_rate,
    },
    Rule {
        name: "ImprintBridgeUnauthenticated",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "Many requests to the event listener fail authentication.",
        holds: protection::unauthenticated,
    },
    Rule {
        name: "ImprintBridgeLogLinesLost",
        severity: Severity::Warning,
        lasting: Duration::ZERO,
        summary: "The bridge drops log lines, because nobody reads its standard error fast enough.",
        holds: store::log_lines_lost,
    },
];
