//! What can be made to go wrong on a simulated lane, in the words that profiles and scenarios share. Pure.
//!
//! A fault is written as a table: one key says which fault it is ([`FaultWords`] lists them first), others say more about
//! it. [`FaultWords::fault`] tells whether they go together.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The keys of a fault as written: one of the first nine, and what goes with it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is described where it ends up, in `FaultKind`")]
pub struct FaultWords {
    pub drop_key: Option<u32>,
    pub duplicate_key: Option<u32>,
    pub lose_line: Option<u32>,
    pub flip_pixel: Option<(u32, u32)>,
    pub delay: Option<Duration>,
    pub throttle: Option<u32>,
    pub stall: Option<FaultChannel>,
    pub cut: Option<FaultChannel>,
    pub malform: Option<FaultChannel>,
    pub every: Option<bool>,
    pub count: Option<u32>,
    pub matching: Option<String>,
    pub xor: Option<u32>,
    pub once: Option<bool>,
    pub channel: Option<FaultChannel>,
    pub after: Option<Duration>,
    pub seconds: Option<Duration>,
}

/// A fault that can be.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// `after`: how long after it was asked for it begins.
    pub after: Duration,
    /// `seconds`: for how long it lasts; none: until it is cleared.
    pub lasts: Option<Duration>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// `drop_key`: a key does not reach the guest.
    DropKey(Occurrences),
    /// `duplicate_key`: a key reaches the guest twice.
    DuplicateKey(Occurrences),
    /// `lose_line`: a serial line is not said.
    LoseLine {
        /// Of the lines that match.
        which: Occurrences,
        /// `matching`: a regular expression, searched anywhere in the line; none: every line counts.
        matching: Option<regex_lite::Regex>,
    },
    /// `flip_pixel`: a pixel is shown otherwise than it was drawn.
    FlipPixel {
        /// From the left edge.
        x: u32,
        /// From the top edge.
        y: u32,
        /// `xor`: the bits of its colour that are flipped, `0xRRGGBB`.
        xor: u32,
        /// `once`: it is right again when the guest draws there.
        once: bool,
    },
    /// `delay`: what is said arrives so much later.
    Delay {
        /// How much.
        by: Duration,
        /// `channel`: where; none: everywhere.
        channel: Option<FaultChannel>,
    },
    /// `throttle`: no more than so many bytes are said per second.
    Throttle {
        /// How many.
        bytes_per_second: std::num::NonZeroU32,
        /// `channel`: where; none: on each.
        channel: Option<FaultChannel>,
    },
    /// `stall`: a channel says and takes nothing.
    Stall(FaultChannel),
    /// `cut`: a channel is closed.
    Cut(FaultChannel),
    /// `malform`: a message comes that is not what its type says.
    Malform(FaultChannel),
}

/// Which of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrences {
    /// The first one, from 1.
    pub nth: u32,
    /// `every`: every nth one; otherwise the nth and those right after it.
    pub every: bool,
    /// `count`: how many in all; none: for ever.
    pub count: Option<u32>,
}

/// A channel of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "SPICE's own names")]
pub enum FaultChannel {
    Main,
    Display,
    Inputs,
    Cursor,
}

impl FaultChannel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Main, Self::Display, Self::Inputs, Self::Cursor];

    /// The word used in profiles and scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Display => "display",
            Self::Inputs => "inputs",
            Self::Cursor => "cursor",
        }
    }
}

/// Words that make no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultMistake {
    /// Nothing says which fault it is.
    #[error("names no fault")]
    Nothing,
    /// Two keys do.
    #[error("`{0}` and `{1}` are two faults")]
    Several(&'static str, &'static str),
    /// A key that says nothing about this fault.
    #[error("`{key}` does not go with `{fault}`")]
    Foreign {
        /// The key.
        key: &'static str,
        /// The fault.
        fault: &'static str,
    },
    /// A value beyond its range, or of the wrong form.
    #[error("`{key}` is {got:?}, wanted {wanted}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        wanted: String,
    },
}

