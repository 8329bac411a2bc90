//! The lock that prevents a second process from opening the store. The kernel releases the lock when the process ends.
//!
//! The lock file also keeps the marks and the origin of the write-ahead log; see [`log_mark`](super::log_mark). If a running
//! process notices that another file is at the path of the store, the lock file also names the only file that the log fits.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::OpenError;
use super::disk_space::DiskSpace;
use super::draft::{FILE_MODE, beside, sync_folder};
use super::log_header::LogOrigin;
use super::open_error::explain;

/// The maximum number of bytes that a process reads from a lock file. A valid lock file is shorter.
const LOCK_BYTES_MAX: u64 = 4096;

/// The first word of the line with the marks in the lock file.
const MARKS: &str = "log";

/// The first word of the line with the origin of the log in the lock file.
const ORIGIN: &str = "origin";

/// The first word of the line with the inode of the only store file that the log fits. The line has no number of the device, because
/// this number changes if another machine mounts the disk.
const ONLY: &str = "only";

/// The last word of the line with the inode: without this word, the process crashed while it wrote the line.
const END: &str = ".";

/// The locked lock file. The lock ends when this value is dropped, and when the process ends.
#[derive(Debug)]
pub(super) struct StoreLock {
    path: PathBuf,
    file: File,
    marks: Vec<String>,
    origin: Option<LogOrigin>,
    only: Option<u64>,
    /// The disk of the store. Only the process with the lock uses the reserve on the disk.
    disk: DiskSpace,
}

/// Locks the lock file beside the store, and writes the id of this process into the lock file.
pub(super) fn acquire(store: &Path) -> Result<StoreLock, OpenError> {
    lock(store).map_err(|error| explain(error, store))
}

fn lock(store: &Path) -> Result<StoreLock, OpenError> {
    let path = beside(store, "lock");
    let failed = |source| OpenError::Lock {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        // If the path names a pipe, the open call must not block the start.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let is_locked = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    };
    let mut content = Vec::new();
    (&file)
        .take(LOCK_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(failed)?;
    // A damaged lock file counts as a lock file without marks, so it does not prevent a start.
    let content = String::from_utf8_lossy(&content);
    if !is_locked {
        return Err(OpenError::Locked {
            path: store.to_owned(),
            holder: content.lines().next().unwrap_or_default().to_owned(),
        });
    }
    let mut lock = StoreLock {
        path: path.clone(),
        file,
        marks: words(&content, MARKS).map(str::to_owned).collect(),
        origin: words(&content, ORIGIN).find_map(|origin| origin.parse().ok()),
        only: only(&content),
        disk: DiskSpace::beside(store),
    };
    // Before the first write: on a full disk, the process needs the space of the reserve.
    lock.disk.find_reserve();
    lock.write().map_err(failed)?;
    Ok(lock)
}

/// Records in the lock file of a running process that its log fits only the store file with this inode, or any file.
pub(super) fn bind_log(store: &Path, only: Option<u64>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        // If the path names a pipe, the open call must not block the thread that watches the files.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(beside(store, "lock"))?;
    let mut content = String::new();
    (&file).take(LOCK_BYTES_MAX).read_to_string(&mut content)?;
    let kept = content.lines().filter(|line| !line.starts_with(ONLY));
    let only = only.map(|inode| format!("{ONLY} {inode} {END}"));
    let lines: Vec<&str> = kept.chain(only.as_deref()).collect();
    overwrite(&mut file, &format!("{}\n", lines.join("\n")))?;
    file.sync_all()
}

/// Replaces the content of the lock file. The first bytes that differ are at its end.
fn overwrite(file: &mut File, content: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(content.as_bytes())?;
    file.set_len(u64::try_from(content.len()).unwrap_or(LOCK_BYTES_MAX))
}

impl StoreLock {
    /// Returns the disk of the store.
    pub(super) const fn disk(&self) -> &DiskSpace {
        &self.disk
    }

    /// Returns the marks that the last process wrote into the lock file. The store file of that process has one of
    /// these marks.
    pub(super) fn marks(&self) -> &[String] {
        &self.marks
    }

    /// Returns the origin of the log that the last process wrote, or `None` if the log can have any origin.
    pub(super) const fn origin(&self) -> Option<LogOrigin> {
        self.origin
    }

    /// Returns the inode of the only store file that the log fits, if the last process noticed that another file was at the path of the store.
    pub(super) const fn only(&self) -> Option<u64> {
        self.only
    }

    /// Replaces the marks and the origin durably, so the lock file has them on disk before the process writes a log.
    pub(super) fn write_marks(
        &mut self,
        marks: Vec<String>,
        origin: Option<LogOrigin>,
    ) -> Result<(), OpenError> {
        self.marks = marks;
        self.origin = origin;
        self.only = None;
        let written = self.write().and_then(|()| {
            self.file.sync_all()?;
            sync_folder(&self.path)
        });
        written.map_err(|source| OpenError::Lock {
            path: self.path.clone(),
            source,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        let mut content = format!("process {}\n", std::process::id());
        if !self.marks.is_empty() {
            content.push_str(&format!("{MARKS} {}\n", self.marks.join(" ")));
        }
        if let Some(origin) = self.origin {
            content.push_str(&format!("{ORIGIN} {origin}\n"));
        }
        if let Some(only) = self.only {
            content.push_str(&format!("{ONLY} {only} {END}\n"));
        }
        overwrite(&mut self.file, &content)
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        self.disk.leave_reserve();
    }
}

fn only(content: &str) -> Option<u64> {
    let mut words = words(content, ONLY);
    let inode = words.next()?.parse().ok();
    inode.filter(|_| words.next() == Some(END))
}

/// Returns the words of the line that starts with this word.
fn words<'a>(content: &'a str, first: &str) -> impl Iterator<Item = &'a str> {
    let line = content.lines().find_map(|line| line.strip_prefix(first));
    line.unwrap_or_default().split_whitespace()
}
