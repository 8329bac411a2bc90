//! The tokens of the operators.
//!
//! The bridge reads the token files at the start and every few seconds, but not for each request: a request without a
//! valid token must not cause file reads, and a disk that does not respond must not block the health checks.

use std::sync::Arc;

use super::held_secret::LossRule;
use super::reread::Rereads;
use super::secret_file::{SecretFile, SecretForm, SecretPlace};
use crate::config::{Config, OperatorFile, RoleWord};
use crate::metrics::{Metrics, SecretKind};
use crate::ops::operate::Role;
use crate::ops::{Access, KnownOperator, Operators, ReadToken};

/// A task that reads the token files repeatedly.
pub(super) struct TokensWatch {
    access: Arc<Access>,
    files: Vec<Arc<SecretFile>>,
    rereads: Rereads,
}

/// Reads the token files. Returns the operators for the admin API, and the task that reads the files again.
pub(super) fn open(
    config: &Config,
    metrics: &Metrics,
    rereads: Rereads,
) -> (Arc<Access>, TokensWatch) {
    let (mut files, mut operators) = (Vec::new(), Vec::new());
    for operator in &config.operators {
        let place = SecretPlace {
            owner: format!("operator {}", operator.name),
            path: operator.token_file.clone(),
            form: SecretForm::Line,
            profile: config.profile,
            rule: LossRule::EndAtOnce,
            check: Arc::new(OperatorFile::check_token),
        };
        let file = SecretFile::open(place, rereads.moment());
        if let Some(flaw) = file.flaw() {
            let reason = flaw.text();
            tracing::warn!(reason, "cannot read an operator's token");
        }
        let present = Arc::clone(&file);
        let read: ReadToken = Box::new(move || present.secret());
        operators.push(KnownOperator {
            name: operator.name.clone(),
            roles: roles(operator),
            read,
        });
        files.push(file);
    }
    let operators = Operators::new(operators);
    let access = Access::new(operators, metrics.admin.clone(), rereads.clock().clone());
    let access = Arc::new(access.behind(config.trusted_proxies.clone()));
    let watch = TokensWatch {
        access: Arc::clone(&access),
        files,
        rereads,
    };
    (access, watch)
}

/// Returns the roles of an operator, and logs them. An operator whose token file names no role has every role.
fn roles(file: &OperatorFile) -> Vec<Role> {
    let (operator, words) = (file.name.as_str(), file.roles.as_deref());
    let Some(words) = words else {
        tracing::warn!(
            operator,
            "the operator has every role, because the name of the token file has no role: rename the file to `{operator}.viewer`, `{operator}.operator`, `{operator}.revealer` or `{operator}.operator.revealer`"
        );
        return vec![Role::Operator, Role::Revealer];
    };
    let names: Vec<_> = words.iter().map(|word| word.as_str()).collect();
    tracing::info!(operator, roles = names.join(" "), "the operator has access");
    let roles = words.iter().filter_map(|word| match word {
        RoleWord::Viewer => None,
        RoleWord::Operator => Some(Role::Operator),
        RoleWord::Revealer => Some(Role::Revealer),
    });
    roles.collect()
}

impl TokensWatch {
    /// Reads the token files repeatedly, and reports failed logins that no later login reports. Never returns.
    pub(super) async fn watch(&self) {
        loop {
            self.rereads.next().await;
            self.access.report_failed_logins();
            // The admin API takes the tokens from the files at each request.
            let _is_changed = self
                .rereads
                .read_secrets(SecretKind::Operator, &self.files)
                .await;
        }
    }
}
