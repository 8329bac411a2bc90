//! The filter of the list of entries. It is the query of the address, so that a link, a reload and an action keep it. Pure.

use actix_web::web::Query;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::ops::operate::CHANGE_ENTRIES_MAX;
use crate::ops::{AdminProblem, parse_filter, query_flaw};
use crate::outbox::{EntryFilter, EntryOrder};

/// The number of entries on a page.
const PAGE_ENTRIES: usize = 50;
/// The states of the entries that wait for a decision. Without a filter, the list shows them.
pub(super) const UNDECIDED_STATES: &str = "parked,undecided,held";

/// The fields of the filter, as the operator wrote them. A field without text selects everything.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FilterFields {
    pub(super) state: String,
    pub(super) id: String,
    pub(super) source: String,
    pub(super) r#type: String,
    pub(super) reason: String,
    pub(super) customer: String,
    pub(super) since: String,
    pub(super) before: String,
    /// The page begins after the entry with this number.
    pub(super) after: String,
    /// `oldest` for the order in which the bridge accepted the events. Otherwise the newest entries are first.
    pub(super) order: String,
}

impl FilterFields {
    /// Parses the query of an address. An unknown field is an error: without it, the list would show other entries than the
    /// operator asked for.
    pub(super) fn parse(query: &str) -> Result<Self, AdminProblem> {
        let fields = Query::<Self>::from_query(query).map_err(|error| {
            let flaw = query_flaw(&error.to_string());
            AdminProblem::Malformed(format!("the address has a wrong filter: {flaw}"))
        })?;
        let mut fields = fields.into_inner();
        for text in fields.all_mut() {
            *text = text.trim().to_owned();
        }
        if fields.state.is_empty() {
            fields.state = UNDECIDED_STATES.to_owned();
        }
        Ok(fields)
    }

    /// Returns the filter of the use case.
    pub(super) fn filter(&self) -> Result<EntryFilter, AdminProblem> {
        let unordered = Self {
            order: String::new(),
            ..self.clone()
        };
        let query = unordered.query();
        let filter = parse_filter(&format!("{query}&limit={PAGE_ENTRIES}"))?;
        let order = match self.is_oldest_first() {
            true => EntryOrder::OldestFirst,
            false => EntryOrder::NewestFirst,
        };
        Ok(EntryFilter { order, ..filter })
    }

    /// Returns the filter of a change of all entries that match, on any page.
    pub(super) fn change_filter(&self) -> Result<EntryFilter, AdminProblem> {
        let filter = parse_filter(&self.with_order("").query())?;
        let max = CHANGE_ENTRIES_MAX;
        Ok(EntryFilter { max, ..filter })
    }

    /// Returns the query of an address with this filter.
    pub(super) fn query(&self) -> String {
        let named = self.named().into_iter();
        let pairs = named.filter(|(_, text)| !text.is_empty());
        let pairs = pairs.map(|(name, text)| {
            let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
            format!("{name}={text}")
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Returns the path of the list with this filter.
    pub(super) fn path(&self) -> String {
        format!("/entries?{}", self.query())
    }

    /// Returns this filter with other states, from the first page.
    pub(super) fn with_states(&self, states: &str) -> Self {
        Self {
            state: states.to_owned(),
            after: String::new(),
            ..self.clone()
        }
    }

    /// Returns this filter from the page after an entry. Without an entry, from the first page.
    pub(super) fn after(&self, after: Option<u64>) -> Self {
        Self {
            after: after.map(|after| after.to_string()).unwrap_or_default(),
            ..self.clone()
        }
    }

    /// Returns this filter with another order, from the first page.
    pub(super) fn with_order(&self, order: &str) -> Self {
        Self {
            order: order.to_owned(),
            after: String::new(),
            ..self.clone()
        }
    }

    /// Returns whether the oldest entries are first.
    pub(super) fn is_oldest_first(&self) -> bool {
        self.order == "oldest"
    }

    /// Returns whether a field other than the states selects entries.
    pub(super) fn is_narrow(&self) -> bool {
        let others = self.named().into_iter();
        let mut others = others.filter(|(name, _)| !matches!(*name, "state" | "after" | "order"));
        others.any(|(_, text)| !text.is_empty())
    }

    fn named(&self) -> [(&'static str, &str); 10] {
        [
            ("state", &self.state),
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.r#type),
            ("reason", &self.reason),
            ("customer", &self.customer),
            ("since", &self.since),
            ("before", &self.before),
            ("after", &self.after),
            ("order", &self.order),
        ]
    }

    fn all_mut(&mut self) -> [&mut String; 10] {
        [
            &mut self.state,
            &mut self.id,
            &mut self.source,
            &mut self.r#type,
            &mut self.reason,
            &mut self.customer,
            &mut self.since,
            &mut self.before,
            &mut self.after,
            &mut self.order,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N870
    #[test]
    fn a_filter_and_its_address_are_the_same() {
        let fields = FilterFields::parse("state=all&id=a%26b%3D%22&after=7&source=").unwrap();
        assert_eq!(fields.path(), "/entries?state=all&id=a%26b%3D%22&after=7");
        assert_eq!(FilterFields::parse(&fields.query()).unwrap(), fields);
        let filter = fields.filter().unwrap();
        assert_eq!(filter.id.unwrap().as_str(), "a&b=\"");
        assert_eq!((filter.after.0, filter.max), (7, PAGE_ENTRIES));
        assert!(fields.is_narrow());
        let oldest = fields.with_order("oldest");
        assert_eq!(oldest.query(), "state=all&id=a%26b%3D%22&order=oldest");
        assert_eq!(oldest.filter().unwrap().order, EntryOrder::OldestFirst);
        assert_eq!(fields.after(Some(9)).after, "9");
        assert_eq!(
            fields.with_states("waiting").path(),
            "/entries?state=waiting&id=a%26b%3D%22"
        );
    }

    #[test]
    fn without_a_filter_the_entries_that_wait_for_a_decision_are_shown() {
        let fields = FilterFields::parse("state=&customer=%20").unwrap();
        assert_eq!(fields.query(), "state=parked%2Cundecided%2Cheld");
        assert!(!fields.is_narrow());
        for query in [
            "state=none",
            "since=yesterday",
            "after=x",
            "reason=x",
            "after=1&after=2",
            "state=parked&state=held",
            "custmer=c1",
        ] {
            let parsed = FilterFields::parse(query);
            let is_refused = parsed.is_err() || parsed.is_ok_and(|fields| fields.filter().is_err());
            assert!(is_refused, "{query}");
        }
    }
}
