//! Finds the customer that an operator names, and shows or exports what the store has of the customer.

use std::collections::BTreeSet;

use super::entries::{content, field_views};
use super::hold::{Hold, STOPPED_MAX};
use super::replay::REPLAYED_STATES;
use super::selection::Reason;
use super::{EntryView, Error, FieldView, Operations, Operator, Role};
use crate::dispatch::destination::OperatorMode;
use crate::event::Visibility;
use crate::imprint::{CustomerRef, ImprintId, PartnerCustomerId};
use crate::outbox::{
    Detail, EntryFilter, EntryId, EntryOrder, EntrySelection, EntrySummary, FieldOrigin,
    IdentityLink, LaneKey, LaneWait, LoadedEntry, LoadedLane, NamedEntries, ParkReason, State,
    named,
};
use crate::time::Timestamp;

/// A customer, as an operator names it.
#[derive(Clone, PartialEq, Eq)]
pub enum CustomerName {
    /// Imprint's id of the customer.
    Imprint(ImprintId),
    /// The CRM's own id of the customer.
    Partner(PartnerCustomerId),
    /// One of the two ids.
    Either(String),
}

/// Prints no id, because customer ids are personal data.
impl std::fmt::Debug for CustomerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerName")
    }
}

/// What the store knows of a customer, without any value.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerView {
    /// The key of the lane from which dispatch sends the customer's entries: Imprint's id if the store knows the id.
    pub key: LaneKey,
    /// True if the store has a lane or an identity link of the customer.
    pub is_known: bool,
    /// The identity links of the customer's ids.
    pub links: Vec<IdentityLink>,
    /// What the lanes of the customer wait for.
    pub waits: Vec<LaneWait>,
    /// The cause of the last failed request in one word, if the requests of the customer fail again and again.
    pub failure: Option<String>,
    /// The fields that Imprint has from the bridge, each with its version and the event that contained the value.
    pub delivered: Vec<FieldOrigin>,
    /// The time when dispatch sends delivered values again, because an older request possibly overwrites them.
    pub reassert_at: Option<Timestamp>,
    /// The numbers of the customer's entries that wait for an operator, by state.
    pub stopped: Vec<(State, usize)>,
    /// The newest entries of the customer.
    pub entries: Vec<EntrySummary>,
    /// True if the customer has more entries.
    pub has_more: bool,
}

/// One page of everything that the store has of a customer. Contains unmasked values.
#[derive(Clone, PartialEq)]
pub struct CustomerExport {
    /// The customer's lane, with the ids and the identity links of the customer.
    pub customer: LoadedLane,
    /// The delivered fields, each with its version and the event that contained the value.
    pub delivered: Vec<FieldOrigin>,
    /// The delivered values that the store keeps, because an older request possibly overwrites them at Imprint.
    pub kept: Vec<FieldView>,
    /// The entries of the customer on this page.
    pub entries: Vec<EntryView>,
    /// The entries on this page that are parked as invalid, and whose event mentions an id of the customer. They belong to
    /// no lane.
    pub unmapped: Vec<EntryView>,
    /// The next page. `None` means that there is no next page.
    pub next: Option<ExportPage>,
}

/// Prints no value, because the values are personal data.
impl std::fmt::Debug for CustomerExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomerExport").finish_non_exhaustive()
    }
}

/// A page of an export. The number is the last entry of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportPage {
    /// A page with the entries in the lanes of the customer.
    Entries(EntryId),
    /// A page with entries in the lanes of other customers, and entries that are parked as invalid.
    Unmapped(EntryId),
}

/// The maximum number of entries on one page of an export. The command line reads an answer of at most 16 MiB, and the
/// answer contains whole events.
const EXPORT_ENTRIES: usize = 25;
/// The number of the newest entries in a view of a customer.
const VIEW_ENTRIES: usize = 20;

impl Operations {
    /// Returns what the store knows of a customer, without any value: why Imprint has its values, and what the next
    /// request waits for.
    ///
    /// # Errors
    /// Returns an error if the text is no id, or is an id of two customers, or if the store fails.
    pub async fn customer(
        &self,
        _operator: &Operator,
        name: CustomerName,
    ) -> Result<CustomerView, Error> {
        let customer = self.find_customer(name).await?;
        let page = self.outbox.list(EntryFilter {
            order: EntryOrder::NewestFirst,
            max: VIEW_ENTRIES,
            ..all_of(&customer)
        });
        let page = page.await?;
        let is_own = |entry: &EntrySummary| is_of(&customer, entry);
        Ok(CustomerView {
            is_known: is_known(&customer),
            delivered: self.outbox.origins(customer.key.clone()).await?,
            stopped: self.stopped(&customer).await?,
            entries: page.entries.into_iter().filter(is_own).collect(),
            has_more: page.next.is_some(),
            reassert_at: customer.versions.reassert_at(),
            key: customer.key,
            links: customer.links,
            failure: self.last_failure(&customer.lanes),
            waits: customer.waits,
        })
    }

