//! The judge: compares what is owed with what the receipts say and with what Imprint received and holds.
//!
//! It knows nothing of how the bridge works. Its evidence is plain data, so that its own teeth can be tried without a
//! bridge.

use std::collections::BTreeMap;

use imprint_bridge::sandbox::{LedgerEntry, Operation};
use serde_json::Value;

use super::event::{Carried, Event, imprint_id};
use super::verdict::Violation;

/// Everything there is to be seen after a run. Every event that was sent has been answered 2xx by then.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// What the receipt of each event says; `None` where there is none.
    pub(crate) receipts: BTreeMap<Event, Option<Value>>,
    /// What Imprint received, in order of arrival.
    pub(crate) calls: Vec<Call>,
    /// What Imprint holds of each customer: its e-mail and first name.
    pub(crate) held: BTreeMap<usize, (Option<String>, Option<String>)>,
    /// How often the process was ended.
    pub(crate) kills: u64,
    /// How many lanes it holds at the most, from claim to settlement.
    pub(crate) lanes: u64,
}

/// One update that Imprint received.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) customer: usize,
    pub(crate) body: Value,
    /// Whether the customer was changed by it.
    pub(crate) applied: bool,
    /// Whether anything but a sound answer came of it.
    pub(crate) spoilt: bool,
}

/// What was found in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) superseded: u64,
    pub(crate) applied: u64,
    pub(crate) repeats: u64,
    pub(crate) spoilt: u64,
}

impl Call {
    /// Reads a call from the sandbox's ledger; the bridge makes no others than updates.
    pub(crate) fn read(entry: &LedgerEntry) -> Result<Self, Violation> {
        let foreign = || Violation::Invented {
            what: format!("{} {}", entry.method, entry.path),
        };
        let customer = entry
            .customer
            .as_deref()
            .filter(|_| entry.operation == Operation::Update)
            .and_then(|id| id.strip_prefix("kill-")?.parse().ok())
            .ok_or_else(foreign)?;
        let is_late = entry.fault.is_some_and(|fault| fault == "latency");
        Ok(Self {
            customer,
            body: entry.body.clone(),
            applied: entry.applied,
            spoilt: entry.status != Some(200) || (entry.fault.is_some() && !is_late),
        })
    }
}

/// What has been applied of one customer, so far.
#[derive(Default)]
struct Progress {
    email: u64,
    first_name: u64,
    spoilt: u64,
    repeats: u64,
}

/// Judges a run.
pub(crate) fn judge(evidence: &Evidence) -> Result<Counts, Violation> {
    let mut counts = Counts::default();
    let mut progress: BTreeMap<usize, Progress> = BTreeMap::new();
    let mut arrived: BTreeMap<Event, ()> = BTreeMap::new();
    for call in &evidence.calls {
        let carried = originals(evidence, call)?;
        let progress = progress.entry(call.customer).or_default();
        progress.spoilt += u64::from(call.spoilt);
        if call.applied {
            counts.applied += 1;
            arrived.extend(carried.events().map(|event| (event, ())));
            advance(progress, call.customer, carried)?;
        }
    }
    for progress in progress.values() {
        counts.repeats += progress.repeats;
        counts.spoilt += progress.spoilt;
    }
    bounded(evidence, &progress, counts)?;
    for (event, receipt) in &evidence.receipts {
        match ended(evidence, &arrived, *event, receipt.as_ref())? {
            End::Delivered => counts.delivered += 1,
            End::Superseded => counts.superseded += 1,
        }
    }
    newest(evidence)?;
    Ok(counts)
}

/// V2: what Imprint was told is what events that were sent come to.
fn originals(evidence: &Evidence, call: &Call) -> Result<Carried, Violation> {
    call.body
        .as_object()
        .and_then(|body| Carried::read(call.customer, body))
        .filter(|carried| carried.events().next().is_some())
        .filter(|carried| {
            carried
                .events()
                .all(|event| evidence.receipts.contains_key(&event))
        })
        .ok_or_else(|| Violation::Invented {
            what: format!("{} of customer {}", call.body, call.customer),
        })
}

/// V3: no fact is applied after a newer one. A request that brings nothing newer is a repetition.
fn advance(progress: &mut Progress, customer: usize, carried: Carried) -> Result<(), Violation> {
    let mut is_news = false;
    let facts = [
        (&mut progress.email, carried.email),
        (&mut progress.first_name, carried.first_name),
    ];
    for (newest, event) in facts {
        let Some(event) = event else { continue };
        if event.revision < *newest {
            return Err(Violation::Disordered {
                customer,
                newer: *newest,
                older: event.revision,
            });
        }
        is_news |= event.revision > *newest;
        *newest = event.revision;
    }
    progress.repeats += u64::from(!is_news);
    Ok(())
}

/// V4: a request is repeated only where a kill or a fault left its outcome unknown.
fn bounded(
    evidence: &Evidence,
    progress: &BTreeMap<usize, Progress>,
    counts: Counts,
) -> Result<(), Violation> {
    let all = evidence.kills * evidence.lanes + counts.spoilt;
    let worst = progress
        .values()
        .find(|progress| progress.repeats > evidence.kills + progress.spoilt);
    if counts.repeats > all || worst.is_some() {
        return Err(Violation::Repeated {
            repeats: counts.repeats,
            allowed: all,
        });
    }
    Ok(())
}

