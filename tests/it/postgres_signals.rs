//! What a bridge shows about its database.

use imprint_bridge::sandbox::UnseededCustomer;
use serde_json::Value;

use crate::commands;
use crate::http::ask;
use crate::postgres::PostgresDatabase;
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, metric, wait_for};

/// A query for a report that keeps its snapshot.
const REPORT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep(60)";

#[track_caller]
fn wait_for_metric(process: &Process, name: &str, is_so: impl Fn(f64) -> bool) {
    let name = format!("database_{name}");
    wait_for(&name, || {
        let page = ask(process.ready().1, "GET /metrics", &[], "").ok()?.body;
        metric(&page, &name).filter(|value| is_so(*value))
    });
}

fn verify(database: &PostgresDatabase, more: &[&str]) -> String {
    let url = database.url();
    let output = commands::run(&[&["store", "verify", "--url", &url], more].concat(), "");
    commands::text(&output.stdout)
}

/// FAULTS N975: a session keeps an old snapshot, and a bridge loses its lease. The metrics show it, and `store verify --url`
/// names the session.
#[test]
fn a_bridge_shows_what_endangers_its_database() {
    let database = crate::postgres::database();
    std::thread::scope(|scope| {
        let report = scope.spawn(|| database.try_psql(REPORT));
        let pid = wait_for("the report has its snapshot", || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            Some(database.psql(sql)).filter(|pid| !pid.is_empty())
        });
        let imprint =
            FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created);
        let settings = format!("[outbox]\nurl = \"{}\"", database.url());
        let files = Files::write(imprint.address, KEY, &settings);
        let process = Process::serve(&files);
        wait_for_metric(&process, "oldest_snapshot_seconds", |age| age > 0.0);
        wait_for_metric(&process, "dead_rows", |rows| rows >= 0.0);
        wait_for_metric(&process, "lost_leases_total", |leases| leases < 0.5);
        database.psql("DELETE FROM imprint_bridge.replica");
        wait_for_metric(&process, "lost_leases_total", |leases| leases > 0.5);
        let printed = verify(&database, &[]);
        let named = format!("process {pid}, program \"psql\", active");
        assert!(printed.contains(&named), "{printed}");
        let proof: Value = serde_json::from_str(&verify(&database, &["--json"])).unwrap();
        assert_eq!(proof["oldest_snapshot"]["process"].to_string(), pid);
        assert!(proof["dead_rows"].is_u64(), "{proof}");
        database.psql(&format!("SELECT pg_terminate_backend({pid})"));
        assert!(report.join().unwrap().is_err());
        assert!(!verify(&database, &[]).contains(&named));
    });
}
