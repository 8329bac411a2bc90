//! The partner: what can be asked of it, what came of asking, and the port through which it is asked.
//!
//! The port names three operations of Imprint by type: *update*, *retrieve* and *search*. Nothing else of Imprint's API
//! can be spelled here, because the same key can also delete keys.

#![warn(missing_docs)]

use std::fmt;
use std::time::Duration;

mod body;
mod change;
pub mod classify;
pub mod clearing;
pub mod client;
mod echo;
mod field;
mod json;
mod lookup;
pub mod update;

pub use body::Body;
pub use change::CustomerChange;
pub use field::{EchoPlace, Field, FieldFormat, FieldGroup, FieldKind, SchemaRule};
pub use update::{FieldValue, Update};

/// The longest Imprint id.
const IMPRINT_ID_CHARS_MAX: usize = 64;
/// How many hyphens and characters an id has where only case tells two spellings of one UUID apart.
const UUID_CHARS: usize = 36;

/// A text is not an Imprint id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Imprint id is 1 to 64 of A-Z, a-z, 0-9, _ and -")]
pub struct IdError;

/// The id of an Imprint customer: opaque, sent as received, always one path segment.
///
/// The alphabet is the protection: with `/`, `.` or nothing at all, *update* would become *link* or *search*.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImprintId(String);

impl ImprintId {
    /// Takes 1 to 64 of `A-Z a-z 0-9 _ -`.
    ///
    /// # Errors
    /// [`IdError`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, IdError> {
        let fits = (1..=IMPRINT_ID_CHARS_MAX).contains(&raw.len())
            && raw
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits {
            Ok(Self(raw.to_owned()))
        } else {
            Err(IdError)
        }
    }

    /// The id as it was received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The spelling under which the same customer is always found: a UUID without case, anything else as it is.
    pub fn canonical(&self) -> String {
        if self.is_uuid_shaped() {
            self.0.to_ascii_lowercase()
        } else {
            self.0.clone()
        }
    }

    /// Whether both name the same customer.
    pub fn is_same(&self, other: &str) -> bool {
        self.0 == other || (self.is_uuid_shaped() && self.0.eq_ignore_ascii_case(other))
    }

    fn is_uuid_shaped(&self) -> bool {
        self.0.len() == UUID_CHARS
            && self.0.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
    }
}

/// The longest of the partner's own ids.
const PARTNER_CUSTOMER_ID_CHARS_MAX: usize = 256;

/// A text is not an id of the partner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a partner's id is 1 to 256 characters, without control characters or white space around it"
)]
pub struct PartnerCustomerIdError;

/// The partner's own id of a customer: opaque, and never blank, because a search with a blank filter lists everybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartnerCustomerId(String);

impl PartnerCustomerId {
    /// Takes 1 to 256 characters, none of them a control character, without white space around them.
    ///
    /// # Errors
    /// [`PartnerCustomerIdError`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, PartnerCustomerIdError> {
        let fits = !raw.is_empty()
            && raw.trim() == raw
            && raw.chars().count() <= PARTNER_CUSTOMER_ID_CHARS_MAX
            && !raw.chars().any(char::is_control);
        if fits {
            Ok(Self(raw.to_owned()))
        } else {
            Err(PartnerCustomerIdError)
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How an event names its customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerRef {
    /// By Imprint's id.
    Imprint(ImprintId),
    /// By the partner's own.
    Partner(PartnerCustomerId),
    /// By both.
    Pair {
        /// Imprint's id.
        imprint: ImprintId,
        /// The partner's own.
        partner: PartnerCustomerId,
    },
}

impl CustomerRef {
    /// Imprint's id, where it is named.
    pub const fn imprint(&self) -> Option<&ImprintId> {
        match self {
            Self::Imprint(imprint) | Self::Pair { imprint, .. } => Some(imprint),
            Self::Partner(_) => None,
        }
    }

    /// The partner's own id, where it is named.
    pub const fn partner(&self) -> Option<&PartnerCustomerId> {
        match self {
            Self::Partner(partner) | Self::Pair { partner, .. } => Some(partner),
            Self::Imprint(_) => None,
        }
    }
}

/// One request: set these fields on this customer.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The customer.
    pub customer: ImprintId,
    /// The body; never empty.
    pub body: Body,
    /// The lines of the address that are cleared by leaving them out; the echo says whether that was enough.
    pub cleared: Vec<Field>,
}

/// Never the body: it is personal data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("fields", &self.body.iter().count())
            .finish_non_exhaustive()
    }
}

/// What came of one request. There is no error beside it: a refused connection is an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx and a JSON object whose `id` is the one asked for: Imprint has it.
    Applied(Echo),
    /// 429, or 503 with a Retry-After: the whole destination is to wait this long; `None` where no hint was usable.
    Throttled(Option<Duration>),
    /// Nothing was applied, for a reason that passes: no connection, 408, 425, 5xx.
    Unavailable(Cause),
    /// The request went out and no sound answer came back: it may have been applied.
    Unknown(Cause),
    /// Imprint, or something in front of it, does not take our word: 401, 403, any 3xx, a certificate fault, or an
    /// operation that is not there. No event is at fault.
    Denied(Cause),
    /// 403, 405 or an untyped 404: everybody is refused, or this customer alone. A retrieve of the same id tells.
    Unclear(Cause),
    /// The customer does not exist.
    NotFound,
    /// This request is at fault.
    Rejected(Rejection),
}

