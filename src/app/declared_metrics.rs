//! The metrics of the running bridge, with the label values of the other rooms.

use super::store::CONDITIONS;
use super::weakening::{self, Weakening};
use crate::config::Config;
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::destination::OperatorMode;
use crate::ingress::auth::DenialReason;
use crate::metrics::{LabelSets, LogCounters, Metrics};
use crate::outbox::{IgnoreReason, ParkReason, State};
use crate::telemetry::missing_lines;

/// Creates the metrics, and shows in them the weakenings of the process and of the settings.
pub(super) fn declared_metrics(config: &Config) -> prometheus::Result<Metrics> {
    let labels = LabelSets {
        destination_states: &DestinationState::NAMES,
        destination_modes: &OperatorMode::NAMES,
        denials: &DenialReason::NAMES,
        end_states: &State::ENDINGS,
        ignore_reasons: &IgnoreReason::NAMES,
        park_reasons: &ParkReason::NAMES,
        store_conditions: &CONDITIONS,
        weakenings: &Weakening::NAMES,
    };
    let log = LogCounters {
        dropped: || missing_lines().dropped(),
        left_out: || missing_lines().left_out(),
    };
    let metrics = Metrics::new(labels, log)?;
    weakening::report(&metrics.weakened, config);
    Ok(metrics)
}
