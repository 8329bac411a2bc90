use futures_util::future::join_all;

use super::*;
use crate::imprint::{
    CustomerChange, CustomerRef, Field, FieldValue, ImprintId, PartnerCustomerId,
};
use crate::outbox::{Digest, Disposition, ParkReason};

#[actix_web::test]
async fn an_event_is_kept_and_answered_202() {
    let door = Door::new();
    let reply = door.post(&event("e-1")).await;
    assert_eq!(reply.status, 202);
    let expected = json!({"accepted": [{"id": "e-1", "status": "waiting", "duplicate": false}]});
    assert_eq!(reply.json(), expected);
    let entries = door.outbox.entries();
    let entry = entries.first().unwrap();
    assert_eq!(entry.identity.source.as_str(), "open");
    assert_eq!(
        entry.identity.ce_source.as_ref().unwrap().as_str(),
        "/crm/us"
    );
    assert_eq!(entry.event_type.as_str(), "customer.changed");
    assert_eq!(entry.accepted_at, NOW);
    assert_eq!(
        serde_json::from_slice::<Value>(&entry.event).unwrap(),
        event("e-1")
    );
    let Disposition::Enqueue(CustomerChange {
        customer,
        version,
        update,
        is_foreign: false,
    }) = &entry.disposition
    else {
        panic!("it waits");
    };
    let customer = customer.imprint().unwrap().as_str();
    assert_eq!((customer, version.epoch, version.value), ("C-1", 2, 7));
    let email = FieldValue::Set(json!("canary@example.com"));
    assert_eq!(update.value(&Field::parse("email").unwrap()), Some(&email));
    assert_eq!(door.ingress.counts.snapshot().accepted, 1);
}

/// An event about a customer with these fields beside the usual ones.
fn event_of(id: &str, fields: &Value) -> Value {
    let mut event = event(id);
    let customer = event["data"]["customer"].as_object_mut().unwrap();
    customer.extend(fields.as_object().unwrap().clone());
    event
}

#[actix_web::test]
async fn an_event_goes_by_whichever_id_it_has() {
    let imprint = || ImprintId::parse("C-1").unwrap();
    let partner = || PartnerCustomerId::parse("P 17").unwrap();
    for (ids, expected) in [
        (json!({}), CustomerRef::Imprint(imprint())),
        (json!({"id": " "}), CustomerRef::Imprint(imprint())),
        (
            json!({"id": "P 17"}),
            CustomerRef::Pair {
                imprint: imprint(),
                partner: partner(),
            },
        ),
        (
            json!({"id": "P 17", "imprint_customer_id": null}),
            CustomerRef::Partner(partner()),
        ),
    ] {
        let door = Door::new();
        assert_eq!(door.post(&event_of("e-1", &ids)).await.status, 202, "{ids}");
        let entries = door.outbox.entries();
        let Disposition::Enqueue(stated) = &entries.first().unwrap().disposition else {
            panic!("it waits");
        };
        assert_eq!(stated.customer, expected, "{ids}");
    }
    let door = Door::new();
    for ids in [
        json!({"imprint_customer_id": null}),
        json!({"id": "canary\u{7}"}),
        json!({"id": "P 17", "imprint_customer_id": "canary/.."}),
    ] {
        let reply = door.post(&event_of("e-1", &ids)).await;
        reply.is_problem(422, "unmappable");
    }
    assert_eq!(door.kept(), 0);
}

/// What becomes of an arrival, and the fields that it states.
fn told(disposition: &Disposition) -> (&'static str, String) {
    let (word, stated) = match disposition {
        Disposition::Enqueue(stated) => ("wait", stated),
        Disposition::Park(stated, ParkReason::ForeignAddress) => ("park", stated),
        Disposition::Park(..) | Disposition::Hold(_) | Disposition::Ignore => {
            panic!("{disposition:?}")
        }
    };
    let mut fields: Vec<_> = stated.update.fields().map(Field::to_string).collect();
    fields.sort_unstable();
    (word, fields.join(" "))
}

#[actix_web::test]
async fn an_address_abroad_is_parked_or_skipped_and_one_in_the_usa_goes_on() {
    let whole = "city customer_history.address.city customer_history.address.country email";
    let rest = "customer_history.address.city customer_history.address.country email";
    for (policy, country, word, expected) in [
        (ForeignAddress::Park, json!("US"), "wait", whole),
        (ForeignAddress::Park, json!("France"), "park", whole),
        (ForeignAddress::Skip, json!("US"), "wait", whole),
        (ForeignAddress::Skip, json!("FR"), "wait", rest),
        (ForeignAddress::Park, json!(null), "wait", whole),
    ] {
        let intake = IntakeSettings {
            foreign_address: policy,
            ..SETTINGS.intake
        };
        let door = Door::with(Settings { intake, ..SETTINGS });
        let fields = json!({"city": "Paris", "country": country});
        assert_eq!(door.post(&event_of("e-1", &fields)).await.status, 202);
        let entries = door.outbox.entries();
        let told = told(&entries.first().unwrap().disposition);
        assert_eq!(told, (word, expected.to_owned()), "{policy:?} {country}");
    }
}

