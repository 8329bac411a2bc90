//! Tests of the guide in config/sources: everything that a reader copies from the guide works as printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use config::{File, FileFormat, Source as _, Value as Setting, ValueKind};
use imprint_bridge::sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::http;
use crate::support::{TestApp, seed};
use page::{Block, README, RECIPES, REFERENCE, Section, section, sections};

mod page;
mod reference;

/// The section of the first source.
const FIRST: &str = "A source in ten minutes";
/// The section of the shell commands that sign requests.
const SIGNED: &str = "Signed requests by hand";

/// A folder with the files of a source, as in the root folder of the repository.
struct SourceFolder(TempDir);

impl SourceFolder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(folder.examples()).unwrap();
        fs::create_dir_all(folder.path("schemas/shop")).unwrap();
        folder
    }

    /// Creates the folder of the first source of the guide, with its sample.
    fn of_the_guide() -> Self {
        let folder = Self::new();
        let guide = section(README, FIRST);
        folder.write("config/sources/shop.toml", &guide.text_of("toml"));
        folder.write(
            "schemas/shop/customer.v1.json",
            &guide.text_of("json schema"),
        );
        let sample = guide.text_of("json event");
        folder.write("config/sources/shop/updated.event.json", &sample);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn examples(&self) -> PathBuf {
        self.path("config/sources/shop")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Replaces the authentication of the source.
    fn authenticate(&self, auth: &str) {
        let guide = section(README, FIRST).text_of("toml");
        let line = guide.lines().find(|line| line.starts_with("kind = "));
        self.write(
            "config/sources/shop.toml",
            &guide.replace(line.unwrap(), auth),
        );
    }

    /// Runs a command of the bridge in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"));
        command.args(arguments).current_dir(self.0.path());
        command.output().unwrap()
    }

    /// Starts a bridge with the source, and with the customers of the seed file of the first source.
    fn serve(&self) -> TestApp {
        let sources = self.path("config/sources");
        let schemas = self.path("schemas");
        let settings = format!("sources_dir = {sources:?}\nschemas_dir = {schemas:?}");
        let mut app = TestApp::setup().settings(settings).start();
        // Most tests do not wait for the delivery of their event.
        app.leave_waiting_entries();
        let shell = section(README, FIRST).text_of("sh");
        let line = shell.lines().find(|line| line.starts_with("echo '"));
        let customers = line.unwrap().split('\'').nth(1).unwrap();
        seed(&app, &serde_json::from_str(customers).unwrap());
        app
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn output(output: &Output) -> String {
    commands::text(&output.stdout) + &commands::text(&output.stderr)
}

/// FAULTS N430: a new user copies the files of the first source, runs its commands, and sends its sample.
#[test]
fn the_first_source_works_as_printed() {
    let folder = SourceFolder::of_the_guide();
    let report = output(&folder.run(&["check"]));
    assert!(
        report.contains("has neither .request.json nor .refusal.json"),
        "{report}"
    );
    assert!(report.ends_with("1 error\n"), "{report}");

    let sample = "config/sources/shop/updated.event.json";
    let explained = folder.run(&["explain", "--source", "shop", sample]);
    assert!(output(&explained).contains("(cleared)"));
    let example = folder.run(&["explain", "--source", "shop", "--example", sample]);
    let example = commands::text(&example.stdout);
    let printed = section(README, FIRST).text_of("json request");
    assert_eq!(json(&example), json(&printed));
    folder.write("config/sources/shop/updated.request.json", &printed);
    let report = output(&folder.run(&["check"]));
    assert!(report.ends_with("no errors\n"), "{report}");

    let app = folder.serve();
    let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
    let line = "POST /v1/sources/shop/events";
    let body = fs::read_to_string(folder.path(sample)).unwrap();
    let post = || http::ask(app.ingress(), line, &headers, &body).unwrap();
    let accepted = post().json()["accepted"][0].clone();
    assert_eq!(accepted["status"], "delivered", "{accepted}");
    let id = accepted["id"].as_str().unwrap();
    let shown = section(README, FIRST).text_of("sh");
    let shown = shown.lines().find(|line| line.contains("\"accepted\""));
    let shown = shown
        .unwrap()
        .split('"')
        .find_map(|word| word.strip_suffix('…'));
    assert!(id.starts_with(shown.unwrap()), "{id}");
    let receipt = format!("GET /v1/sources/shop/events/{id}");
    let receipt = http::ask(app.ingress(), &receipt, &[], "").unwrap();
    assert_eq!(receipt.json()["status"], "delivered");
    assert_eq!(post().json()["accepted"][0]["duplicate"], true);
}

/// FAULTS N430: `check` accepts the settings of each recipe together with the settings of the first source, and each
/// event has the printed result.
#[test]
fn each_recipe_gives_the_printed_result() {
    let recipes = sections(RECIPES);
    let recipes: Vec<_> = recipes
        .iter()
        .filter(|recipe| recipe.blocks().iter().any(|block| block.kind == "toml"))
        .collect();
    assert!(recipes.len() >= 19, "{}", recipes.len());
    for recipe in recipes {
        let folder = recipe_folder(recipe);
        let examples = write_examples(recipe, &folder.examples());
        let checked = folder.run(&["check"]);
        let report = output(&checked);
        let title = &recipe.title;
        assert!(checked.status.success(), "{title}: {report}");
        let count = format!("  {examples} example");
        assert!(report.contains(&count), "{title}: {report}");
    }
}

/// Creates the folder of a recipe: its settings together with the settings of the first source.
fn recipe_folder(recipe: &Section) -> SourceFolder {
    let folder = SourceFolder::new();
    folder.write("schemas/any.json", "{}");
    let settings = merged(&first_settings(), &recipe.text_of("toml"));
    folder.write("config/sources/shop.toml", &settings);
    folder
}

/// FAULTS N430: the commands that save the results of all examples again make files that `check` accepts.
#[test]
fn the_results_of_all_examples_can_be_saved_again() {
    let script = section(RECIPES, "Save the results of all examples again").text_of("sh");
    let program = env!("CARGO_BIN_EXE_imprint-bridge");
    let script = script.replace("imprint-bridge", program);
    let save = |folder: &SourceFolder| {
        run_shell(folder, &script);
        let report = output(&folder.run(&["check"]));
        assert!(report.ends_with("no errors\n"), "{report}");
    };

    let folder = SourceFolder::of_the_guide();
    folder.write("config/sources/shop/refused.event.json", "{\"id\": 7}");
    folder.write("config/sources/shop/refused.request.json", "\"ignored\"");
    save(&folder);
    assert!(folder.examples().join("updated.request.json").exists());
    assert!(folder.examples().join("refused.refusal.json").exists());

    let recipe = section(RECIPES, "The event type and the event id in headers");
    let folder = recipe_folder(&recipe);
    write_examples(&recipe, &folder.examples());
    save(&folder);
    assert!(folder.examples().join("1.request.json").exists());
}

/// FAULTS N430: the bridge recognizes the second attempt of a sender that counts its attempts in the body, also if the
/// event id is a digest.
#[test]
fn the_recipe_for_attempts_recognizes_the_second_attempt() {
    let recipe = section(RECIPES, "A body that differs in each attempt");
    let mut attempts = recipe.blocks();
    attempts.retain(|block| block.kind == "json event");
    for id in [".event_id", "digest"] {
        let folder = recipe_folder(&recipe);
        let file = "config/sources/shop.toml";
        let settings = fs::read_to_string(folder.path(file)).unwrap();
        let settings = settings.replace("\".event_id\"", &json!(id).to_string());
        assert!(settings.contains(&format!("\"id\" = \"{id}\"")));
        folder.write(file, &settings);
        let app = folder.serve();
        let headers = [("content-type", "application/json")];
        let duplicates = attempts.iter().map(|attempt| {
            let line = "POST /v1/sources/shop/events";
            let answer = http::ask(app.ingress(), line, &headers, &attempt.text).unwrap();
            answer.json()["accepted"][0]["duplicate"].clone()
        });
        let duplicates: Vec<Value> = duplicates.collect();
        assert_eq!(duplicates, [json!(false), json!(true)], "{id}");
    }
}

/// FAULTS N430: the bridge accepts a signature that covers the path before the gateway, and denies a signature that
/// covers the path behind the gateway.
#[test]
fn the_recipe_for_gateways_verifies_the_path_of_the_crm() {
    let recipe = section(RECIPES, "A gateway that rewrites the path");
    let folder = recipe_folder(&recipe);
    let secret_file = folder.path("secret");
    folder.write("secret", "the-secret-of-the-shop");
    let settings = fs::read_to_string(folder.path("config/sources/shop.toml")).unwrap();
    let missing = "/run/secrets/imprint-bridge/sources/shop";
    assert!(settings.contains(missing));
    let settings = settings.replace(missing, secret_file.to_str().unwrap());
    folder.write("config/sources/shop.toml", &settings);
    folder.write("event.json", &recipe.text_of("json event"));
    let app = folder.serve();
    for (path, expected) in [("/hooks/crm", "202"), ("/v1/sources/shop/events", "401")] {
        let script = format!(
            "time=$(date +%s)\n\
             signature=$( (printf '%s.POST.{path}.' \"$time\"; cat event.json) \
               | openssl dgst -sha256 -hmac \"$(cat secret)\" -hex | sed 's/.* //')\n\
             curl -s -o answer -w '%{{http_code}}' http://127.0.0.1:8080/v1/sources/shop/events \
               -H 'content-type: application/json' --data-binary @event.json \
               -H \"x-timestamp: $time\" -H \"x-signature: $signature\""
        );
        assert_eq!(shell(&folder, &app, &script), expected, "{path}");
    }
}

/// FAULTS N430: `check` accepts each block of settings in the reference.
#[test]
fn each_block_of_the_reference_is_accepted() {
    let mut base = first_settings();
    base.insert(
        ["body", "split"].map(str::to_owned).to_vec(),
        json!(".changes[]").to_string(),
    );
    // The fields that the blocks name.
    for field in ["email", "phone", "metadata.birthday"] {
        let path = ["events", "customer", "update"].into_iter();
        let path = path.chain(field.split('.')).map(str::to_owned);
        base.insert(path.collect(), json!(format!(".{field}")).to_string());
    }
    let sections = sections(REFERENCE);
    let blocks = sections.iter().flat_map(Section::blocks);
    let blocks: Vec<Block> = blocks.filter(|block| block.kind == "toml").collect();
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for Block { text, .. } in blocks {
        let folder = SourceFolder::new();
        folder.write("schemas/any.json", "{}");
        folder.write("config/sources/shop.toml", &merged(&base, &text));
        let report = output(&folder.run(&["check"]));
        assert!(report.ends_with("no errors\n"), "{report}\n{text}");
    }
}

/// Writes the examples of a recipe: an event, its headers if it has some, and its result.
fn write_examples(recipe: &Section, folder: &Path) -> usize {
    let mut examples = 0;
    let mut kinds = Vec::new();
    for Block { kind, text } in recipe.blocks() {
        let ending = match kind.as_str() {
            "json event" => "event.json",
            "text headers" => "headers.txt",
            "json request" => "request.json",
            "json refusal" => "refusal.json",
            "toml" | "sh" => continue,
            _ => panic!("{}: a block is {kind:?}", recipe.title),
        };
        examples += usize::from(ending == "event.json");
        fs::write(folder.join(format!("{examples}.{ending}")), text).unwrap();
        kinds.push(ending);
    }
    let results = kinds.iter().filter(|kind| kind.starts_with("re")).count();
    assert_eq!(results, examples, "{}: {kinds:?}", recipe.title);
    examples
}

/// The settings of a source file, by path. A value is written as TOML.
type Settings = BTreeMap<Vec<String>, String>;

/// Returns the settings of the first source without its fields. All recipes add to these settings.
fn first_settings() -> Settings {
    let mut settings = parse(&section(README, FIRST).text_of("toml"));
    settings.retain(|path, _| !path.contains(&"update".to_owned()));
    settings.insert(
        ["events", "customer", "schema"].map(str::to_owned).to_vec(),
        json!("any.json").to_string(),
    );
    settings
}

/// Returns a source file with the settings of a recipe, and with the settings of the first source that the recipe does
/// not have. Each event type of the recipe gets the settings of the event type `customer`. A recipe without an event type
/// is about the event type `customer`.
fn merged(base: &Settings, recipe: &str) -> String {
    let mut settings = parse(recipe);
    let mut types: Vec<String> = settings
        .keys()
        .filter(|path| path[0] == "events")
        .map(|path| path[1].clone())
        .collect();
    if types.is_empty() {
        types.push("customer".to_owned());
    }
    for (path, value) in base {
        let paths = match path[0].as_str() {
            "events" => types
                .iter()
                .map(|name| {
                    let mut path = path.clone();
                    path[1].clone_from(name);
                    path
                })
                .collect(),
            _ => vec![path.clone()],
        };
        for path in paths {
            settings.entry(path).or_insert_with(|| value.clone());
        }
    }
    let line = |(path, value): (&Vec<String>, &String)| {
        let path: Vec<String> = path.iter().map(|key| json!(key).to_string()).collect();
        format!("{} = {value}\n", path.join("."))
    };
    settings.iter().map(line).collect()
}

fn parse(toml: &str) -> Settings {
    let file = File::from_str(toml, FileFormat::Toml);
    let table = file
        .collect()
        .unwrap_or_else(|error| panic!("{error}: {toml}"));
    let mut settings = Settings::new();
    flatten(Vec::new(), ValueKind::Table(table), &mut settings);
    settings
}

fn flatten(path: Vec<String>, value: ValueKind, settings: &mut Settings) {
    let value = match value {
        ValueKind::Table(table) => {
            for (key, value) in table {
                let mut path = path.clone();
                path.push(key);
                flatten(path, value.kind, settings);
            }
            return;
        }
        ValueKind::String(text) => json!(text),
        ValueKind::I64(number) => json!(number),
        ValueKind::Array(items) => items
            .into_iter()
            .map(Setting::into_string)
            .collect::<Result<Value, _>>()
            .unwrap(),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => panic!("{path:?}: no recipe has such a value"),
    };
    settings.insert(path, value.to_string());
}

/// FAULTS N430: the commands with `openssl` and `curl` post an event, and read the receipt of the event.
#[test]
fn the_commands_for_signed_requests_work() {
    let guide = section(README, SIGNED);
    for (kind, secret) in [
        (
            "standard_webhooks",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ),
        ("hmac", "the-secret-of-the-shop"),
    ] {
        let block = format!("sh {kind}");
        let folder = SourceFolder::of_the_guide();
        let secret_file = folder.path("secret");
        folder.write("secret", secret);
        let introduction = guide.introduction(&block).replace('\n', " ");
        let settings = page::code_spans(&introduction).into_iter();
        let settings: Vec<_> = settings.filter(|span| span.contains(" = ")).collect();
        let settings = settings.join("\n");
        assert!(settings.contains(kind), "{introduction}");
        folder.authenticate(&format!("{settings}\nsecret_files = [{secret_file:?}]"));
        let app = folder.serve();
        let answers = shell(&folder, &app, &guide.text_of(&block));
        let answers: Vec<Value> = answers.lines().map(json).collect();
        accepts(kind, &answers);
    }
}

/// FAULTS N430: the options of `curl` for tokens and passwords post an event, and read the receipt of the event.
#[test]
fn the_options_for_tokens_work() {
    let guide = section(README, SIGNED);
    let text = guide.lines.join(" ");
    let spans = page::code_spans(&text).into_iter();
    let options: Vec<_> = spans.filter(|span| span.starts_with('-')).collect();
    let auths = [
        "kind = \"bearer\"\ntoken_files",
        "kind = \"token\"\nheader = \"x-crm-token\"\ntoken_files",
        "kind = \"basic\"\nuser = \"crm\"\npassword_files",
    ];
    let options = options
        .into_iter()
        .filter(|span| span.contains("shop-secret"));
    let options: Vec<_> = options.collect();
    assert_eq!(options.len(), auths.len(), "{options:?}");
    for (option, auth) in options.into_iter().zip(auths) {
        let folder = SourceFolder::of_the_guide();
        folder.write("secret", "the-secret-of-the-shop");
        let secret_file = folder.path("secret");
        folder.authenticate(&format!("{auth} = [{secret_file:?}]"));
        let app = folder.serve();
        let curl = format!("curl -s {option} http://127.0.0.1:8080/v1/sources/shop/events");
        let event = "config/sources/shop/updated.event.json";
        let post = format!("{curl} -H 'content-type: application/json' --data-binary @{event}");
        let mut answers = vec![json(&shell(&folder, &app, &post))];
        let id = answers[0]["accepted"][0]["id"].as_str();
        let id = id.unwrap_or_else(|| panic!("{option}: {answers:?}"));
        let receipt = json(&shell(&folder, &app, &format!("{curl}/{id}")));
        answers.push(receipt);
        accepts(option, &answers);
    }
}

/// FAULTS N431: the sandbox accepts the printed seed file, and the guide describes every member of a customer.
#[test]
fn the_seed_file_is_complete() {
    let guide = section(README, "The customers of the sandbox");
    let seeds = Sandbox::parse_seed(guide.text_of("json seed").as_bytes());
    assert_eq!(seeds.unwrap().len(), 2);
    let described = guide.rows();
    let described: BTreeSet<&str> = described
        .iter()
        .flat_map(|row| page::code_spans(&row[0]))
        .collect();
    let Err(error) = Sandbox::parse_seed(br#"{"id": "C-1", "misspelt": "x"}"#) else {
        panic!("a misspelt member is accepted");
    };
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let (_, members) = cause.split_once("the members here are ").unwrap();
    let members: BTreeSet<&str> = members.split(", ").collect();
    assert_eq!(described, members);
}

/// Runs shell commands of the guide in a folder, with the address of the bridge and the secret file of the folder.
fn shell(folder: &SourceFolder, app: &TestApp, script: &str) -> String {
    let secret_file = folder.path("secret");
    let script = script
        .replace("127.0.0.1:8080", &app.ingress().to_string())
        .replace("/tmp/shop-secret", secret_file.to_str().unwrap());
    run_shell(folder, &script)
}

fn run_shell(folder: &SourceFolder, script: &str) -> String {
    let mut shell = Command::new("bash");
    let shell = shell.args(["-euo", "pipefail", "-c", script]);
    let output = shell.current_dir(folder.0.path()).output().unwrap();
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    assert!(output.status.success(), "{}", commands::text(stderr));
    commands::text(stdout)
}

/// Asserts that the first answer accepts an event, and that the second answer is the receipt of the event.
fn accepts(what: &str, answers: &[Value]) {
    let [accepted, receipt] = answers else {
        panic!("{what}: {answers:?}");
    };
    let accepted = &accepted["accepted"][0];
    assert_eq!(accepted["duplicate"], false, "{what}: {answers:?}");
    assert_eq!(accepted["id"], receipt["id"], "{what}");
    assert!(receipt["attempts"].is_u64(), "{what}: {receipt}");
}
