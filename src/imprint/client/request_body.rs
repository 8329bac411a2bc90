//! The body of an update. The HTTP library asks for it on an open connection, before it writes the first byte of the
//! request.

use awc::body::{MessageBody, SizedStream};
use futures_util::stream;

use super::super::LastCheck;

/// The error of an update that the last check refused. Nothing of the update was sent.
#[derive(Debug, thiserror::Error)]
#[error("the last check refused the update")]
struct RefusedByCheck;

/// Returns the body of an update. If the check refuses the update, the HTTP library gets an error and closes the
/// connection.
pub(super) fn checked(bytes: Vec<u8>, check: LastCheck) -> impl MessageBody + 'static {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let body = async move {
        match check.allows() {
            true => Ok(bytes.into()),
            false => Err(RefusedByCheck),
        }
    };
    SizedStream::new(length, stream::once(body))
}
