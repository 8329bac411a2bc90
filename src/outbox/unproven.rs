//! The answers about a lane that have no proven cause yet: failures, and answers that the customer does not exist.

use crate::time::Timestamp;

/// A short hash of the API key, the host and the environment of Imprint.
///
/// An answer under one key proves nothing about an answer under a different key: a different program's key does not see
/// our customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyMark(pub u64);

/// The last answers about a lane, if they have no proven cause yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unproven {
    /// The time of the first of these answers. `None` means that evidence has shown the cause of the last answer.
    pub since: Option<Timestamp>,
    /// The last answer, if the answer says that the customer does not exist. When evidence shows that the answer is
    /// true, dispatch settles the entries of the lane without a further request.
    pub absence: Option<Absence>,
}

/// An answer of Imprint, or of a gateway in front of Imprint, that the customer of a lane does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The time of the answer.
    pub at: Timestamp,
    /// True if the answer has a form that only Imprint uses: an error type, or a list of customers without a customer.
    /// Also true if dispatch has proven an earlier answer that this customer does not exist.
    pub is_typed: bool,
    /// True if a search by the partner customer id found no customer.
    pub by_search: bool,
    /// True if Imprint found no customer with the Imprint id of the lane.
    pub by_id: bool,
    /// The mark of the API key of the request.
    pub key: KeyMark,
}
