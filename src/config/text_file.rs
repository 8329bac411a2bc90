//! The text of a file that an editor has written. Some editors write a byte order mark, or another encoding than UTF-8.

use config::{File, FileFormat, Source as _, Value, ValueKind};

use super::toml_error;

/// The mark at the beginning of a text. It says nothing about a text in UTF-8, so the bridge ignores it.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// The marks at the beginning of a text in UTF-16.
const UTF16_MARKS: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// Parses a TOML text. Returns its root table.
///
/// # Errors
/// Returns the reason why the text is not TOML.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let table = File::from_str(text, FileFormat::Toml).collect();
    let table = table.map_err(|reason| toml_error::explained(&reason, text))?;
    Ok(Value::new(None, ValueKind::Table(table)))
}

/// Returns the text of a file without its byte order mark.
///
/// # Errors
/// Returns the reason why the content is not a text in UTF-8.
pub(super) fn text(content: Vec<u8>) -> Result<String, &'static str> {
    if UTF16_MARKS.iter().any(|mark| content.starts_with(mark)) {
        return Err(
            "is text in UTF-16, as some editors for Windows write it: save the file as UTF-8",
        );
    }
    let text = String::from_utf8(content).map_err(|_binary| "is not UTF-8 text")?;
    Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => text.to_owned(),
        None => text,
    })
}
