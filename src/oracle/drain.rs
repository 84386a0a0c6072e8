//! The drain: what a guest writes to its serial port just before it powers off, one line per event it still knows and
//! a summary last.
//!
//! The same port carries the firmware's console and the guest's banner, so a line is taken for one of the drain's only
//! when each of its words is `key=value` and one key is `type`. Everything else is noise and is passed over.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use visual_digest::{Choice, Phase, Record};

/// Reads serial lines as they come.
#[derive(Clone, Debug, Default)]
pub struct DrainParser {
    is_complete: bool,
}

impl DrainParser {
    /// Returns a parser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what a line of the drain says, or `None` for every other line. Line ends and blanks around it are
    /// no matter.
    pub fn handle_line(&mut self, line: &str) -> Option<DrainLine> {
        let line = DrainLine::parse(line)?;
        self.is_complete = matches!(line, DrainLine::RefreshStats(_));
        Some(line)
    }

    /// Returns whether the last line of a drain was its summary, so that nothing is missing at its end.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

/// A line of the drain. As JSON it is a flat object with the line's own keys and `type` first; `t` is guest time in
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DrainLine {
    /// A key reached the guest.
    Keypress {
        /// When.
        t: u64,
        /// The code point; 0 for a special key.
        unicode: u32,
        /// The UEFI scan code; 0 for a key with a character.
        scancode: u16,
    },
    /// A line of text was drawn.
    Line {
        /// When.
        t: u64,
        /// The text row, from 0.
        row: u32,
    },
    /// The story went on.
    Transition {
        /// When.
        t: u64,
        /// The phase that ended.
        from: Phase,
        /// The phase that began.
        to: Phase,
    },
    /// The locked bootloader was answered.
    BootloaderDecision {
        /// When.
        t: u64,
        /// The answer.
        choice: Choice,
        /// Which display of the prompt was answered, from 1.
        attempt: u32,
    },
    /// A pasted text was judged.
    Paste {
        /// When.
        t: u64,
        /// Its length in bytes.
        len: u32,
        /// Whether it was the expected one.
        correct: bool,
    },
    /// The bootloader gave up waiting.
    BootloaderTimeout {
        /// When.
        t: u64,
    },
    /// The graphics mode was changed.
    ModeSwitch {
        /// When.
        t: u64,
        /// The mode asked for.
        requested: ModeSize,
        /// The mode obtained.
        applied: ModeSize,
    },
    /// A walk through all graphics modes ended.
    ModeCycle {
        /// When.
        t: u64,
        /// How many switches were done.
        count: u32,
        /// Whether a key stopped it.
        interrupted: bool,
    },
    /// The summary, always the last line.
    RefreshStats(RefreshStats),
    /// A line of the right form that is none of the above: an unknown type, or values which do not parse.
    #[serde(untagged)]
    Other(BTreeMap<String, String>),
}

/// How often and how long the guest refreshed its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshStats {
    /// Refreshes since boot.
    pub count: u64,
    /// The time of all of them, in milliseconds.
    pub total_ms: u64,
    /// The mean, in microseconds.
    pub mean_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
    /// The 99th percentile of the newest 256 at most, in microseconds.
    pub p99_us: u64,
}

impl DrainLine {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = Fields(BTreeMap::new());
        for word in line.split_whitespace() {
            let (key, value) = word.split_once('=')?;
            // Were a key there twice, the first is the one that counts.
            fields.0.entry(key).or_insert(value);
        }
        let kind = *fields.0.get("type")?;
        Some(fields.known(kind).unwrap_or_else(|| fields.other()))
    }

    /// Returns the record of the digest that this line tells, if it tells one.
    ///
    /// A code point that is no character becomes U+FFFD, as it does in a digest.
    pub fn record(&self) -> Option<Record> {
        Some(match *self {
            Self::Keypress { t, unicode, scancode } => {
                let unicode = char::from_u32(unicode).unwrap_or(char::REPLACEMENT_CHARACTER);
                Record::Keypress { unicode, scancode, timestamp_ms: t }
            }
            Self::Line { t, row } => Record::LineRendered { row, timestamp_ms: t },
            Self::Transition { t, from, to } => Record::SceneTransition { from, to, timestamp_ms: t },
            Self::BootloaderDecision { t, choice, attempt } => {
                Record::BootloaderDecision { choice, attempt, timestamp_ms: t }
            }
            Self::Paste { t, len, correct } => Record::PasteReceived { len, correct, timestamp_ms: t },
            Self::BootloaderTimeout { t } => Record::BootloaderTimeout { timestamp_ms: t },
            Self::ModeSwitch { t, requested, applied } => Record::ModeSwitch {
                requested_w: requested.width,
                requested_h: requested.height,
                applied_w: applied.width,
                applied_h: applied.height,
                timestamp_ms: t,
            },
            Self::ModeCycle { t, count, interrupted } => {
                Record::ModeCycle { count, interrupted, timestamp_ms: t }
            }
            Self::RefreshStats(_) | Self::Other(_) => return None,
        })
    }
}

