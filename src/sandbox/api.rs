//! The sandbox's version of Imprint's API: turns a call into the answer that Imprint would give.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::imprint::ImprintId;
use crate::time::Timestamp;

use super::SandboxSettings;
use super::contract::{self, CustomerSearch};
use super::customers::{CustomerTable, NotUpdated};
use super::reply::{ErrorShape, ErrorWords, ReplyBody, SandboxReply};

/// The header with the merchant key. The merchant key selects one of several card products at Imprint.
const MERCHANT_KEY: &str = "x-imprint-merchant-key";

/// The operation of Imprint that a call requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Imprint's operation *update a customer*.
    Update,
    /// Imprint's operation *retrieve a customer*.
    Retrieve,
    /// Imprint's operation *search for customers*, by GET or POST.
    Search,
    /// A call that manages API keys. The bridge must never make such a call.
    Forbidden,
    /// A call whose path and method belong to no operation.
    #[default]
    Unknown,
}

/// The kind of authentication that a call uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// The call has the API key as a bearer token.
    Bearer,
    /// The call has the API key as the user name of Basic authentication, with an empty password.
    Basic,
    /// The call has no Authorization header.
    #[default]
    None,
    /// The call has a wrong API key or an unknown authentication scheme.
    Wrong,
}

/// A call under `/v2` that the sandbox has read but not yet answered.
#[derive(Default)]
pub(super) struct SandboxCall {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) operation: Operation,
    pub(super) authorization: Authorization,
    pub(super) merchant_key: Option<String>,
    pub(super) is_json: bool,
    pub(super) body: Bytes,
    pub(super) customer: Option<String>,
}

impl SandboxCall {
    pub(super) fn read(request: &HttpRequest, body: Bytes, settings: &SandboxSettings) -> Self {
        let uri = request.uri();
        let headers = request.headers();
        let (operation, customer) = route(request.method(), uri.path());
        Self {
            method: request.method().clone(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            operation,
            authorization: authorization(headers, settings.key.expose_secret()),
            merchant_key: text(headers, MERCHANT_KEY).map(str::to_owned),
            is_json: text(headers, header::CONTENT_TYPE.as_str())
                .is_some_and(|kind| kind.trim_start().starts_with("application/json")),
            body,
            customer: customer.map(str::to_owned),
        }
    }

    fn is_authorized(&self, settings: &SandboxSettings) -> bool {
        let has_key = match self.authorization {
            Authorization::Bearer | Authorization::Basic => true,
            Authorization::None | Authorization::Wrong => false,
        };
        has_key
            && settings
                .merchant_key
                .as_ref()
                .is_none_or(|wanted| self.merchant_key.as_deref() == Some(wanted.expose_secret()))
    }
}

/// Finds the operation of a call. A path with an empty customer id means *search*, as in many HTTP routers.
///
/// If the bridge sends an empty customer id by mistake, its tests therefore fail.
fn route<'a>(method: &Method, path: &'a str) -> (Operation, Option<&'a str>) {
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    let is_get = method == Method::GET;
    let is_post = method == Method::POST;
    match segments.as_slice() {
        ["keys", ..] => (Operation::Forbidden, None),
        ["customers"] | ["customers", ""] if is_get || is_post => (Operation::Search, None),
        ["customers", id] if is_get => (Operation::Retrieve, Some(id)),
        ["customers", id] if is_post => (Operation::Update, Some(id)),
        _ => (Operation::Unknown, None),
    }
}

fn authorization(headers: &HeaderMap, key: &str) -> Authorization {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Authorization::None;
    };
    let Some((scheme, credentials)) = value.to_str().ok().and_then(|text| text.split_once(' '))
    else {
        return Authorization::Wrong;
    };
    let is_user = || STANDARD.decode(credentials).ok() == Some(format!("{key}:").into_bytes());
    if scheme.eq_ignore_ascii_case("bearer") && credentials == key {
        Authorization::Bearer
    } else if scheme.eq_ignore_ascii_case("basic") && is_user() {
        Authorization::Basic
    } else {
        Authorization::Wrong
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The sandbox's answer to a call, and the effect of the call on a customer.
pub(super) struct ApiAnswer {
    pub(super) reply: SandboxReply,
    pub(super) applied: UpdateEffect,
}

/// The effect of a call on a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdateEffect {
    Changed,
    Nothing,
}

/// Answers a call as Imprint would.
pub(super) fn answer(
    call: &SandboxCall,
    settings: &SandboxSettings,
    customers: &mut CustomerTable,
    now: Timestamp,
) -> ApiAnswer {
    let refusal = ErrorReplies { call, now };
    if !call.is_authorized(settings) {
        return unchanged(SandboxReply::new(
            StatusCode::UNAUTHORIZED,
            ReplyBody::Nothing,
        ));
    }
    match call.operation {
        Operation::Update => update(&refusal, settings, customers),
        Operation::Retrieve => unchanged(
            id(call)
                .and_then(|id| customers.retrieve(&id))
                .map_or_else(|| refusal.no_customer(), ok),
        ),
        Operation::Search => {
            let search = if call.method == Method::GET {
                CustomerSearch::from_query(&call.query)
            } else {
                CustomerSearch::from_body(&call.body)
            };
            unchanged(search.map_or_else(
                |errors| refusal.invalid(errors),
                |search| ok(customers.search(&search)),
            ))
        }
        Operation::Forbidden | Operation::Unknown => unchanged(refusal.unknown_path()),
    }
}

