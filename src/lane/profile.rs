//! What a user writes about a lane, read and checked. Pure: text and paths in, values out; no file is touched.
//!
//! A profile is TOML. Unknown keys are errors that name the near miss, and every error names its line and
//! column. Start at [`Profile::parse`], or [`Profile::parse_chain`] for one that extends others; the keys are described on
//! the types below.
//!
//! ```toml
//! kind = "qemu"
//!
//! [machine]
//! accel = "auto"
//! memory_mib = 64
//!
//! [firmware]
//! bios = "ovmf"
//!
//! [boot]
//! kernel = "../../fixtures/guest/sextant.efi"
//!
//! [oracle]
//! digest = true
//!
//! [[gate]]
//! kind = "spice-surface"
//! timeout = 60
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::profile_error::{ProfileError, ProfileErrorKind};

/// A lane's description as the user wrote it, with defaults filled in and every path absolute.
#[derive(Debug, Clone, PartialEq)]
pub enum Profile {
    /// `kind = "qemu"`: a machine that is booted and owned.
    Qemu(Box<QemuProfile>),
    /// `kind = "attach"`: a machine that runs already and belongs to somebody else.
    Attach(Box<AttachProfile>),
    /// `kind = "sim"`: the reference guest in this process.
    Sim(Box<SimProfile>),
}

/// `kind = "qemu"`: a machine that is booted and owned.
#[derive(Debug, Clone, PartialEq)]
pub struct QemuProfile {
    /// The name the profile goes by, usually its file's stem; `[A-Za-z0-9._-]`, at most 64 characters.
    pub name: String,
    /// The project's tree; absolute. Plans show what lies below it by its way from here.
    pub root: PathBuf,
    /// `[machine]`: the board, its accelerator, processors and memory.
    pub machine: Machine,
    /// `[firmware]`: what the machine starts.
    pub firmware: Firmware,
    /// `[boot] kernel`: absolute path of a kernel or UEFI program which the firmware starts directly.
    pub kernel: Option<String>,
    /// `[[disk]]`: in the order written, which is also the boot order after the kernel.
    pub disks: Vec<Disk>,
    /// `[[network]]`: none unless asked for.
    pub networks: Vec<Network>,
    /// `[display] device`: the graphics card.
    pub display: Display,
    /// `[display] heads`: monitors, each with a display channel of its own; default 1.
    pub heads: u8,
    /// `[spice]`: how the console is served.
    pub spice: Spice,
    /// `[serial] log`: whether the first serial port is recorded; default `true`.
    pub serial_log: bool,
    /// `[input] tablet`: whether the machine has a pointer that takes absolute positions; default `false`.
    pub tablet: bool,
    /// `[agent] enabled`: whether the machine has a port for a SPICE agent in its guest; default `false`.
    pub agent: bool,
    /// `[audio] enabled`: whether the machine has a sound card; default `false`.
    pub audio: bool,
    /// `[reset] policy`: what a reset by the guest does.
    pub reset: ResetPolicy,
    /// `[oracle] digest`: whether the guest draws a visual digest; default `false`.
    pub digest: bool,
    /// `[[gate]]`: what must hold, in order, before the lane counts as ready. Without any gate in the text:
    /// QMP, then a first surface if there is a display, then a first digest if there is one.
    pub gates: Vec<Gate>,
    /// `[qmp] allow`: see [`QmpAllow`].
    pub qmp_allow: QmpAllow,
    /// `[warm] enabled`: whether the lane may be saved at its ready point and restored from there; default `true`.
    pub warm: bool,
    pub(super) canonical: String,
    pub(super) hash: String,
}

