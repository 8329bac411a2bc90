//! The page to log in, the login and the logout.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CLEAR_SITE_DATA, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::web::{self, Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::timeout;

use super::Console;
use super::form::{FORM_BYTES_MAX, Form, parse};
use super::page::{Frame, PageResult, html};
use super::visitor::{Visitor, deleted_cookies, login_cookie};
use crate::ops::{Access, AdminProblem, receive_body};

/// The time limit for receiving the form of a login. It is short, because a client without a session can take a permit for
/// this time.
const LOGIN_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "login.html", config = "src/console/askama.toml")]
struct LoginPage {
    frame: Frame,
    /// The bridge to which the page belongs: an operator often has the consoles of several bridges open.
    instance: String,
    destination: String,
    /// The page to show after the login.
    next: String,
    /// Why the operator must log in again.
    ended: Option<&'static str>,
    error: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    next: Option<String>,
    ended: Option<String>,
}

/// Answers `GET /login`.
pub(super) async fn show(
    request: HttpRequest,
    console: web::Data<Console>,
    query: web::Query<LoginQuery>,
) -> PageResult {
    let LoginQuery { next, ended } = query.into_inner();
    let next = local_path(next);
    if Visitor::of(&request).is_some() {
        return Ok(see(&next));
    }
    let page = LoginPage {
        ended: ended.and_then(|ended| match ended.as_str() {
            "page" => Some(ENDED),
            "form" => Some(FORM_ENDED),
            _ => None,
        }),
        ..LoginPage::new(&console, next)
    };
    page.answer(StatusCode::OK)
}

const ENDED: &str = "Your session ended: after 15 minutes without a request, 8 hours after the login, or because your token changed.";
const FORM_ENDED: &str = "Your session ended before you sent the form, so nothing was changed. A session ends after 15 minutes without a request, 8 hours after the login, or when your token changes.";

#[derive(Deserialize)]
struct Credentials {
    token: String,
    next: Option<String>,
}

/// Answers `POST /login`.
pub(super) async fn log_in(
    request: HttpRequest,
    (access, console): (web::Data<Access>, web::Data<Console>),
    payload: Payload,
) -> PageResult {
    let body = receive_body(&request, &mut payload.into_inner(), FORM_BYTES_MAX);
    let body: Result<Bytes, AdminProblem> = timeout(LOGIN_DEADLINE, body)
        .await
        .unwrap_or(Err(AdminProblem::BodyTimeout));
    let body = body?;
    let Credentials { token, next } = parse(&body)?;
    let (token, next) = (SecretString::from(token), local_path(next));
    // A copied token often ends with a line feed.
    let cookie = match access.log_in(token.expose_secret().trim(), access.client(&request)) {
        Ok(cookie) => cookie,
        Err(problem) => return refused(&console, &problem, next),
    };
    let mut answer = see(&next);
    if let Some(cookie) = login_cookie(&request, &cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// The fields of a form that only has the token of the session.
#[derive(Deserialize)]
pub(super) struct NoFields {}

/// Answers `POST /logout`.
pub(super) async fn log_out(
    request: HttpRequest,
    access: web::Data<Access>,
    form: Form<NoFields>,
) -> PageResult {
    let Form {
        visitor,
        fields: NoFields {},
    } = form;
    access.log_out(&visitor.session);
    let mut answer = see("/login");
    for cookie in deleted_cookies(&request) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    // Not the cookies: a browser would also delete the sessions of other consoles on this host.
    let cleared = HeaderValue::from_static("\"cache\", \"storage\"");
    answer.headers_mut().insert(CLEAR_SITE_DATA, cleared);
    Ok(answer)
}

fn refused(console: &Console, problem: &AdminProblem, next: String) -> PageResult {
    let error = if matches!(problem, AdminProblem::TooManyFailedLogins(_)) {
        "Too many failed logins. Wait a minute, and then use the right token."
    } else {
        "No operator has this token, or several operators have it."
    };
    let page = LoginPage {
        error: Some(error),
        ..LoginPage::new(console, next)
    };
    let mut page = page.answer(problem.status_code())?;
    if let Some(wait) = problem.error_response().headers().get(RETRY_AFTER) {
        page.headers_mut().insert(RETRY_AFTER, wait.clone());
    }
    Ok(page)
}

impl LoginPage {
    fn new(console: &Console, next: String) -> Self {
        Self {
            frame: Frame::plain(),
            instance: console.instance.clone(),
            destination: console.destination.clone(),
            next,
            ended: None,
            error: None,
        }
    }

    fn answer(&self, status: StatusCode) -> PageResult {
        Ok(html(&mut HttpResponse::build(status), self.render()?))
    }
}

/// Leads the browser to another page, which it requests with GET.
pub(super) fn see(path: &str) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, path)).finish()
}

/// Returns the path of a page of the console. Any other text, such as the address of another site, becomes the overview.
pub(super) fn local_path(path: Option<String>) -> String {
    let is_local = |path: &String| {
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_visible)
    };
    path.filter(is_local).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N864
    #[test]
    fn a_login_leads_only_to_a_page_of_the_console() {
        for (path, expected) in [
            (
                "/entries?state=parked&after=3",
                "/entries?state=parked&after=3",
            ),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
        ] {
            assert_eq!(local_path(Some(path.to_owned())), expected, "{path:?}");
        }
        assert_eq!(local_path(None), "/");
    }
}
