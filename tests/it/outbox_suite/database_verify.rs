//! Tests of the verification of a store in PostgreSQL: every changed bit of a record, and of the audit log, is found and named.

use imprint_bridge::outbox::{
    AuditHead, AuditKeys, AuditProof, DatabaseAddress, RecordReport, Settings as _, VerifyReport,
    verify_database,
};

use super::damage::LATER;
use super::moved::move_into;
use super::sealed::{CLASSES, ring, sealed_template};
use super::*;
use crate::postgres::PostgresDatabase;

/// Every column with sealed values, with the column of the number of its record.
const COLUMNS: [(&str, &str, &str); 11] = [
    ("payload", "facts", "entry"),
    ("payload", "event", "entry"),
    ("payload", "errors", "entry"),
    ("payload", "detail", "entry"),
    ("entry", "skipped", "id"),
    ("lane", "versions", "id"),
    ("lane", "absence", "id"),
    ("lane", "received", "id"),
    ("audit", "reason", "number"),
    ("link", "ids", "partner"),
    ("meta", "value", "name"),
];

/// What a sealed value is bound to, with the statement that changes it.
const BOUND: [(&str, &str); 9] = [
    (
        "facts",
        "UPDATE imprint_bridge.payload SET lane = lane + 1 WHERE entry = $",
    ),
    (
        "facts",
        "UPDATE imprint_bridge.payload SET epoch = epoch + 1 WHERE entry = $",
    ),
    (
        "facts",
        "UPDATE imprint_bridge.payload SET value = value + 1 WHERE entry = $",
    ),
    (
        "facts",
        "UPDATE imprint_bridge.payload SET stated = NOT stated WHERE entry = $",
    ),
    (
        "facts",
        "UPDATE imprint_bridge.payload SET jump_max = coalesce(jump_max, 0) + 1 WHERE entry = $",
    ),
    (
        "facts",
        "UPDATE imprint_bridge.payload SET epoch = -1 WHERE entry = $",
    ),
    (
        "received",
        "UPDATE imprint_bridge.lane SET kind = 1 - kind WHERE id = $",
    ),
    (
        "received",
        "UPDATE imprint_bridge.lane SET customer = set_byte(customer, 9, get_byte(customer, 9) # 4) WHERE id = $",
    ),
    (
        "ids",
        "UPDATE imprint_bridge.link SET imprint = set_byte(imprint, 9, get_byte(imprint, 9) # 4) WHERE partner = $",
    ),
];

/// Changes of the audit log, each with the error that names it.
const TAMPERING: [(&str, &str); 17] = [
    (
        "UPDATE imprint_bridge.audit SET operator = 'bob' WHERE number = 3",
        "record 3 of the audit log is not",
    ),
    (
        "UPDATE imprint_bridge.audit SET entries = 9 WHERE number = 5",
        "record 5 of the audit log is not",
    ),
    (
        "UPDATE imprint_bridge.audit SET reason = NULL WHERE number = 2",
        "record 2 of the audit log is not",
    ),
    (
        "DELETE FROM imprint_bridge.audit WHERE number = 3",
        "record 4 of the audit log is not",
    ),
    (
        "DELETE FROM imprint_bridge.audit WHERE number = 5",
        "ends at record 4, but the store has written record 5",
    ),
    (
        "DELETE FROM imprint_bridge.audit WHERE number = 5; UPDATE imprint_bridge.audit_head SET number = 4",
        "ends at record 4, but the given head is record 5",
    ),
    (
        "UPDATE imprint_bridge.audit SET seal = set_byte(seal, 40, get_byte(seal, 40) # 1) WHERE number = 5",
        "record 5 of the audit log is not",
    ),
    (
        "DELETE FROM imprint_bridge.audit_head",
        "has lost the number of the newest record",
    ),
    (
        "UPDATE imprint_bridge.audit SET action = 'mode' WHERE number = 3",
        "record 3 of the audit log is not",
    ),
    (
        "UPDATE imprint_bridge.audit SET target = 'entry 9' WHERE number = 3",
        "record 3 of the audit log is not",
    ),
    (
        "UPDATE imprint_bridge.audit SET at = at + 1 WHERE number = 3",
        "record 3 of the audit log is not",
    ),
    // The first record is removed.
    (
        "DELETE FROM imprint_bridge.audit WHERE number = 1",
        "record 2 of the audit log is not",
    ),
    // A record is removed, and the gap is closed.
    (
        "DELETE FROM imprint_bridge.audit WHERE number = 3; UPDATE imprint_bridge.audit SET number = 3 WHERE number = 4;
         UPDATE imprint_bridge.audit SET number = 4 WHERE number = 5; UPDATE imprint_bridge.audit_head SET number = 4",
        "record 3 of the audit log is not",
    ),
    // Two records are swapped.
    (
        "UPDATE imprint_bridge.audit SET number = 99 WHERE number = 3; UPDATE imprint_bridge.audit SET number = 3 WHERE number = 4;
         UPDATE imprint_bridge.audit SET number = 4 WHERE number = 99",
        "record 3 of the audit log is not",
    ),
    // A record is appended with the seal of another.
    (
        "INSERT INTO imprint_bridge.audit SELECT 6, at, operator, action, target, entries, reason, seal
             FROM imprint_bridge.audit WHERE number = 5; UPDATE imprint_bridge.audit_head SET number = 6",
        "record 6 of the audit log is not",
    ),
    // The log is emptied.
    (
        "DELETE FROM imprint_bridge.audit; UPDATE imprint_bridge.audit_head SET number = 0",
        "no record of the audit log has a seal with a key",
    ),
    // An older database is in place.
    (
        "DELETE FROM imprint_bridge.audit WHERE number > 3; UPDATE imprint_bridge.audit_head SET number = 3",
        "ends at record 3, but the given head is record 5",
    ),
];

