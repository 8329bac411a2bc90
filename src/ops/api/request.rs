//! Parses JSON bodies and query strings of the admin API into the types of the use cases.

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Query};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::AdminProblem;
use crate::event::json;
use crate::event::{Attribute, SourceName, Visibility};
use crate::ops::operate::{ChangeSelection, MappingChoice, Reason};
use crate::outbox::{ENTRY_MAX, EntryFilter, EntryId, EntryOrder, ParkReason, State};
use crate::time::Timestamp;

/// The default number of entries on a page.
const PAGE_ENTRIES: usize = 100;
/// The maximum number of entries on a page.
const PAGE_ENTRIES_MAX: usize = 500;

/// A filter for entries, in a query string or in the body of a change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterQuery {
    /// The states of the entries, separated by commas, or `all`.
    state: Option<String>,
    id: Option<String>,
    source: Option<String>,
    r#type: Option<String>,
    reason: Option<String>,
    customer: Option<String>,
    /// Selects the entries that the bridge accepted before this time, in RFC 3339 format.
    before: Option<String>,
    /// Selects the entries that the bridge accepted at this time or later, in RFC 3339 format.
    since: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

impl FilterQuery {
    pub(super) fn filter(&self) -> Result<EntryFilter, AdminProblem> {
        let states = self.state.as_deref().map(parse_states).transpose()?;
        let id = self
            .id
            .as_ref()
            .map(|text| Attribute::parse(text).map_err(|error| malformed(format!("id: {error}"))));
        let reason = self.reason.as_deref().map(parse_park_reason).transpose()?;
        let source = self.source.as_ref().map(|text| {
            SourceName::parse(text).map_err(|error| malformed(format!("source: {error}")))
        });
        let event_type = self.r#type.as_ref().map(|text| {
            Attribute::parse(text).map_err(|error| malformed(format!("type: {error}")))
        });
        if self.customer.as_deref() == Some("") {
            return Err(malformed("customer is empty"));
        }
        Ok(EntryFilter {
            states: states.unwrap_or_else(|| vec![State::Parked]),
            id: id.transpose()?,
            source: source.transpose()?,
            event_type: event_type.transpose()?,
            reason,
            customer: self.customer.clone(),
            before: parse_time("before", self.before.as_deref())?,
            since: parse_time("since", self.since.as_deref())?,
            order: EntryOrder::OldestFirst,
            after: EntryId(parse_number("after", self.after.unwrap_or(0))?),
            max: self
                .limit
                .unwrap_or(PAGE_ENTRIES)
                .clamp(1, PAGE_ENTRIES_MAX),
        })
    }
}

fn parse_states(text: &str) -> Result<Vec<State>, AdminProblem> {
    if text == "all" {
        return Ok(State::ALL.to_vec());
    }
    text.split(',').map(parse_state).collect()
}

fn parse_state(text: &str) -> Result<State, AdminProblem> {
    let mut states = State::ALL.into_iter();
    states.find(|state| state.as_str() == text).ok_or_else(|| {
        let known = State::ALL.map(State::as_str);
        unknown_word("state", "a state of entries", &known)
    })
}

fn parse_park_reason(text: &str) -> Result<ParkReason, AdminProblem> {
    let mut reasons = ParkReason::ALL.into_iter();
    reasons
        .find(|reason| reason.as_str() == text)
        .ok_or_else(|| {
            let known: Vec<&str> = ParkReason::ALL
                .iter()
                .map(|reason| reason.as_str())
                .collect();
            unknown_word("reason", "a reason for parking", &known)
        })
}

/// Returns the error of a filter with an unknown word. The error does not repeat the word.
fn unknown_word(parameter: &str, meaning: &str, known: &[&str]) -> AdminProblem {
    let known = known.join(", ");
    malformed(format!(
        "{parameter}, the filter of entries, is not {meaning}; there are {known}"
    ))
}

fn parse_time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, AdminProblem> {
    let parse = |text| {
        Timestamp::parse_rfc3339(text).ok_or_else(|| {
            malformed(format!(
                "{name} is not an RFC 3339 time, such as 2026-11-27T14:00:00Z"
            ))
        })
    };
    text.map(parse).transpose()
}

