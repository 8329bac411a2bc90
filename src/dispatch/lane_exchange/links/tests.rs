//! Tests of the relation between the ids of an entry and the identity links.

use super::*;
use crate::dispatch::rules::UnknownCustomer;
use crate::event::{SourceName, Version};
use crate::imprint::Update;
use crate::imprint::clearing::{AddressClearing, Clearing, FieldClearing};

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const HOUR: i64 = 3_600_000;

const RULES: DeliveryRules = DeliveryRules {
    max_fold: 100,
    undecided_max: Duration::from_hours(24),
    attempts_max: 12,
    park_after: Duration::from_hours(24),
    reassert_after: Duration::from_secs(60),
    clearing: Clearing {
        fields: FieldClearing::Omit,
        address: AddressClearing::Verify,
    },
    unknown: UnknownCustomer::Ignore,
    wait_max: Duration::from_hours(24),
    link_ttl: Duration::from_hours(24),
    unknown_ttl: Duration::from_mins(15),
};

fn imprint(id: &str) -> ImprintId {
    ImprintId::parse(id).unwrap()
}

fn partner(id: &str) -> PartnerCustomerId {
    PartnerCustomerId::parse(id).unwrap()
}

/// A link that Imprint confirmed so many hours ago.
fn link(partner_id: &str, imprint_id: Option<&str>, hours: i64) -> IdentityLink {
    IdentityLink {
        partner: partner(partner_id),
        imprint: imprint_id.map(imprint),
        confirmed_at: Timestamp::from_millis(NOW.as_millis() - hours * HOUR),
    }
}

/// An entry whose event names its customer only by our id "P".
fn by_our_id() -> WaitingEntry {
    WaitingEntry {
        jump_max: None,
        entry: EntryId(1),
        version: Version {
            epoch: 0,
            value: 0,
            arrival: 1,
        },
        source: SourceName::parse("crm").unwrap(),
        update: Update::default(),
        customer: CustomerRef::Partner(partner("P")),
        accepted_at: NOW,
        floors: None,
    }
}

/// Checks the relation of an entry for the customer "A" with our id "P": with both ids, and with our id only.
#[track_caller]
fn check(links: &[IdentityLink], both: &Relation, ours: &Relation) {
    let pair = CustomerRef::Pair {
        imprint: imprint("A"),
        partner: partner("P"),
    };
    for (customer, expected) in [(pair, both), (CustomerRef::Partner(partner("P")), ours)] {
        let waiting = WaitingEntry {
            customer,
            ..by_our_id()
        };
        let (lane, own) = (imprint("A"), partner("P"));
        let relation = relation(&waiting, &own, (&lane, links), &RULES, NOW);
        assert_eq!(relation, *expected, "{links:?} {:?}", waiting.customer);
    }
}

/// FAULTS N215: the newest answer of Imprint about either id decides, and an old answer is checked first.
#[test]
fn links_decide_whether_two_ids_belong_together() {
    use CheckStep::{Move, RetrieveLane, Search, Unknown};
    use Relation::{Agreed, Conflict, Expired, Unsure};
    let to_b = || imprint("B");
    // Without a contradiction.
    for links in [
        vec![link("P", Some("A"), 1)],
        vec![link("P", None, 0)],
        vec![link("P", Some("A"), 1), link("Q", Some("A"), 99)],
    ] {
        check(&links, &Agreed, &Agreed);
    }
    // FAULTS N1167: nothing confirms any more that our id belongs to the customer of the lane.
    for links in [
        vec![],
        vec![link("P", Some("A"), 24)],
        vec![link("P", None, 99)],
        vec![link("Q", Some("B"), 1)],
    ] {
        check(&links, &Agreed, &Expired);
    }
    // The customer of the lane has another id.
    for links in [
        vec![link("Q", Some("A"), 1)],
        vec![link("P", Some("A"), 2), link("Q", Some("A"), 1)],
        vec![link("P", Some("B"), 99), link("Q", Some("A"), 1)],
    ] {
        check(&links, &Conflict, &Unsure(Search));
    }
    // An answer of just the age of the lifetime is old.
    check(
        &[link("Q", Some("A"), 24)],
        &Unsure(Search),
        &Unsure(Search),
    );
    // Our id belongs to another customer.
    let own = link("P", Some("B"), 1);
    check(
        std::slice::from_ref(&own),
        &Unsure(RetrieveLane(to_b())),
        &Unsure(Move(to_b())),
    );
    let old = link("Q", Some("A"), 99);
    check(
        &[own.clone(), old.clone()],
        &Unsure(RetrieveLane(to_b())),
        &Unsure(Move(to_b())),
    );
    check(
        &[own, link("Q", Some("A"), 2)],
        &Conflict,
        &Unsure(Move(to_b())),
    );
    // Nobody has our id, and the customer of the lane had another id.
    check(
        &[link("P", None, 0), old.clone()],
        &Conflict,
        &Unsure(Unknown),
    );
    // Every answer that contradicts the entry is old.
    for links in [
        vec![old.clone()],
        vec![link("P", Some("B"), 99)],
        vec![link("P", Some("A"), 100), old.clone()],
        vec![link("P", None, 99), old],
    ] {
        check(&links, &Unsure(Search), &Unsure(Search));
    }
}

/// FAULTS N725: a search has found the customer of another confirmed id.
#[test]
fn the_confirmed_id_is_searched_before_a_second_id_is_believed() {
    check(
        &[link("P", Some("A"), 1), link("Q", Some("A"), 2)],
        &Relation::Agreed,
        &Relation::Unsure(CheckStep::SearchRival(partner("Q"))),
    );
}

/// FAULTS N215: a CRM and Imprint may spell our UUID in different letter case.
#[test]
fn the_letter_case_of_our_uuid_is_no_contradiction() {
    const OURS: &str = "bbb815e9-f654-438d-9ad3-3f7bb8136fc0";
    let upper = OURS.to_uppercase();
    let lane = imprint("A");
    let waiting = WaitingEntry {
        customer: CustomerRef::Pair {
            imprint: lane.clone(),
            partner: partner(OURS),
        },
        ..by_our_id()
    };
    for (links, expected) in [
        (vec![link(&upper, Some("A"), 1)], Relation::Agreed),
        (
            vec![link(&upper, Some("A"), 1), link(OURS, Some("B"), 2)],
            Relation::Agreed,
        ),
        (vec![link("Q", Some("A"), 1)], Relation::Conflict),
    ] {
        let ids = (&lane, &links[..]);
        let relation = relation(&waiting, &partner(OURS), ids, &RULES, NOW);
        assert_eq!(relation, expected, "{links:?}");
    }
}

/// With a lifetime of zero, an answer of this moment still decides: otherwise the same question would follow for ever.
#[test]
fn an_answer_of_this_minute_always_decides() {
    let rules = DeliveryRules {
        link_ttl: Duration::ZERO,
        ..RULES
    };
    let own = link("P", Some("B"), 0);
    assert!(!is_fresh(&own, &rules, NOW));
    let waiting = by_our_id();
    let ids = (&imprint("A"), &[own][..]);
    let relation = relation(&waiting, &partner("P"), ids, &rules, NOW);
    assert_eq!(relation, Relation::Unsure(CheckStep::Move(imprint("B"))));
}
