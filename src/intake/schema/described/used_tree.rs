//! The parts of an event that the mapping uses, as a tree.

use std::collections::BTreeMap;

use crate::mapping::{UsedExtent, UsedPart, UsedStep};

/// The parts that the mapping uses, as a tree.
#[derive(Default)]
pub(super) struct UsedTree {
    pub(super) nodes: Vec<UsedNode>,
}

#[derive(Default)]
pub(super) struct UsedNode {
    pub(super) is_whole: bool,
    pub(super) members: BTreeMap<String, usize>,
    pub(super) each: Option<usize>,
}

impl UsedTree {
    pub(super) fn add(&mut self, part: &UsedPart) {
        if self.nodes.is_empty() {
            self.nodes.push(UsedNode::default());
        }
        let mut at = 0;
        for step in &part.steps {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            at = match step {
                UsedStep::Member(name) => *node.members.entry(name.clone()).or_insert(next),
                UsedStep::Each => *node.each.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(UsedNode::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.is_whole |= part.extent == UsedExtent::Whole;
        }
    }
}
