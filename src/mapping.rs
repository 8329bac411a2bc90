//! The mapping language: it turns an event into an update of an Imprint customer.
//!
//! A mapping is a table with one expression for each Imprint field to set. A mapping expression has the syntax of jq
//! and reads the CloudEvents envelope of an event. The bridge compiles a mapping once, when the bridge loads the
//! configuration. The compiler reports all errors of a mapping at once, such as a field that Imprint does not have, a
//! function that the language does not have, or a missing lookup table.
//!
//! # The language
//!
//! - `.`, `.a.b`, `."x y"`, `.a[0]`: a path. If the event does not contain the path, the value is *absent*. A path into
//!   null gives an absent value too. A path into a text or a number is an error.
//! - `a | b`: a pipe. The expression `b` reads the result of `a`.
//! - `a // b`: returns `b` if `a` is absent, null or false, as in jq. If `a` has an error, `a // b` fails, but jq would
//!   return `b`.
//! - `"text"`, `7`, `true`, `false`, `null`: constants.
//! - `{a: .x, b}`: an object. The object leaves out each member whose value is absent. The object is absent if every
//!   member is absent. Constant members do not count.
//! - `"\(.first) \(.last)"`: a text that contains values of expressions. If one of these values is absent, the whole
//!   text is absent. If one of these values is null, the expression fails.
//! - `if a then b elif c then d else e end`, `a == b`, `a != b`, `a and b`, `a or b`, `not`. In a condition, every
//!   value except null, false and absent counts as true. A comparison with an absent value is absent, but a condition
//!   reads the result of the comparison with null.
//! - Functions: `alpha3`, `date`, `digest`, `digits`, `e164`, `is_domestic`, `language`, `line`, `lookup`, `lower`,
//!   `minor_units`, `moment`, `months_since`, `text`, `title`, `trim`, `upper`, `us_state`, `us_zip`, `utc`, `whole`.
//! - `header("x-topic")`: a header of the request. Only the expressions in `[body]` and the condition `when` can read
//!   headers.
//!
//! The bridge compiles every term in the list above to a plan, which is a tree of operations. For some more terms of
//! jq, the bridge uses the interpreter jaq, which takes a few microseconds for an expression. These terms are `.[]`,
//! `.[0:5]`, `[…]`, `as $x`, `<` and the other comparisons, `+`, `-`, `*` (whole numbers), `?`, `try … catch …`,
//! `select`, `map`, `first`, `any`, `join` and others. If an expression contains a term that is not allowed, the error
//! message lists all allowed terms. Interpreted expressions distinguish absent from null, as compiled expressions do.
//! If an interpreted expression has no result, its value is absent, and so is the value of an operand without a result.
//! If an interpreted expression has several results, the expression fails. The value of `t?` is absent if `t` fails.
//!
//! # Invariants
//!
//! - If an expression reads only absent values, its value is absent, unless a literal of the author stands in: a branch
//!   of `if`, or the right side of `//`. config/sources/REFERENCE.md has the result of each operator.
//! - If the expression of a field gives an absent value, the update leaves the field unchanged. If the expression of a
//!   field gives null or a text of white space only, the update clears the field.
//! - The mapping refuses a value with more than one possible meaning. The mapping never guesses the meaning of a value.
//! - An update contains only fields that the mapping names. No error message contains a value of the event.
//! - Every evaluation of an expression ends: the bridge evaluates each node of a plan at most once, and limits the
//!   number of steps of jaq. A budget (`budget`) limits the total time and memory of all expressions of one event.
//!
//! The module `mapping` does not know schemas, the store, HTTP or the current time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::event::{EventError, RequestHeaders, SourceVersion};
use crate::imprint::{
    CustomerChange, CustomerRef, Field, FieldFormat, FieldValue, ImprintId, PartnerCustomerId,
    Update, is_domestic,
};

