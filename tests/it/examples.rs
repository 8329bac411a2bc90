//! Tests of the example sources in `config/examples`: `check` accepts each source, and the bridge delivers an example
//! event of each source.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::commands;
use crate::http;
use crate::support::{FakeImprint, TestApp, seed, wait_for};

/// An example source, and an example of it that the bridge delivers.
struct ExampleSource {
    name: &'static str,
    secret: &'static str,
    example: &'static str,
    headers: &'static [&'static str],
}

const SOURCES: [ExampleSource; 6] = [
    ExampleSource {
        name: "debezium",
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        example: "row-in-snapshot",
        headers: &[],
    },
    ExampleSource {
        name: "dynamics",
        secret: "the-token-of-the-webhook",
        example: "contact-saved",
        headers: &[],
    },
    ExampleSource {
        name: "hubspot",
        secret: "the-client-secret-of-the-app",
        example: "contact-of-the-crm-api",
        headers: &[],
    },
    ExampleSource {
        name: "salesforce",
        secret: "the-token-of-the-relay",
        example: "contact-updated",
        headers: &[],
    },
    ExampleSource {
        name: "segment",
        secret: "the-shared-secret-of-segment",
        example: "user-identified",
        headers: &[],
    },
    ExampleSource {
        name: "shopify",
        secret: "the-client-secret-of-the-shop",
        example: "customer-updated",
        headers: &["x-shopify-topic: customers/update"],
    },
];
/// Imprint's id of a customer for which Shopify sends only the shop's own id.
const CUSTOMER_OF_SHOP: &str = "B7A1C2D3-0E4F-4567-8901-23456789ABCD";

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples"))
}

/// Starts the bridge with copies of the example sources in `folder`, whose secret files are readable.
fn start(folder: &Path) -> TestApp {
    for ExampleSource {
        name: source,
        secret,
        ..
    } in SOURCES
    {
        let file = format!("{source}.toml");
        let text = fs::read_to_string(examples().join(&file)).unwrap();
        let secret_file = folder.join(source);
        fs::write(&secret_file, secret).unwrap();
        let missing = format!("/run/secrets/imprint-bridge/sources/{source}");
        assert!(text.contains(&missing), "{source}");
        let readable = text.replace(&missing, secret_file.to_str().unwrap());
        fs::write(folder.join(file), readable).unwrap();
    }
    TestApp::setup()
        .settings(format!("sources_dir = {folder:?}"))
        .start()
}

