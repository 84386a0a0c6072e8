//! The link messages that open a channel, before any framing.

use std::fmt;

use super::bytes::{Field, Reader, WireError, Writer, fields};

/// `REDQ`, the first bytes in both directions.
pub const MAGIC: u32 = 0x5144_4552;
/// The only major version there is.
pub const VERSION_MAJOR: u32 = 2;
/// The minor version this side speaks; peers ignore it.
pub const VERSION_MINOR: u32 = 2;
/// Bytes of a DER public key of 1024 bits.
pub const PUBLIC_KEY_BYTES: usize = 162;
/// Bytes of an encrypted ticket.
pub const TICKET_BYTES: usize = 128;
/// Larger link messages are refused in both directions.
pub const SIZE_LIMIT: u32 = 4096;

/// Bits of the common capability word.
pub mod capability {
    /// The client names the mechanism before its ticket.
    pub const AUTH_SELECTION: u32 = 0;
    /// Tickets are understood.
    pub const AUTH_SPICE: u32 = 1;
    /// SASL is understood.
    pub const AUTH_SASL: u32 = 2;
    /// Messages have six-byte headers.
    pub const MINI_HEADER: u32 = 3;
}

fields! {
    /// SpiceLinkHeader.
    #[derive(Copy)]
    LinkHeader {
        /// [`MAGIC`].
        magic: u32,
        /// [`VERSION_MAJOR`].
        major_version: u32,
        /// Anything.
        minor_version: u32,
        /// Bytes that follow.
        size: u32,
    }
}

impl LinkHeader {
    /// Bytes of this header.
    pub const LENGTH: usize = 16;

    /// The header of a message of `size` bytes.
    pub fn new(size: u32) -> Self {
        Self { magic: MAGIC, major_version: VERSION_MAJOR, minor_version: VERSION_MINOR, size }
    }

    /// Decodes a header and checks magic, major version and that `size` lies in `minimum..=SIZE_LIMIT`.
    pub fn decode_checked(bytes: &[u8], minimum: u32) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let header = Self::decode(&mut reader)?;
        let mismatch = |what, wanted: u32, got: u32| {
            Err(WireError::Mismatch { what, wanted: wanted.into(), got: got.into() })
        };
        if header.magic != MAGIC {
            return mismatch("link magic", MAGIC, header.magic);
        }
        if header.major_version != VERSION_MAJOR {
            return mismatch("major protocol version", VERSION_MAJOR, header.major_version);
        }
        let (offset, size) = (reader.offset(), header.size);
        if size > SIZE_LIMIT {
            let (got, limit) = (size.into(), SIZE_LIMIT.into());
            return Err(WireError::OverLimit { what: "link message size", got, limit, offset });
        }
        if size < minimum {
            let left = usize::try_from(size).unwrap_or(usize::MAX);
            return Err(WireError::Truncated { field: "link message", wanted: minimum.into(), offset, left });
        }
        Ok(header)
    }
}

/// A channel's type. Open: servers may list types this side does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelType(pub u8);

impl ChannelType {
    /// The session itself.
    pub const MAIN: Self = Self(1);
    /// A screen.
    pub const DISPLAY: Self = Self(2);
    /// Keyboard and mouse.
    pub const INPUTS: Self = Self(3);
    /// The pointer's shape.
    pub const CURSOR: Self = Self(4);
    /// Sound of the guest's.
    pub const PLAYBACK: Self = Self(5);
}

impl fmt::Display for ChannelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "main",
            2 => "display",
            3 => "inputs",
            4 => "cursor",
            5 => "playback",
            6 => "record",
            7 => "tunnel",
            8 => "smartcard",
            9 => "usbredir",
            10 => "port",
            11 => "webdav",
            other => return write!(f, "type-{other}"),
        };
        f.write_str(name)
    }
}

/// SpiceChannelId: one channel of a session, shown as `display 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    /// What it is for.
    pub channel_type: ChannelType,
    /// Which of its type.
    pub id: u8,
}

impl ChannelId {
    /// The main channel.
    pub const MAIN: Self = Self { channel_type: ChannelType::MAIN, id: 0 };
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.channel_type, self.id)
    }
}

impl<'a> Field<'a> for ChannelId {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self { channel_type: ChannelType(u8::decode(reader)?), id: u8::decode(reader)? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.channel_type.0.encode(writer);
        self.id.encode(writer);
    }
}

/// Capability words; bit n of the whole is bit `n % 32` of word `n / 32`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(pub Vec<u32>);

