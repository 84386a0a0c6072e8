//! The main channel: session, channel list, mouse mode, the pipe to the guest agent.

use super::bytes::{Counted, Field, Message, Reader, Rest, WireError, Writer, message, message_set};
use super::link::ChannelId;

/// Bits of [`Init::supported_mouse_modes`] and [`MouseMode::supported`].
pub mod mouse_mode {
    /// Relative motion.
    pub const SERVER: u16 = 1;
    /// Absolute positions.
    pub const CLIENT: u16 = 2;
}

/// Bits of the channel capability word.
pub mod capability {
    /// NAME and UUID may be sent.
    pub const NAME_AND_UUID: u32 = 1;
    /// AGENT_CONNECTED_TOKENS may be sent.
    pub const AGENT_CONNECTED_TOKENS: u32 = 2;
}

/// SpiceMigrationDstInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationTarget<'a> {
    /// Plain port; 0 and 0xFFFF are none.
    pub port: u16,
    /// TLS port; 0 and 0xFFFF are none.
    pub sport: u16,
    /// Name or address, usually with a NUL.
    pub host: &'a [u8],
    /// Subject of the certificate, usually with a NUL; empty when there is none.
    pub cert_subject: &'a [u8],
}

impl<'a> Field<'a> for MigrationTarget<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (port, sport) = (u16::decode(reader)?, u16::decode(reader)?);
        let mut text = |name| {
            let size = u32::decode(reader)?;
            let target = reader.pointer().map_err(|error| error.in_field(name))?;
            let taken = target.map_or(Ok(&[][..]), |mut target| target.counted_bytes(size));
            taken.map_err(|error| error.in_field(name))
        };
        Ok(Self { port, sport, host: text("host")?, cert_subject: text("cert_subject")? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.port.encode(writer);
        self.sport.encode(writer);
        for text in [self.host, self.cert_subject] {
            writer.count::<u32>(text.len());
            match text {
                [] => 0_u32.encode(writer),
                text => writer.pointer(|target| target.bytes(text)),
            }
        }
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_BEGIN.
    101 "MIGRATE_BEGIN" MigrateBegin<'a> {
        /// Where to.
        target: MigrationTarget<'a>,
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_CANCEL.
    102 "MIGRATE_CANCEL" MigrateCancel {}
}

message! {
    /// SPICE_MSG_MAIN_INIT.
    103 "INIT" Init {
        /// Links all other channels to this session.
        session_id: u32,
        /// How many display channels the server expects to have.
        display_channels_hint: u32,
        /// Or of [`mouse_mode`].
        supported_mouse_modes: u32,
        /// One of [`mouse_mode`].
        current_mouse_mode: u32,
        /// Not 0: the guest agent's port is open.
        agent_connected: u32,
        /// Agent messages this side may send.
        agent_tokens: u32,
        /// Milliseconds of the server's clock.
        multi_media_time: u32,
        /// A hint about server memory.
        ram_hint: u32,
    }
}

/// SPICE_MSG_MAIN_CHANNELS_LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelsList {
    /// All channels but main; at most [`ChannelsList::LIMIT`].
    pub channels: Vec<ChannelId>,
}

impl ChannelsList {
    /// More than any server has.
    pub const LIMIT: u32 = 256;
}

impl<'a> Field<'a> for ChannelsList {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u32::decode(reader)?;
        if count > Self::LIMIT {
            let (got, limit, offset) = (count.into(), Self::LIMIT.into(), reader.offset());
            return Err(WireError::OverLimit { what: "number of channels", got, limit, offset });
        }
        Ok(Self { channels: reader.list(count.into(), 2)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u32>(self.channels.len());
        self.channels.iter().for_each(|channel| channel.encode(writer));
    }
}

impl Message<'_> for ChannelsList {
    const KIND: u16 = 104;
    const NAME: &'static str = "CHANNELS_LIST";
}

message! {
    /// SPICE_MSG_MAIN_MOUSE_MODE.
    105 "MOUSE_MODE" MouseMode {
        /// Or of [`mouse_mode`].
        supported: u16,
        /// One of [`mouse_mode`].
        current: u16,
    }
}

message! {
    /// SPICE_MSG_MAIN_MULTI_MEDIA_TIME.
    106 "MULTI_MEDIA_TIME" MultiMediaTime {
        /// Milliseconds of the server's clock.
        time: u32,
    }
}

message! {
    /// SPICE_MSG_MAIN_AGENT_CONNECTED.
    107 "AGENT_CONNECTED" AgentConnected {}
}

message! {
    /// SPICE_MSG_MAIN_AGENT_DISCONNECTED.
    108 "AGENT_DISCONNECTED" AgentDisconnected {
        /// Why.
        error_code: u32,
    }
}

