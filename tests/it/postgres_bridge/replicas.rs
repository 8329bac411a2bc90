//! Several bridges on one store in PostgreSQL.

use std::time::Duration;

use imprint_bridge::time::Clock;

use super::*;

/// The longest time until a change of the mode reaches every bridge.
const REACHES_ALL: Duration = Duration::from_secs(2);

#[expect(
    clippy::disallowed_methods,
    reason = "the test gives bridges the time to do something wrong"
)]
fn sleep(span: Duration) {
    std::thread::sleep(span);
}

fn mode(process: &Process) -> String {
    let destination = ask_operator(process, "GET /admin/v1/destination", "").json();
    destination["mode"].as_str().unwrap().to_owned()
}

/// Waits until a bridge has this mode. Panics if that takes longer than [`REACHES_ALL`].
#[track_caller]
pub(super) fn wait_for_mode(process: &Process, expected: &str) {
    let clock = Clock::machine();
    let since = clock.now();
    while mode(process) != expected {
        let took = clock.now().since(since);
        assert!(took < REACHES_ALL, "the mode is not {expected}");
        sleep(Duration::from_millis(20));
    }
}

/// FAULTS N1000: the mode that an operator sets at one bridge reaches every bridge within two seconds.
#[test]
fn the_mode_of_an_operator_reaches_every_bridge() {
    let database = crate::postgres::database();
    let imprint = imprint();
    let (files, other_files) = (files(&imprint, &database), files(&imprint, &database));
    let mut first = Process::serve(&files);
    let second = Process::serve(&other_files);
    assert_eq!(send(&second, &email("before", "c1", 1)).status, 202);
    wait_until_delivered(&second, "before");
    set_mode(&first, "paused");
    wait_for_mode(&second, "paused");
    let calls = imprint.calls().len();
    for customer in 1..=20 {
        let event = email(&format!("paused-{customer}"), &format!("c{customer}"), 2);
        assert_eq!(send(&second, &event).status, 202);
    }
    sleep(Duration::from_secs(1));
    assert_eq!(imprint.calls().len(), calls, "nothing is sent");
    set_mode(&second, "open");
    wait_for_mode(&first, "open");
    for customer in 1..=20 {
        wait_until_delivered(&first, &format!("paused-{customer}"));
    }
    // The change at the second bridge also reaches a bridge that then works alone.
    drop(second);
    assert_eq!(send(&first, &email("alone", "c99", 1)).status, 202);
    wait_until_delivered(&first, "alone");
    set_mode(&first, "shadow");
    first.child.kill().unwrap();
    first.wait_for_exit();
    let third = Process::serve(&other_files);
    assert_eq!(mode(&third), "shadow");
}

/// Returns whether the brake of the source is open at a bridge.
fn is_open(process: &Process) -> bool {
    let brakes = ask_operator(process, "GET /admin/v1/brakes", "").json();
    !brakes["brakes"][0]["open_until"].is_null()
}

