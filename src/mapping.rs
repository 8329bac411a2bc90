//! From an event to what Imprint is told: the mapping language.
//!
//! A mapping is a table of Imprint's fields, each with an expression in the syntax of jq that reads the CloudEvents
//! envelope. It is compiled once, when the configuration is loaded, and every fault is said then, and all at once: a
//! field that Imprint does not have, a term or function that the language does not have, a table that is not there.
//!
//! # The language
//!
//! - `.`, `.a.b`, `."x y"`, `.a[0]`: a path. What is not there is *absent*. A path goes through null as null, and
//!   through a text or a number not at all: that is a fault.
//! - `a | b`: `b` reads what `a` found.
//! - `a // b`: `b` where `a` is absent, null or false, as in jq, but a fault in `a` stays a fault.
//! - `"text"`, `7`, `true`, `false`, `null`: constants.
//! - `{a: .x, b}`: an object, without its absent members.
//! - Functions: `e164`, `alpha3`, `language`, `minor_units`, `months_since`, `lookup`, `trim`, `upper`, `lower`, `date`.
//!
//! # What always holds
//!
//! - A field whose expression is absent is left alone; null, or a text without anything but white space, clears it.
//! - What would have to be guessed is refused.
//! - Nothing but the fields of the table can leave; nothing in a fault is a value of the event.
//! - Reading an event takes as many steps as the expressions have terms; there are no loops.
//!
//! Nothing here knows schemas, the store or HTTP, nor what time it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::event::Fault;
use crate::imprint::{Customer, Fact, ImprintId, Leaf, LeafKind, PartnerId, Update};

mod contract;
mod function;
mod lower;
mod plan;
mod syntax;

use contract::Form;
use function::Table;
use plan::{Plan, Reading, Refused};

type Tables = BTreeMap<String, Arc<Table>>;

/// The name of the rule that finds the customer, and of its fault.
const IMPRINT_ID: &str = "customer.imprint_id";
/// The name of the rule that finds the sender's own id of the customer.
const PARTNER_ID: &str = "customer.partner_id";
/// The name of the rule that puts events in order.
const VERSION: &str = "version";

/// How the events of one type are mapped, as the configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where Imprint's id of the customer stands.
    pub imprint_id: Option<String>,
    /// Where the sender's own id of the customer stands. One of the two is enough.
    pub partner_id: Option<String>,
    /// What puts the events of one customer in order; without it, they are in the order of their arrival.
    pub version: Option<VersionRule>,
    /// An expression for each of Imprint's fields, by the field's path.
    pub update: BTreeMap<String, String>,
    /// The tables that `lookup` reads, by name.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
}

/// What becomes of an address that is known to be outside the USA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignAddress {
    /// The event is parked.
    Park,
    /// The rest of the event is sent.
    Skip,
}

/// What puts the events of one customer in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRule {
    /// Where the version stands.
    pub expression: String,
    /// What it counts.
    pub domain: Domain,
}

/// What a version counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A number that the source raises with every change.
    Sequence,
    /// A moment, as RFC 3339 text.
    Time,
}

/// One thing that is wrong with the rules of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {reason} (line {line}, column {column} of `{expression}`)")]
pub struct RuleFault {
    /// The field, or `version`, `customer.imprint_id` or `customer.partner_id`.
    pub target: String,
    /// Its expression.
    pub expression: String,
    /// The line of the expression, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// What an event comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// The customer.
    pub customer: Customer,
    /// What puts it in order among the customer's events; 0 where the rules name no version.
    pub version: i64,
    /// What to tell Imprint.
    pub update: Update,
}

/// The compiled rules of one event type.
#[derive(Clone, Debug)]
pub struct Mapping {
    imprint_id: Option<Plan>,
    partner_id: Option<Plan>,
    version: Option<(Domain, Plan)>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    leaf: Leaf,
    form: Form,
    plan: Plan,
}

