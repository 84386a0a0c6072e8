//! The bytes of a symbol into a [`Digest`], and a digest back into bytes.

use crate::payload::{
    HASH_BLOCK_END, HASH_RECORD_LEN, HASH_RECORDS, HEADER_LEN, MAGIC, MAX_PAYLOAD, MIN_PAYLOAD, Payload,
    SCHEMA_VERSION, TRAILER_LEN,
};
use crate::record::{Channel, ChannelHashes, Choice, Phase, Record};
use std::fmt;

/// What one refresh of the digest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Digest {
    /// Which refresh since boot, from 1.
    pub frame_counter: u32,
    /// One hash per channel over everything since boot.
    pub channel_hashes: ChannelHashes,
    /// The newest records, oldest first.
    pub raw_records: Vec<Record>,
    /// Records of kinds this version does not know, in wire order.
    pub unknown_records: Vec<UnknownRecord>,
    /// CRC32C of the screen outside the digest's region; see [`crate::framebuffer_hash`].
    pub framebuffer_hash: u32,
}

/// A record of a kind this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnknownRecord {
    /// Its tag.
    pub tag: u8,
    /// Its value, without tag and length.
    pub value: Vec<u8>,
}

impl Digest {
    /// Encodes the digest with the hashes and records as they are. Unknown records follow the known ones.
    ///
    /// # Errors
    /// When it is more than a symbol holds, or an unknown record bears the tag of a known kind.
    pub fn encode(&self) -> Result<Payload, EncodeError> {
        let mut raw = Vec::new();
        for record in &self.raw_records {
            raw.extend_from_slice(record.encode().as_bytes());
        }
        for UnknownRecord { tag, value } in &self.unknown_records {
            if Channel::from_record_tag(*tag).is_some() {
                return Err(EncodeError::KnownTag { tag: *tag });
            }
            // A length beyond a byte is beyond a symbol too, which is found out below.
            raw.extend([*tag, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
            raw.extend_from_slice(value);
        }
        let wanted = MIN_PAYLOAD + raw.len();
        let records = self.raw_records.len() + self.unknown_records.len();
        let records = u8::try_from(records).ok().filter(|_| wanted <= MAX_PAYLOAD);
        let records = records.ok_or(EncodeError::TooLarge { wanted })?;
        let mut payload = Payload::begin(self.frame_counter, &self.channel_hashes, records);
        payload.push(&raw);
        Ok(payload.finish(self.framebuffer_hash))
    }
}

/// Why a digest does not become a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// More bytes than a symbol holds.
    TooLarge {
        /// How many it would take.
        wanted: usize,
    },
    /// An unknown record that every reader would take for a known one.
    KnownTag {
        /// Its tag.
        tag: u8,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { wanted } => {
                write!(f, "the digest takes {wanted} bytes, a symbol holds {MAX_PAYLOAD}")
            }
            Self::KnownTag { tag } => {
                write!(f, "tag 0x{tag:02x} of an unknown record belongs to a known kind")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why bytes are not a digest. Offsets count bytes from the start of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than the smallest payload.
    Short {
        /// How many there were.
        found: usize,
    },
    /// It does not begin with `SXDG`.
    BadMagic {
        /// How it begins.
        found: [u8; 4],
    },
    /// A version other than 2.
    UnsupportedSchemaVersion(u8),
    /// A record count that does not even cover the hash block.
    RecordCountTooSmall {
        /// The count.
        found: u8,
    },
    /// A record of the hash block is not what must stand there.
    MalformedHashBlock {
        /// Where that record begins.
        offset: usize,
        /// What is wrong with it.
        reason: HashBlockFault,
    },
    /// Bytes before the trailer that are not even a record's tag and length.
    Trailing {
        /// How many.
        extra_bytes: usize,
    },
    /// A raw record that would run into the trailer.
    TruncatedValue {
        /// Its tag.
        tag: u8,
        /// Where it begins.
        offset: usize,
    },
    /// A raw record of a known kind that cannot be one.
    MalformedRawRecord {
        /// Its tag.
        tag: u8,
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        reason: RecordFault,
    },
}

/// What is wrong with a record of the hash block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashBlockFault {
    /// The tag of another record.
    Tag {
        /// The tag that belongs there.
        wanted: u8,
        /// The tag found.
        found: u8,
    },
    /// A length other than 4.
    Length {
        /// The length found.
        found: u8,
    },
}

/// What is wrong with a raw record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A value length other than the kind has.
    Length {
        /// The length the kind has.
        wanted: u8,
        /// The length found.
        found: usize,
    },
    /// No phase has this byte.
    Phase(u8),
    /// No choice has this byte.
    Choice(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { found } => {
                write!(f, "payload too short: {found} bytes, the smallest has {MIN_PAYLOAD}")
            }
            Self::BadMagic { found } => {
                write!(f, "payload begins with {found:02x?}, not with SXDG {MAGIC:02x?}")
            }
            Self::UnsupportedSchemaVersion(found) => {
                write!(f, "unsupported schema version {found}, only {SCHEMA_VERSION} is known")
            }
            Self::RecordCountTooSmall { found } => {
                write!(f, "record count is {found}, the hash block alone has {HASH_RECORDS}")
            }
            Self::MalformedHashBlock { offset, reason } => {
                write!(f, "malformed hash block at offset {offset}: {reason}")
            }
            Self::Trailing { extra_bytes } => write!(f, "{extra_bytes} stray bytes before the trailer"),
            Self::TruncatedValue { tag, offset } => {
                write!(f, "record 0x{tag:02x} at offset {offset} runs into the trailer")
            }
            Self::MalformedRawRecord { tag, offset, reason } => {
                write!(f, "malformed record 0x{tag:02x} at offset {offset}: {reason}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for HashBlockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag { wanted, found } => write!(f, "tag is 0x{found:02x}, wanted 0x{wanted:02x}"),
            Self::Length { found } => write!(f, "length is {found}, wanted 4"),
        }
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { wanted, found } => write!(f, "value has {found} bytes, wanted {wanted}"),
            Self::Phase(byte) => write!(f, "no phase has byte 0x{byte:02x}"),
            Self::Choice(byte) => write!(f, "no choice has byte 0x{byte:02x}"),
        }
    }
}

/// Decodes the bytes of a symbol.
///
/// The record count is only checked for its minimum and the framebuffer hash not at all; records of unknown kinds are
/// kept aside. No input makes it panic.
///
/// # Errors
/// The first failed check, in the order of the variants of [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Digest, DecodeError> {
    let short = DecodeError::Short { found: bytes.len() };
    if bytes.len() < MIN_PAYLOAD {
        return Err(short);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(short)?;
    let (block, rest) = rest.split_first_chunk::<{ HASH_BLOCK_END - HEADER_LEN }>().ok_or(short)?;
    let (raw, trailer) = rest.split_last_chunk::<TRAILER_LEN>().ok_or(short)?;

    let frame_counter = decode_header(*header)?;
    let channel_hashes = decode_hash_block(block)?;
    let mut digest = Digest {
        frame_counter,
        channel_hashes,
        raw_records: Vec::new(),
        unknown_records: Vec::new(),
        framebuffer_hash: u32::from_le_bytes(*trailer),
    };
    let mut rest = raw;
    while !rest.is_empty() {
        let offset = HASH_BLOCK_END + (raw.len() - rest.len());
        let [tag, len, after @ ..] = rest else {
            return Err(DecodeError::Trailing { extra_bytes: rest.len() });
        };
        let (value, after) = after
            .split_at_checked(usize::from(*len))
            .ok_or(DecodeError::TruncatedValue { tag: *tag, offset })?;
        match Channel::from_record_tag(*tag) {
            Some(channel) => {
                let malformed = |reason| DecodeError::MalformedRawRecord { tag: *tag, offset, reason };
                digest.raw_records.push(decode_record(channel, value).map_err(malformed)?);
            }
            None => digest.unknown_records.push(UnknownRecord { tag: *tag, value: value.to_vec() }),
        }
        rest = after;
    }
    Ok(digest)
}

fn decode_header(header: [u8; HEADER_LEN]) -> Result<u32, DecodeError> {
    let [m0, m1, m2, m3, version, f0, f1, f2, f3, count] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(DecodeError::BadMagic { found: [m0, m1, m2, m3] });
    }
    if version != SCHEMA_VERSION {
        return Err(DecodeError::UnsupportedSchemaVersion(version));
    }
    if count < HASH_RECORDS {
        return Err(DecodeError::RecordCountTooSmall { found: count });
    }
    Ok(u32::from_le_bytes([f0, f1, f2, f3]))
}

