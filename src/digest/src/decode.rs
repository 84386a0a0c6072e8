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
