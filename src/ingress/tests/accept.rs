use futures_util::future::join_all;

use super::*;
use crate::imprint::{
    CustomerChange, CustomerRef, Field, FieldValue, ImprintId, PartnerCustomerId,
};
use crate::outbox::{Digest, Disposition, IgnoreReason, ParkReason};

#[actix_web::test]
async fn an_event_is_stored_and_answered_202() {
    let listener = TestListener::new();
    let reply = listener.post(&event("e-1")).await;
    assert_eq!(reply.status, 202);
    let expected = json!({"accepted": [{"id": "e-1", "status": "waiting", "duplicate": false}]});
    assert_eq!(reply.json(), expected);
    let entries = listener.outbox.entries();
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
        ..
    }) = &entry.disposition
    else {
        panic!("it waits");
    };
    let customer = customer.imprint().unwrap().as_str();
    assert_eq!((customer, version.epoch, version.value), ("C-1", 2, 7));
    let email = FieldValue::Set(json!("canary@example.com"));
    assert_eq!(update.value(&Field::parse("email").unwrap()), Some(&email));
    assert_eq!(listener.ingress.counts.snapshot().accepted, 1);
}

/// Returns a test event whose customer has the given additional fields.
fn event_of(id: &str, fields: &Value) -> Value {
    let mut event = event(id);
    let customer = event["data"]["customer"].as_object_mut().unwrap();
    customer.extend(fields.as_object().unwrap().clone());
    event
}

#[actix_web::test]
async fn an_event_is_accepted_with_either_customer_id() {
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
        let listener = TestListener::new();
        assert_eq!(
            listener.post(&event_of("e-1", &ids)).await.status,
            202,
            "{ids}"
        );
        let entries = listener.outbox.entries();
        let Disposition::Enqueue(stated) = &entries.first().unwrap().disposition else {
            panic!("it waits");
        };
        assert_eq!(stated.customer, expected, "{ids}");
    }
    let listener = TestListener::new();
    for ids in [
        json!({"imprint_customer_id": null}),
        json!({"id": "canary\u{7}"}),
        json!({"id": "P 17", "imprint_customer_id": "canary/.."}),
    ] {
        let reply = listener.post(&event_of("e-1", &ids)).await;
        reply.is_problem(422, "unmappable");
    }
    assert_eq!(listener.stored_count(), 0);
}

/// Returns the kind of a disposition, and the fields of its customer change.
fn summary(disposition: &Disposition) -> (&'static str, String) {
    let (word, change) = match disposition {
        Disposition::Enqueue(change) => ("enqueue", change),
        Disposition::Park(change, ParkReason::ForeignAddress) => ("park", change),
        Disposition::Park(..)
        | Disposition::Hold(_)
        | Disposition::Ignore(_)
        | Disposition::Invalid(_) => {
            panic!("{disposition:?}")
        }
    };
    let mut fields: Vec<_> = change.update.fields().map(Field::to_string).collect();
    fields.sort_unstable();
    (word, fields.join(" "))
}

#[actix_web::test]
async fn a_foreign_address_is_parked_or_skipped_and_one_in_the_usa_is_sent() {
    let whole = "city customer_history.address.city customer_history.address.country email";
    let rest = "customer_history.address.city customer_history.address.country email";
    for (policy, country, word, expected) in [
        (ForeignAddress::Park, json!("US"), "enqueue", whole),
        (ForeignAddress::Park, json!("France"), "park", whole),
        (ForeignAddress::Skip, json!("US"), "enqueue", whole),
        (ForeignAddress::Skip, json!("FR"), "enqueue", rest),
        (ForeignAddress::Park, json!(null), "enqueue", whole),
    ] {
        let intake = IntakeSettings {
            foreign_address: policy,
            ..SETTINGS.intake
        };
        let listener = TestListener::with(Settings { intake, ..SETTINGS });
        let fields = json!({"city": "Paris", "country": country});
        assert_eq!(listener.post(&event_of("e-1", &fields)).await.status, 202);
        let entries = listener.outbox.entries();
        let found = summary(&entries.first().unwrap().disposition);
        assert_eq!(found, (word, expected.to_owned()), "{policy:?} {country}");
    }
}

/// FAULTS N345: an empty batch is valid, so the listener accepts it, and counts it, because it leaves no entry.
#[actix_web::test]
async fn an_empty_batch_is_accepted_and_counted() {
    let listener = TestListener::new();
    for (wait, status) in [(None, 202), (Some("wait=1"), 200)] {
        let mut request = post("open", BATCH, &json!([]));
        if let Some(wait) = wait {
            request = request.insert_header(("prefer", wait));
        }
        let reply = listener.send(request).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert_eq!(reply.json(), json!({"accepted": []}));
    }
    let counts = listener.ingress.counts.snapshot();
    assert_eq!((counts.empty, counts.accepted), (2, 0));
    assert_eq!(listener.stored_count(), 0);
}

