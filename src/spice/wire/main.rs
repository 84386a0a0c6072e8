//! The main channel: session, channel list, mouse mode, the pipe to the guest agent.

use super::bytes::{Counted, Field, Message, Reader, Rest, WireError, Writer, fields, message, message_set};
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

fields! {
    /// SpiceMigrationDstInfo. The strings stay undecoded: this side never follows a migration.
    MigrationTarget<'a> {
        /// Plain port; 0 is none.
        port: u16,
        /// TLS port; 0 is none.
        sport: u16,
        /// The rest, with pointers relative to the whole body.
        data: Rest<'a>,
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
    /// All channels but main.
    pub channels: Vec<ChannelId>,
}

impl<'a> Field<'a> for ChannelsList {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u32::decode(reader)?;
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
        /// Where to, and the source's version at the end.
        target: MigrationTarget<'a>,
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
    use super::{Rest, message};

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
