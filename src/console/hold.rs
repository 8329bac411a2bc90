//! The reason why no request to Imprint is sent at present, for the pages of entries and customers that wait. Pure.

use super::cause::cause;
use super::sentence::Situation;
use super::words::TimeText;
use crate::dispatch::destination::OperatorMode;
use crate::time::Timestamp;

/// Returns why the bridge sends no regular request, with the time since when, as a clause: `an operator paused sending at
/// 02:41:00 UTC`. Returns `None` if the bridge sends requests.
pub(super) fn hold(situation: &Situation) -> Option<String> {
    let time = |at: Timestamp| TimeText::since(at, situation.now);
    let destination = &situation.destination;
    let mode_change = situation.mode_change.as_ref();
    let changed = mode_change.map(|change| format!(" since {}", time(change.at)));
    let changed = changed.unwrap_or_default();
    match destination.mode {
        OperatorMode::Paused => return Some(format!("sending is paused{changed}")),
        OperatorMode::Shadow => {
            return Some(format!("the shadow mode sends nothing{changed}"));
        }
        OperatorMode::Open => {}
    }
    let change = destination.change.as_ref();
    let since = change.map(|change| format!(" since {}", time(change.at)));
    let since = since.unwrap_or_default();
    let cause = change.and_then(cause).map(|cause| cause.text);
    match destination.state {
        "stopped" | "probing" => {
            let cause = cause.unwrap_or_else(|| "requests to Imprint fail".to_owned());
            Some(format!("{cause}{since}"))
        }
        "throttled" => {
            let until = destination.next_try_at.map(time);
            let until = until.map(|until| format!(" until {until}"));
            let until = until.unwrap_or_default();
            Some(format!("Imprint asked the bridge to wait{until}"))
        }
        _ => None,
    }
}
