//! Faults of the disk under the real program: `disk.c` describes the faults.

use std::os::unix::fs::MetadataExt as _;
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
    ReadOnly,
    Late,
}

impl DiskFault {
    const ALL: [(Self, &str); 6] = [
        (Self::Quota, "DISK_QUOTA"),
        (Self::Hang, "DISK_HANG"),
        (Self::Slow, "DISK_SLOW"),
        (Self::NoLinks, "DISK_NO_LINKS"),
        (Self::ReadOnly, "DISK_READ_ONLY"),
        (Self::Late, "DISK_LATE"),
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

/// Returns the file with the size of the disk. Without the file, the disk has no limit.
fn size_file(files: &Files) -> PathBuf {
    files.store_file("disk-size")
}

/// Fills the disk of the store until this number of bytes is free. The blocks of the files in the folder of the store count.
pub(crate) fn leave_free(files: &Files, free: u64) {
    let folder = std::fs::read_dir(files.store_file("data")).unwrap();
    let blocks: u64 = folder
        .map(|file| file.unwrap().metadata().unwrap().blocks())
        .sum();
    let draft = files.store_file("disk-size.new");
    std::fs::write(&draft, (blocks * 512 + free).to_string()).unwrap();
    std::fs::rename(draft, size_file(files)).unwrap();
}

/// Empties the disk of the files of other programs.
pub(crate) fn end_limit(files: &Files) {
    std::fs::remove_file(size_file(files)).unwrap();
}

/// Returns the command that runs `serve` on a disk that can have faults.
pub(crate) fn with_faults(files: &Files) -> Command {
    add_faults(files, process::command(files))
}

/// Lets a command run on a disk that can have faults, in the folder of the store only.
pub(crate) fn add_faults(files: &Files, mut command: Command) -> Command {
    command
        .env("LD_PRELOAD", &LIBRARY.1)
        .env("DISK_FOLDER", files.store_file("data"))
        .env("DISK_SIZE", size_file(files))
        // The library does not see how the bridge asks for the free space.
        .env(
            "IMPRINT_BRIDGE_FAILPOINTS",
            format!("disk:{}", size_file(files).display()),
        );
    for (fault, variable) in DiskFault::ALL {
        command.env(variable, fault.file(files));
    }
    command
}
