//! What this host can do for lanes, what is missing, and what to do about it. It looks and tries, changes nothing,
//! asks for no privilege and installs nothing; the folder of its one trial is gone when it is done.
//!
//! Start at [`examine`]. A [`Report`] is facts and words; how they look on a terminal is not decided here.

mod remedy;
mod room;
mod scratch;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::argv::graphics_model;
use super::error::LaneError;
use super::firmware_find::{below, descriptors};
use super::kvm::try_kvm;
use super::plan::{Accelerator, OLDEST_QEMU, Plan, PlanError, plan, resolve_acceleration};
use super::platform::{FirmwareFound, KvmDevice, KvmProof, Platform};
use super::platform_detect::{DetectConfig, DetectError, PAIRS, SINGLES, ask, find_firmware, open_kvm};
use super::profile::{AccelRequest, Display, Firmware, QemuProfile};
pub use remedy::Remedy;
pub use room::Capacity;
use room::{GIB, LANES_PER_CORE, MIB, Memory, SocketNames, size};
use scratch::Scratch;

/// Where to look.
#[derive(Debug, Clone)]
pub struct DoctorConfig {
    /// Where QEMU, firmware, `/dev` and `/proc` are looked for.
    pub detect: DetectConfig,
    /// Where runs would make their folders; absolute. It need not be there.
    pub artifacts: PathBuf,
    /// Processors that we may use.
    pub cores: usize,
}

/// The lane that runs would use.
#[derive(Debug)]
pub enum AskedLane {
    /// It has a profile.
    Profile(Box<QemuProfile>),
    /// It is somebody else's machine: nothing of this host but us is needed.
    Attached {
        /// Its name.
        name: String,
    },
    /// It is simulated: nothing of this host but us is needed.
    Simulated {
        /// Its name.
        name: String,
    },
    /// Its profile, or the project, does not load.
    Unloadable {
        /// Its name, if that is known.
        name: Option<String>,
        /// What is wrong.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Nobody named one; any QEMU lane is meant.
    Any {
        /// How one is named.
        hint: Option<String>,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the lane can run here.
    pub can_run: bool,
    /// The lane's name; none where any QEMU lane was meant.
    pub lane: Option<String>,
    /// How it would execute instructions, when it can run.
    pub accelerator: Option<Accelerator>,
    /// In a fixed order.
    pub capabilities: Vec<Capability>,
}

/// One thing that lanes use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// A stable name, in snake_case.
    pub name: &'static str,
    /// What became of looking for it.
    pub state: State,
    /// What is there.
    pub found: Option<String>,
    /// What is wrong with it, or deserves attention.
    pub why: Option<String>,
    /// What to do about that.
    pub remedy: Option<Remedy>,
    /// Whether the lane cannot run without it.
    pub needed: bool,
    /// The firmware on this host; only of `firmware`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<FirmwareImage>,
    /// Only of `capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Capacity>,
}

/// What became of looking for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was seen to work.
    Proven,
    /// It is not there.
    Missing,
    /// It is there and does not work.
    Broken,
    /// None of these can be said.
    Unknown,
}

/// Files that belong to one firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirmwareImage {
    /// The program, then its variables; empty when the descriptor cannot be read.
    pub files: Vec<FirmwareFile>,
    /// The descriptor that names them; none for paths that are known without one.
    pub descriptor: Option<String>,
    /// Whether it is what `bios = "ovmf"` comes to.
    pub chosen: bool,
    /// Why lanes leave it alone.
    pub unfit: Option<String>,
}

/// A file of a firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirmwareFile {
    /// Absolute.
    pub path: String,
    /// Its size, where it is there.
    pub size_bytes: Option<u64>,
    /// Whether it can be read.
    pub readable: bool,
}

impl Report {
    /// The capabilities without which the lane cannot run and which are not there.
    pub fn obstacles(&self) -> impl Iterator<Item = &Capability> {
        self.capabilities.iter().filter(|capability| capability.is_obstacle())
    }
}

impl Capability {
    /// Whether this keeps the lane from running.
    pub fn is_obstacle(&self) -> bool {
        self.needed && matches!(self.state, State::Missing | State::Broken)
    }

    fn new(name: &'static str, state: State) -> Self {
        Self {
            name,
            state,
            found: None,
            why: None,
            remedy: None,
            needed: true,
            images: Vec::new(),
            room: None,
        }
    }

