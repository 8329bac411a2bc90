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

/// The table of a source file with the authentication of the requests.
const AUTH: &str = "auth";

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
/// comments about the authentication: the file names only the files of secrets, but its author possibly noted a secret.
pub(super) fn shown(text: &str) -> Option<Arc<str>> {
    if text.len() > EDITED_BYTES_MAX {
        return None;
    }
    let mut is_auth = false;
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        let start = line.trim_start();
        if let Some(table) = start.strip_prefix('[') {
            is_auth = is_table(table.trim_start(), AUTH);
        }
        let line = match is_auth || is_table(start, AUTH) || is_note(start) {
            true => without_comment(line),
            false => line,
        };
        shown.push_str(line);
        shown.push('\n');
    }
    Some(Arc::from(shown))
}

/// Returns whether a line begins with the name of a table.
fn is_table(line: &str, table: &str) -> bool {
    let rest = line.trim_start_matches(['"', '\'']).strip_prefix(table);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
}

/// Returns whether a line is a comment that mentions a secret.
fn is_note(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let words = ["secret", "password", "token", AUTH];
    line.starts_with('#') && words.into_iter().any(|word| line.contains(word))
}

/// Returns a line without the comment at its end.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => return line.get(..at).unwrap_or_default().trim_end(),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None | Some(_), _) => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N984
    #[test]
    fn a_shown_text_has_no_comment_about_the_authentication() {
        let text = "# the secret is canary\n# names of the CRM\nignore = [\"a#b\"] # kept\n[auth] # canary\n\
                    kind = \"none\" # canary \"x\"\n# canary\nusers = [\"#1\"]\n[events.x] # kept\nwhen = '.a'\n";
        let shown = shown(text).unwrap();
        assert_eq!(
            &*shown,
            "\n# names of the CRM\nignore = [\"a#b\"] # kept\n[auth]\nkind = \"none\"\n\nusers = [\"#1\"]\n\
             [events.x] # kept\nwhen = '.a'\n"
        );
        let long = "#".repeat(EDITED_BYTES_MAX + 1);
        assert_eq!(super::shown(&long), None);
    }
}
