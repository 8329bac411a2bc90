//! The cause of a state of the destination as a clause, with what an operator can do. Pure.

use crate::dispatch::destination::StateChange;

/// Why the destination left its last state, as a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseClause {
    pub text: String,
    pub advice: Option<&'static str>,
    /// True if something answers every request, but does not serve it: Imprint is not down.
    pub is_answer: bool,
}

impl CauseClause {
    /// Describes a cause for which the bridge has no own advice.
    pub fn other(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            advice: Some(DOWN),
            is_answer: false,
        }
    }
}

const DOWN: &str = "Nothing is lost, and these requests count against no limit. The bridge probes Imprint and goes on by itself. If it lasts, ask Imprint, and look at the network in between.";
const ADDRESS: &str = "Compare imprint.base_url with the address of Imprint, and look at the gateway in between: something answers, but does not know the address. Nothing is lost, and the bridge goes on as soon as requests are served.";
const KEY: &str = "Put a valid key into imprint.key_file. The bridge reads the file every few seconds and goes on by itself.";
const MANY: &str = "Compare the host and the key with the environment: answers about many different customers have one common cause.";

const REJECTED: &str = "If Imprint rejects only some customers, Problems shows the field. If it rejects all, compare the host and the key with the environment.";

/// Returns the cause of a change, from the words of the log.
pub fn cause(change: &StateChange) -> Option<CauseClause> {
    let status = change.cause.strip_prefix("status_");
    let (text, advice) = match (change.outcome, status) {
        ("denied", Some("401")) => ("Imprint refuses the API key (401)".to_owned(), KEY),
        ("denied", Some(status)) if status.starts_with('3') => {
            let text = format!(
                "Imprint redirects the requests ({status}), and the bridge follows no redirect"
            );
            (
                text,
                "Check imprint.base_url, and whether a proxy answers instead of Imprint.",
            )
        }
        ("denied" | "unclear", Some(status)) => (
            format!("Imprint forbids the update of customers ({status})"),
            KEY,
        ),
        ("not_found", _) => {
            let text = "Imprint says of many customers in a row that they do not exist";
            (text.to_owned(), MANY)
        }
        ("rejected", status) => {
            let status = status.map(|status| format!(" ({status})"));
            let text = "Imprint rejects the updates of many customers in a row";
            (format!("{text}{}", status.unwrap_or_default()), REJECTED)
        }
        (_, Some(status)) if is_wrong_address(status) => (
            format!("Imprint answers every request with {status}"),
            ADDRESS,
        ),
        (_, Some(status)) => (format!("Imprint answers with errors ({status})"), DOWN),
        (_, None) => {
            let (text, advice) = connection_cause(&change.cause)?;
            (text.to_owned(), advice)
        }
    };
    Some(CauseClause {
        text,
        advice: Some(advice),
        is_answer: advice == ADDRESS,
    })
}

/// Returns whether a status says that nothing is at the address: a wrong route, as opposed to an outage (RFC 9110, section
/// 15.5).
fn is_wrong_address(status: &str) -> bool {
    matches!(status, "404" | "405" | "410")
}

/// Returns the cause of a request without an answer, or with an answer that nobody can read.
pub fn connection_cause(cause: &str) -> Option<(&'static str, &'static str)> {
    Some(match cause {
        "protocol" | "too_long" | "unreadable" | "wrong_customer" => {
            ("Imprint's answers are not readable", DOWN)
        }
        "certificate" => (
            "the certificate of Imprint's server is not valid",
            "Check imprint.base_url and imprint.ca_file, and whether a proxy inspects TLS.",
        ),
        "client_certificate" => (
            "Imprint refuses the client certificate of the bridge",
            "Renew the client certificate. The bridge reads its files every few seconds.",
        ),
        "dns" => ("the name of Imprint's host does not resolve", DOWN),
        "connect" => ("Imprint accepts no connection", DOWN),
        "tls" => ("the TLS handshake with Imprint fails", DOWN),
        "deadline" => ("requests to Imprint time out", DOWN),
        "disconnected" => ("Imprint closes connections before its answer", DOWN),
        proxy if proxy.starts_with("proxy_") => ("the proxy gives no connection to Imprint", DOWN),
        _ => return None,
    })
}
