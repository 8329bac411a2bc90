//! The result of a draft: the files of a new source, with the reasons for the settings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::{Document, DraftSetting};
use super::secrets::SensitivePlace;
use crate::event::member_name::SensitiveKind;
use crate::imprint::Field;
use crate::intake::{Explanation, TargetExplanation, TargetResult};

/// The start of the sentence that names the settings of an event type which the bridge refuses.
const REFUSED: &str = "Some settings of the event type ";

/// The start of the comment on a setting that the bridge refuses.
const OFF: &str = "The bridge refuses this setting for a sample: ";

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

    /// Says where the samples have values that look like secrets, or like the numbers of a person or a payment card.
    pub(super) fn warn_of_secrets(&mut self, places: &[SensitivePlace]) {
        for (kind, start, advice) in [
            (
                SensitiveKind::Credential,
                "Members of the samples that look like secrets",
                "The bridge reads secrets only from request headers: let the source send its secret in a header, and list",
            ),
            (
                SensitiveKind::Identity,
                "Members of the samples that look like the number of an identity document, a bank account or a payment card",
                "Imprint has no field for such a number, and the bridge refuses an event with the number of a payment card: let the source leave these members out, or list",
            ),
        ] {
            let places = places.iter().filter(|found| found.kind == kind);
            let places: Vec<String> = places.map(|found| format!("`{}`", found.place)).collect();
            if places.is_empty() {
                continue;
            }
            let warning = format!(
                "{start}: {}. The draft does not map them, and the examples have other values. {advice} only the members that the mapping needs in `body.split`, such as `{{id, updated_at, email}}`.",
                places.join(", ")
            );
            self.document.comment_before_tables(&warning);
            self.decisions.push(warning);
        }
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
        // A sample of another event type can show that the setting is right.
        let settings: Vec<DraftSetting> = self.document.settings().cloned().collect();
        let equals = |setting: &DraftSetting, other: &DraftSetting| {
            other.target() == setting.target() && other.value == setting.value
        };
        let stand_for = |setting: &DraftSetting| -> Vec<String> {
            let equal = settings.iter().filter(|other| equals(setting, other));
            equal.filter_map(DraftSetting::event_type).collect()
        };
        let reason = |setting: &DraftSetting| {
            let (stands_for, field) = (setting.event_type()?, setting.target());
            let is_field = Field::parse(&field).is_some();
            let of_setting = targets.iter().filter(|(event_type, target)| {
                is_field && target.target == field && covers(&stands_for, event_type)
            });
            let mut results = of_setting.map(|(_, target)| &target.result);
            let detail = results.find_map(refusal)?;
            let types = stand_for(setting);
            let is_value = |(event_type, target): &(&str, &TargetExplanation)| {
                target.target == field
                    && types.iter().any(|name| covers(name, event_type))
                    && matches!(target.result, TargetResult::Value { .. })
            };
            if targets.iter().any(is_value) {
                return None;
            }
            Some(format!("{OFF}{detail}"))
        };
        let count = self.document.switch_off(reason);
        if count > 0 {
            self.decide_refused();
        }
        count
    }

    /// Names the settings that the bridge refuses for the samples.
    fn decide_refused(&mut self) {
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for setting in self.document.settings().filter(|setting| {
            setting
                .off
                .as_deref()
                .is_some_and(|reason| reason.starts_with(OFF))
        }) {
            let event_type = setting.event_type().unwrap_or_default();
            let targets = refused.entry(event_type).or_default();
            targets.push(setting.target());
        }
        let is_old = |decision: &String| decision.starts_with(REFUSED);
        self.decisions.retain(|decision| !is_old(decision));
        self.decisions.extend(refused.into_iter().map(|(event_type, targets)| {
            format!("{REFUSED}{event_type:?} are comments, because the bridge refuses their values in the samples: {}. If such a sample is an example of an invalid event, remove the # in front of the settings.", targets.join(", "))
        }));
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
