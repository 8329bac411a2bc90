//! The secrets with which sources authenticate. The bridge reads the secret files at the start and every few seconds,
//! because operators rotate the secrets while the process runs.

use std::path::PathBuf;

use anyhow::anyhow;
use secrecy::{ExposeSecret as _, SecretString};

use super::reread::{Rereads, read_new};
use crate::config::{secret, sources};
use crate::event::SourceName;
use crate::ingress::Endpoints;
use crate::ingress::auth::Verifier;
use crate::ingress::auth::hmac::HmacKeys;

/// The loaded secrets of one source, and the verifier that uses these secrets.
pub(super) struct LoadedAuth {
    pub(super) secrets: Vec<SecretString>,
    pub(super) verifier: Verifier,
}

impl LoadedAuth {
    /// Reads the secret files of a source.
    pub(super) fn of(auth: &sources::Auth) -> anyhow::Result<Self> {
        let read = |files: &[PathBuf]| -> anyhow::Result<Vec<SecretString>> {
            let secrets = files.iter().map(|file| secret::read(file));
            let secrets: Result<_, _> = secrets.collect();
            secrets.map_err(|reason| anyhow!(reason))
        };
        let (secrets, verifier) = match auth {
            sources::Auth::None => return Ok(Self::nothing()),
            sources::Auth::Bearer(files) => {
                let secrets = read(files)?;
                let verifier = Verifier::bearer(&secrets)?;
                (secrets, verifier)
            }
            sources::Auth::StandardWebhooks(files) => {
                let secrets = read(files)?;
                let verifier = Verifier::standard_webhooks(&secrets)?;
                (secrets, verifier)
            }
            sources::Auth::Hmac(scheme, files) => {
                let secrets = read(files)?;
                let keys = HmacKeys::new(scheme.as_ref().clone(), &secrets)?;
                (secrets, Verifier::hmac(keys))
            }
        };
        Ok(Self { secrets, verifier })
    }

    const fn nothing() -> Self {
        Self {
            secrets: Vec::new(),
            verifier: Verifier::none(),
        }
    }
}

/// A task that repeatedly reads the secret files of all sources. The task compares them with the secrets in use.
pub(super) struct SecretsWatch {
    endpoints: Endpoints,
    sources: Vec<WatchedSource>,
    rereads: Rereads,
}

struct WatchedSource {
    name: SourceName,
    auth: sources::Auth,
    secrets: Vec<SecretString>,
    /// True if the last read of the secret files failed. The bridge logs only the first of several failures in a row.
    is_unreadable: bool,
}

impl SecretsWatch {
    pub(super) fn new(
        endpoints: Endpoints,
        sources: Vec<(SourceName, sources::Auth, Vec<SecretString>)>,
        rereads: Rereads,
    ) -> Self {
        let sources = sources
            .into_iter()
            .map(|(name, auth, secrets)| WatchedSource {
                name,
                auth,
                secrets,
                is_unreadable: false,
            });
        let with_secrets = sources.filter(|source| !source.secrets.is_empty());
        Self {
            endpoints,
            sources: with_secrets.collect(),
            rereads,
        }
    }

    pub(super) fn rereads(&self) -> Rereads {
        self.rereads.clone()
    }

    /// Reads the secret files of all sources repeatedly, and never returns. The event listener uses new secrets for all
    /// later requests.
    pub(super) async fn watch(&mut self) {
        loop {
            self.rereads.next().await;
            for source in &mut self.sources {
                source.read_again(&self.endpoints).await;
            }
        }
    }
}

impl WatchedSource {
    async fn read_again(&mut self, endpoints: &Endpoints) {
        let source = self.name.as_str();
        let new = read_new(
            || LoadedAuth::of(&self.auth),
            |loaded| is_same(&loaded.secrets, &self.secrets),
            |one, other| is_same(&one.secrets, &other.secrets),
        );
        match new.await {
            Ok(None) => self.is_unreadable = false,
            Ok(Some(loaded)) => {
                if let Some(endpoint) = endpoints.get(&self.name) {
                    endpoint.verifier.replace(loaded.verifier);
                }
                self.secrets = loaded.secrets;
                self.is_unreadable = false;
                tracing::info!(source, "secrets of the source changed");
            }
            Err(error) if !self.is_unreadable => {
                self.is_unreadable = true;
                let error = format!("{error:#}");
                tracing::warn!(
                    source,
                    error,
                    "cannot read the secrets of the source; the previous secrets stay in use"
                );
            }
            Err(_logged_before) => {}
        }
    }
}

fn is_same(some: &[SecretString], others: &[SecretString]) -> bool {
    let same =
        |(one, other): (&SecretString, &SecretString)| one.expose_secret() == other.expose_secret();
    some.len() == others.len() && some.iter().zip(others).all(same)
}
