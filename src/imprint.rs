//! The vocabulary of Imprint's API and the port through which the bridge calls it.
//!
//! The port [`ImprintApi`] has three typed operations of Imprint: *update*, *retrieve* and *search*. Code that uses the
//! port cannot call any other operation of Imprint's API. The restriction to three operations matters, because the
//! bridge's API key would also permit other operations, such as the deletion of keys.

use std::fmt;
use std::time::Duration;

mod answer;
mod body;
mod cause;
mod change;
pub mod classify;
pub mod clearing;
pub mod client;
mod echo;
mod excerpt;
mod field;
mod json;
mod last_check;
mod lookup;
pub mod update;

pub use answer::{AnswerFacts, Answered};
pub use body::Body;
pub use cause::Cause;
pub use change::CustomerChange;
pub use field::{EchoPlace, Field, FieldFormat, FieldGroup, FieldKind, SchemaRule};
pub use last_check::LastCheck;
pub use update::{FieldValue, Update, is_domestic};

/// The maximum length of an Imprint id.
const IMPRINT_ID_CHARS_MAX: usize = 64;
/// The length of a UUID as text, hyphens included.
const UUID_CHARS: usize = 36;
/// The maximum length of a partner customer id.
const PARTNER_CUSTOMER_ID_CHARS_MAX: usize = 256;

/// The error for a text that is not an Imprint id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Imprint id is 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")]
pub struct IdError;

/// The id of a customer at Imprint: an opaque text that is always one path segment. The bridge sends the id in the
/// spelling in which the bridge received it.
///
/// The restricted alphabet matters, because an id with `/` or `.`, or an empty id, would turn the path of *update* into
/// the path of a different operation of Imprint, such as *link* or *search*.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImprintId(String);

impl ImprintId {
    /// Parses an Imprint id: 1 to 64 characters out of `A-Z a-z 0-9 _ -`.
    ///
    /// # Errors
    /// Returns [`IdError`] if the text is not an Imprint id.
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

    /// Returns the Imprint id as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the Imprint id in the spelling that the store keeps and looks up: a UUID in lower case, any other id
    /// unchanged.
    pub fn canonical(&self) -> String {
        if self.is_uuid_shaped() {
            self.0.to_ascii_lowercase()
        } else {
            self.0.clone()
        }
    }

    /// Converts a lower-case UUID to upper case, and any other UUID to lower case. Returns `None` if the UUID has no
    /// letters, or if the id is not a UUID.
    pub fn in_other_case(&self) -> Option<Self> {
        let cases = [self.0.to_ascii_lowercase(), self.0.to_ascii_uppercase()];
        let other = cases.into_iter().find(|case| *case != self.0);
        other.filter(|_| self.is_uuid_shaped()).map(Self)
    }

    /// Returns whether two Imprint ids name the same customer. For UUIDs, the case of the letters does not matter. Ids
    /// that are not UUIDs must be identical.
    pub fn is_same(&self, other: &str) -> bool {
        is_same_id(&self.0, other)
    }

    fn is_uuid_shaped(&self) -> bool {
        is_uuid_shaped(&self.0)
    }
}

fn is_uuid_shaped(id: &str) -> bool {
    id.len() == UUID_CHARS
        && id.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_same_id(one: &str, other: &str) -> bool {
    one == other || (is_uuid_shaped(one) && one.eq_ignore_ascii_case(other))
}

/// The error for a text that is not a partner customer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a partner customer id is 1 to 256 characters, without control characters or white space around it"
)]
pub struct PartnerCustomerIdError;

/// The CRM's own id of a customer, which Imprint stores in the field `partner_customer_id`.
///
/// A partner customer id is never blank, because a search with a blank filter lists every customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartnerCustomerId(String);

impl PartnerCustomerId {
    /// Parses a partner customer id: 1 to 256 characters, no control character, no white space at either end.
    ///
    /// # Errors
    /// Returns [`PartnerCustomerIdError`] if the text is not a partner customer id.
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

