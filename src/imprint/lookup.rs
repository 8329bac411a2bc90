//! What an answer to a retrieve or a search means. Pure; status first, as in [`classify`](super::classify).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::classify::{ImprintResponse, names_the_customer};
use super::json::{object, text};
use super::{Cause, ImprintId, LookupResult, Outcome, PartnerCustomerId};
use crate::http::retry_after;
use crate::time::Timestamp;

/// Says what came of a retrieve of `customer`.
pub(super) fn retrieved(
    customer: &ImprintId,
    reply: ImprintResponse<'_>,
    wall: Timestamp,
) -> LookupResult {
    #[derive(Deserialize)]
    struct Customer<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    match reply.status {
        200..=299 => match object::<Customer<'_>>(reply.body) {
            Some(found) if customer.is_same(&found.id) => LookupResult::Found(customer.clone()),
            Some(_) => LookupResult::Failed(Outcome::Unknown(Cause::WrongCustomer)),
            None => LookupResult::Failed(Outcome::Unknown(Cause::Unreadable)),
        },
        404 | 410 => LookupResult::NotFound,
        _ => LookupResult::Failed(lookup_failure(reply, wall)),
    }
}

/// Says what came of a search for `partner`.
pub(super) fn searched(
    partner: &PartnerCustomerId,
    reply: ImprintResponse<'_>,
    wall: Timestamp,
) -> LookupResult {
    match reply.status {
        200..=299 => object::<SearchPage<'_>>(reply.body)
            .and_then(|page| page.found(partner))
            .unwrap_or(LookupResult::Failed(Outcome::Unknown(Cause::Unreadable))),
        // One of Imprint's ways to say "nobody" (imprint-api.md §6); a bare 404 may be a wrong address.
        404 if names_the_customer(reply.body) => LookupResult::NotFound,
        _ => LookupResult::Failed(lookup_failure(reply, wall)),
    }
}

/// What a search answers. Imprint promises none of the three fields.
#[derive(Deserialize)]
struct SearchPage<'a> {
    #[serde(borrow)]
    data: Option<Vec<SearchHit<'a>>>,
    #[serde(default)]
    has_more: bool,
    total: Option<u64>,
}

/// What of a hit is looked at: one that is not the one that was asked for may look as it likes.
#[derive(Deserialize)]
struct SearchHit<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    partner_customer_id: Option<&'a RawValue>,
}

impl SearchPage<'_> {
    /// Whom it finds; `None` where it cannot be believed.
    ///
    /// Every hit is held against what was asked, because the match may be fuzzy, and a filter that Imprint does not take
    /// lists everybody (imprint-api.md §3, §9.1). Others beside the right one hide nobody, but others alone say that
    /// the filter was not taken, and what is not on the page may be a second one.
    fn found(&self, partner: &PartnerCustomerId) -> Option<LookupResult> {
        let hits = match &self.data {
            Some(hits) => hits.as_slice(),
            // An empty list is null in some languages.
            None if self.total == Some(0) => &[],
            None => return None,
        };
        let own: Vec<ImprintId> = hits
            .iter()
            .filter(|hit| hit.names(partner))
            .map(SearchHit::id)
            .collect::<Option<_>>()?;
        match own.split_first() {
            Some((first, rest)) if rest.iter().any(|id| !first.is_same(id.as_str())) => {
                Some(LookupResult::Ambiguous)
            }
            Some((first, _)) if !self.has_more => Some(LookupResult::Found(first.clone())),
            None if hits.is_empty() && !self.has_more => Some(LookupResult::NotFound),
            Some(_) | None => None,
        }
    }
}

impl SearchHit<'_> {
    fn names(&self, partner: &PartnerCustomerId) -> bool {
        let own = self.partner_customer_id.and_then(text);
        own.is_some_and(|id| id == partner.as_str())
    }

    fn id(&self) -> Option<ImprintId> {
        self.id
            .and_then(text)
            .and_then(|id| ImprintId::parse(&id).ok())
    }
}