    fn proven(name: &'static str, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..Self::new(name, State::Proven) }
    }

    fn missing(name: &'static str, why: impl Into<String>, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(name, State::Missing).because(why) }
    }

    fn broken(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, State::Broken).because(why)
    }

    fn unknown(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, State::Unknown).because(why)
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..self }
    }

    fn remedy(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    fn needed_if(self, needed: bool) -> Self {
        Self { needed, ..self }
    }
}

/// Looks at everything, and runs a guest under KVM for a moment where its device opens. Nothing when cancelled; then,
/// too, nothing is left behind.
pub async fn examine(config: &DoctorConfig, asked: &AskedLane, cancel: &CancellationToken) -> Option<Report> {
    let wishes = Wishes::of(asked);
    let host = tokio::select! {
        host = Host::look(config, wishes.display) => host,
        () = cancel.cancelled() => return None,
    };
    let trial = try_in_scratch(config, &host, cancel).await?;
    let root = &config.detect.system_root;
    let (lane, accelerator) = lane(asked, &host, &trial);
    let mut capabilities = vec![
        qemu(&host.qemu, &config.detect.path.to_string_lossy()),
        host.ask("spice", |platform| match platform.has_spice {
            true => Capability::proven("spice", "this QEMU serves SPICE"),
            false => Capability::missing("spice", "this QEMU does not serve SPICE", Remedy::spice()),
        }),
        graphics(&host, wishes.display),
        host.ask("sandbox", sandbox).needed_if(false),
        firmware(root, &host.firmware).needed_if(wishes.host_firmware),
        host.ask("tcg", tcg).needed_if(accelerator != Some(Accelerator::Kvm)),
        kvm(root, &host, &trial).needed_if(wishes.accel == AccelRequest::Kvm),
        capacity(root, config.cores, wishes.guest_mib),
        socket_paths(root, &config.artifacts),
        disk(&config.artifacts),
        lane,
    ];
    let name = match asked {
        AskedLane::Profile(profile) => Some(profile.name.clone()),
        AskedLane::Attached { name } | AskedLane::Simulated { name } => Some(name.clone()),
        AskedLane::Unloadable { name, .. } => name.clone(),
        AskedLane::Any { .. } => None,
    };
    if matches!(asked, AskedLane::Attached { .. } | AskedLane::Simulated { .. }) {
        capabilities.iter_mut().for_each(|capability| capability.needed = capability.name == "disk");
    }
    let can_run = !capabilities.iter().any(Capability::is_obstacle);
    Some(Report { can_run, lane: name, accelerator: accelerator.filter(|_| can_run), capabilities })
}

/// What the lane wants of the host.
struct Wishes {
    display: Display,
    accel: AccelRequest,
    host_firmware: bool,
    guest_mib: u32,
}

impl Wishes {
    fn of(asked: &AskedLane) -> Self {
        match asked {
            AskedLane::Profile(profile) => Self {
                display: profile.display,
                accel: profile.machine.accel,
                host_firmware: profile.firmware == Firmware::Auto,
                guest_mib: profile.machine.memory_mib,
            },
            AskedLane::Attached { .. }
            | AskedLane::Simulated { .. }
            | AskedLane::Unloadable { .. }
            | AskedLane::Any { .. } => Self {
                display: Display::default(),
                accel: AccelRequest::default(),
                host_firmware: true,
                guest_mib: USUAL_GUEST_MIB,
            },
        }
    }
}

/// What there is, before anything was tried.
struct Host {
    qemu: Result<Platform, DetectError>,
    firmware: FirmwareFound,
    kvm_device: KvmDevice,
    /// Whether QEMU knows the graphics card of the lane; nothing when it could not be asked or there is none.
    has_card: Option<bool>,
}

impl Host {
    async fn look(config: &DoctorConfig, display: Display) -> Self {
        let detect = &config.detect;
        let qemu = Platform::detect(detect).await;
        let has_card = match (&qemu, graphics_model(display)) {
            (Ok(platform), Some(model)) => {
                let question = format!("{model},help");
                let answer = ask(&platform.qemu, &["-device", &question], detect.deadline).await;
                answer.ok().map(|output| output.status.success())
            }
            _ => None,
        };
        Self {
            qemu,
            firmware: find_firmware(&detect.system_root),
            kvm_device: open_kvm(&detect.system_root),
            has_card,
        }
    }

