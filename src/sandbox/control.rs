//! The tester's API: HTTP access to the sandbox's ledger, customers, counts and faults.

use std::time::Duration;

use actix_web::web::{Bytes, Data, Path, PayloadConfig, Query};
use actix_web::{HttpResponse, Scope, web};
use serde::Deserialize;
use serde_json::json;

use super::{Error, Sandbox};

/// The maximum length of a request body of the tester's API. About 10,000 customers fit into such a body.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The default number of calls on a page of the ledger.
const PAGE: usize = 1_000;
/// The maximum number of calls on a page of the ledger.
const PAGE_MAX: usize = 10_000;

/// Creates the routes under `/sandbox`.
pub(super) fn scope() -> Scope {
    web::scope("/sandbox")
        .app_data(PayloadConfig::new(BODY_BYTES_MAX))
        .service(web::resource("/ledger").get(ledger).delete(clear_ledger))
        .service(web::resource("/customers").post(seed))
        .service(web::resource("/customers/{id}").get(customer))
        .service(web::resource("/stats").get(stats))
        .service(
            web::resource("/faults")
                .get(faults)
                .post(inject)
                .delete(clear_faults),
        )
        .service(web::resource("/outage").post(outage))
}

#[derive(Deserialize)]
struct LedgerWindow {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct OutageRequest {
    for_ms: u64,
}

async fn ledger(sandbox: Data<Sandbox>, window: Query<LedgerWindow>) -> HttpResponse {
    let limit = window.limit.unwrap_or(PAGE).min(PAGE_MAX);
    HttpResponse::Ok().json(sandbox.ledger(window.after, limit))
}

async fn clear_ledger(sandbox: Data<Sandbox>) -> HttpResponse {
    sandbox.clear_ledger();
    HttpResponse::NoContent().finish()
}

async fn customer(sandbox: Data<Sandbox>, id: Path<String>) -> HttpResponse {
    sandbox.customer(&id).map_or_else(
        || HttpResponse::NotFound().json(json!({"error": "no such customer"})),
        |customer| HttpResponse::Ok().json(customer),
    )
}

async fn seed(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    done(Sandbox::parse_seed(&body).and_then(|seeds| sandbox.seed(seeds)))
}

async fn stats(sandbox: Data<Sandbox>) -> HttpResponse {
    HttpResponse::Ok().json(sandbox.stats())
}

async fn faults(sandbox: Data<Sandbox>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"faults": sandbox.faults()}))
}

async fn inject(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    done(Sandbox::parse_rules(&body).and_then(|rules| sandbox.inject(rules)))
}

async fn clear_faults(sandbox: Data<Sandbox>) -> HttpResponse {
    sandbox.clear_faults();
    HttpResponse::NoContent().finish()
}

async fn outage(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    let outage: Result<OutageRequest, Error> =
        serde_json::from_slice(&body).map_err(Error::FaultRule);
    done(outage.map(|outage| sandbox.outage(Duration::from_millis(outage.for_ms))))
}

/// Answers 204 for success. For an error, answers 400 with the error and its cause.
fn done(result: Result<(), Error>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => {
            let source = std::error::Error::source(&error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            HttpResponse::BadRequest().json(json!({"error": format!("{error}{source}")}))
        }
    }
}
