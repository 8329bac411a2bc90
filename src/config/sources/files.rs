//! Looks at the files of all sources, so that the bridge notices a change of the files.
//!
//! A look reads the names and the contents of the files, because times of modification are no proof: Kubernetes
//! replaces a symbolic link, and a copy can keep the times of the original.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::regular_file::{self, FileError};
use super::examples;
use crate::intake::Source;

/// The maximum number of files and folders in a look. A thousand sources with eight examples each have fewer.
const LOOK_FILES_MAX: usize = 10_000;
/// The maximum number of bytes that a look reads. The bridge looks every few seconds, and a look must stay cheap.
const LOOK_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The maximum depth of folders below the folder of schemas. A symbolic link to its own folder would have no end.
const LOOK_DEPTH_MAX: usize = 8;
/// The number of bytes of a digest that the bridge compares and prints.
const DIGEST_BYTES: usize = 8;

/// The digest of the names and the contents of files, as an operator reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcesDigest([u8; DIGEST_BYTES]);

impl fmt::Display for SourcesDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The files of all sources at one moment: the source files, the schemas and the examples.
#[derive(Debug)]
pub struct SourceFiles(BTreeMap<PathBuf, FileState>);

/// The state of a file. Only a regular file has a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    Content([u8; 32]),
    /// The file is gone, or is a symbolic link to a file that does not exist.
    Absent,
    NotRegular,
    Unreadable,
}

impl SourceFiles {
    /// Looks at all files of the sources. A file whose name begins with a dot is not a part of a source: it is a file of
    /// Kubernetes or of an editor.
    ///
    /// # Errors
    /// Returns the reason if a folder cannot be read, or if a look would be too expensive.
    pub fn look(sources_dir: &Path, schemas_dir: &Path) -> Result<Self, String> {
        let mut look = Look::default();
        look.sources(sources_dir)?;
        look.schemas(schemas_dir, Path::new(SCHEMAS), LOOK_DEPTH_MAX)?;
        Ok(Self(look.files))
    }

    /// Returns the digest of all files.
    pub fn digest(&self) -> SourcesDigest {
        digest(self.0.iter().map(|(path, state)| (path.as_path(), *state)))
    }

    /// Returns the digest of the source file and the schemas of one source, without its examples.
    pub fn digest_of(&self, source: &Source) -> SourcesDigest {
        let file = Path::new(SOURCES).join(format!("{}.toml", source.name));
        let types = source.event_types.values();
        let schemas = types.map(|event_type| Path::new(SCHEMAS).join(event_type.schema.name()));
        let files: Vec<PathBuf> = std::iter::once(file).chain(schemas).collect();
        let state = |path: &PathBuf| self.0.get(path).copied().unwrap_or(FileState::Absent);
        digest(files.iter().map(|path| (path.as_path(), state(path))))
    }
}

/// The first part of the place of a source file or an example.
const SOURCES: &str = "sources";
/// The first part of the place of a schema.
const SCHEMAS: &str = "schemas";

fn digest<'a>(files: impl Iterator<Item = (&'a Path, FileState)>) -> SourcesDigest {
    let mut hash = Sha256::new();
    for (path, state) in files {
        // The digest of the name separates the name from the state.
        hash.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
        match state {
            FileState::Content(content) => {
                hash.update([0]);
                hash.update(content);
            }
            FileState::Absent => hash.update([1]),
            FileState::NotRegular => hash.update([2]),
            FileState::Unreadable => hash.update([3]),
        }
    }
    let mut short = [0; DIGEST_BYTES];
    let whole = hash.finalize();
    short
        .iter_mut()
        .zip(whole)
        .for_each(|(to, from)| *to = from);
    SourcesDigest(short)
}

/// A look in progress, with the work that it has done.
#[derive(Default)]
struct Look {
    files: BTreeMap<PathBuf, FileState>,
    entries: usize,
    bytes: u64,
}

impl Look {
    /// Looks at the source files, and at the examples of each source file.
    fn sources(&mut self, folder: &Path) -> Result<(), String> {
        for entry in self.list(folder)? {
            let name = PathBuf::from(entry.file_name());
            if !is_source_file(&name) {
                continue;
            }
            self.file(&entry.path(), Path::new(SOURCES).join(&name))?;
            self.examples(&folder.join(name.with_extension("")), &name)?;
        }
        Ok(())
    }