    /// Counts the entries of a customer that wait for an operator, by state.
    async fn stopped(&self, customer: &LoadedLane) -> Result<Vec<(State, usize)>, Error> {
        let mut counts = Vec::new();
        for state in REPLAYED_STATES {
            let page = self.outbox.list(EntryFilter {
                states: vec![*state],
                max: STOPPED_MAX,
                ..all_of(customer)
            });
            let entries = page.await?.entries;
            let own = entries.iter().filter(|entry| is_of(customer, entry));
            counts.push((*state, own.count()));
        }
        counts.retain(|(_, count)| *count > 0);
        Ok(counts)
    }

    /// Returns why the bridge sends no request to Imprint at present.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn hold(&self, operator: &Operator) -> Result<Option<Hold>, Error> {
        let destination = self.destination(operator);
        let mode_changed_at = match destination.mode {
            OperatorMode::Open => None,
            OperatorMode::Paused | OperatorMode::Shadow => self.mode_change(operator).await?,
        };
        let mode_changed_at = mode_changed_at.map(|change| change.at);
        Ok(Hold::of(&destination, mode_changed_at))
    }

    /// Returns one page of everything that the store has of a customer, with unmasked values. Before each page, the bridge
    /// writes an audit record, because a client can begin with any page.
    ///
    /// # Errors
    /// Returns an error if the operator is not a revealer, if the name fits two customers, or if the store fails.
    pub async fn export(
        &self,
        operator: &Operator,
        name: CustomerName,
        reason: Option<Reason>,
        page: Option<ExportPage>,
    ) -> Result<CustomerExport, Error> {
        operator.require(Role::Revealer)?;
        let customer = self.find_customer(name).await?;
        let mut event = self.audit_event(operator, "export", lanes(&customer));
        event.reason = reason.map(Reason::into_text);
        self.outbox.append_audit(event).await?;
        let delivered = match page {
            None => self.outbox.origins(customer.key.clone()).await?,
            Some(_) => Vec::new(),
        };
        let (mut entries, mut unmapped) = (Vec::new(), Vec::new());
        let next = match page.unwrap_or(ExportPage::Entries(EntryId(0))) {
            ExportPage::Entries(after) => {
                let next = self.entries_of(&customer, after, &mut entries).await?;
                let next = next.map(ExportPage::Entries);
                Some(next.unwrap_or(ExportPage::Unmapped(EntryId(0))))
            }
            ExportPage::Unmapped(after) => {
                let found = (&mut entries, &mut unmapped);
                let next = self.outside_lanes(&customer, after, found).await?;
                next.map(ExportPage::Unmapped)
            }
        };
        let kept = customer.versions.kept_values();
        let kept = kept.map(|kept| field_views(Visibility::Revealed, kept, self.rules.clearing));
        Ok(CustomerExport {
            customer,
            delivered,
            kept: kept.unwrap_or_default(),
            entries,
            unmapped,
            next,
        })
    }

    /// Finds the customer that an operator names. A customer that the store does not know has no lane and no identity
    /// link.
    pub(super) async fn find_customer(&self, name: CustomerName) -> Result<LoadedLane, Error> {
        let named: Vec<CustomerRef> = match name {
            CustomerName::Imprint(imprint) => vec![CustomerRef::Imprint(imprint)],
            CustomerName::Partner(partner) => vec![CustomerRef::Partner(partner)],
            CustomerName::Either(text) => named(&text).collect(),
        };
        let mut found = self.outbox.lanes(named).await?;
        found.dedup_by(|one, other| one.key == other.key);
        let known = found.iter().filter(|lane| is_known(lane)).count();
        if known > 1 {
            return Err(Error::AmbiguousCustomer);
        }
        let place = found.iter().position(is_known);
        if known == 0 && found.len() > 1 {
            // Only an event that belongs to no lane can mention the id, and it can mention either id.
            let others = found.split_off(1);
            if let Some(first) = found.first_mut() {
                first.is_blocked |= others.iter().any(|other| other.is_blocked);
                first
                    .keys
                    .extend(others.into_iter().flat_map(|other| other.keys));
            }
        }
        let mut found = found.into_iter().skip(place.unwrap_or_default());
        found.next().ok_or(Error::UnknownCustomer)
    }

    /// Loads one page of the entries of a customer. Returns the start of the next page.
    async fn entries_of(
        &self,
        customer: &LoadedLane,
        after: EntryId,
        found: &mut Vec<EntryView>,
    ) -> Result<Option<EntryId>, Error> {
        let filter = EntryFilter {
            after,
            ..all_of(customer)
        };
        let (loaded, next) = self.load_page(filter).await?;
        let own = loaded
            .into_iter()
            .filter(|entry| is_of(customer, &entry.summary));
        found.extend(own.map(|entry| self.view(entry)));
        Ok(next)
    }

    /// Loads entries outside the lanes of a customer: their events name the customer. An entry of another lane belongs to
    /// `named`, and an entry that is parked as invalid to `unmapped`. Returns the start of the next page.
    async fn outside_lanes(
        &self,
        customer: &LoadedLane,
        after: EntryId,
        (named, unmapped): (&mut Vec<EntryView>, &mut Vec<EntryView>),
    ) -> Result<Option<EntryId>, Error> {
        let keys = &customer.keys;
        let first = self
            .outbox
            .named_entries(keys.clone(), after, EXPORT_ENTRIES);
        let mut page = first.await?;
        while let (true, Some(after)) = (page.entries.is_empty(), page.next) {
            let next = self
                .outbox
                .named_entries(keys.clone(), after, EXPORT_ENTRIES);
            page = next.await?;
        }
        let (numbers, end) = self.with_computed(keys, after, page).await?;
        let selection = EntrySelection::Entries(numbers);
        let loaded = self.outbox.load(selection, Detail::Payloads).await?;
        let last = loaded.entries.last().filter(|_| loaded.has_more);
        let next = last.map(|last| last.summary.receipt.entry).or(end);
        for entry in loaded.entries {
            let parked = entry.summary.receipt.parked.as_ref();
            let is_invalid = parked.is_some_and(|(reason, _)| *reason == ParkReason::Invalid);
            let view = self.view(entry);
            match is_invalid {
                true => unmapped.push(view),
                false => named.push(view),
            }
        }
        Ok(next)
    }

    /// Adds the invalid parked events from which the mapping in use reads an id of the customer to a page that begins after
    /// `after`. Returns the entries, and the end of the page if there is a next page.
    async fn with_computed(
        &self,
        keys: &[LaneKey],
        after: EntryId,
        page: NamedEntries,
    ) -> Result<(Vec<EntryId>, Option<EntryId>), Error> {
        let mut end = page.next;
        let mut entries: BTreeSet<EntryId> = page.entries.into_iter().collect();
        let mut place = Some(after);
        while let Some(from) = place {
            let part = self.invalid_entries_after(keys, from).await?;
            entries.extend(part.entries);
            place = part.next.filter(|next| end.is_none_or(|end| *next < end));
            if entries.len() >= EXPORT_ENTRIES {
                end = place.or(end);
                break;
            }
        }
        entries.retain(|entry| end.is_none_or(|end| *entry <= end));
        Ok((entries.into_iter().collect(), end))
    }

    /// Loads one page of entries with their events. Returns the start of the next page.
    pub(super) async fn load_page(
        &self,
        filter: EntryFilter,
    ) -> Result<(Vec<LoadedEntry>, Option<EntryId>), Error> {
        let page = self.outbox.list(filter).await?;
        let numbers = page.entries.iter().map(|entry| entry.receipt.entry);
        let selection = EntrySelection::Entries(numbers.collect());
        let loaded = self.outbox.load(selection, Detail::Payloads).await?;
        let last = loaded.entries.last().filter(|_| loaded.has_more);
        let next = last.map(|last| last.summary.receipt.entry).or(page.next);
        Ok((loaded.entries, next))
    }

    fn view(&self, entry: LoadedEntry) -> EntryView {
        let content = entry.event.map(|event| {
            content(
                &event,
                entry.update,
                (Visibility::Revealed, self.rules.clearing),
            )
        });
        EntryView {
            summary: entry.summary,
            partner: entry
                .customer
                .and_then(|customer| customer.partner().cloned()),
            content,
        }
    }
}

