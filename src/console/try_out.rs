//! A try-out of a mapping: the operator pastes a request body or names an entry, edits the source file, and sees the request,
//! the explanation and the difference. A try-out sends, stores and changes nothing.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::form::Form;
use super::page::{Frame, PageResult, Section, page};
use super::try_text::TryText;
use super::visitor::Visitor;
use crate::event::{SourceName, Visibility};
use crate::ops::operate::{Operations, Role, TriedEvent, TryOut};
use crate::ops::{AdminProblem, parse_entry};

/// The maximum length of the form of a try-out: a body and a source file of the maximum length, percent-encoded.
pub(super) const TRY_FORM_BYTES_MAX: usize = 400 * 1024;

#[derive(Template)]
#[template(path = "try_out.html", config = "src/console/askama.toml")]
struct TryOutPage {
    frame: Frame,
    source: String,
    fields: TryFields,
    /// False if the text of the source file is too long for a try-out.
    has_text: bool,
    /// The headers that the expressions of the source read.
    read_headers: Vec<String>,
    is_revealer: bool,
    is_revealed: bool,
    result: Option<TryText>,
}

/// The fields of the form. An absent field is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TryFields {
    entry: String,
    body: String,
    /// The headers of the body, one on each line.
    headers: String,
    /// The edited text of the source file.
    text: String,
    reveal: String,
}

/// The entry in the address of the page.
#[derive(Deserialize)]
struct TryQuery {
    #[serde(default)]
    entry: String,
}

/// Answers `GET /sources/{source}/try`. With an entry, the page shows the result with masked values.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    source: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let query = web::Query::<TryQuery>::from_query(request.query_string());
    let TryQuery { entry } = query
        .map_err(|error| malformed(error.to_string()))?
        .into_inner();
    let fields = TryFields {
        entry,
        ..TryFields::default()
    };
    try_page((&visitor, &console), &operations, &source, fields).await
}

/// Answers `POST /sources/{source}/try`.
pub(super) async fn run(
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    source: web::Path<String>,
    form: Form<TryFields>,
) -> PageResult {
    let Form { visitor, fields } = form;
    try_page((&visitor, &console), &operations, &source, fields).await
}

async fn try_page(
    (visitor, console): (&Visitor, &Console),
    operations: &Operations,
    source: &str,
    fields: TryFields,
) -> PageResult {
    let operator = visitor.operator();
    let source = SourceName::parse(source).map_err(|error| malformed(error.to_string()))?;
    let live = operations.source_text(operator, &source)?;
    let try_out = fields.try_out(&source, live.as_deref())?;
    let result = match try_out {
        None => None,
        Some(try_out) => {
            let result = operations.try_out(operator, try_out).await?;
            Some(TryText::of(&result))
        }
    };
    let text = match fields.text.is_empty() {
        true => live.as_deref().unwrap_or_default().to_owned(),
        false => plain_lines(&fields.text),
    };
    page(&TryOutPage {
        frame: console.frame(visitor, Section::Sources, operations).await,
        read_headers: operations.read_headers(operator, &source),
        source: source.to_string(),
        has_text: live.is_some(),
        is_revealer: visitor.may(Role::Revealer),
        is_revealed: fields.is_revealed(),
        fields: TryFields { text, ..fields },
        result,
    })
}

impl TryFields {
    fn is_revealed(&self) -> bool {
        !self.reveal.is_empty()
    }

    /// Returns the try-out, or `None` if the form has no event. `live` is the text of the source file in use.
    fn try_out(
        &self,
        source: &SourceName,
        live: Option<&str>,
    ) -> Result<Option<TryOut>, AdminProblem> {
        let event = match (self.entry.trim(), self.body.trim()) {
            ("", "") => return Ok(None),
            ("", _) => TriedEvent::Body {
                body: self.body.clone().into_bytes(),
                headers: headers(&self.headers)?,
            },
            (entry, "") => TriedEvent::Entry(parse_entry(entry)?),
            (_, _) => {
                return Err(malformed(
                    "the form has an entry and a request body: empty one of the two",
                ));
            }
        };
        let text = plain_lines(&self.text);
        let is_edited = !text.trim().is_empty() && live != Some(text.as_str());
        Ok(Some(TryOut {
            source: source.clone(),
            event,
            text: is_edited.then_some(text),
            visibility: match self.is_revealed() {
                true => Visibility::Revealed,
                false => Visibility::Masked,
            },
        }))
    }
}

/// Reads headers from lines such as `x-topic: orders`.
fn headers(lines: &str) -> Result<BTreeMap<String, String>, AdminProblem> {
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let headers = lines.map(|line| {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| malformed("a header is a line such as x-topic: orders"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    headers.collect()
}

/// Returns a text with the line ends of a source file. A browser sends the lines of a form with other line ends.
fn plain_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn malformed(reason: impl Into<String>) -> AdminProblem {
    AdminProblem::Malformed(reason.into())
}
