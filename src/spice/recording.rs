//! The format of recordings: what arrived on the channels of a session, with times. `docs/recordings.md` has the layout.
//!
//! INVARIANT: pure, and made for bytes of any origin. [`Reader`] makes room for what is there, not for what a length
//! claims, and every failure names its place in the file. What a killed run left is readable up to its last block.
//!
//! [`Encoder`] makes the stream of entries, [`encode_block`] cuts it into blocks, [`Reader`] undoes both.

use std::io::{self, Read, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use thiserror::Error;

use super::limits::Limits;
use super::wire::header::{Frame, HeaderForm};
use super::wire::link::{Capabilities, ChannelId, ChannelType};

/// The first bytes of every recording.
pub const MAGIC: [u8; 8] = *b"\x89bstrec\n";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Bytes of entries in a block, at most.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Bytes that a block takes in the file, at most: what cannot be compressed grows a little.
const STORED_LIMIT: u32 = (1 << 20) + (1 << 16);

/// Bytes before the first block.
const FILE_HEADER: usize = MAGIC.len() + 4;

/// Bytes before what a block stores.
const BLOCK_HEADER: usize = 12;

/// Capabilities are few; a server with more than this many words of them is none.
const CAPABILITY_WORDS: u64 = 64;

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Since the recording began.
    pub at: Duration,
    /// What.
    pub fact: Fact<'a>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<'a> {
    /// A session began; channels of the one before are gone.
    Session(SessionFacts),
    /// A channel was linked.
    Opened {
        /// Which.
        channel: ChannelId,
        /// Headers of its messages.
        form: HeaderForm,
        /// What the server can do on any channel.
        common: Capabilities,
        /// What the server can do on this one.
        channel_caps: Capabilities,
    },
    /// A message arrived.
    Message {
        /// On which channel.
        channel: ChannelId,
        /// The message.
        frame: Frame<'a>,
    },
    /// A message arrived whose body was not to be kept.
    Withheld {
        /// On which channel.
        channel: ChannelId,
        /// Its type.
        kind: u16,
        /// Bytes of the body.
        size: u32,
    },
    /// From now on a screen that is made anew keeps its pixels, or does so no more; all channels.
    HoldScreen(bool),
    /// The displays of the session have one GLZ window together. Before the first of them is linked.
    SharedWindow,
    /// A channel ended.
    Closed {
        /// Which.
        channel: ChannelId,
    },
    /// The recording was ended in order. Nothing follows.
    End,
}

/// What the server was told about memory on this side, on which its images depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionFacts {
    /// Pixels of a display channel's image cache; 0 is none.
    pub image_cache_pixels: u32,
    /// Pixels of a display channel's GLZ dictionary; 0 is none.
    pub glz_window_pixels: u32,
}

/// Why a recording cannot be read on. Offsets count the bytes of the file from 0.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file does not begin as recordings do.
    #[error("not a recording: the file begins with {found:02x?}, wanted {:02x?}", MAGIC)]
    Foreign {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// Another version.
    #[error("recording of version {found}, wanted {VERSION} (offset 8)")]
    Version {
        /// What the file says.
        found: u32,
    },
    /// The file ends within a block.
    #[error("the recording is cut short: the block at offset {offset} wants {wanted} bytes, {got} are there")]
    CutShort {
        /// Where the block begins.
        offset: u64,
        /// Bytes that it should have, its header included.
        wanted: u64,
        /// Bytes that there are.
        got: u64,
    },
    /// A block is not what was written.
    #[error("the recording is damaged: block at offset {offset}: {problem}")]
    Damaged {
        /// Where the block begins.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read.
    #[error("read failed at offset {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign { .. } => Some("recordings are made with `backstaff run --record FILE`"),
            Self::Version { .. } => Some("it was made by another version of backstaff; replay it with that"),
            Self::CutShort { .. } | Self::Damaged { .. } => {
                Some("what came before is whole; the copy may be incomplete, or the disk was full")
            }
            Self::Io { .. } => None,
        }
    }
}