    /// What QEMU knows of itself, when it answers.
    fn ask(&self, name: &'static str, judge: impl FnOnce(&Platform) -> Capability) -> Capability {
        match &self.qemu {
            Ok(platform) => judge(platform),
            Err(_) => Capability::unknown(name, "there is no QEMU that answers"),
        }
    }
}

/// What became of running a guest under KVM.
enum Trial {
    Held(KvmProof),
    /// There was nothing to hold it with, and the report says so elsewhere.
    Idle,
    Failed(String),
}

/// Nothing when cancelled.
async fn try_in_scratch(config: &DoctorConfig, host: &Host, cancel: &CancellationToken) -> Option<Trial> {
    let (Ok(platform), KvmDevice::Opens) = (&host.qemu, &host.kvm_device) else { return Some(Trial::Idle) };
    if !has_accelerator(platform, "kvm") {
        return Some(Trial::Idle);
    }
    let scratch = match Scratch::make(&config.artifacts).await {
        Ok(scratch) => scratch,
        Err(error) => return Some(Trial::Failed(format!("no folder to try it in: {error}"))),
    };
    let outcome = tokio::select! {
        outcome = try_kvm(platform, scratch.path(), config.detect.deadline) => Some(outcome),
        // Dropping the trial kills its QEMU.
        () = cancel.cancelled() => None,
    };
    scratch.remove().await;
    Some(match outcome? {
        Ok(proof) => Trial::Held(proof),
        Err(error) => Trial::Failed(chain(&error)),
    })
}

fn qemu(found: &Result<Platform, DetectError>, path: &str) -> Capability {
    let name = "qemu";
    match found {
        Ok(platform) if platform.qemu_version < OLDEST_QEMU => {
            let why = format!("version {}, wanted {OLDEST_QEMU} or later", platform.qemu_version);
            Capability::broken(name, why).found(platform.qemu.clone()).remedy(Remedy::newer_qemu())
        }
        Ok(platform) => {
            Capability::proven(name, format!("version {}, {}", platform.qemu_version, platform.qemu))
        }
        Err(DetectError::NoQemu { .. }) => {
            let why = format!("no executable qemu-system-x86_64 in PATH {path:?}");
            Capability::missing(name, why, Remedy::qemu())
        }
        Err(error) => Capability::broken(name, chain(error))
            .remedy(Remedy { any: Some("install it anew".to_owned()), ..Remedy::qemu() }),
    }
}

fn graphics(host: &Host, display: Display) -> Capability {
    let name = "graphics";
    let Some(model) = graphics_model(display) else {
        return Capability::proven(name, "the lane has no graphics card").needed_if(false);
    };
    host.ask(name, |_| match host.has_card {
        Some(true) => Capability::proven(name, format!("this QEMU has {model}")),
        Some(false) => {
            Capability::missing(name, format!("this QEMU has no {model}"), Remedy::graphics(display))
        }
        None => Capability::unknown(name, format!("QEMU was asked for {model} and gave no answer")),
    })
}

fn sandbox(platform: &Platform) -> Capability {
    if platform.has_sandbox {
        return Capability::proven("sandbox", "this QEMU confines itself with seccomp");
    }
    let why = "this QEMU cannot confine itself; lanes run without that";
    let remedy = "a QEMU built with seccomp has it, as those of the distributions are";
    Capability::missing("sandbox", why, Remedy { any: Some(remedy.to_owned()), ..Remedy::qemu() })
}

fn tcg(platform: &Platform) -> Capability {
    if has_accelerator(platform, "tcg") {
        return Capability::proven("tcg", "this QEMU emulates");
    }
    let got = platform.accelerators.join(", ");
    let remedy = "a QEMU built with TCG has it, as those of the distributions are";
    let remedy = Remedy { any: Some(remedy.to_owned()), ..Remedy::qemu() };
    Capability::missing("tcg", format!("this QEMU has no emulation, only {got}"), remedy)
}

fn has_accelerator(platform: &Platform, name: &str) -> bool {
    platform.accelerators.iter().any(|has| has == name)
}

