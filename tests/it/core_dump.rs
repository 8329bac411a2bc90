//! Tests that no core dump and no other process can get the memory of the program.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::wait_for;

/// A user without rights, as in the image of the bridge.
const NOBODY: u32 = 65_532;

/// A process of the user [`NOBODY`], or of the present user if this test does not run as root.
struct UnprivilegedProcess(Child);

impl UnprivilegedProcess {
    fn start(command: Command) -> Self {
        Self(unprivileged(command).stdout(Stdio::null()).spawn().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }
}

impl Drop for UnprivilegedProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn unprivileged(mut command: Command) -> Command {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Returns whether another process of the same user can read the map of the memory of a process.
fn is_readable(process: &UnprivilegedProcess) -> bool {
    let mut cat = Command::new("cat");
    cat.arg(process.file("maps"));
    let read = unprivileged(cat).output().unwrap();
    read.status.success()
}

/// FAULTS N442: without the limit, a crash writes every key and event into a core dump. Without the flag, a process
/// of the same user can read the memory.
#[test]
fn the_program_forbids_core_dumps_and_readers_of_its_memory() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("imprint-bridge");
    fs::copy(env!("CARGO_BIN_EXE_imprint-bridge"), &copy).unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a-key").unwrap();
    let mut sandbox = Command::new("sh");
    let line = "ulimit -c unlimited 2> /dev/null; exec \"$0\" sandbox --listen 127.0.0.1:0 --key-file \"$1\"";
    sandbox.args(["-c", line]).args([&copy, &key]);
    let process = UnprivilegedProcess::start(sandbox);
    let limit = "Max core file size        0                    0                    bytes";
    wait_for("the process has its limits", || {
        let limits = fs::read_to_string(process.file("limits")).unwrap();
        limits
            .lines()
            .any(|line| line.trim_end() == limit)
            .then_some(())
    });
    wait_for("the memory is unreadable", || {
        (!is_readable(&process)).then_some(())
    });
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    assert!(
        is_readable(&UnprivilegedProcess::start(sleep)),
        "the test can read the memory of other programs"
    );
}
