//! Authentication of operators: finds the [`Operator`] of a request, or denies the request.
//!
//! [`admit`] runs before the router of the admin API, and therefore before the bridge reads a request body. An operator
//! authenticates with a bearer token. The console takes the same token once, and then a session cookie; see [`Session`].

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::api::AdminProblem;
use super::failed_logins::{FailedLogins, LoginReport};
use super::operate::{self, Operator, Role};
use crate::http::trusted_proxies::TrustedProxies;
use crate::metrics::AdminMetrics;
use crate::time::Clock;

pub use self::session::Session;
pub(in crate::ops) use self::session::session_mark;

use self::session::Logouts;

mod session;

/// A function that returns the current token of an operator, or `None` if the operator no longer has a token.
pub type ReadToken = Box<dyn Fn() -> Option<SecretString> + Send + Sync>;

/// The maximum number of requests to the admin API in progress. Requests for health checks and metrics have no such
/// limit. With the largest request bodies, requests to the admin API take 4 MiB.
const REQUESTS_MAX: usize = 16;
/// The maximum number of requests to the console in progress. Requests to the admin API have their own limit, so that a
/// script that uses up that limit does not lock out the person who looks for the cause.
const CONSOLE_REQUESTS_MAX: usize = 16;
/// The maximum number of requests to the console without a session in progress. They have their own limit, so that clients
/// that send a login slowly do not lock out the operators who are logged in.
const LOGINS_MAX: usize = 16;

/// The label value of the metric for denied requests whose operator lacks the required role.
const MISSING_ROLE: &str = "role";

/// The operators, the counter of denied requests, the failed logins, the ended sessions, and the permits for requests in
/// progress.
#[derive(Debug)]
pub struct Access {
    operators: Operators,
    proxies: TrustedProxies,
    metrics: AdminMetrics,
    clock: Clock,
    /// Each use locks the failed logins for one decision, and never across an await.
    failed: Mutex<FailedLogins>,
    /// Each use locks the ended sessions for one decision, and never across an await.
    logouts: Mutex<Logouts>,
    requests: Semaphore,
    console_requests: Semaphore,
    logins: Semaphore,
}

impl Access {
    pub fn new(operators: Operators, metrics: AdminMetrics, clock: Clock) -> Self {
        Self {
            operators,
            proxies: TrustedProxies::default(),
            metrics,
            clock,
            failed: Mutex::default(),
            logouts: Mutex::default(),
            requests: Semaphore::const_new(REQUESTS_MAX),
            console_requests: Semaphore::const_new(CONSOLE_REQUESTS_MAX),
            logins: Semaphore::const_new(LOGINS_MAX),
        }
    }

    /// Names the proxies in front of the ops listener.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Returns the address of the client.
    pub(crate) fn client(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.proxies.client(peer, request.headers())
    }

    /// Logs the failed logins since the last record of the log about them, at most once a minute.
    pub fn report_failed_logins(&self) {
        let report = self.failed().report(self.clock.now());
        if let Some(report) = report {
            log_failed_logins(report);
        }
    }

    fn failed(&self) -> MutexGuard<'_, FailedLogins> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logouts(&self) -> MutexGuard<'_, Logouts> {
        self.logouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the configuration has no operator.
    pub(crate) const fn is_disabled(&self) -> bool {
        self.operators.0.is_empty()
    }

    /// Returns a permit for a request to the console.
    ///
    /// # Errors
    /// Returns an error if [`CONSOLE_REQUESTS_MAX`] requests with a session, or [`LOGINS_MAX`] requests without, are in
    /// progress.
    pub(crate) fn admit_console(
        &self,
        has_session: bool,
    ) -> Result<SemaphorePermit<'_>, AdminProblem> {
        let permits = match has_session {
            true => &self.console_requests,
            false => &self.logins,
        };
        let permit = permits.try_acquire();
        permit.map_err(|_none| AdminProblem::TooManyRequests)
    }

