//! Tests of the console: a browser without scripts logs in, reads the pages and sends forms.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::json;
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::support::{TestApp, email};

mod changes;
mod customers;
mod demo;
mod destination;
mod entries;
mod failing_customer;
mod frame;
mod incidents;
mod log;
mod overview;
mod problems;
mod sessions;
mod sources;
mod try_out;
mod watched_sources;

/// The admin API token of the operator `alice`, who has every role.
const TOKEN: &str = "op-canary-token-1";

/// The token of the operator `vera`, who only reads masked data.
const VIEWER: &str = "op-canary-token-2";

/// Starts a bridge with both operators. Returns the folder of the token files too.
fn start_with_viewer() -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let paths = [("alice", TOKEN), ("vera.viewer", VIEWER)].map(|(name, token)| {
        let path = folder.path().join(name);
        std::fs::write(&path, token).unwrap();
        path.display().to_string()
    });
    let settings = format!("[ops]\ntoken_files = {}", json!(paths));
    (TestApp::setup().settings(settings).start(), folder)
}

/// Accepts an event whose values Imprint rejects, so that its entry is parked.
#[track_caller]
pub(crate) fn park(app: &TestApp, id: &str, customer: &str, revision: u64) {
    let action = json!({"status": 400, "param": "email"});
    app.imprint
        .inject(&json!({"customer": customer, "times": 1, "action": action}));
    app.accept(&email(id, customer, revision));
    app.wait_until(id, "parked");
}

/// A browser: it keeps the session cookie, and sends the headers that browsers send.
struct Browser {
    ops: SocketAddr,
    cookie: Option<String>,
}

impl Browser {
    fn new(app: &TestApp) -> Self {
        Self {
            ops: app.ops(),
            cookie: None,
        }
    }

    /// Opens the console of a bridge, and logs in.
    #[track_caller]
    fn logged_in(app: &TestApp, token: &str) -> Self {
        let mut browser = Self::new(app);
        let answer = browser.post("/login", &[("token", token), ("next", "/")]);
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(answer.header("location"), Some("/"));
        browser
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "")
    }

    /// Loads a page, and returns its HTML.
    #[track_caller]
    fn page(&mut self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        answer.body
    }

    /// Sends a form as a page of the console does.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{HOST}");
        let headers = [("origin", origin.as_str()), FORM];
        self.ask(&format!("POST {path}"), &headers, &encoded(fields))
    }

    /// Sends a form with the token of the session, which the browser finds on the overview.
    fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let overview = self.page("/");
        let token = hidden(&overview, "form_token").to_owned();
        let fields = [&[("form_token", token.as_str())], fields].concat();
        self.post(path, &fields)
    }

    fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let cookie = self.cookie.clone().unwrap_or_default();
        let mut headers = headers.to_vec();
        if !cookie.is_empty() {
            headers.push(("cookie", &cookie));
        }
        let answer = http::ask(self.ops, line, &headers, body).unwrap();
        let set = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        for (_, value) in set {
            let cookie = value.split(';').next().unwrap();
            let is_deleted = value.contains("Max-Age=0");
            self.cookie = (!is_deleted).then(|| cookie.to_owned());
        }
        answer
    }
}

/// The value of the header `host` of the test client.
const HOST: &str = "bridge";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Encodes the fields of a form.
fn encoded(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        write!(body, "{name}=").unwrap();
        for byte in value.bytes() {
            match byte.is_ascii_alphanumeric() {
                true => body.push(char::from(byte)),
                false => write!(body, "%{byte:02X}").unwrap(),
            }
        }
    }
    body
}

/// Returns the value of the first hidden field with this name.
#[track_caller]
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .split_once(&field)
        .unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap()
}
