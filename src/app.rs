//! The only place where the parts meet: opens the store, binds the listeners, starts the threads, and ends them in order.
//!
//! How it ends: not ready, then for `shutdown.lag` all goes on while the load balancer learns of it; then no connection
//! is accepted and no lane claimed; what is under way has `shutdown.drain` to finish; then the store is closed. What was
//! not finished is on disk and is sent again by the next process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{HttpServer, web};
use anyhow::{Context as _, anyhow, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::config::{Config, secret, sources};
use crate::dispatch::destination::{Condition, Destination};
use crate::dispatch::{self, Dispatcher};
use crate::imprint::client::{self, Client, Credential, Replaced};
use crate::ingress::auth::Verifier;
use crate::ingress::{self, EventKind, Ingress};
use crate::metrics::{Metrics, Words};
use crate::ops::{self, Health, Ops};
use crate::outbox::{SqliteOutbox, State};
use crate::telemetry::chain;
use crate::time::Clock;

/// How often the key is read again; a mounted Secret is a link that is swapped, so nothing can be watched.
const KEY_EVERY: Duration = Duration::from_secs(5);

/// The bridge, bound and about to run.
#[derive(Debug)]
pub struct App {
    /// Where events come in.
    pub ingress: SocketAddr,
    /// Where health and metrics are.
    pub ops: SocketAddr,
    parts: Parts,
}

/// Everything that runs.
struct Parts {
    config: Config,
    clock: Clock,
    outbox: Arc<SqliteOutbox>,
    destination: Arc<Destination>,
    credential: Arc<Credential>,
    health: Health,
    metrics: Metrics,
    stopping: watch::Sender<bool>,
    ingress: Server,
    ops: Server,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// A dispatch thread: how it ended, and the thread to wait for.
struct Sender {
    ended: oneshot::Receiver<anyhow::Result<()>>,
    thread: JoinHandle<()>,
}

impl App {
    /// Opens and binds everything. Nothing is sent before [`App::run`].
    ///
    /// # Errors
    /// What is missing or taken.
    pub fn start(config: Config, sources: Vec<sources::Source>) -> anyhow::Result<Self> {
        let clock = Clock::machine();
        let credential = Arc::new(credential(&config)?);
        let outbox = SqliteOutbox::open(&config.outbox.path, config.outbox.intake_max, clock.now());
        let outbox = Arc::new(
            outbox.with_context(|| format!("outbox.url {}", config.outbox.path.display()))?,
        );
        let metrics = Metrics::new(Words {
            conditions: &Condition::WORDS,
            endings: &State::ENDINGS,
        })?;
        let health = Health::default();
        let (stopping, stopped) = watch::channel(false);
        let port = Arc::clone(&outbox);
        let door = Ingress {
            sources: doors(sources)?,
            outbox: port,
            clock: clock.clone(),
            limits: limits(&config),
            counts: metrics.ingress.clone(),
            stopping: stopped,
        };
        let port = Arc::clone(&outbox);
        let ops = Ops {
            health: health.clone(),
            metrics: metrics.clone(),
            outbox: port,
            clock: clock.clone(),
        };
        let (ingress, ingress_server) = serve_ingress(&config, door)?;
        let (ops, ops_server) = serve_ops(&config, ops)?;
        let destination = Arc::new(Destination::new(config.imprint.rate, clock.now()));
        let parts = Parts {
            config,
            clock,
            outbox,
            destination,
            credential,
            health,
            metrics,
            stopping,
            ingress: ingress_server,
            ops: ops_server,
        };
        Ok(Self {
            ingress,
            ops,
            parts,
        })
    }

    /// Runs until `stop` resolves, then drains. Must be called inside an actix system.
    ///
    /// # Errors
    /// Something ended that should not have; what was accepted is on disk.
    pub async fn run(self, stop: impl Future<Output = &'static str>) -> anyhow::Result<()> {
        let Parts {
            config,
            clock,
            outbox,
            destination,
            credential,
            health,
            metrics,
            stopping,
            ingress,
            ops,
        } = self.parts;
        let sending = Sending {
            config: &config,
            clock: &clock,
            outbox: &outbox,
            destination: &destination,
        };
        let mut senders = sending.start(&credential, &metrics, &stopping)?;
        let (ingress_handle, ops_handle) = (ingress.handle(), ops.handle());
        let (mut ingress, mut ops) = (std::pin::pin!(ingress), std::pin::pin!(ops));
        health.ready();
        tracing::info!(ingress = %self.ingress, ops = %self.ops, "ready");
        let why = tokio::select! {
            why = stop => why,
            () = outbox.failed() => bail!("the store failed"),
            ended = any(&mut senders) => return Err(ended.context("a dispatch thread ended")),
            () = watch_key(&config, &credential, &destination, &clock) => bail!("the key is not watched any more"),
            ended = &mut ingress => return Err(anyhow!("the ingress listener ended: {ended:?}")),
            ended = &mut ops => return Err(anyhow!("the ops listener ended: {ended:?}")),
        };
        tracing::info!(why, "stopping");
        health.draining();
        // The servers are driven by their own threads; here only their ends are awaited.
        tokio::time::sleep(config.shutdown.lag).await;
        stopping.send_replace(true);
        let drained = timeout(config.shutdown.drain, async {
            ingress_handle.stop(true).await;
            for sender in &mut senders {
                if let Ok(Err(error)) = (&mut sender.ended).await {
                    tracing::error!(error = chain(error.as_ref()), "a dispatch thread failed");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("not everything finished in time; the next process sends it again");
        } else {
            for sender in senders {
                sender
                    .thread
                    .join()
                    .map_err(|_panic| anyhow!("a dispatch thread panicked"))?;
            }
        }
        ops_handle.stop(false).await;
        outbox.close();
        tracing::info!("stopped");
        Ok(())
    }
}

/// What dispatch threads are made of.
struct Sending<'a> {
    config: &'a Config,
    clock: &'a Clock,
    outbox: &'a Arc<SqliteOutbox>,
    destination: &'a Arc<Destination>,
}

impl Sending<'_> {
    /// Starts the dispatch threads. Each has a runtime and a client of its own, because the client cannot be shared.
    fn start(
        &self,
        credential: &Arc<Credential>,
        metrics: &Metrics,
        stopping: &watch::Sender<bool>,
    ) -> anyhow::Result<Vec<Sender>> {
        let tls = client::tls(roots(self.config.imprint.ca_file.as_deref())?)?;
        let threads = self.config.dispatch.threads;
        let limits = dispatch::Limits {
            concurrency: self.config.imprint.concurrency.div_ceil(threads),
            fold_max: self.config.dispatch.fold_max,
            deadline: self.config.imprint.deadline,
        };
        (0..threads)
            .map(|number| {
                let base_url = self.config.imprint.base_url.as_str().to_owned();
                let (credential, tls, clock) =
                    (Arc::clone(credential), Arc::clone(&tls), self.clock.clone());
                let outbox: Arc<SqliteOutbox> = Arc::clone(self.outbox);
                let destination = Arc::clone(self.destination);
                let (counts, stopping) = (metrics.dispatch.clone(), stopping.subscribe());
                let (end, ended) = oneshot::channel();
                let run = move || {
                    let dispatch = async move {
                        let partner = Client::new(&base_url, credential, tls, clock.clone());
                        let dispatcher = Dispatcher {
                            outbox,
                            partner,
                            destination,
                            limits,
                            clock,
                            counts,
                        };
                        dispatcher.run(stopping).await.map_err(anyhow::Error::from)
                    };
                    let _nobody_waits = end.send(on_this_thread(dispatch));
                };
                let thread = std::thread::Builder::new()
                    .name(format!("dispatch-{number}"))
                    .spawn(run)?;
                Ok(Sender { ended, thread })
            })
            .collect()
    }
}

fn on_this_thread(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, task)
}

/// Resolves when one of the threads ends before it was asked to.
async fn any(senders: &mut [Sender]) -> anyhow::Error {
    let ends = senders.iter_mut().map(|sender| &mut sender.ended);
    let (ended, _, _) = futures_util::future::select_all(ends).await;
    match ended {
        Ok(Ok(())) => anyhow!("nobody asked it to"),
        Ok(Err(error)) => error,
        Err(_gone) => anyhow!("it panicked"),
    }
}

/// Reads the key again and again, and tries a destination that refused the old one as soon as there is another.
async fn watch_key(
    config: &Config,
    credential: &Credential,
    destination: &Destination,
    clock: &Clock,
) {
    let Some(file) = &config.imprint.key_file else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(KEY_EVERY).await;
        let read = secret::read(file)
            .and_then(|key| credential.replace(&key).map_err(|error| error.to_string()));
        match read {
            Ok(Replaced::Same) => {}
            Ok(Replaced::Changed) => {
                tracing::info!("the API key has changed");
                destination.probe_now(clock.now());
            }
            Err(reason) => tracing::warn!(
                reason,
                "the API key cannot be read; the one that was read last stays in use"
            ),
        }
    }
}

fn credential(config: &Config) -> anyhow::Result<Credential> {
    let read = |file: &Option<PathBuf>| -> anyhow::Result<Option<SecretString>> {
        file.as_deref()
            .map(secret::read)
            .transpose()
            .map_err(|reason| anyhow!(reason))
    };
    let key = read(&config.imprint.key_file)?.context("imprint.key_file is required")?;
    let merchant_key = read(&config.imprint.merchant_key_file)?;
    Ok(Credential::new(
        config.imprint.scheme,
        &key,
        merchant_key.as_ref(),
    )?)
}

fn roots(file: Option<&Path>) -> anyhow::Result<Option<RootCertStore>> {
    let Some(file) = file else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)
        .with_context(|| format!("imprint.ca_file {}", file.display()))?
    {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!(
            "imprint.ca_file {} has no certificate in it",
            file.display()
        );
    }
    Ok(Some(roots))
}