impl Mapping {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(rules: &Rules) -> Result<Self, Vec<RuleFault>> {
        let mut compiling = Compiling::new(&rules.tables);
        let mut id = |name, rule: &Option<String>| {
            let expression = rule.as_ref()?;
            compiling.plan(name, expression)
        };
        let imprint_id = id(IMPRINT_ID, &rules.imprint_id);
        let partner_id = id(PARTNER_ID, &rules.partner_id);
        if rules.imprint_id.is_none() && rules.partner_id.is_none() {
            let reason = "an event must say which customer it is about";
            compiling.fault::<Plan>(IMPRINT_ID, "", reason);
        }
        let version = rules.version.as_ref().and_then(|rule| {
            let plan = compiling.plan(VERSION, &rule.expression)?;
            Some((rule.domain, plan))
        });
        let lines = rules
            .update
            .iter()
            .filter_map(|(target, expression)| compiling.line(target, expression))
            .collect();
        if compiling.faults.is_empty() {
            Ok(Self {
                imprint_id,
                partner_id,
                version,
                lines,
            })
        } else {
            Err(compiling.faults)
        }
    }

    /// Reads an event, given whole in CloudEvents' structured form.
    ///
    /// # Errors
    /// Every rule that the event cannot be read by.
    pub fn map(&self, envelope: &Value) -> Result<Mapped, Vec<Fault>> {
        let input = Reading::whole(envelope);
        let mut faults = Vec::new();
        let customer = self.customer(&input, &mut faults);
        let version = match &self.version {
            None => Ok(0),
            Some((domain, plan)) => plan
                .read(&input)
                .and_then(|reading| contract::version(*domain, &reading)),
        };
        let version = noted(&mut faults, &VERSION, version);
        let mut update = Update::default();
        for line in &self.lines {
            let fact = line
                .plan
                .read(&input)
                .and_then(|reading| contract::fact(line.form, reading));
            if let Some(Some(fact)) = noted(&mut faults, &line.leaf, fact) {
                update.insert(line.leaf.clone(), fact);
            }
        }
        match (customer, version) {
            (Some(customer), Some(version)) if faults.is_empty() => Ok(Mapped {
                customer,
                version,
                update,
            }),
            (Some(_) | None, Some(_) | None) => Err(faults),
        }
    }

    /// Whom an event is about: an id that it leaves empty is none, as long as there is the other one.
    fn customer(&self, input: &Reading<'_>, faults: &mut Vec<Fault>) -> Option<Customer> {
        let mut asked = None;
        let mut imprint = None;
        let mut partner = None;
        for (name, plan) in [
            (IMPRINT_ID, &self.imprint_id),
            (PARTNER_ID, &self.partner_id),
        ] {
            let Some(plan) = plan else { continue };
            let reading = noted(faults, &name, plan.read(input))?;
            if name == IMPRINT_ID {
                imprint = noted(faults, &name, contract::imprint_id(&reading))?;
            } else {
                partner = noted(faults, &name, contract::partner_id(&reading))?;
            }
            asked.get_or_insert((name, reading));
        }
        match (imprint, partner, asked) {
            (Some(imprint), Some(partner), _) => Some(Customer::Pair { imprint, partner }),
            (Some(imprint), None, _) => Some(Customer::Imprint(imprint)),
            (None, Some(partner), _) => Some(Customer::Partner(partner)),
            (None, None, Some((name, reading))) => {
                noted(faults, &name, Err(contract::nobody(&reading)))
            }
            (None, None, None) => None,
        }
    }

    /// The fields that it can say something of.
    pub fn targets(&self) -> impl Iterator<Item = &Leaf> {
        self.lines.iter().map(|line| &line.leaf)
    }

    /// What the versions of its events count; `None` where they are in the order of their arrival.
    pub fn version_domain(&self) -> Option<Domain> {
        self.version.as_ref().map(|(domain, _)| *domain)
    }
}

