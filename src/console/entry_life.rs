//! The life of an event as a timeline: what happened, when, and what it means. Pure.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::entry_row::{StateText, spaced};
use super::words::{TimeText, capitalized, counted};
use crate::outbox::{IgnoreReason, ParkReason, Receipt, State};
use crate::time::Timestamp;

/// One step in the life of an event.
#[derive(Clone, Debug)]
pub(super) struct LifeStep {
    pub(super) title: String,
    /// The class of the style sheet.
    pub(super) class: &'static str,
    /// The time of the step. `None` if the store does not know it.
    pub(super) at: Option<TimeText>,
    pub(super) meaning: String,
    /// The id of the event whose newer values replaced the values.
    pub(super) winner: Option<EventLink>,
}

/// A link to the entry of another event.
#[derive(Clone, Debug)]
pub(super) struct EventLink {
    pub(super) id: String,
    pub(super) path: String,
}

/// Returns the steps of the life of an event, the oldest first. `hold` is the reason why the bridge sends no request at
/// present.
pub(super) fn life(receipt: &Receipt, hold: Option<&str>, now: Timestamp) -> Vec<LifeStep> {
    let accepted = LifeStep {
        title: "Accepted".to_owned(),
        class: "plain",
        at: Some(TimeText::of(receipt.accepted_at, now)),
        meaning: format!(
            "The source {} sent the event, and the bridge stored it.",
            receipt.identity.source.as_str()
        ),
        winner: None,
    };
    let attempts = u64::from(receipt.attempts);
    let tried = (attempts > 0).then(|| LifeStep {
        title: format!("Sent in {}", counted(attempts, ["request", "requests"])),
        class: "plain",
        at: None,
        meaning: "These requests to Imprint had values of the event.".to_owned(),
        winner: None,
    });
    let winner = receipt.superseded_by.as_ref();
    // The bridge holds an entry when it accepts the event.
    let held_at = (receipt.state == State::Held).then_some(receipt.accepted_at);
    let present = LifeStep {
        title: title(receipt),
        class: StateText::of(receipt.state).class,
        at: receipt
            .settled_at
            .or(held_at)
            .map(|at| TimeText::of(at, now)),
        meaning: match hold {
            Some(hold) if receipt.state == State::Waiting => {
                format!("The event waits for a request to Imprint: {hold}.")
            }
            Some(_) | None => meaning(receipt),
        },
        winner: winner.map(|winner| EventLink::to(winner.as_str())),
    };
    [accepted]
        .into_iter()
        .chain(tried)
        .chain([present])
        .collect()
}

impl EventLink {
    fn to(id: &str) -> Self {
        let encoded = utf8_percent_encode(id, NON_ALPHANUMERIC);
        Self {
            id: id.to_owned(),
            path: format!("/entries?state=all&id={encoded}"),
        }
    }
}

fn title(receipt: &Receipt) -> String {
    if receipt.erased_at.is_some() {
        return format!("Erased, before {}", receipt.state.as_str());
    }
    let state = capitalized(receipt.state.as_str());
    let parked = receipt.parked.as_ref().map(|(reason, _)| reason.as_str());
    let ignored = receipt.ignored.map(IgnoreReason::as_str);
    match parked.or(ignored) {
        Some(reason) => format!("{state}: {}", spaced(reason)),
        None => state,
    }
}

/// Returns what the present state means, in whole sentences.
fn meaning(receipt: &Receipt) -> String {
    if receipt.erased_at.is_some() {
        return "An operator erased the customer. The bridge keeps only this receipt, with a digest instead of the event's id.".to_owned();
    }
    match (receipt.state, &receipt.parked, receipt.ignored) {
        (State::Parked, Some((reason, detail)), _) => {
            let detail = detail.as_ref().filter(|detail| !detail.is_empty());
            let detail = detail.map(|detail| format!(" Detail: {detail}"));
            format!("{}{}", park_meaning(*reason), detail.unwrap_or_default())
        }
        (State::Ignored, _, Some(reason)) => ignore_meaning(reason).to_owned(),
        (state, _, _) => state_meaning(state).to_owned(),
    }
}

const fn state_meaning(state: State) -> &'static str {
    match state {
        State::Waiting => "The event waits for a request to Imprint, or a request is in progress.",
        State::Delivered => {
            "Imprint has the values. The bridge has erased the content of the event."
        }
        State::Superseded => {
            "Imprint has newer values. The bridge has erased the content of the event."
        }
        State::Ignored => "Nothing was sent. The bridge has erased the content of the event.",
        State::Parked => "The bridge does not send the event until an operator acts.",
        State::Discarded => {
            "An operator or the retention period ended the event without a request. The bridge has erased its content."
        }
        State::Held => "The event belongs to a mass change that an operator must approve.",
        State::Undecided => {
            "Requests failed for a long time, and nothing proves whether the event or Imprint is the cause. Replay, park or discard the entry."
        }
    }
}

const fn park_meaning(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Rejected => {
            "Imprint rejected the values. Correct the values at the source or the mapping; then replay or discard the entry."
        }
        ParkReason::AttemptsExhausted => {
            "Requests with this entry kept failing, while requests for other customers succeeded."
        }
        ParkReason::UnknownCustomer => "Imprint does not know the customer.",
        ParkReason::Unreadable => "The bridge cannot read the stored content of the entry.",
        ParkReason::IdentityConflict => {
            "The two customer ids in the event belong to different customers at Imprint. A request could change the data of the wrong cardholder."
        }
        ParkReason::AmbiguousCustomer => {
            "Imprint knows several customers with the CRM's id of the customer."
        }
        ParkReason::ForeignAddress => {
            "The address is outside the USA, and an address at Imprint has no country."
        }
        ParkReason::NotCleared => {
            "The event clears an address line, but Imprint still has the line."
        }
        ParkReason::Vanished => {
            "Imprint no longer knows the customer, but has applied an update of the customer before."
        }
        ParkReason::VersionJump => {
            "The version of the event is too far from the other versions of the customer."
        }
        ParkReason::ByOperator => "An operator took the entry out of delivery.",
        ParkReason::Invalid => {
            "The event does not fit the schema or the mapping of its source. After a correction of the mapping, replay the entry with the present mapping."
        }
    }
}

const fn ignore_meaning(reason: IgnoreReason) -> &'static str {
    match reason {
        IgnoreReason::ListedType => "The source file lists the type of the event in `ignore`.",
        IgnoreReason::Condition => "The condition `when` of the mapping is not true for the event.",
        IgnoreReason::NothingToSend => "The mapping sets and clears no field for the event.",
        IgnoreReason::ValuesSkipped => {
            "The mapping leaves out all fields of the event, because their values are invalid."
        }
        IgnoreReason::ForeignAddress => {
            "The event only sets an address outside the USA, and the bridge leaves such addresses out."
        }
        IgnoreReason::ClearingOmitted => {
            "The event only clears fields, and the settings omit these fields from requests."
        }
        IgnoreReason::UnknownCustomer => "Imprint does not know the customer.",
        IgnoreReason::Blocked => "An operator erased the customer and blocked later events.",
    }
}