/// FAULTS N1233: an operator opens and closes a brake at one bridge, and every bridge obeys within two seconds.
#[test]
fn an_open_brake_is_open_at_every_bridge() {
    let database = crate::postgres::database();
    let imprint = imprint();
    let files = [files(&imprint, &database), files(&imprint, &database)];
    let [mut first, second] = files.each_ref().map(Process::serve);
    let change = |process: &Process, seconds: u64| {
        let body = json!({"source": "crm", "open_seconds": seconds, "reason": "an import"});
        let answer = ask_operator(process, "POST /admin/v1/brakes", &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let wait = |process: &Process, expected: bool| {
        let clock = Clock::machine();
        let since = clock.now();
        while is_open(process) != expected {
            assert!(clock.now().since(since) < REACHES_ALL, "{expected}");
            sleep(Duration::from_millis(20));
        }
    };
    change(&first, 3600);
    wait(&second, true);
    change(&second, 0);
    wait(&first, false);
    change(&second, 3600);
    wait(&first, true);
    first.child.kill().unwrap();
    first.wait_for_exit();
    let [files, _] = &files;
    assert!(
        is_open(&Process::serve(files)),
        "a restart does not close it"
    );
}

/// The rate of the bridges in requests per second, and the burst: a quarter of the rate.
const RATE: usize = 20;
const BURST: usize = 5;

fn paced_files(imprint: &FakeImprint, database: &PostgresDatabase) -> Files {
    let files = files(imprint, database);
    let url = database.url();
    files.write_settings(&format!(
        "[outbox]\nurl = \"{url}\"\n[imprint]\nrate_per_second = {RATE}"
    ));
    files
}

/// Sends events of this many customers in batches.
fn send_many(process: &Process, customers: usize) {
    let events: Vec<_> = (0..customers)
        .map(|number| email(&format!("e-{number}"), &format!("c{number}"), 1))
        .map(|event| event.json().clone())
        .collect();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    for batch in events.chunks(20) {
        let body = serde_json::Value::from(batch).to_string();
        assert_eq!(
            post(process.ready().0, &headers, &body).unwrap().status,
            202
        );
    }
}

/// Returns the times of all requests to Imprint, in milliseconds.
fn times(imprint: &FakeImprint) -> Vec<i64> {
    let mut times: Vec<i64> = imprint.calls().iter().map(|call| call.at_ms).collect();
    times.sort_unstable();
    times
}

/// Returns the largest number of requests in any second.
fn most_in_a_second(times: &[i64]) -> usize {
    let of_second = times.iter().map(|from| {
        let second = times
            .iter()
            .filter(|at| (*from..from + 1_000).contains(*at));
        second.count()
    });
    of_second.max().unwrap()
}

/// Delivers backlogs with some bridges, and checks the rate of all requests. On a busy machine, the bridges can stand still
/// for longer than the bucket holds tokens, so they must use the rate for one of several backlogs.
fn deliver_at_the_rate(bridges: usize) {
    let is_used = (0..4).any(|_| uses_the_rate(bridges));
    assert!(is_used, "the bridges do not use the rate");
}

/// Delivers a backlog with some bridges. Returns whether they used 90 % of the rate. Panics if they exceeded the rate.
fn uses_the_rate(bridges: usize) -> bool {
    let customers = 6 * RATE;
    let (database, imprint) = (crate::postgres::database(), imprint());
    let files: Vec<Files> = (0..bridges)
        .map(|_| paced_files(&imprint, &database))
        .collect();
    let bridges: Vec<Process> = files.iter().map(Process::serve).collect();
    for bridge in &bridges {
        bridge.ready();
    }
    set_mode(&bridges[0], "paused");
    bridges
        .iter()
        .for_each(|bridge| wait_for_mode(bridge, "paused"));
    send_many(&bridges[0], customers);
    set_mode(&bridges[0], "open");
    wait_for("all customers are delivered", || {
        (imprint.calls().len() >= customers).then_some(())
    });
    let times = times(&imprint);
    // On a busy machine, a bridge can hold the tokens of one order for a moment before it sends.
    let most = RATE + 2 * BURST;
    assert!(most_in_a_second(&times) <= most, "{times:?}");
    // The second bridge learns of the mode up to a second later, and the first bridge alone can use the whole rate.
    let took = times[customers - 1] - times[0];
    let longest = i64::try_from(customers * 1_000 * 10 / (RATE * 9)).unwrap();
    assert_eq!(times.len(), customers, "no customer is updated twice");
    took <= longest
}

/// FAULTS N1001: two bridges share one rate limit, and use it.
#[test]
fn two_bridges_together_keep_the_rate() {
    deliver_at_the_rate(2);
}

/// FAULTS N1001: one bridge alone uses the whole rate.
#[test]
fn one_bridge_alone_uses_the_whole_rate() {
    deliver_at_the_rate(1);
}

/// FAULTS N1002: without the database, a bridge sends no more than the requests for which it has tokens; an idle bridge
/// orders no tokens.
#[test]
fn without_its_database_a_bridge_sends_nothing_further() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let files = paced_files(&imprint, &database);
    let bridge = Process::serve(&files);
    bridge.ready();
    sleep(Duration::from_secs(1));
    let orders = "SELECT count(*) FROM imprint_bridge.budget";
    assert_eq!(database.psql(orders), "0", "an idle bridge orders nothing");
    send_many(&bridge, 5 * RATE);
    wait_for("some requests", || {
        (imprint.calls().len() > RATE).then_some(())
    });
    database.refuse(true);
    let sent = imprint.calls().len();
    sleep(Duration::from_secs(3));
    let after = imprint.calls().len();
    assert!(after <= sent + 2 * BURST, "{sent} {after}");
    database.refuse(false);
    wait_for("the other requests", || {
        (imprint.calls().len() >= 5 * RATE).then_some(())
    });
    assert!(most_in_a_second(&times(&imprint)) <= RATE + 2 * BURST);
}

/// FAULTS N1172: the clock of the database goes back by an hour.
#[test]
fn a_bridge_keeps_its_rate_after_the_clock_of_the_database_has_gone_back() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let files = paced_files(&imprint, &database);
    let bridge = Process::serve(&files);
    send_many(&bridge, 3 * RATE);
    wait_for("some requests", || {
        (imprint.calls().len() > RATE).then_some(())
    });
    let sql = "UPDATE imprint_bridge.budget SET filled_at = filled_at + interval '1 hour'";
    database.psql(sql);
    wait_for("the other requests", || {
        (imprint.calls().len() >= 3 * RATE).then_some(())
    });
    assert!(most_in_a_second(&times(&imprint)) <= RATE + 2 * BURST);
}

