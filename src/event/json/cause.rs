//! The true cause of a body that is not JSON. The parser of JSON names only the position, and sometimes a wrong cause.

use std::fmt;

/// The cause of a body that is not JSON, as far as the bridge can see it without showing any part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxCause {
    Utf16,
    Gzip,
    Markup,
    Base64,
    PercentEncoded,
    FileName,
    Multipart,
    Form,
    HttpHead,
    OtherText,
    Placeholder,
    TypographicQuotes,
    Cut,
    SingleQuotes,
    Word,
    Comment,
    TrailingComma,
    MissingComma,
    QuoteInText,
    AfterNumber,
    MissingColon,
    Name,
    ControlCharacter,
    Escape,
    NumberRange,
    Number,
    JsonLines,
}

impl fmt::Display for SyntaxCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => "the body is UTF-16, not UTF-8",
            Self::Gzip => "the body is compressed with gzip; send it without compression",
            Self::Markup => "the body is XML or HTML, not JSON",
            Self::Base64 => "the body is JSON in base64; send the JSON itself",
            Self::PercentEncoded => "the body is percent-encoded JSON; send the JSON itself",
            Self::FileName => {
                "the body is the name of a file, and not its content; curl reads a file if its name follows @ after --data-binary"
            }
            Self::Multipart => "the body is a multipart form, not JSON",
            Self::Form => "the body is a web form, not JSON",
            Self::HttpHead => {
                "the head of an HTTP message stands before the body; the body begins after the first empty line"
            }
            Self::OtherText => {
                "the body begins with a word, so it is no JSON; a JSON body begins with { or ["
            }
            Self::Placeholder => {
                "the sender has not replaced a placeholder such as {{id}} with a value"
            }
            Self::TypographicQuotes => {
                "a text is in typographic quotes; JSON has only straight double quotes"
            }
            Self::Cut => "the body ends before its JSON value is complete",
            Self::SingleQuotes => "a text is in single quotes; JSON has only double quotes",
            Self::Word => {
                "a word is neither true, false nor null, and not in double quotes; JSON has no NaN and no Infinity"
            }
            Self::Comment => "the body has a comment; JSON has no comments",
            Self::TrailingComma => "a comma stands before the end of an object or of an array",
            Self::MissingComma => "a comma is missing, or an object or an array has no end",
            Self::QuoteInText => {
                "a comma is missing after a text, or a double quote inside the text is not written as \\\""
            }
            Self::AfterNumber => {
                "other characters stand directly after a number; a value such as a date stands in double quotes"
            }
            Self::MissingColon => "a colon is missing after the name of a member",
            Self::Name => "the name of a member must be a text in double quotes",
            Self::ControlCharacter => {
                "a text has a line break or another control character; JSON writes it as an escape such as \\n"
            }
            Self::Escape => "a text has an invalid escape, or half of a surrogate pair",
            Self::NumberRange => "a number is too large for a 64-bit float",
            Self::Number => "a number has an invalid form, such as a leading zero or a plus sign",
            Self::JsonLines => {
                "the body has several JSON values; send one event in each request, or several events as one array if the source has body.split or posts CloudEvents"
            }
        })
    }
}

impl SyntaxCause {
    /// Returns the cause that the first bytes of the body show: the body is no JSON text in UTF-8 at all.
    pub(super) fn of_encoding(body: &[u8]) -> Option<Self> {
        let is_half_zero = |pair: &[u8]| matches!(pair, [0, other] | [other, 0] if *other != 0);
        match body {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(Self::Utf16),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [first, second, ..] if is_half_zero(&[*first, *second]) => Some(Self::Utf16),
            _other => None,
        }
    }