/// Changes the record with this number and writes its seal and all later seals again, as somebody without the key can.
fn rebuild_without_key(from: u64) -> String {
    format!(
        "DO $$
         DECLARE r record; f text; chain bytea;
         BEGIN
             UPDATE imprint_bridge.audit SET operator = 'bob' WHERE number = {from};
             SELECT seal INTO chain FROM imprint_bridge.audit WHERE number = {from} - 1;
             chain := coalesce(chain, '');
             FOR r IN SELECT * FROM imprint_bridge.audit WHERE number >= {from} ORDER BY number LOOP
                 FOREACH f IN ARRAY ARRAY[r.at::text, r.operator, r.action, r.target, r.entries::text,
                     CASE WHEN r.reason IS NULL THEN '' ELSE 'because' END] LOOP
                     chain := chain || set_byte(decode('0000000000000000', 'hex'), 0, octet_length(f)) || convert_to(f, 'UTF8');
                 END LOOP;
                 chain := sha256(chain);
                 UPDATE imprint_bridge.audit SET seal = chain WHERE number = r.number;
             END LOOP;
         END $$"
    )
}

/// Creates a store with sealed records of every kind.
async fn sealed_database() -> (PostgresDatabase, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    sealed_template(&path).await;
    let database = postgres::database();
    move_into(&path, &database, &[1], LATER);
    let outbox = database.open(ClaimBounds::default(), ring(&[1]));
    let evidence = "the evidence that Imprint works".to_owned();
    let stored = outbox.store_setting(Setting::Evidence, evidence).await;
    stored.unwrap();
    outbox.close();
    (database, folder)
}

fn verified(
    database: &PostgresDatabase,
    seeds: &[u8],
    proof: &AuditProof,
) -> (VerifyReport, RecordReport) {
    let address = DatabaseAddress {
        url: database.url(),
        ..DatabaseAddress::default()
    };
    let (mut progress, ring) = (0, ring(seeds));
    // A test possibly runs inside a runtime.
    let verified = std::thread::scope(|scope| {
        let verify = || verify_database(address, proof, &ring, &mut |records| progress = records);
        scope.spawn(verify).join().unwrap()
    });
    let (report, records) = verified.unwrap().unwrap();
    assert_eq!(progress, records.total());
    (report, records)
}

fn records(database: &PostgresDatabase, seeds: &[u8]) -> RecordReport {
    verified(database, seeds, &AuditProof::default()).1
}

