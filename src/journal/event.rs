//! The shapes of events. On disk each is one JSON object:
//! `{"seq":7,"t_ns":1200345,"wall":"…","source":"digest","event":"digest_record","data":{…}}`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use visual_digest::{ChannelHashes, Digest, Record, UnknownRecord};

use super::run::FailureNote;

/// One entry of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// Monotonic nanoseconds since the attempt began.
    pub t_ns: u64,
    /// Wall clock when it was appended.
    pub wall: Timestamp,
    /// Which stream it belongs to.
    pub source: Source,
    /// What the scenario calls the lane it is about, when the scenario has several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<Arc<str>>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// A digest as far as a console tells it. One that was read from the screen has everything; a control socket tells no
/// channel hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedDigest {
    /// Which refresh since boot, from 1.
    pub frame_counter: u32,
    /// One hash per channel over everything since boot, if they were told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub channel_hashes: Option<ChannelHashes>,
    /// The newest records, oldest first.
    pub raw_records: Vec<Record>,
    /// Records of kinds this version does not know, if they were told.
    pub unknown_records: Vec<UnknownRecord>,
    /// What the digest says of the screen around it.
    pub framebuffer_hash: u32,
}

impl From<Digest> for ObservedDigest {
    fn from(digest: Digest) -> Self {
        let Digest { frame_counter, channel_hashes, raw_records, unknown_records, framebuffer_hash } = digest;
        Self {
            frame_counter,
            channel_hashes: Some(channel_hashes),
            raw_records,
            unknown_records,
            framebuffer_hash,
        }
    }
}

/// The streams. Waits keep one cursor per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Attempts, retries, cancellation.
    Runner,
    /// The machine: states, gates, its end.
    Lane,
    /// QMP events.
    Qmp,
    /// Lines on the serial port.
    Serial,
    /// Surfaces and draws.
    Screen,
    /// Decoded digests and their records.
    Digest,
    /// Keys sent, and the lights of the keyboard.
    Keyboard,
    /// Steps, waits, expectations, what the script logged.
    Script,
    /// The guest's agent and the clipboards.
    Agent,
}

impl Source {
    /// All streams, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Runner,
        Self::Lane,
        Self::Qmp,
        Self::Serial,
        Self::Screen,
        Self::Digest,
        Self::Keyboard,
        Self::Script,
        Self::Agent,
    ];

    /// Whether each lane of an attempt has such a stream of its own.
    pub fn is_of_lanes(self) -> bool {
        !matches!(self, Self::Runner | Self::Script)
    }
}

