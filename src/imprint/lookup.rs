//! Turns Imprint's answer to a retrieve or a search into a [`LookupResult`], with pure functions. The HTTP status has
//! priority over the body, as in [`classify`](super::classify).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::classify::{ImprintResponse, is_customer_not_found, is_cut_short};
use super::json::{object, text};
use super::{Cause, ImprintId, LookupResult, Outcome, PartnerCustomerId};
use crate::http::retry_after;
use crate::time::Timestamp;

/// The result of a retrieve or search whose answer proves neither that the customer exists nor that the customer is
/// missing.
const UNREADABLE: LookupResult = LookupResult::Failed(Outcome::Unknown(Cause::Unreadable));

/// Returns the result of a retrieve of `customer`.
pub(super) fn retrieved(
    customer: &ImprintId,
    response: ImprintResponse<'_>,
    wall: Timestamp,
) -> LookupResult {
    #[derive(Deserialize)]
    struct Retrieved<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    match response.status {
        200..=299 => match object::<Retrieved<'_>>(response.body) {
            Some(found) if customer.is_same(&found.id) => LookupResult::Found(customer.clone()),
            Some(_) => LookupResult::Failed(Outcome::Unknown(Cause::WrongCustomer)),
            None => UNREADABLE,
        },
        404 | 410 if is_cut_short(response.body) => UNREADABLE,
        404 | 410 => LookupResult::NotFound,
        _ => LookupResult::Failed(failure(response, wall)),
    }
}

/// Returns the result of a search for the partner customer id `partner`.
pub(super) fn searched(
    partner: &PartnerCustomerId,
    response: ImprintResponse<'_>,
    wall: Timestamp,
) -> LookupResult {
    match response.status {
        200..=299 => object::<SearchPage<'_>>(response.body)
            .and_then(|page| page.result(partner))
            .unwrap_or(UNREADABLE),
        // Imprint possibly answers a search without hits with a 404 that has the error type for a missing customer. A
        // 404 without this type can come from a wrong base URL.
        404 if is_customer_not_found(response.body) => LookupResult::NotFound,
        _ => LookupResult::Failed(failure(response, wall)),
    }
}

/// The body of Imprint's answer to a search. Imprint can leave out any of the three members of the body.
#[derive(Deserialize)]
struct SearchPage<'a> {
    #[serde(borrow)]
    data: Option<Vec<SearchHit<'a>>>,
    #[serde(default)]
    has_more: bool,
    total: Option<u64>,
}

/// The ids of one hit of a search. The ids are unparsed JSON, because a hit for a customer with a different id can
/// contain any JSON.
#[derive(Deserialize)]
struct SearchHit<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    partner_customer_id: Option<&'a RawValue>,
}

impl SearchPage<'_> {
    /// Returns the result of the search, or `None` if the page of hits proves nothing.
    ///
    /// Imprint possibly returns customers with similar ids, or ignores the filter and lists every customer. The bridge
    /// therefore compares each hit with the id of the search. A page can contain wrong hits next to the right hit. A
    /// page with only wrong hits shows that Imprint ignored the filter. If a page does not contain all hits, a missing
    /// hit can be a match.
    fn result(&self, partner: &PartnerCustomerId) -> Option<LookupResult> {
        let hits = match &self.data {
            Some(hits) => hits.as_slice(),
            // Some programming languages write an empty list as null, so a null list with a total of 0 is an empty
            // page.
            None if self.total == Some(0) => &[],
            None => return None,
        };
        let matches: Vec<ImprintId> = hits
            .iter()
            .filter(|hit| hit.has(partner))
            .map(SearchHit::id)
            .collect::<Option<_>>()?;
        match matches.split_first() {
            Some((first, rest)) if rest.iter().any(|id| !first.is_same(id.as_str())) => {
                Some(LookupResult::Ambiguous)
            }
            Some((first, _)) if self.has_all(hits) => Some(LookupResult::Found(first.clone())),
            None if hits.is_empty() && self.has_all(hits) => Some(LookupResult::NotFound),
            Some(_) | None => None,
        }
    }

    /// Returns whether the page has all hits: the page is the last page, and the total is not larger than the number of
    /// hits on the page.
    fn has_all(&self, hits: &[SearchHit<'_>]) -> bool {
        let counted = u64::try_from(hits.len()).unwrap_or(u64::MAX);
        !self.has_more && self.total.is_none_or(|total| total <= counted)
    }
}

impl SearchHit<'_> {
    fn has(&self, partner: &PartnerCustomerId) -> bool {
        let own = self.partner_customer_id.and_then(text);
        own.is_some_and(|id| partner.is_same(&id))
    }

    fn id(&self) -> Option<ImprintId> {
        self.id
            .and_then(text)
            .and_then(|id| ImprintId::parse(&id).ok())
    }
}