/// Appends entries to a stream. Times are kept as differences, so one encoder makes one stream.
#[derive(Debug, Default)]
pub struct Encoder {
    last_us: u64,
}

impl Encoder {
    /// Appends `entry` to `stream`. An entry that is older than the one before is given the time of that one.
    pub fn encode(&mut self, entry: &Entry<'_>, stream: &mut Vec<u8>) {
        stream.push(tag_of(&entry.fact));
        let at_us = u64::try_from(entry.at.as_micros()).unwrap_or(u64::MAX).max(self.last_us);
        push_number(at_us - self.last_us, stream);
        self.last_us = at_us;
        match &entry.fact {
            Fact::Session(facts) => {
                push_number(facts.image_cache_pixels.into(), stream);
                push_number(facts.glz_window_pixels.into(), stream);
            }
            Fact::Opened { channel, form, common, channel_caps } => {
                push_channel(*channel, stream);
                stream.push(u8::from(*form == HeaderForm::Full));
                for caps in [common, channel_caps] {
                    push_number(length(caps.0.len()), stream);
                    caps.0.iter().for_each(|word| stream.extend(word.to_le_bytes()));
                }
            }
            Fact::Message { channel, frame } => {
                push_channel(*channel, stream);
                push_number(frame.kind.into(), stream);
                push_number(frame.sub_list.into(), stream);
                push_number(length(frame.body.len()), stream);
                stream.extend_from_slice(frame.body);
            }
            Fact::Withheld { channel, kind, size } => {
                push_channel(*channel, stream);
                push_number((*kind).into(), stream);
                push_number((*size).into(), stream);
            }
            Fact::HoldScreen(holds) => stream.push(u8::from(*holds)),
            Fact::SharedWindow => {}
            Fact::Closed { channel } => push_channel(*channel, stream),
            Fact::End => {}
        }
    }
}

