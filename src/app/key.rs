//! The keys for requests to Imprint: the API key, and if they are configured, the older API key of a rotation and the
//! merchant key.
//!
//! The bridge reads the key files at the start and every few seconds, because operators rotate the keys while the
//! process runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sha2::{Digest as _, Sha256};

use super::held_secret::LossRule;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use crate::config::Config;
use crate::dispatch::breaker::DestinationState;
use crate::dispatch::destination::Destination;
use crate::imprint::client::{ApiKeys, Credential, KeyChange};
use crate::metrics::SecretKind;
use crate::ops::operate::{SecretFileView, ShowKeyFiles};
use crate::outbox::KeyMark;
use crate::time::Timestamp;

/// The time after which the bridge tries a refused newer key again. Each try costs about one refused request.
const NEWER_KEY_AGAIN_AFTER: Duration = Duration::from_mins(5);
/// The time after which the bridge tries a refused newer key again if the destination is stopped: Imprint possibly
/// refuses the older key too. The time equals the interval between two probes of a stopped destination.
const NEWER_KEY_AGAIN_IF_STOPPED: Duration = Duration::from_secs(30);

/// The key files, and the credential for requests to Imprint.
pub(super) struct KeyFiles {
    files: KeySet,
    /// The key about which the destination knows.
    told: KeyMark,
    /// The time since which the older key is in use.
    older_since: Option<Timestamp>,
    credential: Arc<Credential>,
    /// The configured environment and host of Imprint, as one text.
    imprint: String,
    destination: Arc<Destination>,
    rereads: Rereads,
}

/// The files of the keys.
struct KeySet {
    api: Arc<SecretFile>,
    previous: Option<Arc<SecretFile>>,
    merchant: Option<Arc<SecretFile>>,
}

impl KeySet {
    /// Reads the files in the settings.
    fn open(config: &Config, now: Timestamp) -> anyhow::Result<Self> {
        let open = |setting: &str, path: &Path, rule| {
            let place = SecretPlace {
                owner: format!("imprint.{setting}"),
                path: path.to_owned(),
                form: SecretForm::Line,
                profile: config.profile,
                rule,
                // Every secret can be a key.
                check: Arc::new(|_key| Ok(())),
            };
            let file = SecretFile::open(place, now);
            match file.flaw() {
                None => Ok(file),
                Some(flaw) => Err(anyhow!("imprint.{setting}: {}", flaw.text())),
            }
        };
        let imprint = &config.imprint;
        let api = imprint.key_file.as_deref();
        let api = api.context("imprint.key_file is required")?;
        let previous = imprint.previous_key_file.as_deref();
        let previous =
            previous.map(|file| open("previous_key_file", file, LossRule::EndAfterGrace));
        let merchant = imprint.merchant_key_file.as_deref();
        let merchant = merchant.map(|file| open("merchant_key_file", file, LossRule::Keep));
        Ok(Self {
            // Without an API key, the bridge would send nothing. To end a key, end it at Imprint.
            api: open("key_file", api, LossRule::Keep)?,
            previous: previous.transpose()?,
            merchant: merchant.transpose()?,
        })
    }

    fn all(&self) -> Vec<Arc<SecretFile>> {
        let optional = [&self.previous, &self.merchant];
        let optional = optional.into_iter().flatten();
        [&self.api]
            .into_iter()
            .chain(optional)
            .map(Arc::clone)
            .collect()
    }

    /// Calls `take` with the keys in use.
    fn with_keys<T>(&self, take: impl FnOnce(ApiKeys<'_>) -> T) -> anyhow::Result<T> {
        let secret = |file: &Option<Arc<SecretFile>>| file.as_ref().and_then(|file| file.secret());
        let newer = self.api.secret().context("there is no API key")?;
        Ok(take(ApiKeys {
            newer: &newer,
            older: secret(&self.previous).as_ref(),
            merchant: secret(&self.merchant).as_ref(),
        }))
    }
}

impl KeyFiles {
    /// Reads the API key, and the older key and the merchant key if they are configured.
    pub(super) fn read(
        config: &Config,
        destination: Arc<Destination>,
        rereads: Rereads,
    ) -> anyhow::Result<Self> {
        let files = KeySet::open(config, rereads.moment())?;
        let scheme = config.imprint.scheme;
        let credential = files.with_keys(|keys| Credential::new(scheme, keys))??;
        let imprint = config.imprint.destination();
        Ok(Self {
            files,
            told: mark(&credential, &imprint),
            older_since: None,
            credential: Arc::new(credential),
            imprint,
            destination,
            rereads,
        })
    }