/// Why nobody can say.
fn lookup_failure(reply: ImprintResponse<'_>, wall: Timestamp) -> Outcome {
    let cause = Cause::Status(reply.status);
    match (reply.status, retry_after::parse(reply.retry_after, wall)) {
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

    use serde_json::json;

    use super::*;

    const WALL: Timestamp = Timestamp::from_millis(1_739_473_687_000);

    fn reply<'a>(status: u16, retry_after: &'a [String], body: &'a str) -> ImprintResponse<'a> {
        ImprintResponse {
            status,
            retry_after,
            body: body.as_bytes(),
        }
    }

    fn id(raw: &str) -> ImprintId {
        ImprintId::parse(raw).unwrap()
    }

    fn search(status: u16, body: &str) -> LookupResult {
        searched(
            &PartnerCustomerId::parse("P-1").unwrap(),
            reply(status, &[], body),
            WALL,
        )
    }

    const UNREADABLE: LookupResult = LookupResult::Failed(Outcome::Unknown(Cause::Unreadable));

    /// M12
    #[test]
    fn only_a_hit_that_equals_what_was_asked_is_one() {
        let own = |id: &str| json!({"id": id, "partner_customer_id": "P-1"});
        let other = json!({"id": "B", "partner_customer_id": "p-1"});
        let odd = json!({"id": 7, "partner_customer_id": 17});
        let upper = "BBB815E9-F654-438D-9AD3-3F7BB8136FC0";
        let one = || LookupResult::Found(id("A"));
        let table = [
            (json!([]), LookupResult::NotFound),
            (json!([own("A")]), one()),
            (json!([own("A"), own("A")]), one()),
            (
                json!([own(upper), own(&upper.to_lowercase())]),
                LookupResult::Found(id(upper)),
            ),
            (json!([own("A"), own("B")]), LookupResult::Ambiguous),
            // Others beside it: the match is fuzzy, or everybody is listed. Nobody is hidden.
            (json!([other, odd, {}, own("A")]), one()),
            // Others alone: the filter was not taken.
            (json!([other]), UNREADABLE),
            (json!([odd]), UNREADABLE),
            (json!([{"id": "A"}]), UNREADABLE),
            (json!([{"partner_customer_id": "P-1"}]), UNREADABLE),
            (json!([own("A/link")]), UNREADABLE),
            (json!([own("A"), own("../keys")]), UNREADABLE),
        ];
        for (data, found) in table {
            let page = json!({"data": data, "has_more": false});
            assert_eq!(search(200, &page.to_string()), found, "{page}");
            let page = json!({"data": data, "has_more": true});
            let perhaps = match found {
                LookupResult::Ambiguous => LookupResult::Ambiguous,
                LookupResult::Found(_) | LookupResult::NotFound | LookupResult::Failed(_) => {
                    UNREADABLE
                }
            };
            assert_eq!(search(200, &page.to_string()), perhaps, "{page}");
        }
    }

    /// U16, U17, U18
    #[test]
    fn an_answer_that_is_no_page_says_nothing() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            "[[],false,0]",
            r#"{"id":"A","partner_customer_id":"P-1"}"#,
            r#"{"error":{"type":"X"}}"#,
            r#"{"data":{}}"#,
            r#"{"data":null}"#,
            r#"{"data":null,"total":1}"#,
            r#"{"data":[null]}"#,
            r#"{"data":[],"has_more":"no"}"#,
            r#"{"data":["#,
        ] {
            assert_eq!(search(200, body), UNREADABLE, "{body}");
        }
        for body in [
            r#"{"data":[]}"#,
            r#"{"data":null,"has_more":false,"total":0}"#,
        ] {
            assert_eq!(search(200, body), LookupResult::NotFound, "{body}");
        }
    }

    #[test]
    fn a_search_that_is_refused_finds_nobody_and_does_not_say_so() {
        for status in [400, 404, 408, 410, 500, 503] {
            let unavailable = Outcome::Unavailable(Cause::Status(status));
            assert_eq!(search(status, "{}"), LookupResult::Failed(unavailable));
        }
        for status in [302, 401, 403] {
            let denied = Outcome::Denied(Cause::Status(status));
            assert_eq!(search(status, "{}"), LookupResult::Failed(denied));
        }
        let throttled = Outcome::Throttled(None);
        assert_eq!(search(429, ""), LookupResult::Failed(throttled));
    }

    #[test]
    fn a_retrieve_says_there_or_not_there_or_nothing() {
        let asked = id("CUST-1");
        let retrieve = |status, body| retrieved(&asked, reply(status, &[], body), WALL);
        assert_eq!(
            retrieve(200, r#"{"id":"CUST-1"}"#),
            LookupResult::Found(id("CUST-1"))
        );
        let wrong = LookupResult::Failed(Outcome::Unknown(Cause::WrongCustomer));
        assert_eq!(retrieve(200, r#"{"id":"CUST-2"}"#), wrong);
        let unreadable = LookupResult::Failed(Outcome::Unknown(Cause::Unreadable));
        assert_eq!(retrieve(200, "<html>"), unreadable);
        for status in [404, 410] {
            assert_eq!(retrieve(status, ""), LookupResult::NotFound);
        }
        for status in [301, 401, 403] {
            let denied = Outcome::Denied(Cause::Status(status));
            assert_eq!(retrieve(status, ""), LookupResult::Failed(denied));
        }
        for status in [400, 405, 408, 500, 503] {
            let unavailable = Outcome::Unavailable(Cause::Status(status));
            assert_eq!(retrieve(status, ""), LookupResult::Failed(unavailable));
        }
        let hinted = retrieved(&asked, reply(503, &["7".to_owned()], ""), WALL);
        let throttled = Outcome::Throttled(Some(Duration::from_secs(7)));
        assert_eq!(hinted, LookupResult::Failed(throttled));
    }
}
