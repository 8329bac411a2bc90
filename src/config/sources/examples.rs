//! The examples of a source: the files in the folder that has the name of the source. The command `check` uses the
//! examples as tests of the mapping.
//!
//! `NAME.event.json` is the body of a request to the bridge. If the source file reads request headers,
//! `NAME.headers.txt` has the headers of the request, one header on each line. If the bridge accepts the body, `NAME.request.json` has
//! the expected request to Imprint, or `"ignored"` if the bridge sends nothing for the event. If the body has several
//! events, the file has a list with one item for each event. If the bridge refuses the body, `NAME.refusal.json` has
//! the expected problem type and errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::regular_file;
use super::example_ids::ExampleIds;
use super::example_reasons;
use crate::event::{RequestHeaders, Visibility};
use crate::http::header::HeaderMap;
use crate::http::header_line::{header_map, parse_headers};
use crate::http::single_header::SingleHeader;
use crate::intake::coverage::{self, ExampleCoverage, ExplainedExample};
use crate::intake::examples::Expectation;
use crate::intake::{Explanation, RequestMessage, Source, Sources};
use crate::spelling;
use crate::time::Timestamp;

/// The ends of the names of example files.
const ENDINGS: [&str; 4] = [EVENT, HEADERS, REQUEST, REFUSAL];
const EVENT: &str = ".event.json";
const HEADERS: &str = ".headers.txt";
const REQUEST: &str = ".request.json";
const REFUSAL: &str = ".refusal.json";
/// The maximum size of an example file: 4 times the default of `ingress.body_bytes_max`.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The results of all examples of one source.
#[derive(Debug, Default)]
pub(crate) struct ExampleResults {
    pub(crate) count: usize,
    /// The number of examples with an invalid event that the bridge parks.
    pub(crate) parked: usize,
    /// The differences between expected and actual results, and the errors of example files that cannot be read.
    pub(crate) errors: Vec<ExampleError>,
    /// For each event type, the paths that the mapping read in the examples, and the Imprint fields that the examples
    /// set.
    pub(crate) coverage: BTreeMap<String, ExampleCoverage>,
    /// The headers and the body of the first example.
    pub(crate) first_body: Option<(RequestHeaders, Value)>,
    /// For each event type, the event of the first example, in the form that the schema and the mapping read.
    pub(crate) first_views: BTreeMap<String, Value>,
    /// For each event type, the places in the examples that the store would not keep.
    pub(crate) not_kept: BTreeMap<String, BTreeSet<String>>,
    /// What the examples show about ids, customers and versions.
    pub(crate) ids: ExampleIds,
    /// The bodies of the examples that are JSON, with their explanations.
    pub(crate) explained: Vec<ExplainedExample>,
    /// The event types whose schema describes a part of an example.
    pub(crate) described: BTreeSet<String>,
}

/// An error of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExampleError {
    /// The path of the example without its ending, or the folder of the examples.
    pub(crate) place: String,
    /// The reason. It possibly contains values of the example.
    pub(crate) reason: String,
}