impl FaultMistake {
    /// The key that is wrong, or is one too many.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Several(_, key) | Self::Foreign { key, .. } | Self::BadValue { key, .. } => Some(key),
        }
    }

    /// What to write instead, where the message does not say it.
    pub fn hint(&self) -> Option<String> {
        let faults = || FAULTS.map(|(name, _)| format!("`{name}`")).join(", ");
        match self {
            Self::Nothing => Some(format!("one of {}", faults())),
            Self::Several(..) => Some("one fault at a time: inject them one after the other".to_owned()),
            Self::Foreign { fault, .. } => {
                let (_, goes_with) = FAULTS.into_iter().find(|(name, _)| name == fault)?;
                let words = goes_with.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                Some(format!("with `{fault}` go {words}"))
            }
            Self::BadValue { .. } => None,
        }
    }
}

/// The keys that say which fault it is, each with those that say more about it.
const FAULTS: [(&str, &[&str]); 9] = [
    ("drop_key", &["every", "count", "after", "seconds"]),
    ("duplicate_key", &["every", "count", "after", "seconds"]),
    ("lose_line", &["every", "count", "matching", "after", "seconds"]),
    ("flip_pixel", &["xor", "once", "after", "seconds"]),
    ("delay", &["channel", "after", "seconds"]),
    ("throttle", &["channel", "after", "seconds"]),
    ("stall", &["after", "seconds"]),
    ("cut", &["after"]),
    ("malform", &["after"]),
];

/// The longest delay.
pub const MOST_DELAY: Duration = Duration::from_secs(60);
/// The longest `after` and `seconds`.
pub const MOST_SECONDS: Duration = Duration::from_secs(86_400);
/// The largest number of a key or line.
pub const MOST_NTH: u32 = 1_000_000;
/// The widest throttle, in bytes per second.
pub const MOST_RATE: u32 = 1_000_000_000;
/// The largest coordinate of a pixel.
pub const MOST_COORDINATE: u32 = 16_383;
/// All bits of a colour.
pub const MOST_XOR: u32 = 0x00ff_ffff;

impl FaultWords {
    /// The fault that the words amount to. Whole numbers were checked for their ranges.
    ///
    /// # Errors
    /// They amount to none.
    pub fn fault(self) -> Result<Fault, FaultMistake> {
        let mut named = FAULTS.into_iter().filter(|(name, _)| self.has(name));
        let (fault, goes_with) = named.next().ok_or(FaultMistake::Nothing)?;
        if let Some((second, _)) = named.next() {
            return Err(FaultMistake::Several(fault, second));
        }
        let more = ["every", "count", "matching", "xor", "once", "channel", "after", "seconds"];
        if let Some(key) = more.into_iter().find(|key| self.has(key) && !goes_with.contains(key)) {
            return Err(FaultMistake::Foreign { key, fault });
        }
        let least = Duration::from_millis(1);
        within("delay", self.delay, least, MOST_DELAY)?;
        within("after", self.after, Duration::ZERO, MOST_SECONDS)?;
        within("seconds", self.seconds, least, MOST_SECONDS)?;
        let (after, lasts) = (self.after.unwrap_or_default(), self.seconds);
        Ok(Fault { kind: self.kind()?, after, lasts })
    }

    fn has(&self, key: &str) -> bool {
        match key {
            "drop_key" => self.drop_key.is_some(),
            "duplicate_key" => self.duplicate_key.is_some(),
            "lose_line" => self.lose_line.is_some(),
            "flip_pixel" => self.flip_pixel.is_some(),
            "delay" => self.delay.is_some(),
            "throttle" => self.throttle.is_some(),
            "stall" => self.stall.is_some(),
            "cut" => self.cut.is_some(),
            "malform" => self.malform.is_some(),
            "every" => self.every.is_some(),
            "count" => self.count.is_some(),
            "matching" => self.matching.is_some(),
            "xor" => self.xor.is_some(),
            "once" => self.once.is_some(),
            "channel" => self.channel.is_some(),
            "after" => self.after.is_some(),
            _ => self.seconds.is_some(),
        }
    }

