//! The files of the sealing keys: every file in the directory of the setting `outbox.keys_dir`. Each file is on its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::timeout;

use super::held_secret::LossRule;
use super::one_look::OneLook;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use super::secret_reads::READ_DEADLINE;
use crate::config::Profile;
use crate::config::sealing_keys::{self, SealingKeys};
use crate::metrics::SecretKind;
use crate::sealing::SealingKey;

/// The files of the sealing keys by their names.
pub(super) struct SealingFiles {
    directory: PathBuf,
    profile: Profile,
    files: BTreeMap<String, Arc<SecretFile>>,
    /// The reason why the directory cannot be used. The bridge logs it once.
    flaw: Option<String>,
    look: OneLook,
    rereads: Rereads,
}

impl SealingFiles {
    /// Opens the files of the keys in use. Returns `None` if the store is not sealed.
    pub(super) fn new(present: &SealingKeys, profile: Profile, rereads: Rereads) -> Option<Self> {
        let mut files = Self {
            directory: present.directory.clone()?,
            profile,
            files: BTreeMap::new(),
            flaw: None,
            look: OneLook::default(),
            rereads,
        };
        for (_, name) in &present.files {
            let file = SecretFile::open(files.place(name), files.rereads.moment());
            files.files.insert(name.clone(), file);
        }
        Some(files)
    }

    fn place(&self, name: &str) -> SecretPlace {
        SecretPlace {
            owner: "outbox.keys_dir".to_owned(),
            path: self.directory.join(name),
            form: SecretForm::Line,
            profile: self.profile,
            rule: LossRule::EndWhenMissing,
            check: Arc::new(|text| match SealingKey::parse(text) {
                Ok(_) => Ok(()),
                Err(flaw) => Err(flaw.to_string()),
            }),
        }
    }

    /// Reads the directory and the files again, and returns the keys in use. Returns `None` if the directory has no key
    /// file or cannot be read: then the keys so far stay in use.
    pub(super) async fn read_again(&mut self) -> Option<SealingKeys> {
        let names = self.names().await;
        let flaw = names.as_ref().err().cloned();
        if self.flaw != flaw {
            if let Some(flaw) = &flaw {
                tracing::warn!(
                    flaw,
                    "cannot read the sealing keys; the previous keys stay in use"
                );
            }
            self.flaw = flaw;
        }
        let names = match names {
            Ok(names) => names,
            Err(_logged) => {
                self.rereads.metrics().failed(SecretKind::Sealing, 1);
                return None;
            }
        };
        for name in &names {
            if !self.files.contains_key(name) {
                let file = SecretFile::unread(self.place(name));
                self.files.insert(name.clone(), file);
            }
        }
        let files: Vec<_> = self.files.values().map(Arc::clone).collect();
        self.rereads.read_secrets(SecretKind::Sealing, &files).await;
        self.files
            .retain(|name, file| names.contains(name) || file.secret().is_some());
        self.keys()
    }

    /// Returns the names of the key files.
    async fn names(&self) -> Result<Vec<String>, String> {
        let directory = self.directory.clone();
        let look = self.look.run(move || sealing_keys::names(&directory));
        let shown = self.directory.display();
        match timeout(READ_DEADLINE, look).await {
            Ok(Some(names)) => match names?.as_slice() {
                [] => Err(format!("the directory {shown} has no key file")),
                names => Ok(names.to_vec()),
            },
            Ok(None) | Err(_) => Err(format!("the directory {shown} does not respond")),
        }
    }

    fn keys(&self) -> Option<SealingKeys> {
        let keys = self.files.iter().filter_map(|(name, file)| {
            let key = SealingKey::parse(&file.secret()?).ok()?;
            Some((name.clone(), key))
        });
        let keys: Vec<_> = keys.collect();
        (!keys.is_empty()).then(|| SealingKeys::new(&self.directory, keys))
    }

    /// Returns whether the directory or a file cannot be used.
    pub(super) fn has_flaw(&self) -> bool {
        self.flaw.is_some() || self.files.values().any(|file| file.flaw().is_some())
    }
}
