//! `verify`: shows which text the sender of a captured request has signed, and why the signature does not match. The
//! command needs no running bridge.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use percent_encoding::percent_decode_str;

use super::header_option::HeaderParser;
use super::{Layers, NEGATIVE_RESULT, read, source_name};
use crate::config::sources::{Auth, SecretFiles, SourceSettings};
use crate::config::{Purpose, secret};
use crate::http::header_line::header_map;
use crate::http::single_header::SingleHeader;
use crate::http::{HeaderName, HeaderValue};
use crate::ingress::auth::examination::{
    CapturedRequest, Examination, NamedSecret, ReadHeaders, examine_token, unsigned_header,
};
use crate::ingress::auth::hmac::examine_hmac;
use crate::ingress::auth::{Denial, Head, SecretFlaw, examine_standard_webhooks, receipt_denial};
use crate::intake::Encoding;
use crate::terminal::print_result;
use crate::time::{Clock, Timestamp};

/// The arguments of the command `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    #[command(flatten)]
    layers: Layers,
    /// Name of the source to which the request was sent.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Header of the request, such as "x-signature: 5d41…". Repeat the option for each header.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = HeaderParser)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Method of the request.
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// Path and query of the request, exactly as they reach the bridge. By default the path of the source's events.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Time at which the bridge received the request (RFC 3339). By default the current time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// File with the request body, byte by byte as the bridge received it. Without a file, or with `-`, the command
    /// reads standard input.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(options: &VerifyOptions) -> anyhow::Result<ExitCode> {
    let (config, settings) = match read(&options.layers, Purpose::Check) {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    source_name::not_a_path(&options.source).map_err(|reason| anyhow!(reason))?;
    let names: Vec<String> = settings
        .iter()
        .map(|settings| settings.source.name.to_string())
        .collect();
    let is_named = |settings: &SourceSettings| settings.source.name.as_str() == options.source;
    let settings = settings.into_iter().find(is_named);
    let settings = settings.with_context(|| {
        let names = names.iter().map(String::as_str);
        source_name::unknown(&options.source, names, &config.sources_dir)
    })?;
    let headers = header_map(&options.headers);
    let path = options.path.clone();
    let path = path.unwrap_or_else(|| format!("/v1/sources/{}/events", options.source));
    let receipt = receipt_id(options, &path);
    // The bridge ignores the body of a request for a receipt.
    let body = match receipt {
        Some(_) => Vec::new(),
        None => body(options)?,
    };
    let request = CapturedRequest {
        head: Head {
            method: &options.method,
            path: &path,
            headers: &headers,
        },
        body: &body,
        wall: options.at.unwrap_or_else(|| Clock::machine().wall()),
    };
    let mut examination = examine(&settings.auth, request)?;
    if examination.is_authentic {
        let denial = match receipt {
            Some(id) => denied_receipt(&settings.auth, request, &id),
            None => denied_headers(&settings, request)?,
        };
        denial.iter().for_each(|denial| examination.deny(denial));
    }
    print_result(format_args!(
        "source {}: {}",
        options.source,
        settings.auth.as_str()
    ));
    examination.report.iter().for_each(print_result);
    let files = settings.auth.files().into_iter();
    let doubts = files.flat_map(|files| &files.paths);
    doubts
        .filter_map(|path| secret::doubt(path))
        .for_each(print_result);
    if examination.is_authentic {
        print_result("the bridge accepts the authentication of this request");
        return Ok(ExitCode::SUCCESS);
    }
    print_result("the bridge denies this request");
    Ok(ExitCode::from(NEGATIVE_RESULT))
}

fn examine(auth: &Auth, request: CapturedRequest<'_>) -> anyhow::Result<Examination> {
    let flawed = |(file, flaw): (String, SecretFlaw)| anyhow!("{file} {flaw}");
    match auth {
        Auth::None => Ok(Examination {
            report: vec!["the source does not authenticate its requests".to_owned()],
            is_authentic: true,
        }),
        Auth::Token(scheme, files) => {
            let secrets = secrets(files)?;
            examine_token(scheme, &secrets, files.minimum, request).context("a secret file")
        }
        Auth::StandardWebhooks(files) => {
            examine_standard_webhooks(&secrets(files)?, request).map_err(flawed)
        }
        Auth::Hmac(scheme, files) => {
            examine_hmac(scheme, &secrets(files)?, request).map_err(flawed)
        }
    }
}

/// Returns the event id in the path, if the request is one for the receipt of an event.
fn receipt_id(options: &VerifyOptions, path: &str) -> Option<String> {
    let events = format!("/v1/sources/{}/events/", options.source);
    let id = path.strip_prefix(&events)?.split('?').next()?;
    let is_receipt = options.method == "GET" && !id.is_empty();
    let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
    is_receipt.then_some(id)
}

/// Returns the denial of a request for the receipt of the event `id` whose signature does not cover the id.
fn denied_receipt(auth: &Auth, request: CapturedRequest<'_>, id: &str) -> Option<Denial> {
    match auth {
        Auth::Hmac(scheme, _) => scheme.receipt_denial(),
        Auth::StandardWebhooks(_) => receipt_denial(request.head.headers, id),
        Auth::None | Auth::Token(..) => None,
    }
}

/// Returns the denial of a request whose headers have a value that the bridge reads, and that the signature does not cover.
fn denied_headers(
    settings: &SourceSettings,
    request: CapturedRequest<'_>,
) -> anyhow::Result<Option<Denial>> {
    let files = settings.auth.files();
    let named = files.map_or_else(|| Ok(Vec::new()), secrets)?;
    let secrets: Vec<_> = named.into_iter().map(|named| named.secret).collect();
    let verifier = settings.auth.verifier(&secrets).context("a secret file")?;
    let (source, headers) = (&settings.source, request.head.headers);
    let content_type = SingleHeader::read(headers, "content-type").text();
    let pairs = headers.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let encoding = Encoding::of_request(source, content_type.unwrap_or_default(), pairs);
    let read = ReadHeaders {
        named: &source.read_headers(),
        attributes: encoding.as_ref().and_then(Encoding::attribute_headers),
        unsigned: &settings.unsigned_headers,
    };
    Ok(unsigned_header(&verifier, request, &read))
}

fn secrets(files: &SecretFiles) -> anyhow::Result<Vec<NamedSecret>> {
    let named = |path: &PathBuf| {
        let secret = secret::read(path).map_err(|reason| anyhow!(reason))?;
        let file = path.display().to_string();
        Ok(NamedSecret { file, secret })
    };
    files.paths.iter().map(named).collect()
}

fn body(options: &VerifyOptions) -> anyhow::Result<Vec<u8>> {
    match &options.file {
        Some(file) if file.as_os_str() != "-" => {
            fs::read(file).with_context(|| file.display().to_string())
        }
        Some(_) | None => {
            let mut body = Vec::new();
            let read = std::io::stdin().read_to_end(&mut body);
            read.context("standard input")?;
            Ok(body)
        }
    }
}

fn parse_time(raw: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(raw).ok_or_else(|| "is not an RFC 3339 time".to_owned())
}