fn update(
    refusal: &ErrorReplies<'_>,
    settings: &SandboxSettings,
    customers: &mut CustomerTable,
) -> ApiAnswer {
    let call = refusal.call;
    let Some(id) = id(call) else {
        return unchanged(refusal.no_customer());
    };
    if !call.is_json {
        let fault = "content-type: must be application/json".to_owned();
        return unchanged(refusal.invalid(vec![fault]));
    }
    let body = match contract::read_update(&call.body, settings.nulls) {
        Ok(body) => body,
        Err(errors) => return unchanged(refusal.invalid(errors)),
    };
    match customers.update(&id, body, settings.unknown_customer, refusal.now) {
        Ok(customer) => ApiAnswer {
            reply: ok(customer),
            applied: UpdateEffect::Changed,
        },
        Err(NotUpdated::NotFound) => unchanged(refusal.no_customer()),
        Err(NotUpdated::Full) => unchanged(refusal.full()),
    }
}

fn id(call: &SandboxCall) -> Option<ImprintId> {
    ImprintId::parse(call.customer.as_deref()?).ok()
}

fn ok(body: serde_json::Value) -> SandboxReply {
    SandboxReply::new(StatusCode::OK, ReplyBody::Json(body))
}

fn unchanged(reply: SandboxReply) -> ApiAnswer {
    ApiAnswer {
        reply,
        applied: UpdateEffect::Nothing,
    }
}

/// The error answers to a call, in the shapes that Imprint documents.
struct ErrorReplies<'a> {
    call: &'a SandboxCall,
    now: Timestamp,
}

impl ErrorReplies<'_> {
    fn no_customer(&self) -> SandboxReply {
        self.error(
            ErrorShape::Flat,
            StatusCode::NOT_FOUND,
            Some("CUSTOMER_NOT_FOUND_ERROR"),
            vec!["Customer not found".to_owned()],
        )
    }

    fn invalid(&self, errors: Vec<String>) -> SandboxReply {
        self.error(
            ErrorShape::InvalidRequest,
            StatusCode::BAD_REQUEST,
            None,
            errors,
        )
    }

    /// Creates the 404 for an unknown path. The answer has no error type, because Imprint does not document this
    /// answer.
    fn unknown_path(&self) -> SandboxReply {
        self.error(ErrorShape::String, StatusCode::NOT_FOUND, None, Vec::new())
    }

    fn full(&self) -> SandboxReply {
        let message = "the sandbox has the maximum number of customers".to_owned();
        self.error(
            ErrorShape::Envelope,
            StatusCode::INSUFFICIENT_STORAGE,
            None,
            vec![message],
        )
    }

    fn error(
        &self,
        shape: ErrorShape,
        status: StatusCode,
        kind: Option<&str>,
        details: Vec<String>,
    ) -> SandboxReply {
        let words = ErrorWords {
            status,
            kind,
            param: kind.map(|_| "customer_id"),
            details,
            path: &self.call.path,
            now: self.now,
        };
        SandboxReply::error(shape, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_method_name_an_operation() {
        let get = Method::GET;
        let post = Method::POST;
        for (method, path, operation, customer) in [
            (&post, "/v2/customers/a", Operation::Update, Some("a")),
            (&get, "/v2/customers/a", Operation::Retrieve, Some("a")),
            (&post, "/v2/customers/%2e", Operation::Update, Some("%2e")),
            (&get, "/v2/customers", Operation::Search, None),
            (&post, "/v2/customers/", Operation::Search, None),
            (&post, "/v2/customers/a/link", Operation::Unknown, None),
            (&Method::PUT, "/v2/customers/a", Operation::Unknown, None),
            (&post, "/v2/customer_sessions", Operation::Unknown, None),
            (&Method::DELETE, "/v2/keys", Operation::Forbidden, None),
            (&post, "/v2/keys/x", Operation::Forbidden, None),
            (&get, "/v2", Operation::Unknown, None),
        ] {
            assert_eq!(route(method, path), (operation, customer), "{path}");
        }
    }

    #[test]
    fn a_key_is_a_bearer_token_or_a_user_name_without_a_password() {
        for (sent, read) in [
            (None, Authorization::None),
            (Some("Bearer k"), Authorization::Bearer),
            (Some("bearer k"), Authorization::Bearer),
            (Some("Bearer K"), Authorization::Wrong),
            (Some("Bearer k "), Authorization::Wrong),
            (Some("k"), Authorization::Wrong),
            (Some("Basic azo="), Authorization::Basic),
            (Some("Basic aw=="), Authorization::Wrong),
            (Some("Basic azpw"), Authorization::Wrong),
            (Some("Basic !"), Authorization::Wrong),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(header::AUTHORIZATION, sent.parse().unwrap());
            }
            assert_eq!(authorization(&headers, "k"), read, "{sent:?}");
        }
    }
}