/// `kind = "attach"`: a machine that runs already and belongs to somebody else. What is absent here comes from the
/// environment, which wins where both say something.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachProfile {
    /// As for [`QemuProfile::name`].
    pub name: String,
    /// As for [`QemuProfile::root`].
    pub root: PathBuf,
    /// `[attach] spice`: `HOST:PORT`, `spice://…` or `spice+unix:///…`; environment `BACKSTAFF_SPICE`.
    pub spice: Option<String>,
    /// `[attach] vv`: absolute path of a `.vv` file; environment `BACKSTAFF_VV`.
    pub vv: Option<String>,
    /// `[attach] serial_log`: absolute path of a file that grows with what the guest says; environment
    /// `BACKSTAFF_SERIAL_LOG`.
    pub serial_log: Option<String>,
    /// `[attach] qmp`: absolute path of a QMP socket; environment `BACKSTAFF_QMP`.
    pub qmp: Option<String>,
    /// `[attach] control_socket`: absolute path of a control socket; environment `BACKSTAFF_CONTROL_SOCKET`.
    pub control_socket: Option<String>,
    /// `[agent] enabled`: whether the guest runs a SPICE agent; default `false`.
    pub agent: bool,
    /// `[oracle] digest`: whether the guest draws a visual digest; default `false`.
    pub digest: bool,
    /// `[[gate]]`; by default a first surface, then a first digest if there is one.
    pub gates: Vec<Gate>,
    /// `[qmp] allow`.
    pub qmp_allow: QmpAllow,
    pub(super) canonical: String,
    pub(super) hash: String,
}

/// `kind = "sim"`: the reference guest in this process, behind a SPICE server of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct SimProfile {
    /// As for [`QemuProfile::name`].
    pub name: String,
    /// As for [`QemuProfile::root`].
    pub root: PathBuf,
    /// `[sim] time_scale`: how many times as fast as the clock the guest's time goes; 0.01 to 100, default 1.
    pub time_scale: f64,
    /// `[[gate]]`; by default a first surface, then a first digest.
    pub gates: Vec<Gate>,
    pub(super) canonical: String,
    pub(super) hash: String,
}

/// `[qmp] allow`: which QMP commands scenarios may send. An entry is a command's name; a trailing `*` stands for any
/// ending. The default is `["query-*"]`, which changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QmpAllow(pub Vec<String>);

impl Default for QmpAllow {
    fn default() -> Self {
        Self(vec!["query-*".to_owned()])
    }
}

impl QmpAllow {
    /// Whether `command` may be sent.
    pub fn allows(&self, command: &str) -> bool {
        self.0.iter().any(|entry| match entry.strip_suffix('*') {
            Some(start) => command.starts_with(start),
            None => command == entry,
        })
    }
}

/// One text that a profile is made of: its own, or that of a profile it extends.
#[derive(Debug, Clone, Copy)]
pub struct ProfileSource<'a> {
    /// TOML.
    pub text: &'a str,
    /// Where it came from: named in errors, and relative paths in the text start at its folder. Absolute.
    pub file: &'a Path,
    /// The tree which paths in this text may not leave unless the profile says `allow_outside = true`. Absolute.
    pub root: &'a Path,
}

/// `extends` of a profile, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extends {
    /// The profile that is extended.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Says where a path is when all links on it have been followed; `None` if there is nothing.
pub type FollowLinks<'a> = &'a dyn Fn(&Path) -> Option<PathBuf>;

/// How many texts a profile is made of at most.
pub const MOST_SOURCES: usize = 8;

impl Profile {
    /// Reads a profile that extends no other from `text`.
    ///
    /// `file` is where the text came from: it is named in errors, and relative paths in the text start at its
    /// folder. `root` is the project tree which paths may not leave unless the profile says
    /// `allow_outside = true`. Both must be absolute. Paths are compared by their text; links are not followed.
    ///
    /// # Errors
    ///
    /// The first thing wrong, with file, line and column.
    pub fn parse(name: &str, text: &str, file: &Path, root: &Path) -> Result<Self, ProfileError> {
        Self::parse_chain(name, &[ProfileSource { text, file, root }], &|_| None)
    }