/// The size of a graphics mode, written `1280x720`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSize {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl fmt::Display for ModeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The text is not of the form `1280x720`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode size {0:?}, wanted WIDTHxHEIGHT such as 1280x720")]
pub struct ModeSizeError(String);

impl FromStr for ModeSize {
    type Err = ModeSizeError;

    fn from_str(text: &str) -> Result<Self, ModeSizeError> {
        let parse = || {
            let (width, height) = text.split_once('x')?;
            Some(Self { width: decimal(width)?, height: decimal(height)? })
        };
        parse().ok_or_else(|| ModeSizeError(text.to_owned()))
    }
}

impl Serialize for ModeSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModeSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The words of a line by their keys.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl Fields<'_> {
    /// Returns the line as one of a known type, if all its values parse.
    fn known(&self, kind: &str) -> Option<DrainLine> {
        Some(match kind {
            "keypress" => DrainLine::Keypress {
                t: self.decimal("t")?,
                unicode: hex(self.text("unicode")?)?,
                scancode: u16::try_from(hex(self.text("scancode")?)?).ok()?,
            },
            "line" => DrainLine::Line { t: self.decimal("t")?, row: self.decimal("row")? },
            "transition" => DrainLine::Transition {
                t: self.decimal("t")?,
                from: Phase::from_name(self.text("from")?)?,
                to: Phase::from_name(self.text("to")?)?,
            },
            "bootloader_decision" => DrainLine::BootloaderDecision {
                t: self.decimal("t")?,
                choice: Choice::from_name(self.text("choice")?)?,
                attempt: self.decimal("attempt")?,
            },
            "paste" => DrainLine::Paste {
                t: self.decimal("t")?,
                len: self.decimal("len")?,
                correct: self.text("correct")?.parse().ok()?,
            },
            "bootloader_timeout" => DrainLine::BootloaderTimeout { t: self.decimal("t")? },
            "mode_switch" => DrainLine::ModeSwitch {
                t: self.decimal("t")?,
                requested: self.text("requested")?.parse().ok()?,
                applied: self.text("applied")?.parse().ok()?,
            },
            "mode_cycle" => DrainLine::ModeCycle {
                t: self.decimal("t")?,
                count: self.decimal("count")?,
                interrupted: self.text("interrupted")?.parse().ok()?,
            },
            "refresh_stats" => DrainLine::RefreshStats(RefreshStats {
                count: self.decimal("count")?,
                total_ms: self.decimal("total_ms")?,
                mean_us: self.decimal("mean_us")?,
                max_us: self.decimal("max_us")?,
                p99_us: self.decimal("p99_us")?,
            }),
            _ => return None,
        })
    }

    fn other(&self) -> DrainLine {
        let own = |(key, value): (&&str, &&str)| ((*key).to_owned(), (*value).to_owned());
        DrainLine::Other(self.0.iter().map(own).collect())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).copied()
    }

    fn decimal<T: FromStr>(&self, key: &str) -> Option<T> {
        decimal(self.text(key)?)
    }
}

/// Parses digits only; the standard parser would let a sign pass.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
}

