//! The proof at the start that a database does what the store needs, and the command that runs the same proof.

use std::process::Output;
use std::sync::Arc;

use imprint_bridge::outbox::{
    ClaimBounds, DatabaseAddress, Durability, PostgresOpenError, PostgresOutbox,
};
use serde_json::{Value, json};

use crate::commands;
use crate::postgres::{PostgresDatabase, PostgresServer};
use crate::process::{Process, command, weakenings};
use crate::support::{FakeImprint, Files, KEY, email, post};

const DURABLE: &[&str] = &["synchronous_commit=on", "fsync=on"];

/// Makes a table of the database refuse or ignore a kind of change, as a database that keeps a promise of PostgreSQL only
/// in part.
fn sabotage(database: &PostgresDatabase, event: &str, body: &str) {
    database.psql(&format!(
        "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;
         CREATE TRIGGER sabotage BEFORE {event} ON imprint_bridge.proof FOR EACH ROW EXECUTE FUNCTION sabotage()"
    ));
}

fn files(imprint: &FakeImprint, database: &PostgresDatabase) -> Files {
    let settings = format!("[outbox]\nurl = \"{}\"", database.url());
    Files::write(imprint.address, KEY, &settings)
}

fn verify(database: &PostgresDatabase, more: &[&str]) -> (Output, String) {
    let url = database.url();
    let arguments = [&["store", "verify", "--url", &url], more].concat();
    let output = commands::run(&arguments, "");
    let printed = commands::text(&output.stdout);
    (output, printed)
}

/// FAULTS N968: a database that speaks the protocol of PostgreSQL does not keep its promises. The bridge does not start, and
/// names the promise.
#[test]
fn a_database_that_breaks_a_promise_holds_no_store() {
    let database = crate::postgres::database();
    let imprint = FakeImprint::start(|_| {});
    let files = files(&imprint, &database);
    let mut process = Process::serve(&files);
    process.ready();
    assert!(
        process
            .log()
            .contains("the database does what the store needs")
    );
    process.terminate();
    process.wait_for_exit();
    for (event, body, promise) in [
        ("UPDATE", "RETURN NULL", "ON CONFLICT"),
        (
            "INSERT",
            "NEW.epoch := NEW.epoch + 7; RETURN NEW",
            "ON CONFLICT",
        ),
        (
            "UPDATE",
            "IF OLD.id >= 20 AND NEW.owner = 1 THEN RETURN NULL; END IF; RETURN NEW",
            "SKIP LOCKED",
        ),
        (
            "UPDATE",
            "IF OLD.id = 40 AND NEW.owner IS NULL THEN RETURN NULL; END IF; RETURN NEW",
            "an old owner and epoch",
        ),
        (
            "UPDATE",
            "IF OLD.id = 50 THEN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END IF; RETURN NEW",
            "40001",
        ),
    ] {
        sabotage(&database, event, body);
        let output = command(&files).output().unwrap();
        let errors = commands::text(&output.stderr);
        assert!(!output.status.success(), "{promise}");
        assert!(errors.contains(promise), "{promise}: {errors}");
        assert!(errors.contains("PostgreSQL"), "{errors}");
        let (verified, printed) = verify(&database, &[]);
        assert_eq!(verified.status.code(), Some(2), "{printed}");
        let line = printed.lines().find(|line| line.contains(promise));
        assert!(line.is_some_and(|line| line.starts_with("NO")), "{printed}");
        database.psql("DROP FUNCTION sabotage() CASCADE");
    }
    assert_eq!(
        database.psql("SELECT count(*) FROM imprint_bridge.proof"),
        "0"
    );
}