    /// Reads a profile from its own text, the text of the profile it extends, and so on. Each but the last says
    /// `extends`; finding them is the caller's business, with [`Profile::extends_of`]. Tables are merged key by key, and
    /// the text before wins; arrays are taken as a whole.
    ///
    /// With `follow`, a path whose text stays in its tree is refused also when it leads out of it.
    ///
    /// # Errors
    ///
    /// The first thing wrong, with the file, line and column where it is written.
    pub fn parse_chain(
        name: &str,
        sources: &[ProfileSource<'_>],
        follow: FollowLinks<'_>,
    ) -> Result<Self, ProfileError> {
        super::profile_parse::parse(name, sources, follow)
    }

    /// Returns which profile `text` extends. `None` also where `text` is wrong so that [`Profile::parse_chain`] of it
    /// alone is an error.
    pub fn extends_of(text: &str) -> Option<Extends> {
        super::profile_chain::extends_of(text)
    }

    /// Returns the canonical TOML: what it extends merged in, keys sorted, paths in the tree relative to its root,
    /// comments and formatting gone, defaults not filled in.
    pub fn canonical(&self) -> &str {
        match self {
            Self::Qemu(profile) => &profile.canonical,
            Self::Attach(profile) => &profile.canonical,
            Self::Sim(profile) => &profile.canonical,
        }
    }

    /// Returns `sha256:<hex>` of the canonical TOML.
    pub fn profile_hash(&self) -> &str {
        match self {
            Self::Qemu(profile) => profile.profile_hash(),
            Self::Attach(profile) => profile.profile_hash(),
            Self::Sim(profile) => profile.profile_hash(),
        }
    }

    /// Returns the word in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Qemu(_) => "qemu",
            Self::Attach(_) => "attach",
            Self::Sim(_) => "sim",
        }
    }

    /// The name the profile goes by.
    pub fn name(&self) -> &str {
        match self {
            Self::Qemu(profile) => &profile.name,
            Self::Attach(profile) => &profile.name,
            Self::Sim(profile) => &profile.name,
        }
    }

    /// The machine to boot, if this is one.
    pub fn qemu(self) -> Option<QemuProfile> {
        match self {
            Self::Qemu(profile) => Some(*profile),
            Self::Attach(_) | Self::Sim(_) => None,
        }
    }
}

impl QemuProfile {
    /// Returns `sha256:<hex>` of the canonical TOML.
    pub fn profile_hash(&self) -> &str {
        &self.hash
    }
}

impl AttachProfile {
    /// Returns `sha256:<hex>` of the canonical TOML.
    pub fn profile_hash(&self) -> &str {
        &self.hash
    }
}

impl SimProfile {
    /// Returns `sha256:<hex>` of the canonical TOML.
    pub fn profile_hash(&self) -> &str {
        &self.hash
    }
}

/// Whether this can name a profile.
pub(super) fn is_lane_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// `[machine]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// `type`: `q35` (default), `pc`, or a versioned `pc-q35-X.Y` or `pc-i440fx-X.Y`.
    pub machine_type: String,
    /// `accel`: default `auto`.
    pub accel: AccelRequest,
    /// `memory_mib`: MiB, 1 to 1_048_576, default 64. The reference guest needs 48.
    pub memory_mib: u32,
    /// `cpus`: 1 to 255, default 1.
    pub cpus: u32,
    /// `cpu`: QEMU's CPU model with its flags, such as `qemu64,+sse4.2`; default is QEMU's own.
    pub cpu: Option<String>,
}

/// `[machine] accel`: how the guest's instructions are to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccelRequest {
    /// KVM where it is proven to work, TCG elsewhere.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

impl AccelRequest {
    /// Returns the word used in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// `[firmware]`: either `bios`, or `code` and `vars`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// `bios = "ovmf"` (the default): the host's OVMF, as a single image if it has one (it starts 0.6 s
    /// faster), otherwise as a code and variables pair.
    Auto,
    /// `bios = "PATH"`: absolute path of one image, given to `-bios`.
    Bios(String),
    /// `code = "PATH"`, `vars = "PATH"`: absolute paths; each lane gets a copy of the variables.
    Flash {
        /// The read-only program.
        code: String,
        /// The variable store to copy.
        vars: String,
    },
}

/// `[[disk]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `path`: absolute.
    pub path: String,
    /// `format`: default `raw`.
    pub format: DiskFormat,
    /// `bus`: default `virtio`.
    pub bus: DiskBus,
    /// `readonly`: default `false`. A writable disk is a copy in the lane's folder; the image itself is never
    /// written. IDE disks cannot be read-only.
    pub readonly: bool,
}

