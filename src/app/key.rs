//! The API key of Imprint. The bridge reads the key file at the start and every few seconds, because operators rotate
//! the key while the process runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use secrecy::SecretString;

use crate::config::{ImprintSettings, secret};
use crate::dispatch::destination::Destination;
use crate::imprint::client::{Credential, KeyChange};
use crate::time::Clock;

/// The time between two reads of a key file. The bridge does not watch the file, because Kubernetes replaces the
/// symbolic link of a mounted Secret, and a watch would stay on the old file.
pub(super) const READ_EVERY: Duration = Duration::from_secs(3);

/// The file with the API key, and the credential that requests to Imprint use.
pub(super) struct KeyFile {
    file: PathBuf,
    credential: Arc<Credential>,
    destination: Arc<Destination>,
    clock: Clock,
}

impl KeyFile {
    /// Reads the API key, and the merchant key if one is configured.
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

    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Reads the key file every [`READ_EVERY`], and never returns. Requests use a new API key at once, and a
    /// destination that rejected the old key gets a probe at once.
    pub(super) async fn watch(&self) {
        loop {
            self.clock.sleep(READ_EVERY).await;
            let read = secret::read(&self.file);
            match read.and_then(|key| {
                self.credential
                    .replace(&key)
                    .map_err(|error| error.to_string())
            }) {
                Ok(KeyChange::Unchanged) => {}
                Ok(KeyChange::Changed) => {
                    tracing::info!("API key changed");
                    self.destination.probe_now(self.clock.now());
                }
                Err(reason) => {
                    tracing::warn!(reason, "cannot read the API key; the old key stays in use");
                }
            }
        }
    }
}