/// `store verify --url` proves a database without a store, and leaves nothing in it.
#[test]
fn verify_proves_an_empty_database_and_leaves_nothing() {
    let server = Arc::new(PostgresServer::start_with(DURABLE));
    let database = server.database();
    let (verified, printed) = verify(&database, &[]);
    assert_eq!(verified.status.code(), Some(0), "{printed}");
    assert!(printed.starts_with("PostgreSQL "), "{printed}");
    assert_eq!(
        printed
            .lines()
            .filter(|line| line.starts_with("yes"))
            .count(),
        7
    );
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'imprint%'";
    assert_eq!(database.psql(schemas), "0");
    let (_, printed) = verify(&database, &["--json"]);
    let proof: Value = serde_json::from_str(&printed).unwrap();
    let proven = json!({"upsert": true, "isolation": true, "skip_locked": true, "locked_read": true, "fence": true, "conflict": true});
    assert_eq!(proof["proven"], proven);
    assert_eq!(proof["keeps_confirmed_commits"], true);
    assert!(proof["took_ms"].as_u64().unwrap() < 2_000, "{proof}");
    let output = commands::run(&["store", "verify", "--url", "postgres://u:secret@h/x"], "");
    let errors = commands::text(&output.stderr);
    assert!(
        errors.contains("must contain no password") && !errors.contains("secret"),
        "{errors}"
    );
    let more = ["--against", ".", "--store", "postgres://db/x"];
    let output = commands::run(&[&["diff"], &more[..]].concat(), "");
    let errors = commands::text(&output.stderr);
    assert!(errors.contains("must be a file of SQLite"), "{errors}");
}

/// FAULTS N969: a crash of the database can lose confirmed commits. The bridge shows it, and does not start with the profile
/// `production`.
#[test]
fn production_needs_confirmed_commits() {
    let server = Arc::new(PostgresServer::start_with(DURABLE));
    let database = server.database();
    let imprint = FakeImprint::start(|_| {});
    let files = files(&imprint, &database);
    let weak = "commits_lost".to_owned();
    let mut process = Process::serve(&files);
    assert!(!weakenings(process.ready().1).contains(&weak));
    process.terminate();
    process.wait_for_exit();
    let open = || {
        let address = DatabaseAddress {
            url: database.url(),
            durability: Durability::Required,
            ..DatabaseAddress::default()
        };
        PostgresOutbox::connect(address, 10, (ClaimBounds::default(), Arc::default()))
    };
    drop(open().unwrap());
    for level in ["remote_write", "local", "off"] {
        database.psql(&format!(
            "ALTER ROLE bridge SET synchronous_commit = {level}"
        ));
        // A pooler would go on with sessions that began before the change.
        database.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bridge' AND pid <> pg_backend_pid()");
        let refused = open().unwrap_err();
        let text = refused.to_string();
        assert!(
            matches!(refused, PostgresOpenError::LosesCommits(_)),
            "{text}"
        );
        assert!(
            text.contains(&format!("synchronous_commit is {level}")),
            "{text}"
        );
        let (verified, printed) = verify(&database, &[]);
        assert_eq!(verified.status.code(), Some(2), "{printed}");
    }
    let process = Process::serve(&files);
    assert!(weakenings(process.ready().1).contains(&weak));
    assert!(process.log().contains("can lose confirmed commits"));
}

/// FAULTS N1149: `store verify --url` opens the records of the store while a bridge uses it, and names a changed record.
#[test]
fn verify_opens_the_records_of_a_running_bridge() {
    let server = Arc::new(PostgresServer::start_with(DURABLE));
    let database = server.database();
    let imprint = FakeImprint::start(|_| {});
    let files = files(&imprint, &database);
    let process = Process::serve(&files);
    let headers = [("content-type", "application/cloudevents+json")];
    let body = email("E1", "c1", 1).json().to_string();
    let accepted = post(process.ready().0, &headers, &body).unwrap();
    assert_eq!(accepted.status, 202);
    let (verified, printed) = verify(&database, &[]);
    assert_eq!(verified.status.code(), Some(0), "{printed}");
    assert!(printed.contains("1 entries, "), "{printed}");
    assert!(printed.ends_with("no errors\n"), "{printed}");
    let update = "UPDATE imprint_bridge.lane SET customer = set_byte(customer, 0, get_byte(customer, 0) # 1)";
    database.psql(update);
    let (verified, _) = verify(&database, &[]);
    let errors = commands::text(&verified.stderr);
    assert_eq!(verified.status.code(), Some(2), "{errors}");
    assert!(errors.contains("customer of lane 1"), "{errors}");
    let (verified, printed) = verify(&database, &["--json"]);
    assert_eq!(verified.status.code(), Some(2));
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(answer["store"]["unreadable"], 1, "{answer}");
}
