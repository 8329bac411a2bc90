//! Recognizes the fields of the customer's account.

use serde_json::Value;

use super::field_draft::{FieldDraft, FieldDrafts, best, reason};
use super::form::{self, TimeForm};
use super::names;
use super::path::{JsonPath, Leaf};
use super::synonyms;

/// Recognizes the fields of the customer's account: the time of joining, the amount spent, the tier, the number of orders.
pub(super) fn recognize(
    leaves: &[Leaf],
    record: &JsonPath,
    version: Option<&str>,
    found: &mut FieldDrafts,
    used: &mut Vec<JsonPath>,
) {
    let in_record = |leaf: &Leaf| leaf.path.starts_with(record);
    let changed = version.and_then(|version| leaves.iter().find(|leaf| is_of(leaf, version)));
    // In some systems, `createdAt` is the time of the event.
    let is_event_time = |leaf: &Leaf| changed.is_some_and(|changed| is_later(leaf, changed));
    let has_time =
        |leaf: &Leaf| in_record(leaf) && TimeForm::of(leaf).is_some() && !is_event_time(leaf);
    if let Some(leaf) = best(leaves, &synonyms::CREATED, Some(record), has_time) {
        found.fields.extend(created(leaf, version));
        used.push(leaf.path.clone());
    }
    amount(leaves, record, found, used);
    if let Some(leaf) = tier(leaves, record) {
        let path = leaf.path.expression();
        let is_number = leaf.present().any(Value::is_number);
        let function = if is_number { " | text" } else { "" };
        let field = "customer_history.loyalty_tier";
        let expression = leaf.unless_false(format!("{path}{function}"));
        let tier = FieldDraft::live(field, expression, reason(leaf));
        found.fields.push(tier);
        found.decisions.push(
            "The names of the loyalty tiers: the draft sends the source's own names. `lookup(\"tiers\")` with a table [tables.tiers] translates them."
                .to_owned(),
        );
        used.push(leaf.path.clone());
    }
    let is_count = |leaf: &Leaf| in_record(leaf) && form::any(leaf, form::is_whole);
    if let Some(leaf) = best(leaves, &synonyms::COUNTS, Some(record), is_count) {
        let path = leaf.path.expression();
        let is_number = leaf.has_value() && leaf.present().all(Value::is_number);
        let function = if is_number { "" } else { " | whole" };
        let field = "customer_history.transaction_count";
        let count = FieldDraft::live(field, format!("{path}{function}"), reason(leaf));
        found.fields.push(count);
        used.push(leaf.path.clone());
    }
}

/// Returns whether an expression reads a time.
fn is_of(leaf: &Leaf, expression: &str) -> bool {
    let read = TimeForm::of(leaf).and_then(|form| form.expression(&leaf.path.expression()));
    read.as_deref() == Some(expression)
}

/// Returns whether a time is later than another one in a sample. Times in different forms are not compared.
fn is_later(leaf: &Leaf, changed: &Leaf) -> bool {
    let is_later = |one: &Value, other: &Value| match (one, other) {
        (Value::String(one), Value::String(other)) => one > other,
        (one, other) => one.as_f64() > other.as_f64(),
    };
    TimeForm::of(leaf) == TimeForm::of(changed)
        && leaf.path != changed.path
        && leaf.present_in().any(|(event, value)| {
            let mut others = changed.present_in().filter(|(other, _)| *other == event);
            others.any(|(_, other)| is_later(value, other))
        })
}

/// Returns the fields for the time at which the customer joined.
fn created(leaf: &Leaf, version: Option<&str>) -> Vec<FieldDraft> {
    let path = leaf.path.expression();
    let moment = TimeForm::of(leaf).and_then(|form| form.expression(&path));
    let mut fields = Vec::new();
    if let Some(moment) = &moment {
        let field = "customer_history.account_created_at";
        let expression = leaf.unless_false(moment.clone());
        fields.push(FieldDraft::live(field, expression, reason(leaf)));
    }
    if let Some(version) = version {
        let tenure = format!("months_since({}; {version})", moment.unwrap_or(path));
        let tenure = leaf.unless_false(tenure);
        let why = "the months from the creation of the account to the change";
        let field = "customer_history.account_tenure";
        fields.push(FieldDraft::live(field, tenure, why));
    }
    fields
}

