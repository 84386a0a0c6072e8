//! Which machine an attached lane is about: the profile and the environment, put together. Pure: both are arguments.
//!
//! Start reading at [`AttachSettings::resolve`]. What is said nowhere is not configured, and scenarios that need it are
//! skipped with [`AttachSettings::why_not`]; whether what is said is any good shows only when [`super::attach`] tries.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::handle::Capability;
use super::profile::{AttachProfile, Gate, GateKind, QmpAllow};
use crate::spice::Password;

/// What the environment says about attached lanes. An empty variable says nothing.
#[derive(Debug, Clone, Default)]
pub struct AttachEnvironment {
    /// `BACKSTAFF_SPICE`: `HOST:PORT`, `spice://…` or `spice+unix:///…`.
    pub spice: Option<Address>,
    /// `BACKSTAFF_VV`: a connection file.
    pub vv: Option<PathBuf>,
    /// `BACKSTAFF_CONTROL_SOCKET`.
    pub control_socket: Option<PathBuf>,
    /// `BACKSTAFF_SERIAL_LOG`: a file that grows with what the guest says.
    pub serial_log: Option<PathBuf>,
    /// `BACKSTAFF_QMP`: a QMP socket.
    pub qmp: Option<PathBuf>,
    /// `BACKSTAFF_SPICE_CA`: a file with the certificates that are trusted.
    pub ca: Option<PathBuf>,
    /// `BACKSTAFF_SPICE_HOST_SUBJECT`: the subject that the server's certificate must have.
    pub host_subject: Option<String>,
    /// `BACKSTAFF_SPICE_PROXY`: the URL of an HTTP proxy.
    pub proxy: Option<Address>,
    /// `BACKSTAFF_SPICE_PASSWORD`: the ticket.
    pub password: Option<Password>,
    /// `BACKSTAFF_SPICE_PASSWORD_FILE`: a file that holds the ticket.
    pub password_file: Option<PathBuf>,
}

impl AttachEnvironment {
    /// Collects the variables; `variable` returns the value of one.
    pub fn collect(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| value(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| value(name).map(PathBuf::from);
        Self {
            spice: text(SPICE).map(Address),
            vv: path(VV),
            control_socket: path(CONTROL_SOCKET),
            serial_log: path(SERIAL_LOG),
            qmp: path(QMP),
            ca: path(CA),
            host_subject: text(HOST_SUBJECT),
            proxy: text(PROXY).map(Address),
            password: text(PASSWORD).map(Password::from),
            password_file: path(PASSWORD_FILE),
        }
    }
}

/// An address as it was written. It may hold a password, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

/// Where something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In this variable.
    Environment(&'static str),
    /// In the profile, by this key under `[attach]`.
    Profile(&'static str),
    /// On the command line, by this option.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => f.write_str(name),
            Self::Profile(key) => write!(f, "`{key}` under `[attach]`"),
            Self::Argument(name) => f.write_str(name),
        }
    }
}

/// Something that was said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured<T> {
    /// What.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

impl<T> Configured<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Configured<U> {
        Configured { value: change(self.value), origin: self.origin }
    }
}

/// What leads to a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleSource {
    /// An address, not read yet.
    Spice(Address),
    /// A connection file.
    Vv(PathBuf),
    /// A control socket.
    ControlSocket(PathBuf),
}

/// Where the ticket comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The ticket itself.
    Text(Password),
    /// A file that holds it.
    File(PathBuf),
}

/// Everything that was said about an attached lane.
#[derive(Debug, Clone)]
pub struct AttachSettings {
    /// The profile's name.
    pub name: String,
    /// What leads to the console: at most one, or there is no telling which is meant.
    pub consoles: Vec<Configured<ConsoleSource>>,
    /// Where the ticket comes from, when not with the address: at most one.
    pub passwords: Vec<Configured<PasswordSource>>,
    /// A file with the certificates that are trusted, when not with the address.
    pub ca: Option<Configured<PathBuf>>,
    /// The subject that the server's certificate must have, when not with the address.
    pub host_subject: Option<Configured<String>>,
    /// The HTTP proxy on the way, when not with the address.
    pub proxy: Option<Configured<Address>>,
    /// The file that grows with what the guest says.
    pub serial_log: Option<Configured<PathBuf>>,
    /// The QMP socket.
    pub qmp: Option<Configured<PathBuf>>,
    /// Whether the guest draws a visual digest.
    pub digest: bool,
    /// Whether the guest runs a SPICE agent.
    pub agent: bool,
    /// What must hold before the lane is ready; what needs a wire that is not configured is left out.
    pub gates: Vec<Gate>,
    /// Which QMP commands scenarios may send.
    pub qmp_allow: QmpAllow,
}