/// The value of a rule, or `None` with its fault noted.
fn noted<T>(
    faults: &mut Vec<Fault>,
    location: &impl ToString,
    result: Result<T, Refused>,
) -> Option<T> {
    result
        .map_err(|refused| {
            faults.push(Fault {
                pointer: refused.pointer,
                rule: refused.rule.to_owned(),
                location: location.to_string(),
                detail: refused.detail,
            });
        })
        .ok()
}

struct Compiling {
    tables: Tables,
    faults: Vec<RuleFault>,
}

impl Compiling {
    fn new(tables: &BTreeMap<String, Table>) -> Self {
        let tables = tables
            .iter()
            .map(|(name, table)| (name.clone(), Arc::new(table.clone())))
            .collect();
        Self {
            tables,
            faults: Vec::new(),
        }
    }

    fn line(&mut self, target: &str, expression: &str) -> Option<Line> {
        let plan = self.plan(target, expression);
        let Some(leaf) = Leaf::parse(target) else {
            return self.fault(target, expression, "Imprint's update has no such field");
        };
        let form = Form::of(&leaf);
        plan.map(|plan| Line { leaf, form, plan })
    }

    fn plan(&mut self, target: &str, expression: &str) -> Option<Plan> {
        let flaws = match lower::lower(expression, &self.tables) {
            Ok(plan) => return Some(plan),
            Err(flaws) => flaws,
        };
        self.faults.extend(flaws.into_iter().map(|flaw| RuleFault {
            target: target.to_owned(),
            expression: expression.to_owned(),
            line: flaw.position.line,
            column: flaw.position.column,
            reason: flaw.reason,
        }));
        None
    }

