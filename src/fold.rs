//! Folding: what one lane knows and what waits in it, made into one request.

use std::collections::BTreeMap;

use crate::event::Version;
use crate::imprint::Leaf;

/// How new the facts are that Imprint has of one customer, leaf by leaf.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneVersions {
    delivered: BTreeMap<Leaf, Version>,
}