fn doors(
    sources: Vec<sources::Source>,
) -> anyhow::Result<BTreeMap<crate::event::SourceName, ingress::Source>> {
    sources
        .into_iter()
        .map(|source| Ok((source.name.clone(), open_door(source)?)))
        .collect()
}

fn open_door(source: sources::Source) -> anyhow::Result<ingress::Source> {
    let secrets = |files: &[PathBuf]| -> anyhow::Result<Vec<SecretString>> {
        files
            .iter()
            .map(|file| secret::read(file).map_err(|reason| anyhow!(reason)))
            .collect()
    };
    let verifier = match &source.auth {
        sources::Auth::None => {
            tracing::warn!(
                source = source.name.as_str(),
                "this source is not authenticated: anybody may send as it"
            );
            Verifier::none()
        }
        sources::Auth::Bearer(files) => Verifier::bearer(&secrets(files)?)?,
        sources::Auth::StandardWebhooks(files) => Verifier::standard_webhooks(&secrets(files)?)?,
    };
    let kinds = source.kinds.into_iter().map(|(event_type, kind)| {
        let sources::Kind {
            schema,
            mapping,
            epoch,
        } = kind;
        (
            event_type,
            EventKind {
                schema,
                mapping,
                epoch,
            },
        )
    });
    Ok(ingress::Source {
        verifier,
        kinds: kinds.collect(),
        ignored: source.ignored,
        allowed_origins: source.allowed_origins.into_iter().collect(),
    })
}

