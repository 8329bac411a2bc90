//! The tables of one event type in a draft.

use std::collections::BTreeSet;

use serde_json::Value;

use super::candidates;
use super::document::toml_text;
use super::doubt::{self, Doubt, SampleNames};
use super::false_values;
use super::field_draft::FieldDrafts;
use super::fields;
use super::form;
use super::leaves::leaves;
use super::list_items::ListItems;
use super::names;
use super::notification;
use super::order::{self, EventRule, VersionDraft};
use super::path::{JsonPath, Leaf, quoted};
use super::schema;
use super::source_draft::{SchemaDraft, SourceDraft, recognition};

/// Adds the tables of one event type with its schema. `events` has the events of the samples that have this type.
pub(super) fn write(
    draft: &mut SourceDraft,
    (name, schema_path): (&str, &str),
    events: &[Value],
    samples: SampleNames<'_>,
) {
    let found = leaves(events);
    let record = fields::record(&found);
    let count = events.len();
    let partner_id = order::partner_id(&found, &record, count);
    let imprint_id = order::imprint_id(&found);
    let customer = partner_id.as_ref().map(|rule| &rule.path);
    let version = order::version(&found, &record, events, customer);
    let time = version.as_ref().filter(|version| version.domain == "time");
    let mut fields = fields::recognize(
        &found,
        &record,
        time.map(|version| version.rule.expression.as_str()),
        samples,
    );
    fields
        .decisions
        .extend(ListItems::of(events).decisions(&fields.fields));
    let table = format!("events.{}", quoted(name));
    draft.document.table(&table);
    draft.document.setting("schema", &quoted(schema_path));
    let notes = notification::notes(name, events, &found, &fields);
    draft.decisions.extend(notes);
    match &version {
        Some(version) => {
            let flaw = doubt::of_version(&found, &version.rule.path, count, samples);
            write_version(draft, name, (version, flaw), &found);
        }
        None => write_no_version(draft, name, doubt::version(&found, count, samples), &found),
    }
    if partner_id.is_none() && imprint_id.is_none() {
        write_no_customer(draft, name, doubt::customer(&found, count, samples), &found);
    } else {
        write_customer(draft, name, partner_id.as_ref(), imprint_id.as_ref());
        let rule = partner_id.as_ref();
        draft.decisions.extend(rule.and_then(|rule| {
            let flaw = doubt::of_customer(&found, &rule.path, count, samples);
            customer_decision(name, (&rule.path, flaw), &record, (&found, events))
        }));
    }
    let version_rule = version.as_ref().map(|version| &version.rule);
    drop_read(
        &mut fields,
        [partner_id.as_ref(), imprint_id.as_ref(), version_rule],
    );
    draft.document.table(&format!("{table}.update"));
    fields::write_fields(&mut draft.document, &fields.fields);
    report(draft, name, fields);
    let rules = [partner_id, version.map(|version| version.rule)];
    let required: Vec<JsonPath> = rules.into_iter().flatten().map(|rule| rule.path).collect();
    draft.schemas.push(SchemaDraft {
        path: schema_path.to_owned(),
        content: schema(name, events, &found, &required),
    });
}

fn schema(name: &str, events: &[Value], found: &[Leaf], required: &[JsonPath]) -> Value {
    let events: Vec<&Value> = events.iter().collect();
    let texts = false_values::paths(found, required);
    schema::infer(&format!("{name}, version 1"), &events, required, &texts)
}

/// Drops the suggestions that only read a value of these rules.
fn drop_read(fields: &mut FieldDrafts, rules: [Option<&EventRule>; 3]) {
    let paths: Vec<String> = rules
        .into_iter()
        .flatten()
        .map(|rule| rule.path.expression())
        .collect();
    fields
        .fields
        .retain(|field| !field.is_suggestion || !paths.contains(&field.expression));
}

fn write_version(
    draft: &mut SourceDraft,
    name: &str,
    (version, flaw): (&VersionDraft, Option<String>),
    leaves: &[Leaf],
) {
    draft.document.comment("The version orders the changes of one customer: older values never overwrite newer values.");
    draft
        .document
        .setting("version", &toml_text(&version.rule.expression));
    draft
        .document
        .setting("version_domain", &quoted(version.domain));
    let found = recognition("version", &version.rule.expression, &version.rule.reason);
    draft.recognized.push(found.of_type(name));
    decide_version(draft, name, (version, flaw), leaves);
}

/// Says what is doubtful about the version, and names the other times of the samples.
fn decide_version(
    draft: &mut SourceDraft,
    name: &str,
    (version, flaw): (&VersionDraft, Option<String>),
    found: &[Leaf],
) {
    let times = candidates::times(found, Some(&version.rule.path));
    if times.is_none() && version.doubt.is_none() && flaw.is_none() {
        return;
    }
    let path = version.rule.path.expression();
    let start = format!(
        "The version of the event type {}: the draft reads `{path}`.",
        quoted(name)
    );
    let flaw = flaw.as_deref().map(refused);
    let sentences = [Some(start), version.doubt.clone(), flaw, times];
    let sentences: Vec<String> = sentences.into_iter().flatten().collect();
    draft.decisions.push(sentences.join(" "));
}

/// Returns the sentence about a flaw of one sample, with its consequence.
fn refused(flaw: &str) -> String {
    format!("The bridge refuses such an event: {flaw}")
}

