//! What a request asks for: which entries, and what is to be done with them.

use actix_web::web::{Bytes, Query};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::event::{Attribute, SourceName};
use crate::outbox::{EntryFilter, EntryId, ParkReason, State};
use crate::time::Timestamp;

/// How many entries a page has unless told, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
/// How many entries one act concerns at most: it is one transaction, and everybody else waits for it.
pub(super) const ACT_MAX: usize = 500;

/// Which entries, as a query or a filter spells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<String>,
    source: Option<String>,
    r#type: Option<String>,
    reason: Option<String>,
    customer: Option<String>,
    /// RFC 3339.
    before: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

impl Filter {
    /// The listing that it asks for.
    pub(super) fn listing(&self) -> Result<EntryFilter, Problem> {
        let word = |raw: &Option<String>, what: &str| -> Result<Option<String>, Problem> {
            match raw {
                Some(raw) if raw.is_empty() => Err(malformed(format!("{what} is empty"))),
                other => Ok(other.clone()),
            }
        };
        let state = match word(&self.state, "state")? {
            Some(raw) => State::ALL
                .into_iter()
                .find(|state| state.as_str() == raw)
                .ok_or_else(|| malformed("state is none of those that entries have".to_owned()))?,
            None => State::Parked,
        };
        let reason = word(&self.reason, "reason")?.map(|raw| {
            let reason = ParkReason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == raw);
            reason.ok_or_else(|| malformed("reason is none of those for parking".to_owned()))
        });
        let source = self.source.as_ref().map(|raw| {
            SourceName::parse(raw).map_err(|error| malformed(format!("source: {error}")))
        });
        let event_type = self
            .r#type
            .as_ref()
            .map(|raw| Attribute::parse(raw).map_err(|error| malformed(format!("type: {error}"))));
        let moment = |raw: &Option<String>, what: &str| {
            let read = |raw: &String| {
                Timestamp::parse_rfc3339(raw)
                    .ok_or_else(|| malformed(format!("{what} is no RFC 3339 moment")))
            };
            raw.as_ref().map(read).transpose()
        };
        Ok(EntryFilter {
            state,
            source: source.transpose()?,
            event_type: event_type.transpose()?,
            reason: reason.transpose()?,
            customer: word(&self.customer, "customer")?,
            before: moment(&self.before, "before")?,
            since: moment(&self.since, "since")?,
            after: EntryId(self.after.unwrap_or(0)),
            max: self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
        })
    }
}

/// What is to be done, and with which entries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    pub(super) ids: Option<Vec<u64>>,
    pub(super) filter: Option<Filter>,
    #[serde(default)]
    pub(super) map_again: bool,
    #[serde(default)]
    pub(super) preview: bool,
    pub(super) reason: Option<String>,
}

impl Act {
    pub(super) fn parse(body: &Bytes) -> Result<Self, Problem> {
        let act: Self = parse(body)?;
        if act.ids.is_some() == act.filter.is_some() {
            return Err(malformed(
                "either ids or filter says which entries".to_owned(),
            ));
        }
        if act.ids.as_ref().is_some_and(|ids| ids.len() > ACT_MAX) {
            return Err(malformed(format!(
                "one act concerns {ACT_MAX} entries at most"
            )));
        }
        Ok(act)
    }

    /// Why, in the operator's words.
    pub(super) fn reason(&self) -> Option<String> {
        let reason = self.reason.as_deref().map(str::trim);
        reason
            .filter(|reason| !reason.is_empty())
            .map(str::to_owned)
    }
}

/// Reads a query.
pub(super) fn query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    Query::<T>::from_query(query)
        .map(Query::into_inner)
        .map_err(|error| malformed(error.to_string()))
}

/// Reads a body.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))
}

pub(super) const fn malformed(detail: String) -> Problem {
    Problem::Malformed(detail)
}
