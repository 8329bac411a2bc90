//! The rules of the notices against the alert rules of Prometheus and their tests.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::rules;
use super::*;
use crate::metrics::{LabelSets, LogCounters, Metrics};
use crate::outbox::ParkReason;

const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const ALERT_TESTS: &str = include_str!("../../tests/deploy/alerts_test.yaml");
/// The alert rules without a notice: a process cannot report its own absence.
const ALERTS_ONLY: [&str; 2] = ["ImprintBridgeNoData", "ImprintBridgeRestarts"];

/// Returns the text after `key` in a line of YAML.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim_start().trim_start_matches("- ").strip_prefix(key)
}

/// FAULTS N1030
#[test]
fn each_alert_rule_has_a_notice_with_the_same_words() {
    let duration = |text: &str| {
        let (number, unit) = text.split_at(text.len() - 1);
        let number: u64 = number.parse().unwrap();
        match unit {
            "s" => Duration::from_secs(number),
            "m" => Duration::from_mins(number),
            "h" => Duration::from_hours(number),
            _ => panic!("{text}"),
        }
    };
    let mut alerts = Vec::new();
    for block in ALERTS.split("- alert: ").skip(1) {
        let text = |key| block.lines().find_map(|line| after(line, key));
        alerts.push((
            block.lines().next().unwrap(),
            text("severity: ").unwrap(),
            text("for: ").map_or(Duration::ZERO, duration),
            text("summary: ").unwrap(),
            text("runbook_url: ").unwrap().to_owned(),
        ));
    }
    alerts.retain(|alert| !ALERTS_ONLY.contains(&alert.0));
    let notices = rules().iter().map(|rule| {
        let anchor = rule.name.to_ascii_lowercase();
        (
            rule.name,
            rule.severity.as_str(),
            rule.lasting,
            rule.summary,
            format!("deploy/RUNBOOK.md#{anchor}"),
        )
    });
    assert_eq!(notices.collect::<Vec<_>>(), alerts);
    assert!(alerts.len() > 30, "{}", alerts.len());
}

/// FAULTS N1031: the tests of the alert rules for `promtool` are also tests of the notices.
#[test]
fn notices_are_raised_when_the_alerts_fire() {
    let mut checked = BTreeSet::new();
    for test in ALERT_TESTS.split("\n  - interval: ").skip(1) {
        check(test, &mut checked);
    }
    for rule in rules() {
        assert!(checked.contains(rule.name), "{} has no test", rule.name);
    }
}

/// The conditions that hold: the name, the instance and the labels.
type Found = BTreeSet<(String, String, Labels)>;

/// The events that the store counts for the next process.
#[derive(Default)]
struct AcceptedEvents {
    totals: BTreeMap<Labels, f64>,
    earlier: Vec<EarlierEvents>,
}

impl AcceptedEvents {
    fn count(&mut self, samples: &[SeriesValue], at: Timestamp) {
        let accepted = samples.iter().filter(|one| one.name == "accepted_total");
        for sample in accepted {
            let before = self.totals.insert(sample.labels.clone(), sample.value);
            let before = before.filter(|before| *before <= sample.value);
            let events = sample.value - before.unwrap_or_default();
            self.earlier.push(EarlierEvents {
                source: sample.labels["source"].clone(),
                at,
                events: format!("{events:.0}").parse().unwrap(),
            });
        }
    }
}