impl AttachSettings {
    /// Puts profile and environment together. The environment wins: a console that it names replaces whatever the profile
    /// says about the console.
    pub fn resolve(profile: &AttachProfile, environment: &AttachEnvironment) -> Self {
        let (consoles, is_profiles) = match consoles_of_environment(environment) {
            consoles if consoles.is_empty() => (consoles_of_profile(profile), true),
            consoles => (consoles, false),
        };
        let of_profile =
            |key, value: Option<&String>| in_profile(key, value.filter(|_| is_profiles).cloned());
        let path_of_profile = |key, value| of_profile(key, value).map(|said| said.map(PathBuf::from));
        let mut passwords = passwords_of_environment(environment);
        if passwords.is_empty() {
            let file = path_of_profile("password_file", profile.password_file.as_ref());
            passwords.extend(file.map(|file| file.map(PasswordSource::File)));
        }
        let mut settings = Self {
            name: profile.name.clone(),
            consoles,
            passwords,
            ca: in_environment(CA, environment.ca.clone())
                .or_else(|| path_of_profile("ca", profile.ca.as_ref())),
            host_subject: in_environment(HOST_SUBJECT, environment.host_subject.clone())
                .or_else(|| of_profile("host_subject", profile.host_subject.as_ref())),
            proxy: in_environment(PROXY, environment.proxy.clone()),
            serial_log: in_environment(SERIAL_LOG, environment.serial_log.clone())
                .or_else(|| in_profile("serial_log", path(profile.serial_log.as_ref()))),
            qmp: in_environment(QMP, environment.qmp.clone())
                .or_else(|| in_profile("qmp", path(profile.qmp.as_ref()))),
            digest: profile.digest,
            agent: profile.agent,
            gates: profile.gates.clone(),
            qmp_allow: profile.qmp_allow.clone(),
        };
        let capabilities = settings.capabilities();
        settings.gates.retain(|gate| capabilities.contains(&needed_by(&gate.kind)));
        settings
    }

    /// For a console that an option of the command line names. What else is to be known of it comes from the environment.
    pub fn of_argument(
        option: &'static str,
        console: ConsoleSource,
        environment: &AttachEnvironment,
    ) -> Self {
        Self {
            name: option.trim_start_matches('-').to_owned(),
            consoles: vec![Configured { value: console, origin: Origin::Argument(option) }],
            passwords: passwords_of_environment(environment),
            ca: in_environment(CA, environment.ca.clone()),
            host_subject: in_environment(HOST_SUBJECT, environment.host_subject.clone()),
            proxy: in_environment(PROXY, environment.proxy.clone()),
            serial_log: None,
            qmp: None,
            digest: true,
            agent: true,
            gates: Vec::new(),
            qmp_allow: QmpAllow::default(),
        }
    }

    /// What is configured. Whether it works is another matter.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        let has_console = !self.consoles.is_empty();
        let is_whole = has_console && !self.is_through_control();
        let all = [
            (Capability::Keyboard, has_console),
            (Capability::Mouse, is_whole),
            (Capability::Screen, has_console),
            (Capability::Digest, has_console && self.digest),
            (Capability::Agent, is_whole && self.agent),
            (Capability::Serial, self.serial_log.is_some()),
            (Capability::Qmp, self.qmp.is_some()),
        ];
        all.into_iter()
            .filter(|(_, is_configured)| *is_configured)
            .map(|(capability, _)| capability)
            .collect()
    }

    /// Why a scenario with these needs cannot run here, and what would change that; nothing when it can.
    pub fn why_not(&self, needs: &BTreeSet<Capability>) -> Option<String> {
        let capabilities = self.capabilities();
        if capabilities.is_empty() {
            let remedy = self.remedy(Capability::Keyboard);
            return Some(format!("lane \"{}\" is attached to no machine: {remedy}", self.name));
        }
        let missing = needs.iter().find(|need| !capabilities.contains(need))?;
        Some(format!("lane \"{}\" is not configured for {missing}: {}", self.name, self.remedy(*missing)))
    }

    /// Whether the console is behind the control socket of somebody's client.
    fn is_through_control(&self) -> bool {
        self.consoles.iter().any(|console| matches!(console.value, ConsoleSource::ControlSocket(_)))
    }

    fn remedy(&self, missing: Capability) -> String {
        let has_console = !self.consoles.is_empty();
        match missing {
            Capability::Mouse | Capability::Agent if self.is_through_control() => {
                format!("a control socket carries none; name the machine's own console with {SPICE} or {VV}")
            }
            Capability::Agent if has_console => {
                "set `enabled = true` under `[agent]` in the profile, if the guest runs a SPICE agent"
                    .to_owned()
            }
            Capability::Digest if has_console => {
                "set `digest = true` under `[oracle]` in the profile, if the guest draws one".to_owned()
            }
            Capability::Agent
            | Capability::Digest
            | Capability::Keyboard
            | Capability::Mouse
            | Capability::Screen => {
                format!("set {SPICE} or {VV}, or `spice` or `vv` under `[attach]` in the profile")
            }
            Capability::Serial => {
                format!("set {SERIAL_LOG}, or `serial_log` under `[attach]` in the profile")
            }
            Capability::Qmp => format!("set {QMP}, or `qmp` under `[attach]` in the profile"),
            Capability::Faults => "only machines of kind \"sim\" go wrong on purpose".to_owned(),
            Capability::Snapshot => "a machine of somebody else's is not saved".to_owned(),
        }
    }
}

