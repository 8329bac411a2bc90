//! The console: the pages of the operator on the ops listener, as HTML that the bridge renders. A browser shows them
//! without scripts.
//!
//! The console calls the use cases in [`crate::ops::operate`] and shows their results. It decides nothing and never uses
//! the store: which entries an operator may change, which values are masked and what the audit log records is decided by
//! the use cases.
//!
//! - An operator logs in with the token of the admin API, and the browser then sends a session cookie. Every page
//!   requires a session, except the page to log in and the files of `assets`.
//! - A page changes nothing. Every change is a POST of a form: it comes from a page of the console, and has the token of
//!   the session. The form of a try-out changes nothing either, but is a POST, because no URL has the text of an event.
//! - The templates escape every value, and the content security policy of every answer allows no script and no style
//!   inside a page: texts of senders stay texts.
//! - No URL contains a value of an event. The filter of the list of entries is part of the URL, and can have the id of a
//!   customer or of an event.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, web};

use self::page::Section;
use self::problem::ConsoleProblem;
use self::visitor::{Visitor, is_same_origin};
use crate::ops::operate::Operations;
use crate::ops::{Access, Figures, Health};

mod assets;
mod audit;
mod brake;
mod case_hint;
mod change;
mod change_form;
mod chart;
mod customer;
mod customer_wait;
mod destination;
mod entries;
mod entry;
mod entry_filter;
mod entry_life;
mod entry_row;
mod entry_text;
mod escaper;
mod failing_customer;
mod field_drift;
mod flowing;
mod form;
mod full_disk;
mod key_change;
mod login;
mod mass_change;
mod overview;
mod page;
mod passed;
mod problem;
mod problem_clause;
mod problems;
mod refusals;
mod refused_files;
mod refusing;
mod rejected_again;
mod reloads;
mod requests;
mod result;
mod secret_text;
mod sentence;
mod silent_source;
mod situation;
mod slow_imprint;
mod sources;
mod try_out;
mod try_text;
mod visitor;
mod words;

/// What every page shows: the name of the bridge, so that an operator knows in which environment a change takes effect, and
/// its state.
#[derive(Clone, Debug)]
pub struct Console {
    /// The environment and the host of Imprint.
    pub destination: String,
    /// The address to which the bridge sends its requests, and the time limit of a request.
    pub address: String,
    pub deadline: Duration,
    /// The place of the store, for a message about its disk.
    pub store: String,
    /// The name of this process.
    pub instance: String,
    /// The mark of the store in the name of the session cookie. All bridges with the same store have the same mark.
    pub mark: String,
    /// The folder with the source files.
    pub sources_dir: String,
    /// Returns a sentence about a protection that is switched off, by its name in the metric `weakened`.
    pub explain_weakening: fn(&str) -> &'static str,
    /// The figures and the health for the state of the bridge, which every page shows.
    pub figures: Figures,
    pub health: Health,
}

/// What pages say beside the path of a source file. The bridge looks every 3 seconds, and two looks must find the same files.
const READ_AGAIN: &str = "The bridge uses a changed file by itself within about 10 s, without a restart, if it has no error.";

/// The headers of every answer of the console.
///
/// The referrer policy is not `no-referrer`: with it, a browser sends `Origin: null` with a form, and the bridge could
/// not see that the form comes from the console. With `same-origin`, no other site sees an address of the console either.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
];

impl Console {
    /// Returns the path of the file of a source, for every page that asks an operator to change it.
    fn source_path(&self, source: &str) -> String {
        format!("{}/{source}.toml", self.sources_dir)
    }

