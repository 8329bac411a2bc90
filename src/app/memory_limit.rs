//! The memory limit of the control group of the process (cgroup), which bounds the number of connections.
//!
//! The kernel ends a process that needs more memory than its control group may have. Many idle connections must not lead
//! to that end, so their number is bounded by the memory limit as it is bounded by the limit of open files.

use std::fs;
use std::path::Path;

/// The memory that one connection takes: two buffers of 8 KiB in actix-http, its state, and its socket in the kernel. A
/// load of 2,000 connections that send small events takes about 18 KiB for each connection in the process.
const CONNECTION_BYTES: u64 = 24 * 1024;
/// The part of the memory limit that connections can take is one in this number. The store, the sources and the bodies
/// in progress need the rest.
const SHARE: u64 = 2;
/// The folder of the control groups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The file that names the control group of this process.
const OWN_CGROUP: &str = "/proc/self/cgroup";

/// Returns at most `wanted` connections: as many as the memory limit of the process allows.
pub(super) fn connections(wanted: usize) -> usize {
    let own = fs::read_to_string(OWN_CGROUP).unwrap_or_default();
    let Some(limit_bytes) = limit_bytes(Path::new(CGROUPS), &own) else {
        return wanted;
    };
    let connections = allowed(limit_bytes, wanted);
    if connections < wanted {
        tracing::warn!(
            memory_bytes = limit_bytes,
            connections,
            "the memory limit of the control group allows fewer connections than ingress.connections_max"
        );
    }
    connections
}

fn allowed(limit_bytes: u64, wanted: usize) -> usize {
    let allowed = limit_bytes / SHARE / CONNECTION_BYTES;
    usize::try_from(allowed).map_or(wanted, |allowed| allowed.min(wanted))
}

/// Returns the smallest memory limit of a control group and of the groups above it. `own` is the content of
/// [`OWN_CGROUP`]. Returns `None` if no group has a limit.
fn limit_bytes(cgroups: &Path, own: &str) -> Option<u64> {
    // In version 2, one line names the group: `0::/path`. In version 1, the line of the controller `memory` does.
    let groups = own.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some((cgroups.to_owned(), path, "memory.max")),
            "memory" => Some((cgroups.join("memory"), path, "memory.limit_in_bytes")),
            _ => None,
        }
    });
    let limits = groups.flat_map(|(top, path, file)| {
        let folders: Vec<_> = Path::new(path).ancestors().map(Path::to_owned).collect();
        folders.into_iter().filter_map(move |folder| {
            let limit = fs::read_to_string(top.join(folder).join(file)).ok()?;
            // A group without a limit has the word `max`.
            limit.trim().parse::<u64>().ok()
        })
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N881
    #[test]
    fn the_smallest_limit_of_the_groups_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, limit: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        };
        write("memory.max", "max\n");
        write("pod/memory.max", "268435456\n");
        write("pod/bridge/memory.max", "max\n");
        write("memory/pod/memory.limit_in_bytes", "67108864\n");
        for (own, expected) in [
            ("0::/\n", None),
            ("0::/pod/bridge\n", Some(256 * 1024 * 1024)),
            ("0::/pod\n", Some(256 * 1024 * 1024)),
            ("0::/other\n", None),
            ("5:cpu:/\n4:memory:/pod\n", Some(64 * 1024 * 1024)),
            ("", None),
            ("no group", None),
        ] {
            assert_eq!(limit_bytes(folder.path(), own), expected, "{own}");
        }
    }

    /// FAULTS N881: the connections take at most half of the memory.
    #[test]
    fn a_small_memory_limit_allows_fewer_connections() {
        const MIB: u64 = 1024 * 1024;
        for (limit_bytes, expected) in [
            (256 * MIB, 4_096),
            (128 * MIB, 2_730),
            (64 * MIB, 1_365),
            (0, 0),
            (u64::MAX, 4_096),
        ] {
            assert_eq!(allowed(limit_bytes, 4_096), expected, "{limit_bytes}");
        }
    }
}
