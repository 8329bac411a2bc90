//! The exchange with Imprint about one claimed lane: a sequence of calls until the result for the lane is known. This
//! module is pure: it does no IO and reads no clock.
//!
//! Most exchanges are one update. Five cases need more calls:
//! - A lane whose customer is known only by our own id needs a search first.
//! - After a refusal that may concern every customer or only this customer, a retrieve of the customer shows which is
//!   true.
//! - If Imprint does not find a customer by a UUID, one more request has the UUID in the other letter case.
//! - A customer that Imprint no longer finds is searched once more by our own id.
//! - An entry whose ids contradict an identity link needs a search or a retrieve.
//! - A cleared address line that Imprint still echoes is sent once more, as an empty text.

use self::doubt::mark_in_doubt;
use self::identity::{is_worth_a_search, search_for};
use self::links::{Contradictions, IdentityCheck, contradictions};
use super::rules::DeliveryRules;
use crate::fold::{Fold, MaxFold, fold};
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{
    Cause, Echo, Field, FieldValue, ImprintId, LookupResult, Outcome, PartnerCustomerId, Request,
    Update, resolve_ambiguous,
};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, LaneKey, WaitingEntry};
use crate::time::Timestamp;

mod doubt;
mod evidence;
mod identity;
mod links;
mod version_jump;

pub(super) use self::evidence::signal_of;
pub(super) use self::links::newest_of;

/// The exchange about one claimed lane.
#[derive(Debug)]
pub struct LaneExchange {
    /// The claimed lane, as the store returned the lane.
    pub claimed: ClaimedLane,
    /// The request that combines the entries of the lane.
    pub fold: Fold,
    /// The entries that name two ids which, according to Imprint, belong to different customers.
    pub conflicts: Vec<EntryId>,
    /// The entries whose version is absurdly far from the other versions of the customer.
    pub jumps: Vec<EntryId>,
    /// The link between our id and Imprint's id that a search of this exchange confirmed.
    pub new_link: Option<IdentityLink>,
    /// Our id, if the conclusion concerns only entries with this id.
    pub about: Option<PartnerCustomerId>,
    /// True if Imprint has no customer with the Imprint id of the lane.
    pub is_gone: bool,
    /// The check of entries that must not be sent before it.
    check: Option<IdentityCheck>,
    /// The place in the waiting entries of an entry that names our id, for a search if Imprint does not find the customer.
    search_for: Option<usize>,
    /// True if Imprint has answered a call of the exchange.
    is_answered: bool,
    /// The call to Imprint that has not been answered.
    pending: PendingCall,
    clearing: Clearing,
    /// The UUID in the other letter case, after the exchange has tried it.
    tried: Option<ImprintId>,
    /// True if an answer that the customer does not exist came without an error type of Imprint.
    is_untyped: bool,
    /// True if the same answer was proven before.
    is_confirming: bool,
}

/// The call that Imprint has not answered, with the data that is needed to interpret the answer.
#[derive(Debug)]
enum PendingCall {
    None,
    Update,
    /// A retrieve of the customer, because Imprint refused an update for this cause.
    Retrieve(Cause),
    /// A search by our id. `gone` is the Imprint id that our id has had so far.
    Search {
        partner: PartnerCustomerId,
        gone: Option<ImprintId>,
    },
    /// A retrieve of the customer of the lane, because our id belongs to this other customer.
    RetrieveLane {
        partner: PartnerCustomerId,
        other: ImprintId,
    },
    /// An update that sends address lines as empty texts. The echo is the answer to the update before.
    EmptyLines(Echo),
}

/// The next step of an exchange with Imprint.
#[derive(Debug)]
pub enum ExchangeStep {
    /// The dispatcher must call Imprint's API in this way, and then pass the answer to the exchange.
    Call(ImprintCall),
    /// The exchange is over and has this conclusion.
    Conclude(Conclusion),
}

/// One call to Imprint.
#[derive(Debug)]
pub enum ImprintCall {
    /// Updates the values of a customer at Imprint.
    Update(Request),
    /// Asks Imprint whether a customer exists.
    Retrieve(ImprintId),
    /// Asks Imprint which customer has this partner customer id.
    Search(PartnerCustomerId),
}

/// Imprint's answer to one call.
#[derive(Debug)]
pub enum ImprintReply {
    /// Imprint's answer to an update.
    Outcome(Outcome),
    /// Imprint's answer to a retrieve or a search.
    Lookup(LookupResult),
}

