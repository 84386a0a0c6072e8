//! What a scenario holds of a lane: endpoints and the news of its end, never the means to provision it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::control::MachineControl;
use super::sim::Faults;
use super::speed::SpeedProbe;
use super::standstill::Standstill;
use crate::console::Console;

/// A running lane, seen from a scenario. A clone is another handle to the same machine.
#[derive(Clone)]
pub struct LaneHandle {
    /// The profile's name.
    pub name: String,
    /// What this lane can do.
    pub capabilities: BTreeSet<Capability>,
    /// Its keyboard and screen, when it has any.
    pub console: Option<Arc<dyn Console>>,
    /// What else can be done to the machine, when its monitor answers.
    pub control: Option<MachineControl>,
    /// What can be made to go wrong, where the lane is simulated.
    pub faults: Option<Faults>,
    /// What makes the machine stand still, where that is possible.
    pub standstill: Option<Standstill>,
    /// Whose processor time tells how fast the machine goes, where that is a process of ours.
    pub speed: Option<SpeedProbe>,
    /// What QEMU itself has to say, when it is ours: a file that grows.
    pub qemu_log: Option<PathBuf>,
    /// Set once, after everything the machine said before its end is in the journal.
    pub ended: watch::Receiver<Option<LaneEnd>>,
}

impl LaneHandle {
    /// A lane without a machine, for scenarios that need none. It has no capabilities and does not end.
    pub fn none(name: &str) -> Self {
        static NEVER: OnceLock<watch::Sender<Option<LaneEnd>>> = OnceLock::new();
        Self {
            name: name.to_owned(),
            capabilities: BTreeSet::new(),
            console: None,
            control: None,
            faults: None,
            standstill: None,
            speed: None,
            qemu_log: None,
            ended: NEVER.get_or_init(|| watch::Sender::new(None)).subscribe(),
        }
    }
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneEnd {
    /// Who ended it.
    pub class: EndClass,
    /// For people: exit status or signal, and QEMU's last words if it had any.
    pub how: String,
}

/// Who ended a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndClass {
    /// The guest powered off.
    GuestShutdown,
    /// The guest reset, and the lane ends with a reset.
    GuestReset,
    /// A machine of somebody else's closed its console in order, and nothing tells more: as a rule it powered off, but it
    /// may have been ended from outside, or another client may have taken the console over.
    Closed,
    /// QEMU was killed, crashed or refused: the host's matter.
    Host,
    /// The lane was taken down by us.
    TakenDown,
}

impl EndClass {
    /// Whether the guest itself ended the machine, as far as anybody can tell.
    pub fn by_guest(self) -> bool {
        matches!(self, Self::GuestShutdown | Self::GuestReset | Self::Closed)
    }
}

/// Something a scenario can need of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// There is a wire to an agent in the guest.
    Agent,
    /// The guest paints a visual digest.
    Digest,
    /// Things can be made to go wrong.
    Faults,
    /// Keys can be sent.
    Keyboard,
    /// A mouse can be moved and clicked.
    Mouse,
    /// QEMU's monitor answers.
    Qmp,
    /// The screen can be seen.
    Screen,
    /// The first serial port is recorded.
    Serial,
    /// The machine can be saved and put back.
    Snapshot,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Agent,
        Self::Digest,
        Self::Faults,
        Self::Keyboard,
        Self::Mouse,
        Self::Qmp,
        Self::Screen,
        Self::Serial,
        Self::Snapshot,
    ];

    /// The name used in `needs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Keyboard => "keyboard",
            Self::Mouse => "mouse",
            Self::Screen => "screen",
            Self::Digest => "digest",
            Self::Faults => "faults",
            Self::Serial => "serial",
            Self::Qmp => "qmp",
            Self::Snapshot => "snapshot",
        }
    }

    /// Finds a capability by the name used in `needs`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
