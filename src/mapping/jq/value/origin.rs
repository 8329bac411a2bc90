//! Places of an event.

use std::rc::Rc;

use super::super::super::located::{PathStep, pointer};

/// A place of the event, by the way to it.
#[derive(Debug)]
pub(super) enum Origin {
    Event,
    Inside { outer: Rc<Self>, step: PathStep },
}

impl Origin {
    /// The way to it.
    pub(super) fn way(&self) -> Vec<PathStep> {
        match self {
            Self::Event => Vec::new(),
            Self::Inside { outer, step } => {
                let mut way = outer.way();
                way.push(step.clone());
                way
            }
        }
    }

    /// The way as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        pointer(self.way().iter())
    }
}