    fn authenticate(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Operator, Denied> {
        if self.is_disabled() {
            return Err(Denied::Disabled);
        }
        let token = bearer_token(headers).ok_or(Denied::Missing)?;
        self.try_token(token, peer)
    }

    /// Finds the operator of a token, within the limits on failed logins.
    fn try_token(&self, token: &str, peer: IpAddr) -> Result<Operator, Denied> {
        if self.is_disabled() {
            return Err(Denied::Disabled);
        }
        let now = self.clock.now();
        let mut failed = self.failed();
        if let Some(wait) = failed.wait(peer, now) {
            return Err(Denied::Limited(wait));
        }
        let operator = self.operators.with_token(token);
        match &operator {
            Ok(_) => failed.succeed(peer, now),
            Err(denied) => failed.fail(peer, denied.as_str()),
        }
        operator
    }

    /// Counts and logs a denied request.
    fn deny(&self, denied: Denied, method: &str) -> AdminProblem {
        let reason = denied.as_str();
        self.metrics.denied(reason);
        match denied {
            Denied::Disabled | Denied::Missing => {
                tracing::warn!(reason, method, "unauthorized admin request");
            }
            Denied::Mismatch | Denied::Shared | Denied::Limited(_) => self.report_failed_logins(),
        }
        AdminProblem::from(denied)
    }

    /// Counts and logs an action that the operator's roles do not allow.
    pub(crate) fn report_refusal(&self, problem: &AdminProblem) {
        if let AdminProblem::Failed(operate::Error::RoleRequired { role, operator }) = problem {
            self.metrics.denied(MISSING_ROLE);
            let role = role.as_str();
            tracing::warn!(operator, role, "an operator lacks the role for an action");
        }
    }
}

fn log_failed_logins(report: LoginReport) {
    let LoginReport {
        failures,
        addresses,
        peer,
        of_peer,
        reason,
    } = report;
    tracing::warn!(
        failures,
        addresses,
        %peer,
        of_peer,
        reason,
        "failed logins of operators: the address in `peer` has the most"
    );
}

/// An operator who can authenticate with a token.
pub struct KnownOperator {
    pub name: String,
    pub roles: Vec<Role>,
    pub read: ReadToken,
}

/// The operators who can authenticate.
#[derive(Debug)]
pub struct Operators(Vec<KnownOperator>);

/// The reason why the bridge denies a request to the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// The configuration has no operator.
    Disabled,
    /// The request has no bearer token.
    Missing,
    /// No operator has the token of the request.
    Mismatch,
    /// Several operators have the token of the request, so the audit log could not name the operator.
    Shared,
    /// The address, or all addresses together, had too many failed logins. The address may try again after this time.
    Limited(Duration),
}

impl Denied {
    /// Returns the reason as a label value of the metric for denied requests.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Missing => "missing",
            Self::Mismatch => "mismatch",
            Self::Shared => "shared",
            Self::Limited(_) => "limited",
        }
    }
}

impl From<Denied> for AdminProblem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Disabled => Self::Disabled,
            Denied::Missing | Denied::Mismatch | Denied::Shared => Self::Unauthenticated,
            Denied::Limited(wait) => Self::TooManyFailedLogins(wait),
        }
    }
}

/// The debug output shows only the name of the operator, never the token.
impl std::fmt::Debug for KnownOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Operators {
    /// Creates the list of operators. The bridge reads the tokens again for each request, because operators rotate
    /// their tokens.
    pub const fn new(operators: Vec<KnownOperator>) -> Self {
        Self(operators)
    }

