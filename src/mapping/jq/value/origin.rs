//! The place in the event that an interpreter value came from.

use std::rc::Rc;

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

    /// Returns the place in the event, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.path().iter())
    }
}
