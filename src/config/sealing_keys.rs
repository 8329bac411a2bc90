//! The sealing keys: a directory with one file for each key.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::secret;
use crate::sealing::{KeyId, KeyRing, SealingKey};

/// The maximum number of key files. A new key every month makes 120 keys in ten years; a directory with more files is
/// probably another directory.
const KEYS_MAX: usize = 128;

/// The keys in the directory of sealing keys.
#[derive(Clone, Debug, Default)]
pub struct SealingKeys {
    /// The keys. The newest key is the key of the last file name.
    pub ring: Arc<KeyRing>,
    /// The id of each key, with the name of its file.
    pub files: Vec<(KeyId, String)>,
    /// The directory. `None` means that no sealing keys are configured.
    pub directory: Option<PathBuf>,
}

impl SealingKeys {
    /// Creates the keys of the directory. `keys` has the name of each file with its key, in the order of the names.
    pub fn new(directory: &Path, keys: Vec<(String, SealingKey)>) -> Self {
        let files = keys.iter().map(|(name, key)| (key.id(), name.clone()));
        Self {
            files: files.collect(),
            ring: Arc::new(KeyRing::new(keys.into_iter().map(|(_, key)| key))),
            directory: Some(directory.to_owned()),
        }
    }

    /// Returns whether both have the same keys in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// Returns the name of the file with a key.
    pub fn file(&self, key: KeyId) -> Option<&str> {
        let file = self.files.iter().find(|(id, _)| *id == key);
        file.map(|(_, name)| name.as_str())
    }
}

/// Reads all keys of the directory, in the order of their file names. Without a directory, there are no keys.
///
/// Files whose names begin with a dot are not read: Kubernetes keeps the files of a mounted Secret in such a directory.
///
/// # Errors
/// Returns the errors of all files. The errors do not repeat the content of the files.
pub fn read(directory: Option<&Path>) -> Result<SealingKeys, Vec<String>> {
    let Some(directory) = directory else {
        return Ok(SealingKeys::default());
    };
    let (mut keys, mut errors) = (Vec::new(), Vec::new());
    for name in names(directory).map_err(|error| vec![error])? {
        let path = directory.join(&name);
        let key = secret::read(&path).and_then(|text| {
            SealingKey::parse(&text).map_err(|flaw| format!("{} {flaw}", path.display()))
        });
        match key {
            Ok(key) => keys.push((name, key)),
            Err(error) => errors.push(error),
        }
    }
    if keys.is_empty() && errors.is_empty() {
        let text = format!("the directory {} has no key file", directory.display());
        errors.push(text);
    }
    match errors.is_empty() {
        true => Ok(SealingKeys::new(directory, keys)),
        false => Err(errors),
    }
}

/// Returns the paths of the key files. A directory that cannot be read has none.
pub(super) fn files(directory: Option<&Path>) -> Vec<PathBuf> {
    let Some(directory) = directory else {
        return Vec::new();
    };
    let names = names(directory).unwrap_or_default().into_iter();
    names.map(|name| directory.join(name)).collect()
}

/// Returns the file names of the keys in ascending order.
///
/// # Errors
/// Returns the reason why the directory cannot be read.
pub fn names(directory: &Path) -> Result<Vec<String>, String> {
    let failed = |error| {
        format!(
            "the directory {} cannot be read: {error}",
            directory.display()
        )
    };
    let mut names = Vec::new();
    for file in fs::read_dir(directory).map_err(failed)? {
        let name = file.map_err(failed)?.file_name();
        let name = name.into_string().map_err(|name| {
            let path: PathBuf = directory.join(name);
            format!("{} has a name that is not UTF-8", path.display())
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > KEYS_MAX {
            return Err(format!(
                "the directory {} has more than {KEYS_MAX} files",
                directory.display()
            ));
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(seed: u8) -> String {
        (0..32).map(|byte| format!("{:02x}", byte ^ seed)).collect()
    }

    /// FAULTS N485
    #[test]
    fn the_last_file_name_is_the_newest_key() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("2026-11", &(hex(2) + "\n"));
        write("2026-02", &hex(1));
        write(".hidden", "not a key");
        fs::create_dir(folder.path().join("..data")).unwrap();
        let keys = read(Some(folder.path())).unwrap();
        let names: Vec<_> = keys.files.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["2026-02", "2026-11"]);
        assert_eq!(
            keys.ring.newest().and_then(|id| keys.file(id)),
            Some("2026-11")
        );
        assert!(keys.is_same(&read(Some(folder.path())).unwrap()));
        assert!(read(None).unwrap().ring.is_empty());
    }

    /// FAULTS N485: the errors name every unusable file, and never its content.
    #[test]
    fn every_unusable_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &Path| read(Some(path)).unwrap_err().join("\n");
        assert!(text(folder.path()).ends_with("has no key file"));
        assert!(text(&folder.path().join("absent")).contains("absent cannot be read"));
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a", &hex(1));
        write("b", hex(1).trim_end_matches(|last| last != '0'));
        write("c", "");
        write("d", &"ab".repeat(32));
        fs::create_dir(folder.path().join("e")).unwrap();
        let errors = text(folder.path());
        for part in [
            "b must contain 32 random bytes",
            "c is empty",
            "d contains no random key",
            "e is not a regular file",
        ] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        assert!(
            !errors.contains("abab") && !errors.contains("010003"),
            "{errors}"
        );
        let many = tempfile::tempdir().unwrap();
        for number in 0..=KEYS_MAX {
            fs::write(many.path().join(number.to_string()), hex(1)).unwrap();
        }
        assert!(text(many.path()).contains("more than 128 files"));
    }
}
