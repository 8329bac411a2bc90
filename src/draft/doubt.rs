//! Says why the draft does not use a member that has the right name.

use serde_json::Value;

use super::form::{self, TimeForm};
use super::names;
use super::path::{JsonPath, Leaf, quoted};
use super::synonyms;

/// The minimum length of a known name that can be the end of a longer name, such as `updatedat` in `record_updated_at`.
const ENDING_CHARS_MIN: usize = 8;

/// A member that has the right name, and the reason why the draft does not use it.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) path: JsonPath,
    /// The end of a sentence.
    pub(super) reason: String,
}

/// The names of the samples of the events, in the order of the events.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampleNames<'a>(pub(super) &'a [String]);

impl SampleNames<'_> {
    /// Returns the sample of an event, as a part of a sentence.
    pub(super) fn of(self, event: usize) -> String {
        let name = self.0.get(event);
        name.map_or_else(
            || "one of the samples".to_owned(),
            |name| format!("the sample {}", quoted(name)),
        )
    }
}

/// Returns why no member is the version, although its name is the name of a time of the change or of a number that grows.
pub(super) fn version(leaves: &[Leaf], count: usize, samples: SampleNames<'_>) -> Option<Doubt> {
    let time = doubt(leaves, &synonyms::CHANGE_TIMES, count, samples, time_flaw);
    time.or_else(|| {
        doubt(leaves, &synonyms::SEQUENCES, count, samples, |value| {
            (!form::is_whole(value)).then_some("is not a whole number")
        })
    })
}

/// Returns what is wrong with the version in a sample, if most samples have the right form of the version.
pub(super) fn of_version(
    leaves: &[Leaf],
    chosen: &JsonPath,
    count: usize,
    samples: SampleNames<'_>,
) -> Option<String> {
    let leaf = leaves.iter().find(|leaf| leaf.path == *chosen)?;
    let is_time = TimeForm::of(leaf).is_some_and(|form| form != TimeForm::Date);
    flaw_of(leaves, leaf, count, samples, |value| {
        if is_time {
            time_flaw(value)
        } else {
            (!form::is_whole(value)).then_some("is not a whole number")
        }
    })
}

/// Returns what is wrong with the customer's id in a sample, if most samples have the id.
pub(super) fn of_customer(
    leaves: &[Leaf],
    chosen: &JsonPath,
    count: usize,
    samples: SampleNames<'_>,
) -> Option<String> {
    let leaf = leaves.iter().find(|leaf| leaf.path == *chosen)?;
    flaw_of(leaves, leaf, count, samples, id_flaw)
}

/// Returns the first flaw of a member: an event that lacks the member, or a wrong value.
fn flaw_of(
    leaves: &[Leaf],
    leaf: &Leaf,
    count: usize,
    samples: SampleNames<'_>,
    flaw: impl Fn(&Value) -> Option<&'static str>,
) -> Option<String> {
    if let Some(absent) = (0..count).find(|event| !leaf.events.contains(event)) {
        return Some(absence(leaves, leaf, absent, samples));
    }
    let mut values = leaf.present_in();
    let (event, flaw) = values.find_map(|(event, value)| Some((event, flaw(value)?)))?;
    Some(format!(
        "`{}` in {} {flaw}.",
        leaf.path.expression(),
        samples.of(event)
    ))
}

/// Returns why no member is the customer's id, although its name is the name of an id.
pub(super) fn customer(leaves: &[Leaf], count: usize, samples: SampleNames<'_>) -> Option<Doubt> {
    let lists: [&[&str]; 3] = [
        &synonyms::CUSTOMER_IDS,
        &synonyms::RECORD_IDS,
        &synonyms::OTHER_IDS,
    ];
    let mut doubts = lists
        .into_iter()
        .filter_map(|names| doubt(leaves, names, count, samples, id_flaw));
    doubts.next()
}

fn id_flaw(value: &Value) -> Option<&'static str> {
    (!form::is_id(value)).then_some("is neither a whole number nor a text without white space")
}

