//! What a simulated lane comes to, as JSON: the same on every host, as nothing of a host goes into it. Pure.

use serde::{Serialize, Serializer};

use super::fault::Fault;
use super::handle::Capability;
use super::plan_document::{FORMAT, VERSION};
use super::profile::{Gate, SimCompression, SimProfile};

/// The plan of a simulated lane. It needs nothing, so nothing is ever unresolved.
#[derive(Debug, Clone, Copy)]
pub struct SimPlan<'a>(pub &'a SimProfile);

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    kind: &'static str,
    profile: &'a str,
    state: &'static str,
    unresolved: [&'static str; 0],
    argv: [&'static str; 0],
    profile_hash: &'a str,
    time_scale: f64,
    gates: &'a [Gate],
    compression: SimCompression,
    faults: &'a [Fault],
    capabilities: [Capability; 6],
}

impl SimPlan<'_> {
    /// What scenarios can need of a simulated lane.
    pub const CAPABILITIES: [Capability; 6] = [
        Capability::Digest,
        Capability::Faults,
        Capability::Keyboard,
        Capability::Mouse,
        Capability::Screen,
        Capability::Serial,
    ];

    /// Why a scenario that needs this cannot run here; nothing when it can.
    pub fn why_not(&self, need: Capability) -> Option<String> {
        let name = &self.0.name;
        (!Self::CAPABILITIES.contains(&need)).then(|| {
            format!("lane \"{name}\" is simulated and has no {need}: that takes a lane of kind \"qemu\"")
        })
    }
}

impl Serialize for SimPlan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let profile = self.0;
        let document = Document {
            format: FORMAT,
            version: VERSION,
            kind: "sim",
            profile: &profile.name,
            state: "validated",
            unresolved: [],
            argv: [],
            profile_hash: profile.profile_hash(),
            time_scale: profile.time_scale,
            gates: &profile.gates,
            compression: profile.compression,
            faults: &profile.faults,
            capabilities: Self::CAPABILITIES,
        };
        document.serialize(serializer)
    }
}
