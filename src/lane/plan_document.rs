//! How a plan looks as JSON: every field always there, in this order, and the same bytes for everybody on a host.
//! Pure.

use serde::{Serialize, Serializer};

use super::handle::Capability;
use super::plan::{
    Acceleration, InputFile, MONITOR_SOCKET, Need, Plan, PlanError, PlannedFile, PlannedQemu, QMP_SOCKET,
    SpiceEndpoint, Warmable,
};
use super::profile::{Gate, QmpAllow, SpiceCompression};

/// What the format is called.
pub const FORMAT: &str = "backstaff-plan";
/// Grows when a reader would misunderstand.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    kind: &'static str,
    profile: &'a str,
    state: &'static str,
    unresolved: &'a [PlanError],
    argv: Option<&'a [String]>,
    argv_hash: Option<&'a str>,
    profile_hash: &'a str,
    #[serde(flatten)]
    acceleration: &'a Acceleration,
    qmp_socket_path: &'static str,
    monitor_socket_path: &'static str,
    serial_config_summary: String,
    development_log_root: &'a str,
    qemu: Option<&'a PlannedQemu>,
    firmware: &'a [InputFile],
    inputs: &'a [InputFile],
    warmable: &'a Warmable,
    gates: &'a [Gate],
    capabilities: &'a [Capability],
    needs: &'a [Need],
    files: &'a [PlannedFile],
    spice: &'a SpiceEndpoint,
    compression: SpiceCompression,
    qmp_allow: &'a QmpAllow,
    exits_on_reset: bool,
}

/// The word for whether anything is left to be settled.
pub(super) fn state(unresolved: &[PlanError]) -> &'static str {
    if unresolved.is_empty() { "validated" } else { "draft" }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_argv = !self.argv.is_empty();
        let document = Document {
            format: FORMAT,
            version: VERSION,
            kind: "qemu",
            profile: &self.profile,
            state: state(&self.unresolved),
            unresolved: &self.unresolved,
            argv: has_argv.then_some(self.argv.as_slice()),
            argv_hash: has_argv.then_some(self.argv_hash.as_str()),
            profile_hash: &self.profile_hash,
            acceleration: &self.acceleration,
            qmp_socket_path: QMP_SOCKET,
            monitor_socket_path: MONITOR_SOCKET,
            serial_config_summary: self.serial_config_summary(),
            development_log_root: &self.development_log_root,
            qemu: self.qemu.as_ref(),
            firmware: &self.firmware,
            inputs: &self.inputs,
            warmable: &self.warmable,
            gates: &self.gates,
            capabilities: &self.capabilities,
            needs: &self.needs,
            files: &self.files,
            spice: &self.spice,
            compression: self.compression,
            qmp_allow: &self.qmp_allow,
            exits_on_reset: self.exits_on_reset,
        };
        document.serialize(serializer)
    }
}