/// Returns the first row of a column with a sealed value, as an SQL literal, and the number that the report names.
fn sealed_row(
    database: &PostgresDatabase,
    (table, column, id): (&str, &str, &str),
) -> (String, String) {
    let wanted = match table {
        "meta" => " AND name = 'evidence'",
        "link" => " AND imprint IS NOT NULL",
        _ => "",
    };
    let sql = format!(
        "SELECT quote_literal({id}::text) FROM imprint_bridge.{table}
         WHERE get_byte({column}, 0) = 1 AND length({column}) >= 73{wanted} ORDER BY {id} LIMIT 1"
    );
    let row = database.psql(&sql);
    assert!(!row.is_empty(), "no sealed {table}.{column}");
    let reported = match table {
        "meta" => "evidence 0".to_owned(),
        "link" => {
            let sql = format!(
                "SELECT ('x' || substr(encode(partner, 'hex'), 1, 16))::bit(64)::bigint FROM imprint_bridge.link WHERE partner::text = {row}"
            );
            let half: i64 = database.psql(&sql).parse().unwrap();
            format!("identity link {}", half.cast_unsigned())
        }
        _ => format!(" {}", row.trim_matches('\'')),
    };
    (row, reported)
}

/// FAULTS N1149: one changed bit in any class of bytes, in any kind of record, is found, and the record is named.
#[tokio::test]
async fn a_flipped_bit_of_any_record_in_a_database_is_found_and_named() {
    let (database, _folder) = sealed_database().await;
    let sound = records(&database, &[1]);
    assert_eq!(
        (sound.unreadable, sound.readable.plain),
        (0, 0),
        "{sound:?}"
    );
    let closed = records(&database, &[]);
    let locked: u64 = closed.locked.values().sum();
    assert_eq!((closed.unreadable, locked), (0, sound.total()));
    for place in COLUMNS {
        let (table, column, id) = place;
        let (row, reported) = sealed_row(&database, place);
        for (class, at) in CLASSES.into_iter().chain([("tag", usize::MAX)]) {
            let flip = format!(
                "UPDATE imprint_bridge.{table} SET {column} = set_byte({column}, least({at}, length({column}) - 1)::int,
                     get_byte({column}, least({at}, length({column}) - 1)::int) # 4) WHERE {id}::text = {row}",
                at = at.min(1_000_000)
            );
            database.psql(&flip);
            let found = records(&database, &[1]);
            assert_eq!(found.unreadable, 1, "{place:?} {class}: {found:?}");
            let listed = found.listed.join("");
            assert!(listed.contains(&reported), "{place:?} {class}: {listed}");
            database.psql(&flip);
        }
    }
    database.psql("UPDATE imprint_bridge.meta SET value = '\\x01ff' WHERE name = 'digest_key'");
    let found = records(&database, &[1]);
    assert!(found.listed[0].starts_with("digest key 0"), "{found:?}");
}

/// FAULTS N1149: a change of what a record is bound to is found, and the record is named.
#[tokio::test]
async fn a_changed_column_beside_a_record_in_a_database_is_found() {
    let (database, _folder) = sealed_database().await;
    for (column, change) in BOUND {
        let place = COLUMNS.into_iter().find(|place| place.1 == column).unwrap();
        let (row, reported) = sealed_row(&database, place);
        let before = database.psql(&format!(
            "SELECT t::text FROM imprint_bridge.{} t WHERE {}::text = {row}",
            place.0, place.2
        ));
        database.psql(&change.replace('$', &row));
        let found = records(&database, &[1]);
        assert_eq!(found.unreadable, 1, "{change}: {found:?}");
        assert!(found.listed[0].contains(&reported), "{change}: {found:?}");
        let restore = format!(
            "BEGIN; DELETE FROM imprint_bridge.{table} WHERE {id}::text = {row};
             INSERT INTO imprint_bridge.{table} SELECT ($row${before}$row$::imprint_bridge.{table}).*; COMMIT",
            table = place.0,
            id = place.2
        );
        database.psql(&restore);
        assert_eq!(records(&database, &[1]).unreadable, 0, "{change}");
    }
}

