//! What is asked of Imprint about one claimed lane, step by step, until it is known what to make of it. Pure.
//!
//! Mostly that is one update. A lane that is known by the partner's id is looked up first; a refusal that may concern
//! everybody or one customer only is told apart by a retrieve; a customer who is gone is looked up once more; and a line
//! of the address that Imprint kept although it was cleared is sent once more as the empty text.

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

/// One claimed lane under way.
#[derive(Debug)]
pub struct LaneExchange {
    /// The lane, as it was claimed.
    pub claimed: ClaimedLane,
    /// What of it is sent.
    pub fold: Fold,
    /// The entries whose ids Imprint contradicts.
    pub conflicts: Vec<EntryId>,
    /// What Imprint said of a partner's id on the way.
    pub new_link: Option<IdentityLink>,
    /// What has been asked last.
    asked: Asked,
}

/// What has been asked last.
#[derive(Debug)]
enum Asked {
    Nothing,
    Update,
    /// Whether the customer is there, after this refusal.
    Retrieve(Cause),
    /// Who somebody is; `None` is nobody yet, else the customer who is gone.
    Search(PartnerCustomerId, Option<ImprintId>),
    /// That a line be emptied, after everything else was applied with this echo.
    Insist(Echo),
}

/// What is to be asked next, or what it all comes to.
#[derive(Debug)]
pub enum ExchangeStep {
    /// Send this call next.
    Call(ImprintCall),
    /// This is known.
    Conclude(Conclusion),
}

/// One question to Imprint.
#[derive(Debug)]
pub enum ImprintCall {
    /// To take facts.
    Update(Request),
    /// Whether a customer is there.
    Retrieve(ImprintId),
    /// Who somebody is.
    Search(PartnerCustomerId),
}

/// What Imprint said to it.
#[derive(Debug)]
pub enum ImprintReply {
    /// To an update.
    Outcome(Outcome),
    /// To a retrieve or a search.
    Lookup(LookupResult),
}

/// What it all comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// There was nothing to ask.
    NothingToSend,
    /// There is no leave to search before this moment.
    Postponed(Timestamp),
    /// The update came to this.
    Updated(Outcome),
    /// It was applied, but these cleared lines stay.
    NotCleared(Vec<Field>),
    /// Those who are known by the partner's id are this customer.
    Identified(ImprintId),
    /// They are nobody whom Imprint knows.
    UnknownCustomer,
    /// They are several.
    Ambiguous,
    /// We may not ask who they are.
    SearchForbidden(Cause),
}

