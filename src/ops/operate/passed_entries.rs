//! The use case that lists the entries that passed the mass-change brake of a source before it held a mass change.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Error, Operations, Operator};
use crate::event::SourceName;
use crate::imprint::{CustomerRef, PartnerCustomerId};
use crate::intake::{Holding, MassChange, PassedChanges};
use crate::outbox::{EntryFilter, EntryId, EntryOrder, EntrySummary, LaneKey, State};

/// The number of entries that one look at the store returns.
const PAGE_ENTRIES: usize = 500;
/// The maximum number of looks at the store. A source can send many other entries within the window of its brake.
const PAGES_MAX: usize = 200;
/// The time after which the use case looks no further.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The entries that passed before a mass change was held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassedEntries {
    /// The oldest entry is first.
    pub entries: Vec<PassedEntry>,
    /// The number of customers whose change passed. If the list has fewer entries, retention has deleted the others, or the
    /// source has sent more entries at that time than the use case reads.
    pub customers: usize,
}

/// An entry that passed, with the CRM's id of its customer if the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PassedEntry {
    pub summary: EntrySummary,
    pub partner: Option<PartnerCustomerId>,
}

impl PassedEntry {
    /// Describes the entry with its ids and without a value, for answers and files in JSON.
    pub fn to_json(&self) -> Value {
        let receipt = &self.summary.receipt;
        let imprint = match &self.summary.customer {
            Some(LaneKey::Imprint(id)) => Some(id.as_str()),
            Some(LaneKey::Partner(_)) | None => None,
        };
        json!({
            "entry": receipt.entry.0,
            "event": receipt.identity.id.as_str(),
            "type": receipt.event_type.as_str(),
            "state": receipt.state.as_str(),
            "accepted_at": receipt.accepted_at.to_rfc3339(),
            "imprint_id": imprint,
            "partner_customer_id": self.partner.as_ref().map(|id| id.as_str()),
        })
    }
}

impl Operations {
    /// Returns the entries that counted for a mass change of a source and passed before the brake held it.
    ///
    /// Returns `None` if the bridge knows no such mass change: a restart loses the counts.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn passed_entries(
        &self,
        operator: &Operator,
        source: &SourceName,
        (field, rule): (&str, &str),
    ) -> Result<Option<PassedEntries>, Error> {
        let brakes = self.brakes(operator).into_iter();
        let mut brakes = brakes.filter(|brake| brake.source == source.as_str());
        let state = brakes.next().map(|brake| brake.state);
        let mut changes = state
            .iter()
            .flat_map(|state| state.holding.iter().chain(&state.ended));
        let is_named = |(kind, _): &&(MassChange, Holding)| {
            kind.field.path() == field && kind.rule.as_str() == rule
        };
        let Some((_, holding)) = changes.find(is_named) else {
            return Ok(None);
        };
        let entries = self.find_passed(source, &holding.passed).await?;
        Ok(Some(PassedEntries {
            entries: self.with_partners(entries).await?,
            customers: holding.passed.customers,
        }))
    }

    async fn find_passed(
        &self,
        source: &SourceName,
        passed: &PassedChanges,
    ) -> Result<Vec<EntrySummary>, Error> {
        let mut found = Vec::new();
        let mut after = EntryId(0);
        let until = self.clock.now().after(LOOK_MAX);
        for _ in 0..PAGES_MAX {
            if found.len() >= passed.customers || self.clock.now() > until {
                break;
            }
            let filter = EntryFilter {
                states: State::ALL.to_vec(),
                source: Some(source.clone()),
                since: passed.since,
                before: passed
                    .until
                    .map(|until| until.after(Duration::from_millis(1))),
                order: EntryOrder::OldestFirst,
                after,
                ..EntryFilter::in_state(State::Delivered, PAGE_ENTRIES)
            };
            let page = self.outbox.list(filter).await?;
            let entries = page.entries.into_iter();
            found.extend(entries.filter(|entry| {
                entry.receipt.state != State::Held
                    && passed.events.contains(&entry.receipt.identity)
            }));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(found)
    }

    /// Adds the CRM's id of each customer, as Imprint last confirmed it.
    async fn with_partners(&self, entries: Vec<EntrySummary>) -> Result<Vec<PassedEntry>, Error> {
        let mut partners: HashMap<String, PartnerCustomerId> = HashMap::new();
        for entries in entries.chunks(PAGE_ENTRIES) {
            let customers = entries.iter().filter_map(|entry| match &entry.customer {
                Some(LaneKey::Imprint(imprint)) => Some(CustomerRef::Imprint(imprint.clone())),
                Some(LaneKey::Partner(_)) | None => None,
            });
            let lanes = self.outbox.lanes(customers.collect()).await?;
            let mut links: Vec<_> = lanes.into_iter().flat_map(|lane| lane.links).collect();
            links.sort_by_key(|link| link.confirmed_at);
            partners.extend(links.into_iter().filter_map(|link| {
                let imprint = link.imprint?.canonical();
                Some((imprint, link.partner))
            }));
        }
        let entries = entries.into_iter().map(|summary| PassedEntry {
            partner: match &summary.customer {
                Some(LaneKey::Imprint(imprint)) => partners.get(&imprint.canonical()).cloned(),
                Some(LaneKey::Partner(partner)) => Some(partner.clone()),
                None => None,
            },
            summary,
        });
        Ok(entries.collect())
    }
}
