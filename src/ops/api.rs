//! The admin API: receives JSON requests over HTTP, calls the use cases in [`super::operate`], and answers in JSON.
//!
//! | call | effect |
//! |---|---|
//! | `GET /admin/v1/entries?state=&id=&source=&type=&reason=&customer=&before=&since=&after=&limit=` | lists entries; `state` has one state, several states with commas, or `all`; without `state`, lists parked entries; `id` is the id of an event; `customer` is Imprint's id or the CRM's id |
//! | `GET /admin/v1/entries/{number}?reveal=true` | shows one entry; with `reveal=true`, first writes an audit record and then shows the values unmasked |
//! | `POST /admin/v1/entries/replay` | lets parked, undecided and held entries wait for delivery again: `{"ids": […]}` or `{"filter": {…}}`, `map_again`, `preview`, `reason` |
//! | `POST /admin/v1/entries/discard` | discards waiting, undecided, parked and held entries, which are then never sent: `ids` or `filter`, `preview`; `reason` is required |
//! | `POST /admin/v1/entries/park` | parks waiting, undecided and held entries: `ids` or `filter`, `preview`; `reason` is required |
//! | `POST /admin/v1/customers/reset-versions` `{"imprint_id": …}` or `{"partner_id": …}` | accepts the values of a customer's next event, even if its version is old; `reason` is required |
//! | `POST /admin/v1/entries/events` | gives the stored events of parked entries, unmasked, after an audit record: `ids` or `filter`, `reason`; requires the role `revealer` |
//! | `POST /admin/v1/entries/correct` | replays parked entries with corrected events: `{"corrections": [{"entry": …, "event": {…}}]}`, `preview`; `reason` is required; requires the roles `operator` and `revealer` |
//! | `GET /admin/v1/cases` | groups the newest 5,000 entries that wait for an operator by their cause: source, event type, state, reason, Imprint's answer or first error; with the number of entries and customers, and the newest entries |
//! | `POST /admin/v1/customers/show` `{"of": {"customer": …}}` | shows why Imprint has the values of a customer, and what the next request waits for, without a value: for each delivered field its event, version and time, and the newest entries |
//! | `POST /admin/v1/customers/export` `{"of": {"customer": …}}` | shows everything that the store has of a customer, unmasked, page by page: `of` has `customer`, `imprint_id` or `partner_id`, and `page` has `next` of the answer before; each page writes an audit record |
//! | `POST /admin/v1/customers/erase` `{"of": {"customer": …}}` | erases a customer; with `block`, the bridge ignores every later event of the customer; `reason` is required |
//! | `GET /admin/v1/entries/{number}/explain?reveal=true` | explains, expression by expression, how the current mapping maps the entry's event, and lists the values that are older than the values at Imprint |
//! | `POST /admin/v1/explain?source=&reveal=true` | explains how the current mapping maps the event in the request body; stores nothing |
//! | `POST /admin/v1/try-out` `{"source": …, "body": …}` or `{"source": …, "entry": …}` | tries a mapping: explains the body, with `headers`, or the event of the entry; with `text`, an edited source file, it explains the event with this file too, and lists the errors of the file or the differences; `reveal` shows values unmasked, for an entry after an audit record; sends, stores and changes nothing |
//! | `GET /admin/v1/audit?after=&limit=` | lists records of the audit log |
//! | `GET /admin/v1/destination`, `POST` `{"mode": "open"}` | GET shows the state and the mode of sending to Imprint; POST sets the mode: `open`, `paused` or `shadow`; `reason` is required for `paused` and `shadow` |
//! | `GET /admin/v1/status` | shows the version of the bridge, the state and the mode of sending to Imprint, the state of the sealing, and the names of the protections that the configuration or the machine has switched off |
//! | `GET /admin/v1/sources` | shows the set of sources in use: the digest of its files, the time since which the bridge uses it, the names, and the errors of newer files that the bridge does not use |
//! | `POST /admin/v1/reload` | reads the files of the sources at once, and uses them if they have no error; answers with the sources that were added, removed or changed, or with the errors |
//! | `GET /admin/v1/brakes`, `POST` `{"source": …, "open_seconds": …}` | GET shows the mass-change brake of each source: the limits, the time until which it is open, and the mass changes that it has held lately; POST opens the brake of a source for a time, or closes it with 0; `reason` is required |
//! | `GET /admin/v1/passed?source=&field=&rule=` | lists the entries that counted for a mass change of a source and passed before the brake held it, with ids and without values; `known` is false if the bridge knows no such mass change |
//! | `POST /admin/v1/store/backup` `{"name": "…"}` | copies the store to a new file with this name, in the folder of the store |
//! | `GET /admin/v1/store/keys` | lists the sealing keys of the store, each with its file, its use and the number of records that it still seals |
//! | `GET /admin/v1/denied-requests?source=` | lists the event requests that failed authentication, or that the sender must change, since the start of the process: for each source, problem type and reason, the number of requests, and the pointers and a sentence of the last request |
//! | `GET /admin/v1/shadow` | lists the requests that the bridge did not send because of the mode `shadow`, with masked values |
//!
//! A filter is evaluated when the change runs. The answer to a preview has the time `as_of`: with this time as `before`, a
//! change takes only entries that the preview looked at.
//!
//! A filter for waiting entries must contain a customer or an event id. While a request of a customer is in flight, the waiting
//! entries of the customer stay unchanged, and the answer lists these entries as `in_flight`. If the request changes no
//! other entry, the answer is 409.
//!
//! Every operator may read masked data and use previews. A change requires the role `operator`, and `reveal=true` for an
//! entry and an export require the role `revealer`. A refusal answers 403, and its problem type names the role:
//! `operator_role_required` or `revealer_role_required`.
//!
//! For every change, the audit log has a record with the operator's name. Every answer of the admin API forbids
//! caching.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, web};
use serde::Serialize;