fn kvm(root: &Path, host: &Host, trial: &Trial) -> Capability {
    let name = "kvm";
    let device = root.join("dev/kvm");
    let opens = "/dev/kvm opens";
    match (&host.kvm_device, trial) {
        (KvmDevice::Unusable { .. }, _) if !device.exists() => {
            Capability::missing(name, "there is no /dev/kvm", Remedy::any(NO_KVM))
        }
        (KvmDevice::Unusable { reason }, _) => {
            let remedy = open_remedy(root, &device);
            Capability::broken(name, format!("/dev/kvm does not open: {reason}")).remedy(Remedy::any(remedy))
        }
        (KvmDevice::Opens, Trial::Held(KvmProof::Works)) => {
            Capability::proven(name, "a guest ran under KVM for a second")
        }
        (KvmDevice::Opens, Trial::Held(KvmProof::Broken { reason })) => {
            Capability::broken(name, reason.clone()).found(opens).remedy(Remedy::any(DEAD_KVM))
        }
        (KvmDevice::Opens, Trial::Failed(why)) => {
            Capability::unknown(name, format!("the trial could not be held: {why}")).found(opens)
        }
        (KvmDevice::Opens, Trial::Idle) => host
            .ask(name, |_| {
                let remedy = "a QEMU built with KVM has it, as those of the distributions are";
                let remedy = Remedy { any: Some(remedy.to_owned()), ..Remedy::qemu() };
                Capability::missing(name, "this QEMU is built without KVM", remedy)
            })
            .found(opens),
    }
}

/// What to do about a device that is there and does not open: what its owner and mode ask for.
fn open_remedy(root: &Path, device: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let join = "add yourself to the group kvm, `usermod -aG kvm USER` as root, and log in again";
    let Ok(metadata) = device.metadata() else { return join.to_owned() };
    let groups = std::fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    let gid = metadata.gid().to_string();
    let group = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid).then(|| name.to_owned())
    });
    let group = group.unwrap_or(gid);
    if group == "kvm" && metadata.mode() & 0o060 == 0o060 {
        return join.to_owned();
    }
    format!(
        "{join}; that helps once the device is the group's, which here is mode {:03o} of the group {group}: \
         `chgrp kvm /dev/kvm && chmod 660 /dev/kvm` as root",
        metadata.mode() & 0o777
    )
}

fn firmware(root: &Path, found: &FirmwareFound) -> Capability {
    let name = "firmware";
    let images = images(root, found);
    let chosen = images.iter().find(|image| image.chosen);
    let capability = match chosen {
        Some(FirmwareImage { files, .. }) => {
            let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
            Capability::proven(name, format!("lanes use {}", paths.join(" with ")))
        }
        None if images.is_empty() => {
            Capability::missing(name, "no OVMF image on this host", Remedy::firmware())
        }
        None => Capability::broken(name, "no image on this host is one that lanes can use")
            .remedy(Remedy::firmware()),
    };
    Capability { images, ..capability }
}

/// All firmware for PCs on this host: by descriptor, then by the paths that are known without one.
fn images(root: &Path, found: &FirmwareFound) -> Vec<FirmwareImage> {
    let mut images: Vec<FirmwareImage> = Vec::new();
    for file in descriptors(root) {
        let (names, unfit) = match &file.content {
            Ok(descriptor) if !descriptor.is_for_pc() => continue,
            Ok(descriptor) => (descriptor.named_files(), descriptor.fit_files().err()),
            Err(why) => (Vec::new(), Some(format!("the descriptor cannot be read: {why}"))),
        };
        images.push(FirmwareImage {
            files: names.into_iter().map(|name| FirmwareFile::look(root, name)).collect(),
            descriptor: Some(file.path.display().to_string()),
            chosen: false,
            unfit,
        });
    }
    let known = SINGLES.into_iter().map(|image| vec![image]);
    for names in known.chain(PAIRS.into_iter().map(|(code, vars)| vec![code, vars])) {
        let files: Vec<FirmwareFile> = names.into_iter().map(|name| FirmwareFile::look(root, name)).collect();
        let is_there = files.iter().all(|file| file.size_bytes.is_some());
        if is_there && !images.iter().any(|image| image.files == files) {
            images.push(FirmwareImage { files, descriptor: None, chosen: false, unfit: None });
        }
    }
    let program = found.single.as_ref().or(found.pair.as_ref().map(|pair| &pair.code));
    let mut is_chosen = false;
    for image in &mut images {
        if let Some(file) = image.files.iter().find(|file| !file.readable) {
            let what = if file.size_bytes.is_some() { "cannot be read" } else { "is not there" };
            image.unfit.get_or_insert_with(|| format!("names {}, which {what}", file.path));
        }
        let is_program = image.files.first().is_some_and(|file| Some(&file.path) == program);
        image.chosen = is_program && image.unfit.is_none() && !std::mem::replace(&mut is_chosen, is_program);
    }
    images
}