/// The result of an exchange with Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The lane had nothing to send.
    NothingToSend,
    /// Dispatch must not send the next call before this time.
    Postponed(Timestamp),
    /// Imprint does not know the customer, as an earlier exchange found out: evidence shows that the recorded answer is true,
    /// or a stored identity link says it.
    ProvenAbsent,
    /// The update of the customer had this outcome.
    Updated(Outcome),
    /// Imprint applied the update, but keeps these cleared address lines.
    NotCleared(Vec<Field>),
    /// Imprint applied the update to a customer who has this partner customer id, which is not our id in an entry of the
    /// request.
    Misdirected(PartnerCustomerId),
    /// Imprint's answer shows what to do with some entries: look at the lane again.
    LookAgain,
    /// The customer with our own id has this Imprint id.
    Identified(ImprintId),
    /// Imprint knows no customer with our own id.
    UnknownCustomer,
    /// Imprint knows several customers with our own id.
    Ambiguous,
    /// Our API key may not search.
    SearchForbidden(Cause),
}

impl LaneExchange {
    /// Folds a claimed lane and returns the first step of the exchange.
    pub fn start(
        mut claimed: ClaimedLane,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> (Self, ExchangeStep) {
        mark_in_doubt(&mut claimed, rules, now);
        let Contradictions {
            conflicts,
            unsure,
            check,
        } = contradictions(&claimed, rules, now);
        let jumps = version_jump::jumps(&claimed, &conflicts);
        let may_be_sent = |entry: &EntryId| {
            ![&conflicts, &unsure, &jumps]
                .iter()
                .any(|set| set.contains(entry))
        };
        let candidates: Vec<_> = claimed
            .waiting
            .iter()
            .filter(|waiting| may_be_sent(&waiting.entry))
            .map(WaitingEntry::candidate)
            .collect();
        let fold = match claimed.key {
            Some(LaneKey::Imprint(_)) => fold(
                &claimed.versions,
                &candidates,
                max_fold(&claimed, rules),
                now,
            ),
            Some(LaneKey::Partner(_)) | None => Fold::default(),
        };
        let is_worth = |waiting: &WaitingEntry| {
            may_be_sent(&waiting.entry) && is_worth_a_search(waiting, &claimed.links, rules, now)
        };
        let search_for = search_for(&claimed, is_worth, now);
        let mut exchange = Self {
            claimed,
            fold,
            conflicts,
            jumps,
            new_link: None,
            about: None,
            is_gone: false,
            check,
            search_for,
            is_answered: false,
            pending: PendingCall::None,
            clearing: rules.clearing,
            tried: None,
            is_untyped: false,
            is_confirming: false,
        };
        let step = exchange.first_step(rules, now);
        (exchange, step)
    }

    fn first_step(&mut self, rules: &DeliveryRules, now: Timestamp) -> ExchangeStep {
        if self.is_recorded_absent() {
            self.recall_absence();
            return ExchangeStep::Conclude(Conclusion::ProvenAbsent);
        }
        // An answer of a gateway must repeat itself after it was proven: the gateway may have been repaired between the answer
        // and the proof.
        self.is_confirming = self.claimed.unproven.absence.take().is_some();
        match self.claimed.key.clone() {
            None => ExchangeStep::Conclude(Conclusion::NothingToSend),
            Some(LaneKey::Partner(partner)) => self.identify(partner, rules, now),
            Some(LaneKey::Imprint(customer))
                if self.claimed.is_gone && self.search_for.is_some() =>
            {
                self.on_gone(customer)
            }
            Some(LaneKey::Imprint(customer)) => match self.check.take() {
                // The entries that may be sent go first, because a check may fail for a long time.
                Some(check) if self.fold.is_empty() => self.check(check),
                Some(_) | None => self.update(customer),
            },
        }
    }

    fn update(&mut self, customer: ImprintId) -> ExchangeStep {
        let body = self.fold.update.body(self.clearing);
        let cleared = match self.clearing.address {
            AddressClearing::Verify => self.fold.update.cleared_address_lines(),
            AddressClearing::Empty | AddressClearing::Omit => Vec::new(),
        };
        // If the update has no other value, no echo can show the lines, so the exchange sends the empty lines at once.
        if body.is_empty() && !cleared.is_empty() {
            return self.empty_lines(
                customer,
                Echo {
                    still_set: cleared,
                    ..Echo::default()
                },
            );
        }
        if body.is_empty() {
            return ExchangeStep::Conclude(Conclusion::NothingToSend);
        }
        self.pending = PendingCall::Update;
        ExchangeStep::Call(ImprintCall::Update(Request {
            customer,
            body,
            cleared,
        }))
    }

    /// Takes Imprint's answer to the pending call and returns the next step of the exchange.
    ///
    /// `on_answer` is the only function in which an answer can fail to match its call: a lookup result may answer an
    /// update, or no call may be pending. The types do not exclude a mismatch, because the caller holds the call while
    /// the call is in flight. After a mismatch the result of the call is unknown, exactly as if no answer had come.
    pub fn on_answer(&mut self, reply: ImprintReply, now: Timestamp) -> ExchangeStep {
        self.is_answered = true;
        let pending = std::mem::replace(&mut self.pending, PendingCall::None);
        match (pending, reply) {
            (
                PendingCall::Update | PendingCall::EmptyLines(_),
                ImprintReply::Outcome(Outcome::Applied(Echo {
                    partner_customer_id: Some(partner),
                    ..
                })),
            ) if self.is_misdirected(&partner) => {
                ExchangeStep::Conclude(Conclusion::Misdirected(partner))
            }
            (PendingCall::Update, ImprintReply::Outcome(outcome)) => self.on_outcome(outcome),
            (PendingCall::EmptyLines(echo), ImprintReply::Outcome(outcome)) => {
                on_lines_emptied(echo, outcome)
            }
            (PendingCall::Retrieve(cause), ImprintReply::Lookup(found)) => {
                self.is_untyped = true;
                self.on_outcome(resolve_ambiguous(cause, found))
            }
            (PendingCall::Search { partner, gone }, ImprintReply::Lookup(found)) => {
                self.on_found(partner, gone.as_ref(), found, now)
            }
            (PendingCall::RetrieveLane { partner, other }, ImprintReply::Lookup(found)) => {
                self.on_lane_retrieved(partner, other, found)
            }
            (_, ImprintReply::Outcome(_) | ImprintReply::Lookup(_)) => {
                ExchangeStep::Conclude(Conclusion::Updated(Outcome::Unknown(Cause::Protocol)))
            }
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) -> ExchangeStep {
        match (outcome, self.imprint_id().cloned()) {
            (Outcome::Unclear(cause), Some(customer)) => {
                self.pending = PendingCall::Retrieve(cause);
                ExchangeStep::Call(ImprintCall::Retrieve(customer))
            }
            (Outcome::NotFound, Some(customer))
                if self.tried.is_none()
                    && let Some(other) = customer.in_other_case() =>
            {
                self.tried = Some(other.clone());
                self.update(other)
            }
            (Outcome::NotFound, Some(customer)) => self.on_gone(customer),
            (Outcome::Applied(echo), Some(customer)) if !echo.still_set.is_empty() => {
                let customer = self.tried.clone().unwrap_or(customer);
                self.empty_lines(customer, echo)
            }
            (outcome, _) => ExchangeStep::Conclude(Conclusion::Updated(outcome)),
        }
    }

    /// Sends the cleared address lines that Imprint still has, as empty texts.
    fn empty_lines(&mut self, customer: ImprintId, echo: Echo) -> ExchangeStep {
        let cleared = echo
            .still_set
            .iter()
            .map(|field| (field.clone(), FieldValue::Cleared));
        let clearing = Clearing {
            address: AddressClearing::Empty,
            ..Clearing::default()
        };
        let request = Request {
            customer,
            body: cleared.collect::<Update>().body(clearing),
            cleared: echo.still_set.clone(),
        };
        self.pending = PendingCall::EmptyLines(echo);
        ExchangeStep::Call(ImprintCall::Update(request))
    }

    /// Returns the Imprint id of the lane's customer.
    pub fn imprint_id(&self) -> Option<&ImprintId> {
        match &self.claimed.key {
            Some(LaneKey::Imprint(imprint)) => Some(imprint),
            Some(LaneKey::Partner(_)) | None => None,
        }
    }
}

/// Concludes the exchange after address lines were sent empty. Imprint had applied the update before, whatever the
/// answer is now.
fn on_lines_emptied(first: Echo, outcome: Outcome) -> ExchangeStep {
    ExchangeStep::Conclude(match outcome {
        Outcome::Applied(echo) if echo.still_set.is_empty() => {
            Conclusion::Updated(Outcome::Applied(first))
        }
        Outcome::Applied(echo) => Conclusion::NotCleared(echo.still_set),
        Outcome::Rejected(_) => Conclusion::NotCleared(first.still_set),
        // Dispatch sends the first update and the update with the empty lines again.
        outcome @ (Outcome::Throttled(_)
        | Outcome::Unavailable(_)
        | Outcome::Unknown(_)
        | Outcome::Unclear(_)
        | Outcome::Denied(_)
        | Outcome::NotFound) => Conclusion::Updated(outcome),
    })
}

/// Returns the most entries that the next request may carry: one entry while a rejected request is sent entry by entry.
fn max_fold(claimed: &ClaimedLane, rules: &DeliveryRules) -> MaxFold {
    let is_unfolding = claimed
        .unfold_to
        .is_some_and(|to| claimed.waiting.iter().any(|waiting| waiting.entry <= to));
    MaxFold(if is_unfolding { 1 } else { rules.max_fold })
}
