//! The body and the id of a notice.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::conditions::{ChangeKind, Condition, ConditionKey};
use super::rules::Severity;

/// The place of the explanations, as in the alert rules.
const RUNBOOK: &str = "deploy/RUNBOOK.md";
/// The number of bytes of a hash in an id.
const ID_BYTES: usize = 16;

/// A notice about the begin or the end of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    id: String,
    name: &'static str,
    severity: Severity,
    body: Vec<u8>,
}

impl Notice {
    pub(super) fn new(condition: &Condition, change: ChangeKind, instance: &str) -> Self {
        let (kind, at, resolved) = match change {
            ChangeKind::Raised(at) => ("notice.raised", at, Value::Null),
            ChangeKind::Resolved(at) => ("notice.resolved", at, json!(at.to_rfc3339())),
        };
        let key = hash(&condition.key, "");
        let id = hash(
            &condition.key,
            &format!("{kind} {} {instance}", at.as_millis()),
        );
        let name = condition.rule.name;
        let body = json!({
            "type": kind,
            "timestamp": at.to_rfc3339(),
            "data": {
                "name": name,
                "key": key,
                "severity": condition.rule.severity.as_str(),
                "summary": condition.rule.summary,
                "labels": condition.key.1,
                "value": number(condition.value),
                "since": condition.since.to_rfc3339(),
                "resolved": resolved,
                "runbook": format!("{RUNBOOK}#{}", name.to_ascii_lowercase()),
                "instance": instance,
            },
        });
        Self {
            id: format!("notice_{id}"),
            name,
            severity: condition.rule.severity,
            body: body.to_string().into_bytes(),
        }
    }

    pub(super) const fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the id, which is the same at each attempt.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of the rule.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the body of the request.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Returns a hash of a condition and a text.
fn hash((name, labels): &ConditionKey, text: &str) -> String {
    let mut hash = Sha256::new();
    let labels = labels.iter();
    let parts = labels.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    for part in [*name, text].into_iter().chain(parts) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hash = hash.finalize();
    let bytes = hash.iter().take(ID_BYTES);
    bytes.fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Returns a number with at most three digits after the point, and a whole number without a point.
fn number(value: f64) -> Value {
    let rounded = (value * 1000.0).round() / 1000.0;
    let whole = format!("{rounded:.0}").parse::<i64>();
    match whole {
        Ok(whole) if rounded.fract() == 0.0 => json!(whole),
        Ok(_) | Err(_) => json!(rounded),
    }
}
