//! What a profile comes to on a platform: argv, files, endpoints, gates, capabilities. Pure: the same profile
//! and the same platform give the same bytes, and nothing is touched.
//!
//! QEMU is to be run *in* the lane's folder. Everything it makes there has a relative name, so the argv is the
//! same wherever the run lives and socket paths stay short; everything it only reads has an absolute one.

use serde::Serialize;

use super::argv;
use super::handle::Capability;
use super::platform::{FirmwarePair, INSTALL_HINT, KvmDevice, KvmProof, Platform, QemuVersion};
use super::profile::{
    AccelRequest, Display, Firmware, Gate, QemuProfile, QmpAllow, ResetPolicy, SpiceCompression,
    SpiceTransport,
};
use super::sha256;

/// The control socket, in the lane's folder.
pub const QMP_SOCKET: &str = "qmp.sock";
/// The SPICE socket, in the lane's folder.
pub const SPICE_SOCKET: &str = "spice.sock";
/// What the guest says on its first serial port, in the lane's folder.
pub const SERIAL_LOG: &str = "serial.log";
/// What QEMU itself says, in the lane's folder.
pub const QEMU_LOG: &str = "qemu.log";
/// The SPICE secret, in the lane's folder.
pub const TICKET_FILE: &str = "spice.ticket";
/// The lane's own firmware variables, in the lane's folder.
pub const VARS_COPY: &str = "firmware-vars.fd";

pub(super) const OLDEST_QEMU: QemuVersion = QemuVersion { major: 5, minor: 2, micro: 0 };
const MOST_IDE_DISKS: usize = 6;

/// The resolved description of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The profile's name.
    pub profile: String,
    /// `sha256:<hex>` of the canonical profile.
    pub profile_hash: String,
    /// Program and arguments; to be run in the lane's folder, without a shell.
    pub argv: Vec<String>,
    /// `sha256:<hex>` of the argv joined by NUL.
    pub argv_hash: String,
    /// How instructions are executed, and why so.
    pub acceleration: Acceleration,
    /// What has to be in the lane's folder before QEMU starts, in order.
    pub needs: Vec<Need>,
    /// Every file involved; relative ones are made in the lane's folder.
    pub files: Vec<PlannedFile>,
    /// Where SPICE answers.
    pub spice: SpiceEndpoint,
    /// How pictures are to be compressed on the way to the console.
    pub compression: SpiceCompression,
    /// What must hold before the lane is ready, in order.
    pub gates: Vec<Gate>,
    /// What scenarios may ask of this lane, sorted.
    pub capabilities: Vec<Capability>,
    /// Which QMP commands scenarios may send.
    pub qmp_allow: QmpAllow,
    /// Whether a reset ends QEMU.
    pub exits_on_reset: bool,
}

/// How instructions are executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceleration {
    /// As the profile has it.
    pub requested: AccelRequest,
    /// What it comes to.
    pub resolved: Accelerator,
    /// Why, in words.
    pub why: String,
}

/// An accelerator that was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "QEMU's own names")]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    /// Returns QEMU's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Something to be put into the lane's folder before QEMU starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "need", rename_all = "snake_case")]
pub enum Need {
    /// A writable copy.
    Copy {
        /// Absolute.
        from: String,
        /// Relative to the lane's folder.
        to: String,
    },
    /// A file with a fresh random secret: printable ASCII, no line end, readable by its owner only.
    Ticket {
        /// Relative to the lane's folder.
        to: String,
    },
}

/// A file and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// What it is for.
    pub role: FileRole,
    /// Absolute if it is an input, otherwise relative to the lane's folder.
    pub path: String,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileRole {
    Qemu,
    Firmware,
    FirmwareVars,
    Kernel,
    Disk,
    Ticket,
    QmpSocket,
    SpiceSocket,
    SerialLog,
    QemuLog,
}

impl std::fmt::Display for FileRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::Firmware => "firmware",
            Self::FirmwareVars => "firmware variables",
            Self::Kernel => "kernel",
            Self::Disk => "disk",
            Self::Ticket => "ticket",
            Self::QmpSocket => "QMP socket",
            Self::SpiceSocket => "SPICE socket",
            Self::SerialLog => "serial log",
            Self::QemuLog => "QEMU's log",
        })
    }
}

/// Where SPICE answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "transport", rename_all = "snake_case")]
pub enum SpiceEndpoint {
    /// A socket.
    Unix {
        /// Relative to the lane's folder.
        path: String,
    },
    /// 127.0.0.1.
    Tcp {
        /// The port.
        port: u16,
    },
}

/// Why a profile cannot come to life on this platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
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
    /// The profile says `kvm` and that cannot be.
    #[error("the profile asks for KVM, {reason}")]
    NoKvm {
        /// Why not.
        reason: String,
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
}

