//! Tests of a store that moves to another environment of Imprint.

use imprint_bridge::sandbox::Sandbox;
use serde_json::Value;

use super::*;
use crate::sealing::hex;
use crate::support::{by_partner, email};

const TOKEN: &str = "a-token-of-alice";

fn seed(imprint: &FakeImprint, customers: &Value) {
    let seed = Sandbox::parse_seed(customers.to_string().as_bytes()).unwrap();
    imprint.sandbox.seed(seed).unwrap();
}

fn accept(bridge: &Bridge, event: &Event) {
    let headers = [("content-type", "application/cloudevents+json")];
    let answer = post(bridge.ingress, &headers, &event.json().to_string()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn operate(bridge: &Bridge, line: &str, body: &Value) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    // The fake Imprint counts a request before the bridge has its answer: the request can still be in progress.
    let answer = wait_for("no request of the customer is in progress", || {
        let answer = http::ask(bridge.ops, line, &headers, &body.to_string()).unwrap();
        (answer.status != 409).then_some(answer)
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn wait_until(bridge: &Bridge, id: &str, status: &str) {
    wait_for("the event ends", || {
        let receipt = receipt(bridge.ingress, id).unwrap().json();
        (receipt["status"] == status).then_some(())
    });
}

/// Moves the store of a stopped bridge to another Imprint.
fn rebind_to(files: &Files, imprint: &FakeImprint) {
    let port = imprint.address.port();
    files.write_settings(&format!(
        "[imprint]\nbase_url = \"http://localhost:{port}\""
    ));
    let (code, output) = rebind(files, &["--yes", "--reason", "a drill"]);
    assert_eq!(code, Some(0), "{output}");
}

/// FAULTS N1174: a search found the customer of a waiting and a parked entry. In the new environment, another customer has
/// this id.
#[test]
fn an_entry_that_names_only_the_id_of_the_crm_is_searched_again() {
    for is_sealed in [false, true] {
        let first = FakeImprint::start(|_settings| {});
        seed(
            &first,
            &json!([{"id": "i1", "partner_customer_id": "CRM-1"}]),
        );
        first.inject(&json!({"customer": "i1", "action": {"status": 503}}));
        let files = Files::write(first.address, KEY, "");
        files.write_token("alice", TOKEN);
        if is_sealed {
            files.write_sealing_key("2026-01", &hex(1));
        }
        let bridge = Bridge::serve(files, process::command);
        accept(&bridge, &by_partner("parked", "CRM-1", 1));
        wait_for("the update of the found customer fails", || {
            let calls = first.calls();
            calls
                .iter()
                .any(|call| call.status == Some(503))
                .then_some(())
        });
        let found =
            |state| json!({"filter": {"state": state, "id": "parked"}, "reason": "a drill"});
        operate(&bridge, "POST /admin/v1/entries/park", &found("waiting"));
        wait_until(&bridge, "parked", "parked");
        accept(&bridge, &by_partner("waits", "CRM-1", 2));
        wait_for("the second update fails", || {
            let calls = first.calls();
            let failed = calls.iter().filter(|call| call.status == Some(503));
            (failed.count() > 1).then_some(())
        });
        let files = bridge.stop();
        let second = FakeImprint::start(|_settings| {});
        let others = json!([
            {"id": "i1", "partner_customer_id": "CRM-9"},
            {"id": "j1", "partner_customer_id": "CRM-1"}
        ]);
        seed(&second, &others);
        rebind_to(&files, &second);
        let bridge = Bridge::serve(files, process::command);
        let counts = || ["i1", "j1"].map(|customer| second.applied(customer).len());
        wait_for("an update is applied", || {
            (counts().iter().sum::<usize>() > 0).then_some(())
        });
        assert_eq!(counts(), [0, 1], "sealed: {is_sealed}");
        operate(&bridge, "POST /admin/v1/entries/replay", &found("parked"));
        wait_until(&bridge, "parked", "superseded");
        wait_until(&bridge, "waits", "delivered");
        assert_eq!(counts(), [0, 1], "sealed: {is_sealed}");
    }
}

/// FAULTS N1173: a customer is erased, and the store moves. An older value of the customer does not come back.
#[test]
fn version_floors_of_erasures_stay() {
    is_kept_out_at_a_new_destination(false);
}

/// FAULTS N1151: a newer value of the erased customer is delivered before the store moves.
#[test]
fn version_floors_under_newer_values_stay() {
    is_kept_out_at_a_new_destination(true);
}

fn is_kept_out_at_a_new_destination(is_newer_delivered: bool) {
    let first = FakeImprint::start(|_settings| {});
    let files = Files::write(first.address, KEY, "");
    files.write_token("alice", TOKEN);
    let bridge = Bridge::serve(files, process::command);
    accept(&bridge, &email("e-5", "c1", 5));
    wait_until(&bridge, "e-5", "delivered");
    let body = json!({"of": {"imprint_id": "c1"}, "reason": "a demand"});
    operate(&bridge, "POST /admin/v1/customers/erase", &body);
    accept(&bridge, &email("e-6", "c2", 6));
    wait_until(&bridge, "e-6", "delivered");
    if is_newer_delivered {
        accept(&bridge, &email("e-9", "c1", 9));
        wait_until(&bridge, "e-9", "delivered");
    }
    let files = bridge.stop();
    let second = FakeImprint::start(|_settings| {});
    rebind_to(&files, &second);
    let bridge = Bridge::serve(files, process::command);
    accept(&bridge, &email("e-3", "c1", 3));
    wait_until(&bridge, "e-3", "superseded");
    accept(&bridge, &email("e-4", "c2", 4));
    wait_until(&bridge, "e-4", "delivered");
    accept(&bridge, &email("e-7", "c1", 7));
    wait_until(&bridge, "e-7", "delivered");
}