/// `[[disk]] format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    /// Bytes as they are.
    #[default]
    Raw,
    /// QEMU's own format.
    Qcow2,
}

impl DiskFormat {
    /// Returns QEMU's driver name, which is also the file extension of copies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// `[[disk]] bus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskBus {
    /// virtio-blk: the fastest to boot from.
    #[default]
    Virtio,
    /// The board's AHCI controller; at most 6 disks.
    Ide,
}

/// `[[network]]`: a user-mode network; the host's interfaces are never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// `model`: default `virtio`.
    pub model: NetworkModel,
    /// `restrict`: whether the guest is cut off from everything outside; default `true`.
    pub restrict: bool,
}

/// `[[network]] model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkModel {
    /// virtio-net.
    #[default]
    Virtio,
    /// Intel 82574L.
    E1000e,
}

/// `[display] device`: the graphics card. Without one SPICE serves a keyboard and no screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Display {
    /// QXL (default).
    #[default]
    Qxl,
    /// The Bochs/VESA card.
    Std,
    /// virtio-vga.
    Virtio,
    /// No card.
    None,
}

/// `[spice]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spice {
    /// `transport`: default `unix`. `tcp` needs `port` and listens on 127.0.0.1 only.
    pub transport: SpiceTransport,
    /// `compression` of bitmaps: default `off`.
    pub compression: SpiceCompression,
    /// `jpeg`: `never` (default), `auto` or `always`.
    pub jpeg: SpiceWan,
    /// `zlib_glz`: `never` (default), `auto` or `always`.
    pub zlib_glz: SpiceWan,
    /// `streaming`: `off` (default), `filter` or `all`.
    pub streaming: SpiceStreaming,
    /// `ticket`: whether clients must know a random secret; default `false`. The secret is in a file of the
    /// lane's folder and never in the argv.
    pub ticket: bool,
}

/// `[spice] transport` and `port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpiceTransport {
    /// A socket in the lane's folder.
    Unix,
    /// 127.0.0.1, this port.
    Tcp {
        /// 1 to 65535.
        port: u16,
    },
}

/// `[spice] compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "SPICE's own names, passed through")]
pub enum SpiceCompression {
    #[default]
    Off,
    AutoGlz,
    AutoLz,
    Quic,
    Glz,
    Lz,
}

impl SpiceCompression {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::AutoGlz => "auto_glz",
            Self::AutoLz => "auto_lz",
            Self::Quic => "quic",
            Self::Glz => "glz",
            Self::Lz => "lz",
        }
    }
}

/// `[spice] jpeg` and `zlib_glz`: when lossy or extra compression is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "SPICE's own names, passed through")]
pub enum SpiceWan {
    #[default]
    Never,
    Auto,
    Always,
}

impl SpiceWan {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }
}

/// `[spice] streaming`: which regions become video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "SPICE's own names, passed through")]
pub enum SpiceStreaming {
    #[default]
    Off,
    Filter,
    All,
}

impl SpiceStreaming {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Filter => "filter",
            Self::All => "all",
        }
    }
}

/// `[reset] policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetPolicy {
    /// A reset ends the machine (default): a guest that aborts is seen to have ended.
    #[default]
    Exit,
    /// A reset boots again.
    Restart,
}

/// `[[gate]]`: one thing that must hold before the lane is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// What must hold.
    #[serde(flatten)]
    pub kind: GateKind,
    /// `timeout`: how long it may take from the moment the gate before it opened; seconds in TOML (default 60).
    #[serde(rename = "timeout_ms", serialize_with = "as_millis")]
    pub timeout: Duration,
}