/// Finds the loyalty tier by its name, or by the name of the object around it, such as `loyalty.level`.
fn tier<'a>(leaves: &'a [Leaf], record: &JsonPath) -> Option<&'a Leaf> {
    let is_tier = |leaf: &Leaf| {
        let fits = |value: &Value| form::is_text(value) || form::is_whole(value);
        leaf.path.starts_with(record) && form::any(leaf, fits)
    };
    let is_one_of =
        |name: &str, words: &[&str]| words.contains(&names::words(name).concat().as_str());
    let by_context = |leaf: &&Leaf| {
        let path = leaf.path.names();
        let mut outer = path.iter();
        let last = names::telling(&path);
        let is_level = is_one_of(last, &["level", "tier", "status"])
            && outer.any(|name| is_one_of(name, &["loyalty", "membership", "rewards"]));
        let is_option = is_one_of(last, &["title", "label", "name"])
            && path
                .iter()
                .any(|name| names::position(name, &synonyms::TIERS).is_some());
        (is_level || is_option) && is_tier(leaf)
    };
    let named = best(leaves, &synonyms::TIERS, Some(record), is_tier);
    named.or_else(|| leaves.iter().find(by_context))
}

fn amount(leaves: &[Leaf], record: &JsonPath, found: &mut FieldDrafts, used: &mut Vec<JsonPath>) {
    let [amount_field, currency_field] = [
        "customer_history.ltv_amount",
        "customer_history.ltv_currency",
    ];
    let amounts = leaves.iter().filter(|leaf| is_amount(leaf, record));
    let Some(leaf) = amounts.max_by_key(|leaf| leaf.has_value()) else {
        return;
    };
    let amount = leaf.path.expression();
    used.push(leaf.path.clone());
    let is_currency = |leaf: &Leaf| form::any(leaf, form::is_currency) && leaf.has_value();
    let beside = leaf.path.parent();
    let currency = best(leaves, &synonyms::CURRENCIES, Some(&beside), is_currency);
    if let Some(currency) = currency.filter(|currency| currency.path.starts_with(record)) {
        let code = currency.path.expression();
        used.push(currency.path.clone());
        let amount = format!("minor_units({amount}; {code})");
        let amount = FieldDraft::live(amount_field, amount, reason(leaf));
        let currency = FieldDraft::live(currency_field, code, reason(currency));
        found.fields.extend([amount, currency]);
        return;
    }
    let why = "The samples name no currency. If every amount is in US dollars, remove the # of both lines.";
    let currency = format!("{amount} | if . then \"USD\" else . end");
    let amount = format!("{amount} | minor_units(.; \"USD\")");
    let amount = FieldDraft::suggested(amount_field, amount, why);
    let currency = FieldDraft::suggested(currency_field, currency, why);
    found.fields.extend([amount, currency]);
    let decision = "The currency of the amount that the customer has spent.";
    found.decisions.push(decision.to_owned());
}

/// Returns whether a member only has the amount of its parent.
fn is_amount_name(name: &str) -> bool {
    let joined = names::words(name).concat();
    ["amount", "value", "currencyvalue"].contains(&joined.as_str())
}

/// Returns whether a leaf is the amount that the customer has spent. In `{"lifetime_value": {"amount": …, "currency": …}}`,
/// the parent has the name.
fn is_amount(leaf: &Leaf, record: &JsonPath) -> bool {
    let path = leaf.path.names();
    let named = match path.split_last() {
        Some((last, outer)) if is_amount_name(last) => outer.last(),
        Some((last, _)) => Some(last),
        None => None,
    };
    named.is_some_and(|name| names::position(name, &synonyms::AMOUNTS).is_some())
        && leaf.path.starts_with(record)
        && form::any(leaf, form::is_amount)
}