impl fmt::Display for ExampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Returns whether a file with this name belongs to an example.
pub(super) fn is_example(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Runs the examples in `folder`, and compares each result with the result that the example expects.
pub(crate) fn run(
    folder: &Path,
    sources: &Sources,
    source: &Source,
    wall_time: Timestamp,
) -> ExampleResults {
    let mut results = ExampleResults::default();
    let names = match example_names(folder) {
        Ok(names) => names,
        Err(reason) => {
            let place = folder.display().to_string();
            results.errors.push(ExampleError { place, reason });
            return results;
        }
    };
    for name in names {
        let stem = folder.join(name);
        let differences = results.run_one(&stem, sources, source, wall_time);
        let errors = differences.unwrap_or_else(|reason| vec![reason]);
        let place = stem.display().to_string();
        let named = |reason: String| ExampleError {
            place: place.clone(),
            reason: with_headers_file(reason, &stem),
        };
        results.errors.extend(errors.into_iter().map(named));
    }
    results
}

impl ExampleResults {
    /// Returns whether the result of an example differs from the expected result, or an example expects no result.
    pub(crate) fn has_differences(&self) -> bool {
        let mut errors = self.errors.iter();
        let parts = ["expected ", "neither "];
        errors.any(|error| parts.iter().any(|part| error.reason.contains(part)))
    }

    fn run_one(
        &mut self,
        stem: &Path,
        sources: &Sources,
        source: &Source,
        wall_time: Timestamp,
    ) -> Result<Vec<String>, String> {
        let example = ExampleRequest::read(stem)?;
        let headers = example.headers(source)?;
        let message = RequestMessage {
            headers: &headers,
            body: &example.body,
        };
        let explanation = explain(sources, source, message, wall_time)?;
        self.observe(sources, source, message, &explanation);
        let differences = differences(stem, source, &example.body, &explanation);
        if let Ok(body) = serde_json::from_slice::<Value>(&example.body) {
            self.first_body
                .get_or_insert_with(|| (headers.clone(), body.clone()));
            self.explained.push(ExplainedExample { body, explanation });
        }
        differences
    }

    /// Adds what an example shows about its source.
    fn observe(
        &mut self,
        sources: &Sources,
        source: &Source,
        message: RequestMessage<'_>,
        explanation: &Explanation,
    ) {
        self.count += 1;
        self.parked += usize::from(explanation.parks_an_invalid_event());
        coverage::observe(&mut self.coverage, source, explanation);
        self.ids.observe(source, explanation);
        for (name, view) in sources.views(source, message) {
            let event_type = source.event_types.get(&name);
            let event_type = event_type.filter(|_| !self.described.contains(&name));
            if event_type.is_some_and(|known| coverage::is_described(source, known, &view)) {
                self.described.insert(name.clone());
            }
            let not_kept = source.not_kept(&name, &view);
            self.not_kept
                .entry(name.clone())
                .or_default()
                .extend(not_kept);
            self.first_views.entry(name).or_insert(view);
        }
    }
}

/// Returns the differences between the result of an example and the result that it expects.
fn differences(
    stem: &Path,
    source: &Source,
    body: &[u8],
    explanation: &Explanation,
) -> Result<Vec<String>, String> {
    let (request, refusal) = (with_ending(stem, REQUEST), with_ending(stem, REFUSAL));
    let expectation = match (request.exists(), refusal.exists()) {
        (true, false) => Expectation::Requests(parse(&request)?),
        (false, true) => Expectation::Rejection(parse(&refusal)?),
        (true, true) => return Err(format!("has both {REQUEST} and {REFUSAL}")),
        (false, false) => {
            let today = Expectation::of(explanation);
            let file = with_ending(stem, today.file_ending());
            return Err(format!(
                "has neither {REQUEST} nor {REFUSAL}{}; if the result today is right, write it into {}: {}",
                example_reasons::reasons(source, explanation, body),
                file.display(),
                today.as_json()
            ));
        }
    };
    let differences = expectation.differences(explanation);
    let unexpected = example_reasons::unexpected(source, explanation, body);
    let remedy = serde_json::from_slice(body)
        .ok()
        .and_then(|body| example_reasons::remedy(source, explanation, &body));
    let named = example_reasons::with_names(differences, &unexpected);
    let with_remedy = named.into_iter().map(|difference| {
        let is_refused = difference.contains("\"faults\":");
        match remedy.as_ref().filter(|_| is_refused) {
            Some(remedy) => format!("{difference}; {remedy}"),
            None => difference,
        }
    });
    Ok(with_remedy.collect())
}

/// Names the file with the headers of an example, if the example lacks a header that an expression reads.
fn with_headers_file(reason: String, stem: &Path) -> String {
    let file = with_ending(stem, HEADERS);
    if !reason.contains(NO_HEADER) {
        return reason;
    }
    let lines = fs::read_to_string(&file).unwrap_or_default();
    let names = lines.lines().filter_map(|line| line.split(':').next());
    match similar_header(&reason, names) {
        Some(meant) => format!("{reason}; {} has another name: {meant}", file.display()),
        None => format!(
            "{reason}; write the headers of the request into {}, one on each line",
            file.display()
        ),
    }
}

/// Returns a question about the header that an error about a missing header probably means.
pub(crate) fn similar_header<'n>(
    error: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    let (_, missing) = error.split_once(NO_HEADER)?;
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let missing = missing.split(|c| !is_of_name(c)).next()?;
    let meant = spelling::misspelt(missing, names)?.to_ascii_lowercase();
    let is_other = !meant.eq_ignore_ascii_case(missing);
    is_other.then(|| format!("did you mean header(\"{meant}\")?"))
}

/// The beginning of the error text about a missing request header.
const NO_HEADER: &str = "The request has no header ";