pub(super) fn is_known(lane: &LoadedLane) -> bool {
    !lane.lanes.is_empty() || !lane.links.is_empty()
}

/// Returns the lanes of a customer for the audit log, which must not contain a customer id.
pub(super) fn lanes(customer: &LoadedLane) -> String {
    let lanes = customer.lanes.iter();
    let lanes: Vec<String> = lanes.map(|lane| format!("lane {}", lane.0)).collect();
    match lanes.is_empty() {
        true => "a customer without a lane".to_owned(),
        false => lanes.join(", "),
    }
}

/// Returns the filter of all entries of a customer. Another customer can have the same text as its other id.
fn all_of(customer: &LoadedLane) -> EntryFilter {
    EntryFilter {
        states: State::ALL.to_vec(),
        customer: Some(text(&customer.key).to_owned()),
        ..EntryFilter::in_state(State::Waiting, EXPORT_ENTRIES)
    }
}

fn is_of(customer: &LoadedLane, entry: &EntrySummary) -> bool {
    let key = entry.customer.as_ref();
    key.is_some_and(|key| customer.keys.iter().any(|own| is_same(own, key)))
}

fn text(key: &LaneKey) -> &str {
    match key {
        LaneKey::Imprint(imprint) => imprint.as_str(),
        LaneKey::Partner(partner) => partner.as_str(),
    }
}

/// Returns whether two keys are of one lane: a UUID can have two spellings.
pub(super) fn is_same(one: &LaneKey, other: &LaneKey) -> bool {
    match (one, other) {
        (LaneKey::Imprint(one), LaneKey::Imprint(other)) => one.is_same(other.as_str()),
        (one, other) => one == other,
    }
}
