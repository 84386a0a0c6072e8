//! From TOML to a checked [`Profile`]: shapes as written, ranges, paths, and errors with their place. Pure.

use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::profile::{
    AccelRequest, Disk, DiskBus, DiskFormat, Display, Firmware, Gate, GateKind, Machine, Network,
    NetworkModel, Profile, QemuProfile, QmpAllow, ResetPolicy, Spice, SpiceCompression, SpiceStreaming,
    SpiceTransport, SpiceWan,
};
use super::profile_error::{ProfileError, ProfileErrorKind};
use super::sha256;
use crate::near::nearest;

type Fault = (Range<usize>, ProfileErrorKind);

pub(super) fn parse(name: &str, text: &str, file: &Path, root: &Path) -> Result<Profile, ProfileError> {
    parse_spanned(name, text, file, root).map_err(|(span, kind)| {
        let (line, column) = place(text, span.start);
        ProfileError { file: file.to_owned(), line, column, kind }
    })
}

fn parse_spanned(name: &str, text: &str, file: &Path, root: &Path) -> Result<Profile, Fault> {
    check_caller(name, file, root)?;
    let raw: RawProfile = toml::from_str(text).map_err(|error| toml_fault(&error))?;
    let RawKind::Qemu = raw.kind;
    let paths = PathRules {
        folder: file.parent().unwrap_or(root),
        root: normalise(root).unwrap_or_default(),
        allow_outside: raw.allow_outside,
    };
    let display = raw.display.device;
    let mut profile = QemuProfile {
        name: name.to_owned(),
        root: paths.root.clone(),
        machine: machine(raw.machine)?,
        firmware: firmware(raw.firmware, &paths)?,
        kernel: raw.boot.kernel.map(|kernel| paths.resolve(kernel)).transpose()?,
        disks: raw.disk.into_iter().map(|disk| self::disk(disk, &paths)).collect::<Result<_, _>>()?,
        networks: raw.network.into_iter().map(network).collect(),
        display,
        spice: spice(raw.spice)?,
        serial_log: raw.serial.log,
        reset: raw.reset.policy,
        digest: *raw.oracle.digest.get_ref(),
        gates: Vec::new(),
        qmp_allow: QmpAllow::default(),
        warm: true,
        hash: sha256::label(canonical(text)?.as_bytes()),
    };
    if profile.digest && display == Display::None {
        let what = "`digest = true`".to_owned();
        return Err((
            raw.oracle.digest.span(),
            ProfileErrorKind::Contradiction { what, needs: "a display".to_owned() },
        ));
    }
    profile.gates = if raw.gate.is_empty() {
        default_gates(&profile)
    } else {
        raw.gate.into_iter().map(|gate| self::gate(gate, &profile)).collect::<Result<_, _>>()?
    };
    Ok(Profile::Qemu(Box::new(profile)))
}

fn check_caller(name: &str, file: &Path, root: &Path) -> Result<(), Fault> {
    let is_name = !name.is_empty()
        && name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let fault = |got: String, wanted| Err((0..0, ProfileErrorKind::Caller { got, wanted }));
    if !is_name {
        return fault(
            name.to_owned(),
            "a lane name (a letter or digit, then letters, digits, `.`, `_`, `-`)",
        );
    }
    for path in [file, root] {
        if !path.is_absolute() {
            return fault(path.display().to_string(), "an absolute path");
        }
    }
    Ok(())
}

/// The sorted, comment-free form which is hashed. Relies on `toml::Table` being sorted.
fn canonical(text: &str) -> Result<String, Fault> {
    let table: toml::Table = toml::from_str(text).map_err(|error| toml_fault(&error))?;
    toml::to_string(&table).map_err(|error| (0..0, ProfileErrorKind::Toml(error.to_string())))
}

