//! What to do about what is missing: the exact packages of three families of distributions, or words.

use serde::Serialize;

use crate::lane::profile::Display;

/// What to do. Nothing of it is ever done by us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// On any system, in words.
    pub any: Option<String>,
    /// A command for Debian, Ubuntu and their family, for root.
    pub debian: Option<String>,
    /// A command for Fedora and its family, for root.
    pub fedora: Option<String>,
    /// A command for Arch and its family, for root.
    pub arch: Option<String>,
}

impl Remedy {
    pub(super) fn any(text: impl Into<String>) -> Self {
        Self { any: Some(text.into()), ..Self::default() }
    }

    fn packages(debian: &str, fedora: &str, arch: &str) -> Self {
        Self {
            any: None,
            debian: Some(format!("apt-get install {debian}")),
            fedora: Some(format!("dnf install {fedora}")),
            arch: Some(format!("pacman -S {arch}")),
        }
    }

    pub(super) fn qemu() -> Self {
        Self::packages(
            "qemu-system-x86 (from Debian 13 on also qemu-system-modules-spice)",
            "qemu-system-x86-core qemu-ui-spice-core qemu-device-display-qxl",
            "qemu-system-x86 qemu-ui-spice-core qemu-hw-display-qxl",
        )
    }

    pub(super) fn newer_qemu() -> Self {
        let text = "Debian 11, Ubuntu 22.04 and all later releases have one that is new enough";
        Self { any: Some(text.to_owned()), ..Self::qemu() }
    }

    pub(super) fn spice() -> Self {
        Self::packages(
            "qemu-system-modules-spice (from Debian 13 on; before, it is part of qemu-system-x86)",
            "qemu-ui-spice-core",
            "qemu-ui-spice-core",
        )
    }

    pub(super) fn firmware() -> Self {
        Self::packages("ovmf", "edk2-ovmf", "edk2-ovmf")
    }

    pub(super) fn graphics(display: Display) -> Self {
        let other = "or set `device = \"std\"` under [display] in the profile".to_owned();
        let packages = match display {
            Display::Qxl => Self::packages(
                "qemu-system-modules-spice (from Debian 13 on; before, it is part of qemu-system-x86)",
                "qemu-device-display-qxl",
                "qemu-hw-display-qxl",
            ),
            Display::Virtio => Self {
                debian: None,
                ..Self::packages("", "qemu-device-display-virtio-vga", "qemu-hw-display-virtio-vga")
            },
            Display::Std | Display::None => return Self::any("every usual build of QEMU has it"),
        };
        Self { any: Some(other), ..packages }
    }
}
