//! Turns the errors of the HTTP client into outcomes.

use std::error::Error as StdError;
use std::io;

use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::super::{Cause, Outcome};
use crate::http::answer_reader::AnswerError;
use crate::http::egress::CertificateRefused;
use crate::http::proxy::ProxyError;

/// Returns the outcome of a request without an answer. Only a failed connection attempt, or a refusal before the first
/// byte, proves that Imprint did not apply the update.
pub(super) fn send_error(error: &SendRequestError) -> Outcome {
    match error {
        SendRequestError::Connect(
            ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved,
        ) => Outcome::Unavailable(Cause::Dns),
        SendRequestError::Connect(ConnectError::Io(error)) => connect_error(error),
        SendRequestError::Connect(ConnectError::Timeout) => Outcome::Unavailable(Cause::Connect),
        SendRequestError::Timeout => Outcome::Unknown(Cause::Deadline),
        SendRequestError::Response(error) => {
            let error = error.source().and_then(|source| source.downcast_ref());
            match error {
                Some(error) if is::<CertificateRefused>(error) => {
                    Outcome::Denied(Cause::ClientCertificate)
                }
                Some(error) => Outcome::Unknown(answer_error(error)),
                None => Outcome::Unknown(Cause::Protocol),
            }
        }
        SendRequestError::Send(error) if is::<CertificateRefused>(error) => {
            Outcome::Denied(Cause::ClientCertificate)
        }
        SendRequestError::Connect(_) | SendRequestError::Send(_) => {
            Outcome::Unknown(Cause::Disconnected)
        }
        // The last check refused the update.
        SendRequestError::Body(_) => Outcome::Unavailable(Cause::Disconnected),
        SendRequestError::Url(_)
        | SendRequestError::Http(_)
        | SendRequestError::H2(_)
        | SendRequestError::TunnelNotSupported
        | SendRequestError::Custom(..)
        | _ => Outcome::Unknown(Cause::Protocol),
    }
}

fn connect_error(error: &io::Error) -> Outcome {
    if is::<CertificateRefused>(error) {
        return Outcome::Denied(Cause::ClientCertificate);
    }
    if let Some(error) = inner::<ProxyError>(error) {
        return Outcome::Unavailable(Cause::Proxy(*error));
    }
    match inner(error) {
        Some(rustls::Error::InvalidCertificate(_)) => Outcome::Denied(Cause::Certificate),
        Some(_) => Outcome::Unavailable(Cause::Tls),
        None => Outcome::Unavailable(Cause::Connect),
    }
}

fn is<E: StdError + 'static>(error: &io::Error) -> bool {
    inner::<E>(error).is_some()
}

/// Returns the error that an IO error contains.
fn inner<E: StdError + 'static>(error: &io::Error) -> Option<&E> {
    let inner: &(dyn StdError + 'static) = error.get_ref()?;
    inner.downcast_ref()
}

/// Returns the cause of an answer whose body cannot be read.
pub(super) fn body_error(error: &PayloadError) -> Cause {
    match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => answer_error(error),
        PayloadError::Incomplete(None)
        | PayloadError::EncodingCorrupted
        | PayloadError::Overflow
        | PayloadError::UnknownLength
        | PayloadError::Http2Payload(_)
        | _ => Cause::Disconnected,
    }
}

/// Returns the cause of an answer that ended with an error. The log names the broken rule of HTTP, so that an operator
/// can report the rule to the owner of the server or proxy.
fn answer_error(error: &io::Error) -> Cause {
    match inner(error) {
        None | Some(AnswerError::Incomplete) => Cause::Disconnected,
        Some(
            error @ (AnswerError::Head
            | AnswerError::Length
            | AnswerError::Chunks
            | AnswerError::Interim
            | AnswerError::Surplus),
        ) => {
            tracing::warn!(reason = %error, "Imprint's answer breaks the rules of HTTP");
            Cause::Protocol
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::sync::Arc;

    use tracing::subscriber::with_default;

    use super::*;

    /// Returns the log lines while `task` runs.
    fn logged(task: impl FnOnce()) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::clone(&file))
            .finish();
        with_default(subscriber, task);
        let mut lines = String::new();
        let mut file = file.as_ref();
        file.rewind().unwrap();
        file.read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn only_an_answer_that_breaks_the_rules_of_http_is_logged_with_its_reason() {
        for (error, cause, reason) in [
            (AnswerError::Head, Cause::Protocol, "is not valid"),
            (AnswerError::Length, Cause::Protocol, "where its body ends"),
            (AnswerError::Chunks, Cause::Protocol, "the chunks"),
            (AnswerError::Interim, Cause::Protocol, "interim answers"),
            (
                AnswerError::Surplus,
                Cause::Protocol,
                "more than one answer",
            ),
            (AnswerError::Incomplete, Cause::Disconnected, ""),
        ] {
            let lines = logged(|| {
                assert_eq!(answer_error(&error.into()), cause, "{error}");
                let body = PayloadError::Incomplete(Some(error.into()));
                assert_eq!(body_error(&body), cause, "{error}");
            });
            let count = if reason.is_empty() { 0 } else { 2 };
            assert_eq!(lines.lines().count(), count, "{lines}");
            assert!(lines.contains(reason), "{lines}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(
            logged(|| assert_eq!(answer_error(&reset), Cause::Disconnected)),
            ""
        );
    }
}