message! {
    /// SPICE_MSG_MAIN_AGENT_DATA.
    109 "AGENT_DATA" AgentData<'a> {
        /// A piece of the agent's byte stream.
        data: Rest<'a>,
    }
}

message! {
    /// SPICE_MSG_MAIN_AGENT_TOKEN: adds tokens.
    110 "AGENT_TOKEN" AgentToken {
        /// How many more.
        num_tokens: u32,
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_SWITCH_HOST.
    111 "MIGRATE_SWITCH_HOST" MigrateSwitchHost<'a> {
        /// Where to.
        target: MigrationTarget<'a>,
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_END.
    112 "MIGRATE_END" MigrateEnd {}
}

message! {
    /// SPICE_MSG_MAIN_NAME.
    113 "NAME" Name<'a> {
        /// The machine's name and a NUL.
        name: Counted<'a>,
    }
}

/// SPICE_MSG_MAIN_UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uuid {
    /// All zeros when the machine has none.
    pub uuid: [u8; 16],
}

impl<'a> Field<'a> for Uuid {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(reader.bytes(16).map_err(|error| error.in_field("uuid"))?);
        Ok(Self { uuid })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.uuid);
    }
}

impl Message<'_> for Uuid {
    const KIND: u16 = 114;
    const NAME: &'static str = "UUID";
}

message! {
    /// SPICE_MSG_MAIN_AGENT_CONNECTED_TOKENS: sets the tokens.
    115 "AGENT_CONNECTED_TOKENS" AgentConnectedTokens {
        /// How many there are now.
        num_tokens: u32,
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_BEGIN_SEAMLESS.
    116 "MIGRATE_BEGIN_SEAMLESS" MigrateBeginSeamless<'a> {
        /// Where to.
        target: MigrationTarget<'a>,
        /// The source's version of what is transferred.
        src_mig_version: u32,
    }
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_DST_SEAMLESS_ACK.
    117 "MIGRATE_DST_SEAMLESS_ACK" MigrateDstSeamlessAck {}
}

message! {
    /// SPICE_MSG_MAIN_MIGRATE_DST_SEAMLESS_NACK.
    118 "MIGRATE_DST_SEAMLESS_NACK" MigrateDstSeamlessNack {}
}

