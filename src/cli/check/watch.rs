//! Watches files for `check --watch`: compares the modification times of the files every 300 ms.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The time between two comparisons of the modification times.
const INTERVAL: Duration = Duration::from_millis(300);
/// The maximum depth of subfolders that `check --watch` watches.
const DEPTH_MAX: usize = 4;

/// The modification times of all files below the watched paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileSnapshot(BTreeMap<PathBuf, Option<SystemTime>>);

impl FileSnapshot {
    pub(super) fn take(paths: &[PathBuf]) -> Self {
        let mut files = BTreeMap::new();
        for path in paths {
            add(path, DEPTH_MAX, &mut files);
        }
        Self(files)
    }

    /// Waits until a file below `paths` differs from this snapshot.
    pub(super) async fn changed(&self, paths: &[PathBuf]) {
        while Self::take(paths) == *self {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn add(path: &Path, depth: usize, files: &mut BTreeMap<PathBuf, Option<SystemTime>>) {
    let changed = fs::metadata(path).and_then(|file| file.modified()).ok();
    files.insert(path.to_owned(), changed);
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        add(&entry.path(), depth, files);
    }
}
