//! HTTP code that several top-level modules share: HTTP clients, `Retry-After`, problem documents, headers that must not
//! occur twice, and the lists of denied and refused requests.
//!
//! The module `http` does not depend on other parts of the bridge, on sources or on Imprint. Each module with an HTTP
//! server (`ingress`, `ops`, `sandbox`) builds its own responses.

pub(crate) use awc::http::header::{HeaderName, HeaderValue};
pub(crate) use awc::http::{Method, StatusCode, Uri, header};

pub mod answer_reader;
pub mod client;
pub mod connection;
mod connector;
pub mod denied;
pub mod egress;
pub mod framing;
pub(crate) mod header_line;
pub mod idle;
mod link;
pub mod openapi;
pub mod problem;
pub mod proxy;
pub mod refused;
pub mod retry_after;
pub mod single_header;
pub mod trusted_proxies;
