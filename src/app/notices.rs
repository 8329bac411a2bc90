//! The task that sends the notices to the webhook of the operators.
//!
//! The room `notices` decides which notices there are. This task gives it the values of the metrics, and sends one notice
//! after the other. It shares nothing with the delivery: a receiver that is slow, broken or gone delays only notices.
//!
//! Without a webhook, the task only decides which sources are silent and which fields have drifted: the console shows both.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rustls::ClientConfig;

use super::held_secret::LossRule;
use super::local_task::run_apart;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use super::setting_files::roots;
use crate::config::notices::check_secret;
use crate::config::{Config, NoticeSettings};
use crate::http::client::{ExchangeError, ExchangeLimits, HttpClient};
use crate::http::egress::tls;
use crate::http::{HeaderName, HeaderValue, Method, header};
use crate::ingress::auth::SigningKey;
use crate::metrics::{Metrics, NoticeMetrics, SecretKind};
use crate::notices::{EarlierEvents, LOOK_EVERY, Notice, Notices, SourceWatch, is_watched};
use crate::ops::Figures;
use crate::random;
use crate::time::Clock;

/// The limits of one attempt. Only the status of an answer counts.
const LIMITS: ExchangeLimits = ExchangeLimits {
    deadline: Duration::from_secs(10),
    body_bytes_max: 64 * 1024,
};

/// The task that looks at the values, and sends notices if a webhook is configured.
pub(super) struct NoticeTask {
    sender: Option<Arc<NoticeSender>>,
    sources: Arc<WatchedSources>,
}

/// Everything that looks at the values of the sources, if no webhook is configured.
struct WatchedSources {
    figures: Figures,
    clock: Clock,
    earlier: Vec<EarlierEvents>,
}

/// Everything that sends notices. The HTTP client is not here, because it cannot move between threads.
struct NoticeSender {
    instance: String,
    settings: NoticeSettings,
    secret: Arc<SecretFile>,
    tls: Arc<ClientConfig>,
    figures: Figures,
    metrics: NoticeMetrics,
    rereads: Rereads,
    earlier: Vec<EarlierEvents>,
}

/// The reason why the receiver does not have a notice. The text never has a part of the URL.
#[derive(Debug, thiserror::Error)]
enum NoticeError {
    #[error("the file of the secret has no usable secret")]
    NoSecret,
    #[error(transparent)]
    Exchange(ExchangeError),
    #[error("the receiver answered with the status {0}")]
    Status(u16),
}

impl NoticeTask {
    /// Reads the secret and the root certificates, if a webhook is configured. `earlier` are the events before the start.
    pub(super) fn open(
        config: &Config,
        figures: &Figures,
        (metrics, earlier): (&Metrics, Vec<EarlierEvents>),
        rereads: &Rereads,
    ) -> anyhow::Result<Self> {
        let sender = Self::sender(config, figures, (metrics, earlier.clone()), rereads)?;
        Ok(Self {
            sender: sender.map(Arc::new),
            sources: Arc::new(WatchedSources {
                figures: figures.clone(),
                clock: rereads.clock().clone(),
                earlier,
            }),
        })
    }

    fn sender(
        config: &Config,
        figures: &Figures,
        (metrics, earlier): (&Metrics, Vec<EarlierEvents>),
        rereads: &Rereads,
    ) -> anyhow::Result<Option<NoticeSender>> {
        let Some(settings) = config.notices.clone() else {
            return Ok(None);
        };
        let place = SecretPlace {
            owner: "notices.secret_file".to_owned(),
            path: settings.secret_file.clone(),
            form: SecretForm::Line,
            profile: config.profile,
            // Without the secret, the operators would get no notice about its loss.
            rule: LossRule::Keep,
            check: Arc::new(check_secret),
        };
        let secret = SecretFile::open(place, rereads.moment());
        if let Some(flaw) = secret.flaw() {
            return Err(anyhow!("notices.secret_file: {}", flaw.text()));
        }
        let roots = roots(("notices.ca_file", settings.ca_file.as_deref()))?;
        Ok(Some(NoticeSender {
            tls: tls(roots.map(Arc::new), None)?,
            instance: config.instance.clone(),
            settings,
            secret,
            figures: figures.clone(),
            metrics: metrics.notices.clone(),
            rereads: rereads.clone(),
            earlier,
        }))
    }

