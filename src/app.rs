//! Starts and stops the bridge: opens the store, binds the listeners, starts the threads and tasks, and stops all of
//! them in a fixed order.
//!
//! At shutdown, `/readyz` answers 503 at once. For the time `shutdown.lag`, the bridge still works as before, so that
//! the load balancer can notice the 503. After this time, the bridge accepts no new connections and starts no new
//! requests to Imprint. Requests in flight have the time `shutdown.drain` to finish. The tasks beside the listeners run
//! until then. The bridge closes the store last. Entries that are not yet delivered stay on disk, and the next process
//! sends them.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::rt::System;
use anyhow::{Context as _, anyhow, bail};
use futures_util::future::join3;
use tokio::sync::watch;
use tokio::time::timeout;

use self::audit_keys::AuditKeysWatch;
use self::background::BackgroundTasks;
use self::brakes::BrakesWatch;
use self::declared_metrics::declared_metrics;
use self::egress::EgressWatch;
use self::key::KeyFiles;
use self::listeners::bind;
use self::loaded_set::LoadedSet;
use self::notices::NoticeTask;
use self::restored_destination::restored_destination;
use self::retention::Retention;
use self::sealing::SealingTasks;
use self::secrets::SecretsWatch;
use self::senders::DispatchThreads;
use self::source_activity::SourceActivity;
use self::source_order::SourceOrders;
use self::sources::RunningSources;
use self::sources_watch::SourcesWatch;
use self::store::StoreReport;
use self::traces::TraceTask;
use crate::config::Config;
use crate::config::source_set::SourceSet;
use crate::config::sources::{SourceFiles, SourceTextReader};
use crate::dispatch::destination::Destination;
use crate::dispatch::sharing::Sharing;
use crate::ingress::{BodyBudget, Ingress};
use crate::metrics::Metrics;
use crate::ops::operate::{FindKeyFile, MappingWork, Operations, ShowKeyFiles, TryOuts};
use crate::ops::{Figures, Health, Ops};
use crate::outbox::{Outbox, Setting};
use crate::time::Clock;

mod audit_keys;
mod background;
mod brakes;
mod client_certificate;
mod confine;
mod declared_metrics;
mod descriptors;
mod egress;
mod erasure;
mod guarded;
mod held_secret;
mod key;
mod linger;
mod listener;
mod listeners;
mod loaded_set;
mod local_task;
mod memory_limit;
mod notices;
mod one_look;
mod open_store;
mod operators;
mod places;
mod refused;
mod reload_log;
mod removed_sources;
mod reread;
mod restored_destination;
mod retention;
mod sealing;
mod sealing_files;
mod secret_file;
mod secret_reads;
mod secrets;
mod senders;
mod set_changes;
mod set_watch;
mod setting_files;
mod shared_clock;
mod source_activity;
mod source_order;
mod sources;
mod sources_watch;
mod store;
mod stored_settings;
mod traces;
mod weakening;

pub use self::confine::{confine, confine_to};
pub(crate) use self::held_secret::SecretFileError;
pub(crate) use self::open_store::database_address;
pub use self::reread::Rereads;
pub(crate) use self::secrets::secret_file_errors;
pub(crate) use self::setting_files::setting_file_errors;
pub(crate) use self::stored_settings::damaged_settings;
pub(crate) use self::weakening::Weakening;

/// Runs a future on this thread, on a new runtime. The commands of the command line use this function.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    System::new().block_on(future)
}

