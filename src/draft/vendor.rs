//! The draft of a source whose vendor the bridge knows: the settings of the source that is ready for this vendor, with
//! the fields that the samples have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::adaptation::Adaptation;
use self::known::{Invented, VENDORS, Vendor};
use super::document::{Document, DraftSetting};
use super::doubt::SampleNames;
use super::field_draft::{FieldDraft, FieldDrafts};
use super::fields;
use super::leaves::leaves;
use super::sample::{Sample, SampleView};
use super::schema;
use super::source_draft::{SchemaDraft, SourceDraft, recognition};
use crate::event::SourceName;

mod adaptation;
mod known;

/// The plan of a source of a known vendor.
#[derive(Debug)]
pub(super) struct VendorPlan {
    source: SourceName,
    vendor: &'static Vendor,
    adaptation: Adaptation,
    document: Document,
    /// The names of all members of the samples. `body.split` can drop members that are null.
    members: BTreeSet<String>,
}

/// Returns the reason why a sample has the form of a known vendor, but no values.
pub(super) fn emptiness(sample: &Sample) -> Option<&'static str> {
    known::is_zoho_notification(&sample.body).then_some(
        "is a notification of Zoho CRM, which has only the ids of the changed records; a relay must read each record and \
         post it, so draft the source from an answer of Zoho's API",
    )
}

impl VendorPlan {
    /// Plans the source if all samples have the form of one vendor.
    pub(super) fn of(source: &SourceName, samples: &[Sample]) -> Option<Self> {
        let fits = |vendor: &&Vendor| samples.iter().all(|sample| (vendor.is_sample)(sample));
        let vendor = VENDORS.iter().find(fits)?;
        let adaptation = adaptation::adapt(vendor, source.as_str(), samples);
        let document = Document::parse(&adaptation.text);
        let mut members = BTreeSet::new();
        for sample in samples {
            add_members(&sample.body, &mut members);
        }
        let members = members.into_iter().map(str::to_owned).collect();
        Some(Self {
            source: source.clone(),
            vendor,
            adaptation,
            document,
            members,
        })
    }