/// Compares the alerts of one test with the notices of one process for each instance.
fn check(test: &str, checked: &mut BTreeSet<String>) {
    assert!(test.starts_with("1m"), "{test}");
    let series = series(test);
    let expected = expected(test);
    let instances: BTreeSet<_> = series.iter().map(|one| one.instance.clone()).collect();
    let last = expected.iter().map(|one| one.minute).max().unwrap();
    let at = |minute: usize| Timestamp::from_millis(i64::try_from(minute).unwrap() * 60_000);
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    for instance in instances {
        let mut notices = Notices::new(instance.clone(), at(0));
        let mut events = AcceptedEvents::default();
        for minute in 0..=last {
            let own = series.iter().filter(|one| one.instance == instance);
            let samples: Vec<SeriesValue> = own.filter_map(|one| one.at(minute)).collect();
            if samples.is_empty() {
                // The process does not run. The next one reads the numbers of events from the store.
                notices = Notices::new(instance.clone(), at(minute));
                notices.count_earlier(events.earlier.clone());
            } else {
                events.count(&samples, at(minute));
                notices.look(samples, at(minute));
            }
            let raised = notices.raised();
            let raised =
                raised.map(|(name, labels)| (name.to_owned(), instance.clone(), labels.clone()));
            found.entry(minute).or_default().extend(raised);
        }
    }
    for one in expected {
        if ALERTS_ONLY.contains(&one.name.as_str()) {
            continue;
        }
        checked.insert(one.name.clone());
        let mut present = found[&one.minute].clone();
        present.retain(|(name, _, _)| *name == one.name);
        let present: Vec<_> = present
            .into_iter()
            .map(|(_, instance, labels)| (instance, labels))
            .collect();
        let count = present.len();
        assert_eq!(count, one.alerts.len(), "{one:?} {present:?}");
        for (instance, labels) in present {
            // A rule that sums over the instances has no label `instance`.
            let is_expected = one.alerts.iter().any(|alert| {
                let named = alert.get("instance");
                let mut alert = alert.clone();
                alert.remove("instance");
                named.is_none_or(|named| *named == instance) && alert == labels
            });
            assert!(is_expected, "{one:?} {instance} {labels:?}");
        }
    }
}

/// A series of a test.
struct TestSeries {
    instance: String,
    name: String,
    labels: Labels,
    values: Vec<Option<f64>>,
}

impl TestSeries {
    fn at(&self, minute: usize) -> Option<SeriesValue> {
        let value = self.values.get(minute).copied().flatten()?;
        Some(SeriesValue {
            name: self.name.clone(),
            labels: self.labels.clone(),
            value,
        })
    }
}

fn series(test: &str) -> Vec<TestSeries> {
    let mut lines = test.lines();
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        let Some(series) = after(line, "series: ") else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap();
        let mut labels = labels_of(labels.trim_end_matches('}'), '=');
        let values = after(lines.next().unwrap(), "values: ").unwrap();
        all.push(TestSeries {
            instance: labels.remove("instance").unwrap(),
            name: name.trim_start_matches("imprint_bridge_").to_owned(),
            labels,
            values: values.split(' ').flat_map(expand).collect(),
        });
    }
    all
}