/// The running bridge, with bound listeners and running dispatch threads.
pub struct App {
    /// The address of the event listener.
    pub ingress: SocketAddr,
    /// The address of the listener for health, metrics and the admin API.
    pub ops: SocketAddr,
    config: Config,
    background: BackgroundTasks,
    sources: SourcesWatch,
    outbox: Arc<dyn Outbox>,
    health: Health,
    senders: DispatchThreads,
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
    /// Opens the store, binds the listeners and starts the dispatch threads. The caller must run on an actix system.
    ///
    /// # Errors
    /// Returns an error if a file, an address or the store cannot be used.
    pub async fn start(config: Config, set: SourceSet, clock: Clock) -> anyhow::Result<Self> {
        let (outbox, sealing_keys, clock) = open_store::open(&config, clock).await?;
        let metrics = declared_metrics(&config)?;
        let store = || Arc::<dyn Outbox>::clone(&outbox);
        let (stopping, stopped) = watch::channel(false);
        let destination = restored_destination(&*outbox, config.imprint.rate, clock.now()).await?;
        let rereads = Rereads::new(clock.clone(), metrics.secrets.clone());
        let audit_keys = AuditKeysWatch::start(store(), &config, rereads.clone()).await?;
        erasure::repeat(&*outbox, &config.outbox, &clock).await?;
        let sealing = SealingTasks::new(sealing_keys, &config, &rereads, store(), metrics.clone());
        let (running, sources, brakes) = sources(&config, set, &metrics, &rereads, store()).await?;
        let names = source_activity::names_in_use(&running);
        let activity = SourceActivity::start(store(), &metrics, names, &clock).await?;
        let traces = TraceTask::open(&config, &metrics, &rereads)?;
        let shared = (store(), clock.clone(), stopped);
        let listener = listener(&running, &config, (&metrics, &traces), shared.clone());
        let (keys, egress) = keys(&*outbox, &config, &destination, rereads.clone()).await?;
        let shown = (sealing.find_file(), keys.show(), sealing.outbox());
        let operations = operations(&listener, &running, shown, &destination, &config);
        let health = Health::default();
        let figures = Figures::new(metrics.clone(), &operations);
        let (access, tokens) = operators::open(&config, &metrics, rereads.clone());
        let ops = Ops::new(health.clone(), figures.clone(), operations, access);
        let [(ingress, ingress_server), (ops, ops_server)] = bind(&config, listener, ops, &clock)?;
        let parts = sender_parts(shared, (&destination, &egress), (&metrics, &traces));
        let senders = DispatchThreads::start(&config, &keys.credential(), &parts)?;
        let background = BackgroundTasks {
            sharing: Sharing::start(store(), &destination, (&clock, &metrics.dispatch)).await?,
            notices: NoticeTask::open(&config, &figures, (&metrics, activity.earlier()), &rereads)?,
            activity,
            traces,
            brakes,
            retention: Retention::new(store(), &config.outbox, clock.clone()),
            secrets: SecretsWatch::new(&running, rereads, config.clone()),
            keys,
            egress,
            tokens,
            audit_keys,
            store_report: StoreReport::new(&*outbox, health.clone(), metrics),
            sealing,
            figures,
            outbox: store(),
            clock,
        };
        Ok(Self {
            ingress,
            ops,
            config,
            background,
            sources,
            outbox,
            health,
            senders,
            stopping,
            ingress_server,
            ops_server,
        })
    }

    /// Returns the schedule on which the bridge reads its secret files. The handler of SIGHUP uses it to start a read.
    pub fn rereads(&self) -> Rereads {
        self.background.secrets.rereads()
    }

    /// Returns a reader of this bridge's metrics, for callers in the same process.
    pub fn figures(&self) -> Figures {
        self.background.figures.clone()
    }

    /// Runs the bridge until `stop` resolves with the reason to stop. Then stops the bridge in the order of the module
    /// documentation.
    ///
    /// # Errors
    /// Returns an error if a thread, a task or the store ends before the shutdown. The accepted events stay on disk.
    pub async fn run(mut self, stop: impl Future<Output = &'static str>) -> anyhow::Result<()> {
        self.health.ready();
        tracing::info!(ingress = %self.ingress, ops = %self.ops, "ready");
        let activity = Arc::clone(&self.background.activity);
        let mut background = pin!(self.background.run());
        let reason = tokio::select! {
            reason = stop => reason,
            () = self.outbox.failed() => bail!("the store failed"),
            error = self.senders.failed() => return Err(error.context("a dispatch thread ended")),
            error = &mut background => return Err(error),
            error = self.sources.watch() => return Err(error.context("the task that reads the sources ended")),
            ended = &mut self.ingress_server => return Err(anyhow!("the ingress listener ended: {ended:?}")),
            ended = &mut self.ops_server => return Err(anyhow!("the ops listener ended: {ended:?}")),
        };
        tracing::info!(reason, "stopping");
        self.health.draining();
        self.sources.stop();
        let drain = async {
            // The load balancer sends new connections until it has noticed the 503 of `/readyz`.
            tokio::time::sleep(self.config.shutdown.lag).await;
            self.stopping.send_replace(true);
            let handle = self.ingress_server.handle();
            let drained = join3(
                handle.stop(true),
                &mut self.ingress_server,
                self.senders.ended(),
            );
            timeout(self.config.shutdown.drain, drained).await
        };
        tokio::select! {
            error = &mut background => return Err(error),
            drained = drain => if drained.is_err() {
                tracing::warn!(
                    "some requests did not finish within shutdown.drain; the next process sends these requests again"
                );
            }
        }
        let handle = self.ops_server.handle();
        let (_, ended) = futures_util::future::join(handle.stop(false), &mut self.ops_server).await;
        ended.context("the ops listener")?;
        activity.finish().await;
        self.outbox.close();
        tracing::info!("stopped");
        Ok(())
    }
}