    pub(super) const fn vendor(&self) -> &'static str {
        self.vendor.name
    }

    pub(super) const fn usual_headers(&self) -> &'static [(&'static str, &'static str)] {
        self.vendor.usual_headers
    }

    pub(super) fn render(&self) -> String {
        self.document.render()
    }

    /// Returns the schemas for [`Self::render`]. They accept every event.
    pub(super) fn schemas(&self) -> Vec<SchemaDraft> {
        let schema = |path: String| SchemaDraft {
            path,
            content: json!({}),
        };
        self.schema_paths().into_iter().map(schema).collect()
    }

    /// Returns the paths of the schemas, each path once.
    fn schema_paths(&self) -> Vec<String> {
        let schemas = self
            .document
            .settings()
            .filter(|setting| setting.key == "schema");
        let paths: BTreeSet<String> = schemas
            .map(|setting| setting.value.replace('"', ""))
            .collect();
        paths.into_iter().collect()
    }

    pub(super) fn with_fields(mut self, views: &[SampleView]) -> SourceDraft {
        let mut by_type: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for view in views {
            let events = by_type.entry(&view.event_type).or_default();
            events.push(view.event.clone());
        }
        let missing = self.switch_off_missing(&by_type);
        let mut draft = SourceDraft {
            document: Document::default(),
            schemas: Vec::new(),
            recognized: vec![recognition(
                "vendor",
                "",
                &format!("the form of the body: {}", self.vendor.name),
            )],
            decisions: self
                .vendor
                .decisions
                .iter()
                .map(|decision| (*decision).to_owned())
                .collect(),
        };
        draft.decisions.push(format!(
            "The secret: write it to the file /run/secrets/imprint-bridge/sources/{}, or name another file in [auth].",
            self.source
        ));
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(String::as_str).collect();
            draft.decisions.push(format!(
                "Members that the samples do not have: {}. Their settings are comments.",
                names.join(", ")
            ));
        }
        for (name, events) in &by_type {
            let found = self.further_fields(name, events);
            let live = found.fields.iter().filter(|field| !field.is_suggestion);
            for field in live {
                let found = recognition(&field.target, &field.expression, &field.reason);
                draft.recognized.push(found.of_type(name));
            }
            draft.decisions.extend(found.decisions);
        }
        draft.schemas = self.final_schemas(&by_type, &missing);
        draft.document = self.document;
        draft
    }

    /// Switches off the settings that read a member with an invented name, if no sample has the member. Returns the names
    /// of these members.
    fn switch_off_missing(&mut self, by_type: &BTreeMap<&str, Vec<Value>>) -> BTreeSet<String> {
        let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, events) in by_type {
            let known = members.entry(name).or_default();
            events.iter().for_each(|event| add_members(event, known));
        }
        let invented = if self.adaptation.is_other_record {
            Invented::All
        } else {
            self.vendor.invented
        };
        let missing = |setting: &DraftSetting| {
            let is_field =
                setting.table.ends_with(".update") || setting.key == "customer.imprint_id";
            let known = members
                .get(setting.event_type()?.as_str())
                .filter(|_| is_field)?;
            let names = names_read(&setting.value).into_iter();
            let mut names = names.filter(|name| {
                let is_known = known.contains(name) || self.members.contains(*name);
                invented.contains(name) && !is_known
            });
            names.next().map(str::to_owned)
        };
        let names = self.document.settings().filter_map(missing).collect();
        self.document
            .switch_off(|setting| Some(format!("The samples have no `{}`.", missing(setting)?)));
        names
    }

    /// Recognizes the fields that the ready source does not set, and adds them to the table of the event type.
    fn further_fields(&mut self, name: &str, events: &[Value]) -> FieldDrafts {
        let is_of_type = |setting: &&DraftSetting| setting.event_type().as_deref() == Some(name);
        let found = leaves(events);
        let record = fields::record(&found);
        let settings = self
            .document
            .settings()
            .filter(is_of_type)
            .filter(|setting| setting.off.is_none());
        let settings: Vec<DraftSetting> = settings.cloned().collect();
        let version = settings.iter().find(|setting| setting.key == "version");
        let version = version.map(|setting| setting.value.trim_matches(['"', '\'']).to_owned());
        let mut drafts = fields::recognize(&found, &record, version.as_deref(), SampleNames(&[]));
        let is_set = |field: &FieldDraft| {
            settings
                .iter()
                .any(|setting| setting.target() == field.target)
        };
        let text = self.document.render();
        let is_read = |field: &FieldDraft| {
            let name = field.expression.rsplit('.').next().unwrap_or_default();
            field.is_suggestion && text.contains(&format!(".{name}"))
        };
        drafts
            .fields
            .retain(|field| !is_set(field) && !is_read(field));
        let is_live = drafts.fields.iter().any(|field| !field.is_suggestion);
        if !is_live {
            drafts.decisions.clear();
        }
        let table = settings
            .iter()
            .find(|setting| setting.table.ends_with(".update"));
        let table = table.map(|setting| setting.table.clone());
        let table = table.or_else(|| self.document.update_table(name));
        if let Some(table) = table.filter(|_| !drafts.fields.is_empty()) {
            let mut added = Document::default();
            if self.vendor.is_ready && is_live {
                added.text("");
                added.comment("The draft recognized these values of the samples by their names.");
            }
            fields::write_fields(&mut added, &drafts.fields);
            self.document.insert_into(&table, added);
        }
        drafts
    }

    /// Returns the schemas: those of the ready source without the members that no sample has, or inferred ones.
    fn final_schemas(
        &self,
        by_type: &BTreeMap<&str, Vec<Value>>,
        missing: &BTreeSet<String>,
    ) -> Vec<SchemaDraft> {
        let is_inferred = !self.vendor.is_ready
            || self.adaptation.is_other_record
            || (matches!(self.vendor.invented, Invented::All) && !missing.is_empty());
        let paths = self.schema_paths();
        let schemas = paths.into_iter().map(|path| {
            let content = if is_inferred {
                None
            } else {
                self.ready_schema(&path, missing)
            };
            let content = content.unwrap_or_else(|| self.inferred(&path, by_type));
            SchemaDraft { path, content }
        });
        schemas.collect()
    }

    fn ready_schema(&self, path: &str, missing: &BTreeSet<String>) -> Option<Value> {
        let (_, file) = path.split_once('/')?;
        let (_, text) = self.vendor.schemas.iter().find(|(name, _)| *name == file)?;
        let mut schema: Value = serde_json::from_str(text).ok()?;
        without(&mut schema, missing);
        let id = schema.get("$id").and_then(Value::as_str).map(str::to_owned);
        if let (Some(id), Some(members)) = (id, schema.as_object_mut()) {
            let id = id.replace(self.vendor.key, self.source.as_str());
            members.insert("$id".to_owned(), Value::from(id));
        }
        Some(schema)
    }

    fn inferred(&self, path: &str, by_type: &BTreeMap<&str, Vec<Value>>) -> Value {
        let has_path = |setting: &&DraftSetting| {
            setting.key == "schema" && setting.value.replace('"', "") == path
        };
        let types = self
            .document
            .settings()
            .filter(has_path)
            .filter_map(DraftSetting::event_type);
        let types: Vec<String> = types.collect();
        let events = types
            .iter()
            .filter_map(|name| by_type.get(name.as_str()))
            .flatten();
        let events: Vec<&Value> = events.collect();
        schema::infer(
            &format!("{}, version 1", types.join(", ")),
            &events,
            &[],
            &[],
        )
    }
}

/// Adds the names of all members of a value.
fn add_members<'v>(value: &'v Value, names: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                names.insert(name);
                add_members(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add_members(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the names of the members that an expression reads. The expressions of the ready sources have no quoted names.
fn names_read(expression: &str) -> Vec<&str> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let parts = expression.split('.').skip(1);
    let names = parts.map(|part| part.split(is_end).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).collect()
}

/// Removes the members with these names from a schema.
fn without(schema: &mut Value, names: &BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get_mut("properties") {
                properties.retain(|name, _| !names.contains(name));
            }
            if let Some(Value::Array(required)) = members.get_mut("required") {
                required.retain(|name| !name.as_str().is_some_and(|name| names.contains(name)));
            }
            members.values_mut().for_each(|value| without(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