    /// Looks at the examples of the source file with this name.
    fn examples(&mut self, folder: &Path, name: &Path) -> Result<(), String> {
        if !folder.is_dir() {
            return Ok(());
        }
        let place = Path::new(SOURCES).join(name.with_extension(""));
        for entry in self.list(folder)? {
            if examples::is_example(&entry.file_name().to_string_lossy()) {
                self.file(&entry.path(), place.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Looks at all files below the folder of schemas, because a source file can name each of them.
    fn schemas(&mut self, folder: &Path, place: &Path, depth: usize) -> Result<(), String> {
        for entry in self.list(folder)? {
            let (path, place) = (entry.path(), place.join(entry.file_name()));
            if !path.is_dir() {
                self.file(&path, place)?;
            } else if let Some(depth) = depth.checked_sub(1) {
                self.schemas(&path, &place, depth)?;
            } else {
                return Err(format!(
                    "{} is deeper than {LOOK_DEPTH_MAX} folders",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Lists the files and folders in a folder whose names do not begin with a dot.
    fn list(&mut self, folder: &Path) -> Result<Vec<DirEntry>, String> {
        let unreadable =
            |error: std::io::Error| format!("{} cannot be read: {error}", folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            self.entries += 1;
            if self.entries > LOOK_FILES_MAX {
                return Err(format!(
                    "{} and the other folders of the sources have more than {LOOK_FILES_MAX} files",
                    folder.display()
                ));
            }
            if !is_hidden(&entry.file_name()) {
                found.push(entry);
            }
        }
        Ok(found)
    }

    fn file(&mut self, path: &Path, place: PathBuf) -> Result<(), String> {
        let state = match regular_file::read(path, LOOK_BYTES_MAX.saturating_sub(self.bytes)) {
            Ok(content) => {
                self.bytes += u64::try_from(content.len()).unwrap_or(u64::MAX);
                FileState::Content(Sha256::digest(content).into())
            }
            Err(FileError::TooLarge(_)) => {
                return Err(format!(
                    "{} and the other files of the sources have more than {LOOK_BYTES_MAX} bytes",
                    path.display()
                ));
            }
            Err(FileError::NotRegular) => FileState::NotRegular,
            Err(FileError::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                FileState::Absent
            }
            Err(FileError::Unreadable(_)) => FileState::Unreadable,
        };
        self.files.insert(place, state);
        Ok(())
    }
}

/// Lists the source files in a folder, in the order of their names.
pub(super) fn source_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_source_file(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns whether a file in the folder of sources is a source file. An editor keeps its own copies of a file under a
/// name that begins with a dot.
pub(super) fn is_source_file(path: &Path) -> bool {
    let is_toml = path.extension().is_some_and(|ending| ending == "toml");
    is_toml && !path.file_name().is_none_or(is_hidden)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (sources, schemas) = (folder.path().join("s"), folder.path().join("j"));
        fs::create_dir_all(sources.join("crm")).unwrap();
        fs::create_dir_all(schemas.join("crm")).unwrap();
        fs::write(sources.join("crm.toml"), "a").unwrap();
        fs::write(sources.join("crm/x.event.json"), "b").unwrap();
        fs::write(schemas.join("crm/v1.json"), "c").unwrap();
        (folder, sources, schemas)
    }

    /// FAULTS N410
    #[test]
    fn the_digest_covers_what_check_reads_and_nothing_else() {
        let (_folder, sources, schemas) = folders();
        let look = || SourceFiles::look(&sources, &schemas).unwrap().digest();
        let first = look();
        for (path, content) in [
            (sources.join("README.md"), "text"),
            (sources.join("crm/notes.txt"), "text"),
            (sources.join(".crm.toml.swp"), "text"),
            (sources.join(".#crm.toml"), "text"),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(look(), first, "{path:?}");
        }
        for (path, content) in [
            (sources.join("crm.toml"), "A"),
            (sources.join("crm/x.event.json"), "B"),
            (sources.join("crm/x.request.json"), "{}"),
            (sources.join("erp.toml"), "d"),
            (schemas.join("crm/v1.json"), "C"),
            (schemas.join("erp.json"), "e"),
        ] {
            let before = look();
            let is_new = !path.exists();
            let old = fs::read(&path).unwrap_or_default();
            fs::write(&path, content).unwrap();
            assert_ne!(look(), before, "{path:?}");
            if is_new {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, old).unwrap();
            }
            assert_eq!(look(), first, "{path:?}");
        }
    }

    /// FAULTS N414
    #[test]
    fn a_look_ends_whatever_the_folders_contain() {
        let (_folder, sources, schemas) = folders();
        let look = || SourceFiles::look(&sources, &schemas);
        symlink("/dev/zero", sources.join("zero.toml")).unwrap();
        symlink("/nowhere", schemas.join("gone.json")).unwrap();
        look().unwrap();
        symlink(".", schemas.join("again")).unwrap();
        assert!(look().unwrap_err().ends_with("is deeper than 8 folders"));
        fs::remove_file(schemas.join("again")).unwrap();
        let large = schemas.join("large.json");
        let file = fs::File::create(&large).unwrap();
        file.set_len(LOOK_BYTES_MAX).unwrap();
        assert!(look().unwrap_err().ends_with("more than 67108864 bytes"));
        fs::remove_file(large).unwrap();
        fs::remove_dir_all(&sources).unwrap();
        assert!(look().unwrap_err().contains("s cannot be read: "));
    }

    #[test]
    fn a_change_of_an_example_does_not_change_its_source() {
        let (_folder, sources, schemas) = folders();
        let source = |schema: &str| {
            let text = format!(
                "[auth]\nkind = \"none\"\n[events.x]\nschema = \"{schema}\"\ncustomer.imprint_id = \".id\"\n\
                 [events.x.update]\nemail = \".e\"\n"
            );
            fs::write(sources.join("crm.toml"), text).unwrap();
            fs::write(schemas.join("crm/v1.json"), "{}").unwrap();
            let defaults = super::super::SourceDefaults {
                quota: crate::config::QuotaSettings::of(0, 1, 0),
                brake: crate::config::BrakeSettings::OFF,
            };
            let totals = &mut super::super::Totals::default();
            let mut files = super::super::SchemaFiles {
                origin: super::super::SchemaOrigin::Folder(&schemas),
                totals,
            };
            let read = (defaults, super::super::Drafts::Read);
            let file = super::super::read_source(&sources.join("crm.toml"), read, &mut files);
            let super::super::SourceFile::Source(settings) = file.unwrap() else {
                panic!("a draft");
            };
            settings.source
        };
        let source = source("./crm/v1.json");
        let digest = || {
            let files = SourceFiles::look(&sources, &schemas).unwrap();
            files.digest_of(&source)
        };
        let first = digest();
        fs::write(sources.join("crm/x.event.json"), "other").unwrap();
        fs::write(schemas.join("other.json"), "{}").unwrap();
        assert_eq!(digest(), first);
        fs::write(schemas.join("crm/v1.json"), "{ }").unwrap();
        assert_ne!(digest(), first);
    }
}