mod budget;
mod call;
mod compared;
mod comparison;
mod compile;
mod contract;
mod customer_ids;
mod error;
mod explain;
mod fields;
mod foreign;
mod function;
mod header;
mod jq;
mod json_envelope;
mod located;
mod lower;
mod number;
mod places;
mod plan;
mod split;
mod syntax;
mod used;
mod value_kind;

pub use budget::RULE as BUDGET_RULE;
pub use compared::{ComparedKind, ComparedLetters};
pub use customer_ids::KeptInCorrections;
pub use error::RuleError;
pub use explain::{InterpretedRule, MappingExplanation, RuleExplanation, RuleResult};
pub(crate) use function::time_form::advice_for_text as time_advice;
pub(crate) use jq::comparisons;
pub use json_envelope::{
    EnvelopeAttribute, JsonEnvelope, JsonEnvelopeRules, JsonEvent, SplitReads, UnreadEvent,
};
pub use places::{EventPlaces, SplitCause};
pub use used::{UsedExtent, UsedPart, UsedStep};

use compile::RuleCompiler;
use error::EvalError;
use located::{LocatedValue, PathStep};
use plan::Plan;

/// Returns whether a mapping has accepted a phone number that is possible, but not in the numbering tables, since the
/// last call of this function on this thread.
pub fn take_unlisted_phone() -> bool {
    function::phone::take_unlisted()
}

/// Returns the ISO 3166-1 alpha-3 code of a country, as the mapping function `alpha3` reads it.
pub(crate) fn country_code(text: &str) -> Option<Value> {
    function::country::alpha3(text).ok()
}

/// Returns whether the mapping function `us_state` reads a text.
pub(crate) fn is_us_state(text: &str) -> bool {
    function::states::us_state(text).is_ok()
}

/// The lookup tables of a source file, by table name. The mapping function `lookup` reads the tables. All mappings of the
/// source share the rows.
pub type LookupTables = BTreeMap<String, Arc<BTreeMap<String, String>>>;

// The names of mapping rules in error messages and explanations.
const WHEN: &str = "when";
/// The target of the error that a mapping has no expression for a customer id.
pub const CUSTOMER: &str = "customer";
const IMPRINT_ID: &str = "customer.imprint_id";
const PARTNER_ID: &str = "customer.partner_id";
const VERSION: &str = "version";
const COUNTRY: &str = "address.country";
const BEFORE: &str = "only_changed.before";
const AFTER: &str = "only_changed.after";

/// The mapping rules for the events of one type, as written in the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingRules {
    /// The condition for mapping an event. The bridge ignores an event for which the condition is not true.
    pub when: Option<String>,
    /// The expression that reads Imprint's id of the customer from an event.
    pub imprint_id: Option<String>,
    /// The expression that reads the partner customer id from an event: the sender's own id of the customer. An event
    /// needs Imprint's id of the customer, the partner customer id, or both.
    pub partner_id: Option<String>,
    /// The rule for the version that orders the events of one customer. Without a version rule, the bridge orders the
    /// events by arrival.
    pub version: Option<VersionRule>,
    /// The expression for the country of the customer's address. A mapping needs this expression only if the mapping
    /// does not set `customer_history.address.country`.
    pub country: Option<String>,
    /// The expressions that find two images of the customer in an event: the customer before the change, and the
    /// customer after the change.
    pub only_changed: Option<ImageRules>,
    /// The mapping expressions. The key is the path of the Imprint field that the expression sets.
    pub update: BTreeMap<String, String>,
    /// The paths of the fields that the update leaves out if their values are invalid. An invalid value of another field
    /// makes the whole event invalid.
    pub skipped: BTreeSet<String>,
    /// The lookup tables, by table name. The mapping function `lookup` reads the tables.
    pub tables: LookupTables,
}

impl MappingRules {
    /// Returns all expressions of the rules.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        let version = self.version.as_ref().map(|rule| &rule.expression);
        let ids = [&self.imprint_id, &self.partner_id];
        let optional = ids.into_iter().chain([&self.when, &self.country]);
        let images = self.only_changed.iter();
        let images = images.flat_map(|images| [&images.before, &images.after]);
        let all = optional.flatten().chain(version).chain(images);
        all.chain(self.update.values()).map(String::as_str)
    }
}

