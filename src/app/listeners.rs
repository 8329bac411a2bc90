//! The two HTTP listeners: the event listener, and the ops listener for health, metrics and the admin API.

use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use anyhow::Context as _;
#[cfg(target_os = "linux")]
use rustix::process::setpriority_process;

use crate::config::Config;
use crate::ingress::{self, Ingress};
use crate::metrics::Metrics;
use crate::ops::{Access, Operators, Ops, ReadToken};

/// The nice(2) value of the ingress threads. With 5, ingress gets a quarter of a core that delivery also uses fully.
#[cfg(target_os = "linux")]
const INGRESS_NICENESS: i32 = 5;

/// Returns the operators of the admin API, each with a function that reads the operator's token file.
pub(super) fn access(config: &Config, metrics: &Metrics) -> Access {
    let operators = config.operators.iter().cloned().map(|operator| {
        let name = operator.name.clone();
        let read = move || {
            let token = operator.token();
            token
                .inspect_err(|reason| tracing::warn!(reason, "cannot read an operator's token"))
                .ok()
        };
        let read: ReadToken = Box::new(read);
        (name, read)
    });
    Access {
        operators: Operators::new(operators.collect()),
        metrics: metrics.admin.clone(),
    }
}

/// Binds the event listener.
pub(super) fn ingress(config: &Config, ingress: Ingress) -> anyhow::Result<(SocketAddr, Server)> {
    let settings = &config.ingress;
    let ingress = web::Data::new(ingress);
    let server = HttpServer::new(move || {
        let ingress = ingress.clone();
        yield_to_delivery();
        App::new().configure(move |config| ingress::configure(config, ingress))
    })
    .workers(if settings.workers == 0 {
        cores()
    } else {
        settings.workers
    })
    .max_connections(settings.connections_max)
    .client_request_timeout(settings.head_deadline)
    .keep_alive(settings.keep_alive)
    // `App::run` enforces `shutdown.drain`, so the shutdown timeout of actix must not be shorter.
    .shutdown_timeout(config.shutdown.drain.as_secs().saturating_add(1))
    .disable_signals()
    .bind(settings.listen)
    .with_context(|| format!("ingress.listen {}", settings.listen))?;
    bound(server.addrs().first().copied(), server.run())
}

/// Binds the ops listener for health, metrics and the admin API. The ops listener has its own thread, so that
/// health checks get an answer while other threads are busy.
pub(super) fn ops(config: &Config, ops: Ops) -> anyhow::Result<(SocketAddr, Server)> {
    let server = HttpServer::new(move || {
        let ops = ops.clone();
        App::new().configure(move |config| ops.configure(config))
    })
    .workers(1)
    .disable_signals()
    .bind(config.ops_listen)
    .with_context(|| format!("ops.listen {}", config.ops_listen))?;
    bound(server.addrs().first().copied(), server.run())
}

fn bound(address: Option<SocketAddr>, server: Server) -> anyhow::Result<(SocketAddr, Server)> {
    Ok((address.context("the listener has no address")?, server))
}

/// Lowers the priority of the ingress threads, so that delivery comes first on a busy core. Under overload, senders
/// then wait for answers instead of filling the store faster than the bridge delivers.
fn yield_to_delivery() {
    #[cfg(target_os = "linux")]
    if let Err(error) = setpriority_process(None, INGRESS_NICENESS) {
        tracing::warn!(error = %error, "cannot lower the priority of ingress threads; ingress and delivery share the cores evenly");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
