//! Confines the process: takes away rights that the running bridge never needs, so that an attacker who controls the
//! process gets little from it.
//!
//! [`confine`] uses two means of the Linux kernel. Landlock limits the files that the process can open, and seccomp
//! refuses system calls. Both apply to the calling thread and to all threads that it starts later, and nobody can undo
//! them. The process must therefore call [`confine`] before it starts a thread.
//!
//! A kernel or a container runtime possibly lacks one of the two means. The process then continues without it, and
//! [`gaps`] names the gap.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

mod files;
mod system_calls;

pub use self::files::AllowedFiles;

/// The result of [`confine`] in this process.
static CONFINEMENT: OnceLock<Confinement> = OnceLock::new();

/// The limits that the kernel enforces on this process.
#[derive(Debug)]
struct Confinement {
    files: AllowedFiles,
    gaps: Vec<ConfinementGap>,
}

/// A limit that the kernel does not enforce, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfinementGap {
    pub kind: GapKind,
    pub reason: String,
}

/// The kinds of [`ConfinementGap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// The process can open every file that its user can open.
    Files,
    /// The kernel limits only some ways to use a file, because its version of Landlock is old.
    SomeFileRights,
    /// The process can use every system call.
    SystemCalls,
}

/// Confines this thread and all threads that it starts later. The process can then open only the given files.
///
/// Later calls in the same process change nothing.
pub fn confine(files: AllowedFiles) {
    CONFINEMENT.get_or_init(|| {
        // Landlock comes first, because the seccomp filters could refuse a system call that Landlock needs.
        let gaps = [files::restrict(&files), system_calls::restrict()];
        Confinement {
            files,
            gaps: gaps.into_iter().flatten().collect(),
        }
    });
}

/// Returns the limits that the kernel does not enforce. Returns `None` if the process is not confined at all.
pub fn gaps() -> Option<&'static [ConfinementGap]> {
    CONFINEMENT.get().map(|confinement| &*confinement.gaps)
}

/// Returns whether the process cannot open the file at `path` because it is confined.
pub fn forbids(path: &Path) -> bool {
    let Some(confinement) = CONFINEMENT.get() else {
        return false;
    };
    let is_open = |gap: &ConfinementGap| gap.kind == GapKind::Files;
    if confinement.gaps.iter().any(is_open) {
        return false;
    }
    // Landlock does not limit the search for the target of a link.
    let target: PathBuf = path.canonicalize().unwrap_or_else(|_gone| path.to_owned());
    !confinement.files.contain(&target)
}
