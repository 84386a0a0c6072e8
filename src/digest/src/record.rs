//! What may happen to a guest, and how one such record looks on the wire.

use crate::crc32c;
use core::fmt;

/// Where the guest is in its story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Phase {
    /// A cursor blinks; any key goes on.
    Awaiting,
    /// The boot script, the locked bootloader and what follows it.
    Booting,
    /// The end of the story; any key powers off.
    Parked,
    /// The repeated updates of newer guests, between awaiting and booting.
    StreamExercise,
}

impl Phase {
    /// Every phase, in wire order (which is not the order of the story).
    pub const ALL: [Self; 4] = [Self::Awaiting, Self::Booting, Self::Parked, Self::StreamExercise];

    /// Returns the byte on the wire.
    pub const fn wire(self) -> u8 {
        match self {
            Self::Awaiting => 0x00,
            Self::Booting => 0x01,
            Self::Parked => 0x02,
            Self::StreamExercise => 0x03,
        }
    }

    /// Returns the phase with this byte on the wire.
    pub fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.wire() == byte)
    }

    /// Returns the name used in JSON and on the serial port, such as `stream_exercise`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Awaiting => "awaiting",
            Self::Booting => "booting",
            Self::Parked => "parked",
            Self::StreamExercise => "stream_exercise",
        }
    }

    /// Returns the phase of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The answer to the locked bootloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Choice {
    /// Ask again after a while.
    Retry,
    /// Go on to the paste prompt.
    Ignore,
    /// Reset the machine.
    Abort,
}

impl Choice {
    /// Every choice, in wire order.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Ignore, Self::Abort];

    /// Returns the byte on the wire.
    pub const fn wire(self) -> u8 {
        match self {
            Self::Retry => 0x00,
            Self::Ignore => 0x01,
            Self::Abort => 0x02,
        }
    }

    /// Returns the choice with this byte on the wire.
    pub fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.wire() == byte)
    }

    /// Returns the name used in JSON and on the serial port.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Ignore => "ignore",
            Self::Abort => "abort",
        }
    }

    /// Returns the choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One kind of record; each has a hash of its own that covers every such record since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Channel {
    /// Keys that reached the guest.
    Keypress,
    /// Lines of text the guest drew.
    LineRendered,
    /// Steps of the story.
    SceneTransition,
    /// Answers to the locked bootloader.
    BootloaderDecision,
    /// Verdicts on pasted text.
    PasteReceived,
    /// The bootloader gave up.
    BootloaderTimeout,
    /// Changes of the graphics mode.
    ModeSwitch,
    /// Walks through all graphics modes.
    ModeCycle,
}

impl Channel {
    /// Every channel, in the order of the hash block.
    pub const ALL: [Self; 8] = [
        Self::Keypress,
        Self::LineRendered,
        Self::SceneTransition,
        Self::BootloaderDecision,
        Self::PasteReceived,
        Self::BootloaderTimeout,
        Self::ModeSwitch,
        Self::ModeCycle,
    ];

    /// Returns the tag of a raw record of this channel, 0x01 to 0x08.
    pub const fn record_tag(self) -> u8 {
        match self {
            Self::Keypress => 0x01,
            Self::LineRendered => 0x02,
            Self::SceneTransition => 0x03,
            Self::BootloaderDecision => 0x04,
            Self::PasteReceived => 0x05,
            Self::BootloaderTimeout => 0x06,
            Self::ModeSwitch => 0x07,
            Self::ModeCycle => 0x08,
        }
    }

    /// Returns the tag of this channel's hash, 0x11 to 0x18.
    pub const fn hash_tag(self) -> u8 {
        self.record_tag() + 0x10
    }

