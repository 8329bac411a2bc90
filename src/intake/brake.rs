//! The mass-change brake of one source: the limits, the counts, and the decision whether an entry is held. This module is
//! pure: the caller passes the time.
//!
//! The brake counts customers, not events: it holds an entry if the source changes one of the entry's fields for more
//! customers within a window than a limit allows. Held entries count too. So the brake holds until fewer customers than the
//! limit changed within the window, and then passes entries again by itself.
//!
//! The counts contain customers and values only as digests with a key of the process. They are not stored: after a restart
//! they begin with nothing, so at most as many customers as the limits allow pass once more. Held entries stay held.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::imprint::{CustomerChange, CustomerRef, Field, FieldValue};
use crate::time::Timestamp;

mod recent;

use recent::{AddedChange, BrakeDigest, RecentChanges, Written};

/// The highest limit on a number of customers. A count of so many customers takes about 1 MB for each field.
pub const BRAKE_CUSTOMERS_MAX: usize = 10_000;
/// The maximum number of fields that the brake of a source counts. Imprint has 27 fields outside of `metadata`.
const FIELDS_MAX: usize = 64;
/// The maximum number of customers that count as seen lately. The list takes about 12 MB.
const SEEN_MAX: usize = 100_000;
/// The time for which a customer counts as seen lately. The rule `share` needs so much time before it holds anything.
const LATELY: Duration = Duration::from_hours(24);
/// The rule `share` holds nothing while fewer customers changed: in a small number of customers, every share is large.
const SHARE_CUSTOMERS_MIN: usize = 50;
/// The last parts of the paths of fields in which two customers seldom have the same value.
const IDENTIFYING: [&str; 3] = ["email", "phone", "street_line1"];
/// The last parts of the paths of fields that a source seldom clears. Other fields, such as `street_line2`, are empty for
/// most customers.
const ESSENTIAL: [&str; 8] = [
    "email",
    "phone",
    "first_name",
    "last_name",
    "street_line1",
    "city",
    "state",
    "postal_code",
];

/// Whether the brake of a source is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakePolicy {
    Off,
    On(BrakeLimits),
}

/// The limits of the brake of a source. The file `config/default.toml` describes each limit; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeLimits {
    pub window: Duration,
    pub customers_max: usize,
    pub share_percent_max: usize,
    pub same_value_max: usize,
    pub cleared_max: usize,
}

impl BrakeLimits {
    /// Returns the number of customers that the brake must remember of a field, to know whether a limit is exceeded.
    fn kept_max(&self) -> usize {
        let most = match self.customers_max {
            0 => BRAKE_CUSTOMERS_MAX,
            customers => customers.max(self.same_value_max).max(self.cleared_max),
        };
        most.saturating_add(1)
    }
}

/// The rule of the brake for which an entry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrakeRule {
    /// The source changes the field of too many customers.
    Customers,
    /// The source changes the field of a too large share of the customers that it changed lately.
    Share,
    /// The source writes the same value into the field of too many customers.
    SameValue,
    /// The source clears the field of too many customers.
    Cleared,
}

impl BrakeRule {
    /// Returns the name of the rule for answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Share => "share",
            Self::SameValue => "same_value",
            Self::Cleared => "cleared",
        }
    }
}

/// The state of a brake, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrakeState {
    pub policy: BrakePolicy,
    /// The time until which an operator has opened the brake.
    pub open_until: Option<Timestamp>,
    /// The mass changes of which the brake has lately held an entry.
    pub holding: Vec<(MassChange, Holding)>,
}

/// The kind of a mass change: a field, and the rule that the changes of the field exceed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MassChange {
    pub field: Field,
    pub rule: BrakeRule,
}

/// The counts of the brake of one source.
#[derive(Debug, Default)]
pub struct BrakeCounts {
    digests: RandomState,
    fields: HashMap<Field, FieldChanges>,
    seen: RecentChanges,
    /// The time of the first change that the rule `share` counted.
    seen_since: Option<Timestamp>,
    holding: BTreeMap<MassChange, Holding>,
    /// The brake holds nothing and counts nothing until this time.
    open_until: Option<Timestamp>,
    next_number: u64,
}

/// The changes of one field, and the rules that apply to the field.
#[derive(Debug)]
struct FieldChanges {
    is_identifying: bool,
    is_essential: bool,
    recent: RecentChanges,
}

/// A mass change that the brake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    pub since: Timestamp,
    /// The time of the newest held entry.
    pub last: Timestamp,
    /// The number of held entries.
    pub entries: u64,
}

/// The counted changes of one entry.
#[derive(Debug, Default)]
pub struct CountedEntry {
    /// The reason for holding the entry.
    pub held: Option<MassChange>,
    changes: Vec<(Field, AddedChange)>,
}

