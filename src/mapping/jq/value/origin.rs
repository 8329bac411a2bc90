//! The place in the event from which an interpreter value comes.

use std::rc::Rc;

use super::super::super::budget::key_steps;
use super::super::super::located::{PathStep, pointer};

/// A place in an event, as a linked list of path steps. If the paths to several places begin with the same steps, the
/// places share these steps in memory.
#[derive(Debug)]
pub(super) enum Origin {
    Event,
    Inside { outer: Rc<Self>, step: PathStep },
}

impl Origin {
    pub(super) fn path(&self) -> Vec<PathStep> {
        match self {
            Self::Event => Vec::new(),
            Self::Inside { outer, step } => {
                let mut path = outer.path();
                path.push(step.clone());
                path
            }
        }
    }

    /// Returns the number of budget steps for a copy of the path. Only long names in the path take steps from the
    /// budget.
    pub(super) fn steps(&self) -> usize {
        match self {
            Self::Event => 0,
            Self::Inside { outer, step } => match step {
                PathStep::Key(key) => key_steps(key) + outer.steps(),
                PathStep::Index(_) => outer.steps(),
            },
        }
    }

    /// Returns the innermost object around the place, as a JSON Pointer. The place is then inside a member of the object.
    pub(super) fn object_pointer(&self) -> String {
        match self {
            Self::Event => String::new(),
            Self::Inside { outer, step } => match step {
                PathStep::Key(_) => outer.pointer(),
                PathStep::Index(_) => outer.object_pointer(),
            },
        }
    }

    /// Returns the place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.path().iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N91: an error or a log about a place copies the names of the place, so long names take steps.
    #[test]
    fn every_long_name_of_a_place_takes_steps() {
        let inside = |outer: &Rc<Origin>, step| {
            let outer = Rc::clone(outer);
            Rc::new(Origin::Inside { outer, step })
        };
        let event = Rc::new(Origin::Event);
        let member = inside(&event, PathStep::Key("x".repeat(128)));
        let item = inside(&member, PathStep::Index(3));
        let inner = inside(&item, PathStep::Key("y".repeat(64)));
        let steps = [event, member, item, inner].map(|origin| origin.steps());
        assert_eq!(steps, [0, 2, 2, 3]);
    }
}
