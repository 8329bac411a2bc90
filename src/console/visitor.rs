//! The logged-in operator of a request to the console, and the session cookie.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::Console;
use super::problem::{ConsoleProblem, EndedSession};
use crate::http::single_header::SingleHeader;
use crate::ops::operate::{Operator, Role};
use crate::ops::{Access, Session};

/// The names of the session cookie. They contain the mark of the store: a browser sends a cookie to every port of a host, and
/// with one name, a login at a second console would end the session at the first one.
#[derive(Clone, Debug)]
pub(super) struct CookieNames {
    /// Behind TLS. With this prefix, a browser takes the cookie only over TLS, from this host and for all paths.
    secure: String,
    /// Without TLS: usually a port-forward to the own machine.
    plain: String,
}

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

impl CookieNames {
    /// Returns the names for the console of a request. `None` if the console does not serve the request.
    fn of(request: &HttpRequest) -> Option<Self> {
        let console = request.app_data::<web::Data<Console>>()?;
        let plain = format!("imprint-bridge-session-{}", console.mark);
        Some(Self {
            secure: format!("__Host-{plain}"),
            plain,
        })
    }

    /// Returns the session cookies of a request with their names.
    fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a str)> {
        let names = [self.secure.as_str(), self.plain.as_str()].into_iter();
        names.flat_map(move |name| values(headers, name).map(move |value| (name, value)))
    }
}

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
        let names = CookieNames::of(request)?;
        let mut sessions = names
            .cookies(request.headers())
            .take(COOKIES_MAX)
            .filter_map(|(name, cookie)| Some((name, access.session(cookie)?)));
        let (name, session) = sessions.next()?;
        let renewed = session.renewed.as_deref();
        if let Some(renewed) = renewed.and_then(|renewed| set_cookie(name, renewed)) {
            request.extensions_mut().insert(RenewedCookie(renewed));
        }
        Some(Self { session })
    }

    /// Returns whether a request has a session cookie of this console, of a session that has ended or not.
    pub(super) fn had_session(request: &HttpRequest) -> bool {
        CookieNames::of(request)
            .is_some_and(|names| names.cookies(request.headers()).next().is_some())
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
            ConsoleProblem::LoginRequired {
                target,
                ended: Self::had_session(request).then_some(match is_page {
                    true => EndedSession::Page,
                    false => EndedSession::Form,
                }),
            }
        }))
    }
}

/// Returns the header that sets the session cookie after a login. The origin of the login form shows whether the browser
/// uses TLS: the bridge itself has none.
pub(super) fn login_cookie(request: &HttpRequest, value: &str) -> Option<HeaderValue> {
    let origin = SingleHeader::read(request.headers(), ORIGIN).text();
    let is_tls = origin.is_some_and(|origin| origin.starts_with("https://"));
    let CookieNames { secure, plain } = CookieNames::of(request)?;
    set_cookie(if is_tls { &secure } else { &plain }, value)
}

/// Returns the headers that delete the session cookies.
pub(super) fn deleted_cookies(request: &HttpRequest) -> Vec<HeaderValue> {
    let names = CookieNames::of(request).into_iter();
    let names = names.flat_map(|names| [names.secure, names.plain]);
    let deleted = names.filter_map(|name| set_cookie(&name, "; Max-Age=0"));
    deleted.collect()
}

/// Returns the header that sets a session cookie. A value may add an attribute after a semicolon.
fn set_cookie(name: &str, value: &str) -> Option<HeaderValue> {
    let secure = if name.starts_with("__Host-") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns the values of the cookies of the request with this name.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
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