impl LaneExchange {
    /// Takes a claimed lane and says what to do first.
    pub fn start(
        mut claimed: ClaimedLane,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> (Self, ExchangeStep) {
        doubt(&mut claimed, rules, now);
        let conflicts = conflicts(&claimed, rules, now);
        let candidates: Vec<_> = claimed
            .waiting
            .iter()
            .filter(|waiting| !conflicts.contains(&waiting.entry))
            .map(WaitingEntry::candidate)
            .collect();
        let fold = match claimed.key {
            Some(LaneKey::Imprint(_)) => {
                fold(&claimed.versions, &candidates, max(&claimed, rules), now)
            }
            Some(LaneKey::Partner(_)) | None => Fold::default(),
        };
        let mut exchange = Self {
            claimed,
            fold,
            conflicts,
            new_link: None,
            asked: Asked::Nothing,
        };
        let step = exchange.first(rules, now);
        (exchange, step)
    }

    fn first(&mut self, rules: &DeliveryRules, now: Timestamp) -> ExchangeStep {
        match self.claimed.key.clone() {
            None => ExchangeStep::Conclude(Conclusion::NothingToSend),
            Some(LaneKey::Partner(partner)) => self.who_is(partner, rules, now),
            Some(LaneKey::Imprint(customer)) => {
                let body = self.fold.update.body(rules.clearing);
                let cleared = match rules.clearing.address {
                    AddressClearing::Verify => self.fold.update.cleared_address_lines(),
                    AddressClearing::Empty | AddressClearing::Omit => Vec::new(),
                };
                // Where nothing else is sent, nothing is echoed either: the lines are emptied at once.
                if body.is_empty() && !cleared.is_empty() {
                    return self.insist(
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
                self.asked = Asked::Update;
                ExchangeStep::Call(ImprintCall::Update(Request {
                    customer,
                    body,
                    cleared,
                }))
            }
        }
    }

    fn who_is(
        &mut self,
        partner: PartnerCustomerId,
        rules: &DeliveryRules,
        now: Timestamp,
    ) -> ExchangeStep {
        let known = self.claimed.links.iter();
        let known = known
            .filter(|pair| pair.partner == partner)
            .find(|pair| is_believed(pair, rules, now));
        match known {
            _ if self.claimed.waiting.is_empty() => {
                ExchangeStep::Conclude(Conclusion::NothingToSend)
            }
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
        self.asked = Asked::Search(partner.clone(), gone);
        ExchangeStep::Call(ImprintCall::Search(partner))
    }

    /// Hears an answer and says what to do next.
    pub fn hear(&mut self, answer: ImprintReply, now: Timestamp) -> ExchangeStep {
        match (std::mem::replace(&mut self.asked, Asked::Nothing), answer) {
            (Asked::Update, ImprintReply::Outcome(outcome)) => self.updated(outcome),
            (Asked::Insist(echo), ImprintReply::Outcome(outcome)) => insisted(echo, outcome),
            (Asked::Retrieve(cause), ImprintReply::Lookup(found)) => {
                self.updated(resolve_ambiguous(cause, found))
            }
            (Asked::Search(partner, gone), ImprintReply::Lookup(found)) => {
                self.found(partner, gone.as_ref(), found, now)
            }
            // Nobody asks one thing and hears another; if it were so, it would be as if no answer had come.
            (_, ImprintReply::Outcome(_) | ImprintReply::Lookup(_)) => {
                ExchangeStep::Conclude(Conclusion::Updated(Outcome::Unknown(Cause::Protocol)))
            }
        }
    }

    fn updated(&mut self, outcome: Outcome) -> ExchangeStep {
        match (outcome, self.customer()) {
            (Outcome::Unclear(cause), Some(customer)) => {
                self.asked = Asked::Retrieve(cause);
                ExchangeStep::Call(ImprintCall::Retrieve(customer))
            }
            (Outcome::NotFound, Some(customer)) => match self.named_by_partner() {
                Some(partner) => self.search(partner, Some(customer)),
                None => ExchangeStep::Conclude(Conclusion::Updated(Outcome::NotFound)),
            },
            (Outcome::Applied(echo), Some(customer)) if !echo.still_set.is_empty() => {
                self.insist(customer, echo)
            }
            (outcome, _) => ExchangeStep::Conclude(Conclusion::Updated(outcome)),
        }
    }

    /// Asks that the lines that were cleared and still stand be emptied.
    fn insist(&mut self, customer: ImprintId, echo: Echo) -> ExchangeStep {
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
        self.asked = Asked::Insist(echo);
        ExchangeStep::Call(ImprintCall::Update(request))
    }

    fn found(
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

    /// What a conclusion says about the destination; `None` where nothing was asked.
    pub fn signal(&self, conclusion: &Conclusion) -> Option<Signal> {
        Some(match conclusion {
            Conclusion::NothingToSend | Conclusion::Postponed(_) => return None,
            // Believed from before, and not asked.
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

    /// Imprint's id of the lane's customer.
    pub fn imprint(&self) -> Option<&ImprintId> {
        match &self.claimed.key {
            Some(LaneKey::Imprint(imprint)) => Some(imprint),
            Some(LaneKey::Partner(_)) | None => None,
        }
    }

    fn customer(&self) -> Option<ImprintId> {
        self.imprint().cloned()
    }

    /// The partner's id that brought entries into this lane that did not name Imprint's.
    fn named_by_partner(&self) -> Option<PartnerCustomerId> {
        self.claimed
            .waiting
            .iter()
            .find_map(|waiting| match &waiting.customer {
                CustomerRef::Partner(partner) => Some(partner.clone()),
                CustomerRef::Imprint(_) | CustomerRef::Pair { .. } => None,
            })
    }
}

/// An emptied line is the only thing still open: what was applied stays applied.
fn insisted(first: Echo, outcome: Outcome) -> ExchangeStep {
    ExchangeStep::Conclude(match outcome {
        Outcome::Applied(echo) if echo.still_set.is_empty() => {
            Conclusion::Updated(Outcome::Applied(first))
        }
        Outcome::Applied(echo) => Conclusion::NotCleared(echo.still_set),
        Outcome::Rejected(_) => Conclusion::NotCleared(first.still_set),
        // It is all sent again, and asked for again.
        outcome @ (Outcome::Throttled(_)
        | Outcome::Unavailable(_)
        | Outcome::Unknown(_)
        | Outcome::Unclear(_)
        | Outcome::Denied(_)
        | Outcome::NotFound) => Conclusion::Updated(outcome),
    })
}

/// What a process before this one may have sent is in doubt.
fn doubt(claimed: &mut ClaimedLane, rules: &DeliveryRules, now: Timestamp) {
    let Some(to) = claimed.maybe_sent_to else {
        return;
    };
    let sent: Vec<_> = claimed
        .waiting
        .iter()
        .filter(|waiting| waiting.entry <= to)
        .map(WaitingEntry::candidate)
        .collect();
    claimed.versions = std::mem::take(&mut claimed.versions)
        .with_possibly_sent(&sent, now.after(rules.reassert_after));
}

/// How many entries the next request of a lane may carry.
fn max(claimed: &ClaimedLane, rules: &DeliveryRules) -> MaxFold {
    let is_unfolding = claimed
        .unfold_to
        .is_some_and(|to| claimed.waiting.iter().any(|waiting| waiting.entry <= to));
    MaxFold(if is_unfolding { 1 } else { rules.max_fold })
}

/// Whether what was said of a partner's id still holds.
fn is_believed(pair: &IdentityLink, rules: &DeliveryRules, now: Timestamp) -> bool {
    let ttl = match pair.imprint {
        Some(_) => rules.link_ttl,
        None => rules.unknown_ttl,
    };
    now.since(pair.confirmed_at) < ttl
}

/// The entries that name two ids of which Imprint has said that they are not the same customer's. One wrong row of a CRM
/// must not send somebody's facts to another cardholder.
fn conflicts(claimed: &ClaimedLane, rules: &DeliveryRules, now: Timestamp) -> Vec<EntryId> {
    let trusted: Vec<(&PartnerCustomerId, &ImprintId)> = claimed
        .links
        .iter()
        .filter(|pair| is_believed(pair, rules, now))
        .filter_map(|pair| Some((&pair.partner, pair.imprint.as_ref()?)))
        .collect();
    let contradicts = |waiting: &&WaitingEntry| {
        let CustomerRef::Pair { imprint, partner } = &waiting.customer else {
            return false;
        };
        trusted.iter().any(|(trusted_partner, trusted_imprint)| {
            (*trusted_partner == partner) != trusted_imprint.is_same(imprint.as_str())
        })
    };
    claimed
        .waiting
        .iter()
        .filter(contradicts)
        .map(|waiting| waiting.entry)
        .collect()
}
