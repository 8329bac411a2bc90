//! The place in the event that an interpreter value came from.

use std::rc::Rc;

use super::super::super::budget::key_steps;
use super::super::super::located::{PathStep, pointer};

/// A place in an event, as a linked list of path steps. If the paths to several places begin with the same steps, the
/// places share these steps.
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

    /// Returns the steps that a copy of the path takes from the budget, because the path has long names.
    pub(super) fn steps(&self) -> usize {
        match self {
            Self::Event => 0,
            Self::Inside { outer, step } => match step {
                PathStep::Key(key) => key_steps(key) + outer.steps(),
                PathStep::Index(_) => outer.steps(),
            },
        }
    }

    /// Returns the place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.path().iter())
    }
}