fn decode_hash_block(block: &[u8]) -> Result<ChannelHashes, DecodeError> {
    let mut hashes = ChannelHashes::default();
    let (records, _) = block.as_chunks::<HASH_RECORD_LEN>();
    for (index, (channel, [tag, len, value @ ..])) in Channel::ALL.into_iter().zip(records).enumerate() {
        let malformed =
            |reason| DecodeError::MalformedHashBlock { offset: HEADER_LEN + index * HASH_RECORD_LEN, reason };
        if *tag != channel.hash_tag() {
            return Err(malformed(HashBlockFault::Tag { wanted: channel.hash_tag(), found: *tag }));
        }
        if *len != 4 {
            return Err(malformed(HashBlockFault::Length { found: *len }));
        }
        *hashes.slot(channel) = u32::from_le_bytes(*value);
    }
    Ok(hashes)
}

fn decode_record(channel: Channel, value: &[u8]) -> Result<Record, RecordFault> {
    let wrong_length = RecordFault::Length { wanted: channel.value_len(), found: value.len() };
    if value.len() != usize::from(channel.value_len()) {
        return Err(wrong_length);
    }
    let (timestamp_ms, rest) = value.split_first_chunk().ok_or(wrong_length)?;
    let timestamp_ms = u64::from_le_bytes(*timestamp_ms);
    let wide = |a: u8, b: u8| u32::from(u16::from_le_bytes([a, b]));
    Ok(match (channel, rest) {
        (Channel::Keypress, &[u0, u1, s0, s1]) => Record::Keypress {
            unicode: char::from_u32(wide(u0, u1)).unwrap_or(char::REPLACEMENT_CHARACTER),
            scancode: u16::from_le_bytes([s0, s1]),
            timestamp_ms,
        },
        (Channel::LineRendered, &[r0, r1]) => Record::LineRendered { row: wide(r0, r1), timestamp_ms },
        (Channel::SceneTransition, &[from, to]) => {
            let phase = |byte| Phase::from_wire(byte).ok_or(RecordFault::Phase(byte));
            Record::SceneTransition { from: phase(from)?, to: phase(to)?, timestamp_ms }
        }
        (Channel::BootloaderDecision, &[choice, a0, a1, a2, a3]) => Record::BootloaderDecision {
            choice: Choice::from_wire(choice).ok_or(RecordFault::Choice(choice))?,
            attempt: u32::from_le_bytes([a0, a1, a2, a3]),
            timestamp_ms,
        },
        (Channel::PasteReceived, &[l0, l1, correct]) => {
            Record::PasteReceived { len: wide(l0, l1), correct: correct != 0, timestamp_ms }
        }
        (Channel::BootloaderTimeout, &[]) => Record::BootloaderTimeout { timestamp_ms },
        (Channel::ModeSwitch, &[rw0, rw1, rh0, rh1, aw0, aw1, ah0, ah1]) => Record::ModeSwitch {
            requested_w: wide(rw0, rw1),
            requested_h: wide(rh0, rh1),
            applied_w: wide(aw0, aw1),
            applied_h: wide(ah0, ah1),
            timestamp_ms,
        },
        (Channel::ModeCycle, &[c0, c1, c2, c3, interrupted]) => Record::ModeCycle {
            count: u32::from_le_bytes([c0, c1, c2, c3]),
            interrupted: interrupted != 0,
            timestamp_ms,
        },
        _ => return Err(wrong_length),
    })
}