impl FirmwareFile {
    fn look(root: &Path, name: &str) -> Self {
        let path = below(root, name);
        let file = path.metadata().ok().filter(std::fs::Metadata::is_file);
        Self {
            size_bytes: file.as_ref().map(std::fs::Metadata::len),
            readable: file.is_some() && File::open(&path).is_ok(),
            path: path.display().to_string(),
        }
    }
}

fn capacity(root: &Path, cores: usize, guest_mib: u32) -> Capability {
    let name = "capacity";
    let memory = match Memory::read(root) {
        Ok(memory) => memory,
        Err(error) => return Capability::unknown(name, error.to_string()),
    };
    let room = Capacity::new(&memory, cores, guest_mib);
    let of = if memory.is_limited { "left in this control group" } else { "available" };
    let (lanes, noun) = (room.lanes, if room.lanes == 1 { "lane" } else { "lanes" });
    let cores = if room.cores == 1 { "1 core".to_owned() } else { format!("{} cores", room.cores) };
    let found =
        format!("{} {of}, {cores}: about {lanes} {noun} at a time", size(room.memory_available_bytes));
    let reckoned = format!(
        "reckoned with {} a lane, all {guest_mib} MiB of the guest among them ({} by memory), and {LANES_PER_CORE} \
         lanes a core under emulation ({} by cores)",
        size(room.bytes_per_lane),
        room.lanes_by_memory,
        room.lanes_by_cores
    );
    let capability = match lanes {
        0 => Capability::broken(name, format!("not enough memory for one lane; {reckoned}"))
            .found(found)
            .remedy(Remedy::any("end what uses the memory, or lower `memory_mib` under [machine]")),
        _ => Capability::proven(name, found).because(reckoned),
    };
    Capability { room: Some(room), ..capability }
}

fn socket_paths(root: &Path, artifacts: &Path) -> Capability {
    let name = "socket_paths";
    let names = SocketNames::below(artifacts);
    let whole = names.whole_path_bytes;
    let folder = room::nearest_folder(artifacts).unwrap_or(root);
    if let Err(error) = room::check_descriptors_are_names(root, folder) {
        let why = format!("lanes connect to their sockets through /proc/self/fd: {error}");
        return Capability::broken(name, why).remedy(Remedy::any("mount /proc"));
    }
    let length = match names.is_too_long() {
        true => format!("{whole} bytes and more, longer than the 107 that a socket's address holds"),
        false => format!("{whole} bytes and more"),
    };
    let found = format!(
        "no obstacle, however long: QEMU runs in the lane's folder and backstaff connects through /proc/self/fd, so \
         {} bytes count of 107 (whole paths: {length})",
        names.name_bytes
    );
    Capability::proven(name, found)
}

fn disk(artifacts: &Path) -> Capability {
    let name = "disk";
    let shown = artifacts.display();
    let look = || -> io::Result<u64> {
        let folder = room::nearest_folder(artifacts)?;
        room::check_writable(folder).map_err(|error| {
            let text = format!("{} cannot be written to: {error}", folder.display());
            io::Error::new(error.kind(), text)
        })?;
        room::free_bytes(folder)
    };
    let free = match look() {
        Ok(free) => free,
        Err(error) => {
            let remedy = Remedy::any("`--artifacts DIR` names a folder that may be written to");
            return Capability::broken(name, error.to_string())
                .found(format!("runs go to {shown}"))
                .remedy(remedy);
        }
    };
    disk_of(free).found(format!("{} free for {shown}", size(free)))
}

fn disk_of(free: u64) -> Capability {
    let room = || {
        Remedy::any("remove runs that are no longer needed, or name another folder with `--artifacts DIR`")
    };
    let proven = Capability::new("disk", State::Proven);
    match free {
        0..LEAST_DISK => Capability::broken("disk", format!("less than {}", size(LEAST_DISK))).remedy(room()),
        LEAST_DISK..LITTLE_DISK => {
            let why =
                format!("less than {}, which screenshots and copies of disks soon fill", size(LITTLE_DISK));
            proven.because(why).remedy(room())
        }
        _ => proven,
    }
}

