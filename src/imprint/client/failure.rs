//! Turns the errors of the HTTP client into outcomes.

use std::error::Error as StdError;
use std::io;

use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::super::{Cause, Outcome};
use crate::http::answer_reader::AnswerError;

/// Returns the outcome of a request without an answer. Only a failed connection attempt proves that Imprint did not
/// apply the update.
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
            Outcome::Unknown(error.map_or(Cause::Protocol, answer_error))
        }
        SendRequestError::Connect(_) | SendRequestError::Send(_) => {
            Outcome::Unknown(Cause::Disconnected)
        }
        SendRequestError::Url(_)
        | SendRequestError::Http(_)
        | SendRequestError::H2(_)
        | SendRequestError::TunnelNotSupported
        | SendRequestError::Body(_)
        | SendRequestError::Custom(..)
        | _ => Outcome::Unknown(Cause::Protocol),
    }
}

fn connect_error(error: &io::Error) -> Outcome {
    let inner = error.get_ref().and_then(|inner| {
        let inner: &(dyn StdError + 'static) = inner;
        inner.downcast_ref::<rustls::Error>()
    });
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Outcome::Denied(Cause::Certificate),
        Some(_) => Outcome::Unavailable(Cause::Tls),
        None => Outcome::Unavailable(Cause::Connect),
    }
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

/// Returns the cause of an answer that ended with an error.
fn answer_error(error: &io::Error) -> Cause {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        None | Some(AnswerError::Incomplete) => Cause::Disconnected,
        Some(
            AnswerError::Head
            | AnswerError::Length
            | AnswerError::Chunks
            | AnswerError::Interim
            | AnswerError::Surplus,
        ) => Cause::Protocol,
    }
}
