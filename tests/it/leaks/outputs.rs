//! Collects everything that the bridge and its commands write, by the place where a person or a program reads it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::{Place, scan::Scanner};
use crate::http::{self, Answer};

/// The line, the headers and the body of a request.
type Request<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

/// The outputs of one run: the canaries in each place, with the first output in which a canary was found.
pub(super) struct Outputs {
    scanner: Scanner,
    found: BTreeMap<(&'static str, Place), String>,
}

impl Outputs {
    pub(super) const fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            found: BTreeMap::new(),
        }
    }

    /// Adds an output. `what` names the output in the report of a failure.
    pub(super) fn add(&mut self, place: Place, what: &str, bytes: &[u8]) {
        for name in self.scanner.scan(bytes) {
            let context = || format!("{what}: {}", excerpt(bytes, super::value(name)));
            self.found.entry((name, place)).or_insert_with(context);
        }
    }

    /// Adds all files below a folder, and their names.
    pub(super) fn add_files(&mut self, place: Place, folder: &Path) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.display().to_string();
            self.add(place, &name, name.as_bytes());
            if path.is_dir() {
                self.add_files(place, &path);
            } else {
                self.add(place, &name, &fs::read(&path).unwrap());
            }
        }
    }

    /// Sends a request, and adds the whole answer.
    pub(super) fn ask(
        &mut self,
        place: Place,
        address: SocketAddr,
        (line, headers, body): Request<'_>,
    ) -> Answer {
        let answer = http::ask(address, line, headers, body).unwrap();
        let whole = format!("{} {:?} {}", answer.status, answer.headers, answer.body);
        self.add(place, line, whole.as_bytes());
        answer
    }

    /// Sends a request without a body to the admin API.
    pub(super) fn ask_operator(
        &mut self,
        place: Place,
        ops: SocketAddr,
        token: &str,
        line: &str,
    ) -> Value {
        let bearer = format!("Bearer {token}");
        let answer = self.ask(place, ops, (line, &[("authorization", &bearer)], ""));
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        answer.json()
    }

    /// Returns the places of each canary, with an example of each.
    pub(super) fn found(&self, name: &str) -> BTreeMap<Place, &str> {
        let found = self.found.iter();
        let found = found.filter(|((known, _), _)| *known == name);
        let found = found.map(|((_, place), example)| (*place, example.as_str()));
        found.collect()
    }
}

/// Returns the text around a canary value, or the first text of an output that has the value in another form.
fn excerpt(bytes: &[u8], value: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let at = text.find(value).unwrap_or_default();
    let (before, after) = text.split_at(at);
    let before: Vec<char> = before.chars().rev().take(120).collect();
    let before: String = before.into_iter().rev().collect();
    let after: String = after.chars().take(160).collect();
    format!("…{before}{after}…")
}
