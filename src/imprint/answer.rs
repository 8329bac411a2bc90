//! What operators see of an answer of Imprint: its status and names from closed lists. No part is a value of a customer.

/// The result of a request, with the facts of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub result: T,
    /// `None` if no answer came, or only an unreadable one.
    pub facts: Option<AnswerFacts>,
}

/// The facts of an answer of Imprint, for operators. No decision reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerFacts {
    /// The HTTP status.
    pub status: u16,
    /// The error `type`, if Imprint documents it.
    pub kind: Option<&'static str>,
    /// The name of the field or the parameter that Imprint reports as wrong.
    pub param: Option<String>,
}
