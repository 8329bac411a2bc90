//! The right sources of CRMs that readers of the documentation brought to the bridge, and those in `config/examples`. The report
//! of `check` about each of them is in a file, so that a new note about a right source is seen.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::commands;

/// The sources of readers, each with the name of its secret file.
const READERS: [(&str, &str); 4] = [
    ("bitrix24", "secret"),
    ("gorgias", "token"),
    ("monday", "secret"),
    ("teamleader", "secret"),
];
/// With this variable, the test writes the reports to the files.
const WRITE: &str = "WRITE_REPORTS";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry
            .map(|entry| (entry.path(), to.join(entry.file_name())))
            .unwrap();
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, target).unwrap()),
        }
    }
}

/// Returns the report of `check` about the sources of a folder, without the lines about the configuration and without times.
fn report(folder: &Path, sources: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .arg("check")
        .current_dir(folder)
        .env("IMPRINT_BRIDGE__SOURCES_DIR", sources)
        .output()
        .unwrap();
    let text = commands::text(&output.stdout) + &commands::text(&output.stderr);
    let lines = text
        .lines()
        .filter(|line| !line.contains("runs in the jq interpreter"));
    let lines = lines.skip_while(|line| !line.starts_with("source "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Compares a report with the file that has it.
fn compare(found: &str, name: &str) {
    assert!(found.ends_with("no errors\n"), "{found}");
    let file = root().join(format!("tests/it/readers/{name}.report.txt"));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    assert_eq!(
        found, expected,
        "if the new report is right, run the test with {WRITE}=1, which writes the file"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// FAULTS N1508: a note of `check` about a right source hides the notes about wrong ones.
#[test]
fn the_report_about_a_right_source_has_no_new_note() {
    for (name, secret) in READERS {
        let copied = tempfile::tempdir().unwrap();
        copy(&root().join("tests/it/readers").join(name), copied.path());
        let file = copied.path().join(secret);
        fs::write(file, "a-secret-of-the-crm-0123456789").unwrap();
        compare(&report(copied.path(), "config/sources"), name);
    }
    compare(&report(root(), "config/examples"), "examples");
}
