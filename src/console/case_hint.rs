//! What the page Problems says about the mapping of a field whose values Imprint rejects.

use crate::event::Visibility;
use crate::intake::TargetExplanation;
use crate::ops::operate::{Case, Operations, Operator};
use crate::outbox::ParkReason;

/// The maximum number of cases with a hint. Each hint reads one event of the store, and maps it.
pub(super) const HINTS_MAX: usize = 5;

/// The rule of a rejected field.
pub(super) struct CaseHint {
    pub(super) target: String,
    pub(super) expression: String,
    /// A note about the value in the newest entry.
    pub(super) note: Option<String>,
}

impl CaseHint {
    /// Finds the rule of the field that Imprint names in its rejection. `None` for another case, and if the event of the newest
    /// entry is erased.
    pub(super) async fn find(
        operations: &Operations,
        operator: &Operator,
        case: &Case,
    ) -> Option<Self> {
        let is_rejected = case.cause.reason == Some(ParkReason::Rejected.as_str());
        let detail = case.cause.detail.as_deref().filter(|_| is_rejected)?;
        let field = detail.rsplit(' ').next()?;
        let newest = case.newest.iter().copied().max()?;
        let explained = operations.explain_entry(operator, newest, Visibility::Masked);
        let targets = explained.await.ok()?.targets?;
        targets.into_iter().find_map(|rule| Self::of(rule, field))
    }

    fn of(rule: TargetExplanation, field: &str) -> Option<Self> {
        let is_field = rule.target == field || rule.target.ends_with(&format!(".{field}"));
        is_field.then_some(Self {
            target: rule.target,
            expression: rule.expression,
            note: rule.note,
        })
    }
}
