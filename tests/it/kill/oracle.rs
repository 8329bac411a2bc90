//! The oracle of the kill test: compares the acknowledged events with their receipts, with the requests that Imprint
//! received, and with the customers that it stores.
//!
//! The oracle does not know how the bridge works. The oracle's input is plain data, so that its own tests need no
//! bridge: these tests change one record and expect a violation.

use std::collections::{BTreeMap, BTreeSet};

use imprint_bridge::sandbox::{LedgerEntry, Operation};
use serde_json::Value;

use super::event::{CarriedEvents, Event, imprint_id};
use super::report::Violation;

/// The input of the kill test's oracle, collected after the bridge has answered every sent event with 2xx.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// The receipt of each event, or `None` if the bridge has no receipt.
    pub(crate) receipts: BTreeMap<Event, Option<Value>>,
    /// The requests that Imprint received, in order of arrival.
    pub(crate) calls: Vec<UpdateCall>,
    /// The e-mail address and the first name of each customer at Imprint.
    pub(crate) customers: BTreeMap<usize, (Option<String>, Option<String>)>,
    /// The number of bridge processes that were killed or crashed.
    pub(crate) kills: u64,
    /// The maximum number of lanes that a bridge process holds between claim and settlement.
    pub(crate) lanes: u64,
}

/// One update that Imprint received.
#[derive(Clone, Debug)]
pub(crate) struct UpdateCall {
    pub(crate) customer: usize,
    pub(crate) body: Value,
    /// True if the sandbox changed the customer.
    pub(crate) applied: bool,
    /// True if the sandbox's answer was not a complete 200 with this customer.
    pub(crate) is_faulty: bool,
}

/// The counts that the oracle returns if it finds no violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) superseded: u64,
    pub(crate) applied: u64,
    pub(crate) repeats: u64,
    pub(crate) faulty: u64,
}

impl UpdateCall {
    /// Reads the sandbox's ledger. The bridge also retrieves a customer whose update Imprint has applied, to find out
    /// whether Imprint works. Any other retrieve is a violation.
    pub(crate) fn read_all(ledger: &[LedgerEntry]) -> Result<Vec<Self>, Violation> {
        let mut applied = BTreeSet::new();
        let mut calls = Vec::new();
        for entry in ledger {
            let is_witness = entry.operation == Operation::Retrieve
                && entry
                    .customer
                    .as_ref()
                    .is_some_and(|id| applied.contains(id));
            if !is_witness {
                calls.push(Self::read(entry)?);
            }
            applied.extend(entry.customer.clone().filter(|_| entry.applied));
        }
        Ok(calls)
    }

    /// Reads an entry of the sandbox's ledger. A call that is not an update is a violation.
    fn read(entry: &LedgerEntry) -> Result<Self, Violation> {
        let invented = || Violation::Invented {
            request: format!("{} {}", entry.method, entry.path),
        };
        let customer = entry
            .customer
            .as_deref()
            .filter(|_| entry.operation == Operation::Update)
            .and_then(|id| id.strip_prefix("kill-")?.parse().ok())
            .ok_or_else(invented)?;
        let is_slow = entry.fault.is_some_and(|fault| fault == "latency");
        Ok(Self {
            customer,
            body: entry.body.clone(),
            applied: entry.applied,
            is_faulty: entry.status != Some(200) || (entry.fault.is_some() && !is_slow),
        })
    }
}

/// The newest applied revisions of one customer, and the numbers of repeated and faulty requests about the customer.
#[derive(Default)]
struct Progress {
    email: u64,
    first_name: u64,
    faulty: u64,
    repeats: u64,
}

/// Checks all invariants of the kill test.
pub(crate) fn check(evidence: &Evidence) -> Result<Counts, Violation> {
    let mut counts = Counts::default();
    let mut progress: BTreeMap<usize, Progress> = BTreeMap::new();
    let mut applied: BTreeSet<Event> = BTreeSet::new();
    for call in &evidence.calls {
        let carried = carried_events(evidence, call)?;
        let progress = progress.entry(call.customer).or_default();
        progress.faulty += u64::from(call.is_faulty);
        if call.applied {
            counts.applied += 1;
            applied.extend(carried.events());
            advance(progress, call.customer, carried)?;
        }
    }
    for progress in progress.values() {
        counts.repeats += progress.repeats;
        counts.faulty += progress.faulty;
    }
    check_repeats(evidence, &progress, counts)?;
    for (event, receipt) in &evidence.receipts {
        match end_of(evidence, &applied, *event, receipt.as_ref())? {
            End::Delivered => counts.delivered += 1,
            End::Superseded => counts.superseded += 1,
        }
    }
    check_customers(evidence)?;
    Ok(counts)
}

