//! The API key of Imprint. The bridge reads the key file at the start and every few seconds, because operators rotate
//! the key while the process runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use secrecy::{ExposeSecret as _, SecretString};

use super::reread::{Rereads, read_new};
use crate::config::{ImprintSettings, secret};
use crate::dispatch::destination::Destination;
use crate::imprint::client::{Credential, KeyChange};

/// The file with the API key, and the credential that requests to Imprint use.
pub(super) struct KeyFile {
    file: PathBuf,
    /// The API key in use.
    present: SecretString,
    credential: Arc<Credential>,
    destination: Arc<Destination>,
    rereads: Rereads,
}

impl KeyFile {
    /// Reads the API key, and the merchant key if one is configured.
    pub(super) fn read(
        settings: &ImprintSettings,
        destination: Arc<Destination>,
        rereads: Rereads,
    ) -> anyhow::Result<Self> {
        let file = settings
            .key_file
            .clone()
            .context("imprint.key_file is required")?;
        let read = |file: &PathBuf| -> anyhow::Result<SecretString> {
            secret::read(file).map_err(|reason| anyhow!(reason))
        };
        let merchant_key = settings.merchant_key_file.as_ref().map(read).transpose()?;
        let present = read(&file)?;
        let credential = Credential::new(settings.scheme, &present, merchant_key.as_ref())?;
        Ok(Self {
            file,
            present,
            credential: Arc::new(credential),
            destination,
            rereads,
        })
    }

    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Reads the key file repeatedly, and never returns. Requests use a new API key at once, and a destination that
    /// rejected the old key gets a probe at once.
    pub(super) async fn watch(&mut self) {
        loop {
            self.rereads.next().await;
            if let Err(reason) = self.read_again().await {
                tracing::warn!(reason, "cannot read the API key; the old key stays in use");
            }
        }
    }

    async fn read_again(&mut self) -> Result<(), String> {
        let is_same =
            |one: &SecretString, other: &SecretString| one.expose_secret() == other.expose_secret();
        let read = || secret::read(&self.file);
        let new = read_new(read, |read| is_same(read, &self.present), is_same).await?;
        let Some(new) = new else { return Ok(()) };
        let replaced = self.credential.replace(&new);
        if replaced.map_err(|error| error.to_string())? == KeyChange::Changed {
            tracing::info!("API key changed");
            self.destination.probe_now(self.rereads.moment());
        }
        self.present = new;
        Ok(())
    }
}