/// The lane itself, and how it would execute instructions.
fn lane(asked: &AskedLane, host: &Host, trial: &Trial) -> (Capability, Option<Accelerator>) {
    let name = "lane";
    match asked {
        AskedLane::Attached { name: lane } => {
            (Capability::proven(name, format!("{lane}: a machine that runs already, somebody else's")), None)
        }
        AskedLane::Simulated { name: lane } => {
            (Capability::proven(name, format!("{lane}: simulated, and needs nothing of this host")), None)
        }
        AskedLane::Unloadable { why, hint, .. } => {
            let broken = Capability::broken(name, why.clone());
            (Capability { remedy: hint.clone().map(Remedy::any), ..broken }, None)
        }
        AskedLane::Any { hint } => {
            let accelerator = match trial {
                Trial::Held(KvmProof::Works) => Accelerator::Kvm,
                _ => Accelerator::Tcg,
            };
            let missing = Capability::new(name, State::Missing).because("no default lane is named");
            let missing = Capability { remedy: hint.clone().map(Remedy::any), ..missing };
            (missing.needed_if(false), Some(accelerator))
        }
        AskedLane::Profile(profile) => match resolve(profile, host, trial) {
            Ok(plan) => {
                let QemuProfile { machine, .. } = &**profile;
                let found = format!(
                    "{}: {} MiB, accel {} comes to {}: {}",
                    profile.name,
                    machine.memory_mib,
                    machine.accel.as_str(),
                    plan.acceleration.resolved.map_or("nothing", Accelerator::as_str).to_uppercase(),
                    plan.acceleration.reason()
                );
                (Capability::proven(name, found), plan.acceleration.resolved)
            }
            Err((why, hint)) => {
                let broken = Capability::broken(name, why).found(profile.name.clone());
                (Capability { remedy: hint.map(Remedy::any), ..broken }, None)
            }
        },
    }
}

/// The plan of the profile on this host; all files that it only reads can be read.
fn resolve(profile: &QemuProfile, host: &Host, trial: &Trial) -> Result<Plan, (String, Option<String>)> {
    let Ok(platform) = &host.qemu else { return Err(("there is no QEMU that answers".to_owned(), None)) };
    let proof = match trial {
        Trial::Held(proof) => Some(proof),
        Trial::Failed(_) if profile.machine.accel != AccelRequest::Tcg => {
            let accel = profile.machine.accel.as_str();
            return Err((format!("accel {accel} tries KVM, and the trial could not be held"), None));
        }
        Trial::Failed(_) | Trial::Idle => None,
    };
    let refused = |error: PlanError| {
        // What is the host's is said, with its remedy, where the host's capabilities are.
        let is_the_hosts =
            matches!(error, PlanError::NoSpice { .. } | PlanError::OldQemu { .. } | PlanError::NoFirmware);
        (error.to_string(), error.hint().filter(|_| !is_the_hosts))
    };
    let acceleration = resolve_acceleration(profile.machine.accel, platform, proof).map_err(refused)?;
    let plan = plan(profile, platform, &acceleration).map_err(refused)?;
    match unreadable(&plan) {
        Some(error) => Err((chain(&error), error.hint())),
        None => Ok(plan),
    }
}

/// The first file of the plan that cannot be read.
fn unreadable(plan: &Plan) -> Option<LaneError> {
    plan.firmware.iter().chain(&plan.inputs).find_map(|file| {
        let source = rustix::fs::access(&file.source, rustix::fs::Access::READ_OK).err()?.into();
        Some(LaneError::Input { path: file.source.clone(), role: file.role, source })
    })
}

/// `outer: inner: cause`.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What profiles ask for unless they say otherwise.
const USUAL_GUEST_MIB: u32 = 64;
const LITTLE_DISK: u64 = GIB;
const LEAST_DISK: u64 = 100 * MIB;
const NO_KVM: &str = "lanes with accel auto or tcg emulate instead. To have it, switch on virtualization in the \
machine's setup and load kvm_intel or kvm_amd; in a container, `--device /dev/kvm`; in a virtual machine, have its \
host pass nested virtualization on";
const DEAD_KVM: &str = "lanes with accel auto or tcg emulate instead. Guests die under this KVM, as happens in \
virtual machines and sandboxes that offer it by halves: run on the host itself, or have nested virtualization \
switched on there";

#[cfg(test)]
mod tests;