    /// Returns whether two partner customer ids name the same customer. For UUIDs, the case of the letters does not
    /// matter. Ids that are not UUIDs must be identical.
    pub fn is_same(&self, other: &str) -> bool {
        is_same_id(&self.0, other)
    }

    /// Returns the partner customer id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ids with which an event names its customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerRef {
    /// The event names the customer only by Imprint's id.
    Imprint(ImprintId),
    /// The event names the customer only by the partner customer id.
    Partner(PartnerCustomerId),
    /// The event names the customer by Imprint's id and by the partner customer id.
    Pair {
        /// Imprint's id of the customer.
        imprint: ImprintId,
        /// The partner customer id: the CRM's own id of the customer.
        partner: PartnerCustomerId,
    },
}

impl CustomerRef {
    /// Returns Imprint's id of the customer, if the event has that id.
    pub const fn imprint(&self) -> Option<&ImprintId> {
        match self {
            Self::Imprint(imprint) | Self::Pair { imprint, .. } => Some(imprint),
            Self::Partner(_) => None,
        }
    }

    /// Returns the partner customer id, if the event has that id.
    pub const fn partner(&self) -> Option<&PartnerCustomerId> {
        match self {
            Self::Partner(partner) | Self::Pair { partner, .. } => Some(partner),
            Self::Imprint(_) => None,
        }
    }
}

/// One update request to Imprint: the customer, and the fields to set on this customer.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The customer to update.
    pub customer: ImprintId,
    /// The fields to set and their values. A request sets at least one field.
    pub body: Body,
    /// The address lines that the source has cleared and that the request therefore omits. Imprint's answer shows
    /// whether Imprint still has these lines.
    pub cleared: Vec<Field>,
}

/// Prints only the number of fields in the request, because field values are personal data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("fields", &self.body.iter().count())
            .finish_non_exhaustive()
    }
}

/// The outcome of one update request to Imprint. A failed connection is also an outcome, so an update request has no
/// error type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Imprint has applied the update: the answer is a 2xx with a JSON object whose `id` equals the id in the request.
    Applied(Echo),
    /// Imprint limits the rate: the answer is a 429, or a 503 with Retry-After.
    ///
    /// Every further request to Imprint waits for the contained time. The time is `None` if the answer has no
    /// Retry-After that the bridge can parse.
    Throttled(Option<Duration>),
    /// Imprint did not apply the update, for a temporary reason: no connection, 408, 425 or 5xx.
    Unavailable(Cause),
    /// The bridge sent the request but received no valid answer: Imprint has possibly applied the update.
    Unknown(Cause),
    /// Imprint, or a gateway in front of Imprint, does not accept the API key or the connection: 401, any 3xx, an
    /// error of a certificate, Imprint's or the bridge's. The content of the event does not cause a denial.
    Denied(Cause),
    /// Imprint refuses the update, and the answer does not show whether the refusal concerns every customer or only
    /// this customer: 403 or 405, or 404 or 410 without the error type for a missing customer.
    ///
    /// After an unclear refusal, the bridge retrieves the customer, to find out whether the refusal concerns only this
    /// customer.
    Unclear(Cause),
    /// The customer of the update does not exist at Imprint.
    NotFound,
    /// Imprint rejects the update because of its content.
    Rejected(Rejection),
}

impl Outcome {
    /// Returns the label of the outcome in metrics and logs.
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

/// The differences between an update request and the customer in Imprint's answer. An `Echo` contains no field value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The field groups in which Imprint's answer differs from the values that the bridge sent.
    pub mismatches: Vec<FieldGroup>,
    /// The address lines that the update cleared but that Imprint's answer still contains.
    pub still_set: Vec<Field>,
    /// The partner customer id in Imprint's answer.
    pub partner_customer_id: Option<PartnerCustomerId>,
}

/// The result of a retrieve or a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupResult {
    /// The retrieve or search found exactly this customer.
    Found(ImprintId),
    /// Imprint does not have the customer.
    NotFound,
    /// A search matched at least two different customers.
    Ambiguous,
    /// Imprint gave no usable answer to the retrieve or search. The contained outcome is the reason.
    Failed(Outcome),
}

