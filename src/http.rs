//! HTTP pieces that more than one room needs: the client pool, `Retry-After`, problem documents, single-value headers.
//!
//! Nothing here knows the bridge, its sources or Imprint. Servers build their responses in their own rooms.

pub(crate) use awc::http::header::{HeaderName, HeaderValue};
pub(crate) use awc::http::{Method, StatusCode, Uri, header};

pub mod client;
pub mod problem;
pub mod retry_after;
pub mod single_header;