/// The store, the clock, and the signal to stop.
type Shared = (Arc<dyn Outbox>, Clock, watch::Receiver<bool>);

/// Creates the event listener with these sources.
fn listener(
    running: &RunningSources,
    config: &Config,
    (metrics, traces): (&Metrics, &TraceTask),
    (outbox, clock, stopping): Shared,
) -> Ingress {
    Ingress {
        endpoints: running.endpoints(),
        outbox,
        clock,
        limits: config.ingress.limits,
        budget: BodyBudget::new(config.ingress.bodies_bytes_max),
        counts: metrics.ingress.clone(),
        denied: Arc::default(),
        refused: Arc::default(),
        traces: traces.traces(),
        stopping,
    }
}

/// Returns the objects that the dispatch threads share.
fn sender_parts(
    (outbox, clock, stopped): Shared,
    (destination, egress): (&Arc<Destination>, &EgressWatch),
    (metrics, traces): (&Metrics, &TraceTask),
) -> senders::Parts {
    senders::Parts {
        outbox,
        destination: Arc::clone(destination),
        egress: egress.means(),
        clock,
        metrics: metrics.dispatch.clone(),
        traces: traces.traces(),
        stopped,
    }
}

/// Creates the use cases of operators. They share the sources and the list of denied requests with the event listener.
fn operations(
    listener: &Ingress,
    running: &Arc<RunningSources>,
    (find_key_file, show_key_files, outbox): (FindKeyFile, ShowKeyFiles, Arc<dyn Outbox>),
    destination: &Arc<Destination>,
    config: &Config,
) -> Operations {
    Operations {
        weakened: running.weakened(),
        outbox,
        destination: Arc::clone(destination),
        sources: Arc::<RunningSources>::clone(running),
        rules: config.dispatch.rules,
        denied: Arc::clone(&listener.denied),
        refused: Arc::clone(&listener.refused),
        find_key_file,
        show_key_files,
        try_outs: TryOuts::default(),
        mapping_work: MappingWork::default(),
        clock: listener.clock.clone(),
    }
}

/// Reads the secrets of the sources, and compares the order of their events with the earlier order. Returns the sources in
/// use, the task that watches their files, and the task that opens their brakes.
async fn sources(
    config: &Config,
    set: SourceSet,
    metrics: &Metrics,
    rereads: &Rereads,
    outbox: Arc<dyn Outbox>,
) -> anyhow::Result<(Arc<RunningSources>, SourcesWatch, BrakesWatch)> {
    let used = set.files.as_ref().map(SourceFiles::digest);
    let used = used.map_err(Clone::clone);
    let now = rereads.moment();
    let orders = SourceOrders::read(&*outbox).await?;
    let loaded = LoadedSet::load(set, config.profile, (&[], &orders), now);
    let loaded = loaded.map_err(|errors| anyhow!(errors.join("; ")))?;
    let orders = loaded.orders().remember(&*outbox).await?;
    let (running, requests) = RunningSources::start(
        loaded,
        (config.intake, SourceTextReader::of(config)),
        metrics,
        now,
    );
    let brakes = BrakesWatch::start(Arc::clone(&outbox), &running, rereads.clock()).await?;
    let watched = Arc::clone(&running);
    let watch = SourcesWatch::new(
        config.clone(),
        (outbox, orders),
        used,
        (watched, requests),
        rereads.clone(),
    );
    Ok((running, watch, brakes))
}

/// Reads the API keys of Imprint, and the files for the connections to Imprint. Restores the knowledge about the state of Imprint that an earlier process stored, if
/// that process used the same keys.
async fn keys(
    outbox: &dyn Outbox,
    config: &Config,
    destination: &Arc<Destination>,
    rereads: Rereads,
) -> anyhow::Result<(KeyFiles, EgressWatch)> {
    let now = rereads.moment();
    let egress = EgressWatch::open(config, rereads.clone())?;
    let keys = KeyFiles::read(config, Arc::clone(destination), rereads)?;
    let stored = outbox.setting(Setting::Evidence).await?;
    let canary = config.imprint.canary_id.clone();
    destination.begin(keys.mark(), canary, stored.as_deref(), now);
    Ok((keys, egress))
}
