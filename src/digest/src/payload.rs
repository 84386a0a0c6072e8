//! Records and hashes into the bytes of one symbol.

use crate::record::{Channel, ChannelHashes, EncodedRecord, Record};

/// The first four bytes of every payload.
pub(crate) const MAGIC: [u8; 4] = *b"SXDG";
/// The only version of the format this package speaks.
pub(crate) const SCHEMA_VERSION: u8 = 0x02;
/// Bytes of magic, version, frame counter and record count.
pub(crate) const HEADER_LEN: usize = 10;
/// Bytes of one record of the hash block: tag, length, value.
pub(crate) const HASH_RECORD_LEN: usize = 6;
/// Bytes of the trailing framebuffer hash.
pub(crate) const TRAILER_LEN: usize = 4;
/// What the record count is before the first raw record.
pub(crate) const HASH_RECORDS: u8 = 8;

/// Where the raw records begin.
pub(crate) const HASH_BLOCK_END: usize = HEADER_LEN + HASH_RECORD_LEN * Channel::ALL.len();
/// The size of a payload without raw records, in bytes.
pub const MIN_PAYLOAD: usize = HASH_BLOCK_END + TRAILER_LEN;
/// What a version 5 symbol of the lowest error correction level holds, in bytes.
pub const MAX_PAYLOAD: usize = 106;

const RAW_BUDGET: usize = MAX_PAYLOAD - MIN_PAYLOAD;
/// The smallest record, a timeout, has 10 bytes.
const MOST_RECORDS: usize = RAW_BUDGET / 10;

/// The bytes of one symbol, at most [`MAX_PAYLOAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: [u8; MAX_PAYLOAD],
    len: usize,
}

