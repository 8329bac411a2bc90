use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::mapping::tests::rules;
use crate::mapping::{ImageRules, MappingRules, VersionDomain, VersionRule};

/// Expressions of every kind, over the members that [`any_event`] generates.
const EXPRESSIONS: &[&str] = &[
    ".a",
    ".a.b.c",
    ".a.b[0].c",
    ".a | .b | .c | text",
    ".a.b // .b.a // .c",
    "(.a // .b) | .c",
    ".a // \"x\" | \"y\"",
    "{x: .a.b, y: .b} | .x",
    "\"\\(.a.b) \\(.b)\"",
    "if .a then .b.c else .c.a end",
    "if .a.b == .b then \"same\" end",
    "if .a.b and (.b.c | not) then .c else \"no\" end",
    ".a | not",
    ".a.b | lower",
    ".a | split(\" \") | first",
    "minor_units(.a.b; .a.c)",
    ".a[]",
    ".a[] | .b",
    "[.a[] | .b] | first",
    "[.a[] | \"x\"] | length",
    ".a | map(.b) | first | .c",
    ".a | map(select(.b)) | first | .c",
    ".a | map(select(.b == \"x\") | .c) | join(\",\")",
    "[.a[] | select(.b)] | .[0].c",
    ".a | first | .b",
    ".a | last.b",
    ".a[-1].b",
    ".a[1:] | first | .b",
    ".a[0:2] | map(\"x\") | length",
    ".b[0:3]",
    ".a | reverse | .[0] | .b",
    ".a | sort_by(.b) | first | .c",
    ".a | unique | first | .b",
    ".a | any(.b)",
    ".a | all",
    ".a | length",
    ".a | keys | first",
    ".a | has(\"b\")",
    ".a | to_entries | map(select(.key == \"b\")) | first | .value",
    ".a | with_entries(select(.value)) | .b",
    ".a as $x | .b | if $x.c then .a else $x.b end",
    ".a as $x | [.b[] | select(. == $x.b)] | length",
    "first(.a.b, .b.a)",
    "[.a.b, .b.c] | map(select(.)) | first",
    "try .a.b.c catch .",
    ".a.b? // .c",
    ".a.b < .b.b",
    ".a.b + \"x\"",
    "[.a[], .b[]] | map(.c) | first",
    "[[.a[] | .b] | .[] | .c] | first",
    "-.a.b",
    ". | .a | . | .b",
    "[.] | first | .a.b",
    "[.a] | first | .b",
    "{a} | .a",
    "[.a[] | {b}] | first | .b",
    ".a | add",
];

fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i32).prop_map(Value::from),
        prop::sample::select(vec!["", "x", "y z"]).prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let value = leaf.prop_recursive(4, 60, 4, move |inner| {
        let members = prop::collection::btree_map(name.clone(), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| json!(members)),
        ]
    });
    let names = prop::sample::select(vec!["a", "b", "c", "d"]);
    prop::collection::btree_map(names, value, 0..5).prop_map(|members| {
        let mut event = json!(members);
        event["id"] = json!("C1");
        event
    })
}

type Part<'p> = (&'p [UsedStep], UsedExtent);

/// Returns the parts inside the member `name`, or inside an item.
fn inside<'p>(parts: &[Part<'p>], name: Option<&str>) -> Vec<Part<'p>> {
    let follows = |(steps, extent): &Part<'p>| {
        let (first, rest) = steps.split_first()?;
        let is_on_path = match first {
            UsedStep::Each => true,
            UsedStep::Member(member) => name == Some(member),
        };
        is_on_path.then_some((rest, *extent))
    };
    parts.iter().filter_map(follows).collect()
}

