//! What happened to the guest: the newest events, the hashes over all of them, and the lines they become on the
//! serial port.

use alloc::collections::VecDeque;
use core::fmt;
use visual_digest::{ChannelHashes, Record};

/// How many events are kept; the oldest make room.
const KEPT: usize = 256;

#[derive(Default)]
pub(crate) struct Chronicle {
    kept: VecDeque<Record>,
    hashes: ChannelHashes,
}

impl Chronicle {
    pub(crate) fn push(&mut self, record: Record) {
        // First the hash, then the ring: hashes cover what the ring has forgotten.
        self.hashes.extend(&record);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
    }

    pub(crate) fn hashes(&self) -> &ChannelHashes {
        &self.hashes
    }

    /// Returns the kept events, oldest first.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + Clone {
        self.kept.iter()
    }
}

/// A record as a line of the drain, without line end.
pub(crate) struct DrainLine<'a>(pub(crate) &'a Record);

impl fmt::Display for DrainLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={} type=", self.0.timestamp_ms())?;
        match *self.0 {
            Record::Keypress { unicode, scancode, .. } => {
                write!(f, "keypress unicode={:04x} scancode={scancode:04x}", u32::from(unicode))
            }
            Record::LineRendered { row, .. } => write!(f, "line row={row}"),
            Record::SceneTransition { from, to, .. } => write!(f, "transition from={from} to={to}"),
            Record::BootloaderDecision { choice, attempt, .. } => {
                write!(f, "bootloader_decision choice={choice} attempt={attempt}")
            }
            Record::PasteReceived { len, correct, .. } => write!(f, "paste len={len} correct={correct}"),
            Record::BootloaderTimeout { .. } => f.write_str("bootloader_timeout"),
            Record::ModeSwitch { requested_w, requested_h, applied_w, applied_h, .. } => {
                write!(f, "mode_switch requested={requested_w}x{requested_h} applied={applied_w}x{applied_h}")
            }
            Record::ModeCycle { count, interrupted, .. } => {
                write!(f, "mode_cycle count={count} interrupted={interrupted}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use visual_digest::{Choice, Phase};

    #[test]
    fn records_become_the_published_lines() {
        let pairs = [
            (
                Record::Keypress { unicode: '\r', scancode: 0, timestamp_ms: 2350 },
                "t=2350 type=keypress unicode=000d scancode=0000",
            ),
            (
                Record::Keypress { unicode: '\0', scancode: 0x17, timestamp_ms: 7 },
                "t=7 type=keypress unicode=0000 scancode=0017",
            ),
            (Record::LineRendered { row: 0, timestamp_ms: 2350 }, "t=2350 type=line row=0"),
            (
                Record::SceneTransition { from: Phase::Awaiting, to: Phase::Booting, timestamp_ms: 2350 },
                "t=2350 type=transition from=awaiting to=booting",
            ),
            (
                Record::SceneTransition { from: Phase::Parked, to: Phase::StreamExercise, timestamp_ms: 0 },
                "t=0 type=transition from=parked to=stream_exercise",
            ),
            (
                Record::BootloaderDecision { choice: Choice::Ignore, attempt: 1, timestamp_ms: 22550 },
                "t=22550 type=bootloader_decision choice=ignore attempt=1",
            ),
            (
                Record::PasteReceived { len: 23, correct: true, timestamp_ms: 32800 },
                "t=32800 type=paste len=23 correct=true",
            ),
            (Record::BootloaderTimeout { timestamp_ms: 97050 }, "t=97050 type=bootloader_timeout"),
            (
                Record::ModeSwitch {
                    requested_w: 640,
                    requested_h: 480,
                    applied_w: 640,
                    applied_h: 480,
                    timestamp_ms: 38300,
                },
                "t=38300 type=mode_switch requested=640x480 applied=640x480",
            ),
            (
                Record::ModeCycle { count: 2, interrupted: true, timestamp_ms: 6150 },
                "t=6150 type=mode_cycle count=2 interrupted=true",
            ),
        ];
        for (record, line) in pairs {
            assert_eq!(DrainLine(&record).to_string(), line);
        }
    }

    #[test]
    fn the_ring_keeps_the_newest_256_and_the_hashes_cover_all() {
        let mut chronicle = Chronicle::default();
        let mut all = ChannelHashes::default();
        for row in 0..300 {
            let record = Record::LineRendered { row, timestamp_ms: 1 };
            all.extend(&record);
            chronicle.push(record);
        }
        assert_eq!(chronicle.records().count(), 256);
        assert_eq!(chronicle.records().next(), Some(&Record::LineRendered { row: 44, timestamp_ms: 1 }));
        assert_eq!(chronicle.hashes(), &all);
    }
}
