//! Tests of the notices: what the webhook of the operators receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::commands;
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{Event, KEY, TestApp, email};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A receiver of notices, with the file of its secret.
struct Receiver {
    server: RawImprint,
    folder: TempDir,
}

impl Receiver {
    /// Starts a receiver with this script for each connection.
    fn start(script: impl Fn(Accepted) + Send + Sync + 'static) -> Self {
        let receiver = Self {
            server: RawImprint::start(script),
            folder: tempfile::tempdir().unwrap(),
        };
        receiver.write_secret(SECRET);
        receiver
    }

    /// Starts a receiver that confirms each notice.
    fn confirming() -> Self {
        Self::start(|mut accepted| accepted.serve(|_| answer("204 No Content")))
    }

    fn write_secret(&self, secret: &str) {
        let draft = self.folder.path().join("new");
        std::fs::write(&draft, format!("{secret}\n")).unwrap();
        std::fs::rename(draft, self.folder.path().join("secret")).unwrap();
    }

    fn settings(&self) -> String {
        format!(
            "[notices]\nurl = \"{}/hooks/bridge?team=cards\"\nsecret_file = {:?}\ninstance = \"bridge-0\"\n",
            self.server.origin(),
            self.folder.path().join("secret"),
        )
    }

    /// Returns the requests with notices of this name, in the order of their arrival.
    fn notices(&self, name: &str) -> Vec<Received> {
        let requests = self.server.requests();
        let received = requests.iter().map(|request| Received::parse(request));
        received
            .filter(|received| received.body["data"]["name"] == name)
            .collect()
    }
}

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}

fn last_answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
}

/// A request with a notice.
#[derive(Debug)]
struct Received {
    text: String,
    id: String,
    timestamp: String,
    signature: String,
    body: Value,
}

impl Received {
    fn parse(request: &str) -> Self {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /hooks/bridge?team=cards HTTP/1.1\r\n"),
            "{head}"
        );
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).unwrap()
        };
        assert_eq!(header("content-type"), "application/json");
        Self {
            text: body.to_owned(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body: serde_json::from_str(body).unwrap(),
        }
    }

    /// Checks the signature as Standard Webhooks 1.0 describes it, without code of the bridge.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.text);
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        self.signature == format!("v1,{signature}")
    }

    fn data(&self) -> &Value {
        &self.body["data"]
    }
}

/// FAULTS N1038: Imprint is down, and the team has no Alertmanager.
#[test]
fn an_outage_has_a_signed_notice_at_its_begin_and_at_its_end() {
    let receiver = Receiver::confirming();
    let app = TestApp::setup()
        .manual_clock()
        .settings(receiver.settings())
        .start();
    app.imprint.inject(&json!({"action": {"status": 503}}));
    app.accept(&email("canary-event", "canary-customer", 1));
    let name = "ImprintBridgeNotDelivering";
    let step = Duration::from_secs(20);
    app.advance_until("the notice of the outage arrives", step, |_| {
        receiver.notices(name).len() == 1
    });
    let raised = receiver.notices(name).remove(0);
    assert!(raised.is_signed_with(SECRET), "{raised:?}");
    assert_eq!(raised.body["type"], "notice.raised");
    assert_eq!(raised.data()["severity"], "critical");
    assert_eq!(raised.data()["instance"], "bridge-0");
    assert_eq!(raised.data()["resolved"], Value::Null);
    let runbook = "deploy/RUNBOOK.md#imprintbridgenotdelivering";
    assert_eq!(raised.data()["runbook"], runbook);
    assert!(
        raised.data()["value"].as_u64().unwrap() >= 900,
        "{raised:?}"
    );
    app.imprint.sandbox.clear_faults();
    app.advance_until("the notice of the end arrives", step, |_| {
        receiver.notices(name).len() == 2
    });
    let resolved = receiver.notices(name).remove(1);
    assert!(resolved.is_signed_with(SECRET), "{resolved:?}");
    assert_eq!(resolved.body["type"], "notice.resolved");
    assert_eq!(resolved.data()["key"], raised.data()["key"]);
    assert_eq!(resolved.data()["since"], raised.data()["since"]);
    assert_ne!(resolved.id, raised.id);
    app.wait_until("canary-event", "delivered");
    for request in receiver.server.requests() {
        assert!(!request.contains("canary"), "{request}");
    }
    assert_eq!(receiver.notices(name).len(), 2, "once per change");
    let sent = app.metric("notices_total{result=\"sent\"}").unwrap();
    assert!(sent >= 2.0, "{sent}");
}

