//! The result of a draft: the files of a new source, with the reasons for the settings.

use serde_json::Value;

use super::document::{Document, DraftSetting};
use crate::imprint::Field;
use crate::intake::{Explanation, TargetExplanation, TargetResult};

/// A schema of a draft.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaDraft {
    /// The path of the schema file, relative to the folder of the schemas.
    pub path: String,
    pub content: Value,
}

/// A setting that the draft recognized, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecognizedSetting {
    /// The event type, if the setting belongs to one.
    pub event_type: Option<String>,
    pub setting: String,
    pub expression: String,
    pub reason: String,
}

/// The files of a new source.
#[derive(Clone, Debug)]
pub struct SourceDraft {
    pub(super) document: Document,
    pub schemas: Vec<SchemaDraft>,
    /// The settings that the draft recognized, in the order of the file.
    pub recognized: Vec<RecognizedSetting>,
    /// The sentences about what the person must decide.
    pub decisions: Vec<String>,
}

impl SourceDraft {
    /// Returns the text of the source file.
    pub fn render(&self) -> String {
        self.document.render()
    }

    /// Says where the samples have values that look like secrets.
    pub(super) fn warn_of_secrets(&mut self, places: &[String]) {
        if places.is_empty() {
            return;
        }
        let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
        let warning = format!(
            "Members of the samples that look like secrets: {}. The draft does not map them, and the examples have other values. The bridge reads secrets only from request headers: let the source send its secret in a header, and list only the members that the mapping needs in `body.split`, such as `{{id, updated_at, email}}`.",
            places.join(", ")
        );
        self.document.comment_before_tables(&warning);
        self.decisions.push(warning);
    }

    /// Turns every setting into a comment with the reason, if the pipeline refuses the setting for every sample that has
    /// its value. Returns the number of these settings.
    ///
    /// If the pipeline accepts the setting for another sample, the setting stays: then the value is wrong, and not the
    /// setting.
    pub fn switch_off_refused(&mut self, explanations: &[Explanation]) -> usize {
        let events = explanations.iter().flat_map(|found| &found.events);
        let targets = events.flat_map(|event| {
            let targets = event.targets.iter().flatten();
            targets.map(|target| (event.event_type.as_deref().unwrap_or_default(), target))
        });
        let targets: Vec<(&str, &TargetExplanation)> = targets.collect();
        let reason = |setting: &DraftSetting| {
            let (stands_for, field) = (setting.event_type()?, setting.target());
            let is_field = Field::parse(&field).is_some();
            let of_setting = targets.iter().filter(|(event_type, target)| {
                is_field && target.target == field && covers(&stands_for, event_type)
            });
            let results: Vec<&TargetResult> =
                of_setting.map(|(_, target)| &target.result).collect();
            let is_value = |result: &&TargetResult| matches!(result, TargetResult::Value { .. });
            if results.iter().any(is_value) {
                return None;
            }
            let detail = results.into_iter().find_map(refusal)?;
            Some(format!(
                "The bridge refuses this setting for a sample: {detail}"
            ))
        };
        self.document.switch_off(reason)
    }
}

fn refusal(result: &TargetResult) -> Option<&str> {
    match result {
        TargetResult::Refused { error } => Some(&error.detail),
        TargetResult::Absent
        | TargetResult::Cleared
        | TargetResult::Skipped { .. }
        | TargetResult::Value { .. } => None,
    }
}

/// Returns whether the name of a table stands for an event type. A name can end with `*`.
fn covers(name: &str, event_type: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => event_type.starts_with(start),
        None => name == event_type,
    }
}

impl RecognizedSetting {
    pub(super) fn of_type(self, event_type: &str) -> Self {
        Self {
            event_type: Some(event_type.to_owned()),
            ..self
        }
    }
}

pub(super) fn recognition(setting: &str, expression: &str, reason: &str) -> RecognizedSetting {
    RecognizedSetting {
        event_type: None,
        setting: setting.to_owned(),
        expression: expression.to_owned(),
        reason: reason.to_owned(),
    }
}
