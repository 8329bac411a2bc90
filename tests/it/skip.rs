//! Tests of fields with `on_invalid = "skip"`: an invalid value of such a field leaves Imprint's value alone, and the other
//! fields of the event are sent.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http::{self, Answer};
use crate::support::TestApp;

const TOKEN: &str = "op-canary-token-1";
const SOURCE: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = '"changed"'
[events.changed]
schema = "shop.json"
customer.imprint_id = ".customer"
version = ".n"
version_domain = "sequence"
[events.changed.update]
email = ".email"
first_name = ".first"
phone = '.phone | e164("US")'
city = ".city"
state = ".state | us_state"
postal_code = ".zip | us_zip"
customer_history.phone = '[.phones[] | e164("US")] | first'
customer_history.address.country = ".country | alpha3"
customer_history.ltv_amount = "minor_units(.total; .currency)"
customer_history.ltv_currency = ".currency"
customer_history.loyalty_tier = ".tier.name"
metadata.tags = '.tags | split(",") | length'
[events.changed.on_invalid]
email = "refuse"
phone = "skip"
state = "skip"
customer_history.phone = "skip"
customer_history.address.country = "skip"
customer_history.ltv_currency = "skip"
customer_history.ltv_amount = "skip"
customer_history.loyalty_tier = "skip"
metadata.tags = "skip"
"#;

/// A bridge with the source `shop`, and the operator `alice`.
struct Shop {
    app: TestApp,
    folder: TempDir,
}

impl Shop {
    fn start(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("shop.toml"), source).unwrap();
        fs::write(folder.path().join("shop.json"), "{}").unwrap();
        let path = folder.path();
        let settings = format!("sources_dir = {path:?}\nschemas_dir = {path:?}");
        let app = TestApp::setup().operator("alice", TOKEN).settings(settings);
        Self {
            app: app.start(),
            folder,
        }
    }

    fn post(&self, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("prefer", "wait=20")];
        let line = "POST /v1/sources/shop/events";
        http::ask(self.app.ingress(), line, &headers, &body.to_string()).unwrap()
    }

    /// Posts an event, and returns its item of the answer and the body of the request that Imprint received.
    #[track_caller]
    fn accept(&self, event: &Value) -> (Value, Option<Value>) {
        let before = self.app.imprint.calls().len();
        let answer = self.post(event);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        let calls = self.app.imprint.calls();
        let body = calls.get(before).map(|call| call.body.clone());
        (answer.json()["accepted"][0].clone(), body)
    }

    fn receipt(&self, id: &str) -> Value {
        let line = format!("GET /v1/sources/shop/events/{id}");
        http::ask(self.app.ingress(), &line, &[], "")
            .unwrap()
            .json()
    }

    fn admin(&self, line: &str, body: &Value) -> Value {
        let answer = self.app.ask_operator(TOKEN, line, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        answer.json()
    }
}

