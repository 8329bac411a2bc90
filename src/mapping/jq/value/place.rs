//! Places of an event.

use std::rc::Rc;

use super::super::super::reading::{Step, pointer};

/// A place of the event, by the way to it.
#[derive(Debug)]
pub(super) enum Place {
    Event,
    Inside { outer: Rc<Self>, step: Step },
}

impl Place {
    /// The way to it.
    pub(super) fn way(&self) -> Vec<Step> {
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
