//! The settings of the event listener.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::Reader;
use super::{DEADLINE_MAX, DEADLINE_MIN, listen};
use crate::ingress::BodyLimits;

/// The minimum of `ingress.keep_alive`. With a shorter time, most clients would open a connection for each request.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);
/// The maximum of `ingress.keep_alive`. Proxies forget an idle connection after a shorter time.
const KEEP_ALIVE_MAX: Duration = Duration::from_hours(1);
/// The maximum of `ingress.workers`. A machine for the bridge has fewer cores.
const WORKERS_MAX: u64 = 256;
/// The minimum of `ingress.body_bytes_max` and `ingress.bodies_bytes_max`. A small event has several hundred bytes.
const BODY_BYTES_MIN: u64 = 1024;
/// The maximum of `ingress.body_bytes_max`. The bridge holds a whole body and its parsed form in memory.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The maximum of `ingress.connections_max`. Each connection takes memory and an open file.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// The maximum of `ingress.bodies_bytes_max`: 4 GiB. A container for the bridge has less memory.
const BODIES_BYTES_MAX: u64 = 4 << 30;

/// The settings of the event listener. The file `config/default.toml` describes each setting.
#[derive(Clone, Copy, Debug)]
pub struct IngressSettings {
    pub listen: SocketAddr,
    pub workers: usize,
    pub limits: BodyLimits,
    pub head_deadline: Duration,
    pub keep_alive: Duration,
    pub bodies_bytes_max: usize,
    pub connections_max: usize,
}

/// Reads the settings of the event listener.
pub(super) fn take(reader: &mut Reader) -> Option<IngressSettings> {
    let mut take_duration =
        |key, least, most| reader.take(&["ingress", key], |raw| raw.duration(least, most));
    let body_deadline = take_duration("body_deadline", DEADLINE_MIN, DEADLINE_MAX);
    let head_deadline = take_duration("head_deadline", DEADLINE_MIN, DEADLINE_MAX);
    let keep_alive = take_duration("keep_alive", KEEP_ALIVE_MIN, KEEP_ALIVE_MAX);
    let mut take_count =
        |key, least, most| reader.take(&["ingress", key], |raw| raw.count(least, most));
    let workers = take_count("workers", 0, WORKERS_MAX);
    let body_bytes_max = take_count("body_bytes_max", BODY_BYTES_MIN, BODY_BYTES_MAX);
    let bodies_bytes_max = take_count("bodies_bytes_max", BODY_BYTES_MIN, BODIES_BYTES_MAX);
    let connections_max = take_count("connections_max", 1, CONNECTIONS_MAX);
    let listen = reader.take(&["ingress", "listen"], listen);
    let ingress = IngressSettings {
        listen: listen?,
        workers: workers?,
        limits: BodyLimits {
            body_bytes_max: body_bytes_max?,
            body_deadline: body_deadline?,
        },
        head_deadline: head_deadline?,
        keep_alive: keep_alive?,
        bodies_bytes_max: bodies_bytes_max?,
        connections_max: connections_max?,
    };
    if ingress.bodies_bytes_max < ingress.limits.body_bytes_max {
        let reason = "must be at least ingress.body_bytes_max";
        reader.error(&["ingress", "bodies_bytes_max"], reason);
    }
    Some(ingress)
}