/// FAULTS N1003: a wait that Imprint asks one bridge for binds every bridge.
#[test]
fn a_wait_that_imprint_asks_for_binds_every_bridge() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let (files, other_files) = (
        paced_files(&imprint, &database),
        paced_files(&imprint, &database),
    );
    let (first, second) = (Process::serve(&files), Process::serve(&other_files));
    first.ready();
    second.ready();
    send_many(&first, 8 * RATE);
    wait_for("some requests", || {
        (imprint.calls().len() > RATE).then_some(())
    });
    // One 429 answer is evidence against its customer only. If each bridge gets one, more answers follow at once.
    let action = json!({"status": 429, "retry_after": "5"});
    imprint.inject(&json!([{"for_ms": 2_000, "action": action}]));
    let throttled = || {
        let calls = imprint.calls().into_iter();
        let mut answers = calls.filter(|call| call.status == Some(429));
        answers.nth(1).map(|call| call.at_ms)
    };
    let refused = wait_for("Imprint asks for a wait", throttled);
    wait_for("the requests go on", || {
        (times(&imprint).last().unwrap() - refused > 4_500).then_some(())
    });
    // A look into the store takes at most about a second.
    let wait = refused + 1_500..refused + 4_500;
    let sent = times(&imprint)
        .iter()
        .filter(|at| wait.contains(*at))
        .count();
    assert_eq!(sent, 0, "requests during the wait");
}

/// Returns the number of requests to Imprint in this time from now.
fn calls_within(imprint: &FakeImprint, span: Duration) -> usize {
    let before = imprint.calls().len();
    sleep(span);
    imprint.calls().len() - before
}

/// Waits until a bridge has this state of the destination.
#[track_caller]
fn wait_for_state(process: &Process, expected: &str) {
    wait_for(&format!("the state is {expected}"), || {
        let destination = ask_operator(process, "GET /admin/v1/destination", "").json();
        (destination["state"] == expected).then_some(())
    });
}

