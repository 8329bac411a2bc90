//! The reason why the bridge sends no request to Imprint at present, and what the next request of a customer waits for: the
//! console and the command line say the same. Pure.

use super::cause::cause;
use super::destination::DestinationView;
use crate::dispatch::destination::OperatorMode;
use crate::outbox::{LaneKey, LaneWait, State};
use crate::time::Timestamp;

/// The reason why the bridge sends no regular request at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The reason as a clause, such as `sending is paused`.
    pub reason: String,
    /// The time since which the bridge sends no request, if it is known.
    pub since: Option<Timestamp>,
    /// The time until which Imprint asked the bridge to wait.
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Returns why the bridge sends no regular request. Returns `None` if the bridge sends requests. `mode_changed_at` is the
    /// time at which an operator has set the mode.
    pub fn of(destination: &DestinationView, mode_changed_at: Option<Timestamp>) -> Option<Self> {
        let by_operator = |reason: &str| {
            Some(Self {
                reason: reason.to_owned(),
                since: mode_changed_at,
                until: None,
            })
        };
        match destination.mode {
            OperatorMode::Paused => return by_operator("sending is paused"),
            OperatorMode::Shadow => return by_operator("the shadow mode sends nothing"),
            OperatorMode::Open => {}
        }
        let change = destination.change.as_ref();
        match destination.state {
            "stopped" | "probing" => {
                let cause = change.and_then(cause).map(|cause| cause.text);
                Some(Self {
                    reason: cause.unwrap_or_else(|| "requests to Imprint fail".to_owned()),
                    since: change.map(|change| change.at),
                    until: None,
                })
            }
            "throttled" => Some(Self {
                reason: "Imprint asked the bridge to wait".to_owned(),
                since: None,
                until: destination.next_try_at,
            }),
            _ => None,
        }
    }

    /// Returns the reason with its times: `sending is paused since 02:41:00 UTC`.
    pub fn text(&self, time: impl Fn(Timestamp) -> String) -> String {
        let since = self.since.map(|at| format!(" since {}", time(at)));
        let until = self.until.map(|at| format!(" until {}", time(at)));
        [
            self.reason.as_str(),
            &since.unwrap_or_default(),
            &until.unwrap_or_default(),
        ]
        .concat()
    }
}

/// Says what the next request of a lane waits for.
///
/// `stopped` has the numbers of the customer's entries that wait for an
/// operator, by state. `hold` is the reason why the bridge sends no request at present. `due` formats the time of a later
/// request, such as `in 40 s`.
pub fn next_request(
    wait: &LaneWait,
    stopped: &[(State, usize)],
    hold: Option<&str>,
    now: Timestamp,
    due: impl FnOnce(Timestamp) -> String,
) -> String {
    let request = match wait.key {
        LaneKey::Imprint(_) => "The next request",
        LaneKey::Partner(_) => "The search for Imprint's id of the customer",
    };
    match (wait.due, hold) {
        (None, _) => no_entry(stopped),
        // The time at which the request was due says nothing while the bridge sends none.
        (Some(_), Some(hold)) => format!("{request} waits: {hold}."),
        (Some(at), None) if at <= now => format!("{request} is due now."),
        (Some(at), None) => format!("{request} is due {}.", due(at)),
    }
}

/// Says that no entry waits for delivery, and how many entries wait for an operator.
pub fn no_entry(stopped: &[(State, usize)]) -> String {
    let stopped: Vec<String> = stopped
        .iter()
        .map(|(state, count)| match count {
            1 => format!("1 entry is {}", state.as_str()),
            count if *count >= STOPPED_MAX => {
                format!("at least {count} entries are {}", state.as_str())
            }
            count => format!("{count} entries are {}", state.as_str()),
        })
        .collect();
    match stopped.is_empty() {
        true => "No entry waits.".to_owned(),
        false => format!(
            "No entry waits for delivery, but {}, and an operator must decide.",
            stopped.join(", ")
        ),
    }
}

/// The maximum number of entries of one state that the bridge counts for one customer.
pub(super) const STOPPED_MAX: usize = 100;
