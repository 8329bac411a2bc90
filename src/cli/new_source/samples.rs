//! Reads the samples of a new source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::super::header_option::headers_beside;
use crate::config::Config;
use crate::config::sources::examples::FILE_BYTES_MAX;
use crate::draft::Sample;
use crate::event::json;
use crate::http::header_line::{parse_header, parse_headers};
use crate::http::{HeaderName, HeaderValue};

/// The maximum length of the name of an example file, without its ending.
const STEM_CHARS_MAX: usize = 64;
/// The endings of the file of a sample that are not a part of the name of the example.
const ENDINGS: [&str; 3] = [".event.json", ".json", ".txt"];

/// A sample with the file that it comes from.
#[derive(Clone, Debug)]
pub(super) struct SampleFile {
    pub(super) path: PathBuf,
    /// The body of the example: the bytes of the file, unless the sample had to be changed.
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) sample: Sample,
}

/// Reads the samples and the headers of their requests.
pub(super) fn read(paths: &[PathBuf], header_files: &[PathBuf]) -> anyhow::Result<Vec<SampleFile>> {
    if header_files.len() > 1 && header_files.len() != paths.len() {
        bail!(
            "set --headers once for all samples, or once for each sample: there are {} samples and {} files with headers",
            paths.len(),
            header_files.len()
        );
    }
    let mut samples = Vec::new();
    for (position, path) in paths.iter().enumerate() {
        let named = || path.display().to_string();
        if path.to_string_lossy().contains("://") {
            bail!(
                "{} is a URL: save the body of a request in a file, and name the file",
                named()
            );
        }
        let body = bytes(path).with_context(named)?;
        let value = match json::parse(&body) {
            Ok(value) => value,
            Err(_) if has_event_on_each_line(&body) => bail!(
                "{} has an event on each line: write each event into a file of its own, and set --sample for each file",
                named()
            ),
            Err(error) => return Err(error).with_context(named),
        };
        let file = header_files.get(position).or_else(|| header_files.first());
        let headers = match file {
            Some(file) if is_header(file) => bail!(
                "--headers names a file: write the header into a file, with one header on each line, and set --headers FILE"
            ),
            Some(file) => headers(file).with_context(|| file.display().to_string())?,
            None => Vec::new(),
        };
        let texts = headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let sample = Sample::new(value, texts);
        samples.push(SampleFile {
            path: path.clone(),
            body,
            headers,
            sample,
        });
    }
    Ok(samples)
}

/// Returns whether the option has a header in the place of the name of a file. The header can be a secret.
fn is_header(file: &Path) -> bool {
    let text = file.to_string_lossy();
    text.contains(':') && parse_header(&text).is_ok() && !file.exists()
}

/// Returns whether a file has JSON on each line, as a file for `send` has.
fn has_event_on_each_line(body: &[u8]) -> bool {
    let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    let mut lines = lines.iter().filter(|line| !line.trim_ascii().is_empty());
    let is_event = |line: &&[u8]| line.starts_with(b"{") && json::parse(line).is_ok();
    lines.clone().count() > 1 && lines.all(is_event)
}

/// Returns a note about each sample that is probably no body of a request.
pub(super) fn unlikely(samples: &[SampleFile]) -> Vec<String> {
    let notes = samples.iter().filter_map(|file| {
        let body: Value = serde_json::from_slice(&file.body).ok()?;
        let has = |names: &[&str]| names.iter().all(|name| body.get(name).is_some());
        let kind = if has(&["$schema"])
            || body.get("type").is_some_and(|kind| kind == "object") && has(&["properties"])
        {
            "a JSON Schema"
        } else if has(&["path", "body", "cleared"]) {
            "the expected result of an example"
        } else {
            return None;
        };
        Some(format!(
            "{} is probably {kind}, and a sample is a body that the source posts.",
            file.path.display()
        ))
    });
    notes.collect()
}

