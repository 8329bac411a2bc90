//! Header lines that mean something only if they are there once.

use actix_web::http::header::HeaderMap;

/// What a request says under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing.
    Absent,
    /// This.
    Text(&'a str),
    /// Two things, or none that is text: whoever stands before us may have read the other one.
    Unreadable,
}

impl<'a> Line<'a> {
    /// The text, if that is what is there.
    pub(super) const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// What `headers` say under `name`.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Line<'a> {
    let mut lines = headers.get_all(name);
    match (lines.next(), lines.next()) {
        (None, _) => Line::Absent,
        (Some(line), None) => line.to_str().map_or(Line::Unreadable, Line::Text),
        (Some(_), Some(_)) => Line::Unreadable,
    }
}
