//! What a profile can offer at best, before anybody knows the host. Pure.

use std::collections::BTreeSet;

use super::handle::Capability;
use super::plan::capabilities_at_best;
use super::plan_sim::SimPlan;
use super::profile::Profile;

/// Returns every capability that a lane of this profile may have; without the others it is never brought up.
pub fn at_best(profile: &Profile) -> BTreeSet<Capability> {
    match profile {
        Profile::Qemu(profile) => capabilities_at_best(profile).into_iter().collect(),
        Profile::Sim(_) => SimPlan::CAPABILITIES.into(),
        // The environment says where somebody else's machine is, and so what there is of it.
        Profile::Attach(_) => {
            let never = [Capability::Faults, Capability::Snapshot];
            Capability::ALL.into_iter().filter(|capability| !never.contains(capability)).collect()
        }
    }
}
