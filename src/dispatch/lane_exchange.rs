//! The exchange with Imprint about one claimed lane: a sequence of calls that ends with a conclusion about the lane.
//! This module is pure: it does no IO and reads no clock.
//!
//! Most exchanges are a single update. In these cases, an exchange has other or further calls:
//! - If the bridge knows only the partner customer id, it first searches for the customer.
//! - A refusal of the update can concern only this customer, or every customer. A retrieve of the customer shows which.
//! - If Imprint finds no customer with a UUID, the bridge sends the request again with the UUID in the other letter
//!   case.
//! - If Imprint has no customer with the Imprint id, the bridge searches by the partner customer id.
//! - If the ids of an entry contradict an identity link, the bridge searches by the partner customer id, or retrieves
//!   the lane's customer.
//! - If Imprint's answer still contains a cleared address line, the bridge sends this line again as an empty text.

use self::doubt::mark_in_doubt;
use self::identity::{is_worth_a_search, search_for};
use self::links::{Contradictions, IdentityCheck, contradictions, unconfirmed_pair};
use super::rules::DeliveryRules;
use crate::fold::{Candidate, Fold, LaneVersions, MaxFold, fold, fold_without_reassertion};
use crate::imprint::clearing::{AddressClearing, Clearing};
use crate::imprint::{
    Cause, Echo, Field, ImprintId, LookupResult, Outcome, PartnerCustomerId, Request,
    resolve_ambiguous,
};
use crate::outbox::{ClaimedLane, EntryId, IdentityLink, LaneKey, WaitingEntry};
use crate::time::Timestamp;

mod doubt;
mod evidence;
mod identity;
mod lines;
mod links;
mod version_jump;

pub(super) use self::evidence::signal_of;
pub(super) use self::links::newest_of;

/// The exchange about one claimed lane.
#[derive(Debug)]
pub struct LaneExchange {
    /// The claimed lane from the store.
    pub claimed: ClaimedLane,
    /// The request that combines the entries of the lane.
    pub fold: Fold,
    /// The entries whose two customer ids belong to different customers at Imprint.
    pub conflicts: Vec<EntryId>,
    /// The entries whose version differs by more than the allowed jump from the other versions of the customer.
    pub jumps: Vec<EntryId>,
    /// The identity link that a search of this exchange found.
    pub new_link: Option<IdentityLink>,
    /// The partner customer id about which the exchange asked Imprint. `None` means that the conclusion concerns all
    /// entries.
    pub about: Option<PartnerCustomerId>,
    /// True if Imprint has no customer with the Imprint id of the lane.
    pub is_gone: bool,
    /// The check of entries whose ids contradict an identity link. Dispatch must not send these entries before the
    /// check.
    check: Option<IdentityCheck>,
    /// The index of a waiting entry with a partner customer id. If Imprint has no customer with the Imprint id, the
    /// exchange searches by this partner customer id.
    search_for: Option<usize>,
    /// True if Imprint has answered a call of the exchange.
    is_answered: bool,
    /// The call in flight.
    pending: PendingCall,
    clearing: Clearing,
    /// The UUID in the other letter case. `None` means that the exchange has not tried the other letter case.
    tried: Option<ImprintId>,
    /// True if the request leaves out a waiting entry: an earlier request possibly has the values of this entry.
    leaves_out: bool,
    /// True if an answer "the customer does not exist" contained no error type of Imprint.
    is_untyped: bool,
    /// True if evidence has proven an earlier answer that this customer does not exist.
    is_confirming: bool,
}

