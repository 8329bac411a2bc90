//! Tests of lanes that wait for the turn of their search: an event of another source does not wait for the turn of the
//! first source.

use imprint_bridge::imprint::PartnerCustomerId;
use imprint_bridge::outbox::Absence;

use super::*;

/// The turn of the search of the lane.
const TURN: Timestamp = Timestamp::from_millis(NOW.as_millis() + 75_000);

/// Returns an event of this source about the customer with the partner id `P-1`.
fn by_partner(source: &str, id: &str) -> NewEntry {
    let partner = PartnerCustomerId::parse("P-1").unwrap();
    of(source, id, CustomerRef::Partner(partner))
}

fn of(source: &str, id: &str, customer: CustomerRef) -> NewEntry {
    let mut new = entry(id, "CUST-1", 1);
    new.identity.source = SourceName::parse(source).unwrap();
    if let Disposition::Enqueue(change) = &mut new.disposition {
        change.customer = customer;
    }
    new
}

/// Settles a lane whose search must wait for its turn.
fn postponed(claimed: &ClaimedLane) -> Settlement {
    Settlement {
        attempted: Vec::new(),
        ..settlement(claimed, Vec::new(), TURN)
    }
}

/// Returns whether the only lane is due now.
async fn is_due(outbox: &dyn Outbox) -> bool {
    !claim(outbox, NOW).await.lanes.is_empty()
}

/// FAULTS N302: the flood of one source has postponed a lane, and then another source names the customer of the lane.
#[tokio::test]
async fn another_source_does_not_wait_for_the_turn_of_the_first() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("busy", "a")]).await;
        record(outbox, postponed(&claim_one(outbox).await)).await;
        append(outbox, &[by_partner("busy", "b")]).await;
        assert!(!is_due(outbox).await, "{engine}: the same source");
        append(outbox, &[by_partner("calm", "c")]).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.waiting.len(), 3, "{engine}");
        record(outbox, postponed(&claimed)).await;
        append(outbox, &[by_partner("calm", "d")]).await;
        assert!(!is_due(outbox).await, "{engine}: calm has its own turn");
    }
}

/// FAULTS N302: another source names the customer while the lane is claimed, and its claim does not have the event.
#[tokio::test]
async fn another_source_does_not_wait_if_the_lane_is_claimed() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        append(outbox, &[by_partner("busy", "a")]).await;
        let claimed = claim_one(outbox).await;
        append(outbox, &[by_partner("busy", "b")]).await;
        record(outbox, postponed(&claimed)).await;
        assert!(!is_due(outbox).await, "{engine}: the same source");
        outbox.release(NOW).await.unwrap();
        let claimed = claim_one(outbox).await;
        let others = [by_partner("calm", "c"), by_partner("busy", "d")];
        append(outbox, &others).await;
        record(outbox, postponed(&claimed)).await;
        let claimed = claim_one(outbox).await;
        assert_eq!(claimed.waiting.len(), 4, "{engine}");
        record(outbox, postponed(&claimed)).await;
        assert!(!is_due(outbox).await, "{engine}: calm has its own turn");
    }
}

/// FAULTS N302: an operator replays an event of another source into the lane.
#[tokio::test]
async fn a_replayed_event_does_not_wait_for_the_turn_of_another_source() {
    for (engine, outbox, _folder) in engines() {
        let outbox = outbox.as_ref();
        let mut parked = by_partner("calm", "parked");
        if let Disposition::Enqueue(change) = parked.disposition {
            parked.disposition = Disposition::Park(change, ParkReason::ForeignAddress);
        }
        let parked = append(outbox, &[parked]).await[0].entry;
        append(outbox, &[by_partner("busy", "a")]).await;
        record(outbox, postponed(&claim_one(outbox).await)).await;
        let replay = Replay {
            entry: parked,
            change: ReplayChange::Stored,
        };
        let event = AuditEvent {
            operator: "alice".to_owned(),
            action: "replay",
            target: "some".to_owned(),
            reason: None,
            at: NOW,
        };
        outbox.replay(vec![replay], event).await.unwrap();
        assert_eq!(claim_one(outbox).await.waiting.len(), 2, "{engine}");
    }
}

/// A lane that rests for any other reason keeps its rest: a failing lane, a lane with an answer that waits for proof,
/// and a lane that can be sent without a search.
#[tokio::test]
async fn a_lane_that_rests_keeps_its_rest() {
    let imprint = CustomerRef::Imprint(ImprintId::parse("CUST-1").unwrap());
    let partner = CustomerRef::Partner(PartnerCustomerId::parse("P-1").unwrap());
    let absence = Some(Absence {
        at: NOW,
        is_typed: true,
        by_search: true,
        by_id: false,
        key: imprint_bridge::outbox::KeyMark(1),
    });
    let absent = Unproven {
        since: Some(NOW),
        absence,
    };
    let table = [
        (partner.clone(), after_failures(1), Unproven::default()),
        (partner, Trials::default(), absent),
        (imprint, Trials::default(), Unproven::default()),
    ];
    for (customer, trials, unproven) in table {
        for (engine, outbox, _folder) in engines() {
            let outbox = outbox.as_ref();
            append(outbox, &[of("busy", "a", customer.clone())]).await;
            let claimed = claim_one(outbox).await;
            append(outbox, &[of("calm", "b", customer.clone())]).await;
            let rests = Settlement {
                trials,
                unproven,
                ..postponed(&claimed)
            };
            record(outbox, rests).await;
            assert!(!is_due(outbox).await, "{engine}: while it was claimed");
            append(outbox, &[of("more", "c", customer.clone())]).await;
            assert!(!is_due(outbox).await, "{engine}: {trials:?} {unproven:?}");
        }
    }
}

/// FAULTS N784: a lane with an answer without an error type of Imprint counts as failing until the answer is proven, also
/// while the lane waits for the turn of its search.
#[tokio::test]
async fn a_lane_with_an_untyped_answer_counts_as_failing() {
    let absent = |is_typed| Absence {
        at: NOW,
        is_typed,
        by_search: false,
        by_id: true,
        key: imprint_bridge::outbox::KeyMark(1),
    };
    let since = Some(NOW);
    for (since, absence, expected) in [
        (None, None, Standing::Untried),
        (since, Some(absent(true)), Standing::Untried),
        (since, Some(absent(false)), Standing::Failing),
        (since, None, Standing::Failing),
    ] {
        for (engine, outbox, _folder) in engines() {
            let outbox = outbox.as_ref();
            append(outbox, &[by_partner("crm", "a")]).await;
            let claimed = claim_one(outbox).await;
            let waits = Settlement {
                due: NOW,
                unproven: Unproven { since, absence },
                ..postponed(&claimed)
            };
            record(outbox, waits).await;
            let standing = claim_one(outbox).await.standing;
            assert_eq!(standing, expected, "{engine} {absence:?}");
        }
    }
}
