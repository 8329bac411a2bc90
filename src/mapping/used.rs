//! The parts of an event that the expressions of a mapping can use.
//!
//! The analysis runs an expression once, when the bridge loads the configuration, on the *places* that values can come
//! from instead of on values. The result is an upper bound: an event without its unused parts gives the same result.
//! [`Mapping::reads`] differs: that list is for people, and it contains no places that interpreted expressions read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::compared::ComparedKind;
use super::located::PathStep;
use super::plan::Plan;
use super::{CompiledRule, Mapping};
use crate::event::pointer;

/// The maximum number of places from which one value of an expression can come. If a value can come from more places, the
/// analysis counts the whole of each place as used: otherwise each `//` in a pipe would double the number of places.
const ORIGINS_MAX: usize = 64;

/// A part of an event that an expression can use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedPart {
    pub steps: Vec<UsedStep>,
    pub extent: UsedExtent,
}

/// One step of the path to a part of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsedStep {
    /// A step into the member with this name.
    Member(String),
    /// A step into every item of an array, or into every member of an object.
    Each,
}

/// What an expression uses of a part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsedExtent {
    /// The presence, the type, and the value of a text, number or truth value; no member and no item.
    Shallow,
    /// The value with everything inside it.
    Whole,
}

/// A place from which a value of an expression can come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueOrigin {
    steps: Vec<UsedStep>,
    /// The number of lists that the expression has made around the value.
    lists: usize,
}

impl ValueOrigin {
    /// Returns the origin of the whole event.
    pub(super) const fn event() -> Self {
        Self {
            steps: Vec::new(),
            lists: 0,
        }
    }

    /// Returns the steps to the value, or `None` if the expression has made lists around it.
    pub(super) fn steps(&self) -> Option<&[UsedStep]> {
        (self.lists == 0).then_some(self.steps.as_slice())
    }

    fn inside(&self, step: UsedStep) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { steps, lists: 0 }
    }

    /// Returns the origin inside `outer` of a value with the origin `self` in an input. Returns `None` if the
    /// expression has made lists around the input.
    fn within(&self, outer: &Self) -> Option<Self> {
        (outer.lists == 0).then(|| Self {
            steps: [outer.steps.as_slice(), &self.steps].concat(),
            lists: self.lists,
        })
    }
}

/// The parts of an event that some expressions can use.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedParts(BTreeSet<UsedPart>);

impl UsedParts {
    /// Adds the presence and the type of values.
    pub(super) fn touch(&mut self, values: &[ValueOrigin]) {
        let alone = values.iter().filter(|value| value.lists == 0);
        self.0.extend(alone.map(|value| UsedPart {
            steps: value.steps.clone(),
            extent: UsedExtent::Shallow,
        }));
    }

    /// Adds whole values.
    pub(super) fn use_whole(&mut self, values: &[ValueOrigin]) {
        self.0.extend(values.iter().map(|value| UsedPart {
            steps: value.steps.clone(),
            extent: UsedExtent::Whole,
        }));
    }

    /// Follows a step into the member `name` of values.
    pub(super) fn member(&mut self, values: &[ValueOrigin], name: &str) -> Vec<ValueOrigin> {
        let (alone, lists) = split(values);
        // A list has no members, so the expression fails: the error depends on the whole list.
        self.use_whole(&lists);
        let step = || UsedStep::Member(name.to_owned());
        let inner: Vec<_> = alone.iter().map(|value| value.inside(step())).collect();
        self.touch(&inner);
        inner
    }

    /// Follows a step into the items of lists, or into the members of objects.
    pub(super) fn each(&mut self, values: &[ValueOrigin]) -> Vec<ValueOrigin> {
        let (alone, lists) = split(values);
        let inner: Vec<_> = alone
            .iter()
            .map(|value| value.inside(UsedStep::Each))
            .collect();
        self.touch(&inner);
        let items = lists.into_iter().map(|list| ValueOrigin {
            lists: list.lists - 1,
            ..list
        });
        items.chain(inner).collect()
    }

    /// Returns the origins of a value that comes from one of two places.
    pub(super) fn either(
        &mut self,
        one: Vec<ValueOrigin>,
        other: Vec<ValueOrigin>,
    ) -> Vec<ValueOrigin> {
        let origins: BTreeSet<_> = one.into_iter().chain(other).collect();
        let origins: Vec<_> = origins.into_iter().collect();
        if origins.len() <= ORIGINS_MAX {
            return origins;
        }
        self.use_whole(&origins);
        Vec::new()
    }