/// FAULTS N1004, N1005: while Imprint is down, two bridges probe as seldom as one bridge, and a new bridge does not send at
/// the full rate. When Imprint is back, all events are delivered.
#[test]
fn two_bridges_probe_as_seldom_as_one() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let all_files: Vec<Files> = (0..3).map(|_| files(&imprint, &database)).collect();
    let first = Process::serve(&all_files[0]);
    let second = Process::serve(&all_files[1]);
    first.ready();
    second.ready();
    imprint.inject(&json!([{"action": {"status": 503}}]));
    send_many(&first, 100);
    wait_for_state(&first, "probing");
    wait_for_state(&second, "probing");
    sleep(Duration::from_secs(2));
    // One bridge sends at most one probe a second, of a lane that has not failed.
    let probes = calls_within(&imprint, Duration::from_secs(8));
    assert!((1..=10).contains(&probes), "{probes} probes");
    let third = Process::serve(&all_files[2]);
    third.ready();
    let probes = calls_within(&imprint, Duration::from_secs(5));
    assert!((1..=7).contains(&probes), "{probes} probes");
    drop(first);
    let probes = calls_within(&imprint, Duration::from_secs(8));
    assert!((1..=10).contains(&probes), "{probes} probes");
    imprint.sandbox.clear_faults();
    for customer in 0..100 {
        wait_until_delivered(&third, &format!("e-{customer}"));
    }
    wait_for_state(&second, "flowing");
    wait_for_state(&third, "flowing");
}

/// Moves the agreed state an hour ahead of the clock of the database.
const AN_HOUR_AHEAD: &str = "UPDATE imprint_bridge.agreed_state SET state = (
    SELECT s || jsonb_build_object('at', (s->>'at')::bigint + 3600000, 'sent_at', (s->>'sent_at')::bigint + 3600000,
        'probes', jsonb_build_array((s->'probes'->>0)::bigint + 3600000, (s->'probes'->>1)::bigint + 3600000))
    FROM (SELECT state::jsonb AS s) AS stored)::text";

/// FAULTS N1175: the clock of the database goes back by an hour while Imprint is down, and a bridge starts.
#[test]
fn a_new_bridge_probes_after_the_clock_of_the_database_has_gone_back() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let files = files(&imprint, &database);
    let mut first = Process::serve(&files);
    imprint.inject(&json!([{"action": {"status": 503}}]));
    send_many(&first, 40);
    wait_for_state(&first, "probing");
    let stored = "SELECT state::jsonb->>'state' FROM imprint_bridge.agreed_state";
    wait_for("the state is stored", || {
        (database.psql(stored) == "probing").then_some(())
    });
    first.terminate();
    first.wait_for_exit();
    database.psql(AN_HOUR_AHEAD);
    imprint.sandbox.clear_faults();
    let second = Process::serve(&files);
    for customer in 0..40 {
        wait_until_delivered(&second, &format!("e-{customer}"));
    }
}

/// FAULTS N1335, N1405: two bridges with one store that start together divide the limit of six customers between them, until one of
/// them stops.
#[test]
fn the_bridges_divide_the_limits_of_the_brake() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let url = database.url();
    let settings = format!("[outbox]\nurl = \"{url}\"\n[brake]\nmode = \"on\"\ncustomers_max = 6");
    let start = || {
        let files = Files::write(imprint.address, KEY, &settings);
        files.write_token("alice", TOKEN);
        (Process::serve(&files), files)
    };
    let ((mut first, _first_files), (second, _second_files)) = (start(), start());
    let is_held = |customer: usize, version: u64| {
        let id = format!("e{customer}-{version}");
        let event = email(&id, &format!("c{customer}"), version);
        let answer = send(&second, &event);
        assert_eq!(answer.status, 202, "{}", answer.body);
        receipt(second.ready().0, &id).unwrap().json()["status"] == "held"
    };
    let bridges = || {
        let brakes = ask_operator(&second, "GET /admin/v1/brakes", "").json();
        brakes["brakes"][0]["bridges"].clone()
    };
    // The second one may have started before the first one was registered.
    wait_for("the second bridge counts the first one", || {
        (bridges() == 2).then_some(())
    });
    let held: Vec<usize> = (1..=4).filter(|customer| is_held(*customer, 1)).collect();
    assert_eq!(held, [4], "its part is three customers");
    first.terminate();
    first.wait_for_exit();
    // The customers of held entries count too, each once.
    let mut versions = 1..;
    wait_for("the second bridge has the whole limit", || {
        let version = versions.next()?;
        (!is_held(5, version)).then_some(())
    });
    assert!(!is_held(6, 1) && is_held(7, 1));
}