/// FAULTS N1149, N1445: each kind of tampering with the audit log is found.
#[tokio::test]
async fn a_changed_audit_log_in_a_database_is_found() {
    let database = postgres::database();
    let outbox = database.open(ClaimBounds::default(), ring(&[1]));
    let keys = AuditKeys::new(["a key of the audit log".to_owned().into()]);
    outbox.protect_audit(keys.clone(), NOW).await.unwrap();
    for number in 1..=4 {
        let event = AuditEvent {
            operator: "alice".to_owned(),
            action: "discard",
            target: format!("entry {number}"),
            reason: Some("because".to_owned()),
            at: NOW,
        };
        outbox.append_audit(event).await.unwrap();
    }
    let head: AuditHead = outbox.audit_head().await.unwrap();
    let proof = AuditProof {
        keys,
        head: Some(head),
    };
    let (report, _) = verified(&database, &[1], &proof);
    let seen = (report.audit_records, report.audit_head, report.keyed_from);
    assert_eq!(seen, (5, head, Some(1)));
    assert_eq!((&report.errors, report.unverified), (&Vec::new(), 0));
    let (without_key, _) = verified(&database, &[1], &AuditProof::default());
    assert_eq!(without_key.unverified, 5, "{without_key:?}");
    let foreign = AuditKeys::new(["another key of the audit log".to_owned().into()]);
    let foreign = AuditProof {
        keys: foreign,
        head: Some(head),
    };
    let (with_foreign_key, _) = verified(&database, &[1], &foreign);
    assert_eq!(with_foreign_key.unverified, 5, "{with_foreign_key:?}");
    let found_after = |change: &str, proof: &AuditProof| {
        database.psql("CREATE TABLE kept AS SELECT * FROM imprint_bridge.audit; CREATE TABLE kept_head AS SELECT * FROM imprint_bridge.audit_head");
        database.psql(change);
        let (report, _) = verified(&database, &[1], proof);
        database.psql(
            "DELETE FROM imprint_bridge.audit; DELETE FROM imprint_bridge.audit_head;
             INSERT INTO imprint_bridge.audit SELECT * FROM kept; INSERT INTO imprint_bridge.audit_head SELECT * FROM kept_head;
             DROP TABLE kept; DROP TABLE kept_head",
        );
        report.errors.join("; ")
    };
    for (change, error) in TAMPERING {
        let errors = found_after(change, &proof);
        assert!(errors.contains(error), "{change}: {errors}");
    }
    let rebuilt = rebuild_without_key(1);
    let unknown = found_after(&rebuilt, &AuditProof::default());
    assert_eq!(unknown, "", "the rebuilt chain is a chain without a key");
    for (from, error) in [(1, "no record"), (2, "record 2"), (5, "record 5")] {
        let errors = found_after(&rebuild_without_key(from), &proof);
        assert!(errors.contains(error), "rebuilt from {from}: {errors}");
    }
    database.psql("ALTER TABLE imprint_bridge.audit RENAME TO lost");
    let (report, _) = verified(&database, &[1], &proof);
    let errors = report.errors.join("; ");
    assert!(errors.contains("the table audit is missing"), "{errors}");
}