const fn limits(config: &Config) -> ingress::Limits {
    ingress::Limits {
        body_bytes_max: config.ingress.body_bytes_max,
        body_time_max: config.ingress.body_deadline,
        batch_events_max: config.ingress.batch_max,
        version_ahead_max: config.ingress.version_ahead_max,
    }
}

fn serve_ingress(config: &Config, door: Ingress) -> anyhow::Result<(SocketAddr, Server)> {
    let settings = &config.ingress;
    let door = web::Data::new(door);
    let server = HttpServer::new(move || {
        let door = door.clone();
        actix_web::App::new().configure(move |config| ingress::configure(config, door))
    })
    .workers(if settings.workers == 0 {
        cores()
    } else {
        settings.workers
    })
    .max_connections(settings.connections_max)
    .client_request_timeout(settings.head_deadline)
    .keep_alive(settings.keep_alive)
    .shutdown_timeout(config.shutdown.drain.as_secs())
    .disable_signals()
    .bind(settings.listen)
    .with_context(|| format!("ingress.listen {}", settings.listen))?;
    bound(server.addrs().first().copied(), server.run())
}

fn serve_ops(config: &Config, ops: Ops) -> anyhow::Result<(SocketAddr, Server)> {
    let ops = web::Data::new(ops);
    let server = HttpServer::new(move || {
        let ops = ops.clone();
        actix_web::App::new().configure(move |config| ops::configure(config, ops))
    })
    .workers(1)
    .disable_signals()
    .bind(config.ops_listen)
    .with_context(|| format!("ops.listen {}", config.ops_listen))?;
    bound(server.addrs().first().copied(), server.run())
}

fn bound(address: Option<SocketAddr>, server: Server) -> anyhow::Result<(SocketAddr, Server)> {
    Ok((address.context("no address was bound")?, server))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
