//! What an answer to a retrieve or a search means. Pure; status first, as in [`classify`](super::classify).

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::object;
use super::classify::{Reply, hint};
use super::{Cause, Found, ImprintId, Outcome, PartnerId};
use crate::time::Timestamp;

/// Says what came of a retrieve of `customer`.
pub(super) fn retrieved(customer: &ImprintId, reply: Reply<'_>, wall: Timestamp) -> Found {
    #[derive(Deserialize)]
    struct Customer<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    match reply.status {
        200..=299 => match object::<Customer<'_>>(reply.body) {
            Some(found) if customer.is_same(&found.id) => Found::One(customer.clone()),
            Some(_) => Found::Not(Outcome::Unknown(Cause::WrongCustomer)),
            None => Found::Not(Outcome::Unknown(Cause::Unreadable)),
        },
        404 | 410 => Found::None,
        _ => Found::Not(unfound(reply, wall)),
    }
}

/// Says what came of a search for `partner`. Every hit is held against what was asked: a filter that Imprint does not
/// take lists everybody (imprint-api.md §3, §9.1).
pub(super) fn searched(partner: &PartnerId, reply: Reply<'_>, wall: Timestamp) -> Found {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        data: Vec<Hit<'a>>,
        #[serde(default)]
        has_more: bool,
    }
    #[derive(Deserialize)]
    struct Hit<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow, default)]
        partner_customer_id: Option<Cow<'a, str>>,
    }
    let unreadable = Found::Not(Outcome::Unknown(Cause::Unreadable));
    if !(200..=299).contains(&reply.status) {
        return Found::Not(unfound(reply, wall));
    }
    let Some(page) = object::<Page<'_>>(reply.body) else {
        return unreadable;
    };
    let mut found: Vec<ImprintId> = Vec::new();
    let mut others = page.has_more;
    for hit in &page.data {
        if hit.partner_customer_id.as_deref() != Some(partner.as_str()) {
            others = true;
            continue;
        }
        let Ok(imprint) = ImprintId::parse(&hit.id) else {
            return unreadable;
        };
        if !found.iter().any(|known| known.is_same(&hit.id)) {
            found.push(imprint);
        }
    }
    match (found.pop(), found.is_empty(), others) {
        (Some(_), false, _) => Found::Several,
        // Somebody else among the hits, or a page that is not the last one, may hide a second one.
        (_, _, true) => unreadable,
        (Some(imprint), true, false) => Found::One(imprint),
        (None, _, false) => Found::None,
    }
}

/// Why nobody can say.
fn unfound(reply: Reply<'_>, wall: Timestamp) -> Outcome {
    let cause = Cause::Status(reply.status);
    match (reply.status, hint(reply.retry_after, wall)) {
        (300..=399 | 401 | 403, _) => Outcome::Denied(cause),
        (429, wait) => Outcome::Throttled(wait),
        (503, Some(wait)) => Outcome::Throttled(Some(wait)),
        (0..=199, _) => Outcome::Unknown(Cause::Protocol),
        (_, _) => Outcome::Unavailable(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WALL: Timestamp = Timestamp::from_millis(1_739_473_687_000);

    fn reply<'a>(status: u16, retry_after: &'a [String], body: &'a str) -> Reply<'a> {
        Reply {
            status,
            retry_after,
            body: body.as_bytes(),
        }
    }

    fn id(raw: &str) -> ImprintId {
        ImprintId::parse(raw).unwrap()
    }

    fn search(status: u16, body: &str) -> Found {
        searched(
            &PartnerId::parse("P-1").unwrap(),
            reply(status, &[], body),
            WALL,
        )
    }

    /// M12
    #[test]
    fn only_a_hit_that_equals_what_was_asked_is_one() {
        let unreadable = Found::Not(Outcome::Unknown(Cause::Unreadable));
        let table = [
            (r#"{"data":[],"has_more":false,"total":0}"#, Found::None),
            (
                r#"{"data":[{"id":"A","partner_customer_id":"P-1"}]}"#,
                Found::One(id("A")),
            ),
            (
                r#"{"data":[{"id":"A","partner_customer_id":"P-1"},{"id":"A","partner_customer_id":"P-1"}]}"#,
                Found::One(id("A")),
            ),
            (
                r#"{"data":[{"id":"A","partner_customer_id":"P-1"},{"id":"B","partner_customer_id":"P-1"}],"has_more":true}"#,
                Found::Several,
            ),
            (
                r#"{"data":[{"id":"A","partner_customer_id":"P-2"}]}"#,
                unreadable.clone(),
            ),
            (r#"{"data":[{"id":"A"}]}"#, unreadable.clone()),
            (
                r#"{"data":[{"id":"A","partner_customer_id":"P-1"},{"id":"B","partner_customer_id":"p-1"}]}"#,
                unreadable.clone(),
            ),
            (r#"{"data":[],"has_more":true}"#, unreadable.clone()),
            (
                r#"{"data":[{"id":"A/link","partner_customer_id":"P-1"}]}"#,
                unreadable.clone(),
            ),
            ("[]", unreadable.clone()),
            ("{}", unreadable),
        ];
        for (body, found) in table {
            assert_eq!(search(200, body), found, "{body}");
        }
    }

    #[test]
    fn a_retrieve_says_there_or_not_there_or_nothing() {
        let asked = id("CUST-1");
        let retrieve = |status, body| retrieved(&asked, reply(status, &[], body), WALL);
        assert_eq!(
            retrieve(200, r#"{"id":"CUST-1"}"#),
            Found::One(id("CUST-1"))
        );
        let wrong = Found::Not(Outcome::Unknown(Cause::WrongCustomer));
        assert_eq!(retrieve(200, r#"{"id":"CUST-2"}"#), wrong);
        let unreadable = Found::Not(Outcome::Unknown(Cause::Unreadable));
        assert_eq!(retrieve(200, "<html>"), unreadable);
        for status in [404, 410] {
            assert_eq!(retrieve(status, ""), Found::None);
        }
        for status in [301, 401, 403] {
            let denied = Outcome::Denied(Cause::Status(status));
            assert_eq!(retrieve(status, ""), Found::Not(denied));
        }
        for status in [400, 405, 408, 500, 503] {
            let unavailable = Outcome::Unavailable(Cause::Status(status));
            assert_eq!(retrieve(status, ""), Found::Not(unavailable));
        }
        let hinted = retrieved(&asked, reply(503, &["7".to_owned()], ""), WALL);
        let throttled = Outcome::Throttled(Some(Duration::from_secs(7)));
        assert_eq!(hinted, Found::Not(throttled));
    }
}