impl LookupResult {
    /// Returns the label of the lookup result in metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Found(_) => "one",
            Self::NotFound => "none",
            Self::Ambiguous => "several",
            Self::Failed(outcome) => outcome.label(),
        }
    }
}

/// Replaces an [`Outcome::Unclear`] by the outcome that follows from a lookup of the same customer.
///
/// If the lookup finds the customer, the result is [`Outcome::Denied`]. If Imprint does not have the customer, the
/// result is [`Outcome::NotFound`].
pub fn resolve_ambiguous(cause: Cause, lookup: LookupResult) -> Outcome {
    match lookup {
        LookupResult::Found(_)
        | LookupResult::Ambiguous
        | LookupResult::Failed(Outcome::Denied(_)) => Outcome::Denied(cause),
        LookupResult::NotFound => Outcome::NotFound,
        LookupResult::Failed(outcome) => outcome,
    }
}

/// The parts of Imprint's error body that the bridge keeps. The bridge keeps no field value of the error body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status of Imprint's rejection.
    pub status: u16,
    /// The error `type` in Imprint's answer, such as `INVALID_REQUEST_ERROR`. `None` if the answer has no type, or a type
    /// that Imprint does not document.
    pub kind: Option<&'static str>,
    /// The name of the field that Imprint reports as wrong.
    pub param: Option<String>,
}

impl Rejection {
    /// Returns whether the rejection has a form that only Imprint uses, and no gateway: the status is 400, 409 or 422,
    /// and the body has an error type of Imprint or the name of a field.
    pub const fn is_typed(&self) -> bool {
        matches!(self.status, 400 | 409 | 422) && (self.kind.is_some() || self.param.is_some())
    }
}

/// The port to Imprint's API. The futures of the port are not `Send`: a client stays on the thread that created the
/// client.
pub trait ImprintApi {
    /// Sends an update of a customer to Imprint, if the check allows it immediately before the first byte. The future ends
    /// after the time `deadline` at the latest.
    fn deliver(
        &self,
        request: Request,
        deadline: Duration,
        check: &LastCheck,
    ) -> impl Future<Output = Answered<Outcome>>;

    /// Retrieves a customer by Imprint's id, to find out whether the customer exists.
    fn retrieve(
        &self,
        customer: ImprintId,
        deadline: Duration,
    ) -> impl Future<Output = Answered<LookupResult>>;

    /// Searches for the customer that has this partner customer id.
    fn search(
        &self,
        partner: PartnerCustomerId,
        deadline: Duration,
    ) -> impl Future<Output = Answered<LookupResult>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";

