//! Tests of the rotation of the API key with two configured keys.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::raw_imprint::RawImprint;
use crate::support::{KEY, TestApp, by_partner, email, wait_for};

const OLDER: &str = "sk_test_canary_older_key";
/// The time after which the bridge tries a refused newer key again.
const AGAIN_AFTER: Duration = Duration::from_mins(5);

/// A server that accepts one API key, and a bridge with two keys.
struct Rotation {
    app: TestApp,
    imprint: RawImprint,
    accepted: Arc<Mutex<&'static str>>,
    /// The customer that gets one 401 with every key.
    refused_once: Arc<Mutex<Option<String>>>,
    older: TempDir,
}

impl Rotation {
    fn start(accepted: &'static str) -> Self {
        let accepted = Arc::new(Mutex::new(accepted));
        let refused_once = Arc::new(Mutex::new(None::<String>));
        let (key, once) = (Arc::clone(&accepted), Arc::clone(&refused_once));
        let imprint = RawImprint::start(move |mut connection| {
            let (key, once) = (Arc::clone(&key), Arc::clone(&once));
            connection.serve(move |request| {
                let key = *key.lock().unwrap();
                answer(request, accepted_key(request, key, &once))
            });
        });
        let older = tempfile::tempdir().unwrap();
        let file = older.path().join("older");
        fs::write(&file, OLDER).unwrap();
        let settings = format!(
            "[imprint]\nbase_url = \"{}\"\nprevious_key_file = {file:?}",
            imprint.origin()
        );
        let mut app = TestApp::setup().settings(settings).manual_clock().start();
        app.leave_waiting_entries();
        Self {
            app,
            imprint,
            accepted,
            refused_once,
            older,
        }
    }

    fn accept_only(&self, key: &'static str) {
        *self.accepted.lock().unwrap() = key;
    }

    fn older_file(&self) -> PathBuf {
        self.older.path().join("older")
    }

    /// Sends an event, and lets time pass until the bridge has delivered it.
    #[track_caller]
    fn deliver(&self, id: &str) {
        self.app.accept(&email(id, &format!("C-{id}"), 1));
        wait_for(id, || {
            self.app.advance(Duration::from_secs(1));
            (self.app.receipt(id)["status"] == "delivered").then_some(())
        });
    }

    /// Returns the keys of all requests, oldest first: `N` for the newer key, `O` for the older key.
    fn keys(&self) -> String {
        let requests = self.imprint.requests().into_iter();
        let keys = requests.map(|request| match request.contains(OLDER) {
            true => 'O',
            false => 'N',
        });
        keys.collect()
    }

    fn advance(&self, span: Duration) {
        for _ in 0..span.as_secs() {
            self.app.advance(Duration::from_secs(1));
        }
    }
}

/// Returns the key that the server accepts for this request: no key if the request is about the customer that the server
/// refuses once.
fn accepted_key<'a>(request: &str, key: &'a str, once: &Mutex<Option<String>>) -> &'a str {
    let is_of = |customer: &mut String| request.contains(customer.as_str());
    let is_refused = request.contains(key) && once.lock().unwrap().take_if(is_of).is_some();
    if is_refused { "no key" } else { key }
}

fn answer(request: &str, key: &str) -> String {
    let is_known = request.contains(&format!("Bearer {key}\r\n"));
    let path = request.split(' ').nth(1).unwrap();
    let id = path.rsplit('/').next().unwrap();
    let body = format!("{{\"id\":\"{id}\"}}");
    if is_known {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    } else {
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned()
    }
}

