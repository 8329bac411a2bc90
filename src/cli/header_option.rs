//! The option `--header`. Its value can contain a secret, so no error repeats it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use crate::http::header_line::parse_header;
use crate::http::{HeaderName, HeaderValue};

/// The endings of the file of a body, before which its name stands.
const BODY_ENDINGS: [&str; 2] = [".event.json", ".json"];
/// The endings of a file with the headers of a request.
const HEADERS_ENDINGS: [&str; 2] = [".headers.txt", ".headers"];

/// Returns the file with the headers of a request that lies beside the file of its body and has its name.
pub(super) fn headers_beside(body: &Path) -> Option<PathBuf> {
    let name = body.file_name()?.to_str()?;
    let mut stems = BODY_ENDINGS.iter();
    let stem = stems.find_map(|ending| name.strip_suffix(ending))?;
    let mut files = HEADERS_ENDINGS
        .iter()
        .map(|ending| body.with_file_name(format!("{stem}{ending}")));
    files.find(|file| file.is_file())
}

/// Parses the value of `--header`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = (HeaderName, HeaderValue);

    fn parse_ref(
        &self,
        command: &Command,
        _option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        parse_header(&value.to_string_lossy()).map_err(|reason| {
            let message = format!("--header: {reason}, with a colon after the name\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