    fn fault<T>(&mut self, target: &str, expression: &str, reason: &str) -> Option<T> {
        self.faults.push(RuleFault {
            target: target.to_owned(),
            expression: expression.to_owned(),
            line: 1,
            column: 1,
            reason: reason.to_owned(),
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::imprint::clearing::Clearing;

    /// Stands wherever the sender's words stand; no fault may say it.
    pub(super) const CANARY: &str = "canary-7f3a";

    fn strings<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> BTreeMap<String, String> {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    pub(super) fn rules(update: &[(&str, &str)]) -> Rules {
        Rules {
            imprint_id: Some(".id".to_owned()),
            update: strings(update.iter().copied()),
            tables: BTreeMap::from([(
                "tiers".to_owned(),
                strings([("Gold", "GOLD"), ("3", "BRONZE")]),
            )]),
            ..Rules::default()
        }
    }

    pub(super) fn mapping(update: &[(&str, &str)]) -> Mapping {
        Mapping::compile(&rules(update)).unwrap()
    }

    /// What an expression comes to in a leaf.
    #[derive(Debug, PartialEq)]
    pub(super) enum Comes {
        Absent,
        Cleared,
        To(Value),
        /// Rule and pointer of the fault.
        Refused(&'static str, &'static str),
    }
    use Comes::{Absent, Cleared, Refused, To};

    /// Maps `.v` of an event to `target` by `expression`.
    pub(super) fn check(target: &str, expression: &str, v: Option<Value>, expected: &Comes) {
        let mut event = json!({"id": "C1", "at": "2025-02-13T19:08:07.000Z"});
        if let (Some(v), Some(object)) = (v, event.as_object_mut()) {
            object.insert("v".to_owned(), v);
        }
        let leaf = Leaf::parse(target).unwrap();
        match (mapping(&[(target, expression)]).map(&event), expected) {
            (Ok(mapped), Absent) => assert!(mapped.update.is_empty(), "{expression} of {event}"),
            (Ok(mapped), Cleared) => {
                assert_eq!(
                    mapped.update.fact(&leaf),
                    Some(&Fact::Cleared),
                    "{expression} of {event}"
                );
            }
            (Ok(mapped), To(value)) => {
                let Some(Fact::Set(found)) = mapped.update.fact(&leaf) else {
                    panic!("{expression} of {event}: {mapped:?}");
                };
                assert_eq!(found, value, "{expression} of {event}");
            }
            (Err(faults), Refused(rule, pointer)) => {
                let found: Vec<_> = faults
                    .iter()
                    .map(|fault| (fault.rule.as_str(), fault.pointer.as_str(), &fault.location))
                    .collect();
                assert_eq!(
                    found,
                    [(*rule, *pointer, &target.to_owned())],
                    "{expression} of {event}"
                );
                assert!(!format!("{faults:?}").contains(CANARY), "{faults:?}");
            }
            (Ok(mapped), Refused(..)) => {
                panic!(
                    "{expression} of {event}: {:?}",
                    mapped.update.body(Clearing::default())
                );
            }
            (Err(faults), Absent | Cleared | To(_)) => {
                panic!("{expression} of {event}: {faults:?}")
            }
        }
    }

    #[test]
    fn all_faults_of_an_event_are_said_at_once() {
        let faults = mapping(&[
            ("email", ".v"),
            ("phone", ".v | e164"),
            ("first_name", ".v"),
        ])
        .map(&json!({"v": CANARY}))
        .unwrap_err();
        let rules: Vec<_> = faults.iter().map(|fault| fault.rule.as_str()).collect();
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

    fn crm() -> Rules {
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
        Rules {
            imprint_id: text(&event_type["customer"]["imprint_id"]),
            partner_id: text(&event_type["customer"]["partner_id"]),
            version: text(&event_type["version"]).map(|expression| VersionRule {
                expression,
                domain: Domain::Sequence,
            }),
            update,
            tables: serde_json::from_value(source["tables"].clone()).unwrap(),
        }
    }

    #[test]
    fn the_example_event_comes_to_the_example_request() {
        let event = read(include_str!(
            "../tests/examples/crm/customer-changed.event.json"
        ));
        let request = read(include_str!(
            "../tests/examples/crm/customer-changed.request.json"
        ));
        let mapping = Mapping::compile(&crm()).unwrap();
        let mapped = mapping.map(&event).unwrap();
        assert_eq!(
            Value::Object(mapped.update.body(Clearing::default())),
            request["body"]
        );
        assert_eq!(
            request["path"],
            format!(
                "/v2/customers/{}",
                mapped.customer.imprint().unwrap().as_str()
            )
        );
        assert_eq!(mapped.version, 17);
        assert_eq!(mapping.targets().count(), 26);
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
        let leaf = prop_oneof![
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
        leaf.prop_recursive(5, 80, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// An event of the example's shape, each of its leaves replaced or taken away at random.
    fn any_customer() -> impl Strategy<Value = Value> {
        let event = read(include_str!(
            "../tests/examples/crm/customer-changed.event.json"
        ));
        let fields: Vec<String> = event["data"]["customer"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !matches!(key.as_str(), "imprint_customer_id" | "revision"))
            .cloned()
            .collect();
        prop::collection::vec(
            (prop::sample::select(fields), prop::option::of(any_json())),
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
            if let Ok(mapped) = mapping.map(&event) {
                for leaf in mapped.update.leaves() {
                    prop_assert!(mapping.targets().any(|target| target == leaf));
                }
            }
        }

        #[test]
        fn arbitrary_json_is_mapped_or_refused(event in any_json()) {
            let mapping = Mapping::compile(&crm()).unwrap();
            if let Err(faults) = mapping.map(&event) {
                prop_assert!(!faults.is_empty());
                let said = format!("{faults:?}");
                prop_assert!(!said.contains(CANARY));
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
        fn what_is_absent_comes_to_nothing(other in any_json()) {
            let event = json!({"data": {"customer": {
                "imprint_customer_id": "C1", "revision": 1, "other": other,
            }}});
            let mapped = Mapping::compile(&crm()).unwrap().map(&event).unwrap();
            prop_assert!(mapped.update.is_empty());
        }
    }
}