/// Parses a filter for entries in the form of a query string.
///
/// # Errors
/// Returns an error that names the wrong part of the filter.
pub(crate) fn parse_filter(query: &str) -> Result<EntryFilter, AdminProblem> {
    let query = Query::<FilterQuery>::from_query(query);
    let query = query.map_err(|error| malformed(query_flaw(&error.to_string())))?;
    query.filter()
}

/// The query parameter `reveal`. With `true`, the answer contains unmasked values.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevealQuery {
    #[serde(default)]
    reveal: bool,
}

impl RevealQuery {
    pub(super) const fn visibility(self) -> Visibility {
        if self.reveal {
            Visibility::Revealed
        } else {
            Visibility::Masked
        }
    }
}

/// The request body of a replay, a discard or a parking.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    ids: Option<Vec<u64>>,
    filter: Option<FilterQuery>,
    #[serde(default)]
    map_again: bool,
    #[serde(default)]
    pub(super) preview: bool,
    reason: Option<String>,
}

impl ChangeBody {
    pub(super) fn selection(&self) -> Result<ChangeSelection, AdminProblem> {
        parse_selection(self.ids.as_deref(), self.filter.as_ref())
    }

    pub(super) const fn mapping(&self) -> MappingChoice {
        if self.map_again {
            MappingChoice::Current
        } else {
            MappingChoice::Stored
        }
    }

    pub(super) fn reason(&self) -> Result<Option<Reason>, AdminProblem> {
        parse_reason(self.reason.as_deref())
    }
}

/// Parses the entries that a body names by their numbers or by a filter.
pub(super) fn parse_selection(
    ids: Option<&[u64]>,
    filter: Option<&FilterQuery>,
) -> Result<ChangeSelection, AdminProblem> {
    let selection = match (ids, filter) {
        (Some(ids), None) => {
            let ids = ids.iter().map(|id| parse_number("ids", *id).map(EntryId));
            ChangeSelection::numbers(ids.collect::<Result<_, _>>()?)
        }
        (None, Some(filter)) => Ok(ChangeSelection::matching(filter.filter()?)),
        (None, None) | (Some(_), Some(_)) => {
            return Err(malformed("name the entries by either ids or filter"));
        }
    };
    Ok(selection?)
}

/// Parses the reason in a body. A blank text is no reason.
pub(super) fn parse_reason(text: Option<&str>) -> Result<Option<Reason>, AdminProblem> {
    Ok(Reason::parse(text.unwrap_or_default())?)
}

/// Parses the entry number in a path of the admin API. Another word in its place is another path, which does not exist.
pub(crate) fn parse_entry(number: &str) -> Result<EntryId, AdminProblem> {
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(number) => parse_number("the number of the entry", number).map(EntryId),
        Err(_too_large) if is_number => {
            parse_number("the number of the entry", u64::MAX).map(EntryId)
        }
        Err(_not_a_number) => Err(AdminProblem::NotFound),
    }
}

/// Returns an error for a number that is too high to be the number of an entry or of an audit record.
pub(super) fn parse_number(name: &str, number: u64) -> Result<u64, AdminProblem> {
    if number > ENTRY_MAX {
        return Err(malformed(format!(
            "{name}: the highest number is {ENTRY_MAX}"
        )));
    }
    Ok(number)
}

pub(super) fn parse_query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, AdminProblem> {
    Query::<T>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|error| malformed(query_flaw(&error.to_string())))
}

/// Returns the error of a query string in plain words.
pub(crate) fn query_flaw(error: &str) -> String {
    let reason = error.trim_start_matches("Query deserialize error: ");
    match reason {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "a parameter of the query, such as limit or after, must be a whole number".to_owned()
        }
        "duplicate field `state`" => {
            "state stands twice in the query: write several states with commas between them, such as state=parked,held".to_owned()
        }
        other => match other.strip_prefix("duplicate field ") {
            Some(name) => format!("{name} stands twice in the query"),
            None => other.replace("unknown field", "unknown parameter"),
        },
    }
}

pub(super) fn parse_body<T: DeserializeOwned>(body: &Bytes) -> Result<T, AdminProblem> {
    serde_json::from_slice(body).map_err(|error| {
        let syntax = json::parse(body).err().map(|cause| cause.to_string());
        malformed(syntax.unwrap_or_else(|| error.to_string()))
    })
}

pub(super) fn malformed(detail: impl Into<String>) -> AdminProblem {
    AdminProblem::Malformed(detail.into())
}