    /// Adds the routes of the console. They take every path that no earlier route takes.
    pub fn configure(self, config: &mut web::ServiceConfig) {
        let scope = web::scope("")
            .app_data(web::PayloadConfig::new(form::FORM_BYTES_MAX))
            .app_data(web::Data::new(self))
            .route("/", web::get().to(overview::show))
            .route("/entries", web::get().to(entries::list))
            .route("/entries/preview", web::post().to(change::preview))
            .route("/entries/preview", web::get().to(form_only))
            .route("/entries/change", web::post().to(change::apply))
            .route("/entries/change", web::get().to(form_only))
            .route("/entries/result", web::get().to(result::show))
            .route("/entries/{number}", web::get().to(entry::show))
            .route("/entries/{number}/reveal", web::post().to(entry::reveal))
            .route("/problems", web::get().to(problems::list))
            .route("/customers", web::get().to(customer::show))
            .route("/destination", web::get().to(destination::show))
            .route("/destination", web::post().to(destination::set_mode))
            .route("/sources", web::get().to(sources::list))
            .route("/sources/{source}/brake", web::post().to(brake::change))
            .route("/sources/{source}/passed", web::get().to(passed::show))
            .route(
                "/sources/{source}/passed.ndjson",
                web::get().to(passed::export),
            )
            .service(
                web::resource("/sources/{source}/try")
                    .app_data(web::PayloadConfig::new(try_out::TRY_FORM_BYTES_MAX))
                    .app_data(form::FormLimit(try_out::TRY_FORM_BYTES_MAX))
                    .route(web::get().to(try_out::show))
                    .route(web::post().to(try_out::run)),
            )
            .route("/audit", web::get().to(audit::list))
            .route("/login", web::get().to(login::show))
            .route("/login", web::post().to(login::log_in))
            .route("/logout", web::post().to(login::log_out))
            .route("/assets/{name}", web::get().to(assets::send))
            .default_service(web::to(not_found))
            .wrap(from_fn(admit));
        config.service(scope);
    }
}

async fn not_found() -> Result<actix_web::HttpResponse, ConsoleProblem> {
    Err(ConsoleProblem::NotFound)
}

async fn form_only() -> Result<actix_web::HttpResponse, ConsoleProblem> {
    Err(ConsoleProblem::FormOnly)
}

/// Passes a request to the console if fewer requests than the limit are in progress and, for a POST, if it comes from a
/// page of the console. Adds the headers and the renewed session cookie to the answer.
async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if is_event(&request) {
        return Ok(refuse(request, ConsoleProblem::EventListener));
    }
    let access = request.app_data::<web::Data<Access>>().cloned();
    let Some(access) = access.filter(|access| !access.is_disabled()) else {
        let is_page = request.match_pattern().is_some();
        let problem = if is_page {
            ConsoleProblem::Disabled
        } else {
            ConsoleProblem::NotFound
        };
        return Ok(refuse(request, problem));
    };
    // Only the head of the request decides, because a client can send the body slowly.
    let has_session = Visitor::of(request.request()).is_some();
    let Ok(_permit) = access.admit_console(has_session) else {
        return Ok(refuse(request, ConsoleProblem::Busy));
    };
    if request.method() == Method::POST && !is_same_origin(request.headers()) {
        return Ok(refuse(request, ConsoleProblem::OtherOrigin));
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    if let Some(page) = problem_page(&response, &access).await {
        response = response.into_response(page);
    }
    let cookie = Visitor::renewed_cookie(response.request());
    if let Some(cookie) = cookie
        && !response.headers().contains_key(SET_COOKIE)
    {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(with_headers(response))
}

/// Reports the problem of an answer. Returns its page in the frame of the console if an operator is logged in.
async fn problem_page(
    response: &ServiceResponse,
    access: &Access,
) -> Option<actix_web::HttpResponse> {
    let error = response.response().error()?;
    let problem = error.as_error::<ConsoleProblem>()?;
    if let ConsoleProblem::Failed(problem) = problem {
        access.report_refusal(problem);
    }
    let request = response.request();
    let console = request.app_data::<web::Data<Console>>()?;
    let operations = request.app_data::<web::Data<Operations>>()?;
    let visitor = Visitor::of(request).filter(|_| problem.is_page())?;
    let section = Section::of_path(request.path());
    let frame = console.frame(&visitor, section, operations).await;
    Some(problem.page(frame))
}

/// Returns whether a request is meant for the event listener: no page is below this path, and no form has this format.
fn is_event(request: &ServiceRequest) -> bool {
    let format = request.headers().get(CONTENT_TYPE);
    let format = format
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let format = format.split(';').next().unwrap_or_default().trim();
    let format = format.to_ascii_lowercase();
    let is_json = format == "application/json" || format.ends_with("+json");
    request.path().starts_with("/v1/") || (request.method() == Method::POST && is_json)
}

fn refuse(request: ServiceRequest, problem: ConsoleProblem) -> ServiceResponse {
    with_headers(request.error_response(problem))
}

fn with_headers(mut response: ServiceResponse) -> ServiceResponse {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
