//! The state of sending to Imprint at the start of the process.

use std::sync::Arc;

use crate::dispatch::core::StoredWait;
use crate::dispatch::destination::{Destination, OperatorMode};
use crate::dispatch::pace::Rate;
use crate::outbox::{Outbox, Setting};
use crate::time::Timestamp;

/// Creates the [`Destination`], the state of sending to Imprint.
///
/// Restores two values from the store: the mode that an operator has set, and the time until which Imprint has asked
/// the bridge to send nothing.
pub(super) async fn restored_destination(
    outbox: &dyn Outbox,
    rate: Rate,
    now: Timestamp,
) -> anyhow::Result<Arc<Destination>> {
    let destination = Destination::new(rate, now);
    let mode = outbox.setting(Setting::DestinationMode).await?;
    destination.set_mode(mode.map_or_else(OperatorMode::default, |word| stored_mode(&word)));
    let until = outbox
        .setting(Setting::ThrottledUntil)
        .await?
        .and_then(|text| StoredWait::continued(&text, now));
    if let Some(until) = until {
        destination.wait_until(until);
    }
    Ok(Arc::new(destination))
}

/// Returns the mode that an operator has set. A damaged mode was possibly a pause, so the bridge sends nothing until an operator
/// sets a mode.
fn stored_mode(word: &str) -> OperatorMode {
    OperatorMode::parse(word).unwrap_or_else(|| {
        tracing::error!(
            "the mode of the destination in the store is damaged, so sending is paused; set the mode again"
        );
        OperatorMode::Paused
    })
}