/// Returns a value without its unused parts. `parts` are the parts inside the value: the remaining steps of each part.
fn only(value: &Value, parts: &[Part<'_>]) -> Option<Value> {
    if parts.is_empty() {
        return None;
    }
    if parts
        .iter()
        .any(|(steps, extent)| steps.is_empty() && *extent == UsedExtent::Whole)
    {
        return Some(value.clone());
    }
    let inside = |name: Option<&str>| inside(parts, name);
    Some(match value {
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, member)| {
                Some((name.clone(), only(member, &inside(Some(name)))?))
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => items
            .iter()
            .filter_map(|item| only(item, &inside(None)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

/// A mapping with one of the expressions, and the parts that it uses.
struct Case {
    expression: &'static str,
    mapping: Mapping,
    used: Vec<UsedPart>,
}

impl Case {
    fn new(expression: &'static str, rules: &MappingRules) -> Self {
        let mapping = Mapping::compile(rules).unwrap();
        let used = mapping.used();
        Self {
            expression,
            mapping,
            used,
        }
    }

    fn pruned(&self, event: &Value) -> Value {
        let parts: Vec<_> = self
            .used
            .iter()
            .map(|part| (part.steps.as_slice(), part.extent))
            .collect();
        only(event, &parts).unwrap_or_default()
    }
}

/// Every expression as the value of a field, as the condition, as the version, and with a comparison of two images.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let cases = EXPRESSIONS.iter().flat_map(|expression| {
        let value = rules(&[("metadata.k", expression)]);
        let condition = MappingRules {
            when: Some((*expression).to_owned()),
            ..rules(&[])
        };
        let images = ImageRules {
            before: ".b // .a.b".to_owned(),
            after: ".a".to_owned(),
        };
        let compared = MappingRules {
            only_changed: Some(images),
            ..value.clone()
        };
        let version = VersionRule {
            expression: (*expression).to_owned(),
            domain: VersionDomain::Sequence,
        };
        let versioned = MappingRules {
            version: Some(version),
            ..rules(&[])
        };
        [value, condition, compared, versioned].map(|rules| Case::new(expression, &rules))
    });
    cases.collect()
});

proptest! {
    /// FAULTS N620: an event without the parts that the analysis does not find gives the same result.
    #[test]
    fn an_event_without_its_unused_parts_gives_the_same_result(event in any_event()) {
        for case in CASES.iter() {
            let kept = case.pruned(&event);
            let (expected, found) = (case.mapping.map(&event), case.mapping.map(&kept));
            prop_assert_eq!(expected, found, "{} of {}: {}", case.expression, event, kept);
        }
    }
}

/// Returns the used parts of one expression as text: `*` for each item, and `!` after a part that is used as a whole.
fn parts(expression: &str) -> Vec<String> {
    let mapping = Mapping::compile(&rules(&[("metadata.k", expression)])).unwrap();
    let used = mapping.used().into_iter();
    let text = used.map(|part| {
        let steps = part.steps.iter().map(|step| match step {
            UsedStep::Member(name) => format!("/{name}"),
            UsedStep::Each => "/*".to_owned(),
        });
        let end = match part.extent {
            UsedExtent::Whole => "!",
            UsedExtent::Shallow => "",
        };
        format!("{}{end}", steps.collect::<String>())
    });
    text.filter(|part| !part.starts_with("/id")).collect()
}

/// FAULTS N620: an expression of the interpreter does not use the whole event.
#[test]
fn an_expression_uses_only_the_parts_that_it_names() {
    for (expression, expected) in [
        (".a.b", &["/a", "/a/b", "/a/b!"][..]),
        (
            "[.a[] | select(.b) | .c] | first",
            &["/a", "/a/*", "/a/*/b", "/a/*/c", "/a/*/c!"],
        ),
        (
            ".a | map(select(.b == \"x\")) | first | .c",
            &["/a", "/a/*", "/a/*/b", "/a/*/b!", "/a/*/c", "/a/*/c!"],
        ),
        (
            ".a as $x | .b | if .c then $x.d else \"\" end",
            &["/a", "/a/d", "/a/d!", "/b", "/b/c"],
        ),
        (".a | to_entries | length", &["/a", "/a!"]),
        // Items with equal keys are sorted by their whole values.
        (
            ".a | sort_by(.b) | first | .c",
            &["/a", "/a!", "/a/*", "/a/*/c", "/a/*/c!"],
        ),
        ("\"x\"", &[]),
    ] {
        assert_eq!(parts(expression), expected, "{expression}");
    }
}

/// FAULTS N620: each `//` in a pipe doubles the places from which a value can come.
#[test]
fn many_alternatives_take_bounded_memory() {
    let pipe = vec![".a//.b"; 100].join("|");
    assert!(parts(&pipe).len() < 10_000);
    let interpreted = format!("[{pipe}] | first");
    assert!(parts(&interpreted).len() < 10_000);
}