/// The beginning of a file.
pub fn encode_file_header() -> Vec<u8> {
    [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat()
}

/// Appends a block with a piece of the stream, [`BLOCK_BYTES`] at most, to `file`.
///
/// # Panics
/// The piece is longer.
pub fn encode_block(piece: &[u8], level: Compression, file: &mut Vec<u8>) {
    assert!(piece.len() <= BLOCK_BYTES, "a block of {} bytes", piece.len());
    let mut stored = ZlibEncoder::new(Vec::new(), level);
    let stored = stored.write_all(piece).and_then(|()| stored.finish());
    let stored = stored.expect("a vector takes all that is written to it");
    let word = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    file.extend(word(stored.len()));
    file.extend(word(piece.len()));
    file.extend(checksum(&stored).to_le_bytes());
    file.extend(stored);
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Reads the entries of a recording, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    file: R,
    /// Bytes of the file that were read.
    offset: u64,
    /// Entries that were unpacked, and those before `at` were returned.
    stream: Vec<u8>,
    at: usize,
    stored: Vec<u8>,
    /// Where the block that was unpacked last begins.
    block: u64,
    last_us: u64,
    is_ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of `file`.
    ///
    /// # Errors
    /// It is no recording, or of another version.
    pub fn open(file: R) -> Result<Self, ReadError> {
        let mut reader = Self {
            file,
            offset: 0,
            stream: Vec::new(),
            at: 0,
            stored: Vec::new(),
            block: 0,
            last_us: 0,
            is_ended: false,
        };
        let mut header = [0; FILE_HEADER];
        let got = reader.fill(&mut header)?;
        let (magic, version) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            let found = header.get(..got.min(MAGIC.len())).unwrap_or_default().to_vec();
            return Err(ReadError::Foreign { found });
        }
        let found = word_at(version, 0);
        if got < FILE_HEADER {
            let (wanted, got) = (length(FILE_HEADER), length(got));
            return Err(ReadError::CutShort { offset: 0, wanted, got });
        }
        if found != VERSION {
            return Err(ReadError::Version { found });
        }
        Ok(reader)
    }

    /// The next entry; `None` behind the last. A recording that was not ended in order just stops.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing can be read after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        // The same bytes are looked at twice only when a block ended within an entry.
        let (consumed, is_end) = loop {
            let unread = self.stream.get(self.at..).unwrap_or_default();
            if self.is_ended && !unread.is_empty() {
                let problem = "an entry follows the end".to_owned();
                return Err(ReadError::Damaged { offset: self.block, problem });
            }
            let mut cursor = Cursor { rest: unread };
            match cursor.entry(self.last_us) {
                Ok(Some(entry)) => break (unread.len() - cursor.rest.len(), entry.fact == Fact::End),
                Ok(None) => {}
                Err(problem) => {
                    return Err(ReadError::Damaged { offset: self.block, problem: problem.to_owned() });
                }
            }
            if !self.load_block()? {
                // What was cut off by the death of its writer is not missed.
                return Ok(None);
            }
        };
        let entry = self.stream.get(self.at..).unwrap_or_default();
        self.at += consumed;
        self.is_ended |= is_end;
        let entry = Cursor { rest: entry }.entry(self.last_us);
        let entry = entry.ok().flatten().expect("it was there a moment ago");
        self.last_us = u64::try_from(entry.at.as_micros()).unwrap_or(u64::MAX);
        Ok(Some(entry))
    }

    /// Whether the recording was ended in order; known when there is no further entry.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Bytes of the file that were read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Unpacks another block behind what was not returned yet. False at the end of the file.
    fn load_block(&mut self) -> Result<bool, ReadError> {
        let offset = self.offset;
        let mut header = [0; BLOCK_HEADER];
        let got = self.fill(&mut header)?;
        if got == 0 {
            return Ok(false);
        }
        self.block = offset;
        let cut_short = |wanted: usize, got: usize| {
            let (wanted, got) = (length(wanted), length(got));
            ReadError::CutShort { offset, wanted, got }
        };
        if got < BLOCK_HEADER {
            return Err(cut_short(BLOCK_HEADER, got));
        }
        let damaged = |problem: String| ReadError::Damaged { offset, problem };
        let [stored, plain, sum] = [0, 4, 8].map(|at| word_at(&header, at));
        let plain_bytes = usize::try_from(plain).unwrap_or(usize::MAX);
        if stored > STORED_LIMIT || plain_bytes > BLOCK_BYTES {
            return Err(damaged(format!(
                "{stored} bytes that unpack to {plain}, limits are {STORED_LIMIT} and {BLOCK_BYTES}"
            )));
        }
        self.stored.clear();
        let read = self.file.by_ref().take(stored.into()).read_to_end(&mut self.stored);
        let got = read.map_err(|source| ReadError::Io { offset, source })?;
        self.offset += length(got);
        let stored_bytes = usize::try_from(stored).unwrap_or(usize::MAX);
        if got < stored_bytes {
            return Err(cut_short(BLOCK_HEADER + stored_bytes, BLOCK_HEADER + got));
        }
        let found = checksum(&self.stored);
        if found != sum {
            return Err(damaged(format!("its checksum is {found:08x}, wanted {sum:08x}")));
        }
        self.stream.drain(..self.at);
        self.at = 0;
        let mut unpacked = ZlibDecoder::new(self.stored.as_slice()).take(u64::from(plain) + 1);
        match unpacked.read_to_end(&mut self.stream) {
            Ok(bytes) if bytes == plain_bytes => Ok(true),
            Ok(bytes) => Err(damaged(format!("it unpacks to {bytes} bytes or more, wanted {plain}"))),
            Err(error) => Err(damaged(format!("it does not unpack: {error}"))),
        }
    }

    /// Reads until `bytes` is full or the file ends.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, ReadError> {
        let mut got = 0;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { offset: self.offset, source }),
            }
        }
        self.offset += length(got);
        Ok(got)
    }
}