    /// Returns a short hash of the API key in use and of the configured host of Imprint. The store uses the hash to
    /// recognise the key.
    pub(super) fn mark(&self) -> KeyMark {
        mark(&self.credential, &self.imprint)
    }

    /// Returns a function that describes the key files for operators. Of two API keys, only one is in use.
    pub(super) fn show(&self) -> ShowKeyFiles {
        let (files, credential) = (self.files.all(), self.credential());
        let previous = self.files.previous.as_ref().map(Arc::clone);
        let newer = Arc::clone(&self.files.api);
        Box::new(move || {
            let unused = match credential.uses_older() {
                true => Some(&newer),
                false => previous.as_ref(),
            };
            let view = |file: &Arc<SecretFile>| {
                let view = file.view();
                let is_unused = unused.is_some_and(|unused| Arc::ptr_eq(unused, file));
                SecretFileView {
                    is_used: view.is_used && !is_unused,
                    ..view
                }
            };
            files.iter().map(view).collect()
        })
    }

    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Reads the key files repeatedly, and never returns. All later requests use a new key. If Imprint rejected the old
    /// key, the bridge tries the new key at once.
    pub(super) async fn watch(&mut self) {
        loop {
            tokio::select! {
                _ = self.rereads.next() => self.look().await,
                () = self.credential.chosen() => {}
            }
            self.tell();
        }
    }

    async fn look(&self) {
        let files = self.files.all();
        if self.rereads.read_secrets(SecretKind::Imprint, &files).await
            && let Err(error) = self.use_keys()
        {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "cannot use the keys of Imprint; the previous keys stay in use"
            );
        }
        let now = self.rereads.moment();
        let again_after = match self.destination.state() {
            DestinationState::Stopped(_) => NEWER_KEY_AGAIN_IF_STOPPED,
            DestinationState::Flowing { .. }
            | DestinationState::Probing(_)
            | DestinationState::Throttled { .. } => NEWER_KEY_AGAIN_AFTER,
        };
        if self
            .older_since
            .is_some_and(|since| since.after(again_after) <= now)
        {
            self.credential.retry_newer();
        }
    }

    fn use_keys(&self) -> anyhow::Result<()> {
        let replaced = self
            .files
            .with_keys(|keys| self.credential.replace(keys))??;
        if replaced == KeyChange::Changed {
            tracing::info!("the API key or the merchant key changed");
        }
        Ok(())
    }

    /// Tells the destination about another key in use, because the evidence of the earlier key counts no longer.
    fn tell(&mut self) {
        let (mark, now) = (self.mark(), self.rereads.moment());
        if mark != self.told {
            self.told = mark;
            self.destination.key_changed(mark, now);
        }
        match (self.credential.uses_older(), self.older_since) {
            (true, None) => {
                tracing::warn!(
                    "Imprint refuses the key in imprint.key_file; the bridge uses the key in imprint.previous_key_file"
                );
                self.older_since = Some(now);
            }
            (false, Some(_)) => {
                tracing::info!("the bridge uses the key in imprint.key_file");
                self.older_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
}

/// Returns a short hash of the API key in use and of the configured host of Imprint.
fn mark(credential: &Credential, imprint: &str) -> KeyMark {
    let mut hash = Sha256::new();
    hash.update(credential.fingerprint());
    hash.update(imprint.as_bytes());
    let hash = hash.finalize();
    KeyMark(
        hash.iter()
            .take(8)
            .fold(0, |mark, byte| (mark << 8) | u64::from(*byte)),
    )
}