/// The expressions that find the two images of a customer in an event: before and after the change. An update contains
/// only the field groups that differ between the two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRules {
    /// The expression that finds the customer before the change. If the result is absent or null, the customer is new,
    /// and the update contains all mapped fields.
    pub before: String,
    /// The path of the customer after the change, such as `.data.after`. The path contains only names of members, and
    /// no mapping function. The field expressions read the customer at this path.
    pub after: String,
}

/// The mapping rule for the version that orders the events of one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRule {
    pub expression: String,
    pub domain: VersionDomain,
}

/// The kind of a version: a sequence number or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionDomain {
    /// The version is a number that the source increases with every change.
    Sequence,
    /// The version is a time, as RFC 3339 text.
    Time,
}

/// The compiled mapping rules of one event type.
#[derive(Clone, Debug)]
pub struct Mapping {
    when: Option<CompiledRule>,
    imprint_id: Option<CompiledRule>,
    partner_id: Option<CompiledRule>,
    version: Option<(VersionDomain, CompiledRule)>,
    country: Option<CompiledRule>,
    images: Option<Images>,
    fields: Vec<FieldRule>,
    /// The request headers that the condition `when` reads.
    headers: BTreeSet<String>,
}

/// A compiled expression with the name of its Imprint field or mapping rule.
#[derive(Clone, Debug)]
struct CompiledRule {
    target: String,
    expression: String,
    plan: Plan,
}

#[derive(Clone, Debug)]
struct Images {
    before: CompiledRule,
    after: CompiledRule,
    after_path: Vec<PathStep>,
    /// Whether the condition `when` compares the two rows, so that it says nothing about the row before the change alone.
    is_condition: bool,
}

#[derive(Clone, Debug)]
struct FieldRule {
    field: Field,
    rule: CompiledRule,
    /// Whether the update leaves out the field if its value is invalid.
    skips_invalid: bool,
}

impl Mapping {
    /// Compiles the mapping rules of one event type.
    ///
    /// # Errors
    /// Returns all errors in the mapping rules.
    pub fn compile(rules: &MappingRules) -> Result<Self, Vec<RuleError>> {
        RuleCompiler::new(&rules.tables).mapping(rules)
    }

    /// Maps an event to a change of a customer. Returns `None` if the condition `when` excludes the event.
    ///
    /// The version of the change has the epoch 0, and the change has no `jump_max`. The caller sets both, because both
    /// are settings of the event type.
    ///
    /// # Errors
    /// Returns one error for each mapping rule that cannot be evaluated on the event.
    pub fn map(&self, event: &Value) -> Result<Option<CustomerChange>, Vec<EventError>> {
        self.map_with_headers(event, &RequestHeaders::default())
    }

    /// Maps an event like [`Self::map`]. The condition `when` can read the headers of the request.
    ///
    /// # Errors
    /// Returns one error for each mapping rule that cannot be evaluated on the event.
    pub fn map_with_headers(
        &self,
        event: &Value,
        headers: &RequestHeaders,
    ) -> Result<Option<CustomerChange>, Vec<EventError>> {
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let input = &LocatedValue::of_event(event);
        let mut errors = Vec::new();
        match or_record(&mut errors, &WHEN, self.condition(event, headers)) {
            Some(Some(true)) => {}
            Some(Some(false) | None) => return Ok(None),
            None => return Err(errors),
        }
        let customer = self.customer(input, &mut errors);
        let version = match &self.version {
            None => Ok(0),
            Some((domain, rule)) => rule
                .plan
                .read(input)
                .and_then(|located| contract::version(*domain, &located)),
        };
        let version = or_record(&mut errors, &VERSION, version);
        let country = self.country.as_ref().map(|rule| {
            let located = rule.plan.read(input);
            located.and_then(|located| contract::is_foreign(&located))
        });
        let country = or_record(&mut errors, &COUNTRY, country.transpose());
        let values = self.values(input, &mut errors);
        let now = fields::CurrentImage {
            input,
            headers,
            customer: customer.as_ref(),
            values: &values,
        };
        let update = self.changed(&now, &mut errors);
        match (customer, version, country) {
            (Some(customer), Some(version), Some(country)) if errors.is_empty() => {
                let is_foreign = match country.flatten() {
                    Some(is_foreign) => is_foreign && update.sets_address(),
                    None => values.names_foreign_country() && update.sets_address(),
                };
                Ok(Some(CustomerChange {
                    customer,
                    version: SourceVersion {
                        epoch: 0,
                        value: version,
                    },
                    update,
                    jump_max: None,
                    is_foreign,
                    skipped: values.into_errors(),
                }))
            }
            (_, _, _) => Err(errors),
        }
    }