impl Capabilities {
    /// The set of the given bits, all below 32.
    pub fn of(bits: &[u32]) -> Self {
        Self(vec![bits.iter().fold(0, |word, bit| word | 1 << bit)])
    }

    /// Whether `bit` is set.
    pub fn has(&self, bit: u32) -> bool {
        let word = usize::try_from(bit / 32).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word >> (bit % 32) & 1 == 1)
    }
}

/// The two capability sets at the end of both link messages.
fn decode_capabilities(
    body: &[u8],
    common_words: u32,
    channel_words: u32,
    offset: u32,
) -> Result<(Capabilities, Capabilities), WireError> {
    let mut reader = Reader::new(body);
    reader.counted_bytes(offset).map_err(|error| error.in_field("caps_offset"))?;
    let mut words = |count: u32| reader.list(count.into(), 4).map_err(|error| error.in_field("capabilities"));
    Ok((Capabilities(words(common_words)?), Capabilities(words(channel_words)?)))
}

fn encode_capabilities(common: &Capabilities, channel: &Capabilities, offset: u32, writer: &mut Writer) {
    writer.count::<u32>(common.0.len());
    writer.count::<u32>(channel.0.len());
    offset.encode(writer);
    common.0.iter().chain(&channel.0).for_each(|word| word.encode(writer));
}

/// SpiceLinkMess: what a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkMess {
    /// 0 for the main channel, else the session's id.
    pub connection_id: u32,
    /// The channel wanted.
    pub channel: ChannelId,
    /// Capabilities of any channel.
    pub common: Capabilities,
    /// Capabilities of this type of channel.
    pub channel_caps: Capabilities,
}

impl LinkMess {
    /// Bytes before the capability words.
    pub const FIXED_LENGTH: u32 = 18;

    /// Decodes what follows the header.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (connection_id, channel) = (Field::decode(&mut reader)?, Field::decode(&mut reader)?);
        let mut word = || u32::decode(&mut reader);
        let (common_words, channel_words, offset) = (word()?, word()?, word()?);
        let (common, channel_caps) = decode_capabilities(body, common_words, channel_words, offset)?;
        Ok(Self { connection_id, channel, common, channel_caps })
    }

    /// Encodes header and message.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.connection_id.encode(&mut body);
        self.channel.encode(&mut body);
        encode_capabilities(&self.common, &self.channel_caps, Self::FIXED_LENGTH, &mut body);
        behind_header(&body.finish())
    }
}

/// SpiceLinkReply: the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReply {
    /// Anything but [`LinkCode::OK`] makes the rest meaningless.
    pub error: LinkCode,
    /// DER SubjectPublicKeyInfo of a 1024-bit RSA key.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// Capabilities of any channel.
    pub common: Capabilities,
    /// Capabilities of this type of channel.
    pub channel_caps: Capabilities,
}

impl LinkReply {
    /// Bytes before the capability words.
    pub const FIXED_LENGTH: u32 = 178;

    /// Decodes what follows the header. With an error code the capabilities are not looked at.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let error = LinkCode(u32::decode(&mut reader)?);
        let mut public_key = [0; PUBLIC_KEY_BYTES];
        public_key
            .copy_from_slice(reader.bytes(PUBLIC_KEY_BYTES).map_err(|error| error.in_field("pub_key"))?);
        let mut word = || u32::decode(&mut reader);
        let (common_words, channel_words, offset) = (word()?, word()?, word()?);
        let (common, channel_caps) = if error == LinkCode::OK {
            decode_capabilities(body, common_words, channel_words, offset)?
        } else {
            Default::default()
        };
        Ok(Self { error, public_key, common, channel_caps })
    }

    /// Encodes header and message.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.error.0.encode(&mut body);
        body.bytes(&self.public_key);
        encode_capabilities(&self.common, &self.channel_caps, Self::FIXED_LENGTH, &mut body);
        behind_header(&body.finish())
    }
}

fn behind_header(body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    LinkHeader::new(u32::try_from(body.len()).expect("a link message stays below 4 GiB")).encode(&mut writer);
    writer.bytes(body);
    writer.finish()
}

/// SPICE_LINK_ERR: how a link attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkCode(pub u32);