/// The call in flight, with the data that the exchange needs to interpret the answer.
#[derive(Debug)]
enum PendingCall {
    None,
    Update,
    /// A retrieve of the customer, because Imprint refused an update for this cause.
    Retrieve(Cause),
    /// A search by the partner customer id. `gone` is the Imprint id of the lane if Imprint has no customer with this
    /// Imprint id.
    Search {
        partner: PartnerCustomerId,
        gone: Option<ImprintId>,
    },
    /// A search by the partner customer id `rival`, because Imprint confirmed this id for the lane's customer before a
    /// search found the same customer for the partner customer id `partner`.
    SearchRival {
        partner: PartnerCustomerId,
        rival: PartnerCustomerId,
    },
    /// A retrieve of the customer of the lane, because the partner customer id belongs to the customer `other`.
    RetrieveLane {
        partner: PartnerCustomerId,
        other: ImprintId,
    },
    /// An update that sends address lines as empty texts. The echo is Imprint's answer to the first update. `None`
    /// means that the exchange had no other value for a first update.
    EmptyLines(Option<Echo>),
}

/// The next step of an exchange with Imprint.
#[derive(Debug)]
pub enum ExchangeStep {
    /// The dispatcher must send this call to Imprint, and then pass the answer to the exchange.
    Call(ImprintCall),
    /// The exchange is over and has this conclusion.
    Conclude(Conclusion),
}

/// One call to Imprint.
#[derive(Debug)]
pub enum ImprintCall {
    /// Updates the values of a customer at Imprint.
    Update(Request),
    /// Asks Imprint whether the customer with this Imprint id exists.
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
    /// The limiter does not allow the next call before this time. Imprint has applied no update of the exchange.
    Postponed(Timestamp),
    /// Imprint applied the update, but still has these cleared address lines. The limiter does not allow the update that
    /// sends the lines as empty texts before this time.
    LinesPostponed(Vec<Field>, Timestamp),
    /// Imprint does not know the customer. This exchange sent no request: evidence proves a recorded answer, or a
    /// stored identity link contains no Imprint id.
    ProvenAbsent,
    /// The update of the customer had this outcome.
    Updated(Outcome),
    /// Imprint applied the update, but still has these cleared address lines.
    NotCleared(Vec<Field>),
    /// Imprint rejected the only update of the exchange, which sent these cleared address lines as empty texts.
    LinesRejected(Vec<Field>),
    /// Imprint applied the update to a customer with this partner customer id. At least one entry of the request has a
    /// different partner customer id.
    Misdirected(PartnerCustomerId),
    /// Imprint's answer to a search or retrieve is recorded. Dispatch must claim the lane again and use the answer.
    LookAgain,
    /// The customer with the partner customer id has this Imprint id.
    Identified(ImprintId),
    /// Imprint has no customer with the partner customer id.
    UnknownCustomer,
    /// Imprint has several customers with the partner customer id.
    Ambiguous,
    /// The API key does not permit searches.
    SearchForbidden(Cause),
}