enum End {
    Delivered,
    Superseded,
}

/// V1: an event that was answered ends, and says how, and it is true.
fn ended(
    evidence: &Evidence,
    arrived: &BTreeMap<Event, ()>,
    event: Event,
    receipt: Option<&Value>,
) -> Result<End, Violation> {
    let lost = |what: String| Violation::Lost { event, what };
    let receipt = receipt.ok_or_else(|| lost("it has no receipt".to_owned()))?;
    match status(receipt) {
        "delivered" if arrived.contains_key(&event) => Ok(End::Delivered),
        "delivered" => Err(lost("it is delivered, and Imprint never had it".to_owned())),
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
                    "nothing newer was delivered in its place: {receipt}"
                ))
            })
        }
        _ => Err(Violation::Unsettled {
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

/// V3: in the end Imprint holds the newest of each fact.
fn newest(evidence: &Evidence) -> Result<(), Violation> {
    let mut newest: BTreeMap<usize, (Option<String>, Option<String>)> = BTreeMap::new();
    // In ascending order of revision, so that the last one stays.
    for event in evidence.receipts.keys() {
        let (email, first_name) = newest.entry(event.customer).or_default();
        *email = Some(event.email());
        if event.speaks_of_name() {
            *first_name = Some(event.first_name());
        }
    }
    for (customer, newest) in newest {
        let held = evidence.held.get(&customer);
        if held != Some(&newest) {
            return Err(Violation::Stale {
                customer: imprint_id(customer),
                held: format!("{held:?}"),
                newest: format!("{newest:?}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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

    fn call(event: Event) -> Call {
        let email = event.email();
        Call {
            customer: event.customer,
            body: json!({"email": email, "customer_history": {"email": email}}),
            applied: true,
            spoilt: false,
        }
    }

    /// Both were delivered, one after the other, by a process that was killed once.
    fn sound() -> Evidence {
        let delivered = || Some(json!({"status": "delivered"}));
        Evidence {
            receipts: [(OLD, delivered()), (NEW, delivered())].into(),
            calls: vec![call(OLD), call(NEW)],
            held: [(1, (Some(NEW.email()), None))].into(),
            kills: 1,
            lanes: 1,
        }
    }

    fn check(spoil: impl FnOnce(&mut Evidence), is_found: fn(&Violation) -> bool) {
        let mut evidence = sound();
        spoil(&mut evidence);
        let violation = judge(&evidence).unwrap_err();
        assert!(is_found(&violation), "{violation}");
    }

    #[test]
    fn a_sound_run_is_counted() {
        let counts = judge(&sound()).unwrap();
        assert_eq!(
            (counts.delivered, counts.applied, counts.repeats),
            (2, 2, 0)
        );
        let mut superseded = sound();
        superseded.calls.remove(0);
        let receipt = json!({"status": "superseded", "superseded_by": NEW.id()});
        superseded.receipts.insert(OLD, Some(receipt));
        assert_eq!(judge(&superseded).unwrap().superseded, 1);
    }

    /// V1
    #[test]
    fn what_is_missing_is_lost() {
        let is_lost = |violation: &Violation| matches!(violation, Violation::Lost { .. });
        check(|run| drop(run.receipts.insert(OLD, None)), is_lost);
        check(|run| drop(run.calls.remove(0)), is_lost);
        let winner = |id: String| {
            move |run: &mut Evidence| {
                let receipt = json!({"status": "superseded", "superseded_by": id});
                run.receipts.insert(NEW, Some(receipt));
            }
        };
        check(winner(OLD.id()), is_lost);
        check(winner("c2-r9".to_owned()), is_lost);
        let waiting = |run: &mut Evidence| {
            run.receipts.insert(OLD, Some(json!({"status": "waiting"})));
        };
        check(waiting, |violation| {
            matches!(violation, Violation::Unsettled { .. })
        });
    }

    /// V2
    #[test]
    fn what_nobody_sent_is_invented() {
        let is_invented = |violation: &Violation| matches!(violation, Violation::Invented { .. });
        let bodies = [
            json!({}),
            json!({"email": NEW.email()}),
            json!({"email": NEW.email(), "customer_history": {"email": OLD.email()}}),
            json!({"phone": "+14155552671"}),
            json!({"email": "r9.c1@example.com", "customer_history": {"email": "r9.c1@example.com"}}),
        ];
        for body in bodies {
            let call = Call { body, ..call(OLD) };
            check(|run| run.calls.push(call), is_invented);
        }
        check(
            |run| run.calls.iter_mut().for_each(|call| call.customer = 2),
            is_invented,
        );
    }

    /// V3
    #[test]
    fn older_facts_after_newer_ones_are_seen() {
        check(
            |run| run.calls.reverse(),
            |violation| matches!(violation, Violation::Disordered { .. }),
        );
        let back = |run: &mut Evidence| {
            run.held.insert(1, (Some(OLD.email()), None));
        };
        check(back, |violation| {
            matches!(violation, Violation::Stale { .. })
        });
    }

    /// V4
    #[test]
    fn a_repetition_needs_a_reason() {
        let mut once = sound();
        once.calls.push(call(NEW));
        assert_eq!(judge(&once).unwrap().repeats, 1);
        let twice = |run: &mut Evidence| run.calls.extend([call(NEW), call(NEW)]);
        check(twice, |violation| {
            matches!(violation, Violation::Repeated { .. })
        });
    }
}
