//! What pages say about mass changes with held entries. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::entry_filter::FilterFields;
use super::words::{TimeText, counted, grouped, span_text};
use crate::intake::{BrakePolicy, BrakeRule, Holding, MassChange};
use crate::ops::operate::HeldSource;
use crate::time::Timestamp;

/// The states of entries that an operator or the source possibly has to correct at Imprint: an ignored or discarded entry
/// has not reached Imprint.
const PASSED_STATES: &str = "waiting,delivered,superseded,parked,undecided";

/// A mass change as pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MassChangeText {
    pub(super) sentence: String,
    /// The list with the entries that passed before the brake held. `None` if nothing passed, or if nothing is known.
    pub(super) passed: Option<PageLink>,
}

/// A link in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageLink {
    pub(super) path: String,
    pub(super) text: String,
}

impl MassChangeText {
    /// Returns what is known about the held entries of a source: a text for each mass change.
    pub(super) fn of_source(held: &HeldSource, now: Timestamp) -> Vec<Self> {
        if held.changes.is_empty() {
            return vec![Self::forgotten(held, now)];
        }
        let changes = held.changes.iter();
        changes
            .map(|change| Self::of((&held.source, held.policy), change, now))
            .collect()
    }

    /// Describes a mass change of a source with this policy of the brake.
    pub(super) fn of(
        (source, policy): (&str, BrakePolicy),
        change: &(MassChange, Holding),
        now: Timestamp,
    ) -> Self {
        let (kind, holding) = change;
        let field = kind.field.path();
        let action = match kind.rule {
            BrakeRule::Customers | BrakeRule::Share => format!("changes {field}"),
            BrakeRule::SameValue => format!("writes the same value into {field}"),
            BrakeRule::Cleared => format!("clears {field}"),
        };
        let (window, is_all) = match policy {
            BrakePolicy::Off => (None, true),
            BrakePolicy::On(limits) => (Some(limits.window), holding.customers < limits.kept_max()),
        };
        let window = window.map(|window| format!(" within {}", span_text(window)));
        Self {
            sentence: format!(
                "The mass-change brake of {source} has held {} since {}: the source {action} of {}{}{}, and the rule {} allows {}. {}",
                counted(holding.entries, ["entry", "entries"]),
                TimeText::since(holding.since, now),
                if is_all { "" } else { "at least " },
                customers(holding.customers),
                window.unwrap_or_default(),
                kind.rule.as_str().replace('_', " "),
                grouped(number(holding.customers_max)),
                passed_sentence(holding.passed.customers),
            ),
            passed: passed_link(source, change),
        }
    }

    /// Says that the counts of the brake are lost.
    fn forgotten(held: &HeldSource, now: Timestamp) -> Self {
        Self {
            sentence: format!(
                "The mass-change brake of {} holds entries since {}. The bridge has restarted since then, so it knows neither the field, nor the rule, nor the number of customers that passed before the brake held: look at the entries of the source from before this time.",
                held.source,
                TimeText::since(held.first, now),
            ),
            passed: Some(PageLink {
                path: passed_fields(&held.source, held.first).path(),
                text: "Entries from before".to_owned(),
            }),
        }
    }
}

/// The customers whose field the requests set or clear.
#[derive(Debug, Default)]
pub(super) struct WrittenCustomers {
    pub(super) set: BTreeSet<String>,
    pub(super) cleared: BTreeSet<String>,
}

/// For each field, the customers whose field the requests set or clear.
pub(super) type WrittenFields = BTreeMap<String, WrittenCustomers>;

/// Says what the requests of a release do at Imprint: a text for each field with a mass change. The requests also have the
/// values of entries that already wait, so the texts speak of the requests, and not of one source or rule.
pub(super) fn release_effects(held: &[HeldSource], written: &WrittenFields) -> Vec<String> {
    if held.iter().any(|held| held.changes.is_empty()) {
        // The bridge has restarted, and knows neither the fields nor the rules of the mass changes.
        let all = written.values();
        let all = all.flat_map(|written| written.set.union(&written.cleared));
        let all: BTreeSet<&String> = all.collect();
        let effect = format!("The requests change {} at Imprint.", customers(all.len()));
        return if all.is_empty() {
            Vec::new()
        } else {
            vec![effect]
        };
    }
    let fields = held.iter().flat_map(|held| &held.changes);
    let fields: BTreeSet<&str> = fields.map(|(kind, _)| kind.field.path()).collect();
    let effects = fields.into_iter().filter_map(|field| {
        let WrittenCustomers { set, cleared } = written.get(field)?;
        let parts = [("set", set.len()), ("clear", cleared.len())].into_iter();
        let parts = parts.filter(|(_, number)| *number > 0);
        let parts = parts.map(|(verb, number)| format!("{verb} {field} of {}", customers(number)));
        let parts: Vec<String> = parts.collect();
        let effect = || format!("The requests {} at Imprint.", parts.join(" and "));
        (!parts.is_empty()).then(effect)
    });
    effects.collect()
}

/// Returns the time since which the brake of a source holds entries.
pub(super) fn since(held: &HeldSource) -> Timestamp {
    let changes = held.changes.iter();
    let since = changes.map(|(_, holding)| holding.since).min();
    since.unwrap_or(held.first)
}

fn passed_sentence(passed: usize) -> String {
    match passed {
        0 => "No customer passed before.".to_owned(),
        1 => {
            "1 customer passed before: Imprint already has this value, or gets it, unless its entry is parked, ignored or discarded.".to_owned()
        },
        several => format!(
            "{} passed before: Imprint already has these values, or gets them, unless an entry is parked, ignored or discarded.",
            customers(several)
        ),
    }
}