/// Checks FAULTS V2: every request to Imprint is the mapping of sent events.
fn carried_events(evidence: &Evidence, call: &UpdateCall) -> Result<CarriedEvents, Violation> {
    call.body
        .as_object()
        .and_then(|body| CarriedEvents::read(call.customer, body))
        .filter(|carried| carried.events().next().is_some())
        .filter(|carried| {
            carried
                .events()
                .all(|event| evidence.receipts.contains_key(&event))
        })
        .ok_or_else(|| Violation::Invented {
            request: format!("{} of customer {}", call.body, call.customer),
        })
}

/// Checks FAULTS V3: Imprint applies no value after a newer value. Counts a request without a newer value as a
/// repetition.
fn advance(
    progress: &mut Progress,
    customer: usize,
    carried: CarriedEvents,
) -> Result<(), Violation> {
    let mut is_newer = false;
    let fields = [
        (&mut progress.email, carried.email),
        (&mut progress.first_name, carried.first_name),
    ];
    for (newest, event) in fields {
        let Some(event) = event else { continue };
        if event.revision < *newest {
            return Err(Violation::OutOfOrder {
                customer,
                newer: *newest,
                older: event.revision,
            });
        }
        is_newer |= event.revision > *newest;
        *newest = event.revision;
    }
    progress.repeats += u64::from(!is_newer);
    Ok(())
}

/// Checks FAULTS V4: the bridge repeats a request only if a kill or a fault left the outcome of the request unknown.
fn check_repeats(
    evidence: &Evidence,
    progress: &BTreeMap<usize, Progress>,
    counts: Counts,
) -> Result<(), Violation> {
    let allowed = evidence.kills * evidence.lanes + counts.faulty;
    let worst = progress
        .values()
        .find(|progress| progress.repeats > evidence.kills + progress.faulty);
    if counts.repeats > allowed || worst.is_some() {
        return Err(Violation::Repeated {
            repeats: counts.repeats,
            allowed,
        });
    }
    Ok(())
}

enum End {
    Delivered,
    Superseded,
}

/// Checks FAULTS V1: an acknowledged event was delivered or superseded, and the status in its receipt is true.
fn end_of(
    evidence: &Evidence,
    applied: &BTreeSet<Event>,
    event: Event,
    receipt: Option<&Value>,
) -> Result<End, Violation> {
    let lost = |reason: String| Violation::Lost { event, reason };
    let receipt = receipt.ok_or_else(|| lost("it has no receipt".to_owned()))?;
    match status(receipt) {
        "delivered" if applied.contains(&event) => Ok(End::Delivered),
        "delivered" => Err(lost(
            "its receipt says delivered, but Imprint never applied it".to_owned(),
        )),
        "superseded" => {
            let winner = receipt
                .get("superseded_by")
                .and_then(Value::as_str)
                .and_then(Event::from_id)
                .filter(|winner| winner.customer == event.customer)
                .filter(|winner| winner.revision > event.revision)
                .filter(|winner| {
                    let receipt = evidence.receipts.get(winner).and_then(Option::as_ref);
                    receipt.is_some_and(|receipt| status(receipt) == "delivered")
                });
            winner.map(|_| End::Superseded).ok_or_else(|| {
                lost(format!(
                    "no newer event was delivered in its place: {receipt}"
                ))
            })
        }
        _ => Err(Violation::NotEnded {
            event,
            receipt: receipt.to_string(),
        }),
    }
}

