//! The only place where the parts meet: opens the store, binds the listeners, starts the threads, and ends them in order.
//!
//! How it ends: not ready, then for `shutdown.lag` all goes on while the load balancer learns of it; then no connection
//! is accepted and no lane claimed; what is under way has `shutdown.drain` to finish; then the store is closed. What was
//! not finished is on disk and is sent again by the next process.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::rt::System;
use anyhow::{Context as _, anyhow, bail};
use futures_util::future::join3;
use tokio::sync::watch;
use tokio::time::timeout;

use self::key::KeyFile;
use self::retention::Retention;
use self::secrets::SecretsWatch;
use self::senders::Senders;
use crate::config::{self, Config, sources};
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::destination::{Destination, OperatorMode};
use crate::fold::MaxFold;
use crate::ingress::Ingress;
use crate::metrics::{LabelSets, Metrics};
use crate::ops::api::Backup;
use crate::ops::{Admin, Health, Ops};
use crate::outbox::{DUE_AHEAD_MAX, Outbox as _, Setting, SqliteOutbox, State};
use crate::time::{Clock, Timestamp};

mod doors;
mod key;
mod listeners;
mod retention;
mod secrets;
mod senders;

pub(crate) use self::doors::{terms, unlocked};

/// Runs a future on a runtime of its own, on this thread: the commands of the command line are futures.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    System::new().block_on(future)
}

/// The bridge, bound and about to run.
pub struct App {
    /// Where events come in.
    pub ingress: SocketAddr,
    /// Where health and metrics are.
    pub ops: SocketAddr,
    config: Config,
    key: KeyFile,
    secrets: SecretsWatch,
    outbox: Arc<SqliteOutbox>,
    health: Health,
    senders: Senders,
    retention: Retention,
    stopping: watch::Sender<bool>,
    ingress_server: Server,
    ops_server: Server,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("ingress", &self.ingress)
            .field("ops", &self.ops)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Opens the store, binds the listeners and starts to send. Must be called inside an actix system.
    ///
    /// # Errors
    /// What is missing or taken.
    pub fn start(config: Config, sources: Vec<sources::Source>) -> anyhow::Result<Self> {
        let clock = Clock::machine();
        let outbox = open(&config.outbox, clock.now())?;
        let metrics = Metrics::new(LabelSets {
            destination_states: &DestinationState::NAMES,
            end_states: &State::ENDINGS,
        })?;
        let store = || Arc::<SqliteOutbox>::clone(&outbox);
        let (stopping, stopped) = watch::channel(false);
        let destination = Arc::new(Destination::new(config.imprint.rate, clock.now()));
        recall(&outbox, &destination, clock.now());
        let (sources, secrets) = doors::open(sources)?;
        let admin = Admin {
            operators: listeners::operators(&config),
            outbox: store(),
            destination: Arc::clone(&destination),
            map_again: doors::map_again(&config, &sources),
            explain: doors::explain(&config, &sources, &clock),
            backup: backup(&outbox),
            max_fold: MaxFold(config.dispatch.rules.max_fold),
            clock: clock.clone(),
            counts: metrics.admin.clone(),
        };
        let door = Ingress {
            sources,
            outbox: store(),
            clock: clock.clone(),
            limits: listeners::limits(&config),
            counts: metrics.ingress.clone(),
            stopping: stopped.clone(),
        };
        let health = Health::default();
        let ops = Ops::new(health.clone(), metrics.clone(), store(), clock.clone());
        let (ingress, ingress_server) = listeners::ingress(&config, door)?;
        let (ops, ops_server) = listeners::ops(&config, ops, admin)?;
        let key = KeyFile::read(&config.imprint, Arc::clone(&destination), clock.clone())?;
        let retention = Retention::new(store(), &config.outbox, clock.clone());
        let parts = senders::Parts {
            outbox: store(),
            destination,
            clock,
            counts: metrics.dispatch,
            stopped,
        };
        let senders = Senders::start(&config, &key.credential(), &parts)?;
        Ok(Self {
            ingress,
            ops,
            config,
            key,
            secrets,
            outbox,
            health,
            senders,
            retention,
            stopping,
            ingress_server,
            ops_server,
        })
    }

    /// Runs until `stop` resolves with the reason, then drains.
    ///
    /// # Errors
    /// Something ended that should not have; what was accepted is on disk.
    pub async fn run(mut self, stop: impl Future<Output = &'static str>) -> anyhow::Result<()> {
        if self.config.profile == config::Profile::Production {
            tracing::warn!("what waits is stored unsealed: keep the store on an encrypted volume");
        }
        self.health.ready();
        tracing::info!(ingress = %self.ingress, ops = %self.ops, "ready");
        let why = tokio::select! {
            why = stop => why,
            () = self.outbox.failed() => bail!("the store failed"),
            error = self.senders.failed() => return Err(error.context("a dispatch thread ended")),
            () = self.retention.run() => bail!("nothing is forgotten any more"),
            () = self.secrets.watch() => bail!("the secrets of sources are not watched any more"),
            () = self.key.watch() => bail!("the key is not watched any more"),
            ended = &mut self.ingress_server => return Err(anyhow!("the ingress listener ended: {ended:?}")),
            ended = &mut self.ops_server => return Err(anyhow!("the ops listener ended: {ended:?}")),
        };
        tracing::info!(why, "stopping");
        self.health.draining();
        // Connections keep coming until the load balancer has heard of it.
        tokio::time::sleep(self.config.shutdown.lag).await;
        self.stopping.send_replace(true);
        let handle = self.ingress_server.handle();
        let drained = join3(
            handle.stop(true),
            &mut self.ingress_server,
            self.senders.ended(),
        );
        if timeout(self.config.shutdown.drain, drained).await.is_err() {
            tracing::warn!("not everything finished in time; the next process sends it again");
        }
        let handle = self.ops_server.handle();
        let (_, ended) = futures_util::future::join(handle.stop(false), &mut self.ops_server).await;
        ended.context("the ops listener")?;
        self.outbox.close();
        tracing::info!("stopped");
        Ok(())
    }
}

fn open(settings: &config::OutboxSettings, now: Timestamp) -> anyhow::Result<Arc<SqliteOutbox>> {
    let path = &settings.path;
    let outbox = SqliteOutbox::open(path, settings.intake_max, now);
    let outbox = outbox.with_context(|| format!("outbox.url {}", path.display()))?;
    Ok(Arc::new(outbox))
}

fn backup(outbox: &Arc<SqliteOutbox>) -> Backup {
    let outbox = Arc::clone(outbox);
    Arc::new(move |name| {
        let outbox = Arc::clone(&outbox);
        Box::pin(async move { outbox.backup(&name).await })
    })
}

/// Goes on with what the operator wanted of the destination, and with a wait that it asked for.
fn recall(outbox: &SqliteOutbox, destination: &Destination, now: Timestamp) {
    let mode = outbox.setting(Setting::DestinationMode);
    let mode = mode
        .and_then(|word| OperatorMode::parse(&word))
        .unwrap_or_default();
    destination.set_mode(mode);
    let until = outbox
        .setting(Setting::ThrottledUntil)
        .and_then(|text| text.parse().ok());
    if let Some(until) = until
        .map(Timestamp::from_millis)
        .filter(|until| *until > now)
    {
        // The clock may have been set back since: no wait is longer than Imprint may ask for.
        destination.wait_until(until.min(now.after(DUE_AHEAD_MAX)));
    }
}