impl PlanError {
    /// Returns what would fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSpice { .. } | Self::OldQemu { .. } | Self::NoFirmware => Some(INSTALL_HINT.to_owned()),
            Self::NoKvm { .. } => {
                Some("set `accel = \"auto\"` under [machine] to fall back to emulation".to_owned())
            }
            Self::TooManyIdeDisks { .. } => Some("put them on `bus = \"virtio\"`".to_owned()),
            Self::NoAccelerator { .. } => None,
        }
    }
}

/// Decides how instructions are to be executed.
///
/// `proof` is what became of trying KVM on this host, `None` if nobody has tried; then `auto` takes KVM if its
/// device opens.
///
/// # Errors
///
/// When the profile insists on what this platform has not.
pub fn resolve_acceleration(
    requested: AccelRequest,
    platform: &Platform,
    proof: Option<&KvmProof>,
) -> Result<Acceleration, PlanError> {
    let decided = |resolved, why: String| Acceleration { requested, resolved, why };
    let obstacle = kvm_obstacle(platform, proof);
    let acceleration = match (requested, obstacle) {
        (AccelRequest::Tcg, _) => decided(Accelerator::Tcg, "the profile asks for it".to_owned()),
        (AccelRequest::Kvm, None) => decided(Accelerator::Kvm, "the profile asks for it".to_owned()),
        (AccelRequest::Kvm, Some(reason)) => return Err(PlanError::NoKvm { reason }),
        (AccelRequest::Auto, Some(reason)) => decided(Accelerator::Tcg, reason),
        (AccelRequest::Auto, None) => decided(
            Accelerator::Kvm,
            match proof {
                Some(_) => "a guest ran under KVM on this host".to_owned(),
                None => "/dev/kvm opens, no guest was tried".to_owned(),
            },
        ),
    };
    let wanted = acceleration.resolved.as_str();
    if !platform.accelerators.iter().any(|name| name == wanted) {
        let (qemu, got) = (platform.qemu.clone(), platform.accelerators.clone());
        return Err(PlanError::NoAccelerator { qemu, wanted, got });
    }
    Ok(acceleration)
}

fn kvm_obstacle(platform: &Platform, proof: Option<&KvmProof>) -> Option<String> {
    if !platform.accelerators.iter().any(|name| name == "kvm") {
        return Some("this QEMU is built without KVM".to_owned());
    }
    if let KvmDevice::Unusable { reason } = &platform.kvm_device {
        return Some(format!("/dev/kvm does not open ({reason})"));
    }
    match proof {
        Some(KvmProof::Broken { reason }) => Some(format!("KVM is broken on this host ({reason})")),
        Some(KvmProof::Works) | None => None,
    }
}

/// Resolves `profile` on `platform`.
///
/// # Errors
///
/// When the platform lacks what the profile needs.
pub fn plan(
    profile: &QemuProfile,
    platform: &Platform,
    acceleration: &Acceleration,
) -> Result<Plan, PlanError> {
    if platform.qemu_version < OLDEST_QEMU {
        let (qemu, got) = (platform.qemu.clone(), platform.qemu_version);
        return Err(PlanError::OldQemu { qemu, got, wanted: OLDEST_QEMU });
    }
    if !platform.has_spice {
        return Err(PlanError::NoSpice { qemu: platform.qemu.clone(), version: platform.qemu_version });
    }
    let storage = storage(profile, platform)?;
    let argv = argv::render(profile, platform, acceleration.resolved, &storage);
    let argv_hash = sha256::label(argv.join("\0").as_bytes());
    Ok(Plan {
        profile: profile.name.clone(),
        profile_hash: profile.profile_hash().to_owned(),
        argv,
        argv_hash,
        acceleration: acceleration.clone(),
        needs: needs(profile, &storage),
        files: files(profile, platform, &storage),
        spice: match profile.spice.transport {
            SpiceTransport::Unix => SpiceEndpoint::Unix { path: SPICE_SOCKET.to_owned() },
            SpiceTransport::Tcp { port } => SpiceEndpoint::Tcp { port },
        },
        compression: profile.spice.compression,
        gates: profile.gates.clone(),
        capabilities: capabilities(profile),
        qmp_allow: profile.qmp_allow.clone(),
        exits_on_reset: profile.reset == ResetPolicy::Exit,
    })
}

impl Plan {
    /// Whether the machine can be saved when it is ready and restored from there.
    pub fn is_warmable(&self) -> bool {
        self.capabilities.contains(&Capability::Snapshot)
    }

    /// Names of the block nodes behind [`Plan::private_files`].
    pub fn private_nodes(&self) -> Vec<String> {
        self.private_files().iter().filter_map(|file| file.split('.').next().map(str::to_owned)).collect()
    }

