//! What a profile comes to on a platform: argv, files, endpoints, gates, capabilities. Pure: the same profile
//! and the same platform give the same bytes, and nothing is touched.
//!
//! QEMU is to be run *in* the lane's folder, and nothing that depends on where the project or the run lies is in a
//! plan: what QEMU makes has a relative name; what it reads from below the project's tree is shown by its way from
//! there and reaches QEMU through a link in the lane's folder; only what lies outside is absolute.
//!
//! Start at [`plan`] for a platform of which everything is known, or at [`draft`] for what is known. How a plan looks
//! as JSON is in [`plan_document`](super::plan_document).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::argv;
use super::handle::Capability;
pub use super::plan_error::PlanError;
use super::platform::{FirmwarePair, HostFacts, KvmDevice, KvmProof, Platform, QemuFacts, QemuVersion};
use super::profile::{
    AccelRequest, DiskBus, DiskFormat, Display, Firmware, Gate, QemuProfile, QmpAllow, ResetPolicy,
    SpiceCompression, SpiceTransport,
};
use super::sha256;

/// The control socket, in the lane's folder.
pub const QMP_SOCKET: &str = "qmp.sock";
/// A second control socket, for people: QEMU serves one client on each, and we take the first.
pub const MONITOR_SOCKET: &str = "monitor.sock";
/// The SPICE socket, in the lane's folder.
pub const SPICE_SOCKET: &str = "spice.sock";
/// What the guest says on its first serial port, in the lane's folder.
pub const SERIAL_LOG: &str = "serial.log";
/// What QEMU itself says, in the lane's folder.
pub const QEMU_LOG: &str = "qemu.log";
/// The SPICE secret, in the lane's folder.
pub const TICKET_FILE: &str = "spice.ticket";
/// The lane's own firmware variables, in the lane's folder.
pub const VARS_OVERLAY: &str = "firmware-vars.qcow2";
/// Where runs put their folders unless they are told otherwise.
pub const LOG_ROOT: &str = "logs";

pub(super) const OLDEST_QEMU: QemuVersion = QemuVersion { major: 5, minor: 2, micro: 0 };
const OLDEST_WARM: QemuVersion = QemuVersion { major: 6, minor: 0, micro: 0 };
const RESTORE_ARGV: [&str; 2] = ["-incoming", "defer"];

/// The resolved description of one machine, or of as much of it as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The profile's name.
    pub profile: String,
    /// `sha256:<hex>` of the canonical profile.
    pub profile_hash: String,
    /// What has to be settled before the machine can start; empty in a plan that is validated.
    pub unresolved: Vec<PlanError>,
    /// Program and arguments; to be run in the lane's folder, without a shell. Empty in a draft that lacks what it
    /// takes to tell.
    pub argv: Vec<String>,
    /// `sha256:<hex>` of the argv joined by NUL; empty with it.
    pub argv_hash: String,
    /// How instructions are executed, and why so.
    pub acceleration: Acceleration,
    /// The program, if there is one.
    pub qemu: Option<PlannedQemu>,
    /// What the machine starts, outside the lane's folder.
    pub firmware: Vec<InputFile>,
    /// Kernel and disk images, outside the lane's folder.
    pub inputs: Vec<InputFile>,
    /// What has to be in the lane's folder before QEMU starts, in order.
    pub needs: Vec<Need>,
    /// Every file in the lane's folder that QEMU has to do with.
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
    /// Whether the machine can be saved at its ready point and put back.
    pub warmable: Warmable,
    /// Where runs put their folders.
    pub development_log_root: String,
}

impl Plan {
    /// Whether nothing is left to be settled.
    pub fn is_validated(&self) -> bool {
        self.unresolved.is_empty()
    }

    /// Returns the plan if nothing is left to be settled.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn validated(self) -> Result<Self, PlanError> {
        match self.unresolved.first() {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }

    /// Names in the lane's folder that must not outlive the machine: sockets, the secret, and links, which whoever
    /// collects artifacts would follow.
    pub fn transient_names(&self) -> Vec<&str> {
        let is_transient = |role| {
            use FileRole::{MonitorSocket, QmpSocket, SpiceSocket, Ticket};
            matches!(role, Ticket | QmpSocket | MonitorSocket | SpiceSocket)
        };
        let files = self.files.iter().filter(|file| is_transient(file.role)).map(|file| file.path.as_str());
        let links = self.needs.iter().filter_map(|need| match need {
            Need::Link { to, .. } => Some(to.as_str()),
            _ => None,
        });
        files.chain(links).collect()
    }

    /// In a line: what becomes of the first serial port.
    pub fn serial_config_summary(&self) -> String {
        match self.capabilities.contains(&Capability::Serial) {
            true => format!("com1 -> {SERIAL_LOG}, appended"),
            false => "none".to_owned(),
        }
    }
}

/// The program of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedQemu {
    /// Absolute.
    pub path: String,
    /// What it says its version is, if that is known.
    pub version: Option<String>,
    /// `sha256:<hex>` of the program, if it was read.
    pub sha256: Option<String>,
}

/// A file that the machine starts from and never writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputFile {
    /// What it is for.
    pub role: FileRole,
    /// From the project's root if it lies below that, otherwise absolute.
    pub path: String,
    /// `sha256:<hex>`, if it was read; files above 256 MiB are not.
    pub sha256: Option<String>,
    /// Its size, if it was looked at.
    pub size_bytes: Option<u64>,
    /// Absolute.
    #[serde(skip)]
    pub source: PathBuf,
    /// What tells it apart where it has no hash, if it was looked at. Differs between two copies.
    #[serde(skip)]
    pub identity: Option<FileIdentity>,
    /// What it has to be.
    #[serde(skip)]
    pub format: Option<DiskFormat>,
}

/// What tells a file from others on the same host, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "as the system has them")]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    pub modified_s: i64,
    pub modified_ns: i64,
}

/// What was found in the files of a plan, by their absolute paths. A file that is not in it was not looked at, and
/// nothing is said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(pub BTreeMap<PathBuf, Content>);

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It is there and can be read.
    Known {
        /// Its size.
        size_bytes: u64,
        /// Its hash, unless it is large.
        sha256: Option<String>,
        /// What else tells it apart.
        identity: FileIdentity,
    },
    /// It is not, or is not what it should be.
    Unusable(String),
}

/// Whether a machine can be saved and put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warmable {
    /// Whether it can.
    pub possible: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What putting it back adds to the argv.
    pub restore_argv: Vec<String>,
}

/// How instructions are executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceleration {
    /// As the profile has it.
    #[serde(rename = "acceleration_requested")]
    pub requested: AccelRequest,
    /// What it comes to; nothing in a draft that lacks what it takes to tell.
    #[serde(rename = "acceleration_resolved")]
    pub resolved: Option<Accelerator>,
    /// Why, in the same words for everybody on this host.
    #[serde(rename = "acceleration_why")]
    pub why: String,
    /// What was seen, which may differ between people: one may not open what another finds broken.
    #[serde(skip)]
    pub detail: Option<String>,
}

impl Acceleration {
    /// Why, as exactly as is known.
    pub fn reason(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.why)
    }
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
    /// A symbolic link.
    Link {
        /// From the project's root.
        from: String,
        /// Relative to the lane's folder.
        to: String,
        /// Absolute.
        #[serde(skip)]
        source: PathBuf,
    },
    /// An empty qcow2 image over another one, which takes what is written.
    Overlay {
        /// What it lies over: absolute, or a link in the lane's folder.
        backing: String,
        /// What that is.
        format: DiskFormat,
        /// Relative to the lane's folder.
        to: String,
    },
    /// A file with a fresh random secret: printable ASCII, no line end, readable by its owner only.
    Ticket {
        /// Relative to the lane's folder.
        to: String,
    },
}

