//! Finds and loads the lanes of customers in the storage engine in memory.

use std::convert::Infallible;

use super::tables::{MemoryTables, spelling};
use crate::imprint::CustomerRef;
use crate::outbox::customer::{CustomerKeys, named};
use crate::outbox::{IdentityLink, LaneId, LaneKey, LaneWait, LoadedLane, WaitingEntry};

impl MemoryTables {
    pub(super) fn load_lanes(&self, customers: &[CustomerRef]) -> Vec<LoadedLane> {
        customers
            .iter()
            .map(|customer| self.load_lane(customer))
            .collect()
    }

    fn load_lane(&self, customer: &CustomerRef) -> LoadedLane {
        let keys = self.customer_keys(customer);
        let found = keys.all().into_iter().filter_map(|key| {
            let id = self.find_lane(&key)?;
            Some((key, id, self.lanes.get(&id)?))
        });
        let mut loaded = LoadedLane::empty(&keys);
        for (key, id, lane) in found {
            loaded.lanes.push(id);
            loaded.waits.push(LaneWait {
                due: lane.due,
                trials: lane.trials,
                unproven: lane.unproven,
                key: key.clone(),
            });
            if key == loaded.key {
                loaded.versions = lane.versions.clone();
            }
            loaded.waiting.extend(lane.claimable(self.bounds));
        }
        loaded
            .waiting
            .sort_by_key(|waiting: &WaitingEntry| std::cmp::Reverse(waiting.entry));
        loaded.links = keys.links;
        loaded.is_blocked = self.is_blocked(customer);
        loaded
    }

    /// Finds the lane of a customer. A tombstone is no lane.
    pub(super) fn find_lane(&self, key: &LaneKey) -> Option<LaneId> {
        let lane = *self.keys.get(&spelling(key))?;
        let is_lane = self.lanes.get(&lane)?.tombstone.is_none();
        is_lane.then_some(lane)
    }

    /// Returns the lanes of the customers that a text can name.
    pub(super) fn lanes_named(&self, text: &str) -> Vec<LaneId> {
        let customers = named(text);
        let keys = customers.flat_map(|customer| self.customer_keys(&customer).all());
        let lanes = keys.filter_map(|key| self.find_lane(&key));
        lanes.collect()
    }

    fn customer_keys(&self, customer: &CustomerRef) -> CustomerKeys {
        let of_imprint = |imprint: &crate::imprint::ImprintId| {
            let is_of = |link: &&IdentityLink| {
                let linked = link.imprint.as_ref();
                linked.is_some_and(|linked| linked.is_same(imprint.as_str()))
            };
            Ok(self.links.values().filter(is_of).cloned().collect())
        };
        let of_partner = |partner: &_| Ok(self.links.get(partner).cloned());
        let found: Result<CustomerKeys, Infallible> =
            CustomerKeys::find(customer, of_partner, of_imprint);
        match found {
            Ok(keys) => keys,
            Err(never) => match never {},
        }
    }
}