impl LinkCode {
    /// The channel is up.
    pub const OK: Self = Self(0);
    /// No reason given.
    pub const ERROR: Self = Self(1);
    /// The link magic was not understood.
    pub const INVALID_MAGIC: Self = Self(2);
    /// The link message was malformed, or the mechanism unknown.
    pub const INVALID_DATA: Self = Self(3);
    /// The major version was not understood.
    pub const VERSION_MISMATCH: Self = Self(4);
    /// The channel wants TLS.
    pub const NEED_SECURED: Self = Self(5);
    /// The channel refuses TLS.
    pub const NEED_UNSECURED: Self = Self(6);
    /// The ticket is wrong or expired.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// The session id is not the current one.
    pub const BAD_CONNECTION_ID: Self = Self(8);
    /// There is no such channel.
    pub const CHANNEL_NOT_AVAILABLE: Self = Self(9);
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "OK",
            1 => "ERROR",
            2 => "INVALID_MAGIC",
            3 => "INVALID_DATA",
            4 => "VERSION_MISMATCH",
            5 => "NEED_SECURED",
            6 => "NEED_UNSECURED",
            7 => "PERMISSION_DENIED",
            8 => "BAD_CONNECTION_ID",
            9 => "CHANNEL_NOT_AVAILABLE",
            other => return write!(f, "link code {other}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::testing::hex;

    fn mess() -> LinkMess {
        LinkMess {
            connection_id: 0,
            channel: ChannelId::MAIN,
            common: Capabilities::of(&[0, 1, 3]),
            channel_caps: Capabilities::of(&[1, 2]),
        }
    }

    fn reply() -> LinkReply {
        LinkReply {
            error: LinkCode::OK,
            public_key: [0x30; PUBLIC_KEY_BYTES],
            common: Capabilities(vec![0x0b]),
            channel_caps: Capabilities(vec![]),
        }
    }

    #[test]
    fn a_link_message_is_its_bytes() {
        let header = "52454451 02000000 02000000 1a000000";
        let body = "00000000 01 00 01000000 01000000 12000000 0b000000 06000000";
        assert_eq!(mess().encode(), hex(&format!("{header} {body}")));
        assert_eq!(LinkMess::decode(&hex(body)), Ok(mess()));
        let bytes = hex(body);
        for length in 0..bytes.len() {
            assert!(LinkMess::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_link_reply_is_its_bytes() {
        let header = "52454451 02000000 02000000 b6000000";
        let body = format!("00000000 {} 01000000 00000000 b2000000 0b000000", "30".repeat(162));
        assert_eq!(reply().encode(), hex(&format!("{header} {body}")));
        assert_eq!(LinkReply::decode(&hex(&body)), Ok(reply()));
        let bytes = hex(&body);
        for length in 0..bytes.len() {
            assert!(LinkReply::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn capabilities_beyond_the_message_are_refused() {
        let with = |counts: &str| format!("00000000 {} {counts} 0b000000", "30".repeat(162));
        for counts in [
            "ffffffff ffffffff b2000000",
            "02000000 00000000 b2000000",
            "01000000 00000000 b3000000",
            "01000000 00000000 ffffffff",
        ] {
            assert!(LinkReply::decode(&hex(&with(counts))).is_err(), "{counts}");
        }
        let refusal = format!("05000000 {} ffffffff ffffffff ffffffff", "00".repeat(162));
        let reply = LinkReply::decode(&hex(&refusal)).map(|reply| reply.error);
        assert_eq!(reply, Ok(LinkCode::NEED_SECURED), "a refusal says nothing else");
    }

    #[test]
    fn headers_of_other_protocols_versions_and_sizes_are_refused() {
        let check = |text: &str| LinkHeader::decode_checked(&hex(text), 178).map(|header| header.size);
        assert_eq!(check("52454451 02000000 09000000 b2000000"), Ok(178));
        assert!(matches!(check("48545450 02000000 02000000 b2000000"), Err(WireError::Mismatch { .. })));
        assert!(matches!(
            check("52454451 03000000 02000000 b2000000"),
            Err(WireError::Mismatch { got: 3, .. })
        ));
        assert!(matches!(check("52454451 02000000 02000000 b1000000"), Err(WireError::Truncated { .. })));
        assert!(matches!(check("52454451 02000000 02000000 01100000"), Err(WireError::OverLimit { .. })));
    }

    #[test]
    fn capability_bits_lie_in_words() {
        let capabilities = Capabilities(vec![0, 2]);
        assert!(capabilities.has(33));
        assert!(!capabilities.has(1) && !capabilities.has(64) && !capabilities.has(u32::MAX));
    }

    #[test]
    fn channels_are_named() {
        let named = |kind, id| ChannelId { channel_type: ChannelType(kind), id }.to_string();
        assert_eq!([named(1, 0), named(2, 1), named(77, 0)], ["main 0", "display 1", "type-77 0"]);
    }
}
