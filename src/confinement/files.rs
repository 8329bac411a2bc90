//! The files that the process can open: Landlock rules for folders, and the choice of these folders.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{ConfinementGap, GapKind};

/// The newest version of Landlock whose limits the process uses. A later version adds limits that the process does not
/// need, for example for Unix sockets, which some resolvers of host names use.
const LANDLOCK: ABI = ABI::V6;

/// The rights in a folder with files that the process reads. No program in the folder can be executed.
const READ: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// The rights in the folder of the store: all rights except executing, devices, sockets, pipes and links.
const WRITE: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// The rights in the folder with a temporary folder.
const REMOVE: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{RemoveDir});

/// The files and folders of the operating system that the running process reads: the files of the resolver of host
/// names and its libraries, the limits of the control group, the figures of the process, and the random source of
/// SQLite.
///
/// Landlock refuses access to the memory and the environment of other processes below `/proc`.
const SYSTEM: [&str; 11] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
];

/// Files of the operating system that are often links to a folder outside of [`SYSTEM`].
const LINKED: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/// The minimum number of names in the path of a folder above a named folder, so that the process can read it too. The
/// folders with fewer names, such as `/run` or `/home`, have files of many programs.
const DEPTH_MIN: usize = 2;

/// The maximum depth of subfolders in which the process looks for links. The folders of sources and schemas have fewer
/// levels.
const LINK_DEPTH_MAX: usize = 4;

/// The maximum number of links for which the process allows the targets. Each link takes a Landlock rule, and a folder
/// of sources has fewer files.
const LINKS_MAX: usize = 1_000;

/// The folders that the process can open, with everything below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedFiles {
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    /// The folders from which the process can remove empty folders.
    emptied: Vec<PathBuf>,
}

impl AllowedFiles {
    /// Allows the process to read the files of the operating system that it needs.
    pub fn of_system() -> Self {
        let mut allowed = Self::default();
        allowed.readable.extend(SYSTEM.map(PathBuf::from));
        for file in LINKED {
            let target = fs::canonicalize(file).ok();
            let folder = target.as_deref().and_then(Path::parent);
            allowed.readable.extend(folder.map(Path::to_owned));
        }
        allowed
    }

    /// Allows the process to read a file, also after another program has replaced the file or its folder.
    ///
    /// A Landlock rule belongs to a folder and not to its name. If another program replaces a folder, only a rule for
    /// the folder above applies to the new folder. This function therefore also allows the folder above the folder of
    /// the file, except the top folders of the machine.
    pub fn read_file(&mut self, file: &Path) {
        for path in spellings(file) {
            match path.parent() {
                // The file is in the root folder, which the process must not read as a whole.
                Some(folder) if folder.parent().is_none() => self.readable.push(path),
                Some(folder) => self.read_around(folder),
                None => {}
            }
        }
    }

    /// Allows the process to read all files in a folder, also after another program has replaced the folder. Also allows
    /// the targets of the links in the folder.
    pub fn read_folder(&mut self, folder: &Path) {
        for path in spellings(folder) {
            self.read_around(&path);
        }
        let mut links = Vec::new();
        find_links(folder, LINK_DEPTH_MAX, &mut links);
        for link in links {
            self.read_file(&link);
        }
    }

    /// Allows the process to create, change and remove files in the folder of a file.
    pub fn write_beside(&mut self, file: &Path) {
        for path in spellings(file) {
            self.writable.extend(path.parent().map(Path::to_owned));
        }
    }

    /// Allows the process to remove an empty folder. Landlock gives this right for all empty folders beside it, too.
    pub fn remove(&mut self, folder: &Path) {
        for path in spellings(folder) {
            self.emptied.extend(path.parent().map(Path::to_owned));
        }
    }

    fn read_around(&mut self, folder: &Path) {
        let mut above = folder.ancestors().skip(1);
        let is_deep = |folder: &&Path| folder.components().count() > DEPTH_MIN;
        self.readable.push(folder.to_owned());
        // If the folder does not exist yet, somebody creates it in the nearest folder that exists.
        let above = above.find(|folder| folder.exists()).filter(is_deep);
        self.readable.extend(above.map(Path::to_owned));
    }

    /// Returns whether the process can read the file at this path, which has no links.
    pub(super) fn contain(&self, path: &Path) -> bool {
        let mut folders = self.readable.iter().chain(&self.writable);
        folders.any(|folder| path.starts_with(folder))
    }
}