    /// Adds the parts that an expression with the input `input` uses. `used` are the parts in relation to the input.
    pub(super) fn extend_inside(&mut self, input: &[ValueOrigin], used: &[UsedPart]) {
        let (alone, lists) = split(input);
        self.use_whole(&lists);
        for outer in alone {
            self.0.extend(used.iter().map(|part| UsedPart {
                steps: [outer.steps.as_slice(), &part.steps].concat(),
                extent: part.extent,
            }));
        }
    }

    pub(super) fn into_parts(self) -> Vec<UsedPart> {
        self.0.into_iter().collect()
    }

    /// Adds the parts that a rule uses, and its result.
    pub(super) fn add_rule(&mut self, rule: &CompiledRule) {
        let result = rule.plan.used(&[ValueOrigin::event()], self);
        self.use_whole(&result);
    }
}

/// Returns the origins of `results` inside the places in `input`.
pub(super) fn results_inside(input: &[ValueOrigin], results: &[ValueOrigin]) -> Vec<ValueOrigin> {
    let inside = |outer| {
        results
            .iter()
            .filter_map(move |result: &ValueOrigin| result.within(outer))
    };
    input.iter().flat_map(inside).collect()
}

/// Puts a list around values.
pub(super) fn in_list(values: Vec<ValueOrigin>) -> Vec<ValueOrigin> {
    let in_list = |value: ValueOrigin| ValueOrigin {
        lists: value.lists + 1,
        ..value
    };
    values.into_iter().map(in_list).collect()
}

/// Divides values into values of the event and lists that the expression has made.
fn split(values: &[ValueOrigin]) -> (Vec<ValueOrigin>, Vec<ValueOrigin>) {
    values.iter().cloned().partition(|value| value.lists == 0)
}

impl Mapping {
    /// Returns the parts of an event that the mapping can use.
    pub fn used(&self) -> Vec<UsedPart> {
        let mut fields = UsedParts::default();
        for field in &self.fields {
            fields.add_rule(&field.rule);
        }
        // The country before the change decides whether the address has changed, and the ids and the condition decide
        // whether the source has said anything about the customer then.
        let ids = [&self.country, &self.imprint_id, &self.partner_id];
        for rule in ids.into_iter().flatten() {
            fields.add_rule(rule);
        }
        if let Some(when) = &self.when {
            let result = when.plan.used(&[ValueOrigin::event()], &mut fields);
            fields.touch(&result);
        }
        let mut all = fields.clone();
        if let Some((_, version)) = &self.version {
            all.add_rule(version);
        }
        if let Some(images) = &self.images {
            let before = images.before.plan.used(&[ValueOrigin::event()], &mut all);
            all.touch(&before);
            for part in &fields.0 {
                all.use_in_image(&before, &images.after_path, part);
            }
        }
        all.into_parts()
    }
}

impl UsedParts {
    /// Adds the part of the customer before the change that the mapping compares with `part`, a part of the customer
    /// after the change.
    fn use_in_image(&mut self, before: &[ValueOrigin], after_path: &[PathStep], part: &UsedPart) {
        let pairs = after_path.iter().zip(&part.steps);
        let is_inside = pairs.into_iter().all(|(step, used)| match (step, used) {
            (PathStep::Key(key), UsedStep::Member(name)) => key == name,
            (PathStep::Key(_) | PathStep::Index(_), UsedStep::Each) => true,
            (PathStep::Index(_), UsedStep::Member(_)) => false,
        });
        if !is_inside {
            return;
        }
        match part.steps.get(after_path.len()..) {
            Some(steps) => {
                let inner = UsedPart {
                    steps: steps.to_vec(),
                    extent: part.extent,
                };
                self.extend_inside(before, &[inner]);
            }
            // The rule uses something around the image.
            None if part.extent == UsedExtent::Whole => self.use_whole(before),
            None => {}
        }
    }
}