    fn kind(self) -> Result<FaultKind, FaultMistake> {
        let (is_every, count) = (self.every.unwrap_or(false), self.count);
        let which = |nth| Occurrences { nth, every: is_every, count: count.or((!is_every).then_some(1)) };
        let channel = self.channel;
        let throttle = self.throttle.and_then(std::num::NonZeroU32::new);
        let kinds = [
            self.drop_key.map(|nth| FaultKind::DropKey(which(nth))),
            self.duplicate_key.map(|nth| FaultKind::DuplicateKey(which(nth))),
            self.flip_pixel.map(|(x, y)| {
                let (xor, once) = (self.xor.unwrap_or(MOST_XOR), self.once.unwrap_or(false));
                FaultKind::FlipPixel { x, y, xor, once }
            }),
            self.delay.map(|by| FaultKind::Delay { by, channel }),
            throttle.map(|bytes_per_second| FaultKind::Throttle { bytes_per_second, channel }),
            self.stall.map(FaultKind::Stall),
            self.cut.map(FaultKind::Cut),
            self.malform.map(FaultKind::Malform),
        ];
        if let Some(nth) = self.lose_line {
            let matching = self.matching.map(regex).transpose()?;
            return Ok(FaultKind::LoseLine { which: which(nth), matching });
        }
        kinds.into_iter().flatten().next().ok_or(FaultMistake::Nothing)
    }
}

fn within(
    key: &'static str,
    value: Option<Duration>,
    least: Duration,
    most: Duration,
) -> Result<(), FaultMistake> {
    let Some(value) = value.filter(|value| !(least..=most).contains(value)) else { return Ok(()) };
    let wanted = format!("seconds from {} to {}", least.as_secs_f64(), most.as_secs_f64());
    Err(FaultMistake::BadValue { key, got: value.as_secs_f64().to_string(), wanted })
}

fn regex(pattern: String) -> Result<regex_lite::Regex, FaultMistake> {
    regex_lite::Regex::new(&pattern).map_err(|error| {
        let wanted = format!("a regular expression ({error})");
        FaultMistake::BadValue { key: "matching", got: pattern, wanted }
    })
}

/// In the words of profiles and scenarios: `drop_key = 2, every = true`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::DropKey(which) => write!(f, "drop_key = {which}")?,
            FaultKind::DuplicateKey(which) => write!(f, "duplicate_key = {which}")?,
            FaultKind::LoseLine { which, matching } => {
                write!(f, "lose_line = {which}")?;
                matching.iter().try_for_each(|regex| write!(f, ", matching = {:?}", regex.as_str()))?;
            }
            FaultKind::FlipPixel { x, y, xor, once } => {
                write!(f, "flip_pixel = {x}, {y}, xor = {xor:#08x}")?;
                f.write_str(if *once { ", once = true" } else { "" })?;
            }
            FaultKind::Delay { by, channel } => {
                write!(f, "delay = {}{}", by.as_secs_f64(), On(*channel))?;
            }
            FaultKind::Throttle { bytes_per_second, channel } => {
                write!(f, "throttle = {bytes_per_second}{}", On(*channel))?;
            }
            FaultKind::Stall(channel) => write!(f, "stall = {:?}", channel.name())?,
            FaultKind::Cut(channel) => write!(f, "cut = {:?}", channel.name())?,
            FaultKind::Malform(channel) => write!(f, "malform = {:?}", channel.name())?,
        }
        if !self.after.is_zero() {
            write!(f, ", after = {}", self.after.as_secs_f64())?;
        }
        self.lasts.iter().try_for_each(|lasts| write!(f, ", seconds = {}", lasts.as_secs_f64()))
    }
}