fn write_no_version(draft: &mut SourceDraft, name: &str, doubt: Option<Doubt>, found: &[Leaf]) {
    draft.document.comment("The draft found no version. Without a version, the order of arrival decides, so an old event that arrives late overwrites newer data. Use the time of the change or a number that grows:");
    let times = candidates::times(found, doubt.as_ref().map(|doubt| &doubt.path));
    let mut reason = match doubt {
        Some(doubt) => {
            let path = doubt.path.expression();
            let mut reason = doubt.reason;
            let is_local = |value: &Value| {
                form::TimeForm::of_value(value).is_none() && form::is_local_time(value)
            };
            let leaf = found.iter().find(|leaf| leaf.path == doubt.path);
            let hint = if leaf.is_some_and(|leaf| leaf.has_value() && form::all(leaf, is_local)) {
                draft
                    .document
                    .comment("If the source writes its times in UTC, append `Z`:");
                reason.push_str(" If the source writes its times in UTC, the suggested version appends `Z`; see the recipe \"A time without an offset\" in config/sources/RECIPES.md.");
                format!("\"\\({path})Z\" | utc")
            } else {
                path
            };
            draft
                .document
                .text(&format!("# version = {}", toml_text(&hint)));
            draft.document.text("# version_domain = \"time\"");
            reason
        }
        None => {
            draft.document.text("# version = \".NAME_OF_THE_MEMBER\"");
            draft.document.text("# version_domain = \"time\"");
            "no member of the samples has the name of a time of the change or of a number that grows.".to_owned()
        }
    };
    if let Some(times) = times {
        reason.push(' ');
        reason.push_str(&times);
    }
    draft.decisions.push(format!(
        "The version of the event type {}: {reason}",
        quoted(name)
    ));
}

/// Writes a customer's id for a person to correct, because the draft recognized none.
fn write_no_customer(draft: &mut SourceDraft, name: &str, doubt: Option<Doubt>, found: &[Leaf]) {
    draft
        .document
        .comment("The draft found no id of the customer. Correct the expression.");
    let ids = candidates::ids(found, doubt.as_ref().map(|doubt| &doubt.path), |_| false);
    let ids = ids.map_or_else(String::new, |ids| format!(" {ids}"));
    let (expression, reason) = doubt.map_or_else(
        || {
            (
                ".id".to_owned(),
                "no member of the samples has the name of an id.".to_owned(),
            )
        },
        |doubt| (doubt.path.expression(), doubt.reason),
    );
    draft
        .document
        .setting("customer.partner_id", &toml_text(&expression));
    draft.decisions.push(format!("The customer's id of the event type {}: {reason} The bridge refuses an event without the id; the draft reads {}.{ids}", quoted(name), toml_text(&expression)));
}

fn write_customer(
    draft: &mut SourceDraft,
    name: &str,
    partner_id: Option<&EventRule>,
    imprint_id: Option<&EventRule>,
) {
    draft.document.comment("The ids of the customer: the source's own id, which Imprint has as `partner_customer_id`, and Imprint's id.");
    let rules = [
        ("customer.partner_id", partner_id),
        ("customer.imprint_id", imprint_id),
    ];
    for (key, rule) in rules {
        if let Some(rule) = rule {
            draft.document.setting(key, &toml_text(&rule.expression));
            let found = recognition(key, &rule.expression, &rule.reason);
            draft.recognized.push(found.of_type(name));
        }
    }
    if partner_id.is_some() {
        draft.decisions.push("The customer's id: Imprint must have the value of customer.partner_id as `partner_customer_id`.".to_owned());
    }
}

/// Names the other ids of the samples, and says if the id can be the id of an employee.
fn customer_decision(
    name: &str,
    (chosen, flaw): (&JsonPath, Option<String>),
    record: &JsonPath,
    (found, events): (&[Leaf], &[Value]),
) -> Option<String> {
    let path = chosen.names();
    let around = record.names().len();
    let inner = if chosen.starts_with(record) {
        path.get(around..).unwrap_or_default()
    } else {
        path.as_slice()
    };
    let is_user = names::names_a_user(inner);
    let is_of_event = |path: &JsonPath| order::differs(path, chosen, events);
    let ids = candidates::ids(found, Some(chosen), is_of_event);
    if ids.is_none() && !is_user && flaw.is_none() {
        return None;
    }
    let path = chosen.expression();
    let mut decision = format!(
        "The customer's id of the event type {}: the draft reads `{path}`.",
        quoted(name)
    );
    if is_user {
        decision.push_str(" By its name, it can be the id of an employee who made the change.");
    }
    for sentence in [flaw.as_deref().map(refused), ids].into_iter().flatten() {
        decision.push(' ');
        decision.push_str(&sentence);
    }
    Some(decision)
}

fn report(draft: &mut SourceDraft, name: &str, fields: FieldDrafts) {
    let mut expressions = BTreeSet::new();
    let live = fields.fields.iter().filter(|field| !field.is_suggestion);
    // `customer_history` repeats most fields of the top level.
    for field in live.filter(|field| expressions.insert(field.expression.as_str())) {
        let found = recognition(&field.target, &field.expression, &field.reason);
        draft.recognized.push(found.of_type(name));
    }
    if fields.fields.iter().all(|field| field.is_suggestion) {
        draft.decisions.push(format!(
            "The fields of the event type {}: the draft recognized none.",
            quoted(name)
        ));
    }
    draft.decisions.extend(fields.decisions);
}
