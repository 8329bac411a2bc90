//! Tests of the sandbox through its routes, without a network. The module `wire` tests the faults on the connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use actix_web::body::MessageBody as _;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, http};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;

mod wire;

const KEY: &str = "sandbox-key";
const START: Timestamp = Timestamp::from_millis(1_739_473_687_000);

fn settings() -> SandboxSettings {
    SandboxSettings::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SecretString::from(KEY),
    )
}

fn sandbox(settings: SandboxSettings) -> (Sandbox, Clock) {
    let clock = Clock::manual(START);
    (Sandbox::new(settings, clock.clone()).unwrap(), clock)
}

struct Got {
    status: u16,
    retry_after: Vec<String>,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// Sends a request with the API key to a sandbox.
async fn ask(sandbox: &Sandbox, method: Method, uri: &str, body: &str) -> Got {
    let request = TestRequest::default()
        .method(method)
        .uri(uri)
        .insert_header(("authorization", format!("Bearer {KEY}")))
        .insert_header(("content-type", "application/json"))
        .set_payload(body.to_owned());
    send(sandbox, request).await
}

async fn send(sandbox: &Sandbox, request: TestRequest) -> Got {
    let sandbox = sandbox.clone();
    let app = init_service(App::new().configure(|config| sandbox.routes(config))).await;
    let response = call_service(&app, request.to_request()).await;
    let retry_after = response
        .headers()
        .get_all(http::header::RETRY_AFTER)
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    let status = response.status().as_u16();
    let (_, response) = response.into_parts();
    let body = response.into_body().try_into_bytes().unwrap();
    Got {
        status,
        retry_after,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn update(sandbox: &Sandbox, id: &str, body: &Value) -> Got {
    let path = format!("/v2/customers/{id}");
    ask(sandbox, Method::POST, &path, &body.to_string()).await
}

#[actix_web::test]
async fn an_update_merges_field_by_field_and_answers_with_the_customer() {
    let (sandbox, clock) = sandbox(settings());
    let first = json!({
        "email": "a@example.com", "street_line1": "1 Main St", "street_line2": "Apt 4B",
        "metadata": {"a": 1, "b": {"x": 1}},
        "customer_history": {"address": {"city": "Reno"}, "account_tenure": 13},
    });
    update(&sandbox, "c1", &first).await;
    clock.advance(Duration::from_secs(1));
    let second = json!({
        "phone": "+14155552671", "street_line2": "", "metadata": {"b": {"y": 2}},
        "customer_history": {"address": {"country": "USA"}},
    });
    let got = update(&sandbox, "c1", &second).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.json(),
        json!({
            "id": "c1", "email": "a@example.com", "phone": "+14155552671",
            "address": {"street_line1": "1 Main St", "street_line2": ""},
            "metadata": {"a": 1, "b": {"y": 2}},
            "statuses": {"Sandbox Card": "OPEN"}, "ssn4": "6789",
            "date_of_birth": {"year": 1987, "month": 6, "day": 5},
            "created_at": "2025-02-13T19:08:07.000Z", "updated_at": "2025-02-13T19:08:08.000Z",
        })
    );
    let whole = ask(&sandbox, Method::GET, "/sandbox/customers/c1", "")
        .await
        .json();
    assert_eq!(
        whole["customer_history"],
        json!({"address": {"city": "Reno", "country": "USA"}, "account_tenure": 13})
    );
    assert_eq!(whole["updates"], 2);
}

#[actix_web::test]
async fn null_clears_a_field_if_the_settings_say_so() {
    let (sandbox, _) = sandbox(SandboxSettings {
        nulls: Nulls::Clear,
        ..settings()
    });
    update(
        &sandbox,
        "c1",
        &json!({"city": "Reno", "state": "NV", "metadata": {"a": 1}}),
    )
    .await;
    let cleared = json!({"city": null, "metadata": {"a": null}, "customer_history": null});
    let got = update(&sandbox, "c1", &cleared).await.json();
    assert_eq!(got["address"], json!({"state": "NV"}));
    assert_eq!(got["metadata"], json!({}));
}

#[actix_web::test]
async fn an_invalid_call_is_answered_in_the_documented_shape() {
    let (sandbox, _) = sandbox(SandboxSettings {
        unknown_customer: UnseededCustomer::NotFound,
        seeds: Sandbox::parse_seed(br#"{"id": "c1"}"#).unwrap(),
        ..settings()
    });
    let no_customer = json!({
        "type": "CUSTOMER_NOT_FOUND_ERROR", "message": "Customer not found", "param": "customer_id",
    });
    for (method, uri, body, status, answer) in [
        (
            Method::POST,
            "/v2/customers/c2",
            "{}",
            404,
            no_customer.clone(),
        ),
        (
            Method::POST,
            "/v2/customers/a%2Fb",
            "{}",
            404,
            no_customer.clone(),
        ),
        (Method::GET, "/v2/customers/c2", "", 404, no_customer),
        (
            Method::POST,
            "/v2/customers/c1",
            r#"{"email": "nobody"}"#,
            400,
            json!({
                "path": "/v2/customers/c1",
                "details": ["email: must be a well-formed email address"],
                "error": "Bad Request", "status": 400,
                "timestamp": "2025-02-13T19:08:07.000+00:00",
            }),
        ),
        (
            Method::DELETE,
            "/v2/keys",
            "",
            404,
            json!({"error": "Not Found"}),
        ),
        (
            Method::POST,
            "/v2/customers/c1/link",
            "{}",
            404,
            json!({"error": "Not Found"}),
        ),
    ] {
        let got = ask(&sandbox, method, uri, body).await;
        assert_eq!((got.status, got.json()), (status, answer), "{uri}");
    }
    assert_eq!(sandbox.stats().applied, 0);
    assert_eq!(sandbox.stats().forbidden, 1);
}

#[actix_web::test]
async fn a_call_with_another_key_is_answered_without_a_body() {
    let (sandbox, _) = sandbox(SandboxSettings {
        merchant_key: Some(SecretString::from("m1")),
        ..settings()
    });
    let bearer = format!("Bearer {KEY}");
    for (authorization, merchant_key, status) in [
        ("", "m1", 401),
        ("Bearer other", "m1", 401),
        (bearer.as_str(), "m2", 401),
        (bearer.as_str(), "m1", 200),
        ("Basic c2FuZGJveC1rZXk6", "m1", 200),
    ] {
        let mut request = TestRequest::get()
            .uri("/v2/customers")
            .insert_header(("x-imprint-merchant-key", merchant_key));
        if !authorization.is_empty() {
            request = request.insert_header(("authorization", authorization));
        }
        let got = send(&sandbox, request).await;
        assert_eq!(got.status, status, "{authorization} {merchant_key}");
        assert_eq!(got.text.is_empty(), status == 401);
    }
    let entries = sandbox.ledger(0, 10).entries;
    assert_eq!(entries[1].authorization, Authorization::Wrong);
    assert_eq!(entries[4].authorization, Authorization::Basic);
    assert_eq!(entries[4].merchant_key.as_deref(), Some("m1"));
}

#[actix_web::test]
async fn a_search_finds_by_partner_id_and_a_blank_one_lists_every_customer() {
    let (sandbox, _) = sandbox(settings());
    let seeds = r#"[{"id": "a", "partner_customer_id": "p1"}, {"id": "b", "partner_customer_id": "p1"},
        {"id": "c", "partner_customer_id": "p2", "ssn4": "1111"}, {"id": "d"}]"#;
    let seeded = ask(&sandbox, Method::POST, "/sandbox/customers", seeds).await;
    assert_eq!(seeded.status, 204);
    let get = Method::GET;
    let post = Method::POST;
    for (method, uri, body, ids, has_more, total) in [
        (
            &get,
            "/v2/customers?partner_customer_id=p1",
            "",
            "ab",
            false,
            2,
        ),
        (
            &get,
            "/v2/customers?partner_customer_id=p1&limit=1",
            "",
            "a",
            true,
            2,
        ),
        (
            &get,
            "/v2/customers?partner_customer_id=p1&starting_after=a",
            "",
            "b",
            false,
            2,
        ),
        (
            &get,
            "/v2/customers?partner_customer_id=nobody",
            "",
            "",
            false,
            0,
        ),
        (
            &get,
            "/v2/customers?partner_customer_id=",
            "",
            "abcd",
            false,
            4,
        ),
        (&get, "/v2/customers", "", "abcd", false, 4),
        (
            &post,
            "/v2/customers",
            r#"{"partner_customer_id": "p2"}"#,
            "c",
            false,
            1,
        ),
        (
            &post,
            "/v2/customers",
            r#"{"ssn": "000001111"}"#,
            "c",
            false,
            1,
        ),
        (&post, "/v2/customers/", "{}", "abcd", false, 4),
    ] {
        let got = ask(&sandbox, method.clone(), uri, body).await.json();
        let found: String = got["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|customer| customer["id"].as_str().unwrap())
            .collect();
        assert_eq!(found, ids, "{uri} {body}");
        assert_eq!(
            (&got["has_more"], &got["total"]),
            (&json!(has_more), &json!(total))
        );
    }
}

#[actix_web::test]
async fn a_customer_seeded_again_is_replaced() {
    let (sandbox, _) = sandbox(settings());
    for partner in ["p1", "p2"] {
        let seed = json!({"id": "a", "partner_customer_id": partner}).to_string();
        sandbox
            .seed(Sandbox::parse_seed(seed.as_bytes()).unwrap())
            .unwrap();
    }
    for (partner, total) in [("p1", 0), ("p2", 1)] {
        let uri = format!("/v2/customers?partner_customer_id={partner}");
        assert_eq!(
            ask(&sandbox, Method::GET, &uri, "").await.json()["total"],
            total
        );
    }
}

#[test]
fn a_seed_that_is_no_customer_is_rejected() {
    for seed in [
        "",
        "1",
        "{}",
        r#"{"id": "a/b"}"#,
        r#"{"id": "a", "ssn": "1"}"#,
        r#"{"id": "a", "email": 1}"#,
        r#"{"id": "a", "address": "x"}"#,
        r#"{"id": "a", "email": {}}"#,
        r#"{"id": 1}"#,
        r#"[{"id": "a"}, 7]"#,
    ] {
        assert!(
            matches!(Sandbox::parse_seed(seed.as_bytes()), Err(Error::Seed(_))),
            "{seed}"
        );
    }
}

/// FAULTS N431: a misspelt member is an error that names the path of the member and the members that exist there.
#[test]
fn a_misspelt_member_of_a_seed_is_rejected_at_any_depth() {
    for (member, cause) in [
        (r#""emial": "x""#, "emial: is not a member of a customer"),
        (r#""address": {"zip": "1"}"#, "address.zip: is not a member"),
        (r#""address": {"zip": "1"}"#, "city, country, postal_code"),
        (
            r#""customer_history": {"address": {"zip": "1"}}"#,
            "customer_history.address.zip",
        ),
        (
            r#""customer_history": {"tier": "x"}"#,
            "account_created_at, account_tenure, address",
        ),
        (
            r#""customer_history": {"account_tenure": "12"}"#,
            "customer_history.account_tenure: must be a whole number",
        ),
        (r#""date_of_birth": {"yaer": 1}"#, "day, month, year"),
        (
            r#""date_of_birth": {"year": "1987"}"#,
            "date_of_birth.year: must be a whole number",
        ),
        (
            r#""statuses": {"Card": 1}"#,
            "statuses.Card: must be a text",
        ),
        (r#""metadata": []"#, "metadata: must be an object"),
        (r#""address": "x""#, "address: must be an object"),
        (r#""email": null"#, "email: must be a text"),
        (r#""street_line1": "x""#, "street_line1: is not a member"),
    ] {
        let seed = format!(r#"[{{"id": "a"}}, {{"id": "b", {member}}}]"#);
        let Err(Error::Seed(error)) = Sandbox::parse_seed(seed.as_bytes()) else {
            panic!("{member} is accepted");
        };
        let text = error.to_string();
        assert!(text.starts_with("item 2 of the list: "), "{text}");
        assert!(text.contains(cause), "{member}: {text}");
    }
}

#[actix_web::test]
async fn the_ledger_shows_every_call_in_order() {
    let (sandbox, _) = sandbox(settings());
    update(&sandbox, "c1", &json!({"city": "Reno"})).await;
    ask(&sandbox, Method::GET, "/v2/customers?limit=3", "").await;
    ask(&sandbox, Method::POST, "/v2/keys", "no json").await;
    let page = ask(&sandbox, Method::GET, "/sandbox/ledger?after=1&limit=1", "")
        .await
        .json();
    assert_eq!(
        page,
        json!({
            "entries": [{
                "seq": 2, "at_ms": 1_739_473_687_000_i64, "method": "GET", "path": "/v2/customers",
                "query": "limit=3", "operation": "search", "authorization": "bearer",
                "merchant_key": null, "body": null, "status": 200, "fault": null,
                "customer": null, "applied": false,
            }],
            "next": 2, "total": 3, "dropped": 0,
        })
    );
    let entries = sandbox.ledger(0, 10).entries;
    assert_eq!(entries[0].body, json!({"city": "Reno"}));
    assert!(entries[0].applied);
    assert_eq!(entries[2].operation, Operation::Forbidden);
    assert_eq!(entries[2].body, json!("no json"));
    let cleared = ask(&sandbox, Method::DELETE, "/sandbox/ledger", "").await;
    assert_eq!((cleared.status, sandbox.ledger(0, 10).total), (204, 0));
}

#[actix_web::test]
async fn a_body_above_the_limit_is_rejected_and_still_in_the_ledger() {
    let (sandbox, _) = sandbox(settings());
    let long = "x".repeat(1024 * 1024 + 1);
    let got = ask(&sandbox, Method::POST, "/v2/customers/c1", &long).await;
    assert_eq!(got.status, 413);
    assert_eq!(sandbox.ledger(0, 10).entries[0].status, Some(413));
    assert_eq!(sandbox.stats().in_flight, 0);
}

#[actix_web::test]
async fn faults_are_added_and_deleted_over_http() {
    let (sandbox, _) = sandbox(settings());
    let rules = r#"[
        {"times": 1, "action": {"status": 429, "retry_after": ["5", "later"], "shape": "flat", "type": "SLOW"}},
        {"action": {"status": 500, "after": "apply", "shape": "html"}}]"#;
    let added = ask(&sandbox, Method::POST, "/sandbox/faults", rules).await;
    assert_eq!((added.status, added.text.as_str()), (204, ""));
    let throttled = update(&sandbox, "c1", &json!({"city": "Reno"})).await;
    assert_eq!(
        (throttled.status, throttled.retry_after),
        (429, vec!["5".into(), "later".into()])
    );
    assert!(sandbox.customer("c1").is_none());
    let failed = update(&sandbox, "c1", &json!({"city": "Reno"})).await;
    assert_eq!(failed.status, 500);
    assert!(failed.text.starts_with("<html>"));
    assert_eq!(
        sandbox.customer("c1").unwrap()["customer"]["address"]["city"],
        "Reno"
    );
    let entry = sandbox.ledger(1, 1).entries.remove(0);
    assert_eq!(
        (entry.status, entry.fault, entry.applied),
        (Some(500), Some("status"), true)
    );
    let standing = ask(&sandbox, Method::GET, "/sandbox/faults", "")
        .await
        .json();
    assert_eq!(standing["faults"][0]["fired"], 1);
    assert_eq!(standing["faults"][0]["rule"]["action"]["status"], 500);
    ask(&sandbox, Method::DELETE, "/sandbox/faults", "").await;
    assert_eq!(update(&sandbox, "c1", &json!({})).await.status, 200);
    let refused = ask(&sandbox, Method::POST, "/sandbox/faults", "{}").await;
    assert_eq!(refused.status, 400);
}

#[actix_web::test]
async fn an_outage_ends_by_itself() {
    let (sandbox, clock) = sandbox(settings());
    let begun = ask(
        &sandbox,
        Method::POST,
        "/sandbox/outage",
        r#"{"for_ms": 1000}"#,
    )
    .await;
    assert_eq!(begun.status, 204);
    let got = update(&sandbox, "c1", &json!({})).await;
    assert_eq!((got.status, got.retry_after.len()), (503, 0));
    assert_eq!(got.json()["error"]["type"], "SERVICE_UNAVAILABLE");
    clock.advance(Duration::from_secs(1));
    assert_eq!(update(&sandbox, "c1", &json!({})).await.status, 200);
}

#[actix_web::test]
async fn an_answer_can_be_any_text_or_about_another_customer() {
    let (sandbox, _) = sandbox(settings());
    let rules =
        br#"[{"times": 1, "action": {"body": "{\"id\":"}}, {"action": {"wrong_id": true}}]"#;
    sandbox
        .inject(Sandbox::parse_rules(rules).unwrap())
        .unwrap();
    let garbage = update(&sandbox, "c1", &json!({})).await;
    assert_eq!((garbage.status, garbage.text.as_str()), (200, "{\"id\":"));
    assert!(sandbox.customer("c1").is_none());
    let other = update(&sandbox, "c1", &json!({})).await.json();
    assert_ne!(other["id"], "c1");
    assert_eq!(sandbox.customer("c1").unwrap()["updates"], 1);
}

#[actix_web::test]
async fn only_paths_under_v2_reach_the_ledger() {
    let (sandbox, _) = sandbox(settings());
    for uri in ["/", "/v2x", "/sandbox/nothing", "/v1/customers"] {
        assert_eq!(
            ask(&sandbox, Method::GET, uri, "").await.status,
            404,
            "{uri}"
        );
    }
    assert_eq!(sandbox.stats().requests, 0);
}

#[test]
fn the_state_of_the_sandbox_is_never_printed() {
    let seeds = Sandbox::parse_seed(br#"{"id": "a", "email": "secret@example.com"}"#).unwrap();
    let settings = SandboxSettings {
        seeds,
        ..settings()
    };
    let printed = format!("{settings:?} {:?}", sandbox(settings.clone()).0);
    assert!(
        !printed.contains("secret") && !printed.contains(KEY),
        "{printed}"
    );
}
