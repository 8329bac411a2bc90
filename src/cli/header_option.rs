//! The option `--header`. Its value can contain a secret, so no error repeats it.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use crate::http::header_line::parse_header;
use crate::http::{HeaderName, HeaderValue};

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
