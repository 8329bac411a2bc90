//! The task that exports traces to a collector of OpenTelemetry, with OTLP over HTTP and JSON.
//!
//! The room `traces` collects the spans. This task sends them, one request after the other. It shares nothing with the
//! delivery: a collector that is slow, broken or gone delays only spans.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rustls::ClientConfig;
use serde::Deserialize;

use super::held_secret::LossRule;
use super::local_task::run_apart;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use super::setting_files::roots;
use crate::backoff::Backoff;
use crate::config::{Config, TraceSettings};
use crate::http::client::{ExchangeError, ExchangeLimits, HttpClient, SecretHeaderError};
use crate::http::{HeaderValue, Method, StatusCode, header, retry_after};
use crate::metrics::{Metrics, SecretKind, TraceMetrics};
use crate::random;
use crate::traces::{BATCH_MAX, ExportedProcess, Traces, body};

/// The limits of one request. A collector answers with a short text.
const LIMITS: ExchangeLimits = ExchangeLimits {
    deadline: Duration::from_secs(10),
    body_bytes_max: 64 * 1024,
};
/// The time for which spans are collected into one request, unless they are enough for a full request.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// The maximum number of requests with the same spans.
const ATTEMPTS_MAX: u32 = 5;
/// The wait after a failed request.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(4),
    min: Duration::from_secs(1),
    max: Duration::from_mins(1),
};
/// The longest wait that the bridge obeys if a collector asks for a wait.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// The task that exports traces, if a collector is configured.
pub(super) struct TraceTask(Option<Arc<Exporter>>);

/// Everything that exports spans. The HTTP client is not here, because it cannot move between threads.
struct Exporter {
    process: ExportedProcess,
    settings: TraceSettings,
    secret: Option<Arc<SecretFile>>,
    tls: Arc<ClientConfig>,
    traces: Traces,
    metrics: TraceMetrics,
    rereads: Rereads,
}

/// Spans that the collector does not have yet.
struct Batch {
    body: Vec<u8>,
    spans: usize,
    attempts: u32,
}

/// The progress of the export.
struct ExportProgress {
    /// The wait before the next request.
    wait: Duration,
    /// The number of failed requests in a row.
    failures: u32,
    /// The spans of the last request, if the bridge sends them again.
    unsent: Option<Batch>,
}

/// The reason why the collector does not have some spans. The text never has a part of the URL.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the file of the secret has no usable secret")]
    NoSecret,
    #[error("the secret cannot be sent: {0}")]
    Secret(SecretHeaderError),
    #[error(transparent)]
    Exchange(ExchangeError),
    /// The wait is the one that the collector asks for.
    #[error("the collector answered with the status {status}")]
    Status {
        status: StatusCode,
        wait: Option<Duration>,
    },
}

impl TraceTask {
    /// Reads the secret and the root certificates, if a collector is configured.
    pub(super) fn open(
        config: &Config,
        metrics: &Metrics,
        rereads: &Rereads,
    ) -> anyhow::Result<Self> {
        let Some(settings) = config.traces.clone() else {
            return Ok(Self(None));
        };
        let secret = settings.secret.as_ref().map(|secret| {
            let place = SecretPlace {
                owner: "traces.secret_file".to_owned(),
                path: secret.file.clone(),
                form: SecretForm::Line,
                profile: config.profile,
                // The secret opens only the collector, and without it there are no traces.
                rule: LossRule::Keep,
                check: Arc::new(|_any| Ok(())),
            };
            SecretFile::open(place, rereads.moment())
        });
        if let Some(flaw) = secret.as_ref().and_then(|secret| secret.flaw()) {
            return Err(anyhow!("traces.secret_file: {}", flaw.text()));
        }
        let roots = roots(("traces.ca_file", settings.ca_file.as_deref()))?;
        Ok(Self(Some(Arc::new(Exporter {
            process: ExportedProcess {
                instance: config.instance.clone(),
            },
            tls: crate::http::egress::tls(roots.map(Arc::new), None)?,
            settings,
            secret,
            traces: Traces::new(metrics.traces.clone()),
            metrics: metrics.traces.clone(),
            rereads: rereads.clone(),
        }))))
    }

    /// Returns the memory to which the other parts of the bridge add spans.
    pub(super) fn traces(&self) -> Option<Traces> {
        self.0.as_ref().map(|exporter| exporter.traces.clone())
    }

    /// Exports traces, and never returns. If the task ends by a fault in the program, the delivery goes on without traces.
    pub(super) async fn run(&self) {
        match self.0.clone() {
            Some(exporter) => run_apart(|| exporter.run(), LOSS).await,
            None => std::future::pending().await,
        }
    }
}

/// The log line after a fault in the program.
const LOSS: &str = "the task that exports traces failed; the bridge exports no more traces";

impl Exporter {
    async fn run(self: Arc<Self>) {
        tokio::join!(self.read_secret(), self.export_all());
    }

    /// Reads the file of the secret repeatedly, and never returns.
    async fn read_secret(&self) {
        let Some(secret) = &self.secret else { return };
        let files = [Arc::clone(secret)];
        loop {
            self.rereads.next().await;
            // Each request takes the secret in use.
            let _is_changed = self.rereads.read_secrets(SecretKind::Trace, &files).await;
        }
    }

