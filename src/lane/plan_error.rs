//! What stands between a profile and a machine: each with what it is about, why, and what would settle it. Pure.

use std::path::PathBuf;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::plan::FileRole;
use super::platform::{INSTALL_HINT, QemuVersion};

/// Why a profile cannot come to life on this platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no QEMU.
    #[error("no executable qemu-system-x86_64 in PATH {path:?}")]
    NoQemu {
        /// What was searched.
        path: String,
    },
    /// Looking at the program does not tell.
    #[error("{qemu} does not show its {fact}: it is no QEMU program but something that starts one")]
    Untold {
        /// The program.
        qemu: String,
        /// What is not known.
        fact: &'static str,
    },
    /// This QEMU has no SPICE.
    #[error("{qemu} {version} has no SPICE")]
    NoSpice {
        /// The program.
        qemu: String,
        /// Its version.
        version: QemuVersion,
    },
    /// This QEMU is too old.
    #[error("{qemu} is version {got}, wanted {wanted} or later")]
    OldQemu {
        /// The program.
        qemu: String,
        /// Its version.
        got: QemuVersion,
        /// The oldest that is known to do.
        wanted: QemuVersion,
    },
    /// The board is newer than this QEMU.
    #[error("{qemu} is version {got} and has no board {machine:?}")]
    NewMachine {
        /// The program.
        qemu: String,
        /// Its version.
        got: QemuVersion,
        /// As the profile has it.
        machine: String,
    },
    /// This QEMU lacks a device.
    #[error("{qemu} has no device {device:?}")]
    NoDevice {
        /// The program.
        qemu: String,
        /// QEMU's name of it.
        device: &'static str,
    },
    /// The profile says `kvm` and that cannot be.
    #[error("the profile asks for KVM, {reason}{}", detail.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    NoKvm {
        /// Why not, in the same words for everybody on this host.
        reason: String,
        /// What was seen, which may differ between people.
        detail: Option<String>,
    },
    /// This QEMU was built without any accelerator that could be used.
    #[error("{qemu} has no accelerator {wanted}, only {got:?}")]
    NoAccelerator {
        /// The program.
        qemu: String,
        /// What was wanted.
        wanted: &'static str,
        /// What it has.
        got: Vec<String>,
    },
    /// The profile wants the host's OVMF and there is none.
    #[error("no OVMF image on this host")]
    NoFirmware,
    /// More disks than the controller has ports.
    #[error("{got} IDE disks, the limit is {limit}")]
    TooManyIdeDisks {
        /// As written.
        got: usize,
        /// Ports of the controller.
        limit: usize,
    },
    /// A file that the profile names is not there, or is not what it should be.
    #[error("{role} {file:?} {why}")]
    Input {
        /// What it is for.
        role: FileRole,
        /// As in the plan.
        path: String,
        /// Absolute.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An attached lane of which nobody said where its console is.
    #[error("neither the profile nor the environment says where the console is")]
    NoAddress,
}

impl PlanError {
    /// What it is about, in a word or two.
    pub fn what(&self) -> String {
        match self {
            Self::NoQemu { .. } | Self::OldQemu { .. } => "QEMU".to_owned(),
            Self::Untold { fact, .. } => (*fact).to_owned(),
            Self::NoSpice { .. } | Self::NoAddress => "SPICE".to_owned(),
            Self::NewMachine { .. } => "board".to_owned(),
            Self::NoDevice { .. } => "device".to_owned(),
            Self::NoKvm { .. } | Self::NoAccelerator { .. } => "acceleration".to_owned(),
            Self::NoFirmware => "firmware".to_owned(),
            Self::TooManyIdeDisks { .. } => "disk".to_owned(),
            Self::Input { role, .. } => role.to_string(),
        }
    }

    /// Why, in the same words for everybody on this host, wherever the project lies.
    pub fn why(&self) -> String {
        match self {
            Self::Input { role, path, why, .. } => format!("{role} {path:?} {why}"),
            Self::NoKvm { reason, .. } => format!("the profile asks for KVM, {reason}"),
            other => other.to_string(),
        }
    }

    /// Returns what would fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoQemu { .. } | Self::NoSpice { .. } | Self::OldQemu { .. } | Self::NoFirmware => {
                Some(INSTALL_HINT.to_owned())
            }
            Self::Untold { .. } => Some(
                "`backstaff run` starts it and asks, a plan starts nothing; or put the folder of the program itself \
                 first in PATH"
                    .to_owned(),
            ),
            Self::NewMachine { .. } => {
                Some("take an older board, or `q35` or `pc` for the newest that QEMU has".to_owned())
            }
            Self::NoDevice { device: "qxl-vga" | "virtio-vga", .. } => {
                Some(format!("set `device = \"std\"` under [display], or install it: {INSTALL_HINT}"))
            }
            Self::NoDevice { .. } => Some("take another model, or a QEMU that was built with it".to_owned()),
            Self::NoKvm { .. } => {
                Some("set `accel = \"auto\"` under [machine] to fall back to emulation".to_owned())
            }
            Self::NoAccelerator { .. } => {
                Some("install a QEMU that was built with it, or its module package".to_owned())
            }
            Self::TooManyIdeDisks { .. } => Some("put them on `bus = \"virtio\"`".to_owned()),
            Self::Input { role: FileRole::Kernel, .. } => {
                Some("is the kernel built, and is its path right in the profile?".to_owned())
            }
            Self::Input { .. } => Some("the profile names it; paths are relative to the profile".to_owned()),
            Self::NoAddress => Some(
                "set `spice` or `vv` under [attach], or BACKSTAFF_SPICE or BACKSTAFF_VV in the environment".to_owned(),
            ),
        }
    }

    /// Whether whoever wrote the profile must act, and not whoever set up the host.
    pub fn is_authors(&self) -> bool {
        matches!(self, Self::TooManyIdeDisks { .. } | Self::Input { .. } | Self::NoAddress)
    }
}

impl Serialize for PlanError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Unresolved", 3)?;
        entry.serialize_field("what", &self.what())?;
        entry.serialize_field("why", &self.why())?;
        entry.serialize_field("remedy", &self.hint())?;
        entry.end()
    }
}