/// FAULTS N547: the newer key comes first, then the older key until the newer key works, and then never again.
#[test]
fn the_older_key_serves_until_the_newer_key_works() {
    let rotation = Rotation::start(OLDER);
    rotation.deliver("e1");
    rotation.deliver("e2");
    let keys = rotation.keys();
    assert!(keys.starts_with('N') && keys.ends_with('O'), "{keys}");
    assert_eq!(keys.matches('N').count(), 1, "{keys}");

    // Imprint still refuses the newer key at the next try.
    rotation.advance(AGAIN_AFTER);
    rotation.deliver("e3");
    let keys = rotation.keys();
    assert!(keys.ends_with('O'), "{keys}");

    rotation.accept_only(KEY);
    rotation.advance(AGAIN_AFTER);
    rotation.deliver("e4");
    assert!(rotation.keys().ends_with('N'), "{}", rotation.keys());

    rotation.accept_only(OLDER);
    let before = rotation.keys().len();
    rotation.app.accept(&email("e5", "C-e5", 1));
    rotation.app.accept(&email("e6", "C-e6", 1));
    rotation.advance(2 * AGAIN_AFTER);
    wait_for("the destination is stopped", || {
        rotation.app.advance(Duration::from_secs(1));
        let stopped = rotation.app.metric("destination_state{state=\"stopped\"}");
        (stopped == Some(1.0)).then_some(())
    });
    let keys = rotation.keys();
    assert!(keys.chars().skip(before).all(|key| key == 'N'), "{keys}");
}

/// FAULTS N547
#[test]
fn two_wrong_keys_stop_the_destination() {
    let rotation = Rotation::start("sk_test_another_key");
    for id in ["e1", "e2", "e3"] {
        rotation.app.accept(&email(id, &format!("C-{id}"), 1));
    }
    wait_for("the destination is stopped", || {
        rotation.app.advance(Duration::from_secs(1));
        let stopped = rotation.app.metric("destination_state{state=\"stopped\"}");
        (stopped == Some(1.0)).then_some(())
    });
    let before = rotation.keys().len();
    let mut seconds = 0;
    let probes = wait_for("the probes have each key in turn", || {
        rotation.app.advance(Duration::from_secs(1));
        seconds += 1;
        let probes = rotation.keys().split_off(before);
        (probes.matches("ON").count() >= 3).then_some(probes)
    });
    let half_minutes = seconds / 30 + 1;
    assert!(probes.len() <= 2 * half_minutes + 1, "{probes} {seconds}");
    let stopped = rotation.app.metric("destination_state{state=\"stopped\"}");
    assert_eq!(stopped, Some(1.0));
    assert_eq!(rotation.app.metric("waiting_entries"), Some(3.0));
    rotation.accept_only(OLDER);
    wait_for("Imprint has every entry", || {
        rotation.app.advance(Duration::from_secs(1));
        (rotation.app.metric("waiting_entries") == Some(0.0)).then_some(())
    });
}

/// FAULTS N867: the bridge restarts during a rotation, while Imprint refuses the newer key.
#[test]
fn after_a_restart_the_older_key_serves_at_once() {
    const SECONDS_MAX: u64 = 5;
    for (known, count) in [(0, 1), (2, 1), (2, 3), (2, 40), (0, 40), (40, 40)] {
        let mut rotation = Rotation::start(OLDER);
        for customer in 0..known {
            rotation.deliver(&format!("known{customer}"));
        }
        rotation.app.stop().unwrap();
        rotation.app.restart();
        let restarted = rotation.app.now();
        let ids = (0..count).map(|number| match number < known {
            true => (format!("next{number}"), format!("C-known{number}")),
            false => (format!("new{number}"), format!("C-new{number}")),
        });
        let ids: Vec<_> = ids.collect();
        let events: Vec<_> = ids
            .iter()
            .map(|(id, customer)| email(id, customer, 2))
            .collect();
        assert_eq!(rotation.app.post_batch(&events).status, 202);
        for (id, _) in &ids {
            wait_for(id, || {
                rotation.app.advance(Duration::from_millis(100));
                (rotation.app.receipt(id)["status"] == "delivered").then_some(())
            });
        }
        let seconds = rotation.app.now().since(restarted).as_secs();
        let case = format!("{count} events, {known} customers were applied before");
        assert!(seconds <= SECONDS_MAX, "{case}: {seconds} s");
    }
}

/// FAULTS N720: one customer gets one 401 with the older key.
#[test]
fn one_refusal_of_one_customer_does_not_end_the_use_of_the_older_key() {
    for is_first in [false, true] {
        let rotation = Rotation::start(OLDER);
        if !is_first {
            rotation.deliver("e1");
            rotation.deliver("e2");
        }
        *rotation.refused_once.lock().unwrap() = Some("C-glitch".to_owned());
        rotation.app.accept(&email("glitch", "C-glitch", 1));
        wait_for("the refusal", || {
            rotation.app.advance(Duration::from_millis(100));
            rotation
                .refused_once
                .lock()
                .unwrap()
                .is_none()
                .then_some(())
        });
        let before = rotation.keys().len();
        for id in ["e3", "e4", "e5"] {
            rotation.app.accept(&email(id, &format!("C-{id}"), 1));
        }
        for id in ["e3", "e4", "e5", "glitch"] {
            wait_for(id, || {
                rotation.app.advance(Duration::from_millis(100));
                (rotation.app.receipt(id)["status"] == "delivered").then_some(())
            });
        }
        let keys = rotation.keys();
        assert!(!keys.get(before..).unwrap().contains('N'), "{keys}");
    }
}

