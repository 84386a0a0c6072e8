//! From TOML to a checked [`Profile`]: shapes as written, ranges, paths. Pure.

use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use toml::de::{DeTable, Deserializer};
use toml::{Spanned, Table};

use super::profile::{
    AccelRequest, AttachProfile, Disk, DiskBus, DiskFormat, Display, Firmware, FollowLinks, Gate, GateKind,
    Machine, Network, NetworkModel, Profile, ProfileSource, QemuProfile, QmpAllow, ResetPolicy, SimProfile,
    Spice, SpiceCompression, SpiceStreaming, SpiceTransport, SpiceWan, is_lane_name,
};
use super::profile_canonical as canonical;
use super::profile_chain::{Chain, Fault, toml_fault};
use super::profile_error::{ProfileError, ProfileErrorKind};
use super::sha256;

pub(super) fn parse(
    name: &str,
    sources: &[ProfileSource<'_>],
    follow: FollowLinks<'_>,
) -> Result<Profile, ProfileError> {
    let chain = Chain(sources);
    parse_spanned(name, chain, follow).map_err(|fault| chain.error(fault))
}

fn parse_spanned(name: &str, chain: Chain<'_>, follow: FollowLinks<'_>) -> Result<Profile, Fault> {
    check_caller(name, chain)?;
    let merged = chain.merged()?;
    let kind = merged.get_ref().get("kind").and_then(|kind| kind.get_ref().as_str());
    // Without a kind, or with an unknown one, the shape says what is wrong.
    let refuse = |kinds: &[(&'static str, &[&str])]| {
        kinds.iter().try_for_each(|(kind, keys)| refuse_keys_of(&merged, kind, keys))
    };
    match kind {
        Some("attach") => {
            refuse(&[("qemu", &QEMU_ONLY), ("sim", &SIM_ONLY)])?;
            attach(name, chain, follow, merged).map(|profile| Profile::Attach(Box::new(profile)))
        }
        Some("sim") => {
            refuse(&[("qemu", &QEMU_ONLY), ("attach", &ATTACH_ONLY)])?;
            sim(name, chain, merged).map(|profile| Profile::Sim(Box::new(profile)))
        }
        _ => {
            refuse(&[("attach", &ATTACH_ONLY), ("sim", &SIM_ONLY)])?;
            qemu(name, chain, follow, merged).map(|profile| Profile::Qemu(Box::new(profile)))
        }
    }
}

fn qemu(
    name: &str,
    chain: Chain<'_>,
    follow: FollowLinks<'_>,
    merged: Spanned<DeTable<'_>>,
) -> Result<QemuProfile, Fault> {
    let raw: RawQemuProfile = shape(merged.clone())?;
    let paths = PathRules { chain, follow, allow_outside: raw.allow_outside };
    let (display, heads) = (raw.display.device, heads(&raw.display)?);
    let mut profile = QemuProfile {
        name: name.to_owned(),
        root: project_root(chain),
        machine: machine(raw.machine)?,
        firmware: firmware(raw.firmware, &paths)?,
        kernel: raw.boot.kernel.map(|kernel| paths.resolve(kernel)).transpose()?,
        disks: raw.disk.into_iter().map(|disk| self::disk(disk, &paths)).collect::<Result<_, _>>()?,
        networks: raw.network.into_iter().map(network).collect(),
        display,
        heads,
        spice: spice(raw.spice)?,
        serial_log: raw.serial.log,
        tablet: raw.input.tablet,
        agent: raw.agent.enabled,
        audio: raw.audio.enabled,
        reset: raw.reset.policy,
        digest: *raw.oracle.digest.get_ref(),
        gates: Vec::new(),
        qmp_allow: qmp_allow(raw.qmp)?,
        warm: raw.warm.enabled,
        canonical: String::new(),
        hash: String::new(),
    };
    if profile.digest && display == Display::None {
        let what = "`digest = true`".to_owned();
        return Err((
            raw.oracle.digest.span(),
            ProfileErrorKind::Contradiction { what, needs: "a display".to_owned() },
        ));
    }
    profile.gates = gates(raw.gate, &Offered::by_machine(&profile))?;
    let form = Form { table: shape(merged)?, root: project_root(chain) };
    profile.canonical = qemu_form(&profile, form);
    profile.hash = sha256::label(profile.canonical.as_bytes());
    Ok(profile)
}

fn attach(
    name: &str,
    chain: Chain<'_>,
    follow: FollowLinks<'_>,
    merged: Spanned<DeTable<'_>>,
) -> Result<AttachProfile, Fault> {
    let raw: RawAttachProfile = shape(merged.clone())?;
    let paths = PathRules { chain, follow, allow_outside: raw.allow_outside };
    let path = |path: Option<Spanned<String>>| path.map(|path| paths.resolve(path)).transpose();
    let mut profile = AttachProfile {
        name: name.to_owned(),
        root: project_root(chain),
        spice: raw.attach.spice.map(address).transpose()?,
        vv: path(raw.attach.vv)?,
        serial_log: path(raw.attach.serial_log)?,
        qmp: path(raw.attach.qmp)?,
        control_socket: path(raw.attach.control_socket)?,
        agent: raw.agent.enabled,
        digest: *raw.oracle.digest.get_ref(),
        gates: Vec::new(),
        qmp_allow: qmp_allow(raw.qmp)?,
        canonical: String::new(),
        hash: String::new(),
    };
    profile.gates = gates(raw.gate, &Offered::by_endpoints(&profile))?;
    let form = Form { table: shape(merged)?, root: project_root(chain) };
    profile.canonical = attach_form(&profile, form);
    profile.hash = sha256::label(profile.canonical.as_bytes());
    Ok(profile)
}

fn sim(name: &str, chain: Chain<'_>, merged: Spanned<DeTable<'_>>) -> Result<SimProfile, Fault> {
    let raw: RawSimProfile = shape(merged.clone())?;
    let time_scale = raw.sim.time_scale;
    if !(0.01..=100.0).contains(time_scale.get_ref()) {
        let (got, wanted) = (time_scale.get_ref().to_string(), "a number from 0.01 to 100".to_owned());
        return Err((time_scale.span(), ProfileErrorKind::BadValue { key: "time_scale", got, wanted }));
    }
    let canonical = canonical::text(&shape(merged)?);
    Ok(SimProfile {
        name: name.to_owned(),
        root: project_root(chain),
        time_scale: time_scale.into_inner(),
        gates: gates(raw.gate, &Offered::by_simulation())?,
        hash: sha256::label(canonical.as_bytes()),
        canonical,
    })
}

fn check_caller(name: &str, chain: Chain<'_>) -> Result<(), Fault> {
    let fault = |got: String, wanted| Err((0..0, ProfileErrorKind::Caller { got, wanted }));
    if !is_lane_name(name) {
        return fault(
            name.to_owned(),
            "a lane name (a letter or digit, then letters, digits, `.`, `_`, `-`)",
        );
    }
    for path in chain.0.iter().flat_map(|source| [source.file, source.root]) {
        if !path.is_absolute() {
            return fault(path.display().to_string(), "an absolute path");
        }
    }
    Ok(())
}

fn refuse_keys_of(merged: &Spanned<DeTable<'_>>, kind: &'static str, keys: &[&str]) -> Result<(), Fault> {
    match merged.get_ref().keys().find(|key| keys.contains(&&**key.get_ref())) {
        Some(key) => Err((key.span(), ProfileErrorKind::OtherKind { key: key.get_ref().to_string(), kind })),
        None => Ok(()),
    }
}

fn shape<T: DeserializeOwned>(table: Spanned<DeTable<'_>>) -> Result<T, Fault> {
    T::deserialize(Deserializer::from(table)).map_err(|error| toml_fault(&error))
}

/// The tree of the profile itself, whatever it extends.
fn project_root(chain: Chain<'_>) -> PathBuf {
    chain.0.first().and_then(|source| normalise(source.root)).unwrap_or_default()
}

// ---- canonical form ----------------------------------------------------------------------------------------

/// The merged table on its way to the canonical form.
struct Form {
    table: Table,
    root: PathBuf,
}

impl Form {
    /// Puts a path that was resolved in the place of what was written.
    fn put(&mut self, section: &str, key: &str, path: Option<&str>) {
        let written = self.table.get_mut(section).and_then(|section| section.get_mut(key));
        if let (Some(written), Some(path)) = (written, path) {
            *written = canonical::path(path, &self.root).into();
        }
    }
}

fn qemu_form(profile: &QemuProfile, mut form: Form) -> String {
    match &profile.firmware {
        Firmware::Auto => {}
        Firmware::Bios(path) => form.put("firmware", "bios", Some(path)),
        Firmware::Flash { code, vars } => {
            form.put("firmware", "code", Some(code));
            form.put("firmware", "vars", Some(vars));
        }
    }
    form.put("boot", "kernel", profile.kernel.as_deref());
    let disks = form.table.get_mut("disk").and_then(toml::Value::as_array_mut);
    for (written, disk) in disks.into_iter().flatten().zip(&profile.disks) {
        if let Some(written) = written.get_mut("path") {
            *written = canonical::path(&disk.path, &form.root).into();
        }
    }
    canonical::text(&form.table)
}

fn attach_form(profile: &AttachProfile, mut form: Form) -> String {
    form.put("attach", "vv", profile.vv.as_deref());
    form.put("attach", "serial_log", profile.serial_log.as_deref());
    form.put("attach", "qmp", profile.qmp.as_deref());
    form.put("attach", "control_socket", profile.control_socket.as_deref());
    canonical::text(&form.table)
}

// ---- shapes as written -------------------------------------------------------------------------------------

/// Top-level keys that describe a machine which is booted.
const QEMU_ONLY: [&str; 12] = [
    "machine", "firmware", "boot", "disk", "network", "display", "spice", "serial", "input", "audio",
    "reset", "warm",
];
/// Top-level keys that describe a machine which runs already.
const ATTACH_ONLY: [&str; 1] = ["attach"];
/// Top-level keys that describe a machine which is simulated.
const SIM_ONLY: [&str; 1] = ["sim"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQemuProfile {
    #[serde(rename = "kind")]
    _kind: RawKind,
    // Gone by now; here for those who look for a near miss.
    #[serde(rename = "extends")]
    _extends: Option<IgnoredAny>,
    #[serde(default)]
    allow_outside: bool,
    #[serde(default)]
    machine: RawMachine,
    #[serde(default)]
    firmware: RawFirmware,
    #[serde(default)]
    boot: RawBoot,
    #[serde(default)]
    disk: Vec<RawDisk>,
    #[serde(default)]
    network: Vec<RawNetwork>,
    #[serde(default)]
    display: RawDisplay,
    #[serde(default)]
    spice: RawSpice,
    #[serde(default)]
    serial: RawSerial,
    #[serde(default)]
    input: RawInput,
    #[serde(default)]
    agent: RawSwitch,
    #[serde(default)]
    audio: RawSwitch,
    #[serde(default)]
    reset: RawReset,
    #[serde(default)]
    oracle: RawOracle,
    #[serde(default)]
    qmp: RawQmp,
    #[serde(default)]
    warm: RawWarm,
    #[serde(default)]
    gate: Vec<RawGate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAttachProfile {
    #[serde(rename = "kind")]
    _kind: RawKind,
    #[serde(rename = "extends")]
    _extends: Option<IgnoredAny>,
    #[serde(default)]
    allow_outside: bool,
    #[serde(default)]
    attach: RawAttach,
    #[serde(default)]
    agent: RawSwitch,
    #[serde(default)]
    oracle: RawOracle,
    #[serde(default)]
    qmp: RawQmp,
    #[serde(default)]
    gate: Vec<RawGate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    Qemu,
    Attach,
    Sim,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSimProfile {
    #[serde(rename = "kind")]
    _kind: RawKind,
    #[serde(rename = "extends")]
    _extends: Option<IgnoredAny>,
    #[serde(default)]
    sim: RawSim,
    #[serde(default)]
    gate: Vec<RawGate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSim {
    time_scale: Spanned<f64>,
}

impl Default for RawSim {
    fn default() -> Self {
        Self { time_scale: unplaced(1.0) }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawAttach {
    spice: Option<Spanned<String>>,
    vv: Option<Spanned<String>>,
    serial_log: Option<Spanned<String>>,
    qmp: Option<Spanned<String>>,
    control_socket: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawQmp {
    allow: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWarm {
    enabled: bool,
}

impl Default for RawWarm {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMachine {
    #[serde(rename = "type")]
    machine_type: Spanned<String>,
    accel: AccelRequest,
    memory_mib: Spanned<i64>,
    cpus: Spanned<i64>,
    cpu: Option<Spanned<String>>,
}

impl Default for RawMachine {
    fn default() -> Self {
        Self {
            machine_type: unplaced("q35".to_owned()),
            accel: AccelRequest::default(),
            memory_mib: unplaced(64),
            cpus: unplaced(1),
            cpu: None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawFirmware {
    bios: Option<Spanned<String>>,
    code: Option<Spanned<String>>,
    vars: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawBoot {
    kernel: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDisk {
    path: Spanned<String>,
    #[serde(default)]
    format: DiskFormat,
    #[serde(default)]
    bus: DiskBus,
    #[serde(default = "unplaced_false")]
    readonly: Spanned<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetwork {
    #[serde(default)]
    model: NetworkModel,
    #[serde(default = "yes")]
    restrict: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawInput {
    tablet: bool,
}

/// What a machine has or has not.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawSwitch {
    enabled: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawDisplay {
    device: Display,
    heads: Option<Spanned<i64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawSpice {
    transport: Option<Spanned<RawTransport>>,
    port: Option<Spanned<i64>>,
    compression: SpiceCompression,
    jpeg: SpiceWan,
    zlib_glz: SpiceWan,
    streaming: SpiceStreaming,
    ticket: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum RawTransport {
    Unix,
    Tcp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSerial {
    log: bool,
}

impl Default for RawSerial {
    fn default() -> Self {
        Self { log: true }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawReset {
    policy: ResetPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawOracle {
    digest: Spanned<bool>,
}

impl Default for RawOracle {
    fn default() -> Self {
        Self { digest: unplaced_false() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGate {
    kind: Spanned<RawGateKind>,
    pattern: Option<Spanned<String>>,
    quiet_for: Option<Spanned<f64>>,
    timeout: Option<Spanned<f64>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum RawGateKind {
    Qmp,
    SpiceSurface,
    SerialLine,
    Digest,
    Quiet,
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn unplaced_false() -> Spanned<bool> {
    unplaced(false)
}

fn yes() -> bool {
    true
}

// ---- checks ------------------------------------------------------------------------------------------------

fn machine(raw: RawMachine) -> Result<Machine, Fault> {
    Ok(Machine {
        machine_type: word(
            "type",
            raw.machine_type,
            "`q35`, `pc`, `pc-q35-X.Y` or `pc-i440fx-X.Y`",
            is_machine_type,
        )?,
        accel: raw.accel,
        memory_mib: whole("memory_mib", &raw.memory_mib, 1, 1_048_576)?,
        cpus: whole("cpus", &raw.cpus, 1, 255)?,
        cpu: raw
            .cpu
            .map(|cpu| word("cpu", cpu, "a CPU model and flags, such as `max`", is_cpu))
            .transpose()?,
    })
}

fn is_machine_type(text: &str) -> bool {
    let version = text.strip_prefix("pc-q35-").or_else(|| text.strip_prefix("pc-i440fx-"));
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    ["q35", "pc"].contains(&text) || version.is_some_and(|version| version.split('.').all(is_number))
}

fn is_cpu(text: &str) -> bool {
    // `help` would make QEMU print a list and exit with success.
    text != "help"
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+=,".contains(c))
}

fn firmware(raw: RawFirmware, paths: &PathRules<'_>) -> Result<Firmware, Fault> {
    let contradiction = |span, what: &str, needs: &str| {
        let (what, needs) = (what.to_owned(), needs.to_owned());
        Err((span, ProfileErrorKind::Contradiction { what, needs }))
    };
    match (raw.bios, raw.code, raw.vars) {
        (None, None, None) => Ok(Firmware::Auto),
        (Some(bios), None, None) if bios.get_ref() == "ovmf" => Ok(Firmware::Auto),
        (Some(bios), None, None) => paths.resolve(bios).map(Firmware::Bios),
        (None, Some(code), Some(vars)) => {
            Ok(Firmware::Flash { code: paths.resolve(code)?, vars: paths.resolve(vars)? })
        }
        (Some(bios), ..) => contradiction(bios.span(), "`bios`", "`code` and `vars` to be absent"),
        (None, Some(code), None) => contradiction(code.span(), "`code`", "`vars` beside it"),
        (None, None, Some(vars)) => contradiction(vars.span(), "`vars`", "`code` beside it"),
    }
}

fn disk(raw: RawDisk, paths: &PathRules<'_>) -> Result<Disk, Fault> {
    if raw.bus == DiskBus::Ide && *raw.readonly.get_ref() {
        let what = "`readonly = true`".to_owned();
        let needs = "`bus = \"virtio\"`, an IDE disk is always writable".to_owned();
        return Err((raw.readonly.span(), ProfileErrorKind::Contradiction { what, needs }));
    }
    Ok(Disk {
        path: paths.resolve(raw.path)?,
        format: raw.format,
        bus: raw.bus,
        readonly: raw.readonly.into_inner(),
    })
}

fn network(raw: RawNetwork) -> Network {
    Network { model: raw.model, restrict: raw.restrict }
}

fn heads(raw: &RawDisplay) -> Result<u8, Fault> {
    let Some(written) = &raw.heads else { return Ok(1) };
    if raw.device == Display::None {
        let (what, needs) = ("`heads`".to_owned(), "a display".to_owned());
        return Err((written.span(), ProfileErrorKind::Contradiction { what, needs }));
    }
    whole("heads", written, 1, MOST_HEADS)
}

fn spice(raw: RawSpice) -> Result<Spice, Fault> {
    let tcp = raw.transport.as_ref().filter(|transport| *transport.get_ref() == RawTransport::Tcp);
    let transport = match (tcp, &raw.port) {
        (None, None) => SpiceTransport::Unix,
        (Some(_), Some(port)) => SpiceTransport::Tcp { port: whole("port", port, 1, u16::MAX)? },
        (Some(tcp), None) => {
            let (what, needs) = ("`transport = \"tcp\"`".to_owned(), "`port` beside it".to_owned());
            return Err((tcp.span(), ProfileErrorKind::Contradiction { what, needs }));
        }
        (None, Some(port)) => {
            let (what, needs) = ("`port`".to_owned(), "`transport = \"tcp\"`".to_owned());
            return Err((port.span(), ProfileErrorKind::Contradiction { what, needs }));
        }
    };
    Ok(Spice {
        transport,
        compression: raw.compression,
        jpeg: raw.jpeg,
        zlib_glz: raw.zlib_glz,
        streaming: raw.streaming,
        ticket: raw.ticket,
    })
}

/// As many as QEMU's virtio card and people's desks have room for.
const MOST_HEADS: u8 = 4;

fn qmp_allow(raw: RawQmp) -> Result<QmpAllow, Fault> {
    let Some(entries) = raw.allow else { return Ok(QmpAllow::default()) };
    let wanted = "the name of a QMP command, such as `screendump`, or its beginning and a `*`";
    entries
        .into_iter()
        .map(|entry| word("allow", entry, wanted, is_qmp_entry))
        .collect::<Result<_, _>>()
        .map(QmpAllow)
}

fn is_qmp_entry(text: &str) -> bool {
    let start = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty()
        && start.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

/// What exactly an address may be is for whoever connects to it to say. It may hold a password and is not quoted.
fn address(spice: Spanned<String>) -> Result<String, Fault> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    if !spice.get_ref().is_empty() && !spice.get_ref().contains(is_odd) {
        return Ok(spice.into_inner());
    }
    let got = if spice.get_ref().is_empty() { "" } else { "(with blanks)" }.to_owned();
    let wanted = "`HOST:PORT`, `spice://HOST:PORT` or `spice+unix:///PATH`, without blanks".to_owned();
    Err((spice.span(), ProfileErrorKind::BadValue { key: "spice", got, wanted }))
}

const GATE_TIMEOUT: Duration = Duration::from_secs(60);
const GATE_QUIET: Duration = Duration::from_secs(1);

/// What gates can look at; in place of what is not there, what it would take.
struct Offered {
    qmp: Result<(), &'static str>,
    screen: Result<(), &'static str>,
    serial: Result<(), &'static str>,
    digest: Result<(), &'static str>,
    default_gates: Vec<GateKind>,
}

const DIGEST_KEY: &str = "`digest = true` under `[oracle]`";

impl Offered {
    fn by_machine(profile: &QemuProfile) -> Self {
        let has_display = profile.display != Display::None;
        let screen = has_display.then_some(GateKind::SpiceSurface);
        let digest = profile.digest.then_some(GateKind::Digest);
        Self {
            qmp: Ok(()),
            screen: has_display.then_some(()).ok_or("a display"),
            serial: profile.serial_log.then_some(()).ok_or("`log = true` under `[serial]`"),
            digest: profile.digest.then_some(()).ok_or(DIGEST_KEY),
            default_gates: std::iter::once(GateKind::Qmp).chain(screen).chain(digest).collect(),
        }
    }

    fn by_endpoints(profile: &AttachProfile) -> Self {
        let digest = profile.digest.then_some(GateKind::Digest);
        Self {
            qmp: profile.qmp.is_some().then_some(()).ok_or("`qmp` under `[attach]`"),
            screen: Ok(()),
            // The environment may name a serial log where the profile does not.
            serial: Ok(()),
            digest: profile.digest.then_some(()).ok_or(DIGEST_KEY),
            default_gates: std::iter::once(GateKind::SpiceSurface).chain(digest).collect(),
        }
    }

    fn by_simulation() -> Self {
        Self {
            qmp: Err("a machine with a monitor, which a simulated one has not"),
            screen: Ok(()),
            serial: Ok(()),
            digest: Ok(()),
            default_gates: vec![GateKind::SpiceSurface, GateKind::Digest],
        }
    }
}

fn gates(raw: Vec<RawGate>, offered: &Offered) -> Result<Vec<Gate>, Fault> {
    if raw.is_empty() {
        let kinds = offered.default_gates.iter().cloned();
        return Ok(kinds.map(|kind| Gate { kind, timeout: GATE_TIMEOUT }).collect());
    }
    raw.into_iter().map(|gate| self::gate(gate, offered)).collect()
}

fn gate(raw: RawGate, offered: &Offered) -> Result<Gate, Fault> {
    let kind = *raw.kind.get_ref();
    let contradiction = |span: Range<usize>, what: &str, needs: &str| {
        let (what, needs) = (what.to_owned(), needs.to_owned());
        (span, ProfileErrorKind::Contradiction { what, needs })
    };
    if let Some(pattern) = raw.pattern.as_ref().filter(|_| kind != RawGateKind::SerialLine) {
        return Err(contradiction(pattern.span(), "`pattern`", "`kind = \"serial-line\"`"));
    }
    if let Some(quiet_for) = raw.quiet_for.as_ref().filter(|_| kind != RawGateKind::Quiet) {
        return Err(contradiction(quiet_for.span(), "`quiet_for`", "`kind = \"quiet\"`"));
    }
    let (what, source) = match kind {
        RawGateKind::Qmp => ("gate `qmp`", offered.qmp),
        RawGateKind::SpiceSurface => ("gate `spice-surface`", offered.screen),
        RawGateKind::SerialLine => ("gate `serial-line`", offered.serial),
        RawGateKind::Digest => ("gate `digest`", offered.digest),
        RawGateKind::Quiet => ("gate `quiet`", offered.screen),
    };
    source.map_err(|needs| contradiction(raw.kind.span(), what, needs))?;
    let kind = match kind {
        RawGateKind::Qmp => GateKind::Qmp,
        RawGateKind::SpiceSurface => GateKind::SpiceSurface,
        RawGateKind::Digest => GateKind::Digest,
        RawGateKind::Quiet => {
            let quiet_for = raw.quiet_for.map(|value| seconds("quiet_for", &value)).transpose()?;
            GateKind::Quiet { quiet_for: quiet_for.unwrap_or(GATE_QUIET) }
        }
        RawGateKind::SerialLine => {
            let pattern = raw.pattern.ok_or_else(|| contradiction(raw.kind.span(), what, "a `pattern`"))?;
            GateKind::SerialLine { pattern: regex(pattern)? }
        }
    };
    let timeout = raw.timeout.map(|value| seconds("timeout", &value)).transpose()?;
    Ok(Gate { kind, timeout: timeout.unwrap_or(GATE_TIMEOUT) })
}

fn regex(pattern: Spanned<String>) -> Result<String, Fault> {
    let span = pattern.span();
    let pattern = pattern.into_inner();
    match regex_lite::Regex::new(&pattern) {
        Ok(_) => Ok(pattern),
        Err(error) => {
            let wanted = format!("a regular expression ({error})");
            Err((span, ProfileErrorKind::BadValue { key: "pattern", got: pattern, wanted }))
        }
    }
}

fn word(
    key: &'static str,
    value: Spanned<String>,
    wanted: &str,
    accepts: fn(&str) -> bool,
) -> Result<String, Fault> {
    if accepts(value.get_ref()) {
        return Ok(value.into_inner());
    }
    let span = value.span();
    Err((span, ProfileErrorKind::BadValue { key, got: value.into_inner(), wanted: wanted.to_owned() }))
}

fn whole<T>(key: &'static str, value: &Spanned<i64>, least: T, most: T) -> Result<T, Fault>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    let got = *value.get_ref();
    T::try_from(got).ok().filter(|number| (&least..=&most).contains(&number)).ok_or_else(|| {
        let wanted = format!("a whole number from {least} to {most}");
        (value.span(), ProfileErrorKind::BadValue { key, got: got.to_string(), wanted })
    })
}

fn seconds(key: &'static str, value: &Spanned<f64>) -> Result<Duration, Fault> {
    let got = *value.get_ref();
    if (0.001..=86_400.0).contains(&got) {
        return Ok(Duration::from_secs_f64(got));
    }
    let wanted = "seconds from 0.001 to 86400".to_owned();
    Err((value.span(), ProfileErrorKind::BadValue { key, got: got.to_string(), wanted }))
}

// ---- paths -------------------------------------------------------------------------------------------------

struct PathRules<'a> {
    chain: Chain<'a>,
    follow: FollowLinks<'a>,
    allow_outside: bool,
}

impl PathRules<'_> {
    /// Makes a path absolute: it starts at the folder of the file it is written in, and stays in that file's tree.
    fn resolve(&self, path: Spanned<String>) -> Result<String, Fault> {
        let span = path.span();
        let written = path.into_inner();
        let bad = |got: String, wanted: &str| {
            (span.clone(), ProfileErrorKind::BadValue { key: "path", got, wanted: wanted.to_owned() })
        };
        if written.is_empty() || written.chars().any(char::is_control) {
            return Err(bad(written, "a path without control characters"));
        }
        let (source, _) = self.chain.locate(span.start).expect("spans come from the texts of the chain");
        let folder = source.file.parent().unwrap_or(source.root);
        let root = normalise(source.root).unwrap_or_default();
        let Some(resolved) = normalise(&folder.join(&written)) else {
            return Err(bad(written, "a path which stays below `/`"));
        };
        if !self.allow_outside {
            let kind = if !resolved.starts_with(&root) {
                Some(ProfileErrorKind::Outside { path: written, root: root.display().to_string() })
            } else {
                self.leads_outside(&resolved, &root).map(|leads_to| ProfileErrorKind::LeadsOutside {
                    path: written,
                    leads_to: leads_to.display().to_string(),
                    root: root.display().to_string(),
                })
            };
            if let Some(kind) = kind {
                return Err((span, kind));
            }
        }
        match resolved.into_os_string().into_string() {
            Ok(text) if text.chars().any(char::is_control) => {
                Err(bad(text, "a folder without control characters"))
            }
            Ok(text) => Ok(text),
            Err(text) => Err(bad(text.to_string_lossy().into_owned(), "a path in UTF-8")),
        }
    }

    /// Where links lead from `path`, if that is outside of where they lead from `root`.
    fn leads_outside(&self, path: &Path, root: &Path) -> Option<PathBuf> {
        let root = (self.follow)(root)?;
        // What is not there yet is where its folder is.
        let leads_to = path.ancestors().find_map(|path| (self.follow)(path))?;
        (!leads_to.starts_with(root)).then_some(leads_to)
    }
}

/// Removes `.` and `..` by the path's text; `None` when `..` climbs above `/`.
fn normalise(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(component),
        }
    }
    Some(out)
}
