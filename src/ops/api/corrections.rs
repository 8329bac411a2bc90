//! The admin API's routes for the events of parked entries, and for their corrections, in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::AdminBody;
use super::entries::{preview_json, replayed_json, summary_json, unchanged_json, with_coverage};
use super::request::{
    FilterQuery, malformed, parse_body, parse_number, parse_reason, parse_selection,
};
use super::{AdminProblem, ApiResult, SharedOperations, json_response};
use crate::event::json as strict;
use crate::ops::operate::{Correction, Operator};
use crate::outbox::EntryId;

/// The request body that selects the entries whose events the answer has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsBody {
    ids: Option<Vec<u64>>,
    filter: Option<FilterQuery>,
    reason: Option<String>,
}

/// Answers `POST /admin/v1/entries/events`. The answer has unmasked values.
pub(super) async fn events(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: EventsBody = parse_body(&body)?;
    let selection = parse_selection(body.ids.as_deref(), body.filter.as_ref())?;
    let reason = parse_reason(body.reason.as_deref())?;
    let parked = operations.parked_events(&operator, selection, reason);
    let parked = parked.await?;
    let entries = parked.entries.into_iter().map(|parked| {
        let mut entry = summary_json(&parked.summary);
        if let Some(members) = entry.as_object_mut() {
            members.insert("event".to_owned(), parked.event.unwrap_or_default());
        }
        entry
    });
    let entries: Vec<Value> = entries.collect();
    let answer = json!({"entries": entries, "unchanged": unchanged_json(&parked.unchanged)});
    json_response(&with_coverage(answer, parked.coverage))
}

/// The request body of a correction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorrectBody {
    corrections: Vec<CorrectedEntry>,
    #[serde(default)]
    preview: bool,
    reason: Option<String>,
}

/// A parked entry with its corrected event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorrectedEntry {
    entry: u64,
    event: Value,
}

/// Answers `POST /admin/v1/entries/correct`.
pub(super) async fn correct(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    // The rules of the event listener hold for corrected events too: of two members with one name, the last would win.
    strict::parse_file(&body).map_err(|error| malformed(error.to_string()))?;
    let body: CorrectBody = parse_body(&body)?;
    let corrections = body.corrections.into_iter().map(|corrected| {
        let entry = parse_number("entry", corrected.entry).map(EntryId)?;
        let event = corrected.event;
        let parsed = strict::parse(event.to_string().as_bytes());
        parsed.map_err(|error| malformed(format!("entry {entry}: {error}")))?;
        Ok(Correction { entry, event })
    });
    let corrections = corrections.collect::<Result<Vec<_>, AdminProblem>>()?;
    if body.preview {
        let preview = operations.preview_correction(&operator, corrections);
        return json_response(&preview_json(preview.await?));
    }
    let reason = parse_reason(body.reason.as_deref())?;
    let corrected = operations.correct(&operator, corrections, reason);
    json_response(&replayed_json(&corrected.await?))
}
