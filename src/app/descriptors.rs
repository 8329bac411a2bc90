//! File descriptors: raises the limit of the process, and divides the descriptors between the parts of the bridge.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::http::idle::connections_max;

/// The maximum number of descriptors that the bridge asks the kernel for. The bridge never needs more.
const WANTED_MAX: u64 = 65_536;
/// The number of descriptors for the store, the log, the settings files, the secret and key files and the listening
/// sockets, with some in reserve.
const RESERVED: usize = 48;
/// The number of descriptors that the async runtime of one thread needs: for its event queue, its waker and its
/// signals.
const FOR_THREAD: usize = 4;
/// The minimum number of connections that each listener must be able to accept.
pub(super) const CONNECTIONS_MIN: usize = 8;

/// The number of connections that the ops listener gets even if few descriptors are left, up to half of them. With fewer
/// connections, a burst of hostile connections would push out every health check.
const OPS_CONNECTIONS: usize = 32;

/// The maximum number of connections of each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionLimits {
    pub(super) ingress: usize,
    pub(super) ops: usize,
}

/// Raises the soft limit of open files to the hard limit, but at most to [`WANTED_MAX`]. Returns the new soft limit.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    let wanted = hard.min(WANTED_MAX);
    if soft >= wanted {
        return soft;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, limit = soft, "cannot raise the limit of open files");
            soft
        }
    }
}

/// Divides the descriptors. First, the store, the secrets, the threads and the connections to Imprint get what they
/// need.
///
/// Of the remaining descriptors, the ops listener gets one eighth, but at least [`OPS_CONNECTIONS`] if these are at most
/// half of the descriptors. The event listener gets the rest.
///
/// # Errors
/// Returns an error if too few descriptors are left for the listeners.
pub(super) fn divide(
    limit: u64,
    config: &Config,
    threads: usize,
    ops_max: usize,
) -> anyhow::Result<ConnectionLimits> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let senders = config.dispatch.threads;
    let imprint = senders * connections_max(config.imprint.concurrency.div_ceil(senders));
    let own = RESERVED + threads * FOR_THREAD + imprint;
    let left = limit.saturating_sub(own);
    let ops = (left / 8).max(OPS_CONNECTIONS.min(left / 2));
    let ops = ops.clamp(CONNECTIONS_MIN, ops_max);
    let ingress = left.saturating_sub(ops).min(config.ingress.connections_max);
    ensure!(
        ingress >= CONNECTIONS_MIN,
        "the process may open {limit} files, but needs {}: raise the limit (ulimit -n), or lower imprint.concurrency",
        own + 2 * CONNECTIONS_MIN
    );
    if ingress < config.ingress.connections_max {
        tracing::warn!(
            open_files = limit,
            connections = ingress,
            "the limit of open files allows fewer connections than ingress.connections_max"
        );
    }
    Ok(ConnectionLimits { ingress, ops })
}