impl Outcome {
    /// The label under which it is counted.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Throttled(_) => "throttled",
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown",
            Self::Denied(_) => "denied",
            Self::Unclear(_) => "unclear",
            Self::NotFound => "not_found",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// What of the echoed customer is kept: never a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The groups that are echoed otherwise than they were sent.
    pub mismatches: Vec<FieldGroup>,
    /// The lines that were cleared and are still there.
    pub still_set: Vec<Field>,
    /// The partner's id of the customer.
    pub partner_customer_id: Option<PartnerCustomerId>,
}

/// What a retrieve or a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupResult {
    /// Exactly this customer.
    Found(ImprintId),
    /// No such customer.
    NotFound,
    /// A search matched at least two different customers.
    Ambiguous,
    /// Imprint gave no usable answer, for this reason.
    Failed(Outcome),
}

impl LookupResult {
    /// The label under which it is counted.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Found(_) => "one",
            Self::NotFound => "none",
            Self::Ambiguous => "several",
            Self::Failed(outcome) => outcome.label(),
        }
    }
}

/// What a refused update means once the same customer has been retrieved.
pub fn resolve_ambiguous(cause: Cause, found: LookupResult) -> Outcome {
    match found {
        LookupResult::Found(_)
        | LookupResult::Ambiguous
        | LookupResult::Failed(Outcome::Denied(_)) => Outcome::Denied(cause),
        LookupResult::NotFound => Outcome::NotFound,
        LookupResult::Failed(outcome) => outcome,
    }
}

/// Why an outcome is what it is, in a closed set: it is a log field and a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No connection could be made.
    Connect,
    /// The name did not resolve.
    Dns,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// The certificate is not to be trusted.
    Certificate,
    /// The deadline passed.
    Deadline,
    /// The connection ended, or broke into nonsense, before a whole answer came.
    Disconnected,
    /// An interim (1xx) answer stood where the final one belongs, or no request could be made of it.
    Protocol,
    /// The answer is longer than the cap.
    TooLong,
    /// The answer is a 2xx without a JSON object.
    Unreadable,
    /// The answer is a 2xx about another customer.
    WrongCustomer,
    /// The status is this one.
    Status(u16),
}

impl Cause {
    /// Whether the operation was refused, and not our key.
    pub const fn is_forbidden(self) -> bool {
        matches!(self, Self::Status(403..=405))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Deadline => "deadline",
            Self::Disconnected => "disconnected",
            Self::Protocol => "protocol",
            Self::TooLong => "too_long",
            Self::Unreadable => "unreadable",
            Self::WrongCustomer => "wrong_customer",
            Self::Status(status) => return write!(f, "status_{status}"),
        })
    }
}

/// What Imprint said about a request it will not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// Imprint's `type`, such as `INVALID_REQUEST_ERROR`.
    pub kind: Option<String>,
    /// The field Imprint names.
    pub param: Option<String>,
}

/// The port to the partner. `?Send`: a client lives on the thread that made it.
pub trait ImprintApi {
    /// Asks Imprint to take `request` and says what came of it, at the latest when `deadline` has passed.
    fn deliver(&self, request: Request, deadline: Duration) -> impl Future<Output = Outcome>;

    /// Asks whether a customer is there.
    fn retrieve(
        &self,
        customer: ImprintId,
        deadline: Duration,
    ) -> impl Future<Output = LookupResult>;

    /// Asks which customer somebody is.
    fn search(
        &self,
        partner: PartnerCustomerId,
        deadline: Duration,
    ) -> impl Future<Output = LookupResult>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_path_segment() {
        for good in [
            "BBB815E9-F654-438D-9AD3-3F7BB8136FC0",
            "CSMR-v1-123",
            "a",
            "_",
        ] {
            assert!(ImprintId::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "%2e%2e%2f",
            "a/b",
            "a?x=1",
            "a#f",
            "a;b",
            "a b",
            "١٢",
            &"a".repeat(65),
        ] {
            assert_eq!(ImprintId::parse(bad), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn only_uuid_shaped_ids_are_compared_without_case() {
        let uuid = ImprintId::parse("BBB815E9-F654-438D-9AD3-3F7BB8136FC0").unwrap();
        assert!(uuid.is_same("bbb815e9-f654-438d-9ad3-3f7bb8136fc0"));
        assert_eq!(uuid.canonical(), "bbb815e9-f654-438d-9ad3-3f7bb8136fc0");
        let other = ImprintId::parse("CSMR-v1").unwrap();
        assert!(!other.is_same("csmr-v1"));
        assert_eq!(other.canonical(), "CSMR-v1");
    }
}
