//! Drafts the files of a new source from sample bodies: the source file, the schemas, and the reasons for each setting.
//!
//! A draft begins as a [`SourcePlan`]: the authentication, the format of the bodies, the event types. The caller compiles the
//! plan and reads the events of the samples with it, because only the compiled expression `body.split` knows the form in
//! which schema and mapping see an event. [`SourcePlan::with_fields`] then recognizes the fields in these events. At last, the
//! caller runs the samples through the bridge's own pipeline, and [`SourceDraft::switch_off_refused`] turns every setting that
//! the pipeline refuses for a sample into a comment. So a draft always passes `check`.
//!
//! The module is pure: it reads and writes no files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::document::{Document, DraftSetting, toml_text};
use self::envelope::EnvelopeRule;
use self::fields::FieldDraft;
use self::path::{leaves, quoted};
use crate::event::SourceName;
use crate::intake::{Explanation, TargetResult};

mod account;
mod address;
mod address_names;
mod authentication;
mod body;
mod document;
mod envelope;
mod event_type;
mod fields;
mod form;
mod names;
mod order;
mod path;
mod sample;
mod schema;
mod synonyms;

pub use sample::Sample;

/// The error of samples from which the bridge cannot draft a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// There is no sample.
    #[error("there is no sample")]
    NoSample,
    /// A sample has no event. The number is the position of the sample.
    #[error("the sample {reason}; a sample is a request body with at least one event")]
    NoEvent {
        position: usize,
        reason: &'static str,
    },
}

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

/// The first part of a draft: everything except the fields.
#[derive(Debug)]
pub struct SourcePlan {
    source: SourceName,
    head: Document,
    types: BTreeSet<String>,
    recognized: Vec<RecognizedSetting>,
    decisions: Vec<String>,
}

/// The files of a new source.
#[derive(Clone, Debug)]
pub struct SourceDraft {
    document: Document,
    pub schemas: Vec<SchemaDraft>,
    /// The settings that the draft recognized, in the order of the file.
    pub recognized: Vec<RecognizedSetting>,
    /// The sentences about what the person must decide.
    pub decisions: Vec<String>,
}

impl SourcePlan {
    /// Plans a source from samples.
    ///
    /// # Errors
    /// Returns an error if a sample has no event.
    pub fn of(source: &SourceName, samples: &[Sample]) -> Result<Self, DraftError> {
        if samples.is_empty() {
            return Err(DraftError::NoSample);
        }
        for (position, sample) in samples.iter().enumerate() {
            if let Some(reason) = sample.emptiness() {
                return Err(DraftError::NoEvent { position, reason });
            }
        }
        Ok(Self::generic(source, samples))
    }

    fn generic(source: &SourceName, samples: &[Sample]) -> Self {
        let headers = samples.first().map(|sample| sample.headers.as_slice());
        let authentication =
            authentication::recognize(headers.unwrap_or_default(), source.as_str());
        let events = body::events(samples);
        let values: Vec<Value> = events
            .events
            .iter()
            .map(|(_, event)| event.clone())
            .collect();
        let found = leaves(&values);
        let record = fields::record(&found);
        let typed = envelope::event_type(samples, &events, &found, &record);
        let customer = order::partner_id(&found, &record, values.len());
        let customer = customer.map(|rule| rule.path);
        let place = (found.as_slice(), &record, customer.as_ref());
        let id = envelope::event_id(samples, &events, place, &authentication);
        let mut plan = Self {
            source: source.clone(),
            head: Document::default(),
            types: typed.types,
            recognized: vec![recognition("auth", "", &authentication.reason)],
            decisions: vec![authentication.decision.clone()],
        };
        intro(&mut plan.head, source.as_str());
        if let Some(header) = typed
            .rule
            .header
            .as_ref()
            .filter(|_| authentication.is_signature)
        {
            plan.head.text("");
            plan.head.comment("The signature does not cover this header: somebody between the source and the bridge could change it.");
            plan.head
                .setting("unsigned_headers", &format!("[{}]", quoted(header)));
        }
        authentication.write(&mut plan.head);
        if let body::BodyFormat::Json { split } = &events.format {
            let version = order::version(&found, &record, values.len());
            let time = version.filter(|version| version.domain == "time");
            let time = time.map(|version| version.rule.expression);
            plan.write_body(split.as_deref(), &id, &typed.rule, time.as_deref());
        }
        plan
    }

    /// Writes the table `[body]`.
    fn write_body(
        &mut self,
        split: Option<&str>,
        id: &EnvelopeRule,
        event_type: &EnvelopeRule,
        time: Option<&str>,
    ) {
        self.head.table("body");
        self.head.setting("format", "\"json\"");
        if let Some(split) = split {
            self.head.setting("split", &toml_text(split));
            let reason = "the body is a list of events";
            self.recognized
                .push(recognition("body.split", split, reason));
        }
        for (key, rule) in [("id", id), ("type", event_type)] {
            self.head.setting(key, &toml_text(&rule.expression));
            let setting = format!("body.{key}");
            let found = recognition(&setting, &rule.expression, &rule.reason);
            self.recognized.push(found);
        }
        if let Some(time) = time {
            self.head.setting("time", &toml_text(time));
        }
        if id.expression == "digest" {
            self.decisions.push("The event id: the draft uses a digest of the whole event. If the source adds values that differ each time it sends an event again, such as the time of the delivery, make a digest of the other members.".to_owned());
        }
    }

