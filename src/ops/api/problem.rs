//! The table of the admin API's errors. The table has the HTTP status, the problem type and the title of each error.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use crate::http::openapi::ProblemRow;
use crate::http::problem::{MEDIA_TYPE, ProblemDocument};
use crate::ops::operate::{Error, Role};
use crate::outbox;

const CHALLENGE: &str = "Bearer realm=\"operator\"";

/// The reason why a request to the admin API failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminProblem {
    /// The admin API is disabled, because no operator is configured.
    #[error("set ops.token_files to enable the admin API and the console")]
    Disabled,
    #[error("the request needs the bearer token of an operator")]
    Unauthenticated,
    #[error("{0}")]
    Malformed(String),
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    #[error("the request body is too large")]
    TooLarge,
    #[error("too many failed logins: wait, and then send the right token")]
    TooManyFailedLogins(Duration),
    #[error("too many requests of operators are in progress")]
    TooManyRequests,
    #[error("no resource has this path")]
    NotFound,
    #[error("this path supports only {allow}")]
    MethodNotAllowed {
        /// The value of the header `Allow`.
        allow: &'static str,
    },
    #[error(transparent)]
    Failed(#[from] Error),
}

impl AdminProblem {
    /// Returns the title of this error.
    pub(crate) const fn title(&self) -> &'static str {
        self.row().2
    }

    /// Returns one error of each row of the table, for the description of the admin API.
    pub(in crate::ops) fn table() -> Vec<ProblemRow> {
        let row = |problem: Self| {
            let (status, word, title) = problem.row();
            let wait = problem.error_response().headers().contains_key(RETRY_AFTER);
            ProblemRow {
                word,
                status,
                title: title.to_owned(),
                has_retry_after: wait,
            }
        };
        one_of_each().into_iter().map(row).collect()
    }

    /// Returns the HTTP status, the last part of the problem type, and the title of this error.
    const fn row(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Disabled => (403, "admin_disabled", "Admin API disabled"),
            Self::Unauthenticated => (401, "unauthenticated", "Authentication failed"),
            Self::BodyTimeout => (408, "body_timeout", "Request body timeout"),
            Self::TooLarge => (413, "too_large", "Request body too large"),
            Self::TooManyFailedLogins(_) => {
                (429, "too_many_failed_logins", "Too many failed logins")
            }
            Self::Failed(Error::TryOutTooLarge) => (413, "too_large", "Request body too large"),
            Self::Failed(Error::TryOutRunning) => (503, "busy", "Try-out in progress"),
            Self::Failed(Error::NoThread) => (503, "busy", "No further thread"),
            Self::TooManyRequests => (503, "busy", "Too many admin requests"),
            Self::NotFound => (404, "not_found", "Not found"),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed", "Method not allowed"),
            Self::Failed(Error::RoleRequired { role, .. }) => match role {
                Role::Operator => (403, "operator_role_required", "Role operator required"),
                Role::Revealer => (403, "revealer_role_required", "Role revealer required"),
            },
            Self::Failed(Error::UnknownEntry) => (404, "unknown_entry", "Unknown entry"),
            Self::Failed(Error::UnknownCustomer) => (404, "unknown_customer", "Unknown customer"),
            Self::Failed(Error::AmbiguousCustomer) => {
                (409, "ambiguous_customer", "Ambiguous customer")
            }
            Self::Failed(Error::InFlight) => (409, "in_flight", "Request in progress"),
            Self::Failed(Error::SourcesChanging) => (409, "sources_changing", "Sources changing"),
            Self::Failed(Error::CopyExists) => (409, "copy_exists", "Copy exists"),
            Self::Failed(Error::BackupRunning) => (409, "backup_running", "Backup in progress"),
            Self::Failed(Error::BackupInDatabase) => {
                (409, "backup_in_database", "Store in a database")
            }
            Self::Failed(Error::NoCopySpace { .. } | Error::CopySpaceEnded { .. }) => {
                (507, "no_copy_space", "No space for a copy")
            }
            Self::Failed(Error::SourcesHang) => (503, "sources_unreadable", "Sources unreadable"),
            Self::Failed(Error::Stopping) => (503, "stopping", "Service stopping"),
            Self::Failed(Error::EventErased) => (409, "event_erased", "Event erased"),
            Self::Malformed(_)
            | Self::Failed(
                Error::UnknownSource
                | Error::WrongState
                | Error::CustomerRequired
                | Error::ReasonRequired
                | Error::CorrectedTwice(_)
                | Error::ReasonTooLong
                | Error::TooManyEntries
                | Error::BackupName
                | Error::BrakeOpenTime
                | Error::OtherSource
                | Error::TryOutTooLong,
            ) => (400, "malformed", "Malformed request"),
            Self::Failed(Error::Store(error)) => store_row(error),
        }
    }
}

/// Returns the status, the problem word and the title of an error of the store.
const fn store_row(error: &outbox::Error) -> (u16, &'static str, &'static str) {
    match error {
        outbox::Error::Busy => (503, "busy", "Store busy"),
        outbox::Error::Full => (503, "store_full", "Store full"),
        outbox::Error::Failed { .. } | outbox::Error::Unavailable(_) => {
            (503, "store_failed", "Store failed")
        }
        outbox::Error::Closed => (503, "stopping", "Service stopping"),
    }
}

