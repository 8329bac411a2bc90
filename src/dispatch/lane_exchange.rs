//! The exchange with Imprint about one claimed lane: call by call, until the result is known. Pure.
//!
//! Most exchanges are one update. Four cases need more calls:
//! - A lane that is known only by our own id needs a search first.
//! - After a refusal that may concern everybody or only this customer, a retrieve shows which is true.
//! - A customer that Imprint no longer finds is searched once more by our own id.
//! - A line of the address that was cleared and that Imprint still echoes is sent once more as the empty text.

use self::links::{conflicts, is_fresh};
use super::breaker::Signal;
use super::rules::DeliveryRules;
use crate::fold::{Fold, MaxFold, fold};
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{
    Cause, CustomerRef, Echo, Field, FieldValue, ImprintId, LookupResult, Outcome,
    PartnerCustomerId, Request, Update, resolve_ambiguous,
};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, LaneKey, WaitingEntry};
use crate::time::Timestamp;

mod links;

/// The exchange about one claimed lane.
#[derive(Debug)]
pub struct LaneExchange {
    /// The lane as it was claimed.
    pub claimed: ClaimedLane,
    /// The request that the lane's entries are folded into.
    pub fold: Fold,
    /// The entries that name two ids of different customers, according to Imprint.
    pub conflicts: Vec<EntryId>,
    /// The link between our id and Imprint's id that a search of this exchange confirmed.
    pub new_link: Option<IdentityLink>,
    /// The call that has not been answered.
    pending: PendingCall,
}

/// The call that has not been answered, with the data to judge its answer.
#[derive(Debug)]
enum PendingCall {
    None,
    Update,
    /// Retrieves the customer, because an update was refused for this cause.
    Retrieve(Cause),
    /// Searches by our id. `gone` is the customer that had our id so far.
    Search {
        partner: PartnerCustomerId,
        gone: Option<ImprintId>,
    },
    /// Sends address lines as empty texts. The request before was applied, with this echo.
    EmptyLines(Echo),
}

/// The next step of an exchange.
#[derive(Debug)]
pub enum ExchangeStep {
    /// Send this call next.
    Call(ImprintCall),
    /// The exchange is over.
    Conclude(Conclusion),
}

/// One call to Imprint.
#[derive(Debug)]
pub enum ImprintCall {
    /// Updates a customer.
    Update(Request),
    /// Asks whether a customer exists.
    Retrieve(ImprintId),
    /// Asks which customer has this id of ours.
    Search(PartnerCustomerId),
}

/// The answer to one call.
#[derive(Debug)]
pub enum ImprintReply {
    /// The answer to an update.
    Outcome(Outcome),
    /// The answer to a retrieve or a search.
    Lookup(LookupResult),
}

/// The result of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// There was nothing to send.
    NothingToSend,
    /// A call may not be sent before this time.
    Postponed(Timestamp),
    /// The update had this outcome.
    Updated(Outcome),
    /// The update was applied, but Imprint keeps these cleared lines.
    NotCleared(Vec<Field>),
    /// The customer with our id has this Imprint id.
    Identified(ImprintId),
    /// Imprint knows no customer with our id.
    UnknownCustomer,
    /// Imprint knows several customers with our id.
    Ambiguous,
    /// Our key may not search.
    SearchForbidden(Cause),
}

