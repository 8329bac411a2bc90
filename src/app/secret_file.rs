//! A secret file that the bridge reads at its start and every few seconds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;

use super::client_certificate;
use super::held_secret::{HeldSecret, LossRule, SecretChange, SecretFileError, SecretRead};
use super::one_look::OneLook;
use crate::config::{ClientCertificateFiles, Profile, secret};
use crate::ops::operate::SecretFileView;
use crate::time::Timestamp;

/// A check of the content of a secret file. Returns the flaw of the content, without the content.
pub(super) type CheckSecret = Arc<dyn Fn(&SecretString) -> Result<(), String> + Send + Sync>;

/// The form of a secret file.
#[derive(Clone, Debug)]
pub(super) enum SecretForm {
    /// One line of visible ASCII.
    Line,
    /// A private key in the format PEM. The other file has the certificate of the key.
    Certificate(PathBuf),
}

/// A secret file and the rules for it.
#[derive(Clone)]
pub(super) struct SecretPlace {
    /// The setting, the source or the operator to which the file belongs. The log shows it.
    pub(super) owner: String,
    pub(super) path: PathBuf,
    pub(super) form: SecretForm,
    pub(super) profile: Profile,
    pub(super) rule: LossRule,
    pub(super) check: CheckSecret,
}

impl SecretPlace {
    /// Reads the file.
    pub(super) fn read(&self) -> SecretRead {
        let secret = match &self.form {
            SecretForm::Line => {
                secret::read(&self.path).map_err(|reason| flaw(&self.path, reason))?
            }
            SecretForm::Certificate(certificate) => {
                client_certificate::read(&ClientCertificateFiles {
                    certificate: certificate.clone(),
                    key: self.path.clone(),
                })?
            }
        };
        if let Some(reason) = secret::exposure(&self.path, Some(self.profile)) {
            return Err(SecretFileError::Unusable(reason));
        }
        let named = |flaw| SecretFileError::Unusable(format!("{} {flaw}", self.path.display()));
        (self.check)(&secret).map_err(named)?;
        Ok(secret)
    }
}

/// Returns the reason why a file cannot be read as the flaw of the file.
pub(super) fn flaw(path: &Path, reason: String) -> SecretFileError {
    match path.try_exists() {
        Ok(false) => SecretFileError::Missing(reason),
        Ok(true) | Err(_) => SecretFileError::Unusable(reason),
    }
}

/// A secret file, with the secret of it that is in use.
pub(super) struct SecretFile {
    place: SecretPlace,
    /// The time of the last change of the file, in seconds since the Unix epoch. 0 if it is not known.
    modified: AtomicI64,
    /// The time of the last read of a secret, in milliseconds since the Unix epoch. 0 before the first repeated read.
    read_at: AtomicI64,
    look: OneLook,
    /// Each use locks the secret only for one decision or to copy it, and never across an await.
    held: Mutex<HeldSecret>,
}

impl SecretFile {
    /// Reads the file.
    pub(super) fn open(place: SecretPlace, now: Timestamp) -> Arc<Self> {
        let held = HeldSecret::new(place.rule, place.read(), now);
        Self::with(place, held)
    }

    /// Returns the file without reading it. No secret of the file is in use.
    pub(super) fn unread(place: SecretPlace) -> Arc<Self> {
        let held = HeldSecret::unread(place.rule);
        Self::with(place, held)
    }

    /// Takes over the state of the same file from `earlier`, if its secret passes the check. Otherwise reads the file.
    ///
    /// The secret in use therefore changes only after two equal reads, and a file that has lost its secret since then
    /// does not delay a change of other files.
    pub(super) fn open_again(place: SecretPlace, earlier: &Self, now: Timestamp) -> Arc<Self> {
        let held = earlier.held().clone();
        let is_usable = |secret| (place.check)(secret).is_ok();
        if held.secret().is_none_or(is_usable) {
            Self::with(place, held)
        } else {
            Self::open(place, now)
        }
    }

