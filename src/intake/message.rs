//! The parts of a request that intake reads, besides its media type.

use crate::event::RequestHeaders;

/// The parts of a request from which intake reads events.
#[derive(Clone, Copy)]
pub struct RequestMessage<'a> {
    /// The headers that the expressions of the source read.
    pub headers: &'a RequestHeaders,
    pub body: &'a [u8],
}

/// Prints only the names of the headers, because the body is personal data.
impl std::fmt::Debug for RequestMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RequestMessage").field(self.headers).finish()
    }
}