impl LaneExchange {
    /// Folds a claimed lane and returns the first step.
    pub fn start(
        mut claimed: ClaimedLane,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> (Self, ExchangeStep) {
        mark_in_doubt(&mut claimed, rules, now);
        let conflicts = conflicts(&claimed, rules, now);
        let candidates: Vec<_> = claimed
            .waiting
            .iter()
            .filter(|waiting| !conflicts.contains(&waiting.entry))
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
        let mut exchange = Self {
            claimed,
            fold,
            conflicts,
            new_link: None,
            pending: PendingCall::None,
        };
        let step = exchange.first_step(rules, now);
        (exchange, step)
    }

    fn first_step(&mut self, rules: &DeliveryRules, now: Timestamp) -> ExchangeStep {
        match self.claimed.key.clone() {
            None => ExchangeStep::Conclude(Conclusion::NothingToSend),
            Some(LaneKey::Partner(partner)) => self.identify(partner, rules, now),
            Some(LaneKey::Imprint(customer)) => self.update(customer, rules),
        }
    }

    fn update(&mut self, customer: ImprintId, rules: &DeliveryRules) -> ExchangeStep {
        let body = self.fold.update.body(rules.clearing);
        let cleared = match rules.clearing.address {
            AddressClearing::Verify => self.fold.update.cleared_address_lines(),
            AddressClearing::Empty | AddressClearing::Omit => Vec::new(),
        };
        // If nothing else is sent, Imprint echoes nothing, so the lines are emptied at once.
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

    /// Finds the Imprint id of a lane that has only our own id.
    fn identify(
        &mut self,
        partner: PartnerCustomerId,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> ExchangeStep {
        if self.claimed.waiting.is_empty() {
            return ExchangeStep::Conclude(Conclusion::NothingToSend);
        }
        let links = self.claimed.links.iter();
        let link = links
            .filter(|link| link.partner == partner)
            .find(|link| is_fresh(link, rules, now));
        match link {
            Some(IdentityLink {
                imprint: Some(imprint),
                ..
            }) => ExchangeStep::Conclude(Conclusion::Identified(imprint.clone())),
            Some(IdentityLink { imprint: None, .. }) => {
                ExchangeStep::Conclude(Conclusion::UnknownCustomer)
            }
            None => self.search(partner, None),
        }
    }

    fn search(&mut self, partner: PartnerCustomerId, gone: Option<ImprintId>) -> ExchangeStep {
        self.pending = PendingCall::Search {
            partner: partner.clone(),
            gone,
        };
        ExchangeStep::Call(ImprintCall::Search(partner))
    }

    /// Takes the answer to the pending call and returns the next step.
    ///
    /// This is the one place where an answer may not fit the call: an update answered by a lookup, or an answer that nobody
    /// waits for. The types do not exclude it, because the caller holds the call while it is in flight. The result of the
    /// call is then unknown, exactly as if no answer had come.
    pub fn on_answer(&mut self, reply: ImprintReply, now: Timestamp) -> ExchangeStep {
        let pending = std::mem::replace(&mut self.pending, PendingCall::None);
        match (pending, reply) {
            (PendingCall::Update, ImprintReply::Outcome(outcome)) => self.on_outcome(outcome),
            (PendingCall::EmptyLines(echo), ImprintReply::Outcome(outcome)) => {
                on_lines_emptied(echo, outcome)
            }
            (PendingCall::Retrieve(cause), ImprintReply::Lookup(found)) => {
                self.on_outcome(resolve_ambiguous(cause, found))
            }
            (PendingCall::Search { partner, gone }, ImprintReply::Lookup(found)) => {
                self.on_found(partner, gone.as_ref(), found, now)
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
            (Outcome::NotFound, Some(customer)) => match self.partner_id_alone() {
                Some(partner) => self.search(partner, Some(customer)),
                None => ExchangeStep::Conclude(Conclusion::Updated(Outcome::NotFound)),
            },
            (Outcome::Applied(echo), Some(customer)) if !echo.still_set.is_empty() => {
                self.empty_lines(customer, echo)
            }
            (outcome, _) => ExchangeStep::Conclude(Conclusion::Updated(outcome)),
        }
    }

    /// Sends the cleared lines that Imprint still has as the empty text.
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

    fn on_found(
        &mut self,
        partner: PartnerCustomerId,
        gone: Option<&ImprintId>,
        found: LookupResult,
        now: Timestamp,
    ) -> ExchangeStep {
        let imprint = match found {
            LookupResult::Found(imprint) => Some(imprint),
            LookupResult::NotFound => None,
            LookupResult::Ambiguous => return ExchangeStep::Conclude(Conclusion::Ambiguous),
            LookupResult::Failed(Outcome::Denied(cause)) if cause.is_forbidden() => {
                return ExchangeStep::Conclude(Conclusion::SearchForbidden(cause));
            }
            LookupResult::Failed(outcome) => {
                return ExchangeStep::Conclude(Conclusion::Updated(outcome));
            }
        };
        self.new_link = Some(IdentityLink {
            partner,
            imprint: imprint.clone(),
            confirmed_at: now,
        });
        let is_gone = |imprint: &ImprintId| gone.is_some_and(|gone| gone.is_same(imprint.as_str()));
        ExchangeStep::Conclude(match imprint {
            Some(imprint) if is_gone(&imprint) => Conclusion::Updated(Outcome::NotFound),
            Some(imprint) => Conclusion::Identified(imprint),
            None => Conclusion::UnknownCustomer,
        })
    }

    /// Returns the statement of a conclusion about the destination; `None` if nothing was sent.
    pub fn signal(&self, conclusion: &Conclusion) -> Option<Signal> {
        Some(match conclusion {
            Conclusion::NothingToSend | Conclusion::Postponed(_) => return None,
            // The answer comes from an earlier search: this exchange sent nothing.
            Conclusion::Identified(_) | Conclusion::UnknownCustomer if self.new_link.is_none() => {
                return None;
            }
            Conclusion::SearchForbidden(_) => Signal::Unrelated,
            Conclusion::Identified(_) | Conclusion::UnknownCustomer | Conclusion::Ambiguous => {
                Signal::Answered
            }
            Conclusion::NotCleared(_) | Conclusion::Updated(Outcome::Applied(_)) => Signal::Applied,
            Conclusion::Updated(Outcome::NotFound | Outcome::Rejected(_)) => Signal::Answered,
            Conclusion::Updated(
                Outcome::Unavailable(_) | Outcome::Unknown(_) | Outcome::Unclear(_),
            ) => Signal::Failed,
            Conclusion::Updated(Outcome::Throttled(hint)) => Signal::Throttled(*hint),
            Conclusion::Updated(Outcome::Denied(Cause::Status(403..=405))) => {
                Signal::Forbidden(self.claimed.lane)
            }
            Conclusion::Updated(Outcome::Denied(_)) => Signal::Refused,
        })
    }

    /// Returns the Imprint id of the lane's customer.
    pub fn imprint_id(&self) -> Option<&ImprintId> {
        match &self.claimed.key {
            Some(LaneKey::Imprint(imprint)) => Some(imprint),
            Some(LaneKey::Partner(_)) | None => None,
        }
    }

    /// Returns our own id of the customer, if an entry names only our id.
    fn partner_id_alone(&self) -> Option<PartnerCustomerId> {
        self.claimed
            .waiting
            .iter()
            .find_map(|waiting| match &waiting.customer {
                CustomerRef::Partner(partner) => Some(partner.clone()),
                CustomerRef::Imprint(_) | CustomerRef::Pair { .. } => None,
            })
    }
}

/// Concludes the exchange after address lines were sent empty. Whatever the answer, the request before was applied.
fn on_lines_emptied(first: Echo, outcome: Outcome) -> ExchangeStep {
    ExchangeStep::Conclude(match outcome {
        Outcome::Applied(echo) if echo.still_set.is_empty() => {
            Conclusion::Updated(Outcome::Applied(first))
        }
        Outcome::Applied(echo) => Conclusion::NotCleared(echo.still_set),
        Outcome::Rejected(_) => Conclusion::NotCleared(first.still_set),
        // Both requests are sent again.
        outcome @ (Outcome::Throttled(_)
        | Outcome::Unavailable(_)
        | Outcome::Unknown(_)
        | Outcome::Unclear(_)
        | Outcome::Denied(_)
        | Outcome::NotFound) => Conclusion::Updated(outcome),
    })
}

/// Marks the entries that an earlier process may have sent as in doubt.
fn mark_in_doubt(claimed: &mut ClaimedLane, rules: &DeliveryRules, now: Timestamp) {
    let Some(last) = claimed.maybe_sent_to else {
        return;
    };
    let sent: Vec<_> = claimed
        .waiting
        .iter()
        .filter(|waiting| waiting.entry <= last)
        .map(WaitingEntry::candidate)
        .collect();
    claimed.versions = std::mem::take(&mut claimed.versions)
        .with_possibly_sent(&sent, now.after(rules.reassert_after));
}

/// Returns how many entries the next request may carry: one, while entries of a rejected request are sent one by one.
fn max_fold(claimed: &ClaimedLane, rules: &DeliveryRules) -> MaxFold {
    let is_unfolding = claimed
        .unfold_to
        .is_some_and(|to| claimed.waiting.iter().any(|waiting| waiting.entry <= to));
    MaxFold(if is_unfolding { 1 } else { rules.max_fold })
}