/// Parses `a="b", c="d"` or `a: b, c: d`.
fn labels_of(text: &str, separator: char) -> Labels {
    let parts = text
        .split(", ")
        .filter_map(|part| part.split_once(separator));
    let parts = parts.map(|(name, value)| (name.to_owned(), value.trim().trim_matches('"')));
    parts
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Expands the notation of `promtool`: `1`, `1x5`, `1+2x5`, `1-2x5`, `_x5`.
fn expand(text: &str) -> Vec<Option<f64>> {
    let (value, times) = text.split_once('x').unwrap_or((text, "0"));
    let times: u32 = times.parse().unwrap();
    if value == "_" {
        return vec![None; usize::try_from(times).unwrap().max(1)];
    }
    let step_at = value.rfind(['+', '-']).filter(|at| *at > 0);
    let (first, step) = value.split_at(step_at.unwrap_or(value.len()));
    let step: f64 = if step.is_empty() {
        0.0
    } else {
        step.parse().unwrap()
    };
    let first: f64 = first.parse().unwrap();
    let values = (0..=times).map(|number| Some(first + step * f64::from(number)));
    values.collect()
}

/// The alerts of a rule at a time.
#[derive(Debug)]
struct Expected {
    name: String,
    minute: usize,
    alerts: Vec<Labels>,
}

fn expected(test: &str) -> Vec<Expected> {
    let mut all: Vec<Expected> = Vec::new();
    for line in test.lines() {
        if let Some(name) = after(line, "alertname: ") {
            all.push(Expected {
                name: name.to_owned(),
                minute: 0,
                alerts: Vec::new(),
            });
        } else if let Some(time) = after(line, "eval_time: ") {
            let minutes = time.strip_suffix('m').unwrap();
            all.last_mut().unwrap().minute = minutes.parse().unwrap();
        } else if let Some(labels) = after(line, "exp_labels: {") {
            let mut labels = labels_of(labels.trim_end_matches('}'), ':');
            labels.remove("severity");
            all.last_mut().unwrap().alerts.push(labels);
        }
    }
    all
}

/// FAULTS N1032: a misspelt name in a rule would never raise a notice.
#[test]
fn each_watched_metric_exists() {
    let log = LogCounters {
        dropped: || 0,
        left_out: || 0,
    };
    let metrics = Metrics::new(LabelSets::default(), log).unwrap();
    let rows = metrics.rows().iter();
    let names: Vec<String> = rows
        .flat_map(|row| match row.kind {
            "histogram" => ["_sum", "_count"]
                .map(|end| format!("{}{end}", row.name))
                .to_vec(),
            _ => vec![row.name.clone()],
        })
        .collect();
    for name in history::watched_names() {
        let name = format!("imprint_bridge_{name}");
        assert!(names.contains(&name), "{name}");
    }
}

/// FAULTS N1419: a source that stopped before the process started is silent, and one that sends again is not.
#[test]
fn a_source_is_silent_also_after_a_restart() {
    let hour = |hour: i64| at(hour * 3600);
    for (events, last, expected) in [(500, 20, 1), (200, 20, 0), (500, 24, 0)] {
        let mut notices = Notices::new(String::new(), hour(24));
        notices.count_earlier(vec![EarlierEvents {
            source: "crm".to_owned(),
            at: hour(19),
            events,
        }]);
        let sample = SeriesValue {
            name: "last_event_timestamp_seconds".to_owned(),
            labels: [("source".to_owned(), "crm".to_owned())].into(),
            value: f64::from(1_700_000_000 + last * 3600),
        };
        for minute in 0..12 {
            notices.look(vec![sample.clone()], at(24 * 3600 + minute * 60));
            let raised = notices.raised().count();
            let is_early = minute < 10;
            assert_eq!(
                raised,
                if is_early { 0 } else { expected },
                "{events} {last}"
            );
        }
    }
}

fn held(entries: f64) -> Vec<SeriesValue> {
    vec![SeriesValue {
        name: "held_entries".to_owned(),
        labels: Labels::new(),
        value: entries,
    }]
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

fn json(notice: &Notice) -> serde_json::Value {
    serde_json::from_slice(notice.body()).unwrap()
}

/// FAULTS N1034
#[test]
fn a_condition_has_one_notice_when_it_begins_and_one_when_it_ends() {
    let mut notices = Notices::new("bridge-0".to_owned(), at(0));
    let mut sent = Vec::new();
    for (seconds, entries) in [(0, 0.0), (15, 475.0), (30, 480.0), (45, 0.0), (60, 0.0)] {
        notices.look(held(entries), at(seconds));
        while let Some(notice) = notices.due(at(seconds)) {
            let (id, body) = (notice.id().to_owned(), json(notice));
            notices.sent(&id);
            sent.push((seconds, id, body));
        }
    }
    assert_eq!(sent.len(), 2);
    let [
        (raised_at, raised_id, raised),
        (resolved_at, resolved_id, resolved),
    ] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((*raised_at, *resolved_at), (15, 45));
    assert_ne!(raised_id, resolved_id);
    assert_eq!(raised["type"], "notice.raised");
    assert_eq!(raised["data"]["value"], 475);
    assert_eq!(raised["data"]["since"], "2023-11-14T22:13:35.000Z");
    assert_eq!(resolved["type"], "notice.resolved");
    assert_eq!(resolved["data"]["resolved"], "2023-11-14T22:14:05.000Z");
    for name in ["key", "name", "severity", "summary", "since", "runbook"] {
        assert_eq!(raised["data"][name], resolved["data"][name], "{name}");
    }
    assert_eq!(
        raised["data"]["runbook"],
        "deploy/RUNBOOK.md#imprintbridgemasschangeheld"
    );
}

/// FAULTS N1035
#[test]
fn a_broken_receiver_costs_a_bounded_number_of_attempts_with_one_id() {
    let mut notices = Notices::new(String::new(), at(0));
    notices.look(held(1.0), at(0));
    let id = notices.due(at(0)).unwrap().id().to_owned();
    let (mut attempts, mut now) = (0, at(0));
    while let Some(next) = notices.next_attempt() {
        now = now.max(next);
        notices.look(held(1.0), now);
        assert_eq!(notices.due(now).unwrap().id(), id);
        attempts += 1;
        let is_given_up = notices.failed(&id, now, 0.99);
        assert_eq!(is_given_up, attempts == 12);
    }
    assert_eq!(attempts, 12);
    assert!(now.since(at(0)) > Duration::from_mins(20));
    // The end of the condition has a notice of its own.
    notices.look(held(0.0), now);
    let resolved = notices.due(now).unwrap();
    assert_eq!(json(resolved)["type"], "notice.resolved");
}

/// FAULTS N1036
#[test]
fn only_the_newest_notice_of_a_condition_waits() {
    let mut notices = Notices::new(String::new(), at(0));
    for second in 0..100_i64 {
        let entries = if second % 2 == 0 { 1.0 } else { 0.0 };
        notices.look(held(entries), at(second));
    }
    let resolved = notices.due(at(100)).unwrap().clone();
    assert_eq!(json(&resolved)["type"], "notice.resolved");
    notices.sent(resolved.id());
    assert_eq!(notices.due(at(100)), None);
    let sources = |count: usize| {
        (0..count).map(|number| SeriesValue {
            name: "weakened".to_owned(),
            labels: [("weakening".to_owned(), number.to_string())].into(),
            value: 1.0,
        })
    };
    notices.look(sources(3000).collect(), at(200));
    notices.look(sources(3000).collect(), at(2000));
    assert_eq!(notices.raised().count(), 500);
}

/// FAULTS N1179: no entry parks without a notice, also if its reason is the only one.
#[test]
fn each_reason_for_parking_has_a_notice() {
    for reason in ParkReason::ALL {
        let mut notices = Notices::new(String::new(), at(0));
        let parked = |name: &str, value| SeriesValue {
            name: name.to_owned(),
            labels: [("reason".to_owned(), reason.as_str().to_owned())].into(),
            value,
        };
        let invalid = if reason == ParkReason::Invalid {
            2.0
        } else {
            0.0
        };
        let samples = || {
            vec![
                parked("parked_total", 2.0),
                parked("parked_invalid_total", invalid),
            ]
        };
        notices.look(samples(), at(0));
        notices.look(samples(), at(600));
        assert_ne!(notices.raised().count(), 0, "{reason:?}");
    }
}

/// FAULTS N1180: many warnings hold, and their notices wait.
#[test]
fn warnings_leave_room_for_a_critical_notice() {
    let mut notices = Notices::new(String::new(), at(0));
    let warnings = || {
        (0..600).map(|number| SeriesValue {
            name: "weakened".to_owned(),
            labels: [("weakening".to_owned(), number.to_string())].into(),
            value: 1.0,
        })
    };
    notices.look(warnings().collect(), at(0));
    notices.look(warnings().collect(), at(2000));
    assert_eq!(notices.raised().count(), 500);
    let all = warnings().chain(held(1.0));
    notices.look(all.collect(), at(2015));
    let first = notices.due(at(2015)).unwrap();
    let name = json(first)["data"]["name"].clone();
    assert_eq!(name, "ImprintBridgeMassChangeHeld");
}
