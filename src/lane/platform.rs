//! Facts about the host that decide how a profile comes to life. Pure data: finding them out is
//! [`platform_detect`](super::platform_detect)'s work, using them is [`plan`](mod@super::plan)'s.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What this host offers. Recorded ones serve as golden test inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Absolute path of `qemu-system-x86_64`.
    pub qemu: String,
    /// What it says its version is.
    pub qemu_version: QemuVersion,
    /// Whether it serves SPICE (distributions may package that apart).
    pub has_spice: bool,
    /// Whether it can confine itself with seccomp.
    pub has_sandbox: bool,
    /// Accelerators built in, such as `kvm` and `tcg`.
    pub accelerators: Vec<String>,
    /// Whether `/dev/kvm` can be opened. This does not prove that it works.
    pub kvm_device: KvmDevice,
    /// OVMF images found.
    pub firmware: FirmwareFound,
    /// Those of [`DEVICES`] which it has.
    pub devices: Vec<String>,
    /// `sha256:<hex>` of the program, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu_sha256: Option<String>,
}

/// QEMU's names of accelerators that lanes use.
pub const ACCELERATORS: [&str; 2] = ["kvm", "tcg"];

/// QEMU's names of devices that lanes use and that builds may lack or package apart.
pub const DEVICES: [&str; 10] = [
    "VGA",
    "e1000e",
    "ide-hd",
    "isa-serial",
    "qemu-xhci",
    "qxl-vga",
    "usb-tablet",
    "virtio-blk-pci",
    "virtio-net-pci",
    "virtio-vga",
];

/// What is known of this host, which may be less than a [`Platform`]: looking only tells less than asking QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The value of `PATH`, for people.
    pub search_path: String,
    /// The program, if there is one.
    pub qemu: Option<QemuFacts>,
    /// As in [`Platform::kvm_device`].
    pub kvm_device: KvmDevice,
    /// As in [`Platform::firmware`].
    pub firmware: FirmwareFound,
}

/// What is known of a QEMU. `None` is what could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuFacts {
    /// Absolute.
    pub path: String,
    /// `sha256:<hex>` of the program.
    pub sha256: Option<String>,
    /// As in [`Platform::qemu_version`].
    pub version: Option<QemuVersion>,
    /// As in [`Platform::has_spice`].
    pub has_spice: Option<bool>,
    /// As in [`Platform::has_sandbox`].
    pub has_sandbox: Option<bool>,
    /// As in [`Platform::accelerators`].
    pub accelerators: Option<Vec<String>>,
    /// As in [`Platform::devices`].
    pub devices: Option<Vec<String>>,
}

impl HostFacts {
    /// The platform, if nothing about it is missing.
    pub fn platform(&self) -> Option<Platform> {
        let qemu = self.qemu.clone()?;
        Some(Platform {
            qemu: qemu.path,
            qemu_version: qemu.version?,
            has_spice: qemu.has_spice?,
            has_sandbox: qemu.has_sandbox?,
            accelerators: qemu.accelerators?,
            kvm_device: self.kvm_device.clone(),
            firmware: self.firmware.clone(),
            devices: qemu.devices?,
            qemu_sha256: qemu.sha256,
        })
    }
}

impl From<&Platform> for HostFacts {
    fn from(platform: &Platform) -> Self {
        Self {
            search_path: String::new(),
            qemu: Some(QemuFacts {
                path: platform.qemu.clone(),
                sha256: platform.qemu_sha256.clone(),
                version: Some(platform.qemu_version),
                has_spice: Some(platform.has_spice),
                has_sandbox: Some(platform.has_sandbox),
                accelerators: Some(platform.accelerators.clone()),
                devices: Some(platform.devices.clone()),
            }),
            kvm_device: platform.kvm_device.clone(),
            firmware: platform.firmware.clone(),
        }
    }
}

/// A QEMU version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the three parts of a version")]
pub struct QemuVersion {
    pub major: u32,
    pub minor: u32,
    pub micro: u32,
}

impl QemuVersion {
    /// Reads the first line of `qemu-system-x86_64 --version`.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.strip_prefix("QEMU emulator version ")?;
        let number = words.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = number.split('.').map(str::parse::<u32>);
        let mut part = || parts.next()?.ok();
        Some(Self { major: part()?, minor: part()?, micro: part().unwrap_or(0) })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// The state of `/dev/kvm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KvmDevice {
    /// It opens for reading and writing.
    Opens,
    /// It does not.
    Unusable {
        /// The system's words.
        reason: String,
    },
}

/// OVMF images on this host; the first found of each form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareFound {
    /// One image for `-bios`.
    pub single: Option<String>,
    /// Program and variable template for flash.
    pub pair: Option<FirmwarePair>,
}

/// A firmware program and its variable template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named by the type")]
pub struct FirmwarePair {
    pub code: String,
    pub vars: String,
}

/// What became of running a guest under KVM for a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum KvmProof {
    /// It ran for the whole time it was watched.
    Works,
    /// It did not.
    Broken {
        /// What was seen instead.
        reason: String,
    },
}

/// Which packages bring what a lane needs, one line per family of distributions.
pub(super) const INSTALL_HINT: &str = "\
Debian, Ubuntu: apt-get install qemu-system-x86 ovmf (from Debian 13 on also qemu-system-modules-spice); \
Fedora: dnf install qemu-system-x86 qemu-ui-spice-core edk2-ovmf; \
Arch: pacman -S qemu-desktop edk2-ovmf";

#[cfg(test)]
mod tests {
    use super::QemuVersion;

    #[test]
    fn version_is_read_from_what_distributions_print() {
        let version = |major, minor, micro| Some(QemuVersion { major, minor, micro });
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright";
        assert_eq!(QemuVersion::parse(debian), version(7, 2, 22));
        assert_eq!(QemuVersion::parse("QEMU emulator version 9.2.0"), version(9, 2, 0));
        assert_eq!(QemuVersion::parse("QEMU emulator version 10.0"), version(10, 0, 0));
        assert_eq!(QemuVersion::parse("QEMU emulator version banana"), None);
        assert_eq!(QemuVersion::parse("not qemu"), None);
    }
}
