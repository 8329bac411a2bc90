//! An Imprint that repeats what it receives, and that adds values of its own.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::raw_imprint::{Accepted, RawImprint};

/// The ids of the customers to whose first update Imprint gives a special answer.
pub(super) const REJECTED: &str = "qzcardrejected7x";
pub(super) const OUTAGE: &str = "qzcardoutage7x";
pub(super) const DENIED: &str = "qzcarddenied7x";
pub(super) const DOUBT: &str = "qzcarddoubt7x";
/// The customer that a search finds.
pub(super) const FOUND: &str = "qzcardfound7x";

/// Starts the Imprint.
pub(super) fn start() -> RawImprint {
    let seen = Mutex::new(HashSet::new());
    RawImprint::start(move |mut accepted: Accepted| {
        while let Some(request) = accepted.request() {
            let special = [REJECTED, OUTAGE, DENIED, DOUBT].into_iter().find(|id| {
                let is_update = request.starts_with(&format!("POST /v2/customers/{id} "));
                is_update && seen.lock().unwrap().insert(*id)
            });
            let Some(answer) = answer(&request, special) else {
                // The bridge does not learn whether Imprint has applied the update.
                return;
            };
            if accepted.send(&answer).is_err() {
                return;
            }
        }
    })
}

fn answer(request: &str, special: Option<&str>) -> Option<String> {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let id = path.strip_prefix("/v2/customers/").unwrap_or_default();
    match special {
        Some(DOUBT) => None,
        Some(REJECTED) => {
            let mut rejection = error(request);
            // Without a known type, the rejection would not be about this one customer.
            rejection["error"]["type"] = json!("INVALID_REQUEST_ERROR");
            Some(with_status(400, &rejection))
        }
        Some(DENIED) => Some(with_status(401, &error(request))),
        Some(_) => Some(with_status(503, &error(request))),
        None if path.starts_with("/v2/customers?") || path.starts_with("/v2/customers/?") => {
            let (id, partner) = match path.contains("qzcrmfull7x") {
                true => (REJECTED, "qzcrmfull7x"),
                false => (FOUND, "qzcrmfound7x"),
            };
            let hit = json!({
                "id": id,
                "partner_customer_id": partner,
                "email": "qzanswerhit7x@example.com",
            });
            let page = json!({"data": [hit], "has_more": false, "total": 1});
            Some(with_status(200, &page))
        }
        None => Some(with_status(200, &customer(id, body))),
    }
}

/// Returns the customer as Imprint has it: with the values of the update, with another e-mail address, and with values
/// that the bridge must not keep.
fn customer(id: &str, update: &str) -> Value {
    let mut customer: Value = serde_json::from_str(update).unwrap_or_else(|_empty| json!({}));
    customer["id"] = json!(id);
    customer["email"] = json!("qzanswermail7x@example.com");
    customer["ssn4"] = json!("qzanswerssn7x");
    customer["date_of_birth"] = json!("qzanswerbirth7x");
    customer
}

/// Returns an error that repeats the request, with the API key, in every text.
fn error(request: &str) -> Value {
    json!({
        "error": {
            "type": format!("qzanswertype7x {request}"),
            "param": format!("qzanswerparam7x {request}"),
            "message": format!("qzanswermessage7x {request}"),
        },
        "details": [format!("qzanswerdetail7x: {request}")],
    })
}

fn with_status(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} qzanswerphrase7x\r\nx-request-id: qzanswerheader7x\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
