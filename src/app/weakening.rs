//! The weakenings of the protection: each protection that the configuration or the machine has switched off.

use crate::confinement::{self, GapKind};
use crate::metrics::WeakenedMetrics;

/// A protection that is switched off or that the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weakening {
    /// The process is not confined.
    ConfinementOff,
    /// The kernel does not limit the files that the process can open.
    FilesOpen,
    /// The kernel limits only some ways to use a file.
    FilesPartlyOpen,
    /// The kernel refuses no system calls.
    SystemCallsOpen,
}

impl Weakening {
    pub(crate) const NAMES: [&'static str; 4] = [
        Self::ConfinementOff.as_str(),
        Self::FilesOpen.as_str(),
        Self::FilesPartlyOpen.as_str(),
        Self::SystemCallsOpen.as_str(),
    ];

    /// Returns the name in the metric `weakened`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConfinementOff => "confinement_off",
            Self::FilesOpen => "files_open",
            Self::FilesPartlyOpen => "files_partly_open",
            Self::SystemCallsOpen => "system_calls_open",
        }
    }

    /// Returns a sentence about the weakening.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::ConfinementOff => "the process is not confined",
            Self::FilesOpen => "the process can open every file that its user can open",
            Self::FilesPartlyOpen => {
                "the kernel limits only some ways to use a file outside of the allowed folders"
            }
            Self::SystemCallsOpen => "the process can use every system call",
        }
    }
}

/// Shows the weakenings in the metrics, and logs each of them.
pub(super) fn report(metrics: &WeakenedMetrics) {
    let mut names = Vec::new();
    for (weakening, reason) in of_process() {
        let (name, meaning) = (weakening.as_str(), weakening.meaning());
        tracing::warn!(weakening = name, reason, "{meaning}");
        names.push(name);
    }
    metrics.set(&names);
}

/// Returns the weakenings of this process, each with its reason.
fn of_process() -> Vec<(Weakening, &'static str)> {
    let Some(gaps) = confinement::gaps() else {
        return vec![(Weakening::ConfinementOff, "confinement.mode is \"off\"")];
    };
    let weakening = |kind| match kind {
        GapKind::Files => Weakening::FilesOpen,
        GapKind::SomeFileRights => Weakening::FilesPartlyOpen,
        GapKind::SystemCalls => Weakening::SystemCallsOpen,
    };
    let gaps = gaps.iter();
    gaps.map(|gap| (weakening(gap.kind), gap.reason.as_str()))
        .collect()
}
