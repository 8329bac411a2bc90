//! `explain`: prints the request that the bridge would send for an event, with the expression for each field.
//!
//! `explain` reads the event from a file, and uses the source files of this machine. With `--entry`, a running bridge
//! explains one of its entries. The explanation of an entry also shows the fields for which Imprint has newer values
//! than the entry.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::header_option::{HeaderParser, headers_beside};
use super::operator::Bridge;
use super::{Layers, NEGATIVE_RESULT, read, source_name};
use crate::config::Purpose;
use crate::config::sources::examples::{request_headers, similar_header};
use crate::event::{SourceName, Visibility, cloudevents};
use crate::http::header::{CONTENT_TYPE, HeaderMap};
use crate::http::header_line::{header_map, header_of_place};
use crate::http::{HeaderName, HeaderValue, Method};
use crate::ingress::refusal::MediaTypeReason;
use crate::ingress::unsupported_media_type;
use crate::intake::examples::Expectation;
use crate::intake::{Encoding, EventExplanation, Explanation, RequestMessage, Source, Sources};
use crate::terminal::{print_notice, print_result};
use crate::time::Clock;

mod report;

pub(super) use report::{body as lines, in_one_line};

/// The arguments of the command `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainOptions {
    #[command(flatten)]
    layers: Layers,
    /// Name of the source of the event.
    #[arg(long, value_name = "NAME", required_unless_present = "entry")]
    source: Option<String>,
    /// File with the request body. Without a file, or with `-`, the command reads standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Header of the request, such as "x-topic: customers/update", if the source file reads headers. Repeat the option
    /// for each header.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = HeaderParser)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Explain this entry of a running bridge instead of a file.
    #[arg(long, value_name = "NUMBER", requires = "token_file", conflicts_with_all = ["source", "file", "headers"])]
    entry: Option<u64>,
    /// URL of the ops listener of the running bridge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    ops: String,
    /// File with the operator's token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Show values unmasked. With --entry, the bridge records in the audit log that the operator revealed values.
    #[arg(long)]
    reveal: bool,
    /// Print the explanation as JSON.
    #[arg(long)]
    json: bool,
    /// Print the text for the example file NAME.request.json or NAME.refusal.json. The values are unmasked.
    #[arg(long, conflicts_with_all = ["entry", "json"])]
    example: bool,
}

pub(super) fn run(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    match (options.entry, &options.token_file) {
        (Some(entry), Some(token_file)) => explain_entry(options, entry, token_file),
        (_, _) => explain_body(options),
    }
}

/// Explains an entry of a running bridge.
fn explain_entry(
    options: &ExplainOptions,
    entry: u64,
    token_file: &Path,
) -> anyhow::Result<ExitCode> {
    let bridge = Bridge::new(options.ops.clone(), token_file.to_owned(), options.json);
    let path = format!("/entries/{entry}/explain?reveal={}", options.reveal);
    let answer = bridge.call(&Method::GET, &path, None)?;
    let explanation: EventExplanation =
        serde_json::from_value(answer).context("the answer is not an explanation")?;
    if options.json {
        print_json(&explanation)?;
    } else {
        report::event(&explanation).iter().for_each(print_result);
    }
    Ok(exit_code(explanation.outcome.problem().is_some()))
}