/// A file in the lane's folder and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// What it is for.
    pub role: FileRole,
    /// Relative to the lane's folder.
    pub path: String,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileRole {
    Firmware,
    FirmwareCode,
    FirmwareVars,
    Kernel,
    Disk,
    Ticket,
    QmpSocket,
    MonitorSocket,
    SpiceSocket,
    SerialLog,
    QemuLog,
}

impl std::fmt::Display for FileRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Firmware => "firmware",
            Self::FirmwareCode => "firmware program",
            Self::FirmwareVars => "firmware variables",
            Self::Kernel => "kernel",
            Self::Disk => "disk",
            Self::Ticket => "ticket",
            Self::QmpSocket => "QMP socket",
            Self::MonitorSocket => "monitor socket",
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

/// Returns how a plan names the folder of runs: as it was asked for, from the project's root if it lies below that.
pub fn log_root(artifacts: &Path, root: &Path) -> String {
    let shown = match artifacts.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => below,
        _ => artifacts,
    };
    shown.to_string_lossy().into_owned()
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
    decide(requested, &platform.qemu, &platform.accelerators, &platform.kvm_device, proof)
}

/// The one sentence for all the ways in which KVM can fail: they differ between the people of a host, plans do not.
const NO_KVM_GUEST: &str = "KVM runs no guest here; `backstaff doctor` says why";

fn decide(
    requested: AccelRequest,
    qemu: &str,
    accelerators: &[String],
    device: &KvmDevice,
    proof: Option<&KvmProof>,
) -> Result<Acceleration, PlanError> {
    let has = |wanted: &str| accelerators.iter().any(|name| name == wanted);
    let obstacle = kvm_obstacle(has("kvm"), device, proof);
    let (resolved, why, detail) = match (requested, obstacle) {
        (AccelRequest::Tcg, _) => (Accelerator::Tcg, "the profile asks for it", None),
        (AccelRequest::Kvm, None) => (Accelerator::Kvm, "the profile asks for it", None),
        (AccelRequest::Kvm, Some((why, detail))) => {
            return Err(PlanError::NoKvm { reason: why.to_owned(), detail });
        }
        (AccelRequest::Auto, Some((why, detail))) => (Accelerator::Tcg, why, detail),
        (AccelRequest::Auto, None) if proof.is_some() => {
            (Accelerator::Kvm, "a guest ran under KVM on this host", None)
        }
        (AccelRequest::Auto, None) => (Accelerator::Kvm, "/dev/kvm opens, no guest was tried", None),
    };
    if !has(resolved.as_str()) {
        let (qemu, got) = (qemu.to_owned(), accelerators.to_vec());
        return Err(PlanError::NoAccelerator { qemu, wanted: resolved.as_str(), got });
    }
    Ok(Acceleration { requested, resolved: Some(resolved), why: why.to_owned(), detail })
}

/// Why KVM cannot be used, for everybody and in detail.
fn kvm_obstacle(
    is_built_in: bool,
    device: &KvmDevice,
    proof: Option<&KvmProof>,
) -> Option<(&'static str, Option<String>)> {
    if !is_built_in {
        return Some(("this QEMU is built without KVM", None));
    }
    if let KvmDevice::Unusable { reason } = device {
        return Some((NO_KVM_GUEST, Some(format!("/dev/kvm does not open ({reason})"))));
    }
    match proof {
        Some(KvmProof::Broken { reason }) => {
            Some((NO_KVM_GUEST, Some(format!("KVM is broken on this host ({reason})"))))
        }
        Some(KvmProof::Works) | None => None,
    }
}

/// Resolves `profile` on `platform`, looking at no file.
///
/// # Errors
///
/// The first thing that the platform lacks.
pub fn plan(
    profile: &QemuProfile,
    platform: &Platform,
    acceleration: &Acceleration,
) -> Result<Plan, PlanError> {
    resolve(profile, &HostFacts::from(platform), Ok(acceleration.clone()), &Contents::default()).validated()
}