/// Damages of a store besides its records, each with the statement that repairs it and the error that names it.
const OTHER_DAMAGES: [(&str, &str, &str); 9] = [
    (
        "DROP INDEX imprint_bridge.lane_claimed",
        "CREATE INDEX lane_claimed ON imprint_bridge.lane (owner) WHERE owner IS NOT NULL",
        "the index lane_claimed is missing",
    ),
    (
        "ALTER TABLE imprint_bridge.budget RENAME TO lost",
        "ALTER TABLE imprint_bridge.lost RENAME TO budget",
        "the table budget is missing",
    ),
    (
        "ALTER TABLE imprint_bridge.layout RENAME TO lost",
        "ALTER TABLE imprint_bridge.lost RENAME TO layout",
        "the table layout is missing",
    ),
    (
        "ALTER TABLE imprint_bridge.origin RENAME COLUMN attempts TO lost",
        "ALTER TABLE imprint_bridge.origin RENAME COLUMN lost TO attempts",
        "the column origin.attempts is missing",
    ),
    (
        "ALTER TABLE imprint_bridge.lane ALTER COLUMN low TYPE bigint",
        "ALTER TABLE imprint_bridge.lane ALTER COLUMN low TYPE smallint",
        "the column lane.low is not as the bridge created it",
    ),
    (
        "UPDATE imprint_bridge.payload SET entry = entry + 1000 WHERE state = 0",
        "UPDATE imprint_bridge.payload SET entry = entry - 1000 WHERE state = 0",
        "waiting entries without their events: ",
    ),
    (
        "UPDATE imprint_bridge.lane SET id = id + 1000",
        "UPDATE imprint_bridge.lane SET id = id - 1000",
        "held entries without the row of their customer: ",
    ),
    (
        "UPDATE imprint_bridge.meta SET name = 'lost' WHERE name = 'digest_key'",
        "UPDATE imprint_bridge.meta SET name = 'digest_key' WHERE name = 'lost'",
        "the digest key is damaged",
    ),
    (
        "INSERT INTO imprint_bridge.meta VALUES ('source_orders', '\\x01ff')",
        "DELETE FROM imprint_bridge.meta WHERE name = 'source_orders'",
        "the setting source_orders is damaged",
    ),
];

/// Returns the errors of the report, or the error without a report.
fn errors(database: &PostgresDatabase) -> String {
    errors_at(database.url())
}

fn errors_at(url: String) -> String {
    let address = DatabaseAddress {
        url,
        ..DatabaseAddress::default()
    };
    let (proof, ring) = (AuditProof::default(), ring(&[1]));
    let verified = std::thread::scope(|scope| {
        let verify = || verify_database(address, &proof, &ring, &mut |_| {});
        scope.spawn(verify).join().unwrap()
    });
    match verified {
        Ok(Some((report, _))) => report.errors.join("; "),
        Ok(None) => "the database has no store".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// FAULTS N1305: each part of the layout that is missing or changed, each entry that lacks a row, and each damaged setting is
/// found.
#[tokio::test]
async fn a_damaged_store_in_a_database_is_found() {
    let (database, _folder) = sealed_database().await;
    assert_eq!(errors(&database), "");
    for (damage, repair, error) in OTHER_DAMAGES {
        database.psql(&format!("BEGIN; {damage}; COMMIT"));
        let found = errors(&database);
        assert!(found.contains(error), "{damage}: {found}");
        assert!(found.contains(": restore the store"), "{damage}: {found}");
        database.psql(&format!("BEGIN; {repair}; COMMIT"));
        assert_eq!(errors(&database), "", "{repair}");
    }
    database.psql("UPDATE imprint_bridge.lane SET due_at = NULL");
    assert!(errors(&database).contains("waiting entries without a time of their next request: "));
    // A store of an earlier program lacks this table until the next start.
    database.psql("DROP TABLE imprint_bridge.forgetting");
    assert!(!errors(&database).contains("forgetting"));
}

/// FAULTS N1305: the user of the database must not create a schema. The layout is not compared, and everything else is.
#[tokio::test]
async fn a_store_is_verified_without_the_right_to_create_a_schema() {
    let (database, _folder) = sealed_database().await;
    database.psql(
        "CREATE ROLE verifier LOGIN; GRANT USAGE ON SCHEMA imprint_bridge TO verifier;
         GRANT SELECT ON ALL TABLES IN SCHEMA imprint_bridge TO verifier;
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA imprint_bridge TO verifier",
    );
    let url = database.url().replace("user=bridge", "user=verifier");
    assert_eq!(errors_at(url.clone()), "");
    database.psql("UPDATE imprint_bridge.lane SET due_at = NULL");
    assert!(errors_at(url).contains("waiting entries without a time of their next request: "));
}

/// FAULTS N1305: an administrator has created the empty schema before the first start.
#[tokio::test]
async fn an_empty_schema_is_no_store() {
    let database = postgres::database();
    let none = "the database has no store";
    assert_eq!(errors(&database), none);
    database.psql("CREATE SCHEMA imprint_bridge");
    assert_eq!(errors(&database), none);
    database.psql("CREATE TABLE imprint_bridge.entry (id bigint)");
    assert!(errors(&database).contains("the table layout is missing"));
}