/// Explains the request body in a file, with the source files of this machine.
fn explain_body(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    let (config, settings) = match read(&options.layers, Purpose::Check) {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let name = options.source.as_deref().unwrap_or_default();
    source_name::not_a_path(name).map_err(|reason| anyhow!(reason))?;
    let name = SourceName::parse(name)?;
    let names: Vec<String> = settings
        .iter()
        .map(|settings| settings.source.name.to_string())
        .collect();
    let sources = settings.into_iter().map(|settings| settings.source);
    let sources = Sources::new(sources, config.intake);
    let visibility = if options.reveal || options.example {
        Visibility::Revealed
    } else {
        Visibility::Masked
    };
    let wall_time = Clock::machine().wall();
    let unknown = || {
        let names = names.iter().map(String::as_str);
        anyhow!(source_name::unknown(
            name.as_str(),
            names,
            &config.sources_dir
        ))
    };
    let source = sources.get(&name).ok_or_else(unknown)?;
    let headers = header_map(&options.headers);
    let unread = options.file.as_deref().and_then(headers_beside);
    if let Some(unread) = unread.filter(|_| headers.is_empty() && !source.read_headers().is_empty())
    {
        print_notice(format_args!(
            "the command does not read {}: pass each header of the request with --header 'NAME: VALUE'",
            unread.display()
        ));
    }
    if let Some(detail) = refused_media_type(source, &headers) {
        print_notice(format_args!(
            "the bridge answers this request with status 415: {detail}"
        ));
        return Ok(ExitCode::from(NEGATIVE_RESULT));
    }
    let headers = request_headers(source, &headers).map_err(|reason| anyhow!(reason))?;
    let body = read_body(options.file.as_deref())?;
    let message = RequestMessage {
        headers: &headers,
        body: &body,
    };
    let explanation = sources.explain_body(&name, message, wall_time, visibility);
    let explanation = explanation.ok_or_else(unknown)?;
    print(options, &explanation, &body)?;
    Ok(exit_code(explanation.problems().next().is_some()))
}

/// Returns the detail of the refusal of a request whose Content-Type the source does not take. A request without this header
/// is a body in a file, which has no media type.
fn refused_media_type(source: &Source, headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let pairs = headers.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_bytes()));
    if Encoding::of_request(source, content_type, pairs).is_some() {
        return None;
    }
    let reason = MediaTypeReason::of_content_type(content_type);
    let detail = unsupported_media_type(source, reason).detail();
    let remedy = match source.json_envelope {
        None if cloudevents::is_plain_json(content_type) => {
            " If the sender posts no other Content-Type, write format = \"json\", id and type in the table [body] of the source file."
        }
        Some(_) | None => "",
    };
    Some(format!("{detail}{remedy}"))
}

fn print(options: &ExplainOptions, explanation: &Explanation, body: &[u8]) -> anyhow::Result<()> {
    if options.example {
        let expectation = Expectation::of(explanation);
        print_result(format_args!("{:#}", expectation.as_json()));
        if explanation.parks_an_invalid_event() {
            print_notice(
                "an event of this example is invalid, and the bridge parks it: save this result only if the event is meant to be invalid",
            );
        }
    } else if options.json {
        print_json(explanation)?;
    } else {
        report::body(explanation).iter().for_each(print_result);
        let errors = explanation.problems().flat_map(|problem| &problem.errors);
        let problems = explanation.problems();
        let without_value =
            problems.flat_map(|problem| problem.errors.iter().find(|error| error.rule == "body"));
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut calls = without_value.filter_map(|error| header_of_place(&error.pointer, &body));
        calls.next().iter().for_each(print_notice);
        let mut missing = errors.filter(|error| error.rule == "header");
        if let Some(missing) = missing.next() {
            let names = options.headers.iter().map(|(name, _)| name.as_str());
            print_notice(similar_header(&missing.detail, names).unwrap_or_else(|| {
                "pass each header of the request with --header 'NAME: VALUE'".to_owned()
            }));
        }
    }
    Ok(())
}

/// Prints an explanation as JSON, in the format of the admin API.
fn print_json(explanation: &impl Serialize) -> anyhow::Result<()> {
    print_result(serde_json::to_value(explanation)?);
    Ok(())
}

fn exit_code(is_refused: bool) -> ExitCode {
    if is_refused {
        ExitCode::from(NEGATIVE_RESULT)
    } else {
        ExitCode::SUCCESS
    }
}

/// Reads the request body from a file, or from standard input.
pub(super) fn read_body(file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => fs::read(file).with_context(|| file.display().to_string()),
        None => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("standard input")?;
            Ok(body)
        }
    }
}