    /// Sends the spans, and never returns.
    async fn export_all(&self) {
        let http = HttpClient::with_tls(&self.tls);
        let mut progress = ExportProgress {
            wait: EXPORT_EVERY,
            failures: 0,
            unsent: None,
        };
        loop {
            self.rereads.clock().sleep(progress.wait).await;
            let Some(batch) = progress.unsent.take().or_else(|| self.batch()) else {
                progress.wait = EXPORT_EVERY;
                continue;
            };
            let sent = self.send(&http, &batch).await;
            self.report(&sent, progress.failures);
            match sent {
                Ok(rejected) => self.sent(&mut progress, &batch, rejected),
                Err(error) => self.failed(&mut progress, batch, &error),
            }
        }
    }

    /// Records that the collector has the spans, except those that it has refused.
    fn sent(&self, progress: &mut ExportProgress, batch: &Batch, rejected: usize) {
        self.metrics.exported(batch.spans.saturating_sub(rejected));
        self.metrics.failed(rejected.min(batch.spans));
        progress.failures = 0;
        progress.wait = match batch.spans < BATCH_MAX {
            true => EXPORT_EVERY,
            false => Duration::ZERO,
        };
    }

    /// Records a failed request. The wait grows with each failure in a row, also for the next spans: a broken collector gets
    /// one request in some seconds.
    fn failed(&self, progress: &mut ExportProgress, mut batch: Batch, error: &ExportError) {
        progress.failures = progress.failures.saturating_add(1);
        let backoff = BACKOFF.delay(progress.failures, random::jitter());
        progress.wait = error.wait().unwrap_or_default().max(backoff);
        batch.attempts = batch.attempts.saturating_add(1);
        if error.is_temporary() && batch.attempts < ATTEMPTS_MAX {
            progress.unsent = Some(batch);
        } else {
            self.metrics.failed(batch.spans);
        }
    }

    /// Takes the next spans.
    fn batch(&self) -> Option<Batch> {
        let spans = self.traces.take();
        (!spans.is_empty()).then(|| Batch {
            body: body(&self.process, &spans),
            spans: spans.len(),
            attempts: 0,
        })
    }

    /// Logs the first failure of several in a row, and the end of the failures.
    fn report(&self, sent: &Result<usize, ExportError>, failures: u32) {
        let host = self.settings.endpoint.host();
        match sent {
            Err(error) if failures == 0 => tracing::warn!(
                host,
                %error,
                "cannot export traces; the delivery goes on, and spans are missing if this lasts"
            ),
            Ok(_) if failures > 0 => tracing::info!(host, "exports traces again"),
            Ok(_) | Err(_) => {}
        }
    }

    /// Sends some spans. Returns the number of spans that the collector has refused.
    async fn send(&self, http: &HttpClient, batch: &Batch) -> Result<usize, ExportError> {
        let json = HeaderValue::from_static("application/json");
        let url = self.settings.endpoint.expose();
        let mut head = http
            .request(Method::POST, &url)
            .header(header::CONTENT_TYPE, json);
        if let Some((settings, file)) = self.settings.secret.as_ref().zip(self.secret.as_ref()) {
            let secret = file.secret().ok_or(ExportError::NoSecret)?;
            head = head
                .secret(settings.name.clone(), &settings.value(&secret))
                .map_err(ExportError::Secret)?;
        }
        let response = head.send(batch.body.clone(), LIMITS).await;
        let response = response.map_err(ExportError::Exchange)?;
        if response.status.is_success() {
            return Ok(rejected_spans(response.body.as_deref().unwrap_or_default()));
        }
        let wall = self.rereads.clock().wall();
        Err(ExportError::Status {
            status: response.status,
            wait: retry_after::parse(&response.retry_after, wall),
        })
    }
}

impl ExportError {
    /// Returns whether the same spans can succeed later. The specification of OTLP lists these four statuses.
    fn is_temporary(&self) -> bool {
        match self {
            Self::NoSecret | Self::Exchange(_) => true,
            Self::Secret(_) => false,
            Self::Status { status, .. } => [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]
            .contains(status),
        }
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => wait.map(|wait| wait.min(WAIT_MAX)),
            Self::NoSecret | Self::Secret(_) | Self::Exchange(_) => None,
        }
    }
}

/// Returns the number of spans that the collector has refused, according to its answer. Another answer means none.
fn rejected_spans(answer: &[u8]) -> usize {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        partial_success: Option<PartialSuccess>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PartialSuccess {
        rejected_spans: serde_json::Value,
    }
    let answer: Option<Answer> = serde_json::from_slice(answer).ok();
    let rejected = answer.and_then(|answer| Some(answer.partial_success?.rejected_spans));
    let rejected = rejected.unwrap_or_default();
    // In JSON, an integer of 64 bits is a text, but a receiver must take a number too.
    let text = rejected.as_str().map(str::to_owned);
    let text = text.unwrap_or_else(|| rejected.to_string());
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_can_refuse_some_spans() {
        for (answer, rejected) in [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess": {}}"#, 0),
            (r#"{"partialSuccess": null}"#, 0),
            (
                r#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "x"}}"#,
                3,
            ),
            (r#"{"partialSuccess": {"rejectedSpans": 2}}"#, 2),
            (r#"{"partialSuccess": {"rejectedSpans": -2}}"#, 0),
            ("no JSON", 0),
        ] {
            assert_eq!(rejected_spans(answer.as_bytes()), rejected, "{answer}");
        }
    }
}
