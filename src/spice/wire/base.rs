//! Messages every channel knows, and the sub-message list. Their type numbers lie below 100.

use super::bytes::{Counted, Field, Message, Reader, Rest, WireError, Writer, fields, message, message_set};

/// Type numbers from here on mean something else on each channel.
pub const FIRST_CHANNEL_KIND: u16 = 101;

message! {
    /// SPICE_MSG_MIGRATE.
    1 "MIGRATE" Migrate {
        /// 1: answer with a flush mark; 2: state is handed over.
        flags: u32,
    }
}

message! {
    /// SPICE_MSG_MIGRATE_DATA.
    2 "MIGRATE_DATA" MigrateData<'a> {
        /// Opaque to a client.
        data: Rest<'a>,
    }
}

message! {
    /// SPICE_MSG_SET_ACK: from now on every `window` messages want an acknowledgement.
    3 "SET_ACK" SetAck {
        /// Echoed in the answer.
        generation: u32,
        /// Messages per acknowledgement; 0 turns them off.
        window: u32,
    }
}

message! {
    /// SPICE_MSG_PING.
    4 "PING" Ping<'a> {
        /// Echoed in the answer.
        id: u32,
        /// Echoed in the answer.
        timestamp: u64,
        /// Filling of bandwidth tests, not echoed.
        data: Rest<'a>,
    }
}

fields! {
    /// SpiceWaitForChannel.
    #[derive(Copy)]
    WaitForChannel {
        /// Type of the channel waited for.
        channel_type: u8,
        /// Its id.
        channel_id: u8,
        /// Serial of the message it must have processed.
        message_serial: u64,
    }
}

/// SPICE_MSG_WAIT_FOR_CHANNELS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitForChannels {
    /// All must be satisfied.
    pub wait_list: Vec<WaitForChannel>,
}

impl<'a> Field<'a> for WaitForChannels {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u8::decode(reader)?;
        Ok(Self { wait_list: reader.list(count.into(), 10)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u8>(self.wait_list.len());
        self.wait_list.iter().for_each(|entry| entry.encode(writer));
    }
}

impl Message<'_> for WaitForChannels {
    const KIND: u16 = 5;
    const NAME: &'static str = "WAIT_FOR_CHANNELS";
}

message! {
    /// SPICE_MSG_DISCONNECTING, the same in both directions.
    6 "DISCONNECTING" Disconnecting {
        /// Nanoseconds of the sender's clock.
        time_stamp: u64,
        /// A link result code.
        reason: u32,
    }
}

message! {
    /// SPICE_MSG_NOTIFY.
    7 "NOTIFY" Notify<'a> {
        /// Nanoseconds of the server's clock.
        time_stamp: u64,
        /// How bad it is.
        severity: Severity,
        /// 0 to 2, low to high.
        visibility: u32,
        /// A code for the text.
        what: u32,
        /// The text, without the NUL that follows it.
        message: Counted<'a>,
    }
}

/// SPICE_NOTIFY_SEVERITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Severity(pub u32);

impl Severity {
    /// Worth knowing.
    pub const INFO: Self = Self(0);
    /// Worth looking at.
    pub const WARN: Self = Self(1);
    /// Something failed.
    pub const ERROR: Self = Self(2);
}

impl<'a> Field<'a> for Severity {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        u32::decode(reader).map(Self)
    }
    fn encode(&self, writer: &mut Writer) {
        self.0.encode(writer);
    }
}

/// SPICE_MSG_LIST: messages in one message. They are to be handled in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<'a> {
    /// Type and body of each; never a list again.
    pub messages: Vec<(u16, &'a [u8])>,
}

impl<'a> List<'a> {
    /// More sub-messages than this are refused.
    pub const LIMIT: u16 = 64;

    /// Decodes the list of a full header's `sub_list` offset, or of a LIST message (offset 0).
    pub fn decode_at(body: &'a [u8], offset: u32) -> Result<Self, WireError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut reader = Reader::new(body);
        reader.bytes(start).map_err(|error| error.in_field("sub_list"))?;
        Self::decode_from(body, &mut reader)
    }

    fn decode_from(body: &'a [u8], reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u16::decode(reader)?;
        if count > Self::LIMIT {
            let (got, limit) = (count.into(), Self::LIMIT.into());
            return Err(WireError::OverLimit {
                what: "sub-message count",
                got,
                limit,
                offset: reader.offset(),
            });
        }
        let offsets: Vec<u32> = reader.list(count.into(), 4)?;
        let messages = offsets.into_iter().map(|offset| Self::sub_message(body, offset));
        Ok(Self { messages: messages.collect::<Result<_, _>>()? })
    }

    fn sub_message(body: &'a [u8], offset: u32) -> Result<(u16, &'a [u8]), WireError> {
        let mut reader = Reader::new(body);
        let in_sub = |error: WireError| error.in_field("sub-message");
        reader.bytes(usize::try_from(offset).unwrap_or(usize::MAX)).map_err(in_sub)?;
        let kind = u16::decode(&mut reader).map_err(in_sub)?;
        if kind == <Self as Message<'_>>::KIND {
            let (got, offset) = (kind.into(), reader.offset());
            return Err(WireError::UnknownValue { what: "sub-message type", got, offset });
        }
        let size = u32::decode(&mut reader).map_err(in_sub)?;
        Ok((kind, reader.counted_bytes(size).map_err(in_sub)?))
    }
}

impl<'a> Field<'a> for List<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let body = reader.clone().rest();
        Self::decode_from(body, reader)
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u16>(self.messages.len());
        for (kind, body) in &self.messages {
            writer.pointer(|target| {
                kind.encode(target);
                Counted(body).encode(target);
            });
        }
    }
}

impl<'a> Message<'a> for List<'a> {
    const KIND: u16 = 8;
    const NAME: &'static str = "LIST";
}

message_set! {
    /// What a server says on any channel.
    BaseMessage<'a> {
        Migrate(Migrate),
        MigrateData(MigrateData<'a>),
        SetAck(SetAck),
        Ping(Ping<'a>),
        WaitForChannels(WaitForChannels),
        Disconnecting(Disconnecting),
        Notify(Notify<'a>),
        List(List<'a>),
    }
}

/// What a client says on any channel.
pub mod client {
    use super::{Rest, message};

    message! {
        /// SPICE_MSGC_ACK_SYNC: the answer to SET_ACK.
        1 "ACK_SYNC" AckSync {
            /// As in SET_ACK.
            generation: u32,
        }
    }

    message! {
        /// SPICE_MSGC_ACK: a window of messages has been received.
        2 "ACK" Ack {}
    }

    message! {
        /// SPICE_MSGC_PONG: the answer to PING, without its data.
        3 "PONG" Pong {
            /// As in PING.
            id: u32,
            /// As in PING.
            timestamp: u64,
        }
    }

    message! {
        /// SPICE_MSGC_MIGRATE_FLUSH_MARK.
        4 "MIGRATE_FLUSH_MARK" MigrateFlushMark {}
    }

    message! {
        /// SPICE_MSGC_MIGRATE_DATA.
        5 "MIGRATE_DATA" MigrateData<'a> {
            /// As received.
            data: Rest<'a>,
        }
    }
}
