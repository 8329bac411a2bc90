//! Tests of the command `diff`: it shows which requests a change of the sources changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http;
use crate::support::TestApp;

const TOKEN: &str = "op-canary-token-1";
const SOURCE: &str = r#"
ignore = ["viewed"]
[auth]
kind = "none"
[body]
format = "json"
split = ".[]"
id = ".id"
type = ".type"
on_invalid = "park"
[events.changed]
schema = "shop/changed.json"
customer.imprint_id = ".customer"
[events.changed.update]
email = ".email"
first_name = ".first"
phone = '.phone | e164("US")'
"#;

/// A folder with one version of the source `shop`.
struct Version(TempDir);

impl Version {
    fn new(source: &str) -> Self {
        let version = Self(tempfile::tempdir().unwrap());
        version.write("config/sources/shop.toml", source);
        version.write("schemas/shop/changed.json", r#"{"type": "object"}"#);
        version
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn example(self, name: &str, body: &Value) -> Self {
        let file = format!("config/sources/shop/{name}.event.json");
        self.write(&file, &body.to_string());
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the settings of a bridge that uses this version.
    fn settings(&self) -> PathBuf {
        let (sources, schemas) = (
            self.path().join("config/sources"),
            self.path().join("schemas"),
        );
        let settings = format!("sources_dir = {sources:?}\nschemas_dir = {schemas:?}\n");
        self.write("settings.toml", &settings);
        self.path().join("settings.toml")
    }
}

/// Runs `diff` from the earlier version to the later version.
fn diff(earlier: &Path, later: &Version, more: &[&str]) -> Output {
    let settings = later.settings();
    let first = [
        "diff",
        "--config",
        settings.to_str().unwrap(),
        "--against",
        earlier.to_str().unwrap(),
    ];
    commands::run(&[first.as_slice(), more].concat(), "")
}

#[track_caller]
fn lines(output: &Output, code: i32) -> String {
    let (text, error) = (
        commands::text(&output.stdout),
        commands::text(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{text}{error}");
    text
}

fn changed(id: &str, members: &Value) -> Value {
    let mut event = json!({"id": id, "type": "changed", "customer": "c1"});
    let members = members.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(members);
    event
}

fn first() -> Value {
    json!([changed(
        "1",
        &json!({"email": "canary@example.com", "first": "canary", "phone": "415 555 2671"})
    )])
}

/// FAULTS N1348: `--against` names the tree in use, or a name that is no directory in it.
#[test]
fn the_tree_in_use_is_no_earlier_version() {
    let later = Version::new(SOURCE).example("first", &first());
    for (folder, expected) in [
        ("", "--against names the tree in use"),
        ("main", "does not contain it. Check out an earlier commit"),
        (
            "config/sources",
            "does not contain it. Check out an earlier commit",
        ),
    ] {
        let output = diff(&later.path().join(folder), &later, &[]);
        let error = commands::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("did you mean"), "{error}");
    }
    // The same sources with other schemas are another version.
    let other = Version::new(SOURCE);
    let settings = format!(
        "sources_dir = {:?}\nschemas_dir = {:?}\n",
        later.path().join("config/sources"),
        other.path().join("schemas")
    );
    later.write("other.toml", &settings);
    let (file, against) = (later.path().join("other.toml"), later.path());
    let arguments = [
        "diff",
        "--config",
        file.to_str().unwrap(),
        "--against",
        against.to_str().unwrap(),
    ];
    let text = lines(&commands::run(&arguments, ""), 0);
    assert!(text.starts_with("0 different"), "{text}");
}

/// FAULTS N1059: `--against` names the folder of the settings, and not the directory around it.
#[test]
fn the_directory_above_the_folder_of_the_settings_is_named() {
    let earlier = Version::new(SOURCE).example("first", &first());
    let later = Version::new(SOURCE).example("first", &first());
    let output = diff(&earlier.path().join("config"), &later, &[]);
    let error = commands::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    let meant = format!("did you mean --against {}?", earlier.path().display());
    assert!(error.contains(&meant), "{error}");
}

/// FAULTS N394: two versions with the same results are equal, also if their files differ.
#[test]
fn equal_versions_have_no_differences() {
    let earlier = Version::new(SOURCE).example("first", &first());
    let later = SOURCE.replace(
        "email = \".email\"",
        "email = '.email | trim' # the same value",
    );
    let later = Version::new(&later).example("first", &first());
    let text = lines(&diff(earlier.path(), &later, &[]), 0);
    assert_eq!(text, "0 different, 2 equal\n");
}

/// FAULTS N1467: no example shows the mapping of an event type, so its change is not compared.
#[test]
fn an_event_type_without_an_example_is_named() {
    let earlier = Version::new(SOURCE);
    let later = Version::new(&SOURCE.replace(".email\"", ".email | upper\""));
    let output = diff(earlier.path(), &later, &[]);
    assert_eq!(lines(&output, 0), "0 different, 1 equal\n");
    let notice = commands::text(&output.stderr);
    let expected = "their mappings were not compared: shop/changed";
    assert!(notice.contains(expected), "{notice}");
    let json: Value =
        serde_json::from_str(&lines(&diff(earlier.path(), &later, &["--json"]), 0)).unwrap();
    assert_eq!(json["not_compared"], json!(["shop/changed"]), "{json}");
}

/// FAULTS N394: each field that differs is listed with both values, masked unless the user asks for the values.
#[test]
fn a_changed_field_is_listed_with_both_values() {
    let earlier = Version::new(SOURCE).example("first", &first());
    let later = SOURCE
        .replace("first_name = \".first\"\n", "metadata.name = \".first\"\n")
        .replace(".email\"", ".email | upper\"");
    let later = Version::new(&later).example("first", &first());
    let text = lines(&diff(earlier.path(), &later, &[]), 1);
    let expected = "example shop/first:\n  \
         email: ••• (text of 18) -> ••• (text of 18)\n  \
         first_name: ••• (text of 6) -> nothing\n  \
         metadata.name: nothing -> ••• (text of 6)\n1 different, 1 equal\n";
    assert_eq!(text, expected);
    let text = lines(&diff(earlier.path(), &later, &["--reveal"]), 1);
    assert!(
        text.contains("  email: canary@example.com -> CANARY@EXAMPLE.COM\n"),
        "{text}"
    );
    let json: Value =
        serde_json::from_str(&lines(&diff(earlier.path(), &later, &["--json"]), 1)).unwrap();
    assert_eq!(
        (&json["different"], &json["equal"]),
        (&json!(1), &json!(1)),
        "{json}"
    );
    let first = &json["results"][0];
    assert_eq!(first["compared"], "example shop/first");
    let name =
        json!({"event": null, "name": "first_name", "before": "••• (text of 6)", "after": null});
    assert_eq!(first["differences"][1], name, "{json}");
}

/// FAULTS N394: added and removed sources and types, another number of events, and refusals that become requests.
#[test]
fn other_outcomes_are_listed() {
    let batch = json!([
        changed("1", &json!({"email": "a@example.com"})),
        changed("2", &json!({"phone": "canary"})),
        {"id": "3", "type": "viewed"},
    ]);
    let single = changed("4", &json!({"email": "a@example.com"}));
    let earlier = Version::new(SOURCE)
        .example("batch", &batch)
        .example("single", &single);
    let later = SOURCE
        .replace("ignore = [\"viewed\"]", "ignore = [\"opened\"]")
        .replace("'.phone | e164(\"US\")'", "'.phone | e164(\"US\")?'")
        .replace("split = \".[]\"", "split = 'if .[0]? then .[] else . end'");
    let later = Version::new(&later)
        .example("batch", &batch)
        .example("single", &single);
    later.write(
        "config/sources/new.toml",
        &SOURCE.replace("imprint_id", "partner_id"),
    );
    let text = lines(&diff(earlier.path(), &later, &[]), 1);
    for expected in [
        "sources:\n  source new: nothing -> exists\n  source new, event type changed: nothing -> mapped\n",
        "  source shop, event type opened: nothing -> ignored\n  source shop, event type viewed: ignored -> nothing\n",
        "  event 1, error of phone at \"/1/phone\": e164 -> nothing\n  event 1, outcome: parked, invalid, unmappable -> ignored\n",
        "  event 2, outcome: ignored -> parked, invalid, unknown_event_type\n",
        "example shop/single:\n",
        "  outcome: refused, malformed -> request\n",
        "3 different, 0 equal\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    // The other direction shows the same results as removed.
    let text = lines(&diff(later.path(), &earlier, &[]), 1);
    assert!(text.contains("  source new: exists -> nothing\n"), "{text}");
    assert!(
        text.contains("  outcome: request -> refused, malformed\n"),
        "{text}"
    );
}

/// FAULTS N394: an example of the earlier version that the later version has changed or removed is compared too.
#[test]
fn a_changed_example_hides_nothing() {
    let earlier = Version::new(SOURCE)
        .example("first", &first())
        .example("old", &first());
    let later = SOURCE.replace("first_name = \".first\"\n", "");
    let other = json!([changed("1", &json!({"email": "a@example.com"}))]);
    let later = Version::new(&later).example("first", &other);
    let text = lines(&diff(earlier.path(), &later, &[]), 1);
    for name in ["first", "old"] {
        let expected = format!("example shop/{name} of the earlier version:\n  first_name: ");
        assert!(text.contains(&expected), "{text}");
    }
    assert!(text.ends_with("2 different, 2 equal\n"), "{text}");
}

/// FAULTS N395: a version that cannot be read is not a difference.
#[test]
fn a_version_that_cannot_be_read_has_its_own_exit_code() {
    let good = Version::new(SOURCE).example("first", &first());
    let bad = Version::new(&SOURCE.replace("e164", "e165"));
    let none = tempfile::tempdir().unwrap();
    for (earlier, later, expected) in [
        (bad.path(), &good, "e165"),
        (good.path(), &bad, "e165"),
        (
            none.path(),
            &good,
            "/config/sources cannot be read: No such file",
        ),
    ] {
        let output = diff(earlier, later, &[]);
        let text = commands::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let output = diff(
        good.path(),
        &good,
        &["--store", none.path().join("none.db").to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(2));
    let output = diff(good.path(), &good, &["--last", "5"]);
    assert_eq!(output.status.code(), Some(2), "--last needs --store");
}

const EVENTS: &str = "POST /v1/sources/shop/events";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Starts a paused bridge with a waiting event and an invalid event, and copies its store.
fn bridge_with_copy(version: &Version) -> (TestApp, PathBuf) {
    let settings = fs::read_to_string(version.settings()).unwrap();
    let setup = TestApp::setup().operator("alice", TOKEN).settings(settings);
    let mut app = setup.start();
    app.leave_waiting_entries();
    let ask = |line: &str, body: &Value| {
        let answer = app.ask_operator(TOKEN, line, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    ask(
        "POST /admin/v1/destination",
        &json!({"mode": "paused", "reason": "a test"}),
    );
    let body = json!([
        changed(
            "1",
            &json!({"email": "canary@example.com", "first": "canary"})
        ),
        changed("2", &json!({"phone": "canary"})),
    ]);
    let answer = http::ask(app.ingress(), EVENTS, &JSON, &body.to_string()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    ask("POST /admin/v1/store/backup", &json!({"name": "copy.db"}));
    let copy = app.files.store_file("copy.db");
    (app, copy)
}

fn compare(earlier: &Version, later: &Version, file: &Path, more: &[&str]) -> Output {
    let arguments = [&["--store", file.to_str().unwrap()], more].concat();
    diff(earlier.path(), later, &arguments)
}

/// FAULTS N930: a cleared field has no value, so its word is not masked as a text of 9 letters.
#[test]
fn a_cleared_field_is_not_masked() {
    let earlier = Version::new(&SOURCE.replace(".email", "null")).example("first", &first());
    let later = Version::new(SOURCE).example("first", &first());
    let text = lines(&diff(earlier.path(), &later, &[]), 1);
    let expected = "  email: (cleared) -> ••• (text of 18)\n";
    assert!(text.contains(expected), "{text}");
}

/// FAULTS N394: the stored events of a copy are compared, and the copy stays as it is.
#[test]
fn stored_events_are_compared() {
    let earlier = Version::new(SOURCE);
    let (_app, copy) = bridge_with_copy(&earlier);
    let before = fs::read(&copy).unwrap();
    let later = SOURCE.replace("first_name = \".first\"\n", "").replace(
        "'.phone | e164(\"US\")'",
        "'if .phone == \"canary\" then null else .phone end'",
    );
    let later = Version::new(&later);
    let text = lines(&compare(&earlier, &later, &copy, &[]), 1);
    assert!(!text.contains("canary"), "{text}");
    for expected in [
        "entry 1 of shop:\n  first_name: ••• (text of 6) -> nothing\n",
        "entry 2 of shop:\n",
        "  outcome: refused, unmappable -> request\n",
        "  phone: nothing -> (cleared)\n",
        "2 different, 1 equal\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let text = lines(&compare(&earlier, &later, &copy, &["--last", "1"]), 1);
    assert!(
        text.contains("entry 2 of shop") && !text.contains("entry 1 of shop"),
        "{text}"
    );
    assert_eq!(fs::read(&copy).unwrap(), before, "the copy stays as it is");
}

/// FAULTS N395: the store of a running bridge is refused, and the bridge goes on.
#[test]
fn the_store_of_a_running_bridge_is_left_alone() {
    let (earlier, version) = (Version::new(SOURCE), Version::new(SOURCE));
    let (app, _copy) = bridge_with_copy(&version);
    let output = compare(&earlier, &version, &app.files.store(), &[]);
    let error = commands::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("locked") && error.contains("store backup"),
        "{error}"
    );
    let body = json!([changed("3", &json!({}))]).to_string();
    let answer = http::ask(app.ingress(), EVENTS, &JSON, &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}