impl Plan {
    /// Adds to `parts` every part of the event that the plan can use if its input comes from `input`. Returns the places
    /// from which the result of the plan can come.
    pub(super) fn used(&self, input: &[ValueOrigin], parts: &mut UsedParts) -> Vec<ValueOrigin> {
        match self {
            Self::Input => input.to_vec(),
            Self::Path(from, steps) => {
                let from = from.used(input, parts);
                steps.iter().fold(from, |from, step| match step {
                    PathStep::Key(name) => parts.member(&from, name),
                    PathStep::Index(_) => parts.each(&from),
                })
            }
            Self::Pipe(first, then) => {
                let first = first.used(input, parts);
                then.used(&first, parts)
            }
            Self::Alternative(first, other) => {
                let first = first.used(input, parts);
                parts.touch(&first);
                let other = other.used(input, parts);
                parts.either(first, other)
            }
            Self::Conditional(branches, otherwise) => {
                let mut results = otherwise.used(input, parts);
                for (condition, result) in branches {
                    let condition = condition.used(input, parts);
                    parts.touch(&condition);
                    let result = result.used(input, parts);
                    results = parts.either(results, result);
                }
                results
            }
            Self::Logic { sides, .. } => {
                for side in [&sides.0, &sides.1] {
                    let side = side.used(input, parts);
                    parts.touch(&side);
                }
                Vec::new()
            }
            Self::Not => {
                parts.touch(input);
                Vec::new()
            }
            Self::BinaryCall(_, sides) | Self::Compare { sides, .. } => {
                parts.use_results([&sides.0, &sides.1].into_iter(), input)
            }
            Self::Object(members) => {
                parts.use_results(members.iter().map(|(_, member)| member), input)
            }
            Self::Interpolation(texts) => parts.use_results(texts.iter(), input),
            Self::Call(_) | Self::Split(_) => {
                parts.use_whole(input);
                Vec::new()
            }
            Self::Interpreted(program) => {
                let (used, results) = program.used();
                parts.extend_inside(input, used);
                results_inside(input, results)
            }
            Self::Literal(_) | Self::Assumed(_) | Self::Header(_) => Vec::new(),
        }
    }
}

impl UsedParts {
    /// Adds the whole results of plans. The value that an expression makes of these results comes from no place.
    fn use_results<'p>(
        &mut self,
        plans: impl Iterator<Item = &'p Plan>,
        input: &[ValueOrigin],
    ) -> Vec<ValueOrigin> {
        for plan in plans {
            let result = plan.used(input, self);
            self.use_whole(&result);
        }
        Vec::new()
    }
}

/// A comparison in an interpreted expression, such as `any(.id == 7)`: the places whose values it compares with a constant.
#[derive(Debug)]
pub(super) struct ComparedPlaces {
    pub(super) steps: Vec<UsedStep>,
    pub(super) other: Value,
}

impl ComparedPlaces {
    /// Returns the comparison with the values of an event. One value of the same kind is enough, because the comparison can
    /// then be true. Returns `None` if the values say nothing about a mistake.
    fn kind(&self, event: &Value) -> Option<ComparedKind> {
        let (mut values, mut place) = (vec![event], String::new());
        for step in &self.steps {
            let inner = values.iter().flat_map(|value| match (step, value) {
                (UsedStep::Member(name), _) => value.get(name).into_iter().collect(),
                (UsedStep::Each, Value::Array(items)) => items.iter().collect(),
                (UsedStep::Each, Value::Object(members)) => members.values().collect(),
                (UsedStep::Each, _) => Vec::new(),
            });
            values = inner.collect();
            pointer::push(
                &mut place,
                match step {
                    UsedStep::Member(name) => name,
                    UsedStep::Each => "*",
                },
            );
        }
        let kinds = values.into_iter();
        let kinds = kinds.filter_map(|value| ComparedKind::of(place.clone(), value, &self.other));
        kinds.max_by_key(|compared| (compared.fits, compared.letters))
    }

    /// Returns the comparisons of an expression with the values of an event. An expression that compares a value with
    /// constants of several kinds expects values of several kinds.
    pub(super) fn kinds(all: &[Self], event: &Value) -> Vec<ComparedKind> {
        let kinds: Vec<_> = all.iter().filter_map(|places| places.kind(event)).collect();
        let fits = |place: &str| kinds.iter().any(|other| other.fits && other.place == place);
        let kinds = kinds.iter().filter(|one| one.fits || !fits(&one.place));
        kinds.cloned().collect()
    }
}

#[cfg(test)]
mod tests;
