//! The answers about a lane whose cause no evidence has shown yet.

use crate::time::Timestamp;

/// The mark of an API key and of the host and environment of Imprint: a short hash.
///
/// Answers that two different keys got prove nothing about each other, because a key of another program does not see our
/// customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyMark(pub u64);

/// The answers of a lane, in a row, whose cause no evidence has shown yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unproven {
    /// The time of the first of these answers; `None` if evidence has shown the cause of the last answer.
    pub since: Option<Timestamp>,
    /// The last answer, if the answer says that the customer does not exist. When evidence shows that the answer is
    /// true, dispatch ends the entries of the lane without asking Imprint again.
    pub absence: Option<Absence>,
}

/// An answer of Imprint, or of a gateway in front of Imprint, that the customer of a lane does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The time of the answer.
    pub at: Timestamp,
    /// True if the answer has a form that only Imprint uses: an error type, or a list of customers without a customer. Also
    /// true if the same answer was proven before.
    pub is_typed: bool,
    /// True if a search by the partner's own id found nobody.
    pub by_search: bool,
    /// True if Imprint found no customer with the Imprint id of the lane.
    pub by_id: bool,
    /// The API key of the request.
    pub key: KeyMark,
}
