//! The replicas that do not extend their leases.
//!
//! The lease of a replica ends by the clock of the database, which somebody can set: a clock that went forward would end the
//! leases of living replicas, and a clock that went back would keep the lanes of a lost replica for hours. So a running
//! replica takes over another replica only after it has seen the same end of the lease for longer than a lease.

use std::collections::HashMap;

use super::replica::LeaseEnd;

/// The number of looks, one after each extension of the own lease, after which a replica is lost. They take longer than a
/// lease.
const LOOKS: u32 = 6;

/// The ends of the leases that this replica has seen, and the number of looks at which each was the same.
#[derive(Debug, Default)]
pub(super) struct SilentReplicas {
    seen: HashMap<i64, (String, u32)>,
}

impl SilentReplicas {
    /// Records a look at the leases. Returns the replicas that have not extended their leases for longer than a lease.
    pub(super) fn look(&mut self, leases: Vec<LeaseEnd>) -> Vec<LeaseEnd> {
        let mut seen = HashMap::with_capacity(leases.len());
        let mut lost = Vec::new();
        for (owner, lease) in leases {
            let looks = match self.seen.get(&owner) {
                Some((before, looks)) if *before == lease => looks.saturating_add(1),
                Some(_) | None => 1,
            };
            if looks > LOOKS {
                lost.push((owner, lease.clone()));
            }
            seen.insert(owner, (lease, looks));
        }
        self.seen = seen;
        lost
    }

    /// Forgets all looks, because other replicas possibly could not extend their leases.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replica_that_stays_silent_is_lost() {
        let mut silent = SilentReplicas::default();
        for look in 0..=LOOKS {
            let leases = vec![(1, look.to_string()), (2, "infinity".to_owned())];
            let lost = silent.look(leases);
            assert_eq!(!lost.is_empty(), look == LOOKS, "{look}");
            assert!(lost.iter().all(|(owner, _)| *owner == 2));
        }
        silent.forget();
        assert_eq!(silent.look(vec![(2, "infinity".to_owned())]), []);
    }
}