fn consoles_of_environment(environment: &AttachEnvironment) -> Vec<Configured<ConsoleSource>> {
    let control_socket = environment.control_socket.clone().map(ConsoleSource::ControlSocket);
    let spice = environment.spice.clone().map(ConsoleSource::Spice);
    let vv = environment.vv.clone().map(ConsoleSource::Vv);
    [in_environment(CONTROL_SOCKET, control_socket), in_environment(SPICE, spice), in_environment(VV, vv)]
        .into_iter()
        .flatten()
        .collect()
}

fn passwords_of_environment(environment: &AttachEnvironment) -> Vec<Configured<PasswordSource>> {
    let text = environment.password.clone().map(PasswordSource::Text);
    let file = environment.password_file.clone().map(PasswordSource::File);
    [in_environment(PASSWORD, text), in_environment(PASSWORD_FILE, file)].into_iter().flatten().collect()
}

fn consoles_of_profile(profile: &AttachProfile) -> Vec<Configured<ConsoleSource>> {
    let control_socket = path(profile.control_socket.as_ref()).map(ConsoleSource::ControlSocket);
    let spice = profile.spice.clone().map(ConsoleSource::Spice);
    let vv = path(profile.vv.as_ref()).map(ConsoleSource::Vv);
    [in_profile("control_socket", control_socket), in_profile("spice", spice), in_profile("vv", vv)]
        .into_iter()
        .flatten()
        .collect()
}

fn in_environment<T>(name: &'static str, value: Option<T>) -> Option<Configured<T>> {
    value.map(|value| Configured { value, origin: Origin::Environment(name) })
}

fn in_profile<T>(key: &'static str, value: Option<T>) -> Option<Configured<T>> {
    value.map(|value| Configured { value, origin: Origin::Profile(key) })
}

fn path(text: Option<&String>) -> Option<PathBuf> {
    text.map(PathBuf::from)
}

fn needed_by(gate: &GateKind) -> Capability {
    match gate {
        GateKind::Qmp => Capability::Qmp,
        GateKind::SpiceSurface | GateKind::Quiet { .. } => Capability::Screen,
        GateKind::SerialLine { .. } => Capability::Serial,
        GateKind::Digest => Capability::Digest,
    }
}