/// Returns the path of the page with the entries that passed before a mass change was held, or of the file with the ending
/// `.ndjson`.
pub(super) fn passed_path((source, ending): (&str, &str), (field, rule): (&str, &str)) -> String {
    let field = utf8_percent_encode(field, NON_ALPHANUMERIC);
    format!("/sources/{source}/passed{ending}?field={field}&rule={rule}")
}

fn passed_link(source: &str, (kind, holding): &(MassChange, Holding)) -> Option<PageLink> {
    holding.passed.since?;
    Some(PageLink {
        path: passed_path((source, ""), (kind.field.path(), kind.rule.as_str())),
        text: format!(
            "Entries of {source} with these {}",
            customers(holding.passed.customers)
        ),
    })
}

/// Returns the filter for the entries of a source that passed until a time.
fn passed_fields(source: &str, until: Timestamp) -> FilterFields {
    FilterFields {
        state: PASSED_STATES.to_owned(),
        source: source.to_owned(),
        // A batch possibly contains the last entry that passed and the first held one.
        before: until.after(Duration::from_millis(1)).to_rfc3339(),
        ..FilterFields::default()
    }
}

fn customers(customers: usize) -> String {
    counted(number(customers), ["customer", "customers"])
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imprint::Field;
    use crate::intake::{BrakeLimits, PassedChanges};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const LIMITS: BrakeLimits = BrakeLimits {
        window: Duration::from_mins(15),
        customers_max: 900,
        share_percent_max: 0,
        same_value_max: 25,
        cleared_max: 25,
    };

    fn held(rule: BrakeRule, passed: usize) -> HeldSource {
        let field = Field::parse("phone").unwrap();
        let holding = Holding {
            since: NOW,
            last: NOW,
            entries: 275,
            customers_max: 25,
            customers: 300,
            passed: PassedChanges {
                customers: passed,
                since: (passed > 0).then_some(Timestamp::from_millis(NOW.as_millis() - 4_000)),
                ..PassedChanges::default()
            },
        };
        HeldSource {
            source: "crm".to_owned(),
            policy: BrakePolicy::On(LIMITS),
            first: NOW,
            changes: vec![(MassChange { field, rule }, holding)],
            entries: 275,
        }
    }

    /// FAULTS N1311: the button that changes 275 customers looked harmless, and no text said what it does.
    #[test]
    fn a_release_is_told_with_its_effect_at_imprint() {
        let customers = |numbers: std::ops::Range<usize>| {
            let customers = numbers.map(|number| number.to_string());
            customers.collect::<BTreeSet<String>>()
        };
        let written = |set, cleared| {
            let (set, cleared) = (customers(set), customers(cleared));
            WrittenFields::from([("phone".to_owned(), WrittenCustomers { set, cleared })])
        };
        let one = |rule| vec![held(rule, 25)];
        // 60 held entries clear the field, and others set it: no sentence gives one number for both.
        for (rule, written, effect) in [
            (
                BrakeRule::Cleared,
                written(60..260, 0..60),
                "The requests set phone of 200 customers and clear phone of 60 customers at Imprint.",
            ),
            (
                BrakeRule::Cleared,
                written(0..0, 0..1),
                "The requests clear phone of 1 customer at Imprint.",
            ),
            (
                BrakeRule::SameValue,
                written(0..275, 0..0),
                "The requests set phone of 275 customers at Imprint.",
            ),
        ] {
            assert_eq!(release_effects(&one(rule), &written), [effect]);
        }
        // Two sources hold the field: the number is told once.
        let two = [one(BrakeRule::Customers), one(BrakeRule::Cleared)].concat();
        assert_eq!(
            release_effects(&two, &written(0..2, 0..0)),
            ["The requests set phone of 2 customers at Imprint."]
        );
        let mut restarted = one(BrakeRule::Customers);
        restarted[0].changes.clear();
        assert_eq!(
            release_effects(&restarted, &written(0..2, 1..3)),
            ["The requests change 3 customers at Imprint."]
        );
        let nothing = WrittenFields::default();
        for held in [one(BrakeRule::Customers), restarted] {
            assert!(release_effects(&held, &nothing).is_empty());
        }
    }

    /// FAULTS N1280
    #[test]
    fn a_mass_change_is_told_with_its_numbers_and_those_that_passed() {
        let one = |held: &HeldSource| MassChangeText::of_source(held, NOW).pop().unwrap();
        let text = one(&held(BrakeRule::SameValue, 25));
        assert_eq!(
            text.sentence,
            "The mass-change brake of crm has held 275 entries since 22:13:20 UTC: the source writes the same value into phone of 300 customers within 15 min, and the rule same value allows 25. 25 customers passed before: Imprint already has these values, or gets them, unless an entry is parked, ignored or discarded."
        );
        let link = text.passed.unwrap();
        assert_eq!(link.text, "Entries of crm with these 25 customers");
        assert_eq!(link.path, "/sources/crm/passed?field=phone&rule=same_value");
        let cleared = one(&held(BrakeRule::Cleared, 0));
        assert!(
            cleared
                .sentence
                .contains("the source clears phone of 300 customers")
        );
        assert!(cleared.sentence.ends_with("No customer passed before."));
        assert_eq!(cleared.passed, None);
        let mut restarted = held(BrakeRule::Customers, 25);
        restarted.changes[0].1.customers = 901;
        let text = one(&restarted).sentence;
        assert!(
            text.contains("changes phone of at least 901 customers"),
            "{text}"
        );
        restarted.changes.clear();
        let text = one(&restarted).sentence;
        assert!(
            text.contains("The bridge has restarted since then"),
            "{text}"
        );
    }
}