message_set! {
    /// What a server says on the main channel.
    MainMessage<'a> {
        MigrateBegin(MigrateBegin<'a>),
        MigrateCancel(MigrateCancel),
        Init(Init),
        ChannelsList(ChannelsList),
        MouseMode(MouseMode),
        MultiMediaTime(MultiMediaTime),
        AgentConnected(AgentConnected),
        AgentDisconnected(AgentDisconnected),
        AgentData(AgentData<'a>),
        AgentToken(AgentToken),
        MigrateSwitchHost(MigrateSwitchHost<'a>),
        MigrateEnd(MigrateEnd),
        Name(Name<'a>),
        Uuid(Uuid),
        AgentConnectedTokens(AgentConnectedTokens),
        MigrateBeginSeamless(MigrateBeginSeamless<'a>),
        MigrateDstSeamlessAck(MigrateDstSeamlessAck),
        MigrateDstSeamlessNack(MigrateDstSeamlessNack),
    }
}

/// What a client says on the main channel.
pub mod client {
    use super::{Rest, message, message_set};

    message_set! {
        /// What a client says on the main channel, without what belongs to migration.
        MainMessage<'a> {
            AttachChannels(AttachChannels),
            MouseModeRequest(MouseModeRequest),
            AgentStart(AgentStart),
            AgentData(AgentData<'a>),
            AgentToken(AgentToken),
        }
    }

    message! {
        /// SPICE_MSGC_MAIN_MIGRATE_CONNECT_ERROR.
        103 "MIGRATE_CONNECT_ERROR" MigrateConnectError {}
    }

    message! {
        /// SPICE_MSGC_MAIN_ATTACH_CHANNELS: asks for CHANNELS_LIST.
        104 "ATTACH_CHANNELS" AttachChannels {}
    }

    message! {
        /// SPICE_MSGC_MAIN_MOUSE_MODE_REQUEST.
        105 "MOUSE_MODE_REQUEST" MouseModeRequest {
            /// One of [`super::mouse_mode`].
            mode: u16,
        }
    }

    message! {
        /// SPICE_MSGC_MAIN_AGENT_START.
        106 "AGENT_START" AgentStart {
            /// Agent messages the server may send.
            num_tokens: u32,
        }
    }

    message! {
        /// SPICE_MSGC_MAIN_AGENT_DATA.
        107 "AGENT_DATA" AgentData<'a> {
            /// At most 2048 bytes of an agent message.
            data: Rest<'a>,
        }
    }

    message! {
        /// SPICE_MSGC_MAIN_AGENT_TOKEN.
        108 "AGENT_TOKEN" AgentToken {
            /// How many more.
            num_tokens: u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::client::{AgentStart, AttachChannels, MigrateConnectError, MouseModeRequest};
    use super::*;
    use crate::spice::wire::link::ChannelType;
    use crate::spice::wire::testing::{annotated, check};

    #[test]
    fn session_messages_are_their_bytes() {
        check(
            &Init {
                session_id: 0x1122_3344,
                display_channels_hint: 1,
                supported_mouse_modes: 3,
                current_mouse_mode: 1,
                agent_connected: 0,
                agent_tokens: 10,
                multi_media_time: 5,
                ram_hint: 6,
            },
            103,
            &annotated(
                "44332211 session_id
                 01000000 display_channels_hint
                 03000000 supported_mouse_modes
                 01000000 current_mouse_mode
                 00000000 agent_connected
                 0a000000 agent_tokens
                 05000000 multi_media_time
                 06000000 ram_hint",
            ),
        );
        let channel = |kind, id| ChannelId { channel_type: ChannelType(kind), id };
        check(
            &ChannelsList { channels: vec![channel(2, 0), channel(4, 0), channel(3, 0)] },
            104,
            &annotated(
                "03000000 count
                 0200 display_0
                 0400 cursor_0
                 0300 inputs_0",
            ),
        );
        check(
            &MouseMode { supported: 3, current: 2 },
            105,
            &annotated(
                "0300 supported
                 0200 current",
            ),
        );
        check(&MultiMediaTime { time: 9 }, 106, &annotated("09000000 time"));
        check(
            &Name { name: Counted(b"vm\0") },
            113,
            &annotated(
                "03000000 size
                 766d00 name",
            ),
        );
        let uuid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        check(&Uuid { uuid }, 114, &annotated("000102030405060708090a0b0c0d0e0f uuid"));
    }

    #[test]
    fn agent_messages_are_their_bytes() {
        check(&AgentConnected {}, 107, &[]);
        check(&AgentDisconnected { error_code: 1 }, 108, &annotated("01000000 error_code"));
        check(&AgentData { data: Rest(&[1, 2]) }, 109, &annotated("0102 data"));
        check(&AgentToken { num_tokens: 5 }, 110, &annotated("05000000 num_tokens"));
        check(&AgentConnectedTokens { num_tokens: 5 }, 115, &annotated("05000000 num_tokens"));
    }

    #[test]
    fn migration_messages_are_their_bytes() {
        let target = || MigrationTarget { port: 5900, sport: 5901, host: b"vm\0", cert_subject: b"CN=v\0" };
        let bytes = annotated(
            "0c17 port
             0d17 sport
             03000000 host_size
             14000000 host
             05000000 cert_subject_size
             17000000 cert_subject
             766d00 host_data
             434e3d7600 cert_subject_data",
        );
        check(&MigrateBegin { target: target() }, 101, &bytes);
        check(&MigrateCancel {}, 102, &[]);
        check(&MigrateSwitchHost { target: target() }, 111, &bytes);
        check(&MigrateEnd {}, 112, &[]);
        let seamless = annotated(
            "0c17 port
             0000 sport
             01000000 host_size
             18000000 host
             00000000 cert_subject_size
             00000000 cert_subject
             02000000 src_mig_version
             76 host_data",
        );
        let plain = MigrationTarget { port: 5900, sport: 0, host: b"v", cert_subject: b"" };
        check(&MigrateBeginSeamless { target: plain, src_mig_version: 2 }, 116, &seamless);
        check(&MigrateDstSeamlessAck {}, 117, &[]);
        check(&MigrateDstSeamlessNack {}, 118, &[]);
    }

    #[test]
    fn client_messages_are_their_bytes() {
        check(&MigrateConnectError {}, 103, &[]);
        check(&AttachChannels {}, 104, &[]);
        check(&MouseModeRequest { mode: 2 }, 105, &annotated("0200 mode"));
        check(&AgentStart { num_tokens: u32::MAX }, 106, &annotated("ffffffff num_tokens"));
        check(&client::AgentData { data: Rest(&[1]) }, 107, &annotated("01 data"));
        check(&client::AgentToken { num_tokens: 1 }, 108, &annotated("01000000 num_tokens"));
    }

    #[test]
    fn a_channel_count_is_believed_only_as_far_as_the_body_and_the_limit_reach() {
        let error = ChannelsList::from_body(&annotated("00010000 count \n 0200 display_0"));
        assert_eq!(error, Err(WireError::Truncated { field: "", wanted: 512, offset: 4, left: 2 }));
        let error = ChannelsList::from_body(&annotated("ffffffff count \n 0200 display_0"));
        let (what, got, limit) = ("number of channels", 0xffff_ffff, 256);
        assert_eq!(error, Err(WireError::OverLimit { what, got, limit, offset: 4 }));
    }
}