/// Lists the names of the examples, sorted. A file whose name begins with a dot is not a part of an example.
fn example_names(folder: &Path) -> Result<Vec<String>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut names = BTreeSet::new();
    let mut expected = Vec::new();
    for file in fs::read_dir(folder).map_err(unreadable)? {
        let file = file.map_err(unreadable)?.file_name();
        let file = file.to_string_lossy();
        if file.starts_with('.') {
            continue;
        }
        if let Some(name) = file.strip_suffix(EVENT) {
            names.insert(name.to_owned());
        }
        let name = [REQUEST, REFUSAL, HEADERS]
            .iter()
            .find_map(|ending| file.strip_suffix(ending));
        expected.extend(name.map(str::to_owned));
        let endings = [".json", ".txt", ".headers"];
        let looks_like_one = endings.iter().any(|ending| file.ends_with(ending));
        if looks_like_one && !is_example(&file) {
            let endings = ENDINGS.join(", ");
            return Err(format!(
                "{file} is not an example: its name must end in one of {endings}"
            ));
        }
    }
    match expected.iter().find(|name| !names.contains(*name)) {
        Some(name) => Err(format!("{name} has no {EVENT}")),
        None => Ok(names.into_iter().collect()),
    }
}

/// The request of an example: its body, and the file with its headers if the example has headers.
#[derive(PartialEq, Eq)]
pub(crate) struct ExampleRequest {
    body: Vec<u8>,
    header_lines: Option<Vec<u8>>,
}

impl ExampleRequest {
    fn read(stem: &Path) -> Result<Self, String> {
        let headers = with_ending(stem, HEADERS);
        let header_lines = headers.exists().then(|| read(&headers)).transpose()?;
        let body = read(&with_ending(stem, EVENT))?;
        Ok(Self { body, header_lines })
    }

    /// Explains the result of the example for a source.
    ///
    /// # Errors
    /// Returns a sentence if the bridge cannot read the headers of the example.
    pub(crate) fn explain(
        &self,
        sources: &Sources,
        source: &Source,
        wall_time: Timestamp,
    ) -> Result<Explanation, String> {
        let headers = self.headers(source)?;
        let message = RequestMessage {
            headers: &headers,
            body: &self.body,
        };
        explain(sources, source, message, wall_time)
    }

    fn headers(&self, source: &Source) -> Result<RequestHeaders, String> {
        let text = str::from_utf8(self.header_lines.as_deref().unwrap_or_default());
        let text = text.map_err(|_invalid| format!("the file *{HEADERS} is not text"))?;
        parse_headers(text)
            .and_then(|headers| request_headers(source, &header_map(&headers)))
            .map_err(|reason| format!("the file *{HEADERS}: {reason}"))
    }
}

fn explain(
    sources: &Sources,
    source: &Source,
    message: RequestMessage<'_>,
    wall_time: Timestamp,
) -> Result<Explanation, String> {
    let visibility = Visibility::Revealed;
    let explanation = sources.explain_body(&source.name, message, wall_time, visibility);
    explanation.ok_or_else(|| "has no source".to_owned())
}

/// Reads the requests of all examples in a folder, by the names of the examples.
///
/// # Errors
/// Returns a sentence for the first file that cannot be read.
pub(crate) fn requests(folder: &Path) -> Result<BTreeMap<String, ExampleRequest>, String> {
    let names =
        example_names(folder).map_err(|reason| format!("{}: {reason}", folder.display()))?;
    let read = names.into_iter().map(|name| {
        let request = ExampleRequest::read(&folder.join(&name))?;
        Ok((name, request))
    });
    read.collect()
}

/// Reads the headers that the expressions of a source read.
pub(crate) fn request_headers(
    source: &Source,
    headers: &HeaderMap,
) -> Result<RequestHeaders, String> {
    let read = |name: &str| SingleHeader::read(headers, name).optional();
    RequestHeaders::read(&source.read_headers(), read).map_err(|errors| {
        let details: Vec<_> = errors.into_iter().map(|error| error.detail).collect();
        details.join(" ")
    })
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    regular_file::read(path, FILE_BYTES_MAX).map_err(|error| error.at(path))
}

fn parse(path: &Path) -> Result<Value, String> {
    example_reasons::parse_result(&read(path)?)
        .map_err(|error| format!("{}: {error}", path.display()))
}