fn changed(n: u32, members: &Value) -> Value {
    let mut event = json!({"id": n.to_string(), "n": n, "customer": "c1"});
    let members = members.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

/// Returns the location and the pointer of each skipped field.
fn skipped(item: &Value) -> Vec<(&str, &str)> {
    let errors = item["skipped"].as_array().into_iter().flatten();
    errors
        .map(|error| {
            assert!(
                error["rule"].is_string() && error["detail"].is_string(),
                "{error}"
            );
            (
                error["location"].as_str().unwrap(),
                error["pointer"].as_str().unwrap(),
            )
        })
        .collect()
}

/// FAULTS N392: an invalid value does not hold back the other fields of the event. The sender and the operator see which
/// field is left out and why, and never see the value.
#[test]
fn an_invalid_value_is_left_out_and_the_other_fields_are_sent() {
    let shop = Shop::start(SOURCE);
    let event = json!({
        "email": "a@example.com", "first": "Ada", "phone": "canary", "phones": ["canary"],
        "tier": "canary", "tags": 7,
    });
    let (item, body) = shop.accept(&changed(1, &event));
    assert_eq!(item["status"], "delivered");
    let expected = [
        ("phone", "/phone"),
        ("customer_history.phone", "/phones/0"),
        ("customer_history.loyalty_tier", "/tier"),
        ("metadata.tags", "/tags"),
    ];
    assert_eq!(skipped(&item), expected, "{item}");
    assert_eq!(
        body.unwrap(),
        json!({"email": "a@example.com", "first_name": "Ada"})
    );
    assert_eq!(skipped(&shop.receipt("1")), expected);
    let listed = shop.admin("GET /admin/v1/entries?state=delivered", &Value::Null);
    assert_eq!(skipped(&listed["entries"][0]), expected, "{listed}");
    let number = &listed["entries"][0]["entry"];
    let shown = shop.admin(&format!("GET /admin/v1/entries/{number}"), &Value::Null);
    assert_eq!(skipped(&shown), expected);
    let metric = |name: &str| shop.app.metric(name);
    assert_eq!(metric("skipped_fields_total{source=\"shop\"}"), Some(4.0));
    // A repeated event is not counted again, and an event without an invalid value has no member `skipped`.
    let (again, _) = shop.accept(&changed(1, &event));
    assert!(
        again["duplicate"] == true && again.get("skipped").is_none(),
        "{again}"
    );
    let (valid, _) = shop.accept(&changed(2, &json!({"phone": "415 555 2671"})));
    assert!(valid.get("skipped").is_none(), "{valid}");
    assert!(shop.receipt("2").get("skipped").is_none());
    assert_eq!(metric("skipped_fields_total{source=\"shop\"}"), Some(4.0));
    // An empty value is not invalid: it clears the field.
    let (cleared, _) = shop.accept(&changed(3, &json!({"phone": " ", "tier": null})));
    assert!(cleared.get("skipped").is_none(), "{cleared}");
}

/// FAULTS N392: an event whose values are all invalid ends as ignored, and its receipt has the reason.
#[test]
fn an_event_with_invalid_values_only_is_ignored_with_a_receipt() {
    let shop = Shop::start(SOURCE);
    let (item, body) = shop.accept(&changed(1, &json!({"phone": "canary"})));
    assert_eq!((&item["status"], body), (&json!("ignored"), None));
    assert_eq!(skipped(&item), [("phone", "/phone")]);
    assert_eq!(skipped(&shop.receipt("1")), [("phone", "/phone")]);
}

/// FAULTS N393: values that have a meaning only together are left out together.
#[test]
fn an_invalid_part_of_an_address_or_an_amount_leaves_out_the_whole() {
    let shop = Shop::start(SOURCE);
    let address = |state: &str, country: &str| json!({"city": "Reno", "state": state, "zip": "89501", "country": country});
    let mut n = 0;
    let mut sent = |members: &Value| {
        n += 1;
        let mut event = changed(n, members);
        event["first"] = json!(format!("Ada {n}"));
        let mut body = shop.accept(&event).1.unwrap();
        body.as_object_mut().unwrap().remove("first_name");
        body
    };
    let country = json!({"customer_history": {"address": {"country": "USA"}}});
    assert_eq!(sent(&address("canary", "US")), country);
    // Without the country, the bridge does not know whether it can send the address.
    assert_eq!(sent(&address("NV", "canary")), json!({}));
    let amount = sent(&json!({"total": "340.00", "currency": "canary"}));
    assert_eq!(amount, json!({}));
    assert_eq!(
        sent(&json!({"total": "canary", "currency": "USD"})),
        json!({})
    );
    let whole = sent(&address("Nevada", "US"));
    assert_eq!(whole["state"], "NV", "{whole}");
}

/// FAULTS N392: only the value of a field can be left out. The customer, the version, an address without a word and an
/// expression beyond its budget still make the event invalid.
#[test]
fn other_errors_still_refuse_the_event() {
    let shop = Shop::start(SOURCE);
    let long = "x,".repeat(32_000);
    for (members, location) in [
        (
            json!({"phone": "canary", "customer": {"id": 1}}),
            "customer.imprint_id",
        ),
        (json!({"phone": "canary", "n": "canary"}), "version"),
        (json!({"phone": "canary", "email": "canary"}), "email"),
        (json!({"phone": "canary", "zip": "canary"}), "postal_code"),
        (json!({"phone": "canary", "tags": long}), "metadata.tags"),
    ] {
        let answer = shop.post(&changed(1, &members));
        assert_eq!(answer.status, 422, "{location}: {}", answer.body);
        let errors = answer.json()["faults"].clone();
        let locations: Vec<&Value> = errors
            .as_array()
            .unwrap()
            .iter()
            .map(|error| &error["location"])
            .collect();
        assert_eq!(locations, [location], "{errors}");
    }
    assert_eq!(
        shop.app.metric("skipped_fields_total{source=\"shop\"}"),
        Some(0.0)
    );
}

/// FAULTS N393: with `only_changed`, an invalid value does not count as changed, and an invalid value before the change
/// counts as changed.
#[test]
fn an_invalid_value_is_no_change() {
    let images = "only_changed.before = \".before\"\nonly_changed.after = \".after\"\n[events.changed.update]";
    let mut source = SOURCE.replace("[events.changed.update]", images);
    for name in [
        "email",
        "first",
        "phone",
        "phones[]",
        "city",
        "state",
        "zip",
        "country",
        "total",
        "currency",
        "tier.name",
        "tags",
    ] {
        for start in ["\"", "'", "[", "(", " "] {
            for end in [" ", "\"", ")", ";"] {
                let read = format!("{start}.{name}{end}");
                source = source.replace(&read, &format!("{start}.after.{name}{end}"));
            }
        }
    }
    let shop = Shop::start(&source);
    let row = |phone: &str, state: &str| json!({"email": "a@example.com", "phone": phone, "city": "Reno", "state": state, "zip": "89501"});
    let event = |n: u32, before: Value, after: Value| {
        changed(n, &json!({"before": before, "after": after}))
    };
    let good = "415 555 2671";
    let (item, body) = shop.accept(&event(1, row(good, "NV"), row("canary", "canary")));
    assert_eq!((&item["status"], body), (&json!("ignored"), None), "{item}");
    assert_eq!(
        skipped(&item),
        [("phone", "/after/phone"), ("state", "/after/state")]
    );
    let (item, body) = shop.accept(&event(2, row("canary", "canary"), row(good, "NV")));
    assert_eq!(item.get("skipped"), None);
    let expected =
        json!({"phone": "+14155552671", "city": "Reno", "state": "NV", "postal_code": "89501"});
    assert_eq!(body, Some(expected));
}

/// FAULTS N1434: with `only_changed`, a customer moves abroad by mistake, and the source corrects only the country.
#[test]
fn an_address_that_becomes_domestic_reaches_imprint() {
    let source = r#"
[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = '"changed"'
[events.changed]
schema = "shop.json"
customer.imprint_id = ".customer"
version = ".n"
version_domain = "sequence"
address.country = ".after.country | alpha3"
only_changed.before = ".before"
only_changed.after = ".after"
[events.changed.update]
city = ".after.city"
"#;
    let shop = Shop::start(source);
    let row = |city: &str, country: &str| json!({"city": city, "country": country});
    let event = |n: u32, before: &Value, after: &Value| {
        changed(n, &json!({"before": before, "after": after}))
    };
    let (old, wrong, right) = (row("Reno", "US"), row("Miami", "CA"), row("Miami", "US"));
    let (item, body) = shop.accept(&event(1, &old, &wrong));
    assert_eq!((&item["status"], body), (&json!("parked"), None), "{item}");
    let (item, body) = shop.accept(&event(2, &wrong, &right));
    assert_eq!(body, Some(json!({"city": "Miami"})), "{item}");
}

/// A source that compares two rows of a customer.
const IMAGES: &str = r#"
[auth]
kind = "none"
[body]
format = "json"
id = ".id"
type = '"changed"'
[events.changed]
schema = "shop.json"
customer.imprint_id = ".after.no"
when = ".after.active != false"
version = ".n"
version_domain = "sequence"
only_changed.before = ".before"
only_changed.after = ".after"
[events.changed.update]
email = ".after.email"
metadata.tier = ".after.tier"
"#;

/// FAULTS N1487: with `only_changed`, the source said nothing about the customer before the change: the condition left the
/// customer out, or the row had another customer's id or none. The update then has all fields.
#[test]
fn a_customer_that_was_not_sent_before_is_sent_as_a_whole() {
    let shop = Shop::start(IMAGES);
    let row = |no: &str, active: bool, tier: &str| json!({"no": no, "active": active, "email": "a@example.com", "tier": tier});
    let now = row("c1", true, "gold");
    let both = json!({"email": "a@example.com", "metadata": {"tier": "gold"}});
    let tier = json!({"metadata": {"tier": "gold"}});
    let with =
        |no: Value| json!({"no": no, "active": true, "email": "a@example.com", "tier": "silver"});
    let mut unknown = with(json!("c1"));
    unknown
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name == "email" || name == "tier");
    for (n, before, expected) in [
        (1, row("c1", true, "silver"), Some(tier.clone())),
        (2, row("c1", false, "silver"), Some(both.clone())),
        (3, row("c1", false, "gold"), Some(both.clone())),
        (4, row("c2", true, "gold"), Some(both.clone())),
        (5, with(json!(null)), Some(both)),
        // A row without the id and the member of the condition says nothing about them.
        (6, unknown, Some(tier)),
        (7, now.clone(), None),
    ] {
        let event = changed(n, &json!({"before": before, "after": now}));
        let (item, body) = shop.accept(&event);
        assert_eq!(body, expected, "{n}: {item}");
    }
}

/// FAULTS N1487: a condition that reads the row before the change says nothing about that row.
#[test]
fn a_condition_about_both_rows_is_not_asked_about_one() {
    let row = |no: &str, tier: &str| json!({"no": no, "active": true, "email": "a@example.com", "tier": tier});
    let now = row("c1", "gold");
    for (before, when, partial) in [
        (
            ".before",
            ".before == null or .after.tier != .before.tier",
            false,
        ),
        (".before", ".after.tier != .before.tier", false),
        (
            "select(.before != null) | .after + .before",
            ".after.tier != .before.tier",
            true,
        ),
        (
            "{no: .after.no, tier: .before.tier, email: .after.email}",
            ".after.tier != .before.tier",
            true,
        ),
        (".after.old", ".after.old.tier != .after.tier", false),
    ] {
        let rows = IMAGES
            .replace("\".after.active != false\"", &format!("'{when}'"))
            .replace("\".before\"", &format!("'{before}'"));
        let shop = Shop::start(&rows);
        let old = match partial {
            true => json!({"tier": "silver"}),
            false => row("c1", "silver"),
        };
        let mut after = now.clone();
        after
            .as_object_mut()
            .unwrap()
            .insert("old".to_owned(), old.clone());
        let event = changed(8, &json!({"before": old, "after": after}));
        let (item, body) = shop.accept(&event);
        assert_eq!(
            body.as_ref(),
            Some(&json!({"metadata": {"tier": "gold"}})),
            "{before} {when}: {item}"
        );
    }
}

/// FAULTS N392: a replay with the corrected mapping replaces the list of skipped fields.
#[test]
fn a_replay_with_another_mapping_skips_other_fields() {
    let source = SOURCE.replace(
        "[events.changed.update]",
        "address.country = \".country | alpha3\"\n[events.changed.update]",
    );
    let mut shop = Shop::start(&source);
    let event = json!({"city": "Paris", "country": "FR", "phone": "canary", "first": "Ada"});
    let (item, _) = shop.accept(&changed(1, &event));
    assert_eq!(
        (&item["status"], skipped(&item)),
        (&json!("parked"), vec![("phone", "/phone")])
    );
    shop.app.stop().unwrap();
    let corrected = source
        .replace(
            "'.phone | e164(\"US\")'",
            "'if .phone == \"canary\" then \"+14155552671\" else .phone end'",
        )
        .replace("first_name = \".first\"", "first_name = \".first.name\"")
        .replace("phone = \"skip\"\nstate", "first_name = \"skip\"\nstate")
        .replace("city = \".city\"", "");
    fs::write(shop.folder.path().join("shop.toml"), corrected).unwrap();
    shop.app.restart();
    assert_eq!(
        skipped(&shop.receipt("1")),
        [("phone", "/phone")],
        "the store keeps the list"
    );
    let replay = json!({"filter": {"reason": "foreign_address"}, "map_again": true});
    let replayed = shop.admin("POST /admin/v1/entries/replay", &replay);
    assert_eq!(replayed["replayed"], json!([1]), "{replayed}");
    shop.app
        .wait_for("delivery", |_| shop.receipt("1")["status"] == "delivered");
    assert_eq!(skipped(&shop.receipt("1")), [("first_name", "/first")]);
}

/// The commands name the skipped field, its error and the fields that are held back with it.
#[test]
fn the_commands_show_skipped_fields() {
    let shop = Shop::start(SOURCE);
    let folder = shop.folder.path();
    let event = changed(
        1,
        &json!({"first": "Ada", "phone": "canary", "city": "Reno", "state": "canary", "zip": "89501"}),
    );
    let file = folder.join("event.json");
    fs::write(&file, event.to_string()).unwrap();
    let settings = folder.join("settings.txt");
    fs::write(
        &settings,
        format!("sources_dir = {folder:?}\nschemas_dir = {folder:?}\n"),
    )
    .unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (settings, file) = (path(&settings), path(&file));
    let run = |more: &[&str]| {
        let arguments = [
            &["explain", "--config", &settings, "--source", "shop"],
            more,
        ]
        .concat();
        let output = commands::run(&arguments, "");
        let error = commands::text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{error}");
        let text = commands::text(&output.stdout);
        assert!(!text.contains("canary"), "{text}");
        text
    };
    let text = run(&[&file]);
    for expected in [
        "skipped: ",
        ", held back",
        "skipped, because the value is invalid: phone, state",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let json: Value = serde_json::from_str(&run(&["--json", &file])).unwrap();
    let targets = json["events"][0]["fields"].as_array().unwrap();
    let of = |name: &str| {
        targets
            .iter()
            .find(|target| target["target"] == name)
            .unwrap()
    };
    assert_eq!(
        (&of("phone")["says"], &of("phone")["fault"]["rule"]),
        (&json!("skipped"), &json!("e164"))
    );
    assert_eq!(of("city")["held_back"], true);
    let example: Value = serde_json::from_str(&run(&["--example", &file])).unwrap();
    assert_eq!(example["skipped"], json!(["phone", "state"]), "{example}");
}

/// `check` names the field and the words that the setting takes.
#[test]
fn check_names_a_wrong_setting() {
    for (from, to, expected) in [
        (
            "phone = \"skip\"",
            "phone = \"leave\"",
            "on_invalid.phone: must be \"refuse\" or \"skip\"",
        ),
        (
            "phone = \"skip\"",
            "phon = \"skip\"",
            "on_invalid.phon: must be a field that the table `update` sets: city, ",
        ),
        (
            "phone = \"skip\"",
            "version = \"skip\"",
            "on_invalid.version: must be a field",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = SOURCE.replacen(
            "[events.changed.on_invalid]\nemail = \"refuse\"\nphone",
            "[events.changed.on_invalid]\nphone",
            1,
        );
        let source = source.replacen(
            &format!("[events.changed.on_invalid]\n{from}"),
            &format!("[events.changed.on_invalid]\n{to}"),
            1,
        );
        let path = folder.path();
        fs::write(path.join("shop.toml"), source).unwrap();
        fs::write(path.join("shop.json"), "{}").unwrap();
        let settings = path.join("settings.txt");
        fs::write(
            &settings,
            format!("sources_dir = {path:?}\nschemas_dir = {path:?}\n"),
        )
        .unwrap();
        let output = commands::run(&["check", "--config", settings.to_str().unwrap()], "");
        let error = commands::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{expected} in {error}");
    }
}