fn time_flaw(value: &Value) -> Option<&'static str> {
    match TimeForm::of_value(value) {
        Some(TimeForm::Date) => Some("is a date without a time of the day"),
        Some(_) => None,
        None if form::is_local_time(value) => {
            Some("has no offset from UTC, so it does not name a moment")
        }
        None => Some("has a form that neither `utc` nor `moment` reads"),
    }
}

/// Finds the member with the best name, and returns why the draft cannot use it.
fn doubt(
    leaves: &[Leaf],
    known: &[&str],
    count: usize,
    samples: SampleNames<'_>,
    flaw: impl Fn(&Value) -> Option<&'static str>,
) -> Option<Doubt> {
    let ranked = leaves.iter().filter_map(|leaf| {
        let path = leaf.path.names();
        let position = position(names::telling(&path), known)?;
        let absences = count.saturating_sub(leaf.count);
        let is_user = names::names_a_user(&path);
        let rank = (
            !leaf.has_value(),
            is_user,
            position,
            absences,
            leaf.path.depth(),
        );
        (!names::concerns_other(&path)).then_some((rank, leaf))
    });
    let (_, leaf) = ranked.min_by(|(one, _), (other, _)| one.cmp(other))?;
    let path = leaf.path.expression();
    let is_everywhere = leaf.events.len() == count;
    let reason = if is_everywhere && !leaf.has_value() {
        format!("`{path}` has no value in the samples.")
    } else if let Some(flaw) = flaw_of(leaves, leaf, count, samples, flaw) {
        flaw
    } else {
        other_form(leaf, samples).unwrap_or_else(|| {
            format!("the samples have `{path}`, but no value of the customer stands near it, so the draft does not know whether it belongs to the customer.")
        })
    };
    Some(Doubt {
        path: leaf.path.clone(),
        reason,
    })
}

/// Returns the position of a name in a list of names, or of the known name at its end.
fn position(name: &str, known: &[&str]) -> Option<usize> {
    let joined = names::words(name).concat();
    let is_ending = |known: &&str| known.len() >= ENDING_CHARS_MIN && joined.ends_with(*known);
    let ending = || known.iter().position(is_ending);
    names::position(name, known).or_else(|| Some(ending()?.saturating_add(known.len())))
}

/// Says that the event of one sample has no such member, or has it at another place.
fn absence(leaves: &[Leaf], leaf: &Leaf, absent: usize, samples: SampleNames<'_>) -> String {
    let path = leaf.path.expression();
    let has = leaf.events.iter().next().copied().unwrap_or_default();
    let (has, lacks) = (samples.of(has), samples.of(absent));
    let elsewhere = leaves.iter().find(|other| {
        other.events.contains(&absent) && other.path.last_name() == leaf.path.last_name()
    });
    let Some(other) = elsewhere else {
        return format!("{has} has `{path}`, but {lacks} does not.");
    };
    let other_path = other.path.expression();
    let wrapper = wrapper(&leaf.path, &other.path).or_else(|| wrapper(&other.path, &leaf.path));
    let split = wrapper.map_or_else(String::new, |wrapper| {
        format!(", or add `split = \"{wrapper} // .\"` to [body]")
    });
    format!(
        "{has} has `{path}`, but {lacks} has `{other_path}`. The bodies have different forms: draft one source for each form{split}."
    )
}

/// Returns the object around the members of one form of body, if the other form has the same members without it.
fn wrapper(inner: &JsonPath, outer: &JsonPath) -> Option<String> {
    let wrapper = inner.parent();
    let is_wrapped = outer.depth() == 1 && wrapper.depth() == 1;
    is_wrapped.then(|| wrapper.expression())
}

/// Says that two samples have the time in different forms.
fn other_form(leaf: &Leaf, samples: SampleNames<'_>) -> Option<String> {
    let mut values = leaf.present_in();
    let (first, value) = values.next()?;
    let form = TimeForm::of_value(value)?;
    let (other, _) = values.find(|(_, value)| TimeForm::of_value(value) != Some(form))?;
    let path = leaf.path.expression();
    let (first, other) = (samples.of(first), samples.of(other));
    TimeForm::of(leaf).is_none().then(|| {
        format!("`{path}` has one form in {first} and another form in {other}, and no function reads both.")
    })
}
