//! The use case that groups the entries that wait for an operator into cases: entries with the same cause.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHANGE_ENTRIES_MAX, Error, Operations, Operator};
use crate::event::{Attribute, EventError, SourceName, pointer};
use crate::outbox::{
    EntryFilter, EntryId, EntryOrder, EntrySummary, LaneKey, ParkReason, SCAN_MAX, State,
};
use crate::time::Timestamp;

/// The states of the entries that wait for an operator.
pub const CASE_STATES: [State; 3] = [State::Parked, State::Undecided, State::Held];

/// The maximum number of cases in a list: more cases would make the page too long to read.
const CASES_MAX: usize = 100;

/// The entries of one case have the same cause, so an operator probably handles them in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub cause: CaseCause,
    /// The number of entries.
    pub entries: u64,
    /// The number of different customers of the entries. An invalid event has no customer.
    pub customers: u64,
    /// The time when the bridge accepted the oldest of these entries.
    pub first: Timestamp,
    /// The time when the bridge accepted the newest of these entries.
    pub last: Timestamp,
    /// The newest entries, at most [`CHANGE_ENTRIES_MAX`]: one request can change them.
    pub newest: Vec<EntryId>,
}

/// The common cause of the entries of a case. Contains no value of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseCause {
    pub source: SourceName,
    pub event_type: Attribute,
    /// The state of the entries. It does not change while the entries belong to the case.
    pub state: &'static str,
    /// The reason for parking.
    pub reason: Option<&'static str>,
    /// Imprint's answer: the `type` and the `param` of a rejection.
    pub detail: Option<String>,
    /// The first error of an invalid event.
    pub error: Option<CaseError>,
}

/// The first error of the invalid events of a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseError {
    /// The place in the body, as a JSON Pointer with `*` for every index and every name that can be a value.
    pub place: String,
    pub rule: String,
    /// The place in the schema or in the mapping.
    pub location: String,
}

/// The cases, the case with the newest entry first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseList {
    pub cases: Vec<Case>,
    /// The number of entries in all cases.
    pub entries: u64,
    /// The number of older cases that the list leaves out, because it has at most 100 cases.
    pub left_out: u64,
    /// True if more entries wait for an operator than the list reads: the cases contain only the newest entries.
    pub has_more: bool,
}

impl Operations {
    /// Groups the newest entries that wait for an operator into cases, as many as [`Operations::cases_of_newest`] can read.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn cases(&self, operator: &Operator) -> Result<CaseList, Error> {
        self.cases_of_newest(operator, SCAN_MAX).await
    }

    /// Groups the newest entries that wait for an operator into cases.
    ///
    /// The bridge stores no cases. A case begins with its first entry, ends when an operator has decided about its last
    /// entry, and begins again with the next entry of the same cause.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn cases_of_newest(
        &self,
        _operator: &Operator,
        entries_max: usize,
    ) -> Result<CaseList, Error> {
        let filter = EntryFilter {
            states: CASE_STATES.to_vec(),
            order: EntryOrder::NewestFirst,
            ..EntryFilter::in_state(State::Parked, entries_max)
        };
        let page = self.outbox.list(filter).await?;
        let mut cases = cases(&page.entries);
        let left_out = number(cases.len().saturating_sub(CASES_MAX));
        cases.truncate(CASES_MAX);
        Ok(CaseList {
            cases,
            left_out,
            entries: number(page.entries.len()),
            has_more: page.next.is_some(),
        })
    }
}

/// Groups entries by their cause. The newest entry comes first.
fn cases(entries: &[EntrySummary]) -> Vec<Case> {
    let mut groups: BTreeMap<CaseCause, Vec<&EntrySummary>> = BTreeMap::new();
    for entry in entries {
        groups.entry(cause(entry)).or_default().push(entry);
    }
    let cases = groups.into_iter();
    let mut cases: Vec<Case> = cases
        .filter_map(|(cause, group)| case(cause, &group))
        .collect();
    cases.sort_by_key(|case| std::cmp::Reverse(case.newest.first().copied()));
    cases
}

fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn case(cause: CaseCause, group: &[&EntrySummary]) -> Option<Case> {
    let accepted = || group.iter().map(|entry| entry.receipt.accepted_at);
    let customers = group.iter().filter_map(|entry| entry.customer.as_ref());
    let customers: BTreeSet<(bool, &str)> = customers.map(id).collect();
    let newest = group.iter().map(|entry| entry.receipt.entry);
    Some(Case {
        cause,
        entries: number(group.len()),
        customers: number(customers.len()),
        first: accepted().min()?,
        last: accepted().max()?,
        newest: newest.take(CHANGE_ENTRIES_MAX).collect(),
    })
}

/// Returns the id of a customer, and whether Imprint gave it.
fn id(key: &LaneKey) -> (bool, &str) {
    match key {
        LaneKey::Imprint(imprint) => (true, imprint.as_str()),
        LaneKey::Partner(partner) => (false, partner.as_str()),
    }
}

fn cause(entry: &EntrySummary) -> CaseCause {
    let receipt = &entry.receipt;
    let (reason, detail) = receipt.parked.clone().unzip();
    // Such a detail names customers, so it differs in each entry.
    let is_about_ids = reason.is_some_and(ParkReason::is_about_ids);
    CaseCause {
        source: receipt.identity.source.clone(),
        event_type: receipt.event_type.clone(),
        state: receipt.state.as_str(),
        reason: reason.map(ParkReason::as_str),
        detail: detail.flatten().filter(|_| !is_about_ids),
        error: receipt.errors.first().map(CaseError::of),
    }
}

impl CaseError {
    fn of(error: &EventError) -> Self {
        Self {
            place: pointer::without_indexes(&pointer::without_values(&error.pointer)),
            rule: error.rule.clone(),
            location: error.location.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Identity;
    use crate::imprint::ImprintId;
    use crate::outbox::Receipt;

    fn parked(number: u64, customer: &str, detail: &str, pointer: &str) -> EntrySummary {
        let error = EventError {
            pointer: pointer.to_owned(),
            rule: "type".to_owned(),
            location: "/properties/email".to_owned(),
            detail: String::new(),
        };
        EntrySummary {
            receipt: Receipt {
                entry: EntryId(number),
                identity: Identity {
                    source: SourceName::parse("crm").unwrap(),
                    ce_source: None,
                    id: Attribute::parse(&number.to_string()).unwrap(),
                },
                event_type: Attribute::parse("customer.updated").unwrap(),
                state: State::Parked,
                attempts: 1,
                accepted_at: Timestamp::from_millis(i64::try_from(number).unwrap()),
                settled_at: None,
                superseded_by: None,
                parked: Some((ParkReason::Rejected, Some(detail.to_owned()))),
                errors: vec![error],
                unsent: Vec::new(),
                ignored: None,
                erased_at: None,
            },
            customer: ImprintId::parse(customer).ok().map(LaneKey::Imprint),
        }
    }

    /// FAULTS N893: one cause is one case, wherever in a batch the error is.
    #[test]
    fn entries_of_one_cause_are_one_case() {
        let entries = [
            parked(9, "c-2", "param=email", "/3/email"),
            parked(8, "c-1", "param=phone", "/0/email"),
            parked(7, "c-1", "param=email", "/12/email"),
            parked(5, "c-1", "param=email", "/0/email"),
        ];
        let cases = cases(&entries);
        let [email, phone] = &cases[..] else {
            panic!("{cases:?}");
        };
        assert_eq!((email.entries, email.customers), (3, 2));
        assert_eq!(email.newest, [EntryId(9), EntryId(7), EntryId(5)]);
        assert_eq!((email.first.as_millis(), email.last.as_millis()), (5, 9));
        assert_eq!(email.cause.error.as_ref().unwrap().place, "/*/email");
        assert_eq!((phone.entries, phone.newest[0]), (1, EntryId(8)));
        let conflicts = entries.map(|mut entry| {
            let detail = format!("customer {}", entry.receipt.entry.0);
            entry.receipt.parked = Some((ParkReason::IdentityConflict, Some(detail)));
            entry
        });
        assert_eq!(super::cases(&conflicts).len(), 1, "an id is no cause");
    }
}