impl LaneExchange {
    /// Folds the entries of a claimed lane into one request, and returns the first step of the exchange.
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
        let leaves_out = candidates.len() < claimed.waiting.len() || !claimed.unreadable.is_empty();
        let fold = match claimed.key {
            Some(LaneKey::Imprint(_)) => folded(&claimed, &candidates, rules, now),
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
            leaves_out,
            is_untyped: false,
            is_confirming: false,
        };
        let step = exchange.first_step(rules, now);
        (exchange, step)
    }

    /// Returns the versions of the lane before the request. A late request with an entry that this request leaves out
    /// can overwrite a delivered value, even if the version of that entry is newer.
    pub fn versions_before(&self) -> LaneVersions {
        let versions = self.claimed.versions.clone();
        match self.leaves_out {
            true => versions.without_entries(),
            false => versions,
        }
    }

    fn first_step(&mut self, rules: &DeliveryRules, now: Timestamp) -> ExchangeStep {
        if self.is_recorded_absent() {
            self.recall_absence();
            return ExchangeStep::Conclude(Conclusion::ProvenAbsent);
        }
        // An answer without Imprint's error type counts only if Imprint gives it again after the proof: somebody has
        // possibly repaired a gateway between the answer and the proof.
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
                Some(check) if check.goes_first => {
                    self.fold = Fold::default();
                    self.check(check)
                }
                // Send the entries without a contradiction first, because a check can fail for a long time.
                Some(check) if self.fold.is_empty() => self.check(check),
                Some(_) | None => self.update_or_confirm(customer, rules, now),
            },
        }
    }

    /// Sends the update. If there is nothing to send, first confirms the ids of the entries: without an answer to an update,
    /// nothing shows that the two ids of an entry belong to different customers, and such an entry must not supersede the
    /// entries of this customer.
    fn update_or_confirm(
        &mut self,
        customer: ImprintId,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> ExchangeStep {
        match self.update(customer) {
            ExchangeStep::Conclude(Conclusion::NothingToSend)
                if let Some(partner) =
                    unconfirmed_pair(&self.claimed, &self.fold.carried, rules, now) =>
            {
                self.search(partner, None)
            }
            step @ (ExchangeStep::Call(_) | ExchangeStep::Conclude(_)) => step,
        }
    }

    fn update(&mut self, customer: ImprintId) -> ExchangeStep {
        let body = self.fold.update.body(self.clearing);
        let cleared = match self.clearing.address {
            AddressClearing::Verify => self.fold.update.cleared_address_lines(),
            AddressClearing::Empty | AddressClearing::Omit => Vec::new(),
        };
        // Without any other value, there is no first update whose answer can show the lines, so send the empty lines at
        // once.
        if body.is_empty() && !cleared.is_empty() {
            return self.empty_lines(customer, cleared, None);
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

    /// Processes Imprint's answer to the call in flight, and returns the next step of the exchange.
    ///
    /// Only in this function, an answer can fail to match its call: the caller can pass a lookup result after an
    /// update, or an answer without a call in flight. The types do not exclude a mismatch, because the caller holds the
    /// call while it is in flight. After a mismatch, the result of the call is unknown, as after a call without an
    /// answer.
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
            (PendingCall::EmptyLines(first), ImprintReply::Outcome(outcome)) => {
                self.on_lines_emptied(first, outcome)
            }
            (PendingCall::Retrieve(cause), ImprintReply::Lookup(found)) => {
                self.is_untyped = true;
                self.on_outcome(resolve_ambiguous(cause, found))
            }
            (PendingCall::Search { partner, gone }, ImprintReply::Lookup(found)) => {
                self.on_found(partner, gone.as_ref(), found, now)
            }
            (PendingCall::SearchRival { partner, rival }, ImprintReply::Lookup(found)) => {
                self.on_rival_found(partner, rival, found, now)
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
                self.empty_lines(customer, echo.still_set.clone(), Some(echo))
            }
            (outcome, _) => ExchangeStep::Conclude(Conclusion::Updated(outcome)),
        }
    }

    /// Returns the Imprint id of the lane's customer.
    pub fn imprint_id(&self) -> Option<&ImprintId> {
        match &self.claimed.key {
            Some(LaneKey::Imprint(imprint)) => Some(imprint),
            Some(LaneKey::Partner(_)) | None => None,
        }
    }
}

/// Returns the next request of the lane. While dispatch sends a rejected request entry by entry, the request carries
/// one entry, and sends no delivered values again with it: otherwise Imprint's next rejection does not show which value
/// is at fault.
fn folded(
    claimed: &ClaimedLane,
    candidates: &[Candidate<'_>],
    rules: &DeliveryRules,
    now: Timestamp,
) -> Fold {
    let is_unfolding = claimed
        .unfold_to
        .is_some_and(|to| claimed.waiting.iter().any(|waiting| waiting.entry <= to));
    if is_unfolding {
        let alone = fold_without_reassertion(&claimed.versions, candidates, MaxFold(1));
        if !alone.carried.is_empty() {
            return alone;
        }
    }
    fold(&claimed.versions, candidates, MaxFold(rules.max_fold), now)
}