/// FAULTS N1039: the receiver fails, redirects and hangs before it confirms a notice.
#[test]
fn a_broken_receiver_gets_the_same_notice_again_and_delays_no_event() {
    let is_given_up = Arc::new(AtomicBool::new(false));
    let gives_up = Arc::clone(&is_given_up);
    let receiver = Receiver::start(move |mut accepted| {
        if accepted.request().is_none() {
            return;
        }
        let sent = match accepted.number {
            0 => accepted.send(&last_answer("500 Internal Server Error")),
            1 => accepted.send(&last_answer("302 Found\r\nlocation: /elsewhere")),
            2 => {
                accepted.until_closed();
                return gives_up.store(true, Ordering::SeqCst);
            }
            3 => return,
            _ => accepted.send(&last_answer("200 OK")),
        };
        sent.unwrap();
    });
    let name = "ImprintBridgeMassChangeHeld";
    let brake = "[brake]\nmode = \"on\"\nsame_value_max = 2\n";
    let app = TestApp::setup()
        .manual_clock()
        .settings(format!("{brake}{}", receiver.settings()))
        .start();
    for number in 0..4 {
        let event = Event::new(&format!("e{number}"), &format!("c{number}"), 1);
        app.accept(&event.email("same@example.com"));
    }
    app.wait_until("e3", "held");
    let step = Duration::from_secs(5);
    app.advance_until("the receiver hangs", step, |_| {
        receiver.server.requests().len() == 3
    });
    for number in 0..20 {
        let id = format!("meanwhile-{number}");
        app.accept(&email(&id, &id, 1));
        app.wait_until(&id, "delivered");
    }
    assert_eq!(
        receiver.server.requests().len(),
        3,
        "the receiver still hangs"
    );
    app.wait_for("the bridge gives up the attempt", |_| {
        is_given_up.load(Ordering::SeqCst)
    });
    app.advance_until("the receiver confirms", step, |app| {
        let sent = app.metric("notices_total{result=\"sent\"}");
        receiver.notices(name).len() == 5 && sent >= Some(1.0)
    });
    let received = receiver.notices(name);
    for again in &received {
        assert_eq!(
            (&again.id, &again.text),
            (&received[0].id, &received[0].text)
        );
        assert!(again.is_signed_with(SECRET), "{again:?}");
    }
    assert_eq!(app.metric("notices_total{result=\"failed\"}"), Some(0.0));
}

/// FAULTS N1040: operators rotate the secret while the bridge runs.
#[test]
fn the_secret_of_the_notices_changes_without_a_restart() {
    let receiver = Receiver::confirming();
    let app = TestApp::setup()
        .manual_clock()
        .key("sk_wrong")
        .settings(receiver.settings())
        .start();
    app.accept(&email("e1", "c1", 1));
    let name = "ImprintBridgeStopped";
    let step = Duration::from_secs(5);
    app.advance_until("the key is refused", step, |_| {
        !receiver.notices(name).is_empty()
    });
    assert!(receiver.notices(name)[0].is_signed_with(SECRET));
    receiver.write_secret(NEW_SECRET);
    app.files.write_key(KEY);
    app.advance_until("both secrets have changed", step, |app| {
        app.receipt("e1")["status"] == "delivered" && receiver.notices(name).len() == 2
    });
    let resolved = receiver.notices(name).remove(1);
    assert_eq!(resolved.body["type"], "notice.resolved");
    assert!(resolved.is_signed_with(NEW_SECRET), "{resolved:?}");
}

/// FAULTS N1037, N1041: wrong settings stop the start, and no message has the secret or the path of the URL.
#[test]
fn wrong_settings_of_the_notices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let good = file("good", SECRET);
    let bad = file("bad", "canary-secret");
    let absent = folder.path().join("absent").display().to_string();
    for (url, secret, expected) in [
        (
            "https://hooks.example/canary",
            "",
            "needs notices.secret_file",
        ),
        ("", good.as_str(), "needs notices.url"),
        // FAULTS N1209: the faulty setting is the only error.
        ("http://hooks.example/canary", &good, "must be https"),
        ("https://10.0.0.1/canary", &good, "not an IP address"),
        ("https://hooks.example/canary", &bad, "whsec_"),
        ("https://hooks.example/canary", &absent, "absent"),
    ] {
        let root = env!("CARGO_MANIFEST_DIR");
        let folders =
            format!("sources_dir = \"{root}/config/sources\"\nschemas_dir = \"{root}/schemas\"");
        let settings =
            format!("{folders}\n[notices]\nurl = \"{url}\"\nsecret_file = \"{secret}\"\n");
        let settings = file("settings.toml", &settings);
        let output = commands::run(&["check", "--config", &settings], "");
        let errors = commands::text(&output.stderr) + &commands::text(&output.stdout);
        assert!(errors.contains(expected), "{url}: {errors}");
        let has_needs = errors.contains("needs notices.");
        assert_eq!(has_needs, expected.starts_with("needs"), "{url}: {errors}");
        assert!(!errors.contains("canary"), "{errors}");
    }
}
