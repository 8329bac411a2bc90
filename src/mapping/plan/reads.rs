//! The places of an event and the headers of a request that a plan can read.

use std::collections::BTreeSet;

use super::super::located::{PathStep, pointer};
use super::Plan;

/// The maximum number of paths from which one value of an expression can come. Otherwise each `//` in a pipe would double
/// the number of paths. The list of the read places is a note for the author, so the plan leaves out further paths.
const PATHS_MAX: usize = 64;

/// The paths from which a value of an expression can come.
type Paths = BTreeSet<Vec<PathStep>>;

impl Plan {
    /// Adds every place that the plan can read in an event to `places`, as a JSON Pointer.
    pub(in crate::mapping) fn add_places(&self, places: &mut BTreeSet<String>) {
        self.places_from(&Paths::from([Vec::new()]), places);
    }

    /// Adds to `places` every place that the plan can read if its input comes from one of the places in `from`. Returns
    /// the places from which the result of the plan can come, at most [`PATHS_MAX`].
    fn places_from(&self, from: &Paths, places: &mut BTreeSet<String>) -> Paths {
        match self {
            Self::Input => from.clone(),
            Self::Path(inner, steps) => {
                let from = inner.places_from(from, places);
                let extended = |path: Vec<PathStep>| [path, steps.clone()].concat();
                let paths: Paths = from.into_iter().map(extended).collect();
                places.extend(paths.iter().map(|path| pointer(path.iter())));
                paths
            }
            Self::Pipe(first, then) => {
                let from = first.places_from(from, places);
                then.places_from(&from, places)
            }
            Self::Alternative(first, other) => {
                let first = first.places_from(from, places);
                either(first, other.places_from(from, places))
            }
            Self::Conditional(branches, otherwise) => {
                let mut paths = otherwise.places_from(from, places);
                for (condition, result) in branches {
                    condition.places_from(from, places);
                    paths = either(paths, result.places_from(from, places));
                }
                paths
            }
            Self::BinaryCall(_, sides)
            | Self::Compare { sides, .. }
            | Self::Logic { sides, .. } => {
                sides.0.places_from(from, places);
                sides.1.places_from(from, places);
                Paths::new()
            }
            Self::Object(members) => {
                for (_, member) in members {
                    member.places_from(from, places);
                }
                Paths::new()
            }
            Self::Interpolation(parts) => {
                for part in parts {
                    part.places_from(from, places);
                }
                Paths::new()
            }
            Self::Literal(_)
            | Self::Assumed(_)
            | Self::Header(_)
            | Self::Not
            | Self::Call(_)
            | Self::Split(_)
            | Self::Interpreted(_) => Paths::new(),
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

/// Returns the paths of a value that comes from one of two expressions.
fn either(one: Paths, other: Paths) -> Paths {
    one.into_iter().chain(other).take(PATHS_MAX).collect()
}
