//! The API key: read from its file at the start, and again and again, because it is rotated while we run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use secrecy::SecretString;

use crate::config::{ImprintSettings, secret};
use crate::dispatch::destination::Destination;
use crate::imprint::client::{Credential, KeyChange};
use crate::time::Clock;

/// How often the file is read; a mounted Secret is a link that is swapped, and a watch on it would go blind.
pub(super) const READ_EVERY: Duration = Duration::from_secs(3);

/// The file with the key, and where its key is used.
pub(super) struct KeyFile {
    file: PathBuf,
    credential: Arc<Credential>,
    destination: Arc<Destination>,
    clock: Clock,
}

impl KeyFile {
    /// Reads the key, and the merchant key beside it where there is one.
    pub(super) fn read(
        settings: &ImprintSettings,
        destination: Arc<Destination>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let file = settings
            .key_file
            .clone()
            .context("imprint.key_file is required")?;
        let read = |file: &PathBuf| -> anyhow::Result<SecretString> {
            secret::read(file).map_err(|reason| anyhow!(reason))
        };
        let merchant_key = settings.merchant_key_file.as_ref().map(read).transpose()?;
        let credential = Credential::new(settings.scheme, &read(&file)?, merchant_key.as_ref())?;
        Ok(Self {
            file,
            credential: Arc::new(credential),
            destination,
            clock,
        })
    }

    /// The credential that shows the key.
    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Never ends: reads the key again and again, and has a destination that refused the old one tried at once when
    /// there is another.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(READ_EVERY).await;
            let read = secret::read(&self.file);
            match read.and_then(|key| {
                self.credential
                    .replace(&key)
                    .map_err(|error| error.to_string())
            }) {
                Ok(KeyChange::Unchanged) => {}
                Ok(KeyChange::Changed) => {
                    tracing::info!("the API key has changed");
                    self.destination.probe_now(self.clock.now());
                }
                Err(reason) => tracing::warn!(
                    reason,
                    "the API key cannot be read; the last one stays in use"
                ),
            }
        }
    }
}