const SESSION: u8 = 1;
const OPENED: u8 = 2;
const MESSAGE: u8 = 3;
const WITHHELD: u8 = 4;
const CLOSED: u8 = 5;
const END: u8 = 6;
const HOLD_SCREEN: u8 = 7;
const SHARED_WINDOW: u8 = 8;

fn tag_of(fact: &Fact<'_>) -> u8 {
    match fact {
        Fact::Session(_) => SESSION,
        Fact::Opened { .. } => OPENED,
        Fact::Message { .. } => MESSAGE,
        Fact::Withheld { .. } => WITHHELD,
        Fact::HoldScreen(_) => HOLD_SCREEN,
        Fact::SharedWindow => SHARED_WINDOW,
        Fact::Closed { .. } => CLOSED,
        Fact::End => END,
    }
}

/// Takes an entry off the stream. Every step is `None` where the stream ends too early, an error where it is wrong.
struct Cursor<'a> {
    rest: &'a [u8],
}

type Taken<T> = Result<Option<T>, &'static str>;

/// As `?`, for both ways in which a step may have nothing.
macro_rules! take {
    ($step:expr) => {
        match $step? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl<'a> Cursor<'a> {
    fn entry(&mut self, last_us: u64) -> Taken<Entry<'a>> {
        let tag = take!(self.byte());
        let later = take!(self.number());
        let at_us = last_us.checked_add(later).ok_or("an entry lies beyond all time")?;
        let fact = take!(self.fact(tag));
        Ok(Some(Entry { at: Duration::from_micros(at_us), fact }))
    }

    fn fact(&mut self, tag: u8) -> Taken<Fact<'a>> {
        Ok(Some(match tag {
            SESSION => Fact::Session(SessionFacts {
                image_cache_pixels: take!(self.small("pixels of the image cache")),
                glz_window_pixels: take!(self.small("pixels of the GLZ window")),
            }),
            OPENED => {
                let channel = take!(self.channel());
                let form = match take!(self.byte()) {
                    0 => HeaderForm::Mini,
                    1 => HeaderForm::Full,
                    _ => return Err("unknown form of headers"),
                };
                let common = take!(self.capabilities());
                let channel_caps = take!(self.capabilities());
                Fact::Opened { channel, form, common, channel_caps }
            }
            MESSAGE => {
                let channel = take!(self.channel());
                let kind: u16 = take!(self.small("message type"));
                let sub_list: u32 = take!(self.small("offset of sub-messages"));
                let size: u32 = take!(self.small("message size"));
                if size > Limits::default().message_bytes {
                    return Err("a message is larger than the limit of 64 MiB");
                }
                let body = take!(self.bytes(usize::try_from(size).unwrap_or(usize::MAX)));
                Fact::Message { channel, frame: Frame { kind, sub_list, body } }
            }
            WITHHELD => Fact::Withheld {
                channel: take!(self.channel()),
                kind: take!(self.small("message type")),
                size: take!(self.small("message size")),
            },
            HOLD_SCREEN => Fact::HoldScreen(take!(self.byte()) != 0),
            SHARED_WINDOW => Fact::SharedWindow,
            CLOSED => Fact::Closed { channel: take!(self.channel()) },
            END => Fact::End,
            _ => return Err("unknown kind of entry"),
        }))
    }

    fn channel(&mut self) -> Taken<ChannelId> {
        let channel_type = ChannelType(take!(self.byte()));
        Ok(Some(ChannelId { channel_type, id: take!(self.byte()) }))
    }

    fn capabilities(&mut self) -> Taken<Capabilities> {
        let words = take!(self.number());
        if words > CAPABILITY_WORDS {
            return Err("more than 64 words of capabilities");
        }
        let bytes = take!(self.bytes(usize::try_from(words * 4).unwrap_or(usize::MAX)));
        let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        Ok(Some(Capabilities(words.collect())))
    }

    fn byte(&mut self) -> Taken<u8> {
        Ok(self.rest.split_first().map(|(byte, rest)| {
            self.rest = rest;
            *byte
        }))
    }

    fn bytes(&mut self, count: usize) -> Taken<&'a [u8]> {
        Ok(self.rest.split_at_checked(count).map(|(bytes, rest)| {
            self.rest = rest;
            bytes
        }))
    }

    /// A number of a type that may be too small for it.
    fn small<N: TryFrom<u64>>(&mut self, what: &'static str) -> Taken<N> {
        let number = take!(self.number());
        N::try_from(number).map(Some).map_err(|_| what)
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self) -> Taken<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = take!(self.byte());
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(number));
            }
        }
        Err("a number has more than 64 bits")
    }
}

