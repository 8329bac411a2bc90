//! A try-out of a mapping: the operator pastes a request body or names an entry, edits the source file, and sees the request,
//! the explanation and the difference. A try-out sends, stores and changes nothing.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::form::AnyForm;
use super::page::{Frame, PageResult, Section, html};
use super::problem::ConsoleProblem;
use super::try_text::TryText;
use super::visitor::Visitor;
use crate::event::{SourceName, Visibility};
use crate::ops::operate::{Operations, Operator, Role, TriedEvent, TryOut};
use crate::ops::{Access, AdminProblem, parse_entry};

/// The maximum length of the form of a try-out: a body and a source file of the maximum length, percent-encoded.
pub(super) const TRY_FORM_BYTES_MAX: usize = 400 * 1024;

#[derive(Template)]
#[template(path = "try_out.html", config = "src/console/askama.toml")]
struct TryOutPage {
    frame: Frame,
    source: String,
    /// The path of the source file.
    file: String,
    /// Why nothing was tried out. The page keeps what the operator wrote.
    problem: Option<ConsoleProblem>,
    /// True if the form has something that the operator wrote.
    is_written: bool,
    /// The numbers of the lines of the text, for the column beside it.
    lines: Vec<SourceLine>,
    fields: TryFields,
    /// False if there is no text to edit, because the source file is too long for a try-out.
    has_text: bool,
    /// The headers that the expressions of the source read.
    read_headers: Vec<String>,
    is_revealer: bool,
    is_revealed: bool,
    result: Option<TryText>,
}

/// The number of a line of the shown source file.
struct SourceLine {
    number: usize,
    /// The header of the table of events that begins on this line.
    events: Option<String>,
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
    (console, access): (web::Data<Console>, web::Data<Access>),
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
    let page = try_page((&visitor, &console), &operations, &source, Ok(fields));
    page.await?.answer(&access)
}

/// Answers `POST /sources/{source}/try`.
pub(super) async fn run(
    (console, access): (web::Data<Console>, web::Data<Access>),
    operations: web::Data<Operations>,
    source: web::Path<String>,
    form: AnyForm<TryFields>,
) -> PageResult {
    let AnyForm { visitor, fields } = form;
    let page = try_page((&visitor, &console), &operations, &source, fields);
    page.await?.answer(&access)
}

/// Returns the page. `fields` are the fields of a form of this session, or of another one, which is not tried out.
async fn try_page(
    (visitor, console): (&Visitor, &Console),
    operations: &Operations,
    source: &str,
    fields: Result<TryFields, TryFields>,
) -> Result<TryOutPage, ConsoleProblem> {
    let operator = visitor.operator();
    let source = SourceName::parse(source).map_err(|error| malformed(error.to_string()))?;
    let live = operations.source_text(operator, &source);
    let (Ok(written) | Err(written)) = &fields;
    let is_written = written.is_written();
    let (live, removed) = match live {
        Ok(live) => (live.as_deref().map(compact), None),
        Err(removed) if is_written => (None, Some(removed)),
        Err(unknown) => return Err(unknown.into()),
    };
    let (tried, fields) = match (fields, removed) {
        (Ok(fields), None) => {
            let try_out = fields.try_out(&source, live.as_deref());
            (tried(operations, operator, try_out).await, fields)
        }
        (Ok(fields), Some(removed)) => (Err(removed.into()), fields),
        (Err(fields), _) => (Err(ConsoleProblem::OtherSession), fields),
    };
    let text = match fields.text.is_empty() {
        true => live.clone().unwrap_or_default(),
        false => plain_lines(&fields.text),
    };
    let (result, problem) = match tried {
        Ok(result) => (result, None),
        Err(problem) => (None, Some(problem)),
    };
    Ok(TryOutPage {
        frame: console.frame(visitor, Section::Sources, operations).await,
        read_headers: operations.read_headers(operator, &source),
        file: console.source_path(source.as_str()),
        source: source.to_string(),
        has_text: live.is_some() || !text.is_empty(),
        is_revealer: visitor.may(Role::Revealer),
        is_revealed: fields.is_revealed() && problem.is_none(),
        problem,
        is_written,
        lines: SourceLine::all(&text),
        fields: TryFields { text, ..fields },
        result,
    })
}

impl TryOutPage {
    /// Returns why the form was not tried out. A page with the text of the form needs no advice to go back.
    fn problem_text(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(match matches!(problem, ConsoleProblem::OtherSession) {
            true => "The form belongs to another session, so nothing was tried out.".to_owned(),
            false => problem.detail(),
        })
    }