    /// Sends notices, and never returns. If the task ends by a fault in the program, the delivery goes on without notices.
    pub(super) async fn run(&self) {
        match self.sender.clone() {
            Some(sender) => run_apart(|| sender.run(), LOSS).await,
            None => self.sources.watch().await,
        }
    }
}

impl WatchedSources {
    /// Looks at the values of the sources, and never returns.
    async fn watch(&self) {
        let mut watch = SourceWatch::new(self.clock.now());
        watch.count_earlier(self.earlier.clone());
        loop {
            watch.look(self.figures.source_samples(), self.clock.now());
            self.figures.show_findings(watch.findings());
            self.clock.sleep(LOOK_EVERY).await;
        }
    }
}

/// The log line after a fault in the program.
const LOSS: &str = "the task that sends notices failed; the bridge sends no more notices";

impl NoticeSender {
    async fn run(self: Arc<Self>) {
        tokio::join!(self.read_secret(), self.send_all());
    }

    /// Reads the file of the secret repeatedly, and never returns.
    async fn read_secret(&self) {
        let files = [Arc::clone(&self.secret)];
        loop {
            self.rereads.next().await;
            // Each attempt takes the secret in use.
            let _is_changed = self.rereads.read_secrets(SecretKind::Notice, &files).await;
        }
    }

    /// Looks at the values and sends each notice that is due, and never returns.
    async fn send_all(&self) {
        let http = HttpClient::with_tls(&self.tls);
        let clock = self.rereads.clock();
        let mut notices = Notices::new(self.instance.clone(), clock.now());
        notices.count_earlier(self.earlier.clone());
        let mut look_at = clock.now();
        let mut is_failing = false;
        loop {
            let now = clock.now();
            if now >= look_at {
                notices.look(self.figures.samples(is_watched).await, now);
                self.figures.show_findings(notices.findings());
                look_at = now.after(LOOK_EVERY);
            }
            let Some(notice) = notices.due(now).cloned() else {
                let next = notices.next_attempt().map_or(look_at, |at| at.min(look_at));
                clock.sleep_until(next).await;
                continue;
            };
            let sent = self.send(&http, &notice).await;
            self.settle(&mut notices, &notice, &sent, &mut is_failing);
        }
    }

    /// Records the result of an attempt. The log has the first failure of several in a row.
    fn settle(
        &self,
        notices: &mut Notices,
        notice: &Notice,
        sent: &Result<(), NoticeError>,
        is_failing: &mut bool,
    ) {
        let (name, host) = (notice.name(), self.settings.url.host());
        let Err(error) = sent else {
            self.metrics.sent();
            notices.sent(notice.id());
            tracing::info!(notice = name, "sent a notice");
            *is_failing = false;
            return;
        };
        if !std::mem::replace(is_failing, true) {
            tracing::warn!(notice = name, host, %error, "cannot send a notice; the bridge tries again");
        }
        let now = self.rereads.moment();
        if notices.failed(notice.id(), now, random::jitter()) {
            self.metrics.failed();
            tracing::error!(notice = name, host, %error, "gave up a notice after its last attempt");
        }
    }

    async fn send(&self, http: &HttpClient, notice: &Notice) -> Result<(), NoticeError> {
        let key = self.secret.secret().ok_or(NoticeError::NoSecret)?;
        let key = SigningKey::parse(&key).map_err(|_flaw| NoticeError::NoSecret)?;
        let signed_at = self.rereads.clock().wall();
        let url = self.settings.url.expose();
        let json = HeaderValue::from_static("application/json");
        let mut head = http
            .request(Method::POST, &url)
            .header(header::CONTENT_TYPE, json);
        for (name, value) in key.sign(notice.id(), signed_at, notice.body()) {
            let name = HeaderName::from_static(name);
            let text = head.text(name, &value);
            head = text.map_err(|_invalid| NoticeError::NoSecret)?;
        }
        let response = head.send(notice.body().to_vec(), LIMITS).await;
        let status = response.map_err(NoticeError::Exchange)?.status;
        match status.is_success() {
            true => Ok(()),
            false => Err(NoticeError::Status(status.as_u16())),
        }
    }
}
