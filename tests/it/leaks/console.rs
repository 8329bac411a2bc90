//! Opens the pages of the console, and sends its forms.

use std::net::SocketAddr;

use super::outputs::Outputs;
use super::{Place, REJECTED, value};
use crate::http::Answer;

/// A browser of the operator, whose answers the outputs collect.
pub(super) struct ConsoleVisit<'a> {
    outputs: &'a mut Outputs,
    ops: SocketAddr,
    cookie: String,
    form_token: String,
}

const ORIGIN: (&str, &str) = ("origin", "http://bridge");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

impl<'a> ConsoleVisit<'a> {
    pub(super) fn log_in(outputs: &'a mut Outputs, ops: SocketAddr) -> Self {
        let wrong = format!("token={}", value("wrong operator token"));
        outputs.ask(Place::Masked, ops, ("POST /login", &[ORIGIN, FORM], &wrong));
        let body = format!("token={}", value("operator token"));
        let answer = outputs.ask(Place::Masked, ops, ("POST /login", &[ORIGIN, FORM], &body));
        let cookie = answer.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut visit = Self {
            outputs,
            ops,
            cookie,
            form_token: String::new(),
        };
        let overview = visit.page("/", 200);
        let (_, rest) = overview
            .body
            .split_once("name=\"form_token\" value=\"")
            .unwrap();
        visit.form_token = rest.split('"').next().unwrap().to_owned();
        visit
    }

    /// Opens a page without a reveal.
    #[track_caller]
    pub(super) fn page(&mut self, path: &str, status: u16) -> Answer {
        let headers = [("cookie", self.cookie.as_str())];
        let line = format!("GET {path}");
        let answer = self
            .outputs
            .ask(Place::Masked, self.ops, (&line, &headers, ""));
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        answer
    }

    #[track_caller]
    fn submit(&mut self, place: Place, path: &str, fields: &str) {
        let headers = [("cookie", self.cookie.as_str()), ORIGIN, FORM];
        let body = format!("form_token={}&{fields}", self.form_token);
        let line = format!("POST {path}");
        let answer = self.outputs.ask(place, self.ops, (&line, &headers, &body));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }

    /// Opens every page, previews changes of these entries, and reveals the entries.
    pub(super) fn look_at_everything(&mut self, entries: [&str; 2]) {
        for path in [
            "/entries",
            "/entries?state=all",
            "/problems",
            "/destination",
            "/sources",
            "/audit",
        ] {
            self.page(path, 200);
        }
        self.page(&format!("/entries?state=all&customer={REJECTED}"), 200);
        self.page(&format!("/customers?id={REJECTED}"), 200);
        self.page("/entries?since=yesterday", 400);
        self.page("/nothing-here", 404);
        for entry in entries {
            self.page(&format!("/entries/{entry}?reveal=true"), 200);
            for fields in [
                "action=replay",
                "action=replay&mapping=current",
                "action=discard",
            ] {
                let fields = format!("{fields}&entry={entry}");
                self.submit(Place::Masked, "/entries/preview", &fields);
            }
            let page = self.page(&format!("/entries/{entry}"), 200).body;
            let (before, _) = page.split_once("/try?entry=").unwrap();
            let (_, source) = before.rsplit_once("href=\"/sources/").unwrap();
            let path = format!("/sources/{source}/try");
            self.page(&format!("{path}?entry={entry}&reveal=true"), 200);
            self.submit(Place::Masked, &path, &tried(entry));
            let shown = format!("{}&reveal=true", tried(entry));
            self.submit(Place::Revealed, &path, &shown);
            let reveal = format!("/entries/{entry}/reveal");
            self.submit(Place::Revealed, &reveal, "");
        }
        let filter = "action=replay&filter=state%3Dparked";
        self.submit(Place::Masked, "/entries/preview", filter);
    }
}

/// The fields of a try-out of an entry with an edited mapping.
fn tried(entry: &str) -> String {
    let text = "[auth]\nkind = \"none\"\n[events.\"customer.changed\"]\nschema = \"crm/customer-changed.v1.json\"\n\
                customer.partner_id = \".data.customer.id\"\nupdate.last_name = \".data.customer.email\"\n";
    format!(
        "entry={entry}&text={}",
        text.replace('\n', "%0A").replace('"', "%22")
    )
}