    fn with(place: SecretPlace, held: HeldSecret) -> Arc<Self> {
        Arc::new(Self {
            place,
            modified: AtomicI64::new(0),
            read_at: AtomicI64::new(0),
            look: OneLook::default(),
            held: Mutex::new(held),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.place.path
    }

    pub(super) fn owner(&self) -> &str {
        &self.place.owner
    }

    /// Returns a copy of the secret in use.
    pub(super) fn secret(&self) -> Option<SecretString> {
        self.held().secret().cloned()
    }

    /// Returns the flaw of the file.
    pub(super) fn flaw(&self) -> Option<SecretFileError> {
        self.held().flaw().cloned()
    }

    /// Returns the time of the last change of the file, in seconds since the Unix epoch.
    pub(super) fn modified(&self) -> Option<i64> {
        let seconds = self.modified.load(Ordering::Relaxed);
        (seconds != 0).then_some(seconds)
    }

    /// Records that a read found a secret.
    pub(super) fn was_read(&self, now: Timestamp) {
        self.read_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Describes the file for operators.
    pub(super) fn view(&self) -> SecretFileView {
        let read = self.read_at.load(Ordering::Relaxed);
        let held = self.held();
        let modified = self.modified();
        SecretFileView {
            owner: self.owner().to_owned(),
            path: self.path().display().to_string(),
            modified: modified.map(|at| Timestamp::from_millis(at.saturating_mul(1000))),
            read: (read != 0).then(|| Timestamp::from_millis(read)),
            flaw: held.flaw().map(|flaw| flaw.text().to_owned()),
            is_used: held.secret().is_some(),
        }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HeldSecret> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file. Returns at once if another thread still reads it.
    pub(super) fn read(&self) -> SecretRead {
        let Some(_look) = self.look.begin() else {
            return Err(self.silence());
        };
        let modified = secret::modified(self.path());
        self.modified
            .store(modified.unwrap_or_default(), Ordering::Relaxed);
        self.place.read()
    }

    /// Returns the flaw of a file that does not respond.
    pub(super) fn silence(&self) -> SecretFileError {
        SecretFileError::Silent(format!("{} does not respond", self.path().display()))
    }

    /// Decides which secret is in use after two reads, and logs a change.
    pub(super) fn step(
        &self,
        first: &SecretRead,
        second: &SecretRead,
        now: Timestamp,
    ) -> SecretChange {
        let mut held = self.held();
        let change = held.step(first, second, now);
        let flaw = held.flaw().map(SecretFileError::text);
        let grace_seconds = held.grace().map(|grace| grace.as_secs());
        let (secret, file) = (self.owner(), self.path().display());
        match change {
            SecretChange::Unchanged => {}
            SecretChange::Replaced => tracing::info!(secret, %file, "a secret changed"),
            SecretChange::Recovered => {
                tracing::info!(secret, %file, "the bridge can use the secret file again");
            }
            SecretChange::Kept => tracing::warn!(
                secret,
                %file,
                flaw,
                grace_seconds,
                "cannot use a secret file; its previous secret stays in use"
            ),
            SecretChange::Refused => tracing::warn!(
                secret,
                %file,
                flaw,
                "cannot use a secret file, and no secret of the file is in use"
            ),
            SecretChange::Ended => tracing::warn!(
                secret,
                %file,
                flaw,
                "the secret of a file is no longer valid; if this is the end of the secret, remove the file from the settings"
            ),
        }
        change
    }
}

/// Prints the path, and never the secret.
impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretFile").field(&self.path()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    /// FAULTS N616: a secret file becomes readable for every user of the machine while the bridge runs.
    #[test]
    fn a_file_that_is_too_open_is_refused_with_the_profile_production() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "canary-token").unwrap();
        let place = |profile| SecretPlace {
            owner: "source crm".to_owned(),
            path: path.clone(),
            form: SecretForm::Line,
            profile,
            rule: LossRule::EndAfterGrace,
            check: Arc::new(|_secret| Ok(())),
        };
        let set_mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        for (mode, is_refused) in [(0o600, false), (0o440, false), (0o644, true), (0o602, true)] {
            set_mode(mode);
            assert!(place(Profile::Local).read().is_ok());
            match place(Profile::Production).read() {
                Ok(_) => assert!(!is_refused, "{mode:o}"),
                Err(flaw) => {
                    assert!(is_refused, "{mode:o}");
                    assert!(matches!(flaw, SecretFileError::Unusable(_)));
                    let text = flaw.text();
                    assert!(
                        text.contains("token") && text.contains(&format!("{mode:04o}")),
                        "{text}"
                    );
                    assert!(!text.contains("canary"), "{text}");
                }
            }
        }
    }

    /// FAULTS N614: the state of a file survives a reload of the sources.
    #[test]
    fn a_file_keeps_its_state_when_the_sources_are_reloaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "present").unwrap();
        let place = |least: usize| SecretPlace {
            owner: "source crm".to_owned(),
            path: path.clone(),
            form: SecretForm::Line,
            profile: Profile::Local,
            rule: LossRule::EndAfterGrace,
            check: Arc::new(move |secret: &SecretString| {
                match secret.expose_secret().len() < least {
                    true => Err("is too short".to_owned()),
                    false => Ok(()),
                }
            }),
        };
        let now = Timestamp::from_millis(0);
        let secret = |file: &SecretFile| {
            file.secret()
                .map(|secret| secret.expose_secret().to_owned())
        };
        let file = SecretFile::open(place(1), now);
        // The reload possibly reads a half-written secret.
        std::fs::write(&path, "pre").unwrap();
        let again = SecretFile::open_again(place(1), &file, now);
        assert_eq!(secret(&again).as_deref(), Some("present"));
        // The settings refuse the secret in use.
        std::fs::write(&path, "a-longer-secret").unwrap();
        let again = SecretFile::open_again(place(10), &file, now);
        assert_eq!(secret(&again).as_deref(), Some("a-longer-secret"));
        // The secret of a missing file has ended.
        std::fs::remove_file(&path).unwrap();
        let missing = file.read();
        for at in [0, 60_000] {
            file.step(&missing, &missing, Timestamp::from_millis(at));
        }
        let again = SecretFile::open_again(place(1), &file, now);
        assert!(secret(&again).is_none());
        assert!(matches!(again.flaw(), Some(SecretFileError::Missing(_))));
        assert!(!format!("{again:?}").contains("present"));
    }
}