/// `[[gate]] kind`, with what the kind needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum GateKind {
    /// QMP has answered and the machine runs.
    Qmp,
    /// SPICE has linked and sent a surface.
    SpiceSurface,
    /// A line on the serial port matches.
    SerialLine {
        /// Regular expression, searched anywhere in the line.
        pattern: String,
    },
    /// A visual digest was decoded.
    Digest,
    /// The screen stopped changing.
    Quiet {
        /// `quiet_for`: for how long it must not change; seconds in TOML (default 1).
        #[serde(rename = "quiet_for_ms", serialize_with = "as_millis")]
        quiet_for: Duration,
    },
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{AccelRequest, Firmware, GateKind, Profile, ProfileError, QemuProfile, SpiceTransport};

    fn parse(text: &str) -> Result<QemuProfile, ProfileError> {
        let file = Path::new("/project/scenarios/lanes/east.toml");
        Profile::parse("east", &format!("kind = \"qemu\"\n{text}"), file, Path::new("/project"))
            .map(|profile| profile.qemu().unwrap())
    }

    fn complaint(text: &str) -> String {
        let error = parse(text).unwrap_err().to_string();
        error.strip_prefix("/project/scenarios/lanes/east.toml:").unwrap().to_owned()
    }

    #[test]
    fn the_smallest_profile_is_a_kind() {
        let profile = parse("").unwrap();
        assert_eq!(profile.machine.accel, AccelRequest::Auto);
        assert_eq!(profile.machine.memory_mib, 64);
        assert_eq!(profile.firmware, Firmware::Auto);
        assert_eq!(profile.spice.transport, SpiceTransport::Unix);
        assert!(profile.serial_log && !profile.digest && profile.networks.is_empty());
        let gates: Vec<_> = profile.gates.iter().map(|gate| &gate.kind).collect();
        assert_eq!(gates, [&GateKind::Qmp, &GateKind::SpiceSurface]);
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_near_miss() {
        assert_eq!(complaint("[machine]\nacel = \"kvm\""), "3:1: unknown key `acel`, did you mean `accel`?");
        assert_eq!(complaint("[machin]"), "2:2: unknown key `machin`, did you mean `machine`?");
    }

    #[test]
    fn an_unknown_key_without_a_near_miss_lists_the_known_ones() {
        let error = parse("[machine]\nsockets = 2").unwrap_err();
        assert_eq!(error.kind.to_string(), "unknown key `sockets`");
        assert_eq!(error.hint().unwrap(), "known here: type, accel, memory_mib, cpus, cpu");
    }

    #[test]
    fn an_unknown_word_is_treated_like_an_unknown_key() {
        assert_eq!(complaint("[machine]\naccel = \"kmv\""), "3:9: unknown value `kmv`, did you mean `kvm`?");
        assert_eq!(
            complaint("[[gate]]\nkind = \"spice-surfaces\""),
            "3:8: unknown value `spice-surfaces`, did you mean `spice-surface`?"
        );
    }

    #[test]
    fn what_is_no_toml_says_where() {
        assert!(complaint("[machine\n").starts_with("2:9: "), "{}", complaint("[machine\n"));
        assert!(complaint("[machine]\ncpus = \"two\"").starts_with("3:8: "));
    }

    #[test]
    fn numbers_out_of_range_name_the_range() {
        assert_eq!(
            complaint("[machine]\nmemory_mib = 0"),
            "3:14: `memory_mib` is \"0\", wanted a whole number from 1 to 1048576"
        );
        assert!(complaint("[machine]\ncpus = -1").contains("from 1 to 255"));
        assert!(complaint("[machine]\ncpus = 9223372036854775807").contains("from 1 to 255"));
        assert!(complaint("[[gate]]\nkind = \"qmp\"\ntimeout = nan").contains("seconds from 0.001"));
        let tcp = "[spice]\ntransport = \"tcp\"\nport = 65536";
        assert!(complaint(tcp).contains("from 1 to 65535"));
    }

    #[test]
    fn values_cannot_smuggle_in_qemu_options() {
        for text in [
            "[machine]\ntype = \"q35,usb=on\"",
            "[machine]\ncpu = \"help\"",
            "[machine]\ncpu = \"-monitor\"",
            "[machine]\ncpu = \"max -monitor stdio\"",
        ] {
            assert!(complaint(text).contains("wanted"), "{text}");
        }
    }

    #[test]
    fn relative_paths_start_at_the_profile_and_stay_in_the_project() {
        let kernel = |path: &str| parse(&format!("[boot]\nkernel = {path:?}")).map(|it| it.kernel.unwrap());
        assert_eq!(kernel("../../fixtures/./a,b.efi").unwrap(), "/project/fixtures/a,b.efi");
        assert_eq!(kernel("-kernel").unwrap(), "/project/scenarios/lanes/-kernel");
        let outside = kernel("../../../secret").unwrap_err();
        assert_eq!(
            outside.kind.to_string(),
            "path \"../../../secret\" lies outside the project tree \"/project\""
        );
        assert!(outside.hint().unwrap().contains("allow_outside"));
        assert!(kernel("/project-two/kernel").is_err());
        assert!(kernel("../../../../../x").is_err());
        assert!(kernel("").is_err());
        assert!(kernel("a\u{0}b").is_err());
    }

    #[test]
    fn a_profile_may_ask_to_leave_the_project() {
        let text = "allow_outside = true\n[firmware]\nbios = \"/usr/share/fw.fd\"";
        assert_eq!(parse(text).unwrap().firmware, Firmware::Bios("/usr/share/fw.fd".to_owned()));
    }

    #[test]
    fn keys_that_do_not_go_together_say_what_is_missing() {
        for (text, wanted) in [
            ("[firmware]\ncode = \"c\"", "3:8: `code` needs `vars` beside it"),
            ("[firmware]\nbios = \"b\"\nvars = \"v\"", "3:8: `bios` needs `code` and `vars` to be absent"),
            ("[spice]\nport = 5900", "3:8: `port` needs `transport = \"tcp\"`"),
            ("[spice]\ntransport = \"tcp\"", "3:13: `transport = \"tcp\"` needs `port` beside it"),
            ("[[gate]]\nkind = \"digest\"", "3:8: gate `digest` needs `digest = true` under `[oracle]`"),
            ("[[gate]]\nkind = \"serial-line\"", "3:8: gate `serial-line` needs a `pattern`"),
            ("[[gate]]\nkind = \"qmp\"\npattern = \"x\"", "4:11: `pattern` needs `kind = \"serial-line\"`"),
            (
                "[oracle]\ndigest = true\n[display]\ndevice = \"none\"",
                "3:10: `digest = true` needs a display",
            ),
            (
                "[[disk]]\npath = \"d\"\nbus = \"ide\"\nreadonly = true",
                "5:12: `readonly = true` needs `bus = \"virtio\"`, an IDE disk is always writable",
            ),
        ] {
            assert_eq!(complaint(text), wanted);
        }
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_the_profiles_fault() {
        let text = "[[gate]]\nkind = \"serial-line\"\npattern = \"login: (\"";
        assert!(complaint(text).starts_with("4:11: `pattern` is \"login: (\", wanted a regular"));
    }

    #[test]
    fn gates_keep_their_order_and_take_fractions_of_seconds() {
        let text = "[[gate]]\nkind = \"quiet\"\nquiet_for = 0.5\n[[gate]]\nkind = \"qmp\"\ntimeout = 3";
        let gates = parse(text).unwrap().gates;
        assert_eq!(gates[0].kind, GateKind::Quiet { quiet_for: Duration::from_millis(500) });
        assert_eq!(gates[0].timeout, Duration::from_secs(60));
        assert_eq!((&gates[1].kind, gates[1].timeout), (&GateKind::Qmp, Duration::from_secs(3)));
    }

    #[test]
    fn the_hash_ignores_formatting_and_sees_values() {
        let hash = |text: &str| parse(text).unwrap().profile_hash().to_owned();
        let plain = hash("[machine]\ncpus = 2\nmemory_mib = 128");
        assert_eq!(plain, hash("# why\n[machine]\nmemory_mib=128\ncpus   = 2"));
        assert_ne!(plain, hash("[machine]\nmemory_mib = 128"));
        assert!(plain.starts_with("sha256:") && plain.len() == 71);
    }

    #[test]
    fn a_name_that_could_be_mistaken_is_refused() {
        let file = Path::new("/p/x.toml");
        for name in ["", "-x", "a,b", "a/b"] {
            assert!(Profile::parse(name, "kind = \"qemu\"", file, Path::new("/p")).is_err(), "{name}");
        }
        assert!(Profile::parse("x", "kind = \"qemu\"", Path::new("x.toml"), Path::new("/p")).is_err());
    }
}