/// The listener accepts every content mode from a source without a signature, and every mode whose attributes are in the
/// signed body from a source with a Standard Webhooks signature.
#[actix_web::test]
async fn every_mode_is_accepted_with_every_authentication() {
    let listener = TestListener::new();
    let one = event("e-1");
    for (source, token) in [("open", "none"), ("bearer", TOKEN)] {
        let authorization = ("authorization", format!("Bearer {token}"));
        let requests = [
            post(source, STRUCTURED, &event("e-1")),
            post(source, BATCH, &json!([event("e-2"), event("e-3")])),
            binary(post(source, JSON, &one["data"]), "e-4"),
        ];
        for request in requests {
            let reply = listener
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
    ];
    for request in requests {
        let reply = listener.send(request).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    assert_eq!(listener.stored_count(), 11);
}

/// FAULTS O01, P04, S04
#[actix_web::test]
async fn the_same_event_again_is_a_duplicate() {
    let listener = TestListener::new();
    assert_eq!(listener.post(&event("e-1")).await.status, 202);
    let again = listener.post(&event("e-1")).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
    let one = event("e-1");
    let replies = join_all((0..100).map(|_| listener.post(&one))).await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(listener.stored_count(), 1);
    assert_eq!(listener.ingress.counts.snapshot().accepted, 1);
    assert_eq!(listener.ingress.counts.snapshot().duplicates, 101);
}

/// FAULTS O02
#[actix_web::test]
async fn the_same_id_with_other_content_is_a_conflict() {
    let listener = TestListener::new();
    assert_eq!(listener.post(&event("e-1")).await.status, 202);
    for (pointer, value) in [
        ("/data/customer/email", json!("other-canary@example.com")),
        ("/subject", json!("C-1")),
        ("/type", json!("customer.viewed")),
    ] {
        let reply = listener.post(&event_with("e-1", pointer, value)).await;
        reply.is_problem(409, "conflict");
        assert_eq!(reply.errors(), [(String::new(), "conflict".to_owned())]);
    }
    let other = event_with("e-1", "/data/customer/email", json!("other@example.com"));
    let reply = listener
        .send(post("open", BATCH, &json!([event("e-2"), other])))
        .await;
    reply.is_problem(409, "conflict");
    assert_eq!(reply.errors(), [("/1".to_owned(), "conflict".to_owned())]);
    assert_eq!(listener.stored_count(), 1);
    assert_eq!(listener.refused_count("conflict"), 4);
}

/// The content of an event is its type, subject and data. A change of the bytes, the content mode, the trace headers or
/// the order of keys does not change the content.
#[actix_web::test]
async fn a_difference_outside_the_content_is_no_conflict() {
    let listener = TestListener::new();
    assert_eq!(listener.post(&event("e-1")).await.status, 202);
    let traced = event_with("e-1", "/traceparent", json!("00-aa-bb-01"));
    let timed = event_with("e-1", "/time", json!("2025-02-13T19:08:07Z"));
    for same in [traced, timed] {
        assert_eq!(
            listener.post(&same).await.json()["accepted"][0]["duplicate"],
            true
        );
    }
    let spaced = r#"{ "data": {"customer": {"email": "canary@example.com", "revision": 7,
        "imprint_customer_id": "C-1"}}, "type": "customer.changed", "source": "/crm/us",
        "id": "\u0065-1", "specversion": "1.0" }"#;
    let reply = listener
        .send(post("open", STRUCTURED, &json!(0)).set_payload(spaced))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], true);
    let reply = listener
        .send(binary(post("open", JSON, &event("e-1")["data"]), "e-1"))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], true);
    assert_eq!(listener.stored_count(), 1);
}

/// FAULTS O15
#[actix_web::test]
async fn one_id_from_two_sources_is_two_events() {
    let listener = TestListener::new();
    assert_eq!(listener.post(&event("e-1")).await.status, 202);
    let other = event_with("e-1", "/source", json!("/crm/eu"));
    assert_eq!(
        listener.post(&other).await.json()["accepted"][0]["duplicate"],
        false
    );
    let one = event("e-1");
    let authorization = ("authorization", format!("Bearer {TOKEN}"));
    let reply = listener
        .send(post("bearer", STRUCTURED, &one).insert_header(authorization))
        .await;
    assert_eq!(reply.json()["accepted"][0]["duplicate"], false);
    assert_eq!(listener.stored_count(), 3);
}

/// FAULTS O08
#[actix_web::test]
async fn an_event_without_anything_to_send_ends_as_ignored() {
    let listener = TestListener::new();
    let viewed =
        json!({"specversion": "1.0", "id": "e-1", "source": "/crm", "type": "customer.viewed"});
    let reply = listener.post(&viewed).await;
    assert_eq!(reply.statuses(), ["ignored"]);
    assert_eq!(
        listener.outbox.entries()[0].disposition,
        Disposition::Ignore(IgnoreReason::ListedType.into())
    );
    let counts = listener.ingress.counts.snapshot();
    assert_eq!((counts.accepted, counts.ignored["listed_type"]), (1, 1));
}

/// FAULTS I35
#[actix_web::test]
async fn a_batch_is_stored_in_its_order() {
    let listener = TestListener::new();
    let batch = json!([event("e-1"), event("e-2"), event("e-1")]);
    let reply = listener.send(post("open", BATCH, &batch)).await;
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
    assert_eq!(listener.stored_count(), 2);
}

/// The expected digest is a fixed value, because a changed digest would turn every repeated event into a conflict.
#[actix_web::test]
async fn the_digest_of_a_content_never_changes() {
    let listener = TestListener::new();
    assert_eq!(listener.post(&event("e-1")).await.status, 202);
    let Digest(digest) = listener.outbox.entries()[0].digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "3e34a228c08276821247a6433cd23302");
}