/// Every source takes every mode, if the request is its own.
#[actix_web::test]
async fn every_mode_comes_in_by_every_authentication() {
    let door = Door::new();
    let one = event("e-1");
    let data = one["data"].to_string();
    for (source, token) in [("open", "none"), ("bearer", TOKEN)] {
        let authorization = ("authorization", format!("Bearer {token}"));
        let requests = [
            post(source, STRUCTURED, &event("e-1")),
            post(source, BATCH, &json!([event("e-2"), event("e-3")])),
            binary(post(source, JSON, &one["data"]), "e-4"),
        ];
        for request in requests {
            let reply = door
                .send(request.insert_header(authorization.clone()))
                .await;
            assert_eq!(reply.status, 202, "{source}: {}", reply.text);
        }
    }
    let batch = json!([event("e-2"), event("e-3")]);
    let requests = [
        signed(
            post("signed", STRUCTURED, &one),
            "msg-1",
            one.to_string().as_bytes(),
        ),
        signed(
            post("signed", BATCH, &batch),
            "msg-2",
            batch.to_string().as_bytes(),
        ),
        signed(
            binary(post("signed", JSON, &one["data"]), "e-4"),
            "e-4",
            data.as_bytes(),
        ),
    ];
    for request in requests {
        let reply = door.send(request).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    assert_eq!(door.kept(), 12);
}

/// O01, P04, S04
#[actix_web::test]
async fn the_same_event_again_is_a_duplicate() {
    let door = Door::new();
    assert_eq!(door.post(&event("e-1")).await.status, 202);
    let again = door.post(&event("e-1")).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
    let one = event("e-1");
    let replies = join_all((0..100).map(|_| door.post(&one))).await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(door.kept(), 1);
    assert_eq!(door.ingress.counts.snapshot().accepted, 1);
    assert_eq!(door.ingress.counts.snapshot().duplicates, 101);
}

/// O02
#[actix_web::test]
async fn the_same_id_with_other_content_is_a_conflict() {
    let door = Door::new();
    assert_eq!(door.post(&event("e-1")).await.status, 202);
    for (pointer, value) in [
        ("/data/customer/email", json!("other-canary@example.com")),
        ("/subject", json!("C-1")),
        ("/type", json!("customer.viewed")),
    ] {
        let reply = door.post(&event_with("e-1", pointer, value)).await;
        reply.is_problem(409, "conflict");
        assert_eq!(reply.faults(), [(String::new(), "conflict".to_owned())]);
    }
    let other = event_with("e-1", "/data/customer/email", json!("other@example.com"));
    let reply = door
        .send(post("open", BATCH, &json!([event("e-2"), other])))
        .await;
    reply.is_problem(409, "conflict");
    assert_eq!(reply.faults(), [("/1".to_owned(), "conflict".to_owned())]);
    assert_eq!(door.kept(), 1);
    assert_eq!(door.refused("conflict"), 4);
}

/// The content is type, subject and data: neither bytes nor mode nor trace headers nor the order of keys.
#[actix_web::test]
async fn what_is_not_content_makes_no_conflict() {
    let door = Door::new();
    assert_eq!(door.post(&event("e-1")).await.status, 202);
    let traced = event_with("e-1", "/traceparent", json!("00-aa-bb-01"));
    let timed = event_with("e-1", "/time", json!("2025-02-13T19:08:07Z"));
    for same in [traced, timed] {
        assert_eq!(
            door.post(&same).await.json()["accepted"][0]["duplicate"],
            true
        );
    }
    let spaced = r#"{ "data": {"customer": {"email": "canary@example.com", "revision": 7,
        "imprint_customer_id": "C-1"}}, "type": "customer.changed", "source": "/crm/us",
        "id": "\u0065-1", "specversion": "1.0" }"#;
    let reply = door
        .send(post("open", STRUCTURED, &json!(0)).set_payload(spaced))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], true);
    let reply = door
        .send(binary(post("open", JSON, &event("e-1")["data"]), "e-1"))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], true);
    assert_eq!(door.kept(), 1);
}

/// O15
#[actix_web::test]
async fn one_id_from_two_sources_is_two_events() {
    let door = Door::new();
    assert_eq!(door.post(&event("e-1")).await.status, 202);
    let other = event_with("e-1", "/source", json!("/crm/eu"));
    assert_eq!(
        door.post(&other).await.json()["accepted"][0]["duplicate"],
        false
    );
    let one = event("e-1");
    let authorization = ("authorization", format!("Bearer {TOKEN}"));
    let reply = door
        .send(post("bearer", STRUCTURED, &one).insert_header(authorization))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], false);
    assert_eq!(door.kept(), 3);
}

/// O08
#[actix_web::test]
async fn what_there_is_nothing_to_send_for_is_kept_as_ignored() {
    let door = Door::new();
    let viewed =
        json!({"specversion": "1.0", "id": "e-1", "source": "/crm", "type": "customer.viewed"});
    let reply = door.post(&viewed).await;
    assert_eq!(reply.statuses(), ["ignored"]);
    assert_eq!(door.outbox.entries()[0].disposition, Disposition::Ignore);
    let counts = door.ingress.counts.snapshot();
    assert_eq!((counts.accepted, counts.ignored), (1, 1));
}

/// I35
#[actix_web::test]
async fn a_batch_is_kept_in_its_order() {
    let door = Door::new();
    let batch = json!([event("e-1"), event("e-2"), event("e-1")]);
    let reply = door.send(post("open", BATCH, &batch)).await;
    assert_eq!(reply.status, 202);
    let accepted = reply.json()["accepted"].clone();
    assert_eq!(
        accepted,
        json!([
            {"id": "e-1", "status": "waiting", "duplicate": false},
            {"id": "e-2", "status": "waiting", "duplicate": false},
            {"id": "e-1", "status": "waiting", "duplicate": true},
        ])
    );
    assert_eq!(door.kept(), 2);
}

/// A known value, so that a change of the digest cannot slip in: stored digests would all become conflicts.
#[actix_web::test]
async fn the_digest_of_a_content_does_not_change() {
    let door = Door::new();
    assert_eq!(door.post(&event("e-1")).await.status, 202);
    let Digest(digest) = door.outbox.entries()[0].digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "3e34a228c08276821247a6433cd23302");
}