/// Adds the links in a folder and its subfolders.
fn find_links(folder: &Path, depth: usize, links: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() && links.len() < LINKS_MAX => links.push(entry.path()),
            Ok(kind) if kind.is_dir() => find_links(&entry.path(), depth, links),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Returns the absolute path, and the path without links. The two differ if a part of the path is a link.
fn spellings(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::path::absolute(path).into_iter().collect();
    paths.extend(fs::canonicalize(path));
    paths.dedup();
    paths
}

/// Limits the files that this thread can open. Returns the limit that the kernel does not enforce.
pub(super) fn restrict(files: &AllowedFiles) -> Option<ConfinementGap> {
    let gap = |kind, reason: String| Some(ConfinementGap { kind, reason });
    match try_restrict(files).map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => None,
        Ok(RulesetStatus::PartiallyEnforced) => gap(
            GapKind::SomeFileRights,
            "the kernel has an older version of Landlock".to_owned(),
        ),
        Ok(RulesetStatus::NotEnforced) => gap(
            GapKind::Files,
            "the kernel has no Landlock, or the container runtime refuses it".to_owned(),
        ),
        Err(error) => gap(GapKind::Files, error.to_string()),
    }
}

fn try_restrict(files: &AllowedFiles) -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        // The process sends no signals, and uses no sockets with abstract names.
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(&files.readable, READ))?
        .add_rules(path_beneath_rules(&files.writable, WRITE))?
        .add_rules(path_beneath_rules(&files.emptied, REMOVE))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N541
    #[test]
    fn the_folder_above_is_readable_except_the_top_folders() {
        let readable = |file: &str| {
            let mut allowed = AllowedFiles::default();
            allowed.read_file(Path::new(file));
            let folders = allowed.readable.into_iter();
            folders
                .map(|folder| folder.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(readable("/no-such-key"), ["/no-such-key"]);
        assert_eq!(readable("/etc/no-such-key"), ["/etc"]);
        // The folders do not exist, and the nearest folder that exists is a top folder.
        assert_eq!(
            readable("/etc/no-such/secrets/key"),
            ["/etc/no-such/secrets"]
        );
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let bridge = root.join("bridge");
        fs::create_dir(&bridge).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let key = text(bridge.join("not-yet/key"));
        assert_eq!(
            readable(&key),
            [text(bridge.join("not-yet")), text(bridge.clone())]
        );
    }

    /// FAULTS N1454: no test had tried a write outside of the allowed folders.
    #[test]
    fn a_thread_writes_and_reads_only_in_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["store", "keys", "other"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("file"), name).unwrap();
        }
        let mut allowed = AllowedFiles::default();
        allowed.write_beside(&root.join("store/outbox.db"));
        allowed.readable.push(root.join("keys"));
        let confined = move || {
            let gap = restrict(&allowed);
            assert!(gap.is_none_or(|gap| gap.kind == GapKind::SomeFileRights));
            fs::write(root.join("store/new"), "text").unwrap();
            fs::remove_file(root.join("store/new")).unwrap();
            assert_eq!(fs::read(root.join("keys/file")).unwrap(), b"keys");
            for result in [
                fs::write(root.join("keys/file"), "text"),
                fs::write(root.join("keys/new"), "text"),
                fs::remove_file(root.join("keys/file")),
                fs::write(root.join("other/file"), "text"),
                fs::write(root.join("new"), "text"),
                fs::create_dir(root.join("other/new")),
                fs::rename(root.join("store/file"), root.join("other/moved")),
                fs::hard_link(root.join("store/file"), root.join("keys/link")),
                fs::read(root.join("other/file")).map(drop),
            ] {
                let kind = result.unwrap_err().kind();
                let refusals = [
                    std::io::ErrorKind::PermissionDenied,
                    // Landlock refuses a move or a link into another folder in this way.
                    std::io::ErrorKind::CrossesDevices,
                ];
                assert!(refusals.contains(&kind), "{kind:?}");
            }
        };
        let thread = std::thread::Builder::new().spawn(confined).unwrap();
        thread.join().unwrap();
    }

    /// FAULTS N541
    #[test]
    fn the_target_of_a_link_is_readable() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["a/b/here", "a/c/there"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("a/c/there/key"), "").unwrap();
        let link = root.join("a/b/here/key");
        std::os::unix::fs::symlink("../../c/there/key", &link).unwrap();
        let mut allowed = AllowedFiles::default();
        allowed.read_file(&link);
        for (path, expected) in [
            ("a/b/here/other", true),
            ("a/b/sibling/key", true),
            ("a/c/there/key", true),
            ("a/c/new/key", true),
            ("a/d/key", false),
        ] {
            assert_eq!(allowed.contain(&root.join(path)), expected, "{path}");
        }
        let mut allowed = AllowedFiles::default();
        allowed.write_beside(&link);
        assert!(allowed.contain(&root.join("a/b/here/outbox.db-wal")));
        assert!(!allowed.contain(&root.join("a/b/other")));
    }
}
