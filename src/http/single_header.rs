//! Reads headers that must occur at most once in a request.

use awc::http::header::{AsHeaderName, HeaderMap};

/// The value of a header that must occur at most once in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleHeader<'a> {
    /// The header is missing.
    Absent,
    /// The header occurs once, and its value is visible ASCII.
    Text(&'a str),
    /// The header occurs several times, or its value is not visible ASCII. A proxy and the bridge could read such a
    /// header differently.
    Unreadable,
}

/// A header that occurs several times, or whose value is not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableHeader;

impl<'a> SingleHeader<'a> {
    /// Reads the request header `name`.
    pub fn read(headers: &'a HeaderMap, name: impl AsHeaderName) -> Self {
        let mut values = headers.get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => value.to_str().map_or(Self::Unreadable, Self::Text),
            (Some(_), Some(_)) => Self::Unreadable,
        }
    }

    /// Returns the value of the header. Returns `None` if the header is absent.
    ///
    /// # Errors
    /// Returns an error if the header is unreadable.
    pub const fn optional(self) -> Result<Option<&'a str>, UnreadableHeader> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Unreadable => Err(UnreadableHeader),
        }
    }

    /// Returns the value of the header. Returns `None` if the header is absent or unreadable.
    pub const fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use awc::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_header_counts_only_if_it_occurs_once_and_is_text() {
        let name = HeaderName::from_static("x-event");
        let table: [(&[&[u8]], SingleHeader<'_>); 4] = [
            (&[], SingleHeader::Absent),
            (&[b"a"], SingleHeader::Text("a")),
            (&[b"a", b"a"], SingleHeader::Unreadable),
            (&[b"\xff"], SingleHeader::Unreadable),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
            }
            assert_eq!(SingleHeader::read(&headers, "x-event"), expected);
            let text = (expected == SingleHeader::Text("a")).then_some("a");
            assert_eq!(expected.text(), text);
        }
    }
}