#[test]
fn every_example_matches_its_expectation() {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .arg("check")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("IMPRINT_BRIDGE__SOURCES_DIR", examples())
        .output()
        .unwrap();
    let report = commands::text(&output.stdout);
    assert!(
        output.status.success(),
        "{report}{}",
        commands::text(&output.stderr)
    );
    for ExampleSource { name: source, .. } in SOURCES {
        let files = fs::read_dir(examples().join(source)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let bodies = names.filter(|name| name.ends_with(".event.json")).count();
        assert!(
            bodies >= 10 && report.contains(&format!("  {bodies} examples\n")),
            "{report}"
        );
    }
    assert!(!report.contains("in no example"), "{report}");
}

#[test]
fn the_sources_run_with_readable_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    let customer = json!({"id": CUSTOMER_OF_SHOP, "partner_customer_id": "7064055"});
    seed(&app, &customer);
    for ExampleSource {
        name: source,
        example,
        headers,
        ..
    } in SOURCES
    {
        let file = folder.path().join(format!("{source}.toml"));
        let body = examples()
            .join(source)
            .join(format!("{example}.event.json"));
        let expected = fs::read(body.with_file_name(format!("{example}.request.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let mut more = vec![
            "--plain",
            "--source-file",
            file.to_str().unwrap(),
            body.to_str().unwrap(),
        ];
        more.extend(headers.iter().flat_map(|header| ["--header", header]));
        let sent = commands::send(app.ingress(), source, &more, "");
        assert!(
            sent.status.success(),
            "{source}: {}",
            commands::text(&sent.stderr)
        );
        let found = wait_for(source, || applied(&app.imprint, &expected["path"]));
        assert_eq!(found, expected["body"], "{source}");
    }
}

/// A person who copies the output of `explain --example`, or of `check`, gets the results of all events of the body.
#[test]
fn the_proposed_results_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let source = fs::read_to_string(examples().join("hubspot.toml")).unwrap();
    let refusing = source.replace("on_invalid = \"park\"\n", "");
    fs::write(folder.path().join("hubspot.toml"), refusing).unwrap();
    let examples_of_source = folder.path().join("hubspot");
    fs::create_dir(&examples_of_source).unwrap();
    let change = |number: u32, property: &str, value: &str| {
        json!({
            "eventId": number, "portalId": 1, "objectId": number, "occurredAt": 1_739_473_687_250_u64,
            "subscriptionType": "contact.propertyChange", "propertyName": property, "propertyValue": value,
        })
    };
    let accepted = json!([change(1, "city", "Bend"), change(2, "lastname", "")]);
    let refused = json!([change(3, "phone", "none"), change(4, "state", "Oregonia")]);
    for (name, body) in [("accepted", &accepted), ("refused", &refused)] {
        let file = examples_of_source.join(format!("{name}.event.json"));
        fs::write(file, body.to_string()).unwrap();
    }
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("IMPRINT_BRIDGE__SOURCES_DIR", folder.path())
            .output()
            .unwrap();
        (
            commands::text(&output.stdout),
            commands::text(&output.stderr),
        )
    };
    let (report, errors) = run(&["check"]);
    for expected in [
        r#"{"body":{"city":"Bend""#,
        r#""cleared":["last_name""#,
        r#""rule":"e164""#,
        r#""rule":"us_state""#,
    ] {
        assert!(
            report.contains(expected) || errors.contains(expected),
            "{expected}: {report}{errors}"
        );
    }
    for (name, ending) in [("accepted", "request"), ("refused", "refusal")] {
        let event = examples_of_source.join(format!("{name}.event.json"));
        let event = event.to_str().unwrap();
        let (result, _) = run(&["explain", "--source", "hubspot", "--example", event]);
        let file = examples_of_source.join(format!("{name}.{ending}.json"));
        fs::write(file, result).unwrap();
    }
    let (report, errors) = run(&["check"]);
    assert!(report.contains("no errors"), "{report}{errors}");
}

/// FAULTS N91: a body of 230 KB names one long change and 400 records, so its events would take 90 MB.
#[test]
fn a_body_cannot_multiply_into_large_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = start(folder.path());
    // Imprint knows none of the customers, and nothing proves it.
    app.leave_waiting_entries();
    let file = examples().join("salesforce/contact-updated.event.json");
    let mut body: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let records = (0..400).map(|number| Value::from(format!("003Ab0000000{number:03}IAZ")));
    body["payload"]["ChangeEventHeader"]["recordIds"] = records.collect();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer the-token-of-the-relay"),
    ];
    let line = "POST /v1/sources/salesforce/events";
    let post = |body: &Value| http::ask(app.ingress(), line, &headers, &body.to_string()).unwrap();
    body["payload"]["Long__c"] = Value::from(vec!["x".repeat(60_000); 4]);
    let answer = post(&body);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:imprint-bridge:problem:unmappable");
    let error = &problem["faults"][0];
    assert_eq!(
        (error["rule"].as_str(), error["location"].as_str()),
        (Some("budget"), Some("body.split"))
    );
    let records = body["payload"]["ChangeEventHeader"]["recordIds"].as_array_mut();
    records.unwrap().truncate(50);
    body["payload"]["Long__c"] = Value::from("x".repeat(2_000));
    assert_eq!(
        post(&body).status,
        202,
        "50 records of one change are usual"
    );
}

/// Returns the body of the update that the sandbox applied to the customer in this request path.
fn applied(imprint: &FakeImprint, path: &Value) -> Option<Value> {
    let of_path = path.as_str().and_then(|path| path.rsplit_once('/'));
    let customer = of_path.map_or(CUSTOMER_OF_SHOP, |(_, customer)| customer);
    let mut taken = imprint.applied(customer).into_iter();
    taken.next().map(|call| call.body)
}