    /// Reads the ids of the event's customer. An empty id counts as missing. The event needs Imprint's id of the
    /// customer or the partner customer id.
    fn customer(
        &self,
        input: &LocatedValue<'_>,
        errors: &mut Vec<EventError>,
    ) -> Option<CustomerRef> {
        let mut first = None;
        let mut imprint = None;
        let mut partner = None;
        for (name, rule) in [
            (IMPRINT_ID, &self.imprint_id),
            (PARTNER_ID, &self.partner_id),
        ] {
            let Some(rule) = rule else { continue };
            let located = or_record(errors, &name, rule.plan.read(input))?;
            if name == IMPRINT_ID {
                imprint = or_record(errors, &name, contract::imprint_id(&located))?;
            } else {
                partner = or_record(errors, &name, contract::partner_id(&located))?;
            }
            first.get_or_insert((name, located));
        }
        match (imprint, partner, first) {
            (Some(imprint), Some(partner), _) => Some(CustomerRef::Pair { imprint, partner }),
            (Some(imprint), None, _) => Some(CustomerRef::Imprint(imprint)),
            (None, Some(partner), _) => Some(CustomerRef::Partner(partner)),
            (None, None, Some((name, located))) => {
                let has_both = self.imprint_id.is_some() && self.partner_id.is_some();
                or_record(
                    errors,
                    &name,
                    Err(contract::no_customer(&located, has_both)),
                )
            }
            (None, None, None) => None,
        }
    }

    /// Returns the Imprint fields that the mapping rules can set.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().map(|rule| &rule.field)
    }

    /// Returns the names of the request headers that the condition `when` reads, in lower case.
    pub const fn headers(&self) -> &BTreeSet<String> {
        &self.headers
    }

    /// Returns the kind and the expression of the mapping's versions. Returns `None` if the bridge orders the events by
    /// arrival.
    pub fn version_rule(&self) -> Option<(VersionDomain, &str)> {
        let (domain, rule) = self.version.as_ref()?;
        Some((*domain, &rule.expression))
    }

    /// Returns the kind of the mapping's versions: sequence numbers or times. Returns `None` if the bridge orders the
    /// events by arrival.
    pub fn version_domain(&self) -> Option<VersionDomain> {
        self.version.as_ref().map(|(domain, _)| *domain)
    }
}

