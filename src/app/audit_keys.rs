//! The keys of the audit log. The bridge reads the key files at the start and every few seconds.

use std::sync::Arc;

use anyhow::anyhow;

use super::held_secret::LossRule;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use crate::config::{AuditKeyFiles, Config};
use crate::metrics::SecretKind;
use crate::outbox::{AuditKeys, AuditProtection, OpenError, Outbox};

/// A task that reads the key files again.
pub(super) struct AuditKeysWatch {
    files: Vec<Arc<SecretFile>>,
    outbox: Arc<dyn Outbox>,
    rereads: Rereads,
    /// True if the store does not use the present keys yet.
    is_pending: bool,
}

impl AuditKeysWatch {
    /// Seals the audit log with its keys, and logs the head of the audit log.
    ///
    /// # Errors
    /// Returns an error if a key cannot be used, or if the audit log needs a key and there is none.
    pub(super) async fn start(
        outbox: Arc<dyn Outbox>,
        config: &Config,
        rereads: Rereads,
    ) -> anyhow::Result<Self> {
        let open = |path| {
            let place = SecretPlace {
                owner: "ops.audit_key_files".to_owned(),
                path,
                form: SecretForm::Line,
                profile: config.profile,
                // Without its key, nobody could tell later whether a record is genuine.
                rule: LossRule::Keep,
                check: Arc::new(AuditKeyFiles::check_key),
            };
            let file = SecretFile::open(place, rereads.moment());
            match file.flaw() {
                None => Ok(file),
                Some(flaw) => Err(anyhow!("ops.audit_key_files: {}", flaw.text())),
            }
        };
        let paths = config.audit_keys.paths().iter().cloned();
        let files = paths.map(open).collect::<anyhow::Result<_>>()?;
        let watch = Self {
            files,
            outbox,
            rereads,
            is_pending: false,
        };
        let protection = watch.protect().await?;
        let head = watch.outbox.audit_head().await?;
        match protection {
            AuditProtection::KeyMissing => {
                let path = config.outbox.place.to_string().into();
                return Err(OpenError::AuditKeyMissing(path).into());
            }
            AuditProtection::Keyed => tracing::info!(%head, "the audit log is protected by a key"),
            AuditProtection::Plain => tracing::info!(%head, "the audit log has no key"),
        }
        Ok(watch)
    }

    /// Reads the key files repeatedly, and never returns. The key of the first file seals all later records.
    pub(super) async fn watch(&mut self) {
        loop {
            self.rereads.next().await;
            let read = self.rereads.read_secrets(SecretKind::Audit, &self.files);
            self.is_pending |= read.await;
            if self.is_pending {
                match self.protect().await {
                    Ok(_) => self.is_pending = false,
                    Err(error) => tracing::warn!(
                        error = format!("{error:#}"),
                        "the audit log cannot use the new keys now; the previous keys stay in use, and the bridge tries again"
                    ),
                }
            }
        }
    }

    async fn protect(&self) -> anyhow::Result<AuditProtection> {
        let keys = self.files.iter().filter_map(|file| file.secret());
        let (keys, now) = (AuditKeys::new(keys), self.rereads.moment());
        Ok(self.outbox.protect_audit(keys, now).await?)
    }
}
