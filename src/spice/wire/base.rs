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
    use super::{Disconnecting, Rest, message, message_set};

    message_set! {
        /// What a client says on any channel.
        BaseMessage<'a> {
            AckSync(AckSync),
            Ack(Ack),
            Pong(Pong),
            MigrateFlushMark(MigrateFlushMark),
            MigrateData(MigrateData<'a>),
            Disconnecting(Disconnecting),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::client::{Ack, AckSync, MigrateFlushMark, Pong};
    use super::*;
    use crate::spice::wire::testing::{annotated, check};

    #[test]
    fn server_messages_are_their_bytes() {
        check(&Migrate { flags: 3 }, 1, &annotated("03000000 flags"));
        check(&MigrateData { data: Rest(b"ab") }, 2, &annotated("6162 data"));
        check(
            &SetAck { generation: 1, window: 20 },
            3,
            &annotated(
                "01000000 generation
                 14000000 window",
            ),
        );
        check(
            &Ping { id: 7, timestamp: 0x0102_0304_0506_0708, data: Rest(&[0xaa]) },
            4,
            &annotated(
                "07000000 id
                 0807060504030201 timestamp
                 aa data",
            ),
        );
        let entry = WaitForChannel { channel_type: 2, channel_id: 1, message_serial: 9 };
        check(
            &WaitForChannels { wait_list: vec![entry] },
            5,
            &annotated(
                "01 count
                 02 channel_type
                 01 channel_id
                 0900000000000000 message_serial",
            ),
        );
        check(
            &Disconnecting { time_stamp: 1, reason: 7 },
            6,
            &annotated(
                "0100000000000000 time_stamp
                 07000000 reason",
            ),
        );
        check(
            &Notify {
                time_stamp: 1,
                severity: Severity::WARN,
                visibility: 2,
                what: 3,
                message: Counted(b"hi"),
            },
            7,
            &annotated(
                "0100000000000000 time_stamp
                 01000000 severity
                 02000000 visibility
                 03000000 what
                 02000000 message_len
                 6869 message",
            ),
        );
    }

    #[test]
    fn a_notice_may_be_followed_by_its_nul() {
        let bytes =
            annotated("0000000000000000 . \n 00000000 . \n 00000000 . \n 00000000 . \n 01000000 . \n 6100 a");
        assert_eq!(Notify::from_body(&bytes).map(|notify| notify.message), Ok(Counted(b"a")));
    }

    #[test]
    fn client_messages_are_their_bytes() {
        check(&AckSync { generation: 1 }, 1, &annotated("01000000 generation"));
        check(&Ack {}, 2, &[]);
        check(
            &Pong { id: 7, timestamp: 8 },
            3,
            &annotated(
                "07000000 id
                 0800000000000000 timestamp",
            ),
        );
        check(&MigrateFlushMark {}, 4, &[]);
        check(&client::MigrateData { data: Rest(b"ab") }, 5, &annotated("6162 data"));
    }

    #[test]
    fn a_list_holds_messages_at_offsets() {
        let list = List { messages: vec![(102, &[][..]), (5, &[0][..])] };
        check(
            &list,
            8,
            &annotated(
                "0200 count
                 0a000000 offset_0
                 10000000 offset_1
                 6600 type
                 00000000 size
                 0500 type
                 01000000 size
                 00 body",
            ),
        );
    }

    #[test]
    fn a_list_behind_a_full_header_starts_where_the_header_says() {
        let body =
            annotated("ffff main_message \n 0100 count \n 08000000 offset \n 6600 type \n 00000000 size");
        assert_eq!(List::decode_at(&body, 2), Ok(List { messages: vec![(102, &[][..])] }));
        assert!(List::decode_at(&body, 200).is_err());
    }

    #[test]
    fn lists_in_lists_and_too_many_are_refused() {
        let nested = annotated("0100 count \n 06000000 offset \n 0800 type \n 00000000 size");
        assert!(matches!(List::from_body(&nested), Err(WireError::UnknownValue { got: 8, .. })));
        let many = [&65_u16.to_le_bytes()[..], &[0; 65 * 4]].concat();
        assert!(matches!(List::from_body(&many), Err(WireError::OverLimit { got: 65, .. })));
        let beyond = annotated("0100 count \n ffffff7f offset");
        assert!(matches!(List::from_body(&beyond), Err(WireError::Truncated { .. })));
    }
}