    #[test]
    fn an_id_is_one_path_segment() {
        for good in [UUID, "CSMR-v1-123", "a", "_", &"a".repeat(64)] {
            let id = ImprintId::parse(good).unwrap();
            assert_eq!(id.as_str(), good);
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
    fn only_uuids_are_compared_without_case() {
        let uuid = ImprintId::parse(UUID).unwrap();
        assert!(uuid.is_same(UUID));
        assert!(uuid.is_same(&UUID.to_lowercase()));
        assert!(!uuid.is_same("BBB815E9-F654-438D-9AD3-3F7BB8136FC1"));
        assert_eq!(uuid.canonical(), UUID.to_lowercase());
        // Texts that are as long as a UUID, but have a hyphen or a digit in the wrong place.
        for other in [
            "CSMR-v1",
            "BBB815E9XF654-438D-9AD3-3F7BB8136FC0",
            "BBB815E9-F654X438D-9AD3-3F7BB8136FC0",
            "BBB815E9-F654-438DX9AD3-3F7BB8136FC0",
            "BBB815E9-F654-438D-9AD3X3F7BB8136FC0",
            "BBB815E9-F654-438D-9AD3-3F7BB8136FCG",
            "-BB815E9-F654-438D-9AD3-3F7BB8136FC0",
            "BBB815E9-F654-438D-9AD3-3F7BB8136FC",
        ] {
            let id = ImprintId::parse(other).unwrap();
            assert!(id.is_same(other));
            assert!(!id.is_same(&other.to_lowercase()), "{other}");
            assert_eq!(id.canonical(), other);
        }
    }

    #[test]
    fn a_partner_customer_id_has_no_case_only_if_it_is_a_uuid() {
        let id = |raw: &str| PartnerCustomerId::parse(raw).unwrap();
        assert!(id(UUID).is_same(&UUID.to_lowercase()));
        assert!(id("P-1").is_same("P-1") && !id("P-1").is_same("p-1"));
    }

    #[test]
    fn a_partner_customer_id_is_never_blank_and_fits_a_query() {
        for good in ["P-1", "a b", "é", &"é".repeat(256)] {
            let id = PartnerCustomerId::parse(good).unwrap();
            assert_eq!(id.as_str(), good);
        }
        for bad in ["", " ", " P-1", "P-1\t", "a\nb", &"é".repeat(257)] {
            let parsed = PartnerCustomerId::parse(bad);
            assert_eq!(parsed, Err(PartnerCustomerIdError), "{bad:?}");
        }
    }

    #[test]
    fn a_customer_ref_has_the_ids_of_its_event() {
        let imprint = ImprintId::parse("CUST-1").unwrap();
        let partner = PartnerCustomerId::parse("P-1").unwrap();
        let pair = CustomerRef::Pair {
            imprint: imprint.clone(),
            partner: partner.clone(),
        };
        for (customer, has_imprint, has_partner) in [
            (CustomerRef::Imprint(imprint.clone()), true, false),
            (CustomerRef::Partner(partner.clone()), false, true),
            (pair, true, true),
        ] {
            assert_eq!(customer.imprint(), has_imprint.then_some(&imprint));
            assert_eq!(customer.partner(), has_partner.then_some(&partner));
        }
    }

    #[test]
    fn a_lookup_resolves_an_unclear_update() {
        let cause = Cause::Status(403);
        let id = ImprintId::parse("CUST-1").unwrap();
        let denied = Outcome::Denied(Cause::Status(401));
        let unavailable = Outcome::Unavailable(Cause::Connect);
        for (lookup, outcome) in [
            (LookupResult::Found(id), Outcome::Denied(cause)),
            (LookupResult::Ambiguous, Outcome::Denied(cause)),
            (LookupResult::Failed(denied), Outcome::Denied(cause)),
            (LookupResult::NotFound, Outcome::NotFound),
            (LookupResult::Failed(unavailable.clone()), unavailable),
        ] {
            assert_eq!(
                resolve_ambiguous(cause, lookup.clone()),
                outcome,
                "{lookup:?}"
            );
        }
    }

    #[test]
    fn labels_and_causes_are_stable_words() {
        let rejection = Rejection {
            status: 400,
            kind: None,
            param: None,
        };
        for (outcome, label) in [
            (Outcome::Applied(Echo::default()), "applied"),
            (Outcome::Throttled(None), "throttled"),
            (Outcome::Unavailable(Cause::Dns), "unavailable"),
            (Outcome::Unknown(Cause::Deadline), "unknown"),
            (Outcome::Denied(Cause::Certificate), "denied"),
            (Outcome::Unclear(Cause::Status(404)), "unclear"),
            (Outcome::NotFound, "not_found"),
            (Outcome::Rejected(rejection), "rejected"),
        ] {
            assert_eq!(outcome.label(), label);
            assert_eq!(LookupResult::Failed(outcome).label(), label);
        }
        let id = ImprintId::parse("CUST-1").unwrap();
        assert_eq!(LookupResult::Found(id).label(), "one");
        assert_eq!(LookupResult::NotFound.label(), "none");
        assert_eq!(LookupResult::Ambiguous.label(), "several");
    }

    #[test]
    fn a_request_never_prints_its_body() {
        let email = Field::parse("email").unwrap();
        let value = FieldValue::from_value("jane@example.com".into());
        let update: Update = [(email, value)].into_iter().collect();
        let request = Request {
            customer: ImprintId::parse("CUST-1").unwrap(),
            body: update.body(clearing::Clearing::default()),
            cleared: Vec::new(),
        };
        assert_eq!(format!("{request:?}"), "Request { fields: 1, .. }");
    }
}