/// Resolves `profile` as far as it goes with what is known. `proof` is what became of trying KVM, `contents` what was
/// found in [`files_read`].
pub fn draft(
    profile: &QemuProfile,
    facts: &HostFacts,
    proof: Option<&KvmProof>,
    contents: &Contents,
) -> Plan {
    let requested = profile.machine.accel;
    let acceleration = match &facts.qemu {
        None => Err(PlanError::NoQemu { path: facts.search_path.clone() }),
        Some(QemuFacts { path, accelerators: None, .. }) => {
            Err(PlanError::Untold { qemu: path.clone(), fact: "accelerators" })
        }
        Some(QemuFacts { path, accelerators: Some(accelerators), .. }) => {
            decide(requested, path, accelerators, &facts.kvm_device, proof)
        }
    };
    resolve(profile, facts, acceleration, contents)
}

/// Returns the files from outside the lane's folder that a plan would name.
pub fn files_read(profile: &QemuProfile, facts: &HostFacts) -> Vec<InputFile> {
    let storage = Storage::of(profile, facts);
    storage.sources().map(|source| source.file.clone()).collect()
}

fn resolve(
    profile: &QemuProfile,
    facts: &HostFacts,
    acceleration: Result<Acceleration, PlanError>,
    contents: &Contents,
) -> Plan {
    let mut unresolved = qemu_obstacles(profile, facts);
    let acceleration = acceleration.unwrap_or_else(|error| {
        let (why, requested) = (error.why(), profile.machine.accel);
        if !unresolved.contains(&error) {
            unresolved.push(error);
        }
        Acceleration { requested, resolved: None, why, detail: None }
    });
    let mut storage = Storage::of(profile, facts);
    unresolved.extend(storage.firmware.is_none().then_some(PlanError::NoFirmware));
    unresolved.extend(too_many_ide_disks(profile));
    unresolved.extend(storage.fill(contents));

    let argv = match (&facts.qemu, acceleration.resolved, &storage.firmware) {
        (Some(QemuFacts { path, has_sandbox: Some(has_sandbox), .. }), Some(accelerator), Some(firmware)) => {
            let host = argv::Host { qemu: path, has_sandbox: *has_sandbox, accelerator };
            argv::render(profile, &host, firmware, &storage)
        }
        _ => Vec::new(),
    };
    let argv_hash = match argv.is_empty() {
        true => String::new(),
        false => sha256::label(argv.join("\0").as_bytes()),
    };
    let warmable = warmable(profile, facts);
    Plan {
        profile: profile.name.clone(),
        profile_hash: profile.profile_hash().to_owned(),
        unresolved,
        argv,
        argv_hash,
        acceleration,
        qemu: facts.qemu.as_ref().map(|qemu| PlannedQemu {
            path: qemu.path.clone(),
            version: qemu.version.map(|version| version.to_string()),
            sha256: qemu.sha256.clone(),
        }),
        firmware: storage
            .firmware
            .iter()
            .flat_map(ResolvedFirmware::sources)
            .map(|it| it.file.clone())
            .collect(),
        inputs: storage.kernel.iter().chain(&storage.disks).map(|it| it.file.clone()).collect(),
        needs: needs(profile, &storage),
        files: files(profile, &storage),
        spice: match profile.spice.transport {
            SpiceTransport::Unix => SpiceEndpoint::Unix { path: SPICE_SOCKET.to_owned() },
            SpiceTransport::Tcp { port } => SpiceEndpoint::Tcp { port },
        },
        compression: profile.spice.compression,
        gates: profile.gates.clone(),
        capabilities: capabilities(profile, &warmable),
        qmp_allow: profile.qmp_allow.clone(),
        exits_on_reset: profile.reset == ResetPolicy::Exit,
        warmable,
        development_log_root: LOG_ROOT.to_owned(),
    }
}

