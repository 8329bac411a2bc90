//! The two HTTP listeners: the event listener, and the ops listener for health, metrics, the admin API and the console.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web;
#[cfg(target_os = "linux")]
use rustix::process::setpriority_process;

use super::descriptors;
use super::descriptors::CONNECTIONS_MIN;
use super::guarded::StreamLimits;
use super::listener::Listener;
use super::memory_limit;
use super::places::Places;
use super::weakening::Weakening;
use crate::config::Config;
use crate::console::Console;
use crate::ingress::{self, Ingress};
use crate::ops::Ops;
use crate::time::Clock;

/// The nice(2) value of the threads of the event listener. If these threads and the dispatch threads compete for one
/// core, the event listener gets about a quarter of the core.
#[cfg(target_os = "linux")]
const INGRESS_NICENESS: i32 = 5;
/// The maximum number of connections to the ops listener. Its clients are health checks, Prometheus and some operators.
const OPS_CONNECTIONS_MAX: usize = 256;
/// The number of threads that are neither threads of the event listener nor dispatch threads.
const OTHER_THREADS: usize = 7;
/// The maximum idle time of a connection to the ops listener.
const OPS_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The time limit for sending an answer to a client. After this time, a client that does not read uses no more memory.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// The time limit for receiving a request head at the ops listener.
const OPS_HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Binds the event listener and the ops listener, and divides the file descriptors of the process between them.
pub(super) fn bind(
    config: &Config,
    ingress: Ingress,
    ops: Ops,
    clock: &Clock,
) -> anyhow::Result<[(SocketAddr, Server); 2]> {
    let threads = ingress_workers(config) + config.dispatch.threads + OTHER_THREADS;
    let limits = descriptors::divide(descriptors::raise(), config, threads, OPS_CONNECTIONS_MAX)?;
    let places = |name, connections_max| Places::new(name, connections_max, clock.clone());
    let connections = memory_limit::connections(limits.ingress).max(CONNECTIONS_MIN);
    let ingress_places = places("ingress.listen", connections);
    let ops_places = places("ops.listen", limits.ops);
    Ok([
        bind_ingress(config, ingress, ingress_places)?,
        bind_ops(config, ops, ops_places)?,
    ])
}

fn ingress_workers(config: &Config) -> usize {
    match config.ingress.workers {
        0 => cores(),
        workers => workers,
    }
}

/// Binds the event listener.
fn bind_ingress(
    config: &Config,
    ingress: Ingress,
    places: Places,
) -> anyhow::Result<(SocketAddr, Server)> {
    let settings = &config.ingress;
    let ingress = web::Data::new(ingress);
    let heads = ingress.clone();
    let listener = Listener {
        places,
        listen: settings.listen,
        workers: ingress_workers(config),
        keep_alive: settings.keep_alive,
        // `App::run` enforces `shutdown.drain`, so the shutdown timeout of actix must not be shorter.
        shutdown_timeout_seconds: config.shutdown.drain.as_secs().saturating_add(1),
        limits: StreamLimits {
            head_deadline: settings.head_deadline,
            answer_deadline: ANSWER_DEADLINE,
            heads: Arc::default(),
            count_refused: Arc::new(move |problem| heads.refused_head(problem)),
        },
    };
    listener.bind(move |config| {
        yield_to_delivery();
        ingress::configure(config, ingress.clone());
    })
}

/// Binds the ops listener for health checks, metrics, the admin API and the console. The ops listener has its own thread, so that it
/// answers health checks even if all other threads are busy.
fn bind_ops(config: &Config, ops: Ops, places: Places) -> anyhow::Result<(SocketAddr, Server)> {
    let listener = Listener {
        places,
        listen: config.ops_listen,
        workers: 1,
        keep_alive: OPS_KEEP_ALIVE,
        // `App::run` stops the ops listener without waiting for requests.
        shutdown_timeout_seconds: 1,
        limits: StreamLimits {
            head_deadline: OPS_HEAD_DEADLINE,
            answer_deadline: ANSWER_DEADLINE,
            heads: Arc::default(),
            count_refused: Arc::new(|_problem| {}),
        },
    };
    let (figures, health) = ops.state();
    let console = Console {
        destination: config.imprint.destination(),
        address: config.imprint.base_url.as_str().to_owned(),
        deadline: config.imprint.deadline,
        store: config.outbox.place.to_string(),
        instance: instance(config),
        mark: ops.store_mark(),
        sources_dir: absolute(&config.sources_dir),
        explain_weakening: |name| Weakening::parse(name).map_or("", Weakening::meaning),
        figures,
        health,
    };
    listener.bind(move |config| {
        ops.clone().configure(config);
        console.clone().configure(config);
    })
}

/// Returns the absolute form of a path, for operators who do not know the working directory of the process.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    absolute.as_deref().unwrap_or(path).display().to_string()
}

/// Returns the name of this process for operators: the configured one, or the name of the machine or the container.
fn instance(config: &Config) -> String {
    match config.instance.as_str() {
        "" => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        name => name.to_owned(),
    }
}

/// Lowers the priority of a thread of the event listener, or of the thread that reads the sources, so that delivery comes first on a busy core.
///
/// Under overload, senders therefore wait longer for answers. Without the lower priority, senders would fill the store
/// faster than the bridge delivers.
pub(super) fn yield_to_delivery() {
    #[cfg(target_os = "linux")]
    if let Err(error) = setpriority_process(None, INGRESS_NICENESS) {
        tracing::warn!(error = %error, "cannot lower the priority of a thread; it competes with delivery for the cores");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
