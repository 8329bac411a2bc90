//! The handshake of the CloudEvents webhook specification: an origin asks for permission to deliver events to the
//! bridge.

use actix_web::HttpResponse;
use actix_web::http::header::{ALLOW, HeaderMap};

use super::{EVENTS_ALLOW, Endpoint};
use crate::http::single_header::SingleHeader;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";
/// The permitted rate of a source without a rate quota.
const NO_LIMIT: &str = "*";

/// Grants permission to the request's origin if the origin is on the source's list. The response contains no origin
/// that is not on the list.
///
/// An origin is a DNS name, so upper and lower case are equal. The response repeats the origin as the request spells it.
/// The permitted rate is the rate quota of the source in requests per minute, whatever rate the request asks for (HTTP
/// 1.1 Web Hooks for Event Delivery 1.0.2, section 4.2).
pub(super) fn handshake(endpoint: &Endpoint, headers: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((ALLOW, EVENTS_ALLOW));
    let origin = SingleHeader::read(headers, REQUEST_ORIGIN).text();
    let is_allowed = |origin: &&str| {
        let origin = origin.to_ascii_lowercase();
        endpoint.allowed_origins.contains(&origin)
    };
    if let Some(origin) = origin.filter(is_allowed) {
        let rate = endpoint.quota.requests_per_minute();
        let rate = rate.map_or_else(|| NO_LIMIT.to_owned(), |rate| rate.to_string());
        response.insert_header((ALLOWED_ORIGIN, origin));
        response.insert_header((ALLOWED_RATE, rate));
    }
    response.finish()
}