/// What this QEMU lacks, or what is not known of it.
fn qemu_obstacles(profile: &QemuProfile, facts: &HostFacts) -> Vec<PlanError> {
    let Some(qemu) = &facts.qemu else {
        return vec![PlanError::NoQemu { path: facts.search_path.clone() }];
    };
    let path = || qemu.path.clone();
    let untold = |fact| Some(PlanError::Untold { qemu: path(), fact });
    let version = match qemu.version {
        None => untold("version"),
        Some(got) if got < OLDEST_QEMU => Some(PlanError::OldQemu { qemu: path(), got, wanted: OLDEST_QEMU }),
        Some(got) if board_version(&profile.machine.machine_type).is_some_and(|board| board > got) => {
            let machine = profile.machine.machine_type.clone();
            Some(PlanError::NewMachine { qemu: path(), got, machine })
        }
        Some(_) => None,
    };
    let spice = match (qemu.has_spice, qemu.version) {
        (None, _) => untold("SPICE"),
        (Some(false), Some(version)) => Some(PlanError::NoSpice { qemu: path(), version }),
        _ => None,
    };
    let sandbox = qemu.has_sandbox.is_none().then(|| untold("sandbox")).flatten();
    let devices = match &qemu.devices {
        None => untold("devices").into_iter().collect(),
        Some(known) => wanted_devices(profile)
            .into_iter()
            .filter(|device| !known.iter().any(|name| name == device))
            .map(|device| PlanError::NoDevice { qemu: path(), device })
            .collect::<Vec<_>>(),
    };
    version.into_iter().chain(spice).chain(sandbox).chain(devices).collect()
}

/// The QEMU that brought a versioned board.
fn board_version(machine_type: &str) -> Option<QemuVersion> {
    let version = machine_type.strip_prefix("pc-q35-").or_else(|| machine_type.strip_prefix("pc-i440fx-"))?;
    let mut parts = version.split('.').map(str::parse::<u32>);
    let mut part = || parts.next()?.ok();
    Some(QemuVersion { major: part()?, minor: part()?, micro: 0 })
}

fn wanted_devices(profile: &QemuProfile) -> Vec<&'static str> {
    let disks = profile.disks.iter().map(|disk| argv::disk_device(disk.bus));
    let networks = profile.networks.iter().map(|network| argv::network_device(network.model));
    let serial = profile.serial_log.then_some("isa-serial");
    let tablet = profile.tablet.then_some([argv::USB_CONTROLLER, argv::TABLET]).into_iter().flatten();
    let graphics = argv::graphics_model(profile.display);
    let all = disks.chain(networks).chain(graphics).chain(serial).chain(tablet);
    let mut all: Vec<&str> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn too_many_ide_disks(profile: &QemuProfile) -> Option<PlanError> {
    let got = profile.disks.iter().filter(|disk| disk.bus == DiskBus::Ide).count();
    let limit = argv::ide_ports(&profile.machine.machine_type);
    (got > limit).then_some(PlanError::TooManyIdeDisks { got, limit })
}

fn warmable(profile: &QemuProfile, facts: &HostFacts) -> Warmable {
    let version = facts.qemu.as_ref().and_then(|qemu| qemu.version);
    let obstacle = match version {
        _ if !profile.warm => Some("the profile says `warm = false`".to_owned()),
        None => Some("QEMU's version is not known".to_owned()),
        Some(version) if version < OLDEST_WARM => {
            Some(format!("QEMU is version {version}, wanted {OLDEST_WARM} or later"))
        }
        Some(_) => None,
    };
    let restore_argv = match obstacle {
        None => RESTORE_ARGV.map(str::to_owned).into(),
        Some(_) => Vec::new(),
    };
    Warmable { possible: obstacle.is_none(), reason: obstacle, restore_argv }
}

impl Plan {
    /// Whether the machine can be saved when it is ready and restored from there.
    pub fn is_warmable(&self) -> bool {
        self.warmable.possible
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
                Need::Overlay { to, .. } => Some(to.clone()),
                Need::Link { .. } | Need::Ticket { .. } => None,
            })
            .collect()
    }
}