/// What happened. Readers of journals on disk must expect names they do not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Body {
    /// The first event of every attempt.
    AttemptBegan {
        /// The scenario's name.
        scenario: String,
        /// The script's path as it was given.
        file: String,
        /// Line of the `scenario(…)` call.
        line: u32,
        /// The lane's name.
        lane: String,
        /// 1 for the first try.
        attempt: u32,
    },
    /// The last event of every attempt.
    AttemptEnded {
        /// The verdict's class: `passed`, `failed`, `error`, `lane_failed`, `timed_out`, `skipped`.
        verdict: String,
        /// Why, when it did not pass.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
        /// The same in parts.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failure: Option<Box<FailureNote>>,
    },
    /// This process got no processor for a while, and neither may the lane have.
    HostStalled {
        /// Milliseconds.
        stalled_ms: u64,
    },
    /// A lane entered a state: `starting`, `attaching`, `waiting` (for a gate), `ready`, `stopping`, `down`.
    LaneState {
        /// The state's name.
        state: String,
        /// More for people.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// How acceleration was decided.
    Acceleration {
        /// What the profile asked for.
        requested: String,
        /// What the machine runs with.
        resolved: String,
        /// Why.
        why: String,
    },
    /// A readiness gate passed or failed.
    Gate {
        /// The gate's kind, e.g. `spice-surface`.
        gate: String,
        /// Whether it was reached.
        passed: bool,
        /// Milliseconds spent at this gate.
        waited_ms: u64,
        /// What was seen instead, when it was not reached.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seen: Option<String>,
    },
    /// The machine ended.
    LaneEnded {
        /// How: see `lane::LaneEnd`.
        how: String,
        /// Whether the guest ended it (powered off) rather than the host.
        by_guest: bool,
    },
    /// How the lane was taken down.
    Teardown {
        /// The rung of the ladder that worked; `left_running` for a machine of somebody else's.
        rung: String,
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// Where a lane's machine came from: `restored`, `booted` (and why, where a restore was to be expected), `saved`,
    /// `not_saved`, `verified`.
    Warm {
        /// What happened.
        outcome: String,
        /// Which saved machine: the first characters of its key.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
        /// Why, or what differs.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        why: Option<String>,
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// The script did something to its machine: `pause`, `resume`, `reset`, `powerdown`, `qmp`, `snapshot`, `restore`.
    LaneCommand {
        /// What.
        command: String,
        /// The QMP command, or the snapshot's name.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
        /// Milliseconds it took.
        took_ms: u64,
        /// Why it was not done.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
    },
    /// Something goes wrong on purpose.
    Fault {
        /// Which, in the words of profiles and scenarios: `drop_key = 1`.
        fault: String,
        /// `injected`, `begun` (when that was to be later), `struck` (a key or line), `over`, `cleared`, `failed`.
        state: String,
        /// What it struck, or why it failed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// What the machine says from here on it says from an earlier point: from a snapshot, or from its beginning.
    PutBack {
        /// The snapshot's name; none for a reset.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        snapshot: Option<String>,
        /// The hashes of the digest that was seen last before the snapshot.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hashes: Option<ChannelHashes>,
    },
    /// An event QEMU sent over QMP.
    QmpEvent {
        /// QEMU's name, e.g. `SHUTDOWN`.
        name: String,
        /// QEMU's data.
        data: serde_json::Value,
    },
    /// A line on the serial port, without its line end.
    SerialLine {
        /// The text; bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// A line on the serial port that has begun and rests, as a prompt does. When it ends, it comes again as a
    /// `serial_line`.
    SerialPrompt {
        /// The text so far.
        text: String,
    },
    /// The console is connected.
    ConsoleConnected {
        /// The channels that were opened, e.g. `display:0`.
        channels: Vec<String>,
    },
    /// The console closed.
    ConsoleClosed {
        /// Why, as far as known.
        reason: String,
    },
    /// A surface appeared or changed its size.
    SurfaceCreated {
        /// Surface id; 0 is the primary one.
        surface_id: u32,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A surface is gone.
    SurfaceDestroyed {
        /// Surface id.
        surface_id: u32,
    },
    /// Draws, coalesced: `draws` of them within a few milliseconds.
    SurfaceDrawn {
        /// Surface id.
        surface_id: u32,
        /// How many draw messages.
        draws: u32,
        /// Bounding box: left, top, right, bottom.
        area: [u32; 4],
    },
    /// Something the console's server said or did that we cannot draw or do.
    ConsoleNotice {
        /// For people.
        text: String,
    },
    /// A digest with a new frame counter was decoded.
    DigestUpdated {
        /// The digest as it was on the screen.
        #[serde(flatten)]
        digest: Arc<ObservedDigest>,
        /// `matches`, `differs`, `unsettled` while draws were still arriving, or `unknown` when the console told the digest
        /// and nobody looked at the pixels.
        framebuffer: String,
        /// How many of `raw_records`, from the end, were not in an earlier digest.
        new_records: usize,
        /// Channels with records that came and left between the previous digest and this one, unseen.
        missed: Vec<String>,
        /// Whether the guest began anew since the previous digest.
        restarted: bool,
    },
    /// A record that was seen for the first time.
    DigestRecord {
        /// The record.
        #[serde(flatten)]
        record: Record,
        /// The digest in which it was seen first.
        frame_counter: u32,
    },
    /// The later judgement of a digest that was `unsettled` when it was decoded.
    DigestFramebuffer {
        /// Which digest.
        frame_counter: u32,
        /// `matches` or `differs`.
        framebuffer: String,
    },
    /// A key went down or up.
    KeySent {
        /// AT set 1 make code, extended ones as 0xE0cc.
        code: u16,
        /// The key's name, when it has one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
        /// `down`, `up` or `press`.
        action: String,
    },
    /// The guest's lock lights are like this from now on.
    KeyboardLeds {
        /// Caps lock.
        caps: bool,
        /// Num lock.
        num: bool,
        /// Scroll lock.
        scroll: bool,
    },
    /// The guest was asked for these lock lights.
    LedsSent {
        /// Caps lock.
        caps: bool,
        /// Num lock.
        num: bool,
        /// Scroll lock.
        scroll: bool,
    },
    /// The mouse did something.
    MouseSent {
        /// `move`, `move_by`, `click`, `down`, `up`, `drag` or `scroll`.
        action: String,
        /// Where to, by how much, or which button.
        detail: String,
    },
    /// The guest's agent is `connected`, `announced` or `disconnected`.
    AgentState {
        /// Which.
        state: String,
        /// What it can do, as it announced.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        capabilities: Vec<String>,
    },
    /// Something happened to a clipboard: `copied` (we offer text), `taken` (the guest has asked for it), `offered` (the
    /// guest offers something), `withdrawn` (it does not any more), `fetched` (we have got it), `not_fetched`. What is in
    /// it is never recorded: it may be a secret.
    Clipboard {
        /// What happened.
        action: String,
        /// `clipboard`, `primary` or `secondary`.
        selection: String,
        /// As what the guest offers it: `text`, `png`, ….
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        kinds: Vec<String>,
        /// How much.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        bytes: Option<u64>,
        /// `sha256:<hex>` of it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hash: Option<String>,
        /// Why it was not fetched.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        why: Option<String>,
    },
    /// The guest was asked for another size of its screen.
    ResizeSent {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The guest's agent did what it was told, or could not.
    AgentReplied {
        /// The type of the message: 2 for a size.
        to: u32,
        /// Whether it did.
        is_done: bool,
    },
    /// Text was typed. The text itself is never recorded: it may be a secret.
    TextTyped {
        /// Characters.
        chars: u32,
        /// Milliseconds from the first key to the last.
        took_ms: u64,
    },
    /// A step began.
    StepBegan {
        /// Names from the outermost step inwards.
        path: Vec<String>,
        /// Seconds it may take.
        timeout_s: f64,
        /// Line of the call.
        line: u32,
    },
    /// A step ended.
    StepEnded {
        /// Names from the outermost step inwards.
        path: Vec<String>,
        /// Whether it ended without an error.
        passed: bool,
        /// Milliseconds.
        took_ms: u64,
    },
    /// A wait began.
    WaitBegan {
        /// Identifies the wait within the attempt.
        wait: u32,
        /// The call, e.g. `digest:wait_for`.
        call: String,
        /// What is waited for.
        wanted: String,
        /// Seconds until its deadline.
        timeout_s: f64,
        /// Line of the call.
        line: u32,
    },
    /// A wait ended.
    WaitEnded {
        /// Which.
        wait: u32,
        /// `matched`, `timeout`, `machine_ended`, `cancelled`.
        outcome: String,
        /// The event that matched.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        matched: Option<u64>,
        /// Milliseconds.
        took_ms: u64,
        /// How many processes wanted to run on this host for each of its processors: 1 is busy, more is crowded.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        host_load: Option<f64>,
        /// How much of the time in which the machine wanted a processor it had one during the wait, from 0 to 1.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lane_speed: Option<f64>,
    },
    /// A verdict on a value.
    Expectation {
        /// What was expected.
        what: String,
        /// Whether it held.
        passed: bool,
        /// The difference, when it did not.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        difference: Option<String>,
        /// Line of the call.
        line: u32,
    },
    /// A background check `begun`, was `violated`, or came to its end in order (`over`).
    Always {
        /// Its name.
        name: String,
        /// Which.
        state: String,
        /// What violated it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
        /// Line of the call.
        line: u32,
    },
    /// What the script had put off to its end was done.
    Deferred {
        /// Milliseconds.
        took_ms: u64,
        /// Why it did not succeed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
        /// Line of the call.
        line: u32,
    },
    /// The script warned of something; no verdict.
    Warning {
        /// The text.
        message: String,
        /// Line of the call.
        line: u32,
    },
    /// A screenshot was written.
    Screenshot {
        /// Path relative to the attempt's folder.
        path: String,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A file was attached.
    Attachment {
        /// The name the script gave.
        name: String,
        /// Path relative to the attempt's folder.
        path: String,
    },
    /// The script said something.
    Log {
        /// The text.
        message: String,
    },
    /// Events of a stream were not kept because there were too many.
    Dropped {
        /// Which stream.
        stream: Source,
        /// How many.
        count: u64,
    },
}

impl Body {
    /// Returns the event's name as it appears on disk.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AttemptBegan { .. } => "attempt_began",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::LaneState { .. } => "lane_state",
            Self::Acceleration { .. } => "acceleration",
            Self::Gate { .. } => "gate",
            Self::LaneEnded { .. } => "lane_ended",
            Self::Teardown { .. } => "teardown",
            Self::Warm { .. } => "warm",
            Self::LaneCommand { .. } => "lane_command",
            Self::PutBack { .. } => "put_back",
            Self::QmpEvent { .. } => "qmp_event",
            Self::SerialLine { .. } => "serial_line",
            Self::SerialPrompt { .. } => "serial_prompt",
            Self::ConsoleConnected { .. } => "console_connected",
            Self::ConsoleClosed { .. } => "console_closed",
            Self::SurfaceCreated { .. } => "surface_created",
            Self::SurfaceDestroyed { .. } => "surface_destroyed",
            Self::SurfaceDrawn { .. } => "surface_drawn",
            Self::ConsoleNotice { .. } => "console_notice",
            Self::DigestUpdated { .. } => "digest_updated",
            Self::DigestRecord { .. } => "digest_record",
            Self::DigestFramebuffer { .. } => "digest_framebuffer",
            Self::KeySent { .. } => "key_sent",
            Self::KeyboardLeds { .. } => "keyboard_leds",
            Self::LedsSent { .. } => "leds_sent",
            Self::AgentState { .. } => "agent_state",
            Self::Clipboard { .. } => "clipboard",
            Self::ResizeSent { .. } => "resize_sent",
            Self::AgentReplied { .. } => "agent_replied",
            Self::MouseSent { .. } => "mouse_sent",
            Self::TextTyped { .. } => "text_typed",
            Self::StepBegan { .. } => "step_began",
            Self::StepEnded { .. } => "step_ended",
            Self::WaitBegan { .. } => "wait_began",
            Self::WaitEnded { .. } => "wait_ended",
            Self::Expectation { .. } => "expectation",
            Self::Always { .. } => "always",
            Self::Deferred { .. } => "deferred",
            Self::Warning { .. } => "warning",
            Self::HostStalled { .. } => "host_stalled",
            Self::Screenshot { .. } => "screenshot",
            Self::Attachment { .. } => "attachment",
            Self::Log { .. } => "log",
            Self::Dropped { .. } => "dropped",
            Self::Fault { .. } => "fault",
        }
    }
}
