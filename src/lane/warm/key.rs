//! Which saved machine fits a plan. Pure.

use std::fmt;

use crate::lane::plan::Plan;
use crate::lane::sha256;

/// Identifies a saved machine: two plans with the same key make machines that can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WarmKey(String);

impl WarmKey {
    /// Returns the key of the machine that `plan` makes.
    ///
    /// It covers the whole plan: argv, gates, accelerator, and the SHA-256 of QEMU, firmware, variable template,
    /// kernel and disks; and the host's processor where the guest sees it (`processor`, any text that names it), and
    /// the version of the stored format.
    pub fn of(plan: &Plan, processor: &str) -> Self {
        let mut plan = plan.clone();
        // Why it was decided so and where runs put their folders changes nothing about the machine.
        plan.acceleration.why.clear();
        plan.development_log_root.clear();
        // What is too large for a hash is told apart by what the system says of it, which no plan shows.
        let files = plan.firmware.iter().chain(&plan.inputs);
        let identities: Vec<_> =
            files.filter(|file| file.sha256.is_none()).map(|file| file.identity).collect();
        let identities = serde_json::to_string(&identities).unwrap_or_default();
        // The plan is plain data, so it always serialises.
        let plan = serde_json::to_string(&plan).unwrap_or_default();
        Self(sha256::label(format!("{FORMAT_VERSION}\0{processor}\0{identities}\0{plan}").as_bytes()))
    }

    /// `sha256:<hex>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters of the hash: enough to tell saved machines apart, and the name of their folder.
    pub fn short(&self) -> &str {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        hex.get(..SHORT).unwrap_or(hex)
    }
}

impl fmt::Display for WarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Changes whenever an older state must not be restored any more.
pub(super) const FORMAT_VERSION: u32 = 1;
const SHORT: usize = 16;