impl fmt::Display for Occurrences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.nth)?;
        f.write_str(if self.every { ", every = true" } else { "" })?;
        match self.count {
            Some(1) if !self.every => Ok(()),
            Some(count) => write!(f, ", count = {count}"),
            None => Ok(()),
        }
    }
}

struct On(Option<FaultChannel>);

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|channel| write!(f, ", channel = {:?}", channel.name()))
    }
}

impl serde::Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Two faults are the same when they are written so.
impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Counts occurrences, and says which of them are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    next: u64,
    step: u64,
    left: Option<u32>,
}

impl Tally {
    /// Counts from the occurrence after the one with this number.
    pub(super) fn from(which: Occurrences, number: u64) -> Self {
        let step = if which.every { which.nth.into() } else { 1 };
        Self { next: number.saturating_add(which.nth.into()), step, left: which.count }
    }

    /// Whether the occurrence with this number is meant. Asked for each, in order.
    pub(super) fn strikes(&mut self, number: u64) -> bool {
        if number != self.next || self.is_over() {
            return false;
        }
        self.next = self.next.saturating_add(self.step);
        self.left = self.left.map(|left| left - 1);
        true
    }

    /// Whether none is meant any more.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: FaultWords) -> String {
        words.fault().map_or_else(|mistake| format!("! {mistake}"), |fault| fault.to_string())
    }

    #[test]
    fn a_fault_reads_as_it_is_written() {
        let words = FaultWords::default;
        let (channel, second) = (Some(FaultChannel::Display), Some(Duration::from_secs(1)));
        for (words, wanted) in [
            (FaultWords { drop_key: Some(2), ..words() }, "drop_key = 2"),
            (
                FaultWords { duplicate_key: Some(3), every: Some(true), ..words() },
                "duplicate_key = 3, every = true",
            ),
            (
                FaultWords { lose_line: Some(1), count: Some(4), matching: Some("^a".into()), ..words() },
                "lose_line = 1, count = 4, matching = \"^a\"",
            ),
            (
                FaultWords { flip_pixel: Some((1, 2)), once: Some(true), ..words() },
                "flip_pixel = 1, 2, xor = 0xffffff, once = true",
            ),
            (FaultWords { delay: second, channel, ..words() }, "delay = 1, channel = \"display\""),
            (FaultWords { throttle: Some(9), seconds: second, ..words() }, "throttle = 9, seconds = 1"),
            (FaultWords { stall: channel, after: second, ..words() }, "stall = \"display\", after = 1"),
            (FaultWords { cut: channel, ..words() }, "cut = \"display\""),
            (FaultWords { malform: channel, ..words() }, "malform = \"display\""),
            (words(), "! names no fault"),
            (
                FaultWords { cut: channel, drop_key: Some(1), ..words() },
                "! `drop_key` and `cut` are two faults",
            ),
            (FaultWords { cut: channel, seconds: second, ..words() }, "! `seconds` does not go with `cut`"),
            (
                FaultWords { delay: Some(Duration::from_secs(61)), ..words() },
                "! `delay` is \"61\", wanted seconds from 0.001 to 60",
            ),
        ] {
            assert_eq!(shown(words), wanted);
        }
        let hint = FaultMistake::Foreign { key: "seconds", fault: "cut" }.hint();
        assert_eq!(hint.as_deref(), Some("with `cut` go `after`"));
    }

    #[test]
    fn which_ones_are_meant() {
        let struck = |nth, every, count| {
            let mut tally = Tally::from(Occurrences { nth, every, count }, 10);
            (11..=20).filter(|number| tally.strikes(*number)).collect::<Vec<u64>>()
        };
        assert_eq!(struck(2, false, Some(1)), [12]);
        assert_eq!(struck(2, false, Some(3)), [12, 13, 14]);
        assert_eq!(struck(3, true, None), [13, 16, 19]);
        assert_eq!(struck(3, true, Some(2)), [13, 16]);
    }
}