    /// Returns the channel of a raw record's tag.
    pub fn from_record_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.record_tag() == tag)
    }

    /// Returns the length of the value of this channel's records on the wire, 8 to 16 bytes.
    pub const fn value_len(self) -> u8 {
        match self {
            Self::Keypress => 12,
            Self::LineRendered | Self::SceneTransition => 10,
            Self::BootloaderDecision | Self::ModeCycle => 13,
            Self::PasteReceived => 11,
            Self::BootloaderTimeout => 8,
            Self::ModeSwitch => 16,
        }
    }

    /// Returns the name used in JSON, such as `line_rendered`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keypress => "keypress",
            Self::LineRendered => "line_rendered",
            Self::SceneTransition => "scene_transition",
            Self::BootloaderDecision => "bootloader_decision",
            Self::PasteReceived => "paste_received",
            Self::BootloaderTimeout => "bootloader_timeout",
            Self::ModeSwitch => "mode_switch",
            Self::ModeCycle => "mode_cycle",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happened to the guest.
///
/// `timestamp_ms` is the guest's own clock: it counts the guest's waits since boot and never goes backwards. The wire
/// keeps the low 16 bits only of the code point, the row, the paste length and the four mode sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Record {
    /// A key reached the guest.
    Keypress {
        /// The character; U+0000 for a special key.
        unicode: char,
        /// The UEFI scan code; 0 for a key with a character.
        scancode: u16,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// A line of text was drawn.
    LineRendered {
        /// The text row, from 0.
        row: u32,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// The story went on.
    SceneTransition {
        /// The phase that ended.
        from: Phase,
        /// The phase that began.
        to: Phase,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// The locked bootloader was answered.
    BootloaderDecision {
        /// The answer.
        choice: Choice,
        /// Which display of the prompt was answered, from 1.
        attempt: u32,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// A pasted text was judged.
    PasteReceived {
        /// Its length in bytes.
        len: u32,
        /// Whether it was the expected one.
        correct: bool,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// The bootloader gave up waiting.
    BootloaderTimeout {
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// The graphics mode was changed.
    ModeSwitch {
        /// The width asked for, in pixels.
        requested_w: u32,
        /// The height asked for, in pixels.
        requested_h: u32,
        /// The width obtained, in pixels.
        applied_w: u32,
        /// The height obtained, in pixels.
        applied_h: u32,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
    /// A walk through all graphics modes ended.
    ModeCycle {
        /// How many switches were done.
        count: u32,
        /// Whether a key stopped it.
        interrupted: bool,
        /// When, in milliseconds of guest time.
        timestamp_ms: u64,
    },
}

impl Record {
    /// Returns the channel this record belongs to.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Keypress { .. } => Channel::Keypress,
            Self::LineRendered { .. } => Channel::LineRendered,
            Self::SceneTransition { .. } => Channel::SceneTransition,
            Self::BootloaderDecision { .. } => Channel::BootloaderDecision,
            Self::PasteReceived { .. } => Channel::PasteReceived,
            Self::BootloaderTimeout { .. } => Channel::BootloaderTimeout,
            Self::ModeSwitch { .. } => Channel::ModeSwitch,
            Self::ModeCycle { .. } => Channel::ModeCycle,
        }
    }

    /// Returns when it happened, in milliseconds of guest time.
    pub const fn timestamp_ms(&self) -> u64 {
        match *self {
            Self::Keypress { timestamp_ms, .. }
            | Self::LineRendered { timestamp_ms, .. }
            | Self::SceneTransition { timestamp_ms, .. }
            | Self::BootloaderDecision { timestamp_ms, .. }
            | Self::PasteReceived { timestamp_ms, .. }
            | Self::BootloaderTimeout { timestamp_ms }
            | Self::ModeSwitch { timestamp_ms, .. }
            | Self::ModeCycle { timestamp_ms, .. } => timestamp_ms,
        }
    }

    /// Returns the variant's name in JSON, which is the name of its channel.
    pub const fn name(&self) -> &'static str {
        self.channel().name()
    }

    /// Returns the record as it stands in the raw region and under its channel's hash: tag, length, value.
    pub fn encode(&self) -> EncodedRecord {
        let mut out = EncodedRecord::begin(self.channel(), self.timestamp_ms());
        match *self {
            Self::Keypress { unicode, scancode, .. } => {
                out.push(&low_16(u32::from(unicode)));
                out.push(&scancode.to_le_bytes());
            }
            Self::LineRendered { row, .. } => out.push(&low_16(row)),
            Self::SceneTransition { from, to, .. } => out.push(&[from.wire(), to.wire()]),
            Self::BootloaderDecision { choice, attempt, .. } => {
                out.push(&[choice.wire()]);
                out.push(&attempt.to_le_bytes());
            }
            Self::PasteReceived { len, correct, .. } => {
                out.push(&low_16(len));
                out.push(&[u8::from(correct)]);
            }
            Self::BootloaderTimeout { .. } => {}
            Self::ModeSwitch { requested_w, requested_h, applied_w, applied_h, .. } => {
                for size in [requested_w, requested_h, applied_w, applied_h] {
                    out.push(&low_16(size));
                }
            }
            Self::ModeCycle { count, interrupted, .. } => {
                out.push(&count.to_le_bytes());
                out.push(&[u8::from(interrupted)]);
            }
        }
        out
    }
}

/// A record on the wire: 10 to 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl EncodedRecord {
    /// The size of the largest record, a mode switch.
    pub const MAX: usize = 18;

    /// Nothing yet; a place to put a record.
    pub(crate) const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    fn begin(channel: Channel, timestamp_ms: u64) -> Self {
        let mut out = Self::EMPTY;
        out.push(&[channel.record_tag(), channel.value_len()]);
        out.push(&timestamp_ms.to_le_bytes());
        out
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Returns tag, length and value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for EncodedRecord {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The eight channel hashes: for each channel the CRC32C of all its encoded records since boot, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChannelHashes {
    /// Hash of [`Channel::Keypress`].
    pub keypress: u32,
    /// Hash of [`Channel::LineRendered`].
    pub line_rendered: u32,
    /// Hash of [`Channel::SceneTransition`].
    pub scene_transition: u32,
    /// Hash of [`Channel::BootloaderDecision`].
    pub bootloader_decision: u32,
    /// Hash of [`Channel::PasteReceived`].
    pub paste_received: u32,
    /// Hash of [`Channel::BootloaderTimeout`].
    pub bootloader_timeout: u32,
    /// Hash of [`Channel::ModeSwitch`].
    pub mode_switch: u32,
    /// Hash of [`Channel::ModeCycle`].
    pub mode_cycle: u32,
}

impl ChannelHashes {
    /// Adds a record to the hash of its channel.
    pub fn extend(&mut self, record: &Record) {
        let hash = self.slot(record.channel());
        *hash = crc32c::extend(*hash, record.encode().as_bytes());
    }

    /// Returns the hash of one channel; 0 when nothing happened there.
    pub const fn get(&self, channel: Channel) -> u32 {
        match channel {
            Channel::Keypress => self.keypress,
            Channel::LineRendered => self.line_rendered,
            Channel::SceneTransition => self.scene_transition,
            Channel::BootloaderDecision => self.bootloader_decision,
            Channel::PasteReceived => self.paste_received,
            Channel::BootloaderTimeout => self.bootloader_timeout,
            Channel::ModeSwitch => self.mode_switch,
            Channel::ModeCycle => self.mode_cycle,
        }
    }

    pub(crate) fn slot(&mut self, channel: Channel) -> &mut u32 {
        match channel {
            Channel::Keypress => &mut self.keypress,
            Channel::LineRendered => &mut self.line_rendered,
            Channel::SceneTransition => &mut self.scene_transition,
            Channel::BootloaderDecision => &mut self.bootloader_decision,
            Channel::PasteReceived => &mut self.paste_received,
            Channel::BootloaderTimeout => &mut self.bootloader_timeout,
            Channel::ModeSwitch => &mut self.mode_switch,
            Channel::ModeCycle => &mut self.mode_cycle,
        }
    }
}

/// Returns the low 16 bits, little-endian: the narrowing the format asks for.
fn low_16(value: u32) -> [u8; 2] {
    let [a, b, _, _] = value.to_le_bytes();
    [a, b]
}