/// Where the machine's programs and data come from, decided.
pub(super) struct Storage {
    /// Nothing if this host has none.
    pub(super) firmware: Option<ResolvedFirmware>,
    pub(super) kernel: Option<Source>,
    /// One for each disk of the profile.
    pub(super) disks: Vec<Source>,
}

pub(super) enum ResolvedFirmware {
    Bios(Source),
    Flash { code: Source, vars: Source },
}

impl ResolvedFirmware {
    fn sources(&self) -> impl Iterator<Item = &Source> {
        let (first, second) = match self {
            Self::Bios(image) => (image, None),
            Self::Flash { code, vars } => (code, Some(vars)),
        };
        std::iter::once(first).chain(second)
    }

    fn sources_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        let (first, second) = match self {
            Self::Bios(image) => (image, None),
            Self::Flash { code, vars } => (code, Some(vars)),
        };
        std::iter::once(first).chain(second)
    }
}

/// A file from outside the lane's folder, and the name under which QEMU opens it.
pub(super) struct Source {
    file: InputFile,
    /// The link's name, if it lies below the project's root.
    link: Option<String>,
}

impl Source {
    /// A file that a profile names.
    fn of(profile: &QemuProfile, role: FileRole, path: &str, link: &str, format: Option<DiskFormat>) -> Self {
        let below = Path::new(path).strip_prefix(&profile.root).ok().and_then(Path::to_str);
        let link = below.map(|_| link.to_owned());
        Self { file: input(role, below.unwrap_or(path), path, format), link }
    }

    /// A file of the host.
    fn of_host(role: FileRole, path: &str) -> Self {
        Self { file: input(role, path, path, None), link: None }
    }

    /// The name under which QEMU opens it.
    pub(super) fn opened(&self) -> &str {
        self.link.as_deref().unwrap_or(&self.file.path)
    }
}

fn input(role: FileRole, shown: &str, path: &str, format: Option<DiskFormat>) -> InputFile {
    InputFile {
        role,
        path: shown.to_owned(),
        sha256: None,
        size_bytes: None,
        source: PathBuf::from(path),
        identity: None,
        format,
    }
}

impl Storage {
    fn of(profile: &QemuProfile, facts: &HostFacts) -> Self {
        use FileRole::{Disk, FirmwareCode, FirmwareVars, Kernel};
        let found = &facts.firmware;
        let firmware = match &profile.firmware {
            Firmware::Bios(path) => {
                Some(ResolvedFirmware::Bios(Source::of(profile, FileRole::Firmware, path, "firmware", None)))
            }
            Firmware::Flash { code, vars } => Some(ResolvedFirmware::Flash {
                code: Source::of(profile, FirmwareCode, code, "firmware-code", None),
                vars: Source::of(profile, FirmwareVars, vars, "firmware-vars.base", None),
            }),
            Firmware::Auto => match (&found.single, &found.pair) {
                (Some(single), _) => {
                    Some(ResolvedFirmware::Bios(Source::of_host(FileRole::Firmware, single)))
                }
                (None, Some(FirmwarePair { code, vars })) => Some(ResolvedFirmware::Flash {
                    code: Source::of_host(FirmwareCode, code),
                    vars: Source::of_host(FirmwareVars, vars),
                }),
                (None, None) => None,
            },
        };
        let kernel = profile.kernel.as_ref().map(|path| Source::of(profile, Kernel, path, "kernel", None));
        let disks = profile.disks.iter().enumerate().map(|(index, disk)| {
            Source::of(profile, Disk, &disk.path, &format!("disk{index}.base"), Some(disk.format))
        });
        Self { firmware, kernel, disks: disks.collect() }
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.firmware.iter().flat_map(ResolvedFirmware::sources).chain(&self.kernel).chain(&self.disks)
    }

