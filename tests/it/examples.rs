//! Tests of the example sources in `config/examples`: `check` accepts each source, and the bridge delivers an example
//! event of each source.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::commands;
use crate::support::{FakeImprint, TestApp, wait_for};

/// The example sources: the name, the sender's secret, and an example event that names a customer by Imprint id.
const SOURCES: [(&str, &str, &str); 3] = [
    (
        "debezium",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "row-in-snapshot",
    ),
    ("salesforce", "the-token-of-the-relay", "contact-updated"),
    ("segment", "the-shared-secret-of-segment", "user-identified"),
];

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples"))
}

/// Starts the bridge with copies of the example sources in `folder`, whose secret files are readable.
fn start(folder: &Path) -> TestApp {
    for (source, secret, _) in SOURCES {
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
    for (source, _, _) in SOURCES {
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
    let to = format!("http://{}", app.ingress());
    for (source, _, example) in SOURCES {
        let file = folder.path().join(format!("{source}.toml"));
        let body = examples()
            .join(source)
            .join(format!("{example}.event.json"));
        let expected = fs::read(body.with_file_name(format!("{example}.request.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let arguments = [
            "send",
            "--plain",
            "--quiet",
            "--to",
            &to,
            "--source",
            source,
            "--source-file",
            file.to_str().unwrap(),
            body.to_str().unwrap(),
        ];
        let sent = commands::run(&arguments, "");
        assert!(
            sent.status.success(),
            "{source}: {}",
            commands::text(&sent.stderr)
        );
        let found = wait_for(source, || applied(&app.imprint, &expected["path"]));
        assert_eq!(found, expected["body"], "{source}");
    }
}

/// Returns the body of the update that the sandbox applied to the customer in this request path.
fn applied(imprint: &FakeImprint, path: &Value) -> Option<Value> {
    let (_, customer) = path.as_str().unwrap().rsplit_once('/').unwrap();
    let mut taken = imprint.applied(customer).into_iter();
    taken.next().map(|call| call.body)
}