// ---- shapes as written -------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    kind: RawKind,
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
    reset: RawReset,
    #[serde(default)]
    oracle: RawOracle,
    #[serde(default)]
    gate: Vec<RawGate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    Qemu,
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
struct RawDisplay {
    device: Display,
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

const GATE_TIMEOUT: Duration = Duration::from_secs(60);
const GATE_QUIET: Duration = Duration::from_secs(1);

fn default_gates(profile: &QemuProfile) -> Vec<Gate> {
    let screen = (profile.display != Display::None).then_some(GateKind::SpiceSurface);
    let digest = profile.digest.then_some(GateKind::Digest);
    std::iter::once(GateKind::Qmp)
        .chain(screen)
        .chain(digest)
        .map(|kind| Gate { kind, timeout: GATE_TIMEOUT })
        .collect()
}

fn gate(raw: RawGate, profile: &QemuProfile) -> Result<Gate, Fault> {
    let kind = *raw.kind.get_ref();
    let contradiction = |span: Range<usize>, what: &str, needs: &str| {
        let (what, needs) = (what.to_owned(), needs.to_owned());
        Err((span, ProfileErrorKind::Contradiction { what, needs }))
    };
    if let Some(pattern) = raw.pattern.as_ref().filter(|_| kind != RawGateKind::SerialLine) {
        return contradiction(pattern.span(), "`pattern`", "`kind = \"serial-line\"`");
    }
    if let Some(quiet_for) = raw.quiet_for.as_ref().filter(|_| kind != RawGateKind::Quiet) {
        return contradiction(quiet_for.span(), "`quiet_for`", "`kind = \"quiet\"`");
    }
    let place = raw.kind.span();
    let has_display = profile.display != Display::None;
    let kind = match (kind, raw.pattern) {
        (RawGateKind::Qmp, _) => GateKind::Qmp,
        (RawGateKind::SpiceSurface, _) if has_display => GateKind::SpiceSurface,
        (RawGateKind::SpiceSurface, _) => {
            return contradiction(place, "gate `spice-surface`", "a display");
        }
        (RawGateKind::Digest, _) if profile.digest => GateKind::Digest,
        (RawGateKind::Digest, _) => {
            return contradiction(place, "gate `digest`", "`digest = true` under `[oracle]`");
        }
        (RawGateKind::Quiet, _) if has_display => {
            let quiet_for = raw.quiet_for.map(|value| seconds("quiet_for", &value)).transpose()?;
            GateKind::Quiet { quiet_for: quiet_for.unwrap_or(GATE_QUIET) }
        }
        (RawGateKind::Quiet, _) => return contradiction(place, "gate `quiet`", "a display"),
        (RawGateKind::SerialLine, _) if !profile.serial_log => {
            return contradiction(place, "gate `serial-line`", "`log = true` under `[serial]`");
        }
        (RawGateKind::SerialLine, None) => {
            return contradiction(place, "gate `serial-line`", "a `pattern`");
        }
        (RawGateKind::SerialLine, Some(pattern)) => GateKind::SerialLine { pattern: regex(pattern)? },
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
    folder: &'a Path,
    root: PathBuf,
    allow_outside: bool,
}

impl PathRules<'_> {
    fn resolve(&self, path: Spanned<String>) -> Result<String, Fault> {
        let span = path.span();
        let written = path.into_inner();
        let bad = |got: String, wanted: &str| {
            (span.clone(), ProfileErrorKind::BadValue { key: "path", got, wanted: wanted.to_owned() })
        };
        if written.is_empty() || written.chars().any(char::is_control) {
            return Err(bad(written, "a path without control characters"));
        }
        let Some(resolved) = normalise(&self.folder.join(&written)) else {
            return Err(bad(written, "a path which stays below `/`"));
        };
        if !self.allow_outside && !resolved.starts_with(&self.root) {
            let root = self.root.display().to_string();
            return Err((span, ProfileErrorKind::Outside { path: written, root }));
        }
        match resolved.into_os_string().into_string() {
            Ok(text) if text.chars().any(char::is_control) => {
                Err(bad(text, "a folder without control characters"))
            }
            Ok(text) => Ok(text),
            Err(text) => Err(bad(text.to_string_lossy().into_owned(), "a path in UTF-8")),
        }
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

// ---- places ------------------------------------------------------------------------------------------------

/// Returns line and column, both from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Turns serde's sentence "unknown field `x`, expected one of `a`, `b`" into names; anything else is kept.
fn toml_fault(error: &toml::de::Error) -> Fault {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    let mut names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_key = message.starts_with("unknown field `");
    let kind = if is_key || message.starts_with("unknown variant `") {
        let got = names.next().unwrap_or_default();
        let known: Vec<String> = names.collect();
        let near = nearest(&got, known.iter().map(String::as_str)).map(str::to_owned);
        if is_key {
            ProfileErrorKind::UnknownKey { key: got, near, known }
        } else {
            ProfileErrorKind::UnknownValue { value: got, near, known }
        }
    } else {
        ProfileErrorKind::Toml(message.lines().collect::<Vec<_>>().join(", "))
    };
    (span, kind)
}