    /// Names of the files in the lane's folder that the machine writes to: its disks and its firmware variables.
    pub fn private_files(&self) -> Vec<String> {
        self.needs
            .iter()
            .filter_map(|need| match need {
                Need::Copy { to, .. } => Some(to.clone()),
                Need::Ticket { .. } => None,
            })
            .collect()
    }
}

/// Where the machine's programs and data come from, decided.
pub(super) struct Storage {
    pub(super) firmware: ResolvedFirmware,
    /// One for each disk of the profile: the name QEMU opens.
    pub(super) disks: Vec<DiskSource>,
}

pub(super) enum ResolvedFirmware {
    Bios(String),
    Flash(FirmwarePair),
}

pub(super) struct DiskSource {
    /// What QEMU opens.
    pub(super) opened: String,
    /// The image to copy there, for a writable disk.
    copied_from: Option<String>,
}

fn storage(profile: &QemuProfile, platform: &Platform) -> Result<Storage, PlanError> {
    let ide = profile.disks.iter().filter(|disk| disk.bus == super::profile::DiskBus::Ide).count();
    if ide > MOST_IDE_DISKS {
        return Err(PlanError::TooManyIdeDisks { got: ide, limit: MOST_IDE_DISKS });
    }
    let found = &platform.firmware;
    let firmware = match &profile.firmware {
        Firmware::Bios(path) => ResolvedFirmware::Bios(path.clone()),
        Firmware::Flash { code, vars } => {
            ResolvedFirmware::Flash(FirmwarePair { code: code.clone(), vars: vars.clone() })
        }
        Firmware::Auto => match (&found.single, &found.pair) {
            (Some(single), _) => ResolvedFirmware::Bios(single.clone()),
            (None, Some(pair)) => ResolvedFirmware::Flash(pair.clone()),
            (None, None) => return Err(PlanError::NoFirmware),
        },
    };
    let disks = profile.disks.iter().enumerate().map(|(index, disk)| {
        if disk.readonly {
            return DiskSource { opened: disk.path.clone(), copied_from: None };
        }
        let opened = format!("disk{index}.{}", disk.format.as_str());
        DiskSource { opened, copied_from: Some(disk.path.clone()) }
    });
    Ok(Storage { firmware, disks: disks.collect() })
}

fn needs(profile: &QemuProfile, storage: &Storage) -> Vec<Need> {
    let vars = match &storage.firmware {
        ResolvedFirmware::Bios(_) => None,
        ResolvedFirmware::Flash(pair) => {
            Some(Need::Copy { from: pair.vars.clone(), to: VARS_COPY.to_owned() })
        }
    };
    let disks = storage
        .disks
        .iter()
        .filter_map(|disk| Some(Need::Copy { from: disk.copied_from.clone()?, to: disk.opened.clone() }));
    let ticket = profile.spice.ticket.then(|| Need::Ticket { to: TICKET_FILE.to_owned() });
    vars.into_iter().chain(disks).chain(ticket).collect()
}

fn files(profile: &QemuProfile, platform: &Platform, storage: &Storage) -> Vec<PlannedFile> {
    let mut files = Vec::new();
    let mut add = |role, path: &str| files.push(PlannedFile { role, path: path.to_owned() });
    add(FileRole::Qemu, &platform.qemu);
    match &storage.firmware {
        ResolvedFirmware::Bios(path) => add(FileRole::Firmware, path),
        ResolvedFirmware::Flash(pair) => {
            add(FileRole::Firmware, &pair.code);
            add(FileRole::FirmwareVars, VARS_COPY);
        }
    }
    if let Some(kernel) = &profile.kernel {
        add(FileRole::Kernel, kernel);
    }
    for disk in &storage.disks {
        add(FileRole::Disk, &disk.opened);
    }
    if profile.spice.ticket {
        add(FileRole::Ticket, TICKET_FILE);
    }
    add(FileRole::QmpSocket, QMP_SOCKET);
    if profile.spice.transport == SpiceTransport::Unix {
        add(FileRole::SpiceSocket, SPICE_SOCKET);
    }
    if profile.serial_log {
        add(FileRole::SerialLog, SERIAL_LOG);
    }
    add(FileRole::QemuLog, QEMU_LOG);
    files
}

fn capabilities(profile: &QemuProfile) -> Vec<Capability> {
    let mut all = vec![Capability::Keyboard, Capability::Qmp];
    all.extend((profile.display != Display::None).then_some(Capability::Screen));
    all.extend(profile.serial_log.then_some(Capability::Serial));
    all.extend(profile.digest.then_some(Capability::Digest));
    all.extend(profile.warm.then_some(Capability::Snapshot));
    all.sort();
    all
}