impl Payload {
    /// Returns a payload of exactly these bytes, valid or not; `None` when there are more than [`MAX_PAYLOAD`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut payload = Self { bytes: [0; MAX_PAYLOAD], len: bytes.len() };
        payload.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(payload)
    }

    /// Returns header and hash block, to be followed by raw records and [`Payload::finish`].
    pub(crate) fn begin(frame_counter: u32, hashes: &ChannelHashes, raw_records: u8) -> Self {
        let mut payload = Self { bytes: [0; MAX_PAYLOAD], len: 0 };
        payload.push(&MAGIC);
        payload.push(&[SCHEMA_VERSION]);
        payload.push(&frame_counter.to_le_bytes());
        payload.push(&[HASH_RECORDS + raw_records]);
        for channel in Channel::ALL {
            payload.push(&[channel.hash_tag(), 4]);
            payload.push(&hashes.get(channel).to_le_bytes());
        }
        payload
    }

    /// Appends raw bytes. The caller keeps the sum within the raw budget.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    pub(crate) fn finish(mut self, framebuffer_hash: u32) -> Self {
        self.push(&framebuffer_hash.to_le_bytes());
        self
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Encodes one refresh of the digest.
///
/// `records` are all the guest still knows, oldest first. As many of the newest go in as fit; the walk back stops at
/// the first that does not, even where an older one would.
pub fn encode<'a>(
    frame_counter: u32,
    hashes: &ChannelHashes,
    records: impl DoubleEndedIterator<Item = &'a Record>,
    framebuffer_hash: u32,
) -> Payload {
    let mut newest_first = [EncodedRecord::EMPTY; MOST_RECORDS];
    let mut count = 0;
    let mut size = 0;
    for (slot, record) in newest_first.iter_mut().zip(records.rev()) {
        let encoded = record.encode();
        size += encoded.as_bytes().len();
        if size > RAW_BUDGET {
            break;
        }
        *slot = encoded;
        count += 1;
    }
    let mut payload = Payload::begin(frame_counter, hashes, count);
    for encoded in newest_first.iter().take(usize::from(count)).rev() {
        payload.push(encoded.as_bytes());
    }
    payload.finish(framebuffer_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Choice, Phase};
    use proptest::prelude::*;

    const PASTE: Record = Record::PasteReceived { len: 23, correct: true, timestamp_ms: 7000 };
    const CYCLE: Record = Record::ModeCycle { count: 2, interrupted: true, timestamp_ms: 9000 };

    fn line(row: u32, timestamp_ms: u64) -> Record {
        Record::LineRendered { row, timestamp_ms }
    }

    fn hashes(records: &[Record]) -> ChannelHashes {
        let mut hashes = ChannelHashes::default();
        records.iter().for_each(|record| hashes.extend(record));
        hashes
    }

    fn golden(frame_counter: u32, records: &[Record], framebuffer_hash: u32) -> Payload {
        encode(frame_counter, &hashes(records), records.iter(), framebuffer_hash)
    }

    #[test]
    fn an_idle_guest_sends_the_smallest_payload() {
        let wanted = include_bytes!("../../../fixtures/digest/idle.bin");
        assert_eq!(golden(7, &[], 0x0F84_F659).as_bytes(), wanted);
    }

    #[test]
    fn two_events_are_encoded_as_published() {
        let records = [
            Record::Keypress { unicode: 'i', scancode: 0, timestamp_ms: 22_550 },
            Record::BootloaderDecision { choice: Choice::Ignore, attempt: 1, timestamp_ms: 22_550 },
        ];
        let wanted = include_bytes!("../../../fixtures/digest/two_events.bin");
        assert_eq!(golden(30, &records, 0xE709_9170).as_bytes(), wanted);
    }

    #[test]
    fn the_newest_records_that_fit_are_sent_oldest_first() {
        let records = [line(19, 6150), line(20, 6350), line(21, 6550), PASTE, CYCLE];
        let wanted = include_bytes!("../../../fixtures/digest/budget.bin");
        assert_eq!(golden(0x0102_0304, &records, 0xDEAD_BEEF).as_bytes(), wanted);
    }

    #[test]
    fn a_record_that_does_not_fit_hides_smaller_older_ones() {
        let switch = Record::ModeSwitch {
            requested_w: 640,
            requested_h: 480,
            applied_w: 640,
            applied_h: 480,
            timestamp_ms: 9000,
        };
        let timeout = Record::BootloaderTimeout { timestamp_ms: 1 };
        // 12 + 15 leave 17 bytes: not enough for the switch, enough for the timeout before it.
        let payload = golden(1, &[timeout, switch, line(1, 9000), CYCLE], 0);
        assert_eq!(payload.as_bytes().len(), MIN_PAYLOAD + 12 + 15);
        assert_eq!(payload.as_bytes()[9], 10);
    }

    #[test]
    fn single_records_are_encoded_as_published() {
        let at = 1000;
        let transition = |to| Record::SceneTransition { from: Phase::Awaiting, to, timestamp_ms: at };
        let table: [(Record, &str, u32); 10] = [
            (
                Record::Keypress { unicode: 'Z', scancode: 0, timestamp_ms: 0x1122_3344_5566_7788 },
                "010c88776655443322115a000000",
                0x8724_4F77,
            ),
            (
                Record::Keypress { unicode: '\0', scancode: 0x17, timestamp_ms: at },
                "010ce80300000000000000001700",
                0x8A57_A70F,
            ),
            (line(21, at), "020ae8030000000000001500", 0xAABD_0AF0),
            (transition(Phase::Booting), "030ae8030000000000000001", 0x0B4A_55E9),
            (transition(Phase::StreamExercise), "030ae8030000000000000003", 0xEA71_251E),
            (
                Record::BootloaderDecision { choice: Choice::Abort, attempt: 6, timestamp_ms: at },
                "040de8030000000000000206000000",
                0x148F_C6A9,
            ),
            (
                Record::PasteReceived { len: 64, correct: false, timestamp_ms: at },
                "050be803000000000000400000",
                0x8EAE_3712,
            ),
            (Record::BootloaderTimeout { timestamp_ms: 97_050 }, "06081a7b010000000000", 0x7D19_9C93),
            (
                Record::ModeSwitch {
                    requested_w: 1280,
                    requested_h: 720,
                    applied_w: 1280,
                    applied_h: 768,
                    timestamp_ms: at,
                },
                "0710e8030000000000000005d00200050003",
                0xAAB7_1ABC,
            ),
            (
                Record::ModeCycle { count: 30, interrupted: false, timestamp_ms: at },
                "080de8030000000000001e00000000",
                0xD35E_F1C7,
            ),
        ];
        for (record, wanted, hash) in table {
            let encoded: String =
                record.encode().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(encoded, wanted, "{record:?}");
            assert_eq!(hashes(&[record]).get(record.channel()), hash, "{record:?}");
        }
    }

    #[test]
    fn the_hashes_of_a_live_run_are_reproduced() {
        let enter = Record::Keypress { unicode: '\r', scancode: 0, timestamp_ms: 2350 };
        let begin = Record::SceneTransition { from: Phase::Awaiting, to: Phase::Booting, timestamp_ms: 2350 };
        let lines = (0..22).map(|row| line(row, 2350 + 200 * u64::from(row)));
        let records: Vec<Record> = [enter, begin].into_iter().chain(lines).collect();
        let found = hashes(&records);
        assert_eq!(found.line_rendered, 0x89F3_3645);
        assert_eq!(found.keypress, 0x1220_C3AD);
        assert_eq!(found.scene_transition, 0xA995_5795);
        assert_eq!(found.mode_cycle, 0);
    }

    #[test]
    fn a_chained_channel_grows_as_published() {
        let records = [line(19, 6150), line(20, 6350), line(21, 6550)];
        let grown: Vec<u32> = (1..=3).map(|count| hashes(&records[..count]).line_rendered).collect();
        assert_eq!(grown, [0xB8C5_2DEE, 0x8DC3_A780, 0x8621_30B7]);
    }

    #[test]
    fn wide_values_lose_their_high_bits() {
        let wide = Record::Keypress { unicode: '\u{1F600}', scancode: 0, timestamp_ms: 0 };
        assert_eq!(wide.encode().as_bytes()[10..12], [0x00, 0xF6]);
        assert_eq!(line(0x0005_0007, 0).encode(), line(7, 0).encode());
    }

    #[test]
    fn a_payload_holds_what_a_symbol_holds() {
        assert_eq!(Payload::from_bytes(&[7; 106]).map(|payload| payload.as_bytes().len()), Some(106));
        assert_eq!(Payload::from_bytes(&[7; 107]), None);
    }

    proptest! {
        #[test]
        fn any_number_of_records_gives_a_payload(rows in proptest::collection::vec(0_u32..100, 0..300)) {
            let records: Vec<Record> = rows.into_iter().map(|row| line(row, 5)).collect();
            let len = golden(1, &records, 0).as_bytes().len();
            prop_assert_eq!(len, MIN_PAYLOAD + 12 * records.len().min(3));
        }
    }
}