impl ResponseError for AdminProblem {
    fn status_code(&self) -> StatusCode {
        let (status, ..) = self.row();
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (status, word, title) = self.row();
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::Unauthenticated) {
            response.insert_header((WWW_AUTHENTICATE, CHALLENGE));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((ALLOW, *allow));
        }
        if let Self::TooManyFailedLogins(wait) = self {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if matches!(self, Self::TooManyRequests) {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type(MEDIA_TYPE)
            .json(ProblemDocument::new(word, status, title, self.to_string()))
    }
}

/// Returns one error of each problem type. A unit test finds a type that is missing here.
fn one_of_each() -> Vec<AdminProblem> {
    let operator = String::new;
    let failed = [
        Error::RoleRequired {
            role: Role::Operator,
            operator: operator(),
        },
        Error::RoleRequired {
            role: Role::Revealer,
            operator: operator(),
        },
        Error::UnknownEntry,
        Error::UnknownCustomer,
        Error::AmbiguousCustomer,
        Error::InFlight,
        Error::SourcesChanging,
        Error::CopyExists,
        Error::BackupRunning,
        Error::BackupInDatabase,
        Error::NoCopySpace { needed: 1, free: 0 },
        Error::SourcesHang,
        Error::EventErased,
        Error::Store(outbox::Error::Busy),
        Error::Store(outbox::Error::Full),
        Error::Store(outbox::Error::Unavailable(outbox::StoreCondition::Stalled)),
        Error::Stopping,
    ];
    let mut problems = vec![
        AdminProblem::Malformed(String::new()),
        AdminProblem::Unauthenticated,
        AdminProblem::Disabled,
        AdminProblem::NotFound,
        AdminProblem::MethodNotAllowed { allow: "" },
        AdminProblem::BodyTimeout,
        AdminProblem::TooLarge,
        AdminProblem::TooManyFailedLogins(Duration::ZERO),
        AdminProblem::TooManyRequests,
    ];
    problems.extend(failed.map(AdminProblem::Failed));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(role: Role) -> AdminProblem {
        let operator = "ann".to_owned();
        Error::RoleRequired { role, operator }.into()
    }

    #[test]
    fn each_problem_has_its_status_and_its_type() {
        let table = [
            (AdminProblem::Disabled, 403, "admin_disabled"),
            (AdminProblem::Unauthenticated, 401, "unauthenticated"),
            (AdminProblem::Malformed(String::new()), 400, "malformed"),
            (AdminProblem::NotFound, 404, "not_found"),
            (AdminProblem::BodyTimeout, 408, "body_timeout"),
            (AdminProblem::TooLarge, 413, "too_large"),
            (AdminProblem::TooManyRequests, 503, "busy"),
            (
                AdminProblem::TooManyFailedLogins(Duration::ZERO),
                429,
                "too_many_failed_logins",
            ),
            (
                AdminProblem::MethodNotAllowed { allow: "GET" },
                405,
                "method_not_allowed",
            ),
            (required(Role::Operator), 403, "operator_role_required"),
            (required(Role::Revealer), 403, "revealer_role_required"),
            (Error::UnknownEntry.into(), 404, "unknown_entry"),
            (Error::UnknownCustomer.into(), 404, "unknown_customer"),
            (Error::AmbiguousCustomer.into(), 409, "ambiguous_customer"),
            (Error::InFlight.into(), 409, "in_flight"),
            (Error::SourcesChanging.into(), 409, "sources_changing"),
            (Error::CopyExists.into(), 409, "copy_exists"),
            (Error::BackupRunning.into(), 409, "backup_running"),
            (Error::BackupInDatabase.into(), 409, "backup_in_database"),
            (
                Error::NoCopySpace { needed: 2, free: 1 }.into(),
                507,
                "no_copy_space",
            ),
            (Error::SourcesHang.into(), 503, "sources_unreadable"),
            (Error::Stopping.into(), 503, "stopping"),
            (Error::OtherSource.into(), 400, "malformed"),
            (Error::TryOutTooLong.into(), 400, "malformed"),
            (Error::TryOutTooLarge.into(), 413, "too_large"),
            (Error::TryOutRunning.into(), 503, "busy"),
            (Error::NoThread.into(), 503, "busy"),
            (Error::EventErased.into(), 409, "event_erased"),
            (Error::ReasonRequired.into(), 400, "malformed"),
            (Error::ReasonTooLong.into(), 400, "malformed"),
            (Error::CustomerRequired.into(), 400, "malformed"),
            (Error::from(outbox::Error::Busy).into(), 503, "busy"),
            (Error::from(outbox::Error::Full).into(), 503, "store_full"),
            (Error::from(outbox::Error::Closed).into(), 503, "stopping"),
        ];
        for (problem, status, word) in table {
            let (found_status, found_word, _) = problem.row();
            assert_eq!((found_status, found_word), (status, word), "{problem:?}");
        }
    }
}
