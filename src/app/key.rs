//! The keys for requests to Imprint: the API key, and if they are configured, the older API key of a rotation and the
//! merchant key.
//!
//! The bridge reads the key files at the start and every few seconds, because operators rotate the keys while the
//! process runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::reread::{Rereads, read_new};
use crate::config::{ImprintSettings, secret};
use crate::dispatch::destination::Destination;
use crate::imprint::client::{ApiKeys, Credential, KeyChange};
use crate::outbox::KeyMark;
use crate::time::Timestamp;

/// The time after which the bridge tries a refused newer key again. Each try costs about one refused request.
const NEWER_KEY_AGAIN_AFTER: Duration = Duration::from_mins(5);

/// The key files, and the credential for requests to Imprint.
pub(super) struct KeyFiles {
    files: KeyPaths,
    /// The keys in the files.
    present: ImprintKeys,
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

/// The paths of the key files.
#[derive(Clone)]
pub(super) struct KeyPaths {
    api: PathBuf,
    previous: Option<PathBuf>,
    merchant: Option<PathBuf>,
}

impl KeyPaths {
    /// Returns the paths in the settings, or `None` if the settings have no API key.
    pub(super) fn of(settings: &ImprintSettings) -> Option<Self> {
        Some(Self {
            api: settings.key_file.clone()?,
            previous: settings.previous_key_file.clone(),
            merchant: settings.merchant_key_file.clone(),
        })
    }
}

pub(super) struct ImprintKeys {
    api: SecretString,
    previous: Option<SecretString>,
    merchant: Option<SecretString>,
}

impl ImprintKeys {
    pub(super) fn read(files: &KeyPaths) -> Result<Self, String> {
        let read = |file: &Option<PathBuf>| file.as_deref().map(secret::read).transpose();
        Ok(Self {
            api: secret::read(&files.api)?,
            previous: read(&files.previous)?,
            merchant: read(&files.merchant)?,
        })
    }

    pub(super) const fn as_keys(&self) -> ApiKeys<'_> {
        ApiKeys {
            newer: &self.api,
            older: self.previous.as_ref(),
            merchant: self.merchant.as_ref(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let text = |key: &SecretString| key.expose_secret().to_owned();
        let all = |keys: &Self| {
            let optional = [&keys.previous, &keys.merchant];
            (text(&keys.api), optional.map(|key| key.as_ref().map(text)))
        };
        all(self) == all(other)
    }
}

impl KeyFiles {
    /// Reads the API key, and the older key and the merchant key if they are configured.
    pub(super) fn read(
        settings: &ImprintSettings,
        destination: Arc<Destination>,
        rereads: Rereads,
    ) -> anyhow::Result<Self> {
        let files = KeyPaths::of(settings).context("imprint.key_file is required")?;
        let present = ImprintKeys::read(&files).map_err(anyhow::Error::msg)?;
        let credential = Credential::new(settings.scheme, present.as_keys())?;
        let imprint = settings.destination();
        Ok(Self {
            files,
            present,
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

    async fn look(&mut self) {
        if let Err(reason) = self.read_again().await {
            tracing::warn!(
                reason,
                "cannot read the keys of Imprint; the old keys stay in use"
            );
        }
        let now = self.rereads.moment();
        if self
            .older_since
            .is_some_and(|since| since.after(NEWER_KEY_AGAIN_AFTER) <= now)
        {
            self.credential.retry_newer();
        }
    }

    async fn read_again(&mut self) -> Result<(), String> {
        let read = || ImprintKeys::read(&self.files);
        let is_present = |read: &ImprintKeys| read.is_same(&self.present);
        let Some(new) = read_new(read, is_present, ImprintKeys::is_same).await? else {
            return Ok(());
        };
        let replaced = self.credential.replace(new.as_keys());
        if replaced.map_err(|error| error.to_string())? == KeyChange::Changed {
            tracing::info!("the API key or the merchant key changed");
        }
        self.present = new;
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
