//! The places of an event and the headers of a request that a plan can read.

use std::collections::BTreeSet;

use super::super::located::{PathStep, pointer};
use super::Plan;

impl Plan {
    /// Adds every place that the plan can read in an event to `places`, as a JSON Pointer.
    pub(in crate::mapping) fn add_places(&self, places: &mut Vec<String>) {
        self.places_from(&[Vec::new()], places);
    }

    /// Adds to `places` every place that the plan can read if its input comes from one of the places in `from`. Returns
    /// the places from which the result of the plan can come.
    fn places_from(&self, from: &[Vec<PathStep>], places: &mut Vec<String>) -> Vec<Vec<PathStep>> {
        match self {
            Self::Input => from.to_vec(),
            Self::Path(inner, steps) => {
                let from = inner.places_from(from, places);
                let extended = |path: Vec<PathStep>| [path, steps.clone()].concat();
                let paths: Vec<_> = from.into_iter().map(extended).collect();
                places.extend(paths.iter().map(|path| pointer(path.iter())));
                paths
            }
            Self::Pipe(first, then) => {
                let from = first.places_from(from, places);
                then.places_from(&from, places)
            }
            Self::Alternative(first, other) => {
                let first = first.places_from(from, places);
                [first, other.places_from(from, places)].concat()
            }
            Self::Conditional(branches, otherwise) => {
                let mut paths = otherwise.places_from(from, places);
                for (condition, result) in branches {
                    condition.places_from(from, places);
                    paths.extend(result.places_from(from, places));
                }
                paths
            }
            Self::BinaryCall(_, sides)
            | Self::Compare { sides, .. }
            | Self::Logic { sides, .. } => {
                sides.0.places_from(from, places);
                sides.1.places_from(from, places);
                Vec::new()
            }
            Self::Object(members) => {
                for (_, member) in members {
                    member.places_from(from, places);
                }
                Vec::new()
            }
            Self::Interpolation(parts) => {
                for part in parts {
                    part.places_from(from, places);
                }
                Vec::new()
            }
            Self::Literal(_)
            | Self::Assumed(_)
            | Self::Header(_)
            | Self::Not
            | Self::Call(_)
            | Self::Split(_)
            | Self::Interpreted(_) => Vec::new(),
        }
    }

    /// Adds the headers that the plan reads to `names`.
    pub(in crate::mapping) fn add_headers(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Header(name) => {
                names.insert(name.clone());
            }
            Self::Interpreted(program) => names.extend(program.headers().iter().cloned()),
            Self::Path(from, _) => from.add_headers(names),
            Self::Pipe(one, other) | Self::Alternative(one, other) => {
                one.add_headers(names);
                other.add_headers(names);
            }
            Self::Object(members) => {
                members
                    .iter()
                    .for_each(|(_, member)| member.add_headers(names));
            }
            Self::Conditional(branches, otherwise) => {
                for (condition, result) in branches {
                    condition.add_headers(names);
                    result.add_headers(names);
                }
                otherwise.add_headers(names);
            }
            Self::BinaryCall(_, sides)
            | Self::Compare { sides, .. }
            | Self::Logic { sides, .. } => {
                sides.0.add_headers(names);
                sides.1.add_headers(names);
            }
            Self::Interpolation(parts) => parts.iter().for_each(|part| part.add_headers(names)),
            Self::Input
            | Self::Literal(_)
            | Self::Assumed(_)
            | Self::Not
            | Self::Split(_)
            | Self::Call(_) => {}
        }
    }
}
