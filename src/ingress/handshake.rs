//! The handshake of the CloudEvents webhook specification: an origin asks for permission to deliver events to the
//! bridge.

use actix_web::HttpResponse;
use actix_web::http::header::{ALLOW, HeaderMap};

use super::{EVENTS_ALLOW, Endpoint};
use crate::http::single_header::SingleHeader;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";

/// Grants permission to the request's origin if the origin is on the source's list. The response contains no origin
/// that is not on the list, and no permitted request rate.
pub(super) fn handshake(endpoint: &Endpoint, headers: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((ALLOW, EVENTS_ALLOW));
    let origin = SingleHeader::read(headers, REQUEST_ORIGIN).text();
    if let Some(origin) = origin.filter(|origin| endpoint.allowed_origins.contains(*origin)) {
        response.insert_header((ALLOWED_ORIGIN, origin));
    }
    response.finish()
}
