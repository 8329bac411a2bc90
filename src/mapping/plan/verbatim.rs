//! Whether the result of an expression is a value of the event as the event has it.

use super::Plan;

impl Plan {
    /// Returns whether the result of the plan is always a whole value of the event, a request header or a constant. A computed
    /// text stands nowhere in the event.
    pub(in crate::mapping) fn is_verbatim(&self) -> bool {
        match self {
            Self::Input | Self::Header(_) | Self::Literal(_) | Self::Assumed(_) => true,
            Self::Path(from, _) => from.is_verbatim(),
            Self::Pipe(one, other) | Self::Alternative(one, other) => {
                one.is_verbatim() && other.is_verbatim()
            }
            Self::Conditional(branches, otherwise) => {
                let mut results = branches.iter().map(|(_, result)| result);
                otherwise.is_verbatim() && results.all(Self::is_verbatim)
            }
            Self::Object(_)
            | Self::Call(_)
            | Self::BinaryCall(..)
            | Self::Split(_)
            | Self::Compare { .. }
            | Self::Logic { .. }
            | Self::Not
            | Self::Interpolation(_)
            | Self::Interpreted(_) => false,
        }
    }
}