    /// Adds what was found in the files, and returns what is wrong with them.
    fn fill(&mut self, contents: &Contents) -> Vec<PlanError> {
        let firmware = self.firmware.iter_mut().flat_map(ResolvedFirmware::sources_mut);
        let mut faults = Vec::new();
        for source in firmware.chain(&mut self.kernel).chain(&mut self.disks) {
            let file = &mut source.file;
            match contents.0.get(&file.source) {
                Some(Content::Known { size_bytes, sha256, identity }) => {
                    file.size_bytes = Some(*size_bytes);
                    file.sha256.clone_from(sha256);
                    file.identity = Some(*identity);
                }
                Some(Content::Unusable(why)) => {
                    faults.push(PlanError::Input {
                        role: file.role,
                        path: file.path.clone(),
                        file: file.source.clone(),
                        why: why.clone(),
                    });
                }
                None => {}
            }
        }
        faults
    }
}

fn needs(profile: &QemuProfile, storage: &Storage) -> Vec<Need> {
    let links = storage.sources().filter_map(|source| {
        let InputFile { path, source: file, .. } = &source.file;
        Some(Need::Link { from: path.clone(), to: source.link.clone()?, source: file.clone() })
    });
    let overlay = |source: &Source, format, to: String| {
        let backing = source.opened().to_owned();
        Need::Overlay { backing, format, to }
    };
    let vars = match &storage.firmware {
        Some(ResolvedFirmware::Flash { vars, .. }) => {
            Some(overlay(vars, DiskFormat::Raw, VARS_OVERLAY.to_owned()))
        }
        _ => None,
    };
    let disks = profile.disks.iter().zip(&storage.disks).enumerate();
    let disks = disks
        .filter(|(_, (disk, _))| !disk.readonly)
        .map(|(index, (disk, source))| overlay(source, disk.format, disk_overlay(index)));
    let ticket = profile.spice.ticket.then(|| Need::Ticket { to: TICKET_FILE.to_owned() });
    links.chain(vars).chain(disks).chain(ticket).collect()
}

/// What takes the writes to a disk, in the lane's folder.
pub(super) fn disk_overlay(index: usize) -> String {
    format!("disk{index}.qcow2")
}

fn files(profile: &QemuProfile, storage: &Storage) -> Vec<PlannedFile> {
    let mut files = Vec::new();
    let mut add = |role, path: &str| files.push(PlannedFile { role, path: path.to_owned() });
    for source in storage.sources() {
        if let Some(link) = &source.link {
            add(source.file.role, link);
        }
    }
    if matches!(storage.firmware, Some(ResolvedFirmware::Flash { .. })) {
        add(FileRole::FirmwareVars, VARS_OVERLAY);
    }
    for (index, _) in profile.disks.iter().enumerate().filter(|(_, disk)| !disk.readonly) {
        add(FileRole::Disk, &disk_overlay(index));
    }
    if profile.spice.ticket {
        add(FileRole::Ticket, TICKET_FILE);
    }
    add(FileRole::QmpSocket, QMP_SOCKET);
    add(FileRole::MonitorSocket, MONITOR_SOCKET);
    if profile.spice.transport == SpiceTransport::Unix {
        add(FileRole::SpiceSocket, SPICE_SOCKET);
    }
    if profile.serial_log {
        add(FileRole::SerialLog, SERIAL_LOG);
    }
    add(FileRole::QemuLog, QEMU_LOG);
    files
}

/// What a machine of this profile offers on a host where nothing is in the way.
pub(super) fn capabilities_at_best(profile: &QemuProfile) -> Vec<Capability> {
    capabilities(profile, &Warmable { possible: true, reason: None, restore_argv: Vec::new() })
}

fn capabilities(profile: &QemuProfile, warmable: &Warmable) -> Vec<Capability> {
    let mut all = vec![Capability::Keyboard, Capability::Mouse, Capability::Qmp];
    all.extend((profile.display != Display::None).then_some(Capability::Screen));
    all.extend(profile.serial_log.then_some(Capability::Serial));
    all.extend(profile.agent.then_some(Capability::Agent));
    all.extend(profile.digest.then_some(Capability::Digest));
    all.extend(warmable.possible.then_some(Capability::Snapshot));
    all.sort();
    all
}
