//! The GET route of the event listener: returns the receipt of one event to the source that sent the event. A receipt
//! shows the state of the event, but no customer data.
//!
//! The bridge authenticates a receipt request like a POST. With Standard Webhooks, the sender signs an empty body, and
//! `webhook-id` must be the event id in the path: a signature for one receipt is then not valid for another receipt.
//! For the same reason, a source with its own HMAC scheme must sign the path.

use std::collections::BTreeMap;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Query};
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::event::{Attribute, EventError, SourceName};
use crate::ingress::auth::{Denial, Untrusted};
use crate::ingress::{Ingress, Refusal, store_failed};
use crate::intake::{Rejection, RejectionClass};
use crate::outbox::{IgnoreReason, Lookup, Receipt};

/// Answers a GET request with the receipt of the event in the path.
pub(super) async fn receipt(
    ingress: &Ingress,
    request: &HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let endpoints = ingress.endpoints.current();
    let endpoint = endpoints.of_request(request)?;
    // Before the verification: a missing signature is not the reason, because no signature would be accepted.
    if let Some(denial) = endpoint.verifier.current().receipt_denial() {
        return Err(ingress.unauthenticated(endpoint, denial));
    }
    let authentic = ingress.verify(endpoint, request, Untrusted::new(Bytes::new()))?;
    let lookup = lookup(&endpoint.source.name, request)?;
    if !authentic.is_about(&lookup.id) {
        return Err(ingress.unauthenticated(endpoint, Denial::other_event()));
    }
    let found = ingress.outbox.find(lookup).await;
    let receipt = found
        .map_err(|error| store_failed(&error))?
        .ok_or(Refusal::UnknownEvent)?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(ReceiptBody::from(&receipt)))
}

fn lookup(source: &SourceName, request: &HttpRequest) -> Result<Lookup, Refusal> {
    Ok(Lookup {
        source: source.clone(),
        ce_source: ce_source(request)?,
        id: id(request).ok_or(Refusal::UnknownEvent)?,
    })
}

/// Returns the event id in the path. The router of actix decodes percent-encoding, but leaves `%2F` and `%25` as they
/// are. This function decodes these two.
fn id(request: &HttpRequest) -> Option<Attribute> {
    let raw = request.match_info().get("id")?;
    let id = percent_decode_str(raw).decode_utf8().ok()?;
    Attribute::parse(&id).ok()
}

#[derive(Deserialize)]
struct ReceiptQuery {
    ce_source: Option<String>,
}

fn ce_source(request: &HttpRequest) -> Result<Option<Attribute>, Refusal> {
    let query = Query::<ReceiptQuery>::from_query(request.query_string())
        .map_err(|_unreadable| unreadable("The query string cannot be parsed."))?;
    let parse = |raw: &String| {
        Attribute::parse(raw).map_err(|_other| {
            unreadable("ce_source must have 1 to 256 characters and no control characters.")
        })
    };
    query.ce_source.as_ref().map(parse).transpose()
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::from(Rejection::new(
        RejectionClass::Malformed,
        vec![EventError {
            pointer: String::new(),
            rule: "attribute".to_owned(),
            location: "query/ce_source".to_owned(),
            detail: detail.to_owned(),
        }],
    ))
}

/// The JSON body of a receipt.
#[derive(Serialize)]
struct ReceiptBody<'a> {
    id: &'a str,
    source: &'a str,
    ce_source: Option<&'a str>,
    r#type: &'a str,
    status: &'static str,
    attempts: u32,
    accepted_at: String,
    settled_at: Option<String>,
    superseded_by: Option<&'a str>,
    parked: Option<ParkedBody<'a>>,
    /// The errors of the fields that the update leaves out because their values are invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<&'a EventError>,
    /// The cleared fields that no request sends, each with the reason. Imprint keeps its values of these fields.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    omitted: BTreeMap<&'a str, &'a str>,
    /// The reason why the event is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<&'static str>,
    /// The time when an operator erased the customer of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<String>,
}

#[derive(Serialize)]
struct ParkedBody<'a> {
    reason: &'static str,
    detail: Option<&'a str>,
    #[serde(rename = "faults", skip_serializing_if = "<[EventError]>::is_empty")]
    errors: &'a [EventError],
}

impl<'a> From<&'a Receipt> for ReceiptBody<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        Self {
            id: receipt.identity.id.as_str(),
            source: receipt.identity.source.as_str(),
            ce_source: receipt.identity.ce_source.as_ref().map(Attribute::as_str),
            r#type: receipt.event_type.as_str(),
            status: receipt.state.as_str(),
            attempts: receipt.attempts,
            accepted_at: receipt.accepted_at.to_rfc3339(),
            settled_at: receipt.settled_at.map(|at| at.to_rfc3339()),
            superseded_by: receipt.superseded_by.as_ref().map(Attribute::as_str),
            parked: receipt.parked.as_ref().map(|(reason, detail)| ParkedBody {
                reason: reason.as_str(),
                detail: detail.as_deref().filter(|_| !reason.is_about_ids()),
                errors: &receipt.errors,
            }),
            skipped: receipt.skipped(),
            omitted: receipt.omitted(),
            ignored: receipt.ignored.map(IgnoreReason::as_str),
            erased_at: receipt.erased_at.map(|at| at.to_rfc3339()),
        }
    }
}