/// Returns the outcome of a retrieve or search whose answer is neither a customer nor "not found".
fn failure(response: ImprintResponse<'_>, wall: Timestamp) -> Outcome {
    let cause = Cause::Status(response.status);
    match (
        response.status,
        retry_after::parse(response.retry_after, wall),
    ) {
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

    fn response<'a>(status: u16, retry_after: &'a [String], body: &'a str) -> ImprintResponse<'a> {
        ImprintResponse {
            status,
            retry_after,
            body,
        }
    }

    fn id(raw: &str) -> ImprintId {
        ImprintId::parse(raw).unwrap()
    }

    fn search(status: u16, body: &str) -> LookupResult {
        searched(
            &PartnerCustomerId::parse("P-1").unwrap(),
            response(status, &[], body),
            WALL,
        )
    }

    #[test]
    fn only_a_hit_with_the_searched_id_counts() {
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
            (
                json!([own("A"), own("A"), own("B")]),
                LookupResult::Ambiguous,
            ),
            // Imprint may return wrong hits next to the right hit, because it matches similar ids or lists every
            // customer.
            (json!([other, odd, {}, own("A")]), one()),
            // A page with only wrong hits shows that Imprint ignored the filter.
            (json!([other]), UNREADABLE),
            (json!([odd]), UNREADABLE),
            (json!([{"id": "A"}]), UNREADABLE),
            (json!([{"partner_customer_id": "P-1"}]), UNREADABLE),
            (json!([own("A/link")]), UNREADABLE),
            (json!([own("A"), own("../keys")]), UNREADABLE),
        ];
        for (data, result) in table {
            let page = json!({"data": data, "has_more": false});
            assert_eq!(search(200, &page.to_string()), result, "{page}");
            let listed = data.as_array().unwrap().len();
            let page = json!({"data": data, "total": listed});
            assert_eq!(search(200, &page.to_string()), result, "{page}");
            // On a page that lacks hits, only the result "ambiguous" is certain.
            let is_certain = result == LookupResult::Ambiguous;
            let result = if is_certain { result } else { UNREADABLE };
            for page in [
                json!({"data": data, "has_more": true}),
                json!({"data": data, "has_more": false, "total": listed + 1}),
                json!({"data": data, "total": listed + 5}),
            ] {
                assert_eq!(search(200, &page.to_string()), result, "{page}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_no_page_proves_nothing() {
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
            r#"{"data":null,"total":0,"has_more":true}"#,
            r#"{"data":[null]}"#,
            r#"{"data":[],"has_more":"no"}"#,
            r#"{"data":[],"total":5}"#,
            r#"{"data":[],"total":-1}"#,
            r#"{"data":[],"total":"0"}"#,
            r#"{"data":["#,
        ] {
            assert_eq!(search(200, body), UNREADABLE, "{body}");
        }
        for body in [
            r#"{"data":[]}"#,
            r#"{"data":[],"total":0}"#,
            r#"{"data":null,"has_more":false,"total":0}"#,
        ] {
            assert_eq!(search(200, body), LookupResult::NotFound, "{body}");
        }
    }

    #[test]
    fn only_a_typed_404_is_an_empty_search() {
        let typed = r#"{"type":"CUSTOMER_NOT_FOUND_ERROR"}"#;
        assert_eq!(search(404, typed), LookupResult::NotFound);
        for (status, body) in [(404, "{}"), (410, typed), (400, typed)] {
            let failed = LookupResult::Failed(Outcome::Unavailable(Cause::Status(status)));
            assert_eq!(search(status, body), failed, "{status} {body}");
        }
    }

    #[test]
    fn a_failed_lookup_says_why() {
        let look_up = |status, retry_after: &[&str]| {
            let headers: Vec<String> = retry_after.iter().map(|&text| text.to_owned()).collect();
            let retrieved = retrieved(&id("A"), response(status, &headers, ""), WALL);
            let partner = PartnerCustomerId::parse("P-1").unwrap();
            let searched = searched(&partner, response(status, &headers, ""), WALL);
            assert_eq!(retrieved, searched, "{status}");
            retrieved
        };
        let wait = |seconds| Some(Duration::from_secs(seconds));
        let status = Cause::Status;
        for (answer, retry_after, outcome) in [
            (100, None, Outcome::Unknown(Cause::Protocol)),
            (199, None, Outcome::Unknown(Cause::Protocol)),
            (300, None, Outcome::Denied(status(300))),
            (302, None, Outcome::Denied(status(302))),
            (399, None, Outcome::Denied(status(399))),
            (400, None, Outcome::Unavailable(status(400))),
            (401, None, Outcome::Denied(status(401))),
            (403, None, Outcome::Denied(status(403))),
            (405, None, Outcome::Unavailable(status(405))),
            (429, None, Outcome::Throttled(None)),
            (429, Some("7"), Outcome::Throttled(wait(7))),
            (500, Some("7"), Outcome::Unavailable(status(500))),
            (503, None, Outcome::Unavailable(status(503))),
            (503, Some("7"), Outcome::Throttled(wait(7))),
        ] {
            let retry_after: Vec<&str> = retry_after.into_iter().collect();
            let result = look_up(answer, &retry_after);
            assert_eq!(result, LookupResult::Failed(outcome), "{answer}");
        }
    }

    #[test]
    fn a_retrieve_finds_only_the_customer_it_asked_for() {
        let retrieve = |status, body| retrieved(&id("CUST-1"), response(status, &[], body), WALL);
        let found = LookupResult::Found(id("CUST-1"));
        for status in [200, 299] {
            assert_eq!(retrieve(status, r#"{"id":"CUST-1"}"#), found);
        }
        let wrong = LookupResult::Failed(Outcome::Unknown(Cause::WrongCustomer));
        assert_eq!(retrieve(200, r#"{"id":"CUST-2"}"#), wrong);
        for body in ["<html>", "[]", "{}", r#"{"id":7}"#] {
            assert_eq!(retrieve(200, body), UNREADABLE, "{body}");
        }
        for status in [404, 410] {
            assert_eq!(retrieve(status, ""), LookupResult::NotFound);
            assert_eq!(retrieve(status, r#"{"type":"#), UNREADABLE);
        }
    }
}