fn push_number(mut number: u64, stream: &mut Vec<u8>) {
    loop {
        let bits = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            return stream.push(bits);
        }
        stream.push(bits | 0x80);
    }
}

fn push_channel(channel: ChannelId, stream: &mut Vec<u8>) {
    stream.extend([channel.channel_type.0, channel.id]);
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    u32::from_le_bytes(*word.expect("both headers have a fixed length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISPLAY: ChannelId = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };

    fn entries() -> Vec<Entry<'static>> {
        let frame = |kind, body| Frame { kind, sub_list: 0, body };
        let facts = [
            (0, Fact::Session(SessionFacts { image_cache_pixels: 20 << 20, glz_window_pixels: 0 })),
            (
                1_000,
                Fact::Opened {
                    channel: DISPLAY,
                    form: HeaderForm::Mini,
                    common: Capabilities(vec![0xb]),
                    channel_caps: Capabilities(vec![1, 2]),
                },
            ),
            (1_300, Fact::Message { channel: DISPLAY, frame: frame(102, b"") }),
            (1_300, Fact::Message { channel: DISPLAY, frame: frame(304, &[7; 300]) }),
            (70_000_000, Fact::Withheld { channel: ChannelId::MAIN, kind: 109, size: 4_096 }),
            (70_000_001, Fact::HoldScreen(true)),
            (70_000_001, Fact::SharedWindow),
            (70_000_001, Fact::Closed { channel: DISPLAY }),
            (70_000_001, Fact::End),
        ];
        facts.into_iter().map(|(us, fact)| Entry { at: Duration::from_micros(us), fact }).collect()
    }

    fn stream(entries: &[Entry<'_>]) -> Vec<u8> {
        let (mut encoder, mut stream) = (Encoder::default(), Vec::new());
        entries.iter().for_each(|entry| encoder.encode(entry, &mut stream));
        stream
    }

    /// The stream in pieces of this many bytes, each in a block.
    fn file(stream: &[u8], piece: usize) -> Vec<u8> {
        let mut file = encode_file_header();
        stream.chunks(piece).for_each(|piece| encode_block(piece, Compression::fast(), &mut file));
        file
    }

    /// How many entries there are, how it ended, and whether in order.
    fn read(file: &[u8]) -> (Vec<String>, Result<bool, ReadError>) {
        let mut seen = Vec::new();
        let mut reader = match Reader::open(file) {
            Ok(reader) => reader,
            Err(error) => return (seen, Err(error)),
        };
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => seen.push(format!("{entry:?}")),
                Ok(None) => return (seen, Ok(reader.is_ended())),
                Err(error) => return (seen, Err(error)),
            }
        }
    }

    #[test]
    fn entries_are_their_bytes() {
        let frame = Frame { kind: 304, sub_list: 0, body: &[0xaa, 0xbb] };
        let message =
            Entry { at: Duration::from_micros(300), fact: Fact::Message { channel: DISPLAY, frame } };
        let closed = Entry { at: Duration::from_micros(301), fact: Fact::Closed { channel: DISPLAY } };
        // Tag, time since the entry before, channel; type, sub-messages, size, body.
        let wanted = [3, 0xac, 2, 2, 0, 0xb0, 2, 0, 2, 0xaa, 0xbb, 5, 1, 2, 0];
        assert_eq!(stream(&[message, closed]), wanted);
    }

    #[test]
    fn what_was_written_is_read_however_it_was_cut_into_blocks() {
        let entries = entries();
        let wanted: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
        for piece in [1, 7, 100, BLOCK_BYTES] {
            let (seen, end) = read(&file(&stream(&entries), piece));
            assert_eq!(seen, wanted, "pieces of {piece}");
            assert!(end.unwrap(), "it ends in order");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_read_to_its_last_whole_entry() {
        let stream = stream(&entries());
        for length in 0..stream.len() {
            let (seen, end) = read(&file(&stream[..length], BLOCK_BYTES));
            assert!(!end.unwrap(), "it does not end in order");
            assert!(seen.len() < entries().len());
        }
    }

    #[test]
    fn a_file_that_ends_within_a_block_names_it() {
        let stream = stream(&entries());
        let whole = file(&stream, 100);
        let first_block = 12 + 12 + word_at(&whole, 12) as usize;
        for length in first_block + 1..whole.len() {
            let Err(ReadError::CutShort { offset, wanted, got }) = read(&whole[..length]).1 else {
                // A cut between two blocks is what a killed run leaves.
                assert!(!read(&whole[..length]).1.unwrap());
                continue;
            };
            assert!(offset >= first_block as u64 && got < wanted);
            assert_eq!(offset + got, length as u64);
        }
    }

    #[test]
    fn every_damaged_byte_is_found_or_harmless() {
        let whole = file(&stream(&entries()), 100);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let (seen, end) = read(&damaged);
            let error = end.expect_err("a block or the header is wrong");
            assert!(seen.len() < entries().len(), "{at}: {error}");
        }
    }

    #[test]
    fn foreign_files_other_versions_and_wrong_entries_are_told_apart() {
        let message = |file: &[u8]| read(file).1.unwrap_err().to_string();
        assert_eq!(
            message(b"\x89PNG\r\n\x1a\n and more"),
            "not a recording: the file begins with [89, 50, 4e, 47, 0d, 0a, 1a, 0a], wanted [89, 62, 73, 74, 72, 65, 63, 0a]"
        );
        assert_eq!(
            message(b""),
            "not a recording: the file begins with [], wanted [89, 62, 73, 74, 72, 65, 63, 0a]"
        );
        let newer = [MAGIC.as_slice(), &9_u32.to_le_bytes()].concat();
        assert_eq!(message(&newer), "recording of version 9, wanted 1 (offset 8)");
        for (entry, wanted) in [
            (&[9, 0][..], "unknown kind of entry"),
            (&[6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "a number has more than 64 bits"),
            (&[3, 0, 2, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 1], "a message is larger than the limit of 64 MiB"),
            (&[2, 0, 2, 0, 0, 0x41], "more than 64 words of capabilities"),
        ] {
            let wanted = format!("the recording is damaged: block at offset 12: {wanted}");
            assert_eq!(message(&file(entry, BLOCK_BYTES)), wanted);
        }
        for piece in [2, 4] {
            assert!(message(&file(&[6, 0, 6, 0], piece)).contains("an entry follows the end"));
        }
    }

    #[test]
    fn a_block_that_claims_much_gets_no_room_for_it() {
        let mut claims = encode_file_header();
        claims.extend([0xff; 12]);
        let error = read(&claims).1.unwrap_err().to_string();
        let wanted =
            "block at offset 12: 4294967295 bytes that unpack to 4294967295, limits are 1114112 and 1048576";
        assert!(error.ends_with(wanted), "{error}");
    }
}
