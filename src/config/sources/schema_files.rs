//! The schema files that the event types of the sources name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::super::absolute;
use super::super::regular_file::{self, FileError};
use super::super::text_file;
use super::totals::{Exceeded, Total, Totals};
use crate::event::json::{self, JsonRule, SyntaxCause};
use crate::intake::schema::Schema;
use crate::spelling;
use crate::telemetry::chain;

/// The cause of a schema file with more than one JSON value.
const SEVERAL_VALUES: &str = "the file has several JSON values, and a schema file has one";

/// The maximum size of a schema file.
const SCHEMA_BYTES_MAX: u64 = 1024 * 1024;
/// The cause of two braces in a schema file.
const TWO_BRACES: &str = "two braces follow one another, and the name of a member in double quotes must stand after the first";

/// The origin of the schemas, and the sums over the schemas and sources that the bridge has read up to now.
pub(super) struct SchemaFiles<'t> {
    pub(super) origin: SchemaOrigin<'t>,
    pub(super) totals: &'t mut Totals,
}

/// The place from which a reader of source files takes the schemas.
#[derive(Clone, Copy)]
pub(super) enum SchemaOrigin<'t> {
    /// The folder with the schema files.
    Folder(&'t Path),
    /// The schemas of the sources in use, by name. The reader opens no file.
    Loaded(&'t BTreeMap<String, Arc<Schema>>),
}

impl SchemaFiles<'_> {
    /// Returns a schema. Returns `None` if a sum over all sources exceeds its bound.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Arc<Schema>>, String> {
        if self.totals.is_exceeded() {
            return Ok(None);
        }
        match self.origin {
            SchemaOrigin::Folder(folder) => Ok(self.compile(folder, name)?.map(Arc::new)),
            SchemaOrigin::Loaded(schemas) => {
                let schema = loaded(schemas, name)?;
                let counted = self.totals.add_schema(schema.document());
                Ok(counted.is_ok().then(|| Arc::clone(schema)))
            }
        }
    }

    /// Reads and compiles a schema file.
    fn compile(&mut self, folder: &Path, name: &str) -> Result<Option<Schema>, String> {
        let (path, content) = content(folder, name)?;
        let document: Value = serde_json::from_slice(&content).map_err(|error| {
            let cause = json::parse_file(&content).err();
            // No sender writes a schema file, so two braces are no placeholder.
            let placeholder = SyntaxCause::Placeholder.to_string();
            let values = SyntaxCause::JsonLines.to_string();
            let cause = cause.map(|cause| {
                let cause = cause.to_string().replace(&placeholder, TWO_BRACES);
                let cause = cause.replace(&values, SEVERAL_VALUES);
                cause.replace("body", "file")
            });
            let cause = cause.unwrap_or_else(|| error.to_string());
            format!("{} is not JSON: {cause}", path.display())
        })?;
        let counted = self.totals.add(Total::SchemaBytes, content.len());
        let counted = counted.and_then(|()| self.totals.add_schema(&document));
        if let Err(Exceeded) = counted {
            return Ok(None);
        }
        let patterns = self.totals.compiled_patterns();
        let schema = Schema::compile_with(name, &document, patterns);
        schema
            .map(Some)
            .map_err(|error| format!("{}: {}", path.display(), chain(&error)))
    }
}

/// Finds a schema of the sources in use. `./a.json` and `a.json` are the same schema.
fn loaded<'s>(
    schemas: &'s BTreeMap<String, Arc<Schema>>,
    name: &str,
) -> Result<&'s Arc<Schema>, String> {
    let wanted = name.trim_start_matches("./");
    let mut found = schemas.iter();
    let found = found.find(|(known, _)| known.trim_start_matches("./") == wanted);
    found.map(|(_, schema)| schema).ok_or_else(|| {
        let nearest = spelling::nearest(wanted, schemas.keys().map(String::as_str));
        let suggestion = nearest.map(|schema| format!("; did you mean {schema}?"));
        format!(
            "names no schema of the sources in use: a try-out opens no file{}",
            suggestion.unwrap_or_default()
        )
    })
}

/// Reads a schema file. Returns its path and its content.
fn content(folder: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), String> {
    let is_inside = Path::new(name).components().all(|part| match part {
        Component::Normal(part) => !part.as_encoded_bytes().starts_with(b"."),
        Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    if Path::new(name).is_absolute() {
        let inner = Path::new(name).strip_prefix(std::path::absolute(folder).unwrap_or_default());
        let meant = inner.map(|inner| format!(": write {}", inner.display()));
        return Err(format!(
            "must be a path relative to schemas_dir{}",
            meant.unwrap_or_default()
        ));
    }
    if !is_inside {
        return Err(
            "must name a file inside schemas_dir whose path has no part that begins with a dot, because the bridge notices only changes of such files".to_owned(),
        );
    }
    let path = folder.join(name);
    let content = regular_file::read(&path, SCHEMA_BYTES_MAX).map_err(|error| {
        let similar = matches!(error, FileError::Unreadable(_))
            .then(|| without_folder(folder, name).or_else(|| similar_file(folder, name)));
        let suggestion = similar
            .flatten()
            .map(|file| format!("; did you mean {file}?"));
        format!(
            "{} {error}{}",
            absolute(&path),
            suggestion.unwrap_or_default()
        )
    })?;
    let content =
        text_file::text(content).map_err(|reason| format!("{} {reason}", path.display()))?;
    if let Err(error) = json::parse_file(content.as_bytes())
        && error.rule == JsonRule::DuplicateKey
    {
        return Err(format!("{} is not JSON: {error}", path.display()));
    }
    Ok((path, content.into_bytes()))
}

/// Returns the path of a schema file without the name of the folder of the schemas, if the author wrote it before the path.
fn without_folder(folder: &Path, name: &str) -> Option<String> {
    let inside = Path::new(name).strip_prefix(folder.file_name()?).ok()?;
    let exists = folder.join(inside).is_file();
    exists.then(|| inside.display().to_string())
}

/// Returns the path of a schema file whose name is similar to a name that has no file, relative to the folder of the
/// schemas.
fn similar_file(folder: &Path, name: &str) -> Option<String> {
    let wanted = Path::new(name);
    let inside = wanted.parent().unwrap_or_else(|| Path::new(""));
    let files = fs::read_dir(folder.join(inside)).ok()?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    let wanted = wanted.file_name()?.to_str()?;
    let nearest = spelling::nearest(wanted, names.iter().map(String::as_str))?;
    Some(inside.join(nearest).display().to_string())
}
