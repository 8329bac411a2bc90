//! Reads the text of a source file that an operator edited for a try-out, with the schemas of the sources in use. The reader
//! opens no file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::reader::SettingError;
use super::super::{Config, text_file};
use super::schema_files::{SchemaFiles, SchemaOrigin};
use super::totals::Totals;
use super::{Drafts, SourceDefaults, SourceFile, compile, counted};
use crate::event::SourceName;
use crate::intake::Source;
use crate::intake::schema::Schema;

/// The maximum length of a source file that an operator can edit in a try-out. A form of the console has the text too.
pub const EDITED_BYTES_MAX: usize = 64 * 1024;

/// A reader of edited source files.
#[derive(Clone, Copy, Debug)]
pub struct SourceTextReader {
    defaults: SourceDefaults,
}

impl SourceTextReader {
    /// Creates a reader with the settings that a source file can override.
    pub const fn of(config: &Config) -> Self {
        Self {
            defaults: SourceDefaults::of(config),
        }
    }

    /// Compiles the text of a source file. A draft is compiled too.
    ///
    /// # Errors
    /// Returns all errors of the text. A schema that is not in `schemas` is an error.
    pub fn read(
        &self,
        name: &SourceName,
        text: &str,
        schemas: &BTreeMap<String, Arc<Schema>>,
    ) -> Result<Arc<Source>, Vec<SettingError>> {
        let origin = format!("{name}.toml");
        let error = |reason| SettingError {
            origin: origin.clone(),
            key: String::new(),
            reason,
        };
        if text.len() > EDITED_BYTES_MAX {
            let reason = format!("is longer than {EDITED_BYTES_MAX} bytes");
            return Err(vec![error(reason)]);
        }
        let settings = text_file::parse(text).map_err(|reason| vec![error(reason)])?;
        let totals = &mut Totals::default();
        totals.begin(name.as_str());
        let reader = counted(&origin, (settings, text.len()), totals);
        let mut schemas = SchemaFiles {
            origin: SchemaOrigin::Loaded(schemas),
            totals,
        };
        let choice = (self.defaults, Drafts::Read);
        let read = compile(name.clone(), reader, choice, &mut schemas);
        if let Some(reason) = schemas.totals.reason() {
            return Err(vec![error(reason)]);
        }
        match read? {
            SourceFile::Source(settings) => Ok(settings.source),
            SourceFile::Draft(_) => Err(vec![error("is a draft".to_owned())]),
        }
    }
}

/// Returns the text of a source file as operators see it, or `None` if the text is too long for a try-out. The text has no
/// comments: the file names only the files of secrets, but its author possibly noted a secret. Every line ends with a line
/// feed.
pub(super) fn shown(text: &str) -> Option<Arc<str>> {
    if text.len() > EDITED_BYTES_MAX {
        return None;
    }
    let text = text.replace("\r\n", "\n");
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        if next == '#' {
            let end = rest.find('\n').unwrap_or(rest.len());
            shown.truncate(shown.trim_end_matches([' ', '\t']).len());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        let length = match next {
            '"' | '\'' => string_length(rest, next),
            other => other.len_utf8(),
        };
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        shown.push_str(taken);
        rest = after;
    }
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    Some(Arc::from(shown))
}

/// Returns the length of the TOML string at the start of a text: a quote or three quotes on each side, and a backslash that
/// escapes the next character between double quotes.
fn string_length(text: &str, quote: char) -> usize {
    let quotes = text.chars().take_while(|letter| *letter == quote).count();
    // Two quotes are an empty string. A string with three quotes on each side can begin and end with more quotes.
    let width = match quotes {
        2 => return 2,
        0 | 1 => 1,
        _ => 3,
    };
    let mut run = 0;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(width) {
        if run >= width && letter != quote {
            return at;
        }
        match letter {
            _ if is_escaped => (is_escaped, run) = (false, 0),
            '\\' if quote == '"' => (is_escaped, run) = (true, 0),
            letter if letter == quote && width == 1 => return at + 1,
            letter if letter == quote => run += 1,
            _ => run = 0,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N984, N1129
    #[test]
    fn a_shown_text_has_no_comment() {
        let text = "# hmac key: canary\nignore = [\"a#b\"] # canary\n[auth] # canary\n\
                    auth.kind = \"none\" # canary \"x\"\r\nusers = ['#1', \"\\\"#2\"]\t#\n\
                    when = '''\n.a # \"kept\"\n'''' # canary\nx = \"\" # canary\ny = \"\"\"\\\"\"\"# kept\"\"\"\nz = '";
        let shown = shown(text).unwrap();
        assert_eq!(
            &*shown,
            "\nignore = [\"a#b\"]\n[auth]\nauth.kind = \"none\"\nusers = ['#1', \"\\\"#2\"]\n\
             when = '''\n.a # \"kept\"\n''''\nx = \"\"\ny = \"\"\"\\\"\"\"# kept\"\"\"\nz = '\n"
        );
        let long = "#".repeat(EDITED_BYTES_MAX + 1);
        assert_eq!(super::shown(&long), None);
    }
}
