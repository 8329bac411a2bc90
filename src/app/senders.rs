//! The dispatch threads, which send requests to Imprint. Each dispatch thread has its own runtime and its own HTTP
//! client, because the client cannot move between threads.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::anyhow;
use futures_util::future::select_all;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::dispatch::core::DispatchLimits;
use crate::dispatch::destination::Destination;
use crate::dispatch::dispatcher::Dispatcher;
use crate::http::egress::Egress;
use crate::imprint::client::{Client, Credential};
use crate::metrics::DispatchMetrics;
use crate::outbox::Lanes;
use crate::telemetry::chain;
use crate::time::Clock;
use crate::traces::Traces;

/// The objects that all dispatch threads share.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) outbox: Arc<dyn Lanes>,
    pub(super) destination: Arc<Destination>,
    pub(super) egress: watch::Receiver<Arc<Egress>>,
    pub(super) clock: Clock,
    pub(super) metrics: DispatchMetrics,
    pub(super) traces: Option<Traces>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The running dispatch threads.
pub(super) struct DispatchThreads(Vec<DispatchThread>);

/// One dispatch thread: the receiver of the thread's result, and the handle to join the thread.
struct DispatchThread {
    ended: oneshot::Receiver<anyhow::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DispatchThreads {
    /// Starts the configured number of dispatch threads. The threads end when `parts.stopped` is true.
    pub(super) fn start(
        config: &Config,
        credential: &Arc<Credential>,
        parts: &Parts,
    ) -> anyhow::Result<Self> {
        let limits = DispatchLimits {
            concurrency: config.imprint.concurrency.div_ceil(config.dispatch.threads),
            deadline: config.imprint.deadline,
            rules: config.dispatch.rules,
        };
        let senders = (0..config.dispatch.threads).map(|number| {
            let base_url = config.imprint.base_url.as_str().to_owned();
            let (credential, parts) = (Arc::clone(credential), parts.clone());
            let (end, ended) = oneshot::channel();
            let run = move || {
                // If nobody receives the result, the process is already ending for another reason.
                let _unheard = end.send(send(&base_url, credential, parts, limits));
            };
            let thread = thread::Builder::new()
                .name(format!("dispatch-{number}"))
                .spawn(run)?;
            Ok(DispatchThread {
                ended,
                thread: Some(thread),
            })
        });
        Ok(Self(senders.collect::<anyhow::Result<_>>()?))
    }

    /// Resolves when a dispatch thread ends before the shutdown.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let (ended, _, _) = select_all(self.0.iter_mut().map(|sender| &mut sender.ended)).await;
        match ended {
            Ok(Ok(())) => anyhow!("the thread ended without being told to"),
            Ok(Err(error)) => error,
            Err(_gone) => anyhow!("the thread panicked"),
        }
    }

    /// Resolves when all dispatch threads have ended.
    pub(super) async fn ended(&mut self) {
        for sender in &mut self.0 {
            if let Ok(Err(error)) = (&mut sender.ended).await {
                tracing::error!(error = chain(error.as_ref()), "a dispatch thread failed");
            }
            if sender
                .thread
                .take()
                .is_some_and(|thread| thread.join().is_err())
            {
                tracing::error!("a dispatch thread panicked");
            }
        }
    }
}

/// Runs one dispatch thread until the shutdown.
fn send(
    base_url: &str,
    credential: Arc<Credential>,
    parts: Parts,
    limits: DispatchLimits,
) -> anyhow::Result<()> {
    let Parts {
        outbox,
        destination,
        egress,
        clock,
        metrics,
        traces,
        stopped,
    } = parts;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let imprint = Client::new(
            base_url,
            credential,
            egress,
            clock.clone(),
            limits.concurrency,
        );
        let dispatcher = Dispatcher {
            outbox,
            imprint,
            destination,
            limits,
            clock,
            metrics,
            traces,
        };
        Ok(dispatcher.run(stopped).await?)
    })
}
