//! The sources in `config/examples`, which are there to be copied: they check out, and they run.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::commands;
use crate::support::{FakeImprint, TestApp, wait_for};

/// Each of them, what its sender signs with, and one of its examples that names a customer as Imprint does.
const SHOWN: [(&str, &str, &str); 3] = [
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

/// The sources with secrets that are there, checked and started.
fn start(folder: &Path) -> TestApp {
    for (source, secret, _) in SHOWN {
        let file = format!("{source}.toml");
        let shown = fs::read_to_string(examples().join(&file)).unwrap();
        let kept = folder.join(source);
        fs::write(&kept, secret).unwrap();
        let missing = format!("/run/secrets/imprint-bridge/sources/{source}");
        assert!(shown.contains(&missing), "{source}");
        let mended = shown.replace(&missing, kept.to_str().unwrap());
        fs::write(folder.join(file), mended).unwrap();
    }
    TestApp::setup()
        .settings(format!("sources_dir = {folder:?}"))
        .start()
}

#[test]
fn every_example_of_theirs_comes_to_what_stands_beside_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .arg("check")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("IMPRINT_BRIDGE__SOURCES_DIR", examples())
        .output()
        .unwrap();
    let said = commands::text(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        commands::text(&output.stderr)
    );
    for (source, _, _) in SHOWN {
        let files = fs::read_dir(examples().join(source)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let bodies = names.filter(|name| name.ends_with(".event.json")).count();
        assert!(
            bodies >= 10 && said.contains(&format!("  {bodies} examples\n")),
            "{said}"
        );
    }
    assert!(!said.contains("in no example"), "{said}");
}

#[test]
fn they_run_when_they_are_given_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    let to = format!("http://{}", app.ingress());
    for (source, _, example) in SHOWN {
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

/// The update that Imprint received for the customer with this path.
fn applied(imprint: &FakeImprint, path: &Value) -> Option<Value> {
    let (_, customer) = path.as_str().unwrap().rsplit_once('/').unwrap();
    let mut taken = imprint.applied(customer).into_iter();
    taken.next().map(|call| call.body)
}