/// Returns the value of a mapping rule. On failure, adds the error to `errors` and returns `None`.
fn or_record<T>(
    errors: &mut Vec<EventError>,
    location: &impl ToString,
    result: Result<T, EvalError>,
) -> Option<T> {
    result
        .map_err(|error| errors.push(error.into_event_error(location)))
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::imprint::clearing::Clearing;

    /// A test value that stands for personal data. No error message may contain this value.
    pub(super) const CANARY: &str = "canary-7f3a";

    fn strings<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> BTreeMap<String, String> {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    pub(super) fn rules(update: &[(&str, &str)]) -> MappingRules {
        MappingRules {
            imprint_id: Some(".id".to_owned()),
            update: strings(update.iter().copied()),
            tables: BTreeMap::from([(
                "tiers".to_owned(),
                Arc::new(strings([("Gold", "GOLD"), ("3", "BRONZE")])),
            )]),
            ..MappingRules::default()
        }
    }

    pub(super) fn mapping(update: &[(&str, &str)]) -> Mapping {
        Mapping::compile(&rules(update)).unwrap()
    }

    /// The result of a mapping expression for an Imprint field.
    #[derive(Debug, PartialEq)]
    pub(super) enum FieldResult {
        Absent,
        Cleared,
        Set(Value),
        /// The name of the rule that refused the value, and the JSON Pointer of the value.
        Refused(&'static str, &'static str),
    }
    use FieldResult::{Absent, Cleared, Refused, Set};

    /// Maps an event with the member `v` and checks the result of `expression` in the field `target`.
    pub(super) fn check(target: &str, expression: &str, v: Option<Value>, expected: &FieldResult) {
        let mut event = json!({"id": "C1", "at": "2025-02-13T19:08:07.000Z"});
        if let (Some(v), Some(object)) = (v, event.as_object_mut()) {
            object.insert("v".to_owned(), v);
        }
        let field = Field::parse(target).unwrap();
        let mapped = mapping(&[(target, expression)]).map(&event);
        match (mapped.map(Option::unwrap), expected) {
            (Ok(mapped), Absent) => assert!(mapped.update.is_empty(), "{expression} of {event}"),
            (Ok(mapped), Cleared) => {
                assert_eq!(
                    mapped.update.value(&field),
                    Some(&FieldValue::Cleared),
                    "{expression} of {event}"
                );
            }
            (Ok(mapped), Set(value)) => {
                let Some(FieldValue::Set(found)) = mapped.update.value(&field) else {
                    panic!("{expression} of {event}: {mapped:?}");
                };
                assert_eq!(found, value, "{expression} of {event}");
            }
            (Err(errors), Refused(rule, pointer)) => {
                let found: Vec<_> = errors
                    .iter()
                    .map(|error| (error.rule.as_str(), error.pointer.as_str(), &error.location))
                    .collect();
                assert_eq!(
                    found,
                    [(*rule, *pointer, &target.to_owned())],
                    "{expression} of {event}"
                );
                assert!(!format!("{errors:?}").contains(CANARY), "{errors:?}");
            }
            (Ok(mapped), Refused(..)) => {
                panic!(
                    "{expression} of {event}: {:?}",
                    mapped.update.body(Clearing::default())
                );
            }
            (Err(errors), Absent | Cleared | Set(_)) => {
                panic!("{expression} of {event}: {errors:?}")
            }
        }
    }

    #[test]
    fn all_errors_of_an_event_are_reported_at_once() {
        let errors = mapping(&[
            ("email", ".v"),
            ("phone", ".v | e164"),
            ("first_name", ".v"),
        ])
        .map(&json!({"v": CANARY}))
        .unwrap_err();
        let rules: Vec<_> = errors.iter().map(|error| error.rule.as_str()).collect();
        assert_eq!(rules, ["customer", "email", "e164"]);
    }

    // === The example source ===

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn flat(prefix: &str, table: &Value, into: &mut BTreeMap<String, String>) {
        for (key, value) in table.as_object().unwrap() {
            let path = format!("{prefix}{key}");
            match value {
                Value::String(expression) => {
                    into.insert(path, expression.clone());
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => flat(&format!("{path}."), value, into),
            }
        }
    }

    fn crm() -> MappingRules {
        let text = include_str!("../config/sources/crm.toml");
        let source: Value = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .build()
            .unwrap()
            .try_deserialize()
            .unwrap();
        let event_type = &source["events"]["customer.changed"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        assert_eq!(event_type["version_domain"], "sequence");
        let mut update = BTreeMap::new();
        flat("", &event_type["update"], &mut update);
        let tables: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_value(source["tables"].clone()).unwrap();
        MappingRules {
            imprint_id: text(&event_type["customer"]["imprint_id"]),
            partner_id: text(&event_type["customer"]["partner_id"]),
            version: text(&event_type["version"]).map(|expression| VersionRule {
                expression,
                domain: VersionDomain::Sequence,
            }),
            update,
            tables: tables
                .into_iter()
                .map(|(name, rows)| (name, Arc::new(rows)))
                .collect(),
            ..MappingRules::default()
        }
    }

    #[test]
    fn the_example_event_produces_the_example_request() {
        let event = read(include_str!(
            "../config/sources/crm/customer-changed.event.json"
        ));
        let request = read(include_str!(
            "../config/sources/crm/customer-changed.request.json"
        ));
        let mapping = Mapping::compile(&crm()).unwrap();
        let mapped = mapping.map(&event).unwrap().unwrap();
        assert_eq!(
            Value::Object(mapped.update.body(Clearing::default()).to_object()),
            request["body"]
        );
        assert_eq!(
            request["path"],
            format!(
                "/v2/customers/{}",
                mapped.customer.imprint().unwrap().as_str()
            )
        );
        assert_eq!(mapped.version.value, 17);
        assert_eq!(mapping.fields().count(), 26);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            Just("en-US".to_owned()),
            Just("US".to_owned()),
            Just("4155552671".to_owned()),
            Just("2024-01-10".to_owned()),
            Just("340.00".to_owned()),
            Just(CANARY.to_owned()),
            "\\PC{0,12}",
            ".{0,6}",
        ];
        let field = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let name = prop::sample::select(vec![
            "data",
            "customer",
            "id",
            "imprint_customer_id",
            "revision",
            "email",
            "phone",
            "name",
            "first",
            "language",
            "address",
            "country",
            "member_since",
            "time",
            "lifetime_value",
            "amount",
            "currency",
            "loyalty",
            "tier",
            "other",
        ]);
        field.prop_recursive(5, 80, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Generates JSON values. Many of the values have the format of some Imprint field.
    pub(super) fn any_value() -> impl Strategy<Value = Value> {
        let fitting = prop::sample::select(vec![
            json!("a@example.com"),
            json!("a@b"),
            json!("+14155552671"),
            json!("14155552671"),
            json!("USA"),
            json!("XXX"),
            json!("en"),
            json!("USD"),
            json!("2025-02-13T19:08:07Z"),
            json!(7),
            json!(7.5),
            json!(u64::MAX),
        ]);
        prop_oneof![fitting, "[+0-9]{1,18}".prop_map(Value::from), any_json()]
    }

    fn any_target() -> impl Strategy<Value = String> {
        let fields = Field::paths().map(str::to_owned);
        let fields = fields.chain(["metadata.k".to_owned()]).collect::<Vec<_>>();
        prop::sample::select(fields)
    }

    /// Generates the example event with some members replaced or removed at random.
    fn any_customer() -> impl Strategy<Value = Value> {
        let event = read(include_str!(
            "../config/sources/crm/customer-changed.event.json"
        ));
        let members: Vec<String> = event["data"]["customer"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !matches!(key.as_str(), "imprint_customer_id" | "revision"))
            .cloned()
            .collect();
        prop::collection::vec(
            (prop::sample::select(members), prop::option::of(any_json())),
            0..6,
        )
        .prop_map(move |changes| {
            let mut event = event.clone();
            let customer = event["data"]["customer"].as_object_mut().unwrap();
            for (field, value) in changes {
                match value {
                    Some(value) => customer.insert(field, value),
                    None => customer.remove(&field),
                };
            }
            event
        })
    }

    proptest! {
        #[test]
        fn a_mapping_never_invents_a_field(event in any_customer()) {
            let mapping = Mapping::compile(&crm()).unwrap();
            if let Ok(Some(mapped)) = mapping.map(&event) {
                for field in mapped.update.fields() {
                    prop_assert!(mapping.fields().any(|target| target == field));
                }
            }
        }

        /// An update that the mapping accepts also matches Imprint's schema.
        #[test]
        fn a_mapped_update_matches_imprints_schema(value in any_value(), target in any_target()) {
            let schema = include_str!("../schemas/imprint/update-request.schema.json");
            let schema = crate::intake::schema::Schema::compile("update", &read(schema)).unwrap();
            let event = json!({"id": "C1", "v": value});
            if let Ok(Some(mapped)) = mapping(&[(&target, ".v")]).map(&event) {
                let body = Value::Object(mapped.update.body(Clearing::default()).to_object());
                prop_assert_eq!(schema.errors(&body), Vec::new(), "{}: {}", target, event);
            }
        }

        #[test]
        fn arbitrary_json_is_mapped_or_refused(event in any_json()) {
            let mapping = Mapping::compile(&crm()).unwrap();
            if let Err(errors) = mapping.map(&event) {
                prop_assert!(!errors.is_empty());
                let text = format!("{errors:?}");
                prop_assert!(!text.contains(CANARY));
            }
        }

        #[test]
        fn an_arbitrary_expression_is_compiled_or_refused(
            expression in "[.|/a-e0-9()\\[\\]{}\":;,?$@ \\\\-]{0,40}",
        ) {
            if let Ok(mapping) = Mapping::compile(&rules(&[("metadata.k", &expression)])) {
                let _either = mapping.map(&json!({"id": "C1", "a": {"b": [1]}}));
            }
        }

        #[test]
        fn an_event_without_mapped_members_sets_no_field(other in any_json()) {
            let event = json!({"data": {"customer": {
                "imprint_customer_id": "C1", "revision": 1, "other": other,
            }}});
            let mapped = Mapping::compile(&crm()).unwrap().map(&event).unwrap().unwrap();
            prop_assert!(mapped.update.is_empty());
        }
    }

    // === Only changed fields ===

    #[test]
    fn only_groups_that_differ_from_the_before_image_are_sent() {
        let rules = MappingRules {
            only_changed: Some(ImageRules {
                before: ".before".to_owned(),
                after: ".after".to_owned(),
            }),
            ..rules(&[
                ("email", ".after.email"),
                ("first_name", ".after.name"),
                ("street_line1", ".after.street"),
                ("city", ".after.city"),
            ])
        };
        let mapping = Mapping::compile(&rules).unwrap();
        let before = json!({"email": "a@b.c", "name": "Ada", "street": "1 Elm St", "city": "Reno"});
        for (before, changes, expected) in [
            (
                Value::Null,
                json!({}),
                vec!["email", "first_name", "street_line1", "city"],
            ),
            (before.clone(), json!({}), vec![]),
            (
                before.clone(),
                json!({"city": "Ely"}),
                vec!["street_line1", "city"],
            ),
            (before, json!({"email": null}), vec!["email"]),
            (
                json!({"email": 7, "name": "Ada"}),
                json!({}),
                vec!["email", "street_line1", "city"],
            ),
        ] {
            let mut after =
                json!({"email": "a@b.c", "name": "Ada", "street": "1 Elm St", "city": "Reno"});
            for (key, value) in changes.as_object().unwrap() {
                after[key] = value.clone();
            }
            let event = json!({"id": "C1", "before": before, "after": after});
            let mapped = mapping.map(&event).unwrap().unwrap();
            let fields: Vec<_> = mapped.update.fields().map(ToString::to_string).collect();
            assert_eq!(fields, expected, "{event}");
        }
        let explanation = mapping.explain(
            &json!({"before": {"x": 1}, "after": {"y": {"z": 1, "n": 2}}}),
            &RequestHeaders::default(),
            "",
            &["/after/y/z".to_owned()],
        );
        assert_eq!(
            explanation.unused,
            ["/after/y/n"],
            "the before image and other readers count as read"
        );
    }

    #[test]
    fn an_event_is_mapped_only_if_its_condition_is_true() {
        let rules = MappingRules {
            when: Some(".op".to_owned()),
            ..rules(&[])
        };
        let mapping = Mapping::compile(&rules).unwrap();
        for (op, is_mapped) in [
            (json!("u"), true),
            (json!(0), true),
            (json!(false), false),
            (json!(null), false),
        ] {
            let mapped = mapping.map(&json!({"id": "C1", "op": op})).unwrap();
            assert_eq!(mapped.is_some(), is_mapped, "{op}");
        }
        assert!(mapping.map(&json!({"id": "C1"})).unwrap().is_none());
    }

    #[test]
    fn the_country_decides_whether_a_flat_address_is_foreign() {
        for (country, event, expected) in [
            (Some(".c"), json!({"city": "Banff", "c": "CAN"}), true),
            (Some(".c"), json!({"city": "Reno", "c": "USA"}), false),
            (Some(".c"), json!({"city": "Hagåtña", "c": "GUM"}), false),
            (Some(".c"), json!({"c": "CAN"}), false),
            (Some(".c"), json!({"city": "Banff", "h": "CAN"}), true),
            (None, json!({"city": "Banff", "h": "CAN"}), true),
            (None, json!({"city": "Reno", "h": "USA"}), false),
        ] {
            let rules = MappingRules {
                country: country.map(str::to_owned),
                ..rules(&[
                    ("city", ".city"),
                    ("customer_history.address.country", ".h"),
                ])
            };
            let mut event = event;
            event["id"] = json!("C1");
            let mapped = Mapping::compile(&rules).unwrap().map(&event).unwrap();
            assert_eq!(mapped.unwrap().is_foreign, expected, "{event}");
        }
    }

    #[test]
    fn an_explanation_lists_results_and_unused_places() {
        let mapping = mapping(&[
            ("email", ".v.email"),
            ("metadata.k", "[.v.list[1].x] | first"),
            ("metadata.l", ".v.none"),
            ("phone", ".v.phone"),
        ]);
        let event = json!({
            "id": "C1",
            "v": {"email": null, "phone": 7, "list": [1, {"x": 2}], "a/b": {"c": 1}},
        });
        let explanation = mapping.explain(&event, &RequestHeaders::default(), "", &[]);
        let found: Vec<_> = explanation
            .rules
            .iter()
            .map(|rule| {
                (
                    rule.target.as_str(),
                    rule.is_interpreted,
                    rule.reads.join(" "),
                )
            })
            .collect();
        let read = |places: &str| places.to_owned();
        assert_eq!(
            found,
            [
                ("customer.imprint_id", false, read("/id")),
                ("email", false, read("/v/email")),
                ("phone", false, read("/v/phone")),
                ("metadata.k", true, read("/v/list/1/x")),
                ("metadata.l", false, read("/v/none")),
            ]
        );
        let results: Vec<_> = explanation
            .rules
            .into_iter()
            .map(|rule| rule.result)
            .collect();
        assert!(matches!(results[1], RuleResult::Cleared));
        assert!(matches!(results[2], RuleResult::Refused(_)));
        assert!(results[3] == RuleResult::Value(json!(2)));
        assert!(results[4] == RuleResult::Absent);
        assert_eq!(explanation.unused, ["/v/a~1b", "/v/list/0"]);
        assert!(explanation.outcome.is_err());
        assert_eq!(
            mapping
                .explain(&event, &RequestHeaders::default(), "/v/list", &[])
                .unused,
            ["/v/list/0"]
        );
        let reads = Vec::from_iter(mapping.reads());
        assert_eq!(reads, ["/id", "/v/email", "/v/none", "/v/phone"]);
        let interpreted: Vec<_> = mapping.interpreted_rules().collect();
        assert_eq!(interpreted.len(), 1);
        assert_eq!(interpreted[0].target(), "metadata.k");
        assert!(interpreted[0].run(&event) && !interpreted[0].run(&json!({"v": 7})));
    }
}
