//! The logged-in operator of a request to the console, and the session cookie.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::problem::ConsoleProblem;
use crate::http::single_header::SingleHeader;
use crate::ops::operate::{Operator, Role};
use crate::ops::{Access, Session};

/// The session cookie of a console without TLS: usually a port-forward to the own machine.
const PLAIN_COOKIE: &str = "imprint-bridge-session";
/// The session cookie of a console behind TLS. With this prefix, a browser takes the cookie only over TLS, from this host
/// and for all paths.
const SECURE_COOKIE: &str = "__Host-imprint-bridge-session";

/// The maximum number of session cookies of a request that the bridge tries. A browser sends one cookie for each port of
/// a host and for each path.
const COOKIES_MAX: usize = 8;

/// The logged-in operator of a request.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) session: Session,
}

/// The renewed session cookie of a request. The answer sets it.
struct RenewedCookie(HeaderValue);

impl Visitor {
    pub(super) const fn operator(&self) -> &Operator {
        &self.session.operator
    }

    /// Returns whether the operator has a role. A page shows no action that the operator may not use.
    pub(super) fn may(&self, role: Role) -> bool {
        self.session.operator.has(role)
    }

    /// Finds the session of a request. A browser possibly sends cookies of other sessions too: cookies know no port, so two
    /// consoles on one host get the cookies of both.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        let access = request.app_data::<web::Data<Access>>()?;
        let cookies = [SECURE_COOKIE, PLAIN_COOKIE].into_iter();
        let cookies = cookies.flat_map(|name| {
            let values = values(request.headers(), name);
            values.map(move |value| (name, value))
        });
        let mut sessions = cookies
            .take(COOKIES_MAX)
            .filter_map(|(name, cookie)| Some((name, access.session(cookie)?)));
        let (name, session) = sessions.next()?;
        let renewed = session.renewed.as_deref();
        if let Some(renewed) = renewed.and_then(|renewed| set_cookie(name, renewed)) {
            request.extensions_mut().insert(RenewedCookie(renewed));
        }
        Some(Self { session })
    }

    /// Returns the session cookie that the answer to this request must set.
    pub(super) fn renewed_cookie(request: &HttpRequest) -> Option<HeaderValue> {
        let renewed = request.extensions_mut().remove::<RenewedCookie>();
        renewed.map(|RenewedCookie(cookie)| cookie)
    }
}

impl FromRequest for Visitor {
    type Error = ConsoleProblem;
    type Future = Ready<Result<Self, ConsoleProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request).ok_or_else(|| {
            // After the login, the operator returns to the page. A form is not sent again.
            let is_page = request.method() == Method::GET;
            let target = request.uri().path_and_query();
            let target = target.filter(|_| is_page).map(ToString::to_string);
            ConsoleProblem::LoginRequired { target }
        }))
    }
}

/// Returns the header that sets the session cookie after a login. The origin of the login form shows whether the browser
/// uses TLS: the bridge itself has none.
pub(super) fn login_cookie(request: &HttpRequest, value: &str) -> Option<HeaderValue> {
    let origin = SingleHeader::read(request.headers(), ORIGIN.as_str()).text();
    let is_tls = origin.is_some_and(|origin| origin.starts_with("https://"));
    set_cookie(if is_tls { SECURE_COOKIE } else { PLAIN_COOKIE }, value)
}

/// Returns the headers that delete the session cookies.
pub(super) fn deleted_cookies() -> Vec<HeaderValue> {
    let names = [SECURE_COOKIE, PLAIN_COOKIE].into_iter();
    let deleted = names.filter_map(|name| set_cookie(name, "; Max-Age=0"));
    deleted.collect()
}

/// Returns the header that sets a session cookie. A value may add an attribute after a semicolon.
fn set_cookie(name: &str, value: &str) -> Option<HeaderValue> {
    let secure = if name == SECURE_COOKIE {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns the values of the cookies of the request with this name.
fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(COOKIE)
        .filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';'));
    cookies.filter_map(move |cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Returns whether a form comes from a page of the console: the browser says so, or the origin is the host of the
/// request. A request without both headers does not come from a browser of this decade.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let read = |name: &str| SingleHeader::read(headers, name).text();
    if headers.contains_key("sec-fetch-site") {
        return read("sec-fetch-site") == Some("same-origin");
    }
    let origin = read(ORIGIN.as_str()).and_then(|origin| origin.split_once("://"));
    let host = read(HOST.as_str());
    origin.is_some_and(|(_, origin)| Some(origin) == host)
}