fn hex(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(text)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<DrainLine> {
        DrainParser::new().handle_line(line)
    }

    #[test]
    fn every_type_of_line_has_its_flat_json_and_its_record() {
        let table = [
            (
                "t=2350 type=keypress unicode=000d scancode=0000",
                r#"{"type":"keypress","t":2350,"unicode":13,"scancode":0}"#,
                Some(Record::Keypress { unicode: '\r', scancode: 0, timestamp_ms: 2350 }),
            ),
            (
                "t=2350 type=line row=0",
                r#"{"type":"line","t":2350,"row":0}"#,
                Some(Record::LineRendered { row: 0, timestamp_ms: 2350 }),
            ),
            (
                "t=2350 type=transition from=awaiting to=booting",
                r#"{"type":"transition","t":2350,"from":"awaiting","to":"booting"}"#,
                Some(Record::SceneTransition {
                    from: Phase::Awaiting,
                    to: Phase::Booting,
                    timestamp_ms: 2350,
                }),
            ),
            (
                "t=22550 type=bootloader_decision choice=ignore attempt=1",
                r#"{"type":"bootloader_decision","t":22550,"choice":"ignore","attempt":1}"#,
                Some(Record::BootloaderDecision { choice: Choice::Ignore, attempt: 1, timestamp_ms: 22_550 }),
            ),
            (
                "t=32800 type=paste len=23 correct=true",
                r#"{"type":"paste","t":32800,"len":23,"correct":true}"#,
                Some(Record::PasteReceived { len: 23, correct: true, timestamp_ms: 32_800 }),
            ),
            (
                "t=97050 type=bootloader_timeout",
                r#"{"type":"bootloader_timeout","t":97050}"#,
                Some(Record::BootloaderTimeout { timestamp_ms: 97_050 }),
            ),
            (
                "t=38300 type=mode_switch requested=1280x720 applied=1280x768",
                r#"{"type":"mode_switch","t":38300,"requested":"1280x720","applied":"1280x768"}"#,
                Some(Record::ModeSwitch {
                    requested_w: 1280,
                    requested_h: 720,
                    applied_w: 1280,
                    applied_h: 768,
                    timestamp_ms: 38_300,
                }),
            ),
            (
                "t=6150 type=mode_cycle count=2 interrupted=true",
                r#"{"type":"mode_cycle","t":6150,"count":2,"interrupted":true}"#,
                Some(Record::ModeCycle { count: 2, interrupted: true, timestamp_ms: 6150 }),
            ),
            (
                "type=refresh_stats count=94 total_ms=2374 mean_us=25259 max_us=41292 p99_us=35896",
                r#"{"type":"refresh_stats","count":94,"total_ms":2374,"mean_us":25259,"max_us":41292,"p99_us":35896}"#,
                None,
            ),
        ];
        for (text, json, record) in table {
            let line = parse(&format!("{text}\r\n")).unwrap();
            assert_eq!(serde_json::to_string(&line).unwrap(), json);
            assert_eq!(serde_json::from_str::<DrainLine>(json).unwrap(), line);
            assert_eq!(line.record(), record, "{text}");
        }
    }

    #[test]
    fn firmware_noise_and_banners_are_passed_over() {
        for noise in [
            "",
            "   ",
            "Hello from Uncalibrated Sextant",
            "available GOP modes: 640x480 800x600",
            "\u{1b}[2J\u{1b}[01;01H\u{1b}[=3hBdsDxe: loading Boot0001 type=x",
            "t=5 row=3",
            "t=5 type=line row=3 and more",
        ] {
            assert_eq!(parse(noise), None, "{noise:?}");
        }
    }

    #[test]
    fn a_type_or_value_nobody_knows_is_kept_as_text() {
        for text in ["t=5 type=audio frames=3", "t=-5 type=line row=+3", "t=5 type=line", "type=keypress t=1"]
        {
            let line = parse(text).unwrap();
            assert!(matches!(&line, DrainLine::Other(fields) if fields.contains_key("type")), "{line:?}");
            assert_eq!(line.record(), None);
        }
        let json = serde_json::to_string(&parse("t=5 type=audio frames=3").unwrap()).unwrap();
        assert_eq!(json, r#"{"frames":"3","t":"5","type":"audio"}"#);
    }

    #[test]
    fn further_keys_of_newer_guests_are_no_matter() {
        assert_eq!(parse("t=5 type=line row=3 colour=green"), Some(DrainLine::Line { t: 5, row: 3 }));
    }

    #[test]
    fn a_drain_is_complete_from_its_summary_on_until_another_begins() {
        let mut parser = DrainParser::new();
        parser.handle_line("t=5 type=line row=3");
        assert!(!parser.is_complete());
        parser.handle_line("type=refresh_stats count=1 total_ms=0 mean_us=0 max_us=0 p99_us=0");
        assert!(parser.is_complete());
        parser.handle_line("BdsDxe: no more boot options");
        assert!(parser.is_complete());
        parser.handle_line("t=0 type=line row=0");
        assert!(!parser.is_complete());
    }
}
