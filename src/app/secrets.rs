//! The secrets with which sources authenticate. The bridge reads the secret files at the start and every few seconds,
//! because operators rotate the secrets while the process runs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;
use secrecy::{ExposeSecret as _, SecretString};

use super::reread::{Rereads, read_new};
use super::sources::RunningSources;
use super::weakening::report_secrets;
use crate::config::{Config, secret, sources};
use crate::ingress::auth::hmac::HmacKeys;
use crate::ingress::auth::{self, Verifier};
use crate::ingress::{Endpoint, Replaceable};
use crate::metrics::WeakenedMetrics;

/// The loaded secrets of one source, and the verifier that uses these secrets.
pub(super) struct LoadedAuth {
    pub(super) secrets: Vec<SecretString>,
    pub(super) verifier: Verifier,
}

/// The flaw of a secret file. The text names the file, and never repeats its content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretFileError {
    /// The file does not exist.
    Missing(String),
    /// The file cannot be read, or its content is no secret for the source's kind of authentication.
    Unusable(String),
}

impl SecretFileError {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Missing(text) | Self::Unusable(text) => text,
        }
    }
}

impl LoadedAuth {
    /// Reads the secret files of a source.
    pub(super) fn of(auth: &sources::Auth) -> anyhow::Result<Self> {
        let (secrets, errors) = read(auth);
        if !errors.is_empty() {
            let errors: Vec<_> = errors.iter().map(SecretFileError::text).collect();
            return Err(anyhow!(errors.join("; ")));
        }
        let verifier = verifier(auth, &secrets)?;
        Ok(Self { secrets, verifier })
    }
}

/// Reads the secret files of a source, and returns the errors of all files.
pub(crate) fn secret_file_errors(auth: &sources::Auth) -> Vec<SecretFileError> {
    read(auth).1
}

/// Reads the secret files of a source. Returns the usable secrets, and the errors of the other files.
fn read(auth: &sources::Auth) -> (Vec<SecretString>, Vec<SecretFileError>) {
    let mut secrets = Vec::new();
    let mut errors = Vec::new();
    let paths = auth.files().map(|files| files.paths.as_slice());
    for path in paths.unwrap_or_default() {
        match read_one(auth, path) {
            Ok(secret) => secrets.push(secret),
            Err(error) => errors.push(error),
        }
    }
    (secrets, errors)
}

fn read_one(auth: &sources::Auth, path: &Path) -> Result<SecretString, SecretFileError> {
    let secret = secret::read(path).map_err(|reason| match path.try_exists() {
        Ok(false) => SecretFileError::Missing(reason),
        Ok(true) | Err(_) => SecretFileError::Unusable(reason),
    })?;
    // The verifier of this one secret finds the flaws of the secret.
    match verifier(auth, std::slice::from_ref(&secret)) {
        Ok(_) => Ok(secret),
        Err(auth::Error::Secret { flaw, .. }) => {
            let text = format!("{} {flaw}", path.display());
            Err(SecretFileError::Unusable(text))
        }
        Err(error @ auth::Error::NoSecret) => Err(SecretFileError::Unusable(error.to_string())),
    }
}

/// Creates the verifier of a source with these secrets.
fn verifier(auth: &sources::Auth, secrets: &[SecretString]) -> Result<Verifier, auth::Error> {
    match auth {
        sources::Auth::None => Ok(Verifier::none()),
        sources::Auth::Token(scheme, files) => {
            Verifier::token(scheme.clone(), secrets, files.minimum)
        }
        sources::Auth::StandardWebhooks(files) => {
            Verifier::standard_webhooks(secrets, files.minimum)
        }
        sources::Auth::Hmac(scheme, files) => {
            HmacKeys::new(scheme.as_ref().clone(), secrets, files.minimum).map(Verifier::hmac)
        }
    }
}

/// A task that repeatedly reads the secret files of all sources. The task compares them with the secrets in use.
pub(super) struct SecretsWatch {
    /// The sources in use. The bridge replaces them when the files of the sources change.
    sources: Arc<Replaceable<Vec<WatchedSource>>>,
    rereads: Rereads,
    config: Config,
    weakened: WeakenedMetrics,
}

/// A source in use, with the secrets in use.
pub(super) struct WatchedSource {
    auth: sources::Auth,
    endpoint: Arc<Endpoint>,
    /// Each use locks the secrets only to copy or to replace them, and never across an await.
    present: Mutex<Vec<SecretString>>,
    /// True if the last read of the secret files failed. The bridge logs only the first of several failures in a row.
    is_unreadable: AtomicBool,
}

impl SecretsWatch {
    /// Watches the secret files, and shows in the metrics from now on whether one of them is exposed.
    pub(super) fn new(running: &RunningSources, rereads: Rereads, config: Config) -> Self {
        let watch = Self {
            sources: running.secrets(),
            rereads,
            config,
            weakened: running.weakened(),
        };
        watch.report_exposure();
        watch
    }

    pub(super) fn rereads(&self) -> Rereads {
        self.rereads.clone()
    }

    /// Shows in the metrics whether every user of the machine can read or write a secret file.
    fn report_exposure(&self) {
        let sources = self.sources.current();
        let auths: Vec<_> = sources.iter().map(|source| &source.auth).collect();
        report_secrets(&self.weakened, &self.config, &auths);
    }

    /// Reads the secret files of all sources repeatedly, and never returns. The event listener uses new secrets for all
    /// later requests.
    pub(super) async fn watch(&self) {
        loop {
            self.rereads.next().await;
            self.report_exposure();
            let sources = self.sources.current();
            for source in sources.iter().filter(|source| source.has_secrets()) {
                source.read_again().await;
            }
        }
    }
}

impl WatchedSource {
    pub(super) const fn new(
        auth: sources::Auth,
        secrets: Vec<SecretString>,
        endpoint: Arc<Endpoint>,
    ) -> Self {
        Self {
            auth,
            endpoint,
            present: Mutex::new(secrets),
            is_unreadable: AtomicBool::new(false),
        }
    }

    fn has_secrets(&self) -> bool {
        !self.present().is_empty()
    }

    fn present(&self) -> MutexGuard<'_, Vec<SecretString>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_again(&self) {
        let source = self.endpoint.source.name.as_str();
        let present = self.present().clone();
        let new = read_new(
            || LoadedAuth::of(&self.auth),
            |loaded| is_same(&loaded.secrets, &present),
            |one, other| is_same(&one.secrets, &other.secrets),
        );
        match new.await {
            Ok(None) => self.is_unreadable.store(false, Ordering::Relaxed),
            Ok(Some(loaded)) => {
                self.endpoint.verifier.replace(loaded.verifier);
                *self.present() = loaded.secrets;
                self.is_unreadable.store(false, Ordering::Relaxed);
                tracing::info!(source, "secrets of the source changed");
            }
            Err(error) => {
                if !self.is_unreadable.swap(true, Ordering::Relaxed) {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        source,
                        error,
                        "cannot read the secrets of the source; the previous secrets stay in use"
                    );
                }
            }
        }
    }
}

fn is_same(some: &[SecretString], others: &[SecretString]) -> bool {
    let same =
        |(one, other): (&SecretString, &SecretString)| one.expose_secret() == other.expose_secret();
    some.len() == others.len() && some.iter().zip(others).all(same)
}
