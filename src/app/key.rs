//! The keys for requests to Imprint: the API key, and the merchant key if one is configured.
//!
//! The bridge reads the key files at the start and every few seconds, because operators rotate the keys while the
//! process runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::reread::{Rereads, read_new};
use crate::config::{ImprintSettings, secret};
use crate::dispatch::destination::Destination;
use crate::imprint::client::{Credential, KeyChange};
use crate::outbox::KeyMark;

/// The key files, and the credential for requests to Imprint.
pub(super) struct KeyFiles {
    api_file: PathBuf,
    merchant_file: Option<PathBuf>,
    /// The keys in use.
    present: ImprintKeys,
    credential: Arc<Credential>,
    /// The configured environment and host of Imprint, as one text.
    imprint: String,
    destination: Arc<Destination>,
    rereads: Rereads,
}

pub(super) struct ImprintKeys {
    pub(super) api: SecretString,
    pub(super) merchant: Option<SecretString>,
}

impl ImprintKeys {
    pub(super) fn read(api_file: &Path, merchant_file: Option<&Path>) -> Result<Self, String> {
        let merchant = merchant_file.map(secret::read);
        Ok(Self {
            api: secret::read(api_file)?,
            merchant: merchant.transpose()?,
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        let merchant = |keys: &Self| {
            let merchant = keys.merchant.as_ref();
            merchant.map(|key| key.expose_secret().to_owned())
        };
        self.api.expose_secret() == other.api.expose_secret() && merchant(self) == merchant(other)
    }
}

impl KeyFiles {
    /// Reads the API key, and the merchant key if one is configured.
    pub(super) fn read(
        settings: &ImprintSettings,
        destination: Arc<Destination>,
        rereads: Rereads,
    ) -> anyhow::Result<Self> {
        let api_file = settings.key_file.clone();
        let api_file = api_file.context("imprint.key_file is required")?;
        let merchant_file = settings.merchant_key_file.clone();
        let present = ImprintKeys::read(&api_file, merchant_file.as_deref());
        let present = present.map_err(anyhow::Error::msg)?;
        let credential = Credential::new(settings.scheme, &present.api, present.merchant.as_ref())?;
        Ok(Self {
            api_file,
            merchant_file,
            present,
            credential: Arc::new(credential),
            imprint: settings.destination(),
            destination,
            rereads,
        })
    }

    /// Returns a short hash of the API key and of the configured host of Imprint. The store uses the hash to recognise
    /// the key.
    pub(super) fn mark(&self) -> KeyMark {
        let mut hash = Sha256::new();
        hash.update(self.credential.fingerprint());
        hash.update(self.imprint.as_bytes());
        let hash = hash.finalize();
        KeyMark(
            hash.iter()
                .take(8)
                .fold(0, |mark, byte| (mark << 8) | u64::from(*byte)),
        )
    }

    pub(super) fn credential(&self) -> Arc<Credential> {
        Arc::clone(&self.credential)
    }

    /// Reads the key files repeatedly, and never returns. All later requests use a new key. If Imprint rejected the old
    /// key, the bridge tries the new key at once.
    pub(super) async fn watch(&mut self) {
        loop {
            self.rereads.next().await;
            if let Err(reason) = self.read_again().await {
                tracing::warn!(
                    reason,
                    "cannot read the keys of Imprint; the old keys stay in use"
                );
            }
        }
    }

    async fn read_again(&mut self) -> Result<(), String> {
        let read = || ImprintKeys::read(&self.api_file, self.merchant_file.as_deref());
        let is_present = |read: &ImprintKeys| read.is_same(&self.present);
        let Some(new) = read_new(read, is_present, ImprintKeys::is_same).await? else {
            return Ok(());
        };
        let replaced = self.credential.replace(&new.api, new.merchant.as_ref());
        if replaced.map_err(|error| error.to_string())? == KeyChange::Changed {
            tracing::info!("the API key or the merchant key changed");
            let now = self.rereads.moment();
            self.destination.key_changed(self.mark(), now);
        }
        self.present = new;
        Ok(())
    }
}
