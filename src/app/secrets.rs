//! The secrets with which sources authenticate. The bridge reads the secret files at the start and every few seconds,
//! because operators rotate the secrets while the process runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use tokio::time::timeout;

use super::held_secret::{LossRule, SecretFileError, SecretRead};
use super::one_look::OneLook;
use super::reread::Rereads;
use super::secret_file::{CheckSecret, SecretFile, SecretForm, SecretPlace, flaw};
use super::secret_reads::READ_DEADLINE;
use super::sources::RunningSources;
use super::weakening::report_secrets;
use crate::config::{Config, Profile, secret, sources};
use crate::ingress::auth::{self, Verifier};
use crate::ingress::{Endpoint, Replaceable};
use crate::metrics::{SecretKind, WeakenedMetrics};
use crate::ops::operate::SecretFileView;
use crate::time::Timestamp;

/// The secret files of one source, and the verifier that uses their secrets.
pub(super) struct LoadedAuth {
    pub(super) files: Vec<Arc<SecretFile>>,
    pub(super) verifier: Verifier,
}

impl LoadedAuth {
    /// Reads the secret files of a source. A file that `earlier` contains keeps its state.
    ///
    /// # Errors
    /// Returns the flaws of the files.
    pub(super) fn of(
        settings: &sources::SourceSettings,
        profile: Profile,
        earlier: Option<&WatchedSource>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let open = |path: &PathBuf| {
            let place = SecretPlace {
                owner: format!("source {}", settings.source.name),
                path: path.clone(),
                form: SecretForm::Line,
                profile,
                rule: LossRule::EndAfterGrace,
                check: check(&settings.auth),
            };
            match earlier.and_then(|earlier| earlier.file(path)) {
                Some(earlier) => (SecretFile::open_again(place, earlier, now), None),
                None => {
                    let file = SecretFile::open(place, now);
                    let flaw = file.flaw();
                    (file, flaw)
                }
            }
        };
        let opened = paths(&settings.auth).iter().map(open);
        let (files, flaws): (Vec<_>, Vec<_>) = opened.unzip();
        let flaws: Vec<_> = flaws.iter().flatten().map(SecretFileError::text).collect();
        if !flaws.is_empty() {
            return Err(flaws.join("; "));
        }
        let present = earlier.map(|earlier| earlier.endpoint.verifier.current());
        let verifier = verifier_of(&settings.auth, &files, present.as_deref());
        Ok(Self { files, verifier })
    }
}

/// Reads the secret files of a source, and returns the errors of all files.
pub(crate) fn secret_file_errors(auth: &sources::Auth) -> Vec<SecretFileError> {
    let read = |path: &PathBuf| -> SecretRead {
        let secret = secret::read(path).map_err(|reason| flaw(path, reason))?;
        let named = |flaw| SecretFileError::Unusable(format!("{} {flaw}", path.display()));
        check_one(auth, &secret).map_err(named)?;
        Ok(secret)
    };
    let paths = paths(auth).iter();
    paths.filter_map(|path| read(path).err()).collect()
}

fn paths(auth: &sources::Auth) -> &[PathBuf] {
    let paths = auth.files().map(|files| files.paths.as_slice());
    paths.unwrap_or_default()
}

fn check(auth: &sources::Auth) -> CheckSecret {
    let auth = auth.clone();
    Arc::new(move |secret| check_one(&auth, secret))
}

/// Checks one secret: a verifier with only this secret finds the flaws of the secret.
fn check_one(auth: &sources::Auth, secret: &SecretString) -> Result<(), String> {
    match auth.verifier(std::slice::from_ref(secret)) {
        Ok(_) => Ok(()),
        Err(auth::Error::Secret { flaw, .. }) => Err(flaw.to_string()),
        Err(error @ auth::Error::NoSecret) => Err(error.to_string()),
    }
}

/// Creates the verifier of a source with the secrets of these files that are in use. `present` is the verifier so far.
fn verifier_of(
    auth: &sources::Auth,
    files: &[Arc<SecretFile>],
    present: Option<&Verifier>,
) -> Verifier {
    let secrets: Vec<_> = files.iter().filter_map(|file| file.secret()).collect();
    // Each secret has passed its check, so an error means that all secrets have ended.
    auth.verifier(&secrets).unwrap_or_else(|_no_secret| {
        Verifier::revoked(present.map(Verifier::challenge).unwrap_or_default())
    })
}

/// A task that repeatedly reads the secret files of all sources.
pub(super) struct SecretsWatch {
    /// The sources in use. The bridge replaces them when the files of the sources change.
    sources: Arc<Replaceable<Vec<WatchedSource>>>,
    rereads: Rereads,
    config: Arc<Config>,
    weakened: WeakenedMetrics,
    exposure: OneLook,
}

/// A source in use, with its secret files.
pub(super) struct WatchedSource {
    auth: sources::Auth,
    endpoint: Arc<Endpoint>,
    files: Vec<Arc<SecretFile>>,
}

impl SecretsWatch {
    /// Watches the secret files, and shows in the metrics from now on whether one of them is exposed.
    pub(super) fn new(running: &RunningSources, rereads: Rereads, config: Config) -> Self {
        let watch = Self {
            sources: running.secrets(),
            rereads,
            config: Arc::new(config),
            weakened: running.weakened(),
            exposure: OneLook::default(),
        };
        watch.exposure_report()();
        watch
    }

    pub(super) fn rereads(&self) -> Rereads {
        self.rereads.clone()
    }

    /// Returns a function that shows in the metrics whether every user of the machine can read or write a secret file.
    fn exposure_report(&self) -> impl FnOnce() + Send + 'static + use<> {
        let sources = self.sources.current();
        let (config, weakened) = (Arc::clone(&self.config), self.weakened.clone());
        move || {
            let auths: Vec<_> = sources.iter().map(|source| &source.auth).collect();
            report_secrets(&weakened, &config, &auths);
        }
    }

    /// Reads the secret files of all sources repeatedly, and never returns. The event listener uses new secrets for all
    /// later requests.
    pub(super) async fn watch(&self) {
        loop {
            self.rereads.next().await;
            let report = self.exposure.run(self.exposure_report());
            // The next report comes soon, so the secrets do not wait for a disk that does not respond.
            let _report = timeout(READ_DEADLINE, report).await;
            self.read_again().await;
        }
    }

    async fn read_again(&self) {
        let sources = self.sources.current();
        let files = sources.iter().flat_map(|source| source.files.iter());
        let files: Vec<_> = files.map(Arc::clone).collect();
        if self.rereads.read_secrets(SecretKind::Source, &files).await {
            let with_files = sources.iter().filter(|source| !source.files.is_empty());
            with_files.for_each(WatchedSource::use_secrets);
        }
    }
}

impl WatchedSource {
    pub(super) const fn new(
        auth: sources::Auth,
        files: Vec<Arc<SecretFile>>,
        endpoint: Arc<Endpoint>,
    ) -> Self {
        Self {
            auth,
            endpoint,
            files,
        }
    }

    /// Returns whether the source has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.endpoint.source.name.as_str() == name
    }

    /// Describes the secret files for operators.
    pub(super) fn views(&self) -> Vec<SecretFileView> {
        self.files.iter().map(|file| file.view()).collect()
    }

    fn file(&self, path: &Path) -> Option<&SecretFile> {
        let file = self.files.iter().find(|file| file.path() == path);
        file.map(AsRef::as_ref)
    }

    fn use_secrets(&self) {
        let present = self.endpoint.verifier.current();
        let verifier = verifier_of(&self.auth, &self.files, Some(&present));
        self.endpoint.verifier.replace(verifier);
    }
}
