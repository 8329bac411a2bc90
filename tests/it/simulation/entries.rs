//! Turns the events of a simulation plan into entries for the outbox.

use imprint_bridge::event::{Attribute, Identity, SourceName, SourceVersion};
use imprint_bridge::imprint::{CustomerChange, Field, FieldValue};
use imprint_bridge::outbox::{
    AppendedEntry, Digest, Disposition, EntryId, Lookup, NewEntry, Priority, State,
};
use imprint_bridge::time::Timestamp;

use super::imprint::value;
use super::plan::{FIELDS, Plan, Stated};

pub(super) fn new(plan: &Plan, event: usize, now: Timestamp) -> NewEntry {
    let planned = &plan.events[event];
    let values = planned.values.iter().map(|(field, stated)| {
        let value = match stated {
            Stated::Cleared => FieldValue::Cleared,
            Stated::Set => FieldValue::Set(value(*field, event)),
        };
        (Field::parse(FIELDS[*field]).unwrap(), value)
    });
    NewEntry {
        identity: identity(event),
        event_type: Attribute::parse("customer.changed").unwrap(),
        digest: Digest([7; 16]),
        accepted_at: now,
        disposition: Disposition::Enqueue(CustomerChange {
            customer: planned.customer.clone(),
            version: SourceVersion {
                epoch: planned.epoch,
                value: planned.value,
            },
            update: values.collect(),
            jump_max: None,
            is_foreign: false,
            skipped: Vec::new(),
        }),
        priority: if planned.is_low {
            Priority::Low
        } else {
            Priority::Live
        },
        event: Vec::new(),
    }
}

pub(super) fn lookup(event: usize) -> Lookup {
    let Identity {
        source,
        ce_source,
        id,
    } = identity(event);
    Lookup {
        source,
        ce_source,
        id,
    }
}

/// Returns the answer of a faulty bridge about an entry that was never stored.
pub(super) const fn never_stored() -> AppendedEntry {
    AppendedEntry {
        entry: EntryId(u64::MAX),
        state: State::Waiting,
        duplicate: false,
    }
}

fn identity(event: usize) -> Identity {
    Identity {
        source: SourceName::parse("crm").unwrap(),
        ce_source: None,
        id: Attribute::parse(&format!("e-{event}")).unwrap(),
    }
}