#[cfg(test)]
mod tests {
    use super::DecodeError as E;
    use super::*;
    use crate::payload::encode;
    use proptest::prelude::*;

    const IDLE: &[u8] = include_bytes!("../../../fixtures/digest/idle.bin");
    const TWO_EVENTS: &[u8] = include_bytes!("../../../fixtures/digest/two_events.bin");
    const BUDGET: &[u8] = include_bytes!("../../../fixtures/digest/budget.bin");

    #[test]
    fn a_decoded_golden_has_its_values() {
        let digest = decode(TWO_EVENTS).unwrap();
        assert_eq!(digest.frame_counter, 30);
        assert_eq!(digest.framebuffer_hash, 0xE709_9170);
        assert_eq!(digest.channel_hashes.keypress, 0x09D6_CF8B);
        let records = [
            Record::Keypress { unicode: 'i', scancode: 0, timestamp_ms: 22_550 },
            Record::BootloaderDecision { choice: Choice::Ignore, attempt: 1, timestamp_ms: 22_550 },
        ];
        assert_eq!(digest.raw_records, records);
        assert_eq!(digest.unknown_records, []);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn goldens_have_their_published_json_in_both_directions() {
        let goldens = [
            (IDLE, include_str!("../../../fixtures/digest/idle.json")),
            (TWO_EVENTS, include_str!("../../../fixtures/digest/two_events.json")),
            (BUDGET, include_str!("../../../fixtures/digest/budget.json")),
        ];
        for (payload, json) in goldens {
            let digest = decode(payload).unwrap();
            assert_eq!(serde_json::to_string_pretty(&digest).unwrap() + "\n", json);
            let digest: Digest = serde_json::from_str(json).unwrap();
            assert_eq!(digest.encode().unwrap().as_bytes(), payload);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn special_keys_and_unknown_records_have_their_published_json() {
        let escape = Record::Keypress { unicode: '\0', scancode: 23, timestamp_ms: 1000 };
        let json = r#"{"keypress":{"unicode":"\u0000","scancode":23,"timestamp_ms":1000}}"#;
        assert_eq!(serde_json::to_string(&escape).unwrap(), json);
        let unknown = UnknownRecord { tag: 9, value: vec![171, 205] };
        assert_eq!(serde_json::to_string(&unknown).unwrap(), r#"{"tag":9,"value":[171,205]}"#);
    }

    #[test]
    fn each_fault_is_told_with_its_place_and_in_order() {
        let broken = |changes: &[(usize, u8)]| {
            let mut bytes = BUDGET.to_vec();
            changes.iter().for_each(|(offset, byte)| bytes[*offset] = *byte);
            decode(&bytes).unwrap_err()
        };
        assert_eq!(decode(&BUDGET[..61]), Err(E::Short { found: 61 }));
        assert_eq!(broken(&[(3, b'X'), (4, 1)]), E::BadMagic { found: *b"SXDX" });
        assert_eq!(broken(&[(4, 1), (9, 7)]), E::UnsupportedSchemaVersion(1));
        assert_eq!(broken(&[(9, 7), (10, 0)]), E::RecordCountTooSmall { found: 7 });
        let reason = HashBlockFault::Tag { wanted: 0x18, found: 0x11 };
        assert_eq!(broken(&[(52, 0x11), (58, 9), (59, 200)]), E::MalformedHashBlock { offset: 52, reason });
        let reason = HashBlockFault::Length { found: 5 };
        assert_eq!(broken(&[(17, 5)]), E::MalformedHashBlock { offset: 16, reason });
        assert_eq!(broken(&[(84, 14)]), E::TruncatedValue { tag: 0x08, offset: 83 });
        let reason = RecordFault::Length { wanted: 12, found: 10 };
        assert_eq!(broken(&[(58, 0x01)]), E::MalformedRawRecord { tag: 0x01, offset: 58, reason });
        let reason = RecordFault::Phase(0x15);
        assert_eq!(broken(&[(58, 0x03)]), E::MalformedRawRecord { tag: 0x03, offset: 58, reason });
        let reason = RecordFault::Choice(0x03);
        assert_eq!(broken(&[(83, 0x04), (93, 3)]), E::MalformedRawRecord { tag: 0x04, offset: 83, reason });
    }

    #[test]
    fn one_stray_byte_before_the_trailer_is_told() {
        let mut bytes = BUDGET.to_vec();
        bytes.insert(98, 0x01);
        assert_eq!(decode(&bytes), Err(DecodeError::Trailing { extra_bytes: 1 }));
    }

    #[test]
    fn unknown_tags_and_a_count_that_disagrees_are_no_errors() {
        let mut bytes = TWO_EVENTS.to_vec();
        bytes[9] = 200;
        bytes[58] = 0x11;
        bytes[59] = 12;
        let digest = decode(&bytes).unwrap();
        assert_eq!(digest.raw_records.len(), 1);
        assert_eq!(digest.unknown_records, [UnknownRecord { tag: 0x11, value: bytes[60..72].to_vec() }]);
    }

    #[test]
    fn a_surrogate_becomes_the_replacement_character_and_any_byte_but_0_is_true() {
        let mut bytes = TWO_EVENTS.to_vec();
        bytes[68..70].copy_from_slice(&0xD800_u16.to_le_bytes());
        let record = decode(&bytes).unwrap().raw_records[0];
        assert_eq!(record, Record::Keypress { unicode: '\u{FFFD}', scancode: 0, timestamp_ms: 22_550 });
        let mut bytes = BUDGET.to_vec();
        bytes[82] = 0xFF;
        let record = decode(&bytes).unwrap().raw_records[1];
        assert_eq!(record, Record::PasteReceived { len: 23, correct: true, timestamp_ms: 7000 });
    }

    #[test]
    fn a_truncated_payload_decodes_only_where_a_record_ends() {
        for payload in [IDLE, TWO_EVENTS, BUDGET] {
            let mut ends = vec![HASH_BLOCK_END];
            ends.extend(decode(payload).unwrap().raw_records.iter().scan(HASH_BLOCK_END, |end, record| {
                *end += record.encode().as_bytes().len();
                Some(*end)
            }));
            for len in 0..=payload.len() {
                let decoded = decode(&payload[..len]);
                if len < MIN_PAYLOAD {
                    assert_eq!(decoded, Err(DecodeError::Short { found: len }));
                } else {
                    assert_eq!(decoded.is_ok(), ends.contains(&(len - 4)), "{len} bytes: {decoded:?}");
                }
            }
        }
    }

    #[test]
    fn what_no_symbol_can_say_is_refused() {
        let mut digest = decode(BUDGET).unwrap();
        digest.raw_records.extend(digest.raw_records.clone());
        assert_eq!(digest.encode(), Err(EncodeError::TooLarge { wanted: 142 }));
        digest.raw_records.clear();
        digest.unknown_records = vec![UnknownRecord { tag: 9, value: vec![0; 300] }];
        assert_eq!(digest.encode(), Err(EncodeError::TooLarge { wanted: 364 }));
        digest.unknown_records = vec![UnknownRecord { tag: 8, value: Vec::new() }];
        assert_eq!(digest.encode(), Err(EncodeError::KnownTag { tag: 8 }));
    }

    /// Records as they are after a trip over the wire, which narrows.
    fn any_record() -> impl Strategy<Value = Record> {
        let channel = proptest::sample::select(&Channel::ALL[..]);
        (channel, any::<[u16; 4]>(), any::<u32>(), any::<bool>(), any::<u64>()).prop_map(
            |(channel, sizes, number, flag, timestamp_ms)| {
                let [a, b, c, d] = sizes.map(u32::from);
                let phase = |number: u32| Phase::ALL[number as usize % Phase::ALL.len()];
                match channel {
                    Channel::Keypress => {
                        let unicode = char::from_u32(a).unwrap_or('\u{FFFD}');
                        Record::Keypress { unicode, scancode: sizes[1], timestamp_ms }
                    }
                    Channel::LineRendered => Record::LineRendered { row: a, timestamp_ms },
                    Channel::SceneTransition => {
                        Record::SceneTransition { from: phase(a), to: phase(b), timestamp_ms }
                    }
                    Channel::BootloaderDecision => {
                        let choice = Choice::ALL[a as usize % Choice::ALL.len()];
                        Record::BootloaderDecision { choice, attempt: number, timestamp_ms }
                    }
                    Channel::PasteReceived => Record::PasteReceived { len: a, correct: flag, timestamp_ms },
                    Channel::BootloaderTimeout => Record::BootloaderTimeout { timestamp_ms },
                    Channel::ModeSwitch => Record::ModeSwitch {
                        requested_w: a,
                        requested_h: b,
                        applied_w: c,
                        applied_h: d,
                        timestamp_ms,
                    },
                    Channel::ModeCycle => {
                        Record::ModeCycle { count: number, interrupted: flag, timestamp_ms }
                    }
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            records in proptest::collection::vec(any_record(), 0..6),
            frame_counter: u32,
            framebuffer_hash: u32,
        ) {
            let mut hashes = ChannelHashes::default();
            records.iter().for_each(|record| hashes.extend(record));
            let payload = encode(frame_counter, &hashes, records.iter(), framebuffer_hash);
            let digest = decode(payload.as_bytes()).unwrap();
            prop_assert!(records.ends_with(&digest.raw_records));
            prop_assert_eq!(digest.channel_hashes, hashes);
            prop_assert_eq!(digest.frame_counter, frame_counter);
            prop_assert_eq!(digest.framebuffer_hash, framebuffer_hash);
            prop_assert_eq!(digest.encode().unwrap(), payload);
        }

        #[test]
        fn a_digest_survives_bytes_with_its_unknown_records(
            raw_records in proptest::collection::vec(any_record(), 0..2),
            tag in 0x09_u8..=0xFF,
            value in proptest::collection::vec(any::<u8>(), 0..24),
        ) {
            let unknown_records = vec![UnknownRecord { tag, value }];
            let digest = Digest { raw_records, unknown_records, ..decode(IDLE).unwrap() };
            prop_assert_eq!(decode(digest.encode().unwrap().as_bytes()), Ok(digest));
        }

        #[test]
        fn no_bytes_make_it_panic(tail: Vec<u8>, keep in 0_usize..=BUDGET.len()) {
            let mut bytes = BUDGET[..keep].to_vec();
            bytes.extend(tail);
            if let Ok(digest) = decode(&bytes) {
                prop_assert_eq!(&bytes[..4], b"SXDG");
                prop_assert_eq!(&bytes[bytes.len() - 4..], digest.framebuffer_hash.to_le_bytes());
            }
        }
    }
}
