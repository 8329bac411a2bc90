//! Faults of the disk under the real program: `disk.c` describes the faults.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::process;
use crate::support::Files;

/// The library with the faults, which every test of this process uses.
static LIBRARY: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("disk.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/store_files/disk.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &PathBuf::from(source)])
        .status();
    // Building the SQLite of the bridge needs the compiler too.
    assert!(built.unwrap().success(), "cc cannot build {source}");
    (folder, library)
});

/// A fault of the disk, which lasts while its file exists.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskFault {
    Quota,
    Hang,
    Slow,
    NoLinks,
}

impl DiskFault {
    const ALL: [(Self, &str); 4] = [
        (Self::Quota, "DISK_QUOTA"),
        (Self::Hang, "DISK_HANG"),
        (Self::Slow, "DISK_SLOW"),
        (Self::NoLinks, "DISK_NO_LINKS"),
    ];

    fn file(self, files: &Files) -> PathBuf {
        files.store_file(&format!("fault-{self:?}"))
    }

    pub(crate) fn begin(self, files: &Files) {
        std::fs::write(self.file(files), "").unwrap();
    }

    pub(crate) fn end(self, files: &Files) {
        std::fs::remove_file(self.file(files)).unwrap();
    }
}

/// Returns the command that runs `serve` on a disk that can have faults.
pub(crate) fn with_faults(files: &Files) -> Command {
    add_faults(files, process::command(files))
}

/// Lets a command run on a disk that can have faults, in the folder of the store only.
pub(crate) fn add_faults(files: &Files, mut command: Command) -> Command {
    command
        .env("LD_PRELOAD", &LIBRARY.1)
        .env("DISK_FOLDER", files.store_file("data"));
    for (fault, variable) in DiskFault::ALL {
        command.env(variable, fault.file(files));
    }
    command
}
