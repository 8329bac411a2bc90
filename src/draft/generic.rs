//! The draft of a source whose vendor the bridge does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::document::{Document, toml_text};
use super::doubt::SampleNames;
use super::envelope::{self, EnvelopeRule};
use super::leaves::leaves;
use super::path::quoted;
use super::sample::{Sample, SampleView};
use super::source_draft::{RecognizedSetting, SchemaDraft, SourceDraft, recognition};
use super::{
    authentication, body, event_id, event_type, fields, flat_names, order, related, removal,
};
use crate::event::SourceName;

/// The plan of a source whose vendor the draft does not know.
#[derive(Debug)]
pub(super) struct GenericPlan {
    source: SourceName,
    head: Document,
    types: BTreeSet<String>,
    recognized: Vec<RecognizedSetting>,
    decisions: Vec<String>,
}

impl GenericPlan {
    /// Plans a source from samples with at least one event.
    pub(super) fn of(source: &SourceName, samples: &[Sample]) -> Self {
        let headers = samples.first().map(|sample| sample.headers.as_slice());
        let authentication =
            authentication::recognize(headers.unwrap_or_default(), source.as_str());
        let (events, unrelated) = related::events(body::events(samples));
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
        let id = event_id::event_id(samples, &events, place, &authentication);
        let (mut ignored, types): (BTreeSet<_>, BTreeSet<_>) = typed
            .types
            .iter()
            .cloned()
            .partition(|name| removal::is_removal(name));
        // The event of a deletion can have no value of a customer.
        let (removals, other): (BTreeSet<_>, BTreeSet<_>) = unrelated
            .iter()
            .filter_map(|event| typed.of(event))
            .filter(|name| !types.contains(name) && !ignored.contains(name))
            .partition(|name| removal::is_removal(name));
        ignored.extend(removals);
        let mut plan = Self {
            source: source.clone(),
            head: Document::default(),
            types,
            recognized: vec![recognition("auth", "", &authentication.reason)],
            decisions: vec![authentication.decision.clone()],
        };
        plan.decisions.extend(flat_names::decision(&found));
        plan.decisions.extend(events.decision.clone());
        intro(&mut plan.head, source.as_str());
        plan.write_ignored(&ignored, &other);
        if authentication.is_signature {
            plan.write_unsigned(&typed.rule);
        }
        authentication.write(&mut plan.head);
        if let body::BodyFormat::Json { split } = &events.format {
            let version = order::version(&found, &record, &values, customer.as_ref());
            let time = version.filter(|version| version.domain == "time");
            let time = time.map(|version| version.rule.expression);
            plan.write_body(split.as_deref(), &id, &typed.rule, time.as_deref());
        }
        plan
    }

    /// Writes the event types that the bridge ignores: the types of removals, and the types of events about no customer.
    fn write_ignored(&mut self, removals: &BTreeSet<String>, unrelated: &BTreeSet<String>) {
        let names = removals.union(unrelated).map(|name| quoted(name));
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            return;
        }
        self.head.text("");
        if !removals.is_empty() {
            self.head.comment("The names of event types in this list say that the source deleted or merged the customer. The bridge accepts the events, and sends nothing to Imprint.");
        }
        if !unrelated.is_empty() {
            self.head.comment("The samples of event types in this list have no value and no id of a customer. The bridge accepts the events, and sends nothing to Imprint.");
        }
        self.head
            .setting("ignore", &format!("[{}]", names.join(", ")));
        let decisions = removals.iter().map(|name| removal::decision(name));
        let others = unrelated.iter().map(|name| related::decision(name));
        self.decisions.extend(decisions.chain(others));
    }

    /// Writes the request header with the event type, if the type comes from a header.
    fn write_unsigned(&mut self, event_type: &EnvelopeRule) {
        let Some(header) = &event_type.header else {
            return;
        };
        self.head.text("");
        self.head.comment("The signature does not cover this header: somebody between the source and the bridge could change it.");
        self.head
            .setting("unsigned_headers", &format!("[{}]", quoted(header)));
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
            self.decisions.extend(rule.decision.clone());
        }
        if let Some(time) = time {
            self.head.setting("time", &toml_text(time));
        }
    }

    /// Returns the text of a source file that reads the events of the samples, but maps no field.
    pub(super) fn render(&self) -> String {
        let mut document = self.head.clone();
        for name in &self.types {
            document.table(&format!("events.{}", quoted(name)));
            document.setting("schema", &quoted(&self.schema_path(name)));
            document.setting("customer.partner_id", "\".id\"");
        }
        document.render()
    }

    /// Returns the schemas for [`GenericPlan::render`]. They accept every event.
    pub(super) fn schemas(&self) -> Vec<SchemaDraft> {
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

    /// Recognizes the fields in the events of the samples.
    pub(super) fn with_fields(self, views: &[SampleView]) -> SourceDraft {
        let mut by_type: BTreeMap<&str, (Vec<Value>, Vec<String>)> = BTreeMap::new();
        for name in &self.types {
            by_type.insert(name, (Vec::new(), Vec::new()));
        }
        for view in views {
            if let Some((events, names)) = by_type.get_mut(view.event_type.as_str()) {
                events.push(view.event.clone());
                names.push(view.sample.clone());
            }
        }
        let mut draft = SourceDraft {
            document: self.head.clone(),
            schemas: Vec::new(),
            recognized: self.recognized.clone(),
            decisions: self.decisions.clone(),
        };
        let mut tables: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, (events, samples)) in by_type {
            let samples = SampleNames(&samples);
            let schema_path = self.schema_path(name);
            let before = draft.document.render().len();
            event_type::write(&mut draft, (name, &schema_path), &events, samples);
            let written = draft.document.render().split_off(before);
            let table = written
                .replace(&quoted(name), "")
                .replace(&quoted(&schema_path), "");
            tables.entry(table).or_default().push(name);
        }
        let equal = tables.into_values().filter(|names| names.len() > 1);
        draft
            .decisions
            .extend(equal.map(|names| equal_tables(&names)));
        let mut known = BTreeSet::new();
        draft
            .decisions
            .retain(|decision| known.insert(decision.clone()));
        draft
    }
}

/// The minimum length of the common start of event types for which one table with `*` is proposed.
const COMMON_START_MIN: usize = 3;

/// Says that the tables of some event types are equal, and proposes one table for all of them.
fn equal_tables(names: &[&str]) -> String {
    let first = names.first().copied().unwrap_or_default();
    let is_common = |start: &&str| names.iter().all(|name| name.starts_with(start));
    let starts = first
        .char_indices()
        .rev()
        .filter_map(|(end, _)| first.get(..end));
    let start = starts
        .into_iter()
        .find(is_common)
        .filter(|start| start.len() >= COMMON_START_MIN);
    let listed: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let proposal = start.map_or_else(String::new, |start| {
        format!(
            " One table `[events.{}]` can replace them. It also maps the types that the samples do not have, such as the type of a deletion: list those in `ignore`.",
            quoted(&format!("{start}*"))
        )
    });
    format!(
        "The tables of the event types {} are equal, so each change of the mapping must be made in all of them.{proposal} See the recipe \"Several event types with one table, and a test event\" in config/sources/RECIPES.md.",
        listed.join(", ")
    )
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