    /// Returns the cause of a syntax error, or `None` if the cause is unknown. `at` is the index in the body at which the
    /// parser stopped.
    pub(super) fn of_syntax(body: &[u8], at: usize, error: &serde_json::Error) -> Option<Self> {
        if let Some(cause) = Self::of_encoding(body).or_else(|| Self::of_other_format(body)) {
            return Some(cause);
        }
        if error.is_eof() {
            return Some(Self::Cut);
        }
        let text = error.to_string();
        let rows = [
            ("trailing comma", Self::TrailingComma),
            ("control character", Self::ControlCharacter),
            ("invalid escape", Self::Escape),
            ("lone leading surrogate", Self::Escape),
            ("unexpected end of hex escape", Self::Escape),
            ("number out of range", Self::NumberRange),
            ("expected `:`", Self::MissingColon),
        ];
        if let Some((_, cause)) = rows.iter().find(|(start, _)| text.starts_with(start)) {
            return Some(*cause);
        }
        if let Some(cause) = Self::at(body, at) {
            return Some(cause);
        }
        match body.get(at).copied()? {
            b'\'' => Some(Self::SingleQuotes),
            b'/' | b'#' => Some(Self::Comment),
            _ if text.starts_with("key must be a string") => Some(Self::Name),
            _ if text.starts_with("expected `,`") => Some(Self::before_comma(body, at)),
            b'+' | b'.' => Some(Self::Number),
            _ if text.starts_with("invalid number") => Some(Self::word_or_number(body, at)),
            byte if byte.is_ascii_alphabetic() => Some(Self::Word),
            _other => None,
        }
    }

    /// Returns the cause that the bytes around the place of the error show.
    fn at(body: &[u8], at: usize) -> Option<Self> {
        let rest = body.get(at..)?;
        let before = body.get(..at)?;
        if rest.starts_with(b"{") && before.ends_with(b"{") {
            Some(Self::Placeholder)
        } else if [&b"\xe2\x80\x9c"[..], b"\xe2\x80\x9d"]
            .iter()
            .any(|quote| rest.starts_with(quote))
        {
            Some(Self::TypographicQuotes)
        } else {
            None
        }
    }

    /// Returns the cause of an error at a byte where JSON expects a comma.
    fn before_comma(body: &[u8], at: usize) -> Self {
        let before = at.checked_sub(1).and_then(|at| body.get(at)).copied();
        let found = body.get(at).copied().unwrap_or_default();
        match before {
            Some(b'"') if found.is_ascii_alphanumeric() => Self::QuoteInText,
            Some(b'0'..=b'9') if found.is_ascii_alphabetic() || b"-_:".contains(&found) => {
                Self::AfterNumber
            }
            _other => Self::MissingComma,
        }
    }

    /// Returns the cause of bytes after the JSON value.
    pub(super) fn of_trailing(body: &[u8], at: usize) -> Option<Self> {
        matches!(body.get(at), Some(b'{' | b'[')).then_some(Self::JsonLines)
    }

    /// `-Infinity` begins like a number.
    fn word_or_number(body: &[u8], at: usize) -> Self {
        let mut near = body.get(at..).unwrap_or_default().iter().take(2);
        if near.any(u8::is_ascii_alphabetic) {
            Self::Word
        } else {
            Self::Number
        }
    }

    fn of_other_format(body: &[u8]) -> Option<Self> {
        let body = body.trim_ascii_start();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(byte);
        let name = body.iter().take_while(|byte| is_name(byte)).count();
        match body.first()? {
            b'<' => Some(Self::Markup),
            b'@' | b'/' if is_file_name(body) => Some(Self::FileName),
            b'-' if is_multipart(body) => Some(Self::Multipart),
            b'%' if has_percent_encoding(body) => Some(Self::PercentEncoded),
            b'e' | b'W' if is_base64(body) => Some(Self::Base64),
            first if first.is_ascii_alphabetic() && has_head(body) => Some(Self::HttpHead),
            first if first.is_ascii_alphabetic() && body.get(name) == Some(&b'=') => {
                Some(Self::Form)
            }
            first if first.is_ascii_alphabetic() && !is_known_word(body) => Some(Self::OtherText),
            _other => None,
        }
    }
}

/// Returns whether a body is one word that begins with `@` or `/`, such as `@file.json`. A comment begins with two signs.
fn is_file_name(body: &[u8]) -> bool {
    let is_sign = |byte: &u8| byte.is_ascii_graphic() && !b"{}[]\"*#,:".contains(byte);
    let body = body.trim_ascii_end();
    body.len() > 2 && body.get(1) != Some(&b'/') && body.iter().all(is_sign)
}