    /// Finds the only operator who has this token.
    fn with_token(&self, token: &str) -> Result<Operator, Denied> {
        let digest = Sha256::digest(token);
        let mut found = Err(Denied::Mismatch);
        // Compares digests instead of tokens, and compares the tokens of all operators even after a match: the duration
        // must reveal nothing about a token.
        for known in &self.0 {
            let token = (known.read)().map(|token| Sha256::digest(token.expose_secret()));
            if token == Some(digest) {
                found = match found {
                    Err(Denied::Mismatch) => Ok(known),
                    Ok(_) | Err(_) => Err(Denied::Shared),
                };
            }
        }
        found.map(|known| Operator::authenticated(known.name.clone(), known.roles.clone()))
    }
}

/// Passes a request to the admin API if the request has an operator's token and fewer than [`REQUESTS_MAX`] requests
/// are in progress.
pub(super) async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(access) = request.app_data::<web::Data<Access>>().cloned() else {
        return Err(AdminProblem::Disabled.into());
    };
    let operator = access.authenticate(request.headers(), access.client(request.request()));
    let denied = |denied| access.deny(denied, request.method().as_str());
    let operator = operator.map_err(denied)?;
    let permit = access.requests.try_acquire();
    let _permit = permit.map_err(|_none| AdminProblem::TooManyRequests)?;
    request.extensions_mut().insert(operator);
    let response = next.call(request).await?;
    let error = response.response().error();
    if let Some(problem) = error.and_then(Error::as_error::<AdminProblem>) {
        access.report_refusal(problem);
    }
    Ok(response)
}

impl FromRequest for Operator {
    type Error = AdminProblem;
    type Future = Ready<Result<Self, AdminProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let operator = request.extensions().get::<Self>().cloned();
        ready(operator.ok_or(AdminProblem::Unauthenticated))
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;
    use crate::metrics::{LabelSets, LogCounters, Metrics};

    fn known(name: &str, read: ReadToken) -> KnownOperator {
        KnownOperator {
            name: name.to_owned(),
            roles: Vec::new(),
            read,
        }
    }

    fn access(operators: Operators) -> Access {
        let metrics = Metrics::new(LabelSets::default(), LogCounters::NONE).unwrap();
        Access::new(operators, metrics.admin, Clock::machine())
    }

    fn operators(tokens: &[(&str, &'static str)]) -> Operators {
        let operators = tokens.iter().map(|(name, token)| {
            let token = *token;
            let read: ReadToken = Box::new(move || Some(SecretString::from(token)));
            known(name, read)
        });
        Operators::new(operators.collect())
    }

    #[test]
    fn only_the_token_of_an_operator_authenticates() {
        let two = [("ann", "token-of-ann"), ("bob", "token-of-bob")];
        let shared = [
            ("ann", "one"),
            ("bob", "one"),
            ("eve", "one"),
            ("joe", "two"),
        ];
        let table = [
            (&two[..], Some("Bearer token-of-bob"), Ok("bob")),
            (&two, Some("Bearer token-of-eve"), Err(Denied::Mismatch)),
            (&two, Some("Bearer "), Err(Denied::Mismatch)),
            (&two, Some("Basic token-of-bob"), Err(Denied::Missing)),
            (&two, None, Err(Denied::Missing)),
            (&[], Some("Bearer token-of-bob"), Err(Denied::Disabled)),
            // FAULTS N444: the audit log could not name the operator.
            (&shared, Some("Bearer one"), Err(Denied::Shared)),
            (&shared, Some("Bearer two"), Ok("joe")),
        ];
        for (tokens, header, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            }
            let access = access(operators(tokens));
            let operator = access.authenticate(&headers, IpAddr::V4(Ipv4Addr::LOCALHOST));
            let name = operator
                .as_ref()
                .map(Operator::name)
                .map_err(|denied| *denied);
            assert_eq!(name, expected, "{header:?}");
        }
    }

    #[test]
    fn an_operator_whose_token_cannot_be_read_is_denied() {
        let unreadable: ReadToken = Box::new(|| None);
        let operators = Operators::new(vec![known("ann", unreadable)]);
        assert_eq!(operators.with_token(""), Err(Denied::Mismatch));
    }
}