    fn answer(&self, access: &Access) -> PageResult {
        let status = match &self.problem {
            None => StatusCode::OK,
            Some(problem) => {
                if let ConsoleProblem::Failed(failed) = problem {
                    access.report_refusal(failed);
                }
                problem.status_code()
            }
        };
        Ok(html(&mut HttpResponse::build(status), self.render()?))
    }
}

async fn tried(
    operations: &Operations,
    operator: &Operator,
    try_out: Result<Option<TryOut>, AdminProblem>,
) -> Result<Option<TryText>, ConsoleProblem> {
    let Some(try_out) = try_out? else {
        return Ok(None);
    };
    let result = operations.try_out(operator, try_out).await?;
    Ok(Some(TryText::of(&result)))
}

/// Returns the text of a source file without empty lines, because the text has no comments. A text over several lines keeps
/// its empty lines.
fn compact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut open = None;
    for line in text.lines() {
        let is_inside = open.is_some();
        let is_table = line.starts_with('[') && !is_inside && !shown.is_empty();
        if is_table {
            shown.push('\n');
        }
        if is_inside || !line.trim().is_empty() {
            shown.push_str(line);
            shown.push('\n');
        }
        open = open_after(line, open);
    }
    shown
}

/// Returns the quotes of the text over several lines that is open after a line of TOML. `open` is the one before the line.
fn open_after(line: &str, mut open: Option<&'static str>) -> Option<&'static str> {
    const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];
    let mut rest = line;
    while !rest.is_empty() {
        let quotes = match open {
            Some(open) => Some(open).filter(|open| rest.starts_with(*open)),
            None => QUOTES.into_iter().find(|quotes| rest.starts_with(*quotes)),
        };
        if let Some(after) = quotes.and_then(|quotes| rest.strip_prefix(quotes)) {
            open = if open.is_some() { None } else { quotes };
            rest = after;
            continue;
        }
        let mut characters = rest.chars();
        let first = characters.next();
        if first == Some('#') && open.is_none() {
            return None;
        }
        // A text in double quotes can contain escaped quotes.
        if first == Some('\\') && open.is_some_and(|open| open.starts_with('"')) {
            characters.next();
        }
        rest = characters.as_str();
    }
    open.filter(|open| open.len() > 1)
}

impl SourceLine {
    fn all(text: &str) -> Vec<Self> {
        let lines = text.lines().zip(1..);
        let lines = lines.map(|(line, number)| Self {
            number,
            events: line.starts_with("[events.").then(|| line.trim().to_owned()),
        });
        lines.collect()
    }
}

impl TryFields {
    /// Returns whether the operator wrote something that an error must not lose.
    fn is_written(&self) -> bool {
        [&self.body, &self.headers, &self.text]
            .iter()
            .any(|text| !text.is_empty())
    }

    fn is_revealed(&self) -> bool {
        !self.reveal.is_empty()
    }

    /// Returns the try-out, or `None` if the form has no event. `live` is the compact text of the source file in use.
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
            (entry, "") => TriedEvent::Entry(
                parse_entry(entry)
                    .map_err(|_other| malformed("the number of an entry is a whole number"))?,
            ),
            (_, _) => {
                return Err(malformed(
                    "the form has an entry and a request body: empty one of the two",
                ));
            }
        };
        let text = plain_lines(&self.text);
        let is_edited = !text.trim().is_empty() && live != Some(compact(&text).as_str());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1312: a source file without its comments was mostly empty lines, and the table to edit was far below.
    #[test]
    fn a_shown_source_file_has_no_empty_lines_of_comments() {
        let text = "\n\n[auth]\nkind = \"none\"\n\n\n\n[events.a]\n\nschema = \"a\"\nwhen = '''\n.a\n\n.b'''\n\n[events.a.update]\n";
        let shown = compact(text);
        assert_eq!(
            shown,
            "[auth]\nkind = \"none\"\n\n[events.a]\nschema = \"a\"\nwhen = '''\n.a\n\n.b'''\n\n[events.a.update]\n"
        );
        assert_eq!(compact(&shown), shown);
        // Quotes inside another text open none.
        for line in [
            "x = \"'''\"",
            "x = '\"\"\"'",
            "x = \"\\\"'''\"",
            "x = \"\"\"'''\"\"\"",
            "# '''",
        ] {
            let text = format!("{line}\n\n[a]\ny = '''\n\n[b]\n'''\n");
            assert_eq!(compact(&text), text, "{line}");
        }
        let lines = SourceLine::all(&shown);
        let tables: Vec<(usize, &str)> = lines
            .iter()
            .filter_map(|line| Some((line.number, line.events.as_deref()?)))
            .collect();
        assert_eq!(tables, [(4, "[events.a]"), (11, "[events.a.update]")]);
    }
}