pub(super) const SPICE: &str = "BACKSTAFF_SPICE";
pub(super) const VV: &str = "BACKSTAFF_VV";
pub(super) const CONTROL_SOCKET: &str = "BACKSTAFF_CONTROL_SOCKET";
pub(super) const SERIAL_LOG: &str = "BACKSTAFF_SERIAL_LOG";
pub(super) const QMP: &str = "BACKSTAFF_QMP";
pub(super) const CA: &str = "BACKSTAFF_SPICE_CA";
pub(super) const HOST_SUBJECT: &str = "BACKSTAFF_SPICE_HOST_SUBJECT";
pub(super) const PROXY: &str = "BACKSTAFF_SPICE_PROXY";
pub(super) const PASSWORD: &str = "BACKSTAFF_SPICE_PASSWORD";
pub(super) const PASSWORD_FILE: &str = "BACKSTAFF_SPICE_PASSWORD_FILE";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn profile() -> AttachProfile {
        let gate = |kind| Gate { kind, timeout: Duration::from_secs(1) };
        AttachProfile {
            name: "theirs".to_owned(),
            root: PathBuf::from("/project"),
            spice: None,
            vv: None,
            serial_log: None,
            qmp: None,
            control_socket: None,
            ca: None,
            host_subject: None,
            password_file: None,
            digest: true,
            agent: false,
            gates: vec![gate(GateKind::SpiceSurface), gate(GateKind::Digest), gate(GateKind::Qmp)],
            qmp_allow: QmpAllow::default(),
            canonical: String::new(),
            hash: String::new(),
        }
    }

    fn environment(variables: &[(&str, &str)]) -> AttachEnvironment {
        AttachEnvironment::collect(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn origins(settings: &AttachSettings) -> Vec<String> {
        settings.consoles.iter().map(|console| console.origin.to_string()).collect()
    }

    #[test]
    fn nothing_said_is_nothing_configured_and_says_what_would_change_that() {
        let settings = AttachSettings::resolve(&profile(), &environment(&[(SPICE, "")]));
        assert!(settings.capabilities().is_empty() && settings.gates.is_empty());
        assert_eq!(
            settings.why_not(&BTreeSet::new()).unwrap(),
            "lane \"theirs\" is attached to no machine: set BACKSTAFF_SPICE or BACKSTAFF_VV, or `spice` or `vv` under \
             `[attach]` in the profile"
        );
    }

    #[test]
    fn each_missing_capability_names_its_own_variable_and_key() {
        let settings = AttachSettings::resolve(&profile(), &environment(&[(SPICE, "h:1")]));
        let names: Vec<&str> = settings.capabilities().iter().map(|one| one.name()).collect();
        assert_eq!(names, ["digest", "keyboard", "mouse", "screen"]);
        assert_eq!(settings.gates.len(), 2, "the gate `qmp` has no wire");
        assert_eq!(settings.why_not(&BTreeSet::from([Capability::Keyboard, Capability::Digest])), None);
        let why_not = |need| settings.why_not(&BTreeSet::from([Capability::Keyboard, need])).unwrap();
        assert!(why_not(Capability::Serial).contains("BACKSTAFF_SERIAL_LOG, or `serial_log`"));
        assert!(why_not(Capability::Qmp).contains("BACKSTAFF_QMP, or `qmp`"));
        assert!(why_not(Capability::Snapshot).contains("not saved"));
        let without = AttachProfile { digest: false, ..profile() };
        let settings = AttachSettings::resolve(&without, &environment(&[(SPICE, "h:1")]));
        assert!(settings.why_not(&BTreeSet::from([Capability::Digest])).unwrap().contains("`digest = true`"));
    }

    #[test]
    fn the_environment_wins_over_the_profile_key_by_key() {
        let profile = AttachProfile {
            spice: Some(Address("east:1".to_owned())),
            serial_log: Some("/east.log".to_owned()),
            qmp: Some("/east.qmp".to_owned()),
            ..profile()
        };
        let settings =
            AttachSettings::resolve(&profile, &environment(&[(VV, "/west.vv"), (QMP, "/west.qmp")]));
        assert_eq!(origins(&settings), ["BACKSTAFF_VV"]);
        assert_eq!(settings.qmp.unwrap().value, PathBuf::from("/west.qmp"));
        let serial_log = settings.serial_log.unwrap();
        assert_eq!(serial_log.origin.to_string(), "`serial_log` under `[attach]`");
        assert_eq!(serial_log.value, PathBuf::from("/east.log"));
    }

    #[test]
    fn two_answers_to_one_question_are_both_kept_for_the_complaint() {
        let both = environment(&[(SPICE, "h:1"), (VV, "/a.vv"), (PASSWORD, "a"), (PASSWORD_FILE, "/b")]);
        let settings = AttachSettings::resolve(&profile(), &both);
        assert_eq!(origins(&settings), ["BACKSTAFF_SPICE", "BACKSTAFF_VV"]);
        assert_eq!(settings.passwords.len(), 2);
    }

    #[test]
    fn what_the_profile_says_about_a_console_goes_with_its_console() {
        let profile = AttachProfile {
            spice: Some(Address("spice+tls://east:1".to_owned())),
            ca: Some("/east.pem".to_owned()),
            host_subject: Some("CN=east".to_owned()),
            password_file: Some("/east.ticket".to_owned()),
            ..profile()
        };
        let settings = AttachSettings::resolve(&profile, &environment(&[(HOST_SUBJECT, "CN=west")]));
        assert_eq!(settings.ca.unwrap().value, PathBuf::from("/east.pem"));
        assert_eq!(settings.host_subject.unwrap().value, "CN=west");
        let [password] = &*settings.passwords else { panic!("{:?}", settings.passwords) };
        assert_eq!(password.origin.to_string(), "`password_file` under `[attach]`");
        let settings = AttachSettings::resolve(&profile, &environment(&[(PASSWORD, "x")]));
        assert_eq!(settings.passwords.len(), 1, "the environment wins");
        let other = environment(&[(SPICE, "spice+tls://west:1"), (CA, "/west.pem")]);
        let settings = AttachSettings::resolve(&profile, &other);
        assert_eq!(settings.ca.unwrap().value, PathBuf::from("/west.pem"));
        assert!(settings.host_subject.is_none() && settings.passwords.is_empty());
    }

    #[test]
    fn no_secret_prints() {
        let variables = [
            (SPICE, "spice://h:1?password=hunter2"),
            (PASSWORD, "hunter3"),
            (PROXY, "http://me:hunter4@proxy"),
        ];
        let environment = environment(&variables);
        let settings = AttachSettings::resolve(&profile(), &environment);
        let printed = format!("{environment:?} {settings:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }
}
