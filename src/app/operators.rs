//! The tokens of the operators.
//!
//! The bridge reads the token files at the start and every few seconds, but not for each request: a request without a
//! valid token must not cause file reads, and a disk that does not respond must not block the health checks.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};

use super::reread::{Rereads, read_new};
use crate::config::{OperatorFile, RoleWord};
use crate::metrics::Metrics;
use crate::ops::operate::Role;
use crate::ops::{Access, KnownOperator, Operators, ReadToken};

/// The token of an operator, or `None` if the token file contains no usable token.
type Token = Option<SecretString>;

/// A task that reads the token files repeatedly.
pub(super) struct TokensWatch {
    access: Arc<Access>,
    operators: Vec<WatchedToken>,
    rereads: Rereads,
}

struct WatchedToken {
    file: OperatorFile,
    /// The token that the operator's requests must have. Each use locks the token only to copy it, and never across an
    /// await.
    present: Arc<RwLock<Token>>,
}

/// Reads the token files. Returns the operators for the admin API, and the task that reads the files again.
pub(super) fn open(
    files: &[OperatorFile],
    metrics: &Metrics,
    rereads: Rereads,
) -> (Arc<Access>, TokensWatch) {
    let watched: Vec<_> = files.iter().map(WatchedToken::open).collect();
    let operators = watched.iter().map(|token| {
        let present = Arc::clone(&token.present);
        let read: ReadToken = Box::new(move || copy(&present));
        KnownOperator {
            name: token.file.name.clone(),
            roles: roles(&token.file),
            read,
        }
    });
    let operators = Operators::new(operators.collect());
    let access = Access::new(operators, metrics.admin.clone(), rereads.clock().clone());
    let access = Arc::new(access);
    let watch = TokensWatch {
        access: Arc::clone(&access),
        operators: watched,
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
            for operator in &self.operators {
                operator.read_again().await;
            }
        }
    }
}

impl WatchedToken {
    fn open(file: &OperatorFile) -> Self {
        let token = file.token();
        let token =
            token.inspect_err(|reason| tracing::warn!(reason, "cannot read an operator's token"));
        Self {
            file: file.clone(),
            present: Arc::new(RwLock::new(token.ok())),
        }
    }

    /// Reads the token file again, and uses a new token. If the file is gone, the operator loses access. Other secrets
    /// stay in use if their file is gone.
    async fn read_again(&self) {
        let present = copy(&self.present);
        let read = || Ok::<_, Infallible>(self.file.token().ok());
        let is_present = |read: &Token| is_same(read, &present);
        if let Ok(Some(new)) = read_new(read, is_present, is_same).await {
            let operator = self.file.name.as_str();
            match new {
                Some(_) => tracing::info!(operator, "the token of an operator changed"),
                None => {
                    let reason = self.file.token().err();
                    tracing::warn!(operator, reason, "the operator has no access any more");
                }
            }
            *self.present.write().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

fn copy(present: &RwLock<Token>) -> Token {
    let present = present.read().unwrap_or_else(PoisonError::into_inner);
    present.clone()
}

fn is_same(one: &Token, other: &Token) -> bool {
    let text = |token: &Token| token.as_ref().map(|token| token.expose_secret().to_owned());
    text(one) == text(other)
}