impl BrakeCounts {
    /// Counts the changes of an entry, and decides whether the brake holds the entry.
    pub fn count(
        &mut self,
        limits: &BrakeLimits,
        change: &CustomerChange,
        now: Timestamp,
    ) -> CountedEntry {
        let mut counted = CountedEntry::default();
        if self.open_until(now).is_some() {
            return counted;
        }
        let customer = self.digest_of(&change.customer);
        let share_max = self.share_max(limits, customer, now);
        for (field, value) in change.update.iter() {
            let number = self.next_number;
            self.next_number += 1;
            if !self.fields.contains_key(field) && self.fields.len() >= FIELDS_MAX {
                continue;
            }
            let fields = self.fields.entry(field.clone());
            let changes = fields.or_insert_with(|| FieldChanges::of(field));
            let written = changes.written(value, &self.digests);
            changes.recent.expire(now, limits.window);
            let added = changes.recent.add(
                (customer, written),
                (now, number),
                (limits.window, limits.kept_max()),
            );
            counted
                .changes
                .extend(added.map(|added| (field.clone(), added)));
            if counted.held.is_none() {
                let rule = changes.exceeded(limits, written, share_max);
                let field = || field.clone();
                counted.held = rule.map(|rule| MassChange {
                    field: field(),
                    rule,
                });
            }
        }
        counted
    }

    /// Undoes the counts of entries that the store did not store as new entries.
    pub fn undo<'a>(&mut self, entries: impl DoubleEndedIterator<Item = &'a CountedEntry>) {
        for (field, added) in entries.rev().flat_map(|entry| entry.changes.iter().rev()) {
            if let Some(changes) = self.fields.get_mut(field) {
                changes.recent.undo(added);
            }
        }
    }

    /// Opens the brake until a time. The changes until then do not count afterwards either: the operator knows of them.
    pub fn open(&mut self, until: Timestamp) {
        self.open_until = Some(until);
        self.fields.clear();
        self.holding.clear();
    }

    /// Closes an open brake.
    pub const fn close(&mut self) {
        self.open_until = None;
    }

    /// Returns the time until which the brake is open, or `None` if it is not open.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| now < *until)
    }

    /// Records a held entry. Returns true for the first entry of a mass change.
    pub fn record_held(&mut self, kind: &MassChange, window: Duration, now: Timestamp) -> bool {
        let first = Holding {
            since: now,
            last: now,
            entries: 0,
        };
        let holding = self.holding.entry(kind.clone()).or_insert(first);
        if now.since(holding.last) >= window {
            *holding = first;
        }
        holding.last = now;
        holding.entries += 1;
        holding.entries == 1
    }

    /// Returns the mass changes with a held entry within the window.
    pub fn holding(&self, window: Duration, now: Timestamp) -> Vec<(MassChange, Holding)> {
        let holding = self.holding.iter();
        let holding = holding.filter(|(_, holding)| now.since(holding.last) < window);
        holding
            .map(|(kind, holding)| (kind.clone(), *holding))
            .collect()
    }

    /// Counts the customer as seen, and returns the limit of the rule `share`. Returns `None` while the brake has not seen
    /// the source for long enough, or if the rule is off.
    fn share_max(
        &mut self,
        limits: &BrakeLimits,
        customer: BrakeDigest,
        now: Timestamp,
    ) -> Option<usize> {
        if limits.share_percent_max == 0 {
            return None;
        }
        let since = *self.seen_since.get_or_insert(now);
        self.seen.expire(now, LATELY);
        self.seen.add(
            (customer, Written::Other),
            (now, self.next_number),
            (LATELY, SEEN_MAX),
        );
        self.next_number += 1;
        let share = self
            .seen
            .customers()
            .saturating_mul(limits.share_percent_max)
            / 100;
        let max = share.clamp(SHARE_CUSTOMERS_MIN, BRAKE_CUSTOMERS_MAX);
        (now.since(since) >= LATELY).then_some(max)
    }

    /// Returns the digest of the customer's lane.
    fn digest_of(&self, customer: &CustomerRef) -> BrakeDigest {
        match customer {
            CustomerRef::Imprint(imprint) | CustomerRef::Pair { imprint, .. } => {
                self.digests.hash_one((true, imprint.canonical()))
            }
            CustomerRef::Partner(partner) => self.digests.hash_one((false, partner.as_str())),
        }
    }
}

impl FieldChanges {
    fn of(field: &Field) -> Self {
        let name = field.path().rsplit('.').next().unwrap_or_default();
        Self {
            is_identifying: IDENTIFYING.contains(&name),
            is_essential: ESSENTIAL.contains(&name),
            recent: RecentChanges::default(),
        }
    }

    fn written(&self, value: &FieldValue, digests: &RandomState) -> Written {
        match value {
            FieldValue::Cleared if self.is_essential => Written::Cleared,
            FieldValue::Set(value) if self.is_identifying => {
                value.as_str().map_or(Written::Other, |text| {
                    Written::Value(digests.hash_one(text))
                })
            }
            FieldValue::Cleared | FieldValue::Set(_) => Written::Other,
        }
    }

    /// Returns the rule whose limit the customers of this field exceed.
    fn exceeded(
        &self,
        limits: &BrakeLimits,
        written: Written,
        share_max: Option<usize>,
    ) -> Option<BrakeRule> {
        let is_over = |customers: usize, max: usize| max > 0 && customers > max;
        let (customers, alike) = (self.recent.customers(), self.recent.customers_with(written));
        match written {
            Written::Value(_) if is_over(alike, limits.same_value_max) => {
                Some(BrakeRule::SameValue)
            }
            Written::Cleared if is_over(alike, limits.cleared_max) => Some(BrakeRule::Cleared),
            _ if is_over(customers, limits.customers_max) => Some(BrakeRule::Customers),
            _ if share_max.is_some_and(|max| customers > max) => Some(BrakeRule::Share),
            Written::Value(_) | Written::Cleared | Written::Other => None,
        }
    }
}