/// Returns whether a body begins with a boundary and the head of a part.
fn is_multipart(body: &[u8]) -> bool {
    let name = b"content-disposition:";
    let mut lines = body.split(|byte| *byte == b'\n').skip(1).take(4);
    let is_head = |line: &[u8]| {
        let start = line.get(..name.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(name)
    };
    body.starts_with(b"--") && lines.any(is_head)
}

/// Returns whether a body begins with the percent-encoded sign `{` or `[`.
fn has_percent_encoding(body: &[u8]) -> bool {
    let start = body.get(..3).unwrap_or_default();
    start.eq_ignore_ascii_case(b"%7b") || start.eq_ignore_ascii_case(b"%5b")
}

/// Returns whether a body is base64 of a text that begins with `{` or `[` and a second sign that can follow it in JSON.
fn is_base64(body: &[u8]) -> bool {
    let body = body.trim_ascii_end();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(byte);
    let starts = [
        &b"eyJ"[..],
        b"eyA",
        b"eyI",
        b"ewo",
        b"ew0",
        b"e30",
        b"W3s",
        b"Wyc",
        b"WyJ",
        b"Wwo",
        b"Ww0",
    ];
    let begins = starts.iter().any(|start| body.starts_with(start));
    body.len() >= 4 && begins && body.iter().all(is_digit)
}

/// Returns whether a body is a single word, or begins with a word that is JSON or that a program writes in its place.
fn is_known_word(body: &[u8]) -> bool {
    let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric();
    let word: Vec<u8> = body.iter().take_while(is_letter).copied().collect();
    let words: [&[u8]; 8] = [
        b"true",
        b"false",
        b"null",
        b"NaN",
        b"Infinity",
        b"None",
        b"True",
        b"False",
    ];
    word.len() == body.len() || words.iter().any(|known| known.starts_with(&word))
}

/// Returns whether a body begins with a request line, a status line or a header of HTTP.
fn has_head(body: &[u8]) -> bool {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii_end();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let name = line.iter().take_while(|byte| is_name(byte)).count();
    let is_header = line.get(name) == Some(&b':') && has_body_after_head(body);
    let mut words = line.split(|byte| *byte == b' ');
    let is_request = words
        .next_back()
        .is_some_and(|last| last.starts_with(b"HTTP/"));
    line.starts_with(b"HTTP/") || is_request || is_header
}

/// Returns whether an empty line and the start of a JSON value follow the first lines.
fn has_body_after_head(body: &[u8]) -> bool {
    let mut lines = body.split(|byte| *byte == b'\n');
    let is_empty = |line: &[u8]| line.trim_ascii().is_empty();
    let after = lines.by_ref().find(|line| is_empty(line));
    let next = lines.find(|line| !is_empty(line));
    after.is_some()
        && next.is_some_and(|line| matches!(line.trim_ascii_start().first(), Some(b'{' | b'[')))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// FAULTS N423: the error of a body that is not JSON names the true cause.
    #[test]
    fn each_kind_of_wrong_body_has_its_cause() {
        for (body, expected) in [
            (&b"\xff\xfe{\0}\0"[..], Some(SyntaxCause::Utf16)),
            (b"{\0\"\0a\0\"\0:\x001\0}\0", Some(SyntaxCause::Utf16)),
            (b"\0{\0}", Some(SyntaxCause::Utf16)),
            (b"\x1f\x8b\x08\0\0\0", Some(SyntaxCause::Gzip)),
            (b"<html></html>", Some(SyntaxCause::Markup)),
            (b" <?xml version=\"1.0\"?>", Some(SyntaxCause::Markup)),
            (b"email=a%40b.com&id=1", Some(SyntaxCause::Form)),
            (b"payload=%7B%7D", Some(SyntaxCause::Form)),
            (b"{\"a\":1", Some(SyntaxCause::Cut)),
            (b"{\"a\":\"x", Some(SyntaxCause::Cut)),
            (b"[1,", Some(SyntaxCause::Cut)),
            (b"{\"a\":tr", Some(SyntaxCause::Cut)),
            (b"{'a':1}", Some(SyntaxCause::SingleQuotes)),
            (b"{\"a\":'x'}", Some(SyntaxCause::SingleQuotes)),
            (b"{\"a\":NaN}", Some(SyntaxCause::Word)),
            (b"{\"a\":Infinity}", Some(SyntaxCause::Word)),
            (b"{\"a\":-Infinity}", Some(SyntaxCause::Word)),
            (b"{\"a\":None}", Some(SyntaxCause::Word)),
            (b"{\"a\":True}", Some(SyntaxCause::Word)),
            (b"{\"a\":undefined}", Some(SyntaxCause::Word)),
            (b"{\"a\":1 /* x */}", Some(SyntaxCause::Comment)),
            (b"// x\n{}", Some(SyntaxCause::Comment)),
            (b"{\"a\":1,}", Some(SyntaxCause::TrailingComma)),
            (b"[1,]", Some(SyntaxCause::TrailingComma)),
            (b"{\"a\":1 \"b\":2}", Some(SyntaxCause::MissingComma)),
            (b"[1 2]", Some(SyntaxCause::MissingComma)),
            (b"{\"a\" 1}", Some(SyntaxCause::MissingColon)),
            (b"{a:1}", Some(SyntaxCause::Name)),
            (b"{1:1}", Some(SyntaxCause::Name)),
            (b"{\"a\":\"x\ny\"}", Some(SyntaxCause::ControlCharacter)),
            (b"{\"a\":\"\\x\"}", Some(SyntaxCause::Escape)),
            (b"{\"a\":\"\\ud800\"}", Some(SyntaxCause::Escape)),
            (b"{\"a\":1e999}", Some(SyntaxCause::NumberRange)),
            (b"{\"a\":01}", Some(SyntaxCause::Number)),
            (b"{\"a\":+1}", Some(SyntaxCause::Number)),
            (b"{\"a\":.5}", Some(SyntaxCause::Number)),
            (b"{\"a\":1}\n{\"a\":2}", Some(SyntaxCause::JsonLines)),
            (b"{} x", None),
            (b"\"\xff\"", None),
            (b"", None),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.cause, expected, "{:?}", String::from_utf8_lossy(body));
        }
    }

    /// FAULTS N1206: a body that is encoded, or is no JSON at all, and a text or a number that ends too early.
    #[test]
    fn each_kind_of_foreign_body_has_its_cause() {
        for (body, expected) in [
            (&b"eyJhIjoxfQ=="[..], Some(SyntaxCause::Base64)),
            (b"eyJhIjoxfQ", Some(SyntaxCause::Base64)),
            (b"W3siYSI6MX1d", Some(SyntaxCause::Base64)),
            (b"ewogICJhIjogMQp9Cg==\n", Some(SyntaxCause::Base64)),
            (b"eye colour", Some(SyntaxCause::OtherText)),
            (b"Wyoming", Some(SyntaxCause::Word)),
            (b"eyJa=1&b=2", Some(SyntaxCause::Form)),
            (b"/tmp/x.json", Some(SyntaxCause::FileName)),
            (b"@file.json", Some(SyntaxCause::FileName)),
            (b"/* x */ {}", Some(SyntaxCause::Comment)),
            (b"%7B%22a%22%3A1%7D", Some(SyntaxCause::PercentEncoded)),
            (
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{}\r\n--b--",
                Some(SyntaxCause::Multipart),
            ),
            (b"{\"a\": 2026-11-28}", Some(SyntaxCause::AfterNumber)),
            (b"{\"a\": 0x1F}", Some(SyntaxCause::AfterNumber)),
            (b"{\"a\": 1_000}", Some(SyntaxCause::AfterNumber)),
            (b"{\"a\": \"say \"hi\" x\"}", Some(SyntaxCause::QuoteInText)),
            (b"{\"a\":\"x\" \"b\":2}", Some(SyntaxCause::MissingComma)),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.cause, expected, "{:?}", String::from_utf8_lossy(body));
        }
    }

    /// FAULTS N916: the error of a whole HTTP message, of another format or of a template names the true cause.
    #[test]
    fn a_body_around_json_or_instead_of_json_has_its_cause() {
        for (body, expected) in [
            (
                &b"POST /hook HTTP/1.1\r\nHost: a\r\n\r\n{}"[..],
                Some(SyntaxCause::HttpHead),
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n{}", Some(SyntaxCause::HttpHead)),
            (
                b"content-type: application/json\n\n{}",
                Some(SyntaxCause::HttpHead),
            ),
            (b"id,email\n1,a@example.com\n", Some(SyntaxCause::OtherText)),
            (
                b"id: 1\nemail: a@example.com\n",
                Some(SyntaxCause::OtherText),
            ),
            (
                b"curl -d '{}' http://127.0.0.1",
                Some(SyntaxCause::OtherText),
            ),
            (b"NaN", Some(SyntaxCause::Word)),
            (b"{\"id\":{{contact.id}}}", Some(SyntaxCause::Placeholder)),
            (
                b"{\"a\":\xe2\x80\x9cx\xe2\x80\x9d}",
                Some(SyntaxCause::TypographicQuotes),
            ),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.cause, expected, "{:?}", String::from_utf8_lossy(body));
        }
    }
}
