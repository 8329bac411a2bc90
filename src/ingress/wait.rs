//! The request header `Prefer: wait=N` (RFC 7240): the sender waits up to N seconds for the final state of its events.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use futures_util::stream::FuturesUnordered;
use futures_util::{TryFutureExt as _, TryStreamExt as _};
use tokio::sync::watch;

use crate::ingress::Ingress;
use crate::outbox::{AppendedEntry, State};

/// The maximum number of seconds in `Prefer: wait=N`. Common gateways have a longer timeout.
const SECONDS_MAX: u64 = 30;

/// The preference of a sender to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preference {
    pub(super) seconds: u64,
    /// Whether the sender would wait longer than the bridge does.
    pub(super) is_shortened: bool,
}

/// Returns the number of seconds for which the sender wants to wait, at most [`SECONDS_MAX`]. The bridge ignores an invalid
/// value.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Preference> {
    let wanted = headers
        .get_all("prefer")
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .find_map(wait)?;
    let is_number = !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too long for the type is also too large.
    let wanted = is_number.then(|| wanted.parse().unwrap_or(u64::MAX))?;
    (wanted > 0).then(|| Preference {
        seconds: wanted.min(SECONDS_MAX),
        is_shortened: wanted > SECONDS_MAX,
    })
}

/// Returns the value of the preference `wait`, if this item of the `Prefer` header is `wait`.
fn wait(preference: &str) -> Option<&str> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let is_wait = name.trim().eq_ignore_ascii_case("wait");
    is_wait.then_some(value)
}

/// Waits until every entry in `stored` has its final state, and returns the states. Returns `None` if the time runs
/// out, the process stops, the store fails, or too many events wait.
pub(super) async fn settled(
    ingress: &Ingress,
    stored: &[AppendedEntry],
    seconds: u64,
) -> Option<Vec<State>> {
    let wait = |(place, stored): (usize, &AppendedEntry)| {
        let settled = ingress.outbox.wait_settled(stored.entry);
        settled.map_ok(move |state| (place, state))
    };
    // In no order, so that the first error ends the wait.
    let all: FuturesUnordered<_> = stored.iter().enumerate().map(wait).collect();
    let all = all.try_collect::<BTreeMap<usize, State>>();
    tokio::select! {
        states = tokio::time::timeout(Duration::from_secs(seconds), all) => {
            Some(states.ok()?.ok()?.into_values().collect())
        }
        () = stopped(ingress.stopping.clone()) => None,
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        // The sender of the stop signal no longer exists, so the signal never arrives.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_wait_of_at_least_one_second_is_a_preference() {
        for (lines, expected) in [
            (vec!["wait=10"], Some(10)),
            (vec!["respond-async, WAIT = \"1\"; x=y"], Some(1)),
            (vec!["return=minimal", "wait=30"], Some(30)),
            (vec!["wait=5", "wait=9"], Some(5)),
            (vec!["wait=0"], None),
            (vec!["wait=31"], Some(30)),
            (vec!["wait=-1"], None),
            (vec!["wait=1.5"], None),
            (vec!["wait"], None),
            (vec!["wait="], None),
            (vec!["waiting=5"], None),
            (vec!["wait=99999999999999999999"], Some(30)),
            (vec![""], None),
            (vec![], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(
                    HeaderName::from_static("prefer"),
                    HeaderValue::from_static(line),
                );
            }
            let found = preferred(&headers);
            assert_eq!(found.map(|found| found.seconds), expected, "{lines:?}");
        }
    }
}