/// Returns a note about each file with the headers of a sample that the command does not read.
pub(super) fn unread_headers(paths: &[PathBuf], header_files: &[PathBuf]) -> Vec<String> {
    let beside = paths.iter().filter_map(|path| headers_beside(path));
    let unread = beside.filter(|_| header_files.is_empty());
    let notes = unread.map(|file| {
        let file = file.display();
        format!(
            "{file} has the name of a sample, and the draft does not use its headers: if they are the headers of the sample, set --headers {file}."
        )
    });
    notes.collect()
}

/// Changes the samples that the bridge could not accept as an example, and returns a note about each change.
pub(super) fn fit(samples: &mut [SampleFile], config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let events_max = config.intake.batch_events_max;
    for file in samples {
        let path = file.path.display();
        if file.body.len() > config.ingress.limits.body_bytes_max {
            notes.push(format!(
                "{path} has {} bytes, and the bridge refuses a body of more than {} bytes (`ingress.body_bytes_max`).",
                file.body.len(),
                config.ingress.limits.body_bytes_max
            ));
        }
        if file.sample.shorten(events_max) {
            notes.push(format!(
                "{path} has more than {events_max} events in one list, and the bridge refuses such a body (`ingress.batch_max`). The example has the first {events_max} events."
            ));
            file.body = file.sample.to_bytes();
        }
        if file.sample.into_structured() {
            notes.push(format!(
                "{path} is a CloudEvent in binary mode. The example has the same event in structured mode, because an example is a body without attributes in headers."
            ));
            file.body = file.sample.to_bytes();
        }
    }
    notes
}

/// Replaces the values that look like secrets, and returns a note about each changed sample.
pub(super) fn replace_secrets(samples: &mut [SampleFile]) -> Vec<String> {
    let mut notes = Vec::new();
    for file in samples {
        let places = file.sample.replace_secrets();
        if places.is_empty() {
            continue;
        }
        file.body = file.sample.to_bytes();
        notes.push(format!(
            "{} has members with values that no example must have: {}. The example has other values in their places.",
            file.path.display(),
            places.join(", ")
        ));
    }
    notes
}

/// Adds the headers that the source file reads to the samples that lack them, and returns a note about each header.
pub(super) fn add_usual_headers(
    samples: &mut [SampleFile],
    usual: &[(&'static str, &'static str)],
) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, value) in usual {
        let header = || {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut was_missing = false;
        for file in samples.iter_mut() {
            if !file
                .headers
                .iter()
                .any(|(known, _)| known.as_str() == *name)
            {
                file.headers.push(header());
                was_missing = true;
            }
        }
        if was_missing {
            notes.push(format!(
                "The samples have no header {name}. The examples have the value {value}; set --headers for another value."
            ));
        }
    }
    notes
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        bail!("is not a file");
    }
    if metadata.len() > FILE_BYTES_MAX {
        bail!(
            "has {} bytes; a sample has at most {FILE_BYTES_MAX} bytes, because it becomes an example that `check` reads",
            metadata.len()
        );
    }
    Ok(fs::read(path)?)
}

fn headers(path: &Path) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let text = String::from_utf8(bytes(path)?).context("is not text")?;
    parse_headers(&text).map_err(anyhow::Error::msg)
}

/// Returns the name of the example for a sample, which no other example has.
pub(super) fn stem(path: &Path, names: &mut BTreeSet<String>) -> String {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let name: String = name
        .chars()
        .take(STEM_CHARS_MAX)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '.']);
    let name = if name.is_empty() { "sample" } else { name };
    let mut number = 1_usize;
    loop {
        let candidate = if number == 1 {
            name.to_owned()
        } else {
            format!("{name}-{number}")
        };
        if names.insert(candidate.clone()) {
            return candidate;
        }
        number = number.saturating_add(1);
    }
}

impl SampleFile {
    /// Returns the headers that the source file reads, one on each line. Other headers can contain secrets.
    pub(super) fn headers_text(&self, names: &BTreeSet<String>) -> anyhow::Result<String> {
        let mut text = String::new();
        for (name, value) in &self.headers {
            if names.contains(name.as_str()) {
                let value = value.to_str().context("a header is not visible ASCII")?;
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        Ok(text)
    }
}