use super::authenticate::admit;
use super::operate::{Operations, Operator};

mod body;
mod brakes;
mod cases;
mod corrections;
mod customers;
mod denied;
mod destination;
mod entries;
mod explain;
mod keys;
mod passed;
mod problem;
mod request;
mod sources;
mod store;
mod try_out;

pub(crate) use self::body::receive_body;
pub use self::keys::keys_json;
pub use self::problem::AdminProblem;
pub(crate) use self::request::{parse_entry, parse_filter, query_flaw};

type SharedOperations = web::Data<Operations>;
type ApiResult = Result<HttpResponse, AdminProblem>;

/// Adds the routes below `/admin/v1`.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let scope = web::scope("/admin/v1")
        .app_data(web::PayloadConfig::new(body::BODY_BYTES_MAX))
        .service(resource("/entries", "GET").get(entries::list))
        .service(resource("/entries/replay", "POST").post(entries::replay))
        .service(resource("/entries/discard", "POST").post(entries::discard))
        .service(resource("/entries/park", "POST").post(entries::park))
        .service(resource("/entries/events", "POST").post(corrections::events))
        .service(resource("/entries/correct", "POST").post(corrections::correct))
        .service(resource("/entries/{number}", "GET").get(entries::show))
        .service(resource("/entries/{number}/explain", "GET").get(explain::entry))
        .service(resource("/explain", "POST").post(explain::body))
        .service(resource("/try-out", "POST").post(try_out::run))
        .service(resource("/customers/reset-versions", "POST").post(customers::reset_versions))
        .service(resource("/customers/show", "POST").post(customers::show))
        .service(resource("/customers/export", "POST").post(customers::export))
        .service(resource("/customers/erase", "POST").post(customers::erase))
        .service(resource("/cases", "GET").get(cases::list))
        .service(resource("/audit", "GET").get(entries::audit))
        .service(resource("/store/backup", "POST").post(store::backup))
        .service(resource("/store/keys", "GET").get(keys::show))
        .service(
            resource("/destination", "GET, POST")
                .get(destination::show)
                .post(destination::set_mode),
        )
        .service(resource("/status", "GET").get(destination::status))
        .service(resource("/sources", "GET").get(sources::show))
        .service(
            resource("/brakes", "GET, POST")
                .get(brakes::list)
                .post(brakes::change),
        )
        .service(resource("/passed", "GET").get(passed::list))
        .service(resource("/reload", "POST").post(sources::reload))
        .service(resource("/shadow", "GET").get(destination::shadow))
        .service(resource("/denied-requests", "GET").get(denied::list))
        .default_service(web::to(not_found))
        .wrap(from_fn(admit));
    config.service(scope);
}

/// Creates the resource for a path. To every method for which the caller adds no handler, the resource answers 405 with
/// the header `Allow`.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move |_operator: Operator| async move {
        Err::<HttpResponse, _>(AdminProblem::MethodNotAllowed { allow })
    };
    web::resource(path).default_service(web::to(refuse))
}

async fn not_found(_operator: Operator) -> ApiResult {
    Err(AdminProblem::NotFound)
}

fn json_response(value: &impl Serialize) -> ApiResult {
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(value))
}