    /// Returns the text of a source file that reads the events of the samples, but maps no field.
    pub fn render(&self) -> String {
        let mut document = self.head.clone();
        for name in &self.types {
            document.table(&format!("events.{}", quoted(name)));
            document.setting("schema", &quoted(&self.schema_path(name)));
            document.setting("customer.partner_id", "\".id\"");
        }
        document.render()
    }

    /// Returns the schemas for [`SourcePlan::render`]. They accept every event.
    pub fn schemas(&self) -> Vec<SchemaDraft> {
        let schema = |name: &String| SchemaDraft {
            path: self.schema_path(name),
            content: json!({}),
        };
        self.types.iter().map(schema).collect()
    }

    fn schema_path(&self, event_type: &str) -> String {
        let position = self
            .types
            .iter()
            .position(|name| name == event_type)
            .unwrap_or_default();
        let same = self
            .types
            .iter()
            .take(position)
            .filter(|name| file_name(name) == file_name(event_type));
        let suffix = match same.count() {
            0 => String::new(),
            count => format!("-{}", count.saturating_add(1)),
        };
        format!("{}/{}{suffix}.v1.json", self.source, file_name(event_type))
    }

    /// Recognizes the fields in the events of the samples. Each event stands with the name of its type in the source
    /// file, in the form that schema and mapping read.
    pub fn with_fields(self, views: &[(String, Value)]) -> SourceDraft {
        let mut by_type: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for name in &self.types {
            by_type.insert(name, Vec::new());
        }
        for (name, view) in views {
            by_type.entry(name).or_default().push(view.clone());
        }
        let mut draft = SourceDraft {
            document: self.head.clone(),
            schemas: Vec::new(),
            recognized: self.recognized.clone(),
            decisions: self.decisions.clone(),
        };
        for (name, events) in by_type {
            event_type::write(&mut draft, (name, &self.schema_path(name)), &events);
        }
        draft.decisions.dedup();
        draft
    }
}

impl SourceDraft {
    /// Returns the text of the source file.
    pub fn render(&self) -> String {
        self.document.render()
    }

    /// Turns every setting that the pipeline refuses for a sample into a comment with the reason. Returns the number of
    /// these settings.
    pub fn switch_off_refused(&mut self, explanations: &[Explanation]) -> usize {
        let events = explanations.iter().flat_map(|found| &found.events);
        let targets = events.flat_map(|event| {
            let targets = event.targets.iter().flatten();
            targets.map(|target| (event.event_type.as_deref().unwrap_or_default(), target))
        });
        let refused = targets.filter_map(|(event_type, target)| match &target.result {
            TargetResult::Refused { error } => {
                Some(((event_type, target.target.as_str()), error.detail.as_str()))
            }
            TargetResult::Absent
            | TargetResult::Cleared
            | TargetResult::Skipped { .. }
            | TargetResult::Value { .. } => None,
        });
        let refused: BTreeMap<(&str, &str), &str> = refused.collect();
        let reason = |setting: &DraftSetting| {
            let stands_for = setting.event_type()?;
            let target = setting.target();
            let is_rule =
                target.starts_with("customer.") || target == "version" || target == "when";
            let found = refused.iter().find(|((event_type, refused), _)| {
                *refused == target && covers(&stands_for, event_type)
            });
            let (_, detail) = found.filter(|_| !is_rule)?;
            Some(format!(
                "The bridge refuses this setting for a sample: {detail}"
            ))
        };
        self.document.switch_off(reason)
    }
}

/// Returns whether the name of a table stands for an event type. A name can end with `*`.
fn covers(name: &str, event_type: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => event_type.starts_with(start),
        None => name == event_type,
    }
}

fn intro(document: &mut Document, source: &str) {
    document.comment(&format!(
        "The source {}: a draft that `imprint-bridge new-source` made from samples. Review every line.",
        quoted(source)
    ));
    document.comment(&format!(
        "The source sends to POST /v1/sources/{source}/events. config/sources/REFERENCE.md describes the settings, the expressions and the functions."
    ));
}

impl RecognizedSetting {
    fn of_type(self, event_type: &str) -> Self {
        Self {
            event_type: Some(event_type.to_owned()),
            ..self
        }
    }
}

fn recognition(setting: &str, expression: &str, reason: &str) -> RecognizedSetting {
    RecognizedSetting {
        event_type: None,
        setting: setting.to_owned(),
        expression: expression.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Returns the name of an event type as a part of a file name.
fn file_name(event_type: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let name: String = event_type
        .chars()
        .map(|c| if fits(c) { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() {
        "event".to_owned()
    } else {
        name.to_owned()
    }
}

/// Writes the fields of an event type into its table `update`, the settings first and the suggestions after them.
fn write_fields(document: &mut Document, fields: &[FieldDraft]) {
    let (suggested, live): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.is_suggestion);
    let is_history = |field: &&&FieldDraft| field.target.starts_with("customer_history.");
    for field in live.iter().filter(|field| !is_history(field)) {
        document.setting(&field.target, &toml_text(&field.expression));
    }
    let history: Vec<_> = live.iter().filter(is_history).collect();
    if !history.is_empty() {
        document.text("");
        document.comment("The data that our company has about the customer. Imprint keeps this data separate from the fields above, so the bridge sends the values a second time.");
        for field in history {
            document.setting(&field.target, &toml_text(&field.expression));
        }
    }
    if !suggested.is_empty() {
        document.text("");
    }
    let mut last = "";
    for field in suggested {
        if field.reason != last {
            document.comment(&field.reason);
        }
        last = &field.reason;
        document.text(&format!(
            "# {} = {}",
            field.target,
            toml_text(&field.expression)
        ));
    }
}