/// FAULTS N721: the newer key is permitted to read, and not to update.
#[test]
fn a_key_that_can_only_read_does_not_end_the_use_of_the_older_key() {
    let older = tempfile::tempdir().unwrap();
    let file = older.path().join("older");
    fs::write(&file, OLDER).unwrap();
    let imprint = RawImprint::start(|mut connection| connection.serve(read_only));
    let settings = format!(
        "[imprint]\nbase_url = \"{}\"\nprevious_key_file = {file:?}",
        imprint.origin()
    );
    let mut app = TestApp::setup().settings(settings).manual_clock().start();
    app.leave_waiting_entries();
    for id in ["e1", "e2", "e3"] {
        app.accept(&by_partner(id, &format!("P-{id}"), 1));
    }
    for id in ["e1", "e2", "e3"] {
        wait_for(id, || {
            app.advance(Duration::from_millis(100));
            (app.receipt(id)["status"] == "delivered").then_some(())
        });
    }
}

/// Answers as an Imprint whose older key can do everything, and whose other keys can only read.
fn read_only(request: &str) -> String {
    let path = request.split(' ').nth(1).unwrap();
    let (status, body) = if let Some((_, query)) = path.split_once("partner_customer_id=") {
        let partner = query.split('&').next().unwrap();
        let id = partner.replace("P-", "C-");
        let hit = format!("{{\"id\":\"{id}\",\"partner_customer_id\":\"{partner}\"}}");
        let page = format!("{{\"data\":[{hit}],\"has_more\":false,\"total\":1}}");
        ("200 OK", page)
    } else if request.starts_with("POST") && !request.contains(OLDER) {
        ("403 Forbidden", String::new())
    } else {
        let id = path.rsplit('/').next().unwrap();
        ("200 OK", format!("{{\"id\":\"{id}\"}}"))
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// FAULTS N611: the file of the older key is gone, unusable or a pipe, and the newer key is replaced.
#[test]
fn a_lost_older_key_does_not_stop_the_rotation() {
    const NEXT: &str = "sk_test_canary_next_key";
    for content in [None, Some("")] {
        let rotation = Rotation::start(KEY);
        rotation.deliver("e1");
        match content {
            None => fs::remove_file(rotation.older_file()).unwrap(),
            Some(content) => fs::write(rotation.older_file(), content).unwrap(),
        }
        rotation.accept_only(NEXT);
        rotation.app.files.write_key(NEXT);
        rotation.deliver("e2");
        let failures = "secret_read_failures_total{secret=\"imprint\"}";
        assert!(rotation.app.metric(failures).unwrap() > 0.0);
    }
}

/// FAULTS N611: the older key ends a minute after its file, and the API key stays in use without its file.
#[test]
fn the_older_key_ends_with_its_file_and_the_api_key_does_not() {
    let rotation = Rotation::start(OLDER);
    rotation.deliver("e1");
    rotation.app.files.remove_key();
    rotation.advance(Duration::from_secs(9));
    fs::remove_file(rotation.older_file()).unwrap();
    rotation.advance(Duration::from_secs(30));
    rotation.deliver("e2");
    assert!(rotation.keys().ends_with('O'), "{}", rotation.keys());
    rotation.accept_only(KEY);
    let seen = rotation.keys().len();
    wait_for("the older key ends", || {
        rotation.app.advance(Duration::from_secs(3));
        let failures = "secret_read_failures_total{secret=\"imprint\"}";
        (rotation.app.metric(failures).unwrap() > 60.0).then_some(())
    });
    rotation.deliver("e3");
    let keys = rotation.keys();
    assert!(keys.chars().skip(seen).all(|key| key == 'N'), "{keys}");
}
