//! The admin API's route for try-outs of mappings, in JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::body::AdminBody;
use super::request::{malformed, parse_body, parse_number};
use super::{AdminProblem, ApiResult, SharedOperations, json_response};
use crate::event::{SourceName, Visibility};
use crate::ops::operate::{EditedResult, Operator, TriedEvent, TryOut};
use crate::outbox::EntryId;

/// The request body of a try-out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TryOutBody {
    source: String,
    /// The request body of the source, as text.
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    entry: Option<u64>,
    /// The edited text of the source file.
    text: Option<String>,
    #[serde(default)]
    reveal: bool,
}

impl TryOutBody {
    fn try_out(self) -> Result<TryOut, AdminProblem> {
        let source = SourceName::parse(&self.source);
        let source = source.map_err(|error| malformed(format!("source: {error}")))?;
        let headers = self.headers.into_iter();
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let event = match (self.body, self.entry) {
            (Some(body), None) => TriedEvent::Body {
                body: body.into_bytes(),
                headers: headers.collect(),
            },
            (None, Some(entry)) => TriedEvent::Entry(EntryId(parse_number("entry", entry)?)),
            (None, None) | (Some(_), Some(_)) => {
                return Err(malformed("name the event by either body or entry"));
            }
        };
        Ok(TryOut {
            source,
            event,
            text: self.text,
            visibility: match self.reveal {
                true => Visibility::Revealed,
                false => Visibility::Masked,
            },
        })
    }
}

/// Answers `POST /admin/v1/try-out`.
pub(super) async fn run(
    operations: SharedOperations,
    operator: Operator,
    AdminBody(body): AdminBody,
) -> ApiResult {
    let body: TryOutBody = parse_body(&body)?;
    let result = operations.try_out(&operator, body.try_out()?).await?;
    let (edited, errors, differences) = match result.edited {
        None => (None, None, None),
        Some(EditedResult::Wrong(errors)) => (None, Some(errors), None),
        Some(EditedResult::Explained {
            explanation,
            differences,
        }) => (Some(explanation), Some(Vec::new()), Some(differences)),
    };
    let differences = differences.map(|differences| {
        let differences = differences.into_iter().map(|difference| {
            json!({
                "event": difference.event, "name": difference.name,
                "before": difference.before, "after": difference.after,
            })
        });
        differences.collect::<Vec<_>>()
    });
    json_response(&json!({
        "live": result.live, "edited": edited, "errors": errors, "differences": differences,
    }))
}