fn status(receipt: &Value) -> &str {
    receipt
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Checks FAULTS V3: at the end, Imprint has the newest value of each field.
fn check_customers(evidence: &Evidence) -> Result<(), Violation> {
    let mut newest: BTreeMap<usize, (Option<String>, Option<String>)> = BTreeMap::new();
    // The loop visits the revisions in ascending order, so that the newest value stays.
    for event in evidence.receipts.keys() {
        let (email, first_name) = newest.entry(event.customer).or_default();
        *email = Some(event.email());
        if event.has_first_name() {
            *first_name = Some(event.first_name());
        }
    }
    for (customer, newest) in newest {
        let stored = evidence.customers.get(&customer);
        if stored != Some(&newest) {
            return Err(Violation::Stale {
                customer: imprint_id(customer),
                stored: format!("{stored:?}"),
                newest: format!("{newest:?}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use imprint_bridge::sandbox::Authorization;
    use serde_json::json;

    use super::*;

    const OLD: Event = Event {
        customer: 1,
        revision: 1,
    };
    const NEW: Event = Event {
        customer: 1,
        revision: 2,
    };

    fn call(event: Event) -> UpdateCall {
        let email = event.email();
        UpdateCall {
            customer: event.customer,
            body: json!({"email": email, "customer_history": {"email": email}}),
            applied: true,
            is_faulty: false,
        }
    }

    /// Returns evidence without a violation: two events that were delivered one after the other, and one kill.
    fn sound() -> Evidence {
        let delivered = || Some(json!({"status": "delivered"}));
        Evidence {
            receipts: [(OLD, delivered()), (NEW, delivered())].into(),
            calls: vec![call(OLD), call(NEW)],
            customers: [(1, (Some(NEW.email()), None))].into(),
            kills: 1,
            lanes: 1,
        }
    }

    /// FAULTS T14, V2
    #[test]
    fn only_a_customer_with_an_applied_update_is_retrieved() {
        let entry = |operation: Operation, customer: &str, applied: bool| LedgerEntry {
            seq: 1,
            at_ms: 0,
            method: "X".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            operation,
            authorization: Authorization::default(),
            merchant_key: None,
            body: Value::Null,
            status: Some(200),
            fault: None,
            customer: Some(customer.to_owned()),
            applied,
        };
        let update = entry(Operation::Update, "kill-1", true);
        let known = entry(Operation::Retrieve, "kill-1", false);
        let calls = UpdateCall::read_all(&[update.clone(), known.clone()]);
        assert_eq!(calls.unwrap().len(), 1);
        for ledger in [
            vec![known.clone()],
            vec![known, update.clone()],
            vec![update, entry(Operation::Retrieve, "kill-2", false)],
        ] {
            let violation = UpdateCall::read_all(&ledger).unwrap_err();
            assert!(
                matches!(violation, Violation::Invented { .. }),
                "{violation}"
            );
        }
    }

    fn assert_reported(spoil: impl FnOnce(&mut Evidence), is_expected: fn(&Violation) -> bool) {
        let mut evidence = sound();
        spoil(&mut evidence);
        let violation = check(&evidence).unwrap_err();
        assert!(is_expected(&violation), "{violation}");
    }

    #[test]
    fn a_sound_test_is_counted() {
        let counts = check(&sound()).unwrap();
        assert_eq!(
            (counts.delivered, counts.applied, counts.repeats),
            (2, 2, 0)
        );
        let mut superseded = sound();
        superseded.calls.remove(0);
        let receipt = json!({"status": "superseded", "superseded_by": NEW.id()});
        superseded.receipts.insert(OLD, Some(receipt));
        assert_eq!(check(&superseded).unwrap().superseded, 1);
    }

    /// FAULTS V1
    #[test]
    fn a_missing_event_is_reported_as_lost() {
        let is_lost = |violation: &Violation| matches!(violation, Violation::Lost { .. });
        assert_reported(|run| drop(run.receipts.insert(OLD, None)), is_lost);
        assert_reported(|run| drop(run.calls.remove(0)), is_lost);
        let winner = |id: String| {
            move |run: &mut Evidence| {
                let receipt = json!({"status": "superseded", "superseded_by": id});
                run.receipts.insert(NEW, Some(receipt));
            }
        };
        assert_reported(winner(OLD.id()), is_lost);
        assert_reported(winner("c2-r9".to_owned()), is_lost);
        let waiting = |run: &mut Evidence| {
            run.receipts.insert(OLD, Some(json!({"status": "waiting"})));
        };
        assert_reported(waiting, |violation| {
            matches!(violation, Violation::NotEnded { .. })
        });
    }

    /// FAULTS V2
    #[test]
    fn a_request_without_an_event_is_reported_as_invented() {
        let is_invented = |violation: &Violation| matches!(violation, Violation::Invented { .. });
        let bodies = [
            json!({}),
            json!({"email": NEW.email()}),
            json!({"email": NEW.email(), "customer_history": {"email": OLD.email()}}),
            json!({"phone": "+14155552671"}),
            json!({"email": "r9.c1@example.com", "customer_history": {"email": "r9.c1@example.com"}}),
        ];
        for body in bodies {
            let call = UpdateCall { body, ..call(OLD) };
            assert_reported(|run| run.calls.push(call), is_invented);
        }
        assert_reported(
            |run| run.calls.iter_mut().for_each(|call| call.customer = 2),
            is_invented,
        );
    }

    /// FAULTS V3
    #[test]
    fn an_older_value_after_a_newer_one_is_reported() {
        assert_reported(
            |run| run.calls.reverse(),
            |violation| matches!(violation, Violation::OutOfOrder { .. }),
        );
        let stale = |run: &mut Evidence| {
            run.customers.insert(1, (Some(OLD.email()), None));
        };
        assert_reported(stale, |violation| {
            matches!(violation, Violation::Stale { .. })
        });
    }

    /// FAULTS V4
    #[test]
    fn a_repetition_without_a_kill_or_a_fault_is_reported() {
        let mut once = sound();
        once.calls.push(call(NEW));
        assert_eq!(check(&once).unwrap().repeats, 1);
        let twice = |run: &mut Evidence| run.calls.extend([call(NEW), call(NEW)]);
        assert_reported(twice, |violation| {
            matches!(violation, Violation::Repeated { .. })
        });
    }
}
