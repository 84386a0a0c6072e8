//! Messages of the guest agent (SPICE protocol, section 7), carried in pieces by AGENT_DATA on the main channel.

use std::fmt;

use super::bytes::{Field, Reader, WireError, Writer};
use super::link::Capabilities;

/// The version of the protocol that there is.
pub const PROTOCOL: u32 = 1;

/// The most that one AGENT_DATA may carry.
pub const CHUNK_BYTES: usize = 2048;

/// Bits of a capability word.
pub mod capability {
    /// MONITORS_CONFIG is understood.
    pub const MONITORS_CONFIG: u32 = 1;
    /// REPLY is sent.
    pub const REPLY: u32 = 2;
    /// Clipboards are offered, and handed over when asked for.
    pub const CLIPBOARD_BY_DEMAND: u32 = 5;
    /// Clipboard messages say which selection they are about.
    pub const CLIPBOARD_SELECTION: u32 = 6;
    /// The guest ends lines with CR LF.
    pub const GUEST_LINEEND_CRLF: u32 = 9;

    /// Names of all that are known, by bit.
    pub const NAMES: [&str; 18] = [
        "mouse_state",
        "monitors_config",
        "reply",
        "clipboard",
        "display_config",
        "clipboard_by_demand",
        "clipboard_selection",
        "sparse_monitors_config",
        "guest_lineend_lf",
        "guest_lineend_crlf",
        "max_clipboard",
        "audio_volume_sync",
        "monitors_config_position",
        "file_xfer_disabled",
        "file_xfer_detailed_errors",
        "graphics_device_info",
        "clipboard_no_release_on_regrab",
        "clipboard_grab_serial",
    ];
}

/// One of the guest's clipboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Selection(pub u8);

impl Selection {
    /// What is copied and pasted by command.
    pub const CLIPBOARD: Self = Self(0);
    /// What is selected, on X11.
    pub const PRIMARY: Self = Self(1);
    /// Hardly used.
    pub const SECONDARY: Self = Self(2);
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("clipboard"),
            1 => f.write_str("primary"),
            2 => f.write_str("secondary"),
            other => write!(f, "selection-{other}"),
        }
    }
}

/// What kind of data a clipboard holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClipboardKind(pub u32);

impl ClipboardKind {
    /// Nothing: the answer to a request that cannot be served.
    pub const NONE: Self = Self(0);
    /// UTF-8.
    pub const TEXT: Self = Self(1);
}

impl fmt::Display for ClipboardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "none",
            1 => "text",
            2 => "png",
            3 => "bmp",
            4 => "tiff",
            5 => "jpg",
            6 => "files",
            other => return write!(f, "kind-{other}"),
        };
        f.write_str(name)
    }
}

/// VDAgentMessage: what stands before every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type of the message.
    pub kind: u32,
    /// Bytes of its payload.
    pub size: u32,
}

impl Header {
    /// Bytes of it.
    pub const LENGTH: usize = 20;

    /// Decodes the first bytes of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let protocol = u32::decode(&mut reader).map_err(|error| error.in_field("protocol"))?;
        if protocol != PROTOCOL {
            let (wanted, got) = (PROTOCOL.into(), protocol.into());
            return Err(WireError::Mismatch { what: "agent protocol", wanted, got });
        }
        let kind = u32::decode(&mut reader).map_err(|error| error.in_field("type"))?;
        u64::decode(&mut reader).map_err(|error| error.in_field("opaque"))?;
        let size = u32::decode(&mut reader).map_err(|error| error.in_field("size"))?;
        Ok(Self { kind, size })
    }
}

/// A message of the agent's, or to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage<'a> {
    /// VD_AGENT_MONITORS_CONFIG: monitors as they shall be, as width and height.
    MonitorsConfig(Vec<(u32, u32)>),
    /// VD_AGENT_REPLY.
    Reply {
        /// The type of the message it answers.
        to: u32,
        /// 1: done.
        error: u32,
    },
    /// VD_AGENT_CLIPBOARD: what was asked for.
    Clipboard {
        /// Of which clipboard.
        selection: Selection,
        /// What kind of data; [`ClipboardKind::NONE`] when there is none.
        kind: ClipboardKind,
        /// The data.
        data: &'a [u8],
    },
    /// VD_AGENT_ANNOUNCE_CAPABILITIES.
    Announce {
        /// Whether the other side shall answer in kind.
        wants_answer: bool,
        /// Bits of [`capability`].
        capabilities: Capabilities,
    },
    /// VD_AGENT_CLIPBOARD_GRAB: the sender has something to offer.
    Grab {
        /// In which clipboard.
        selection: Selection,
        /// As what kinds of data it can be had.
        kinds: Vec<ClipboardKind>,
    },
    /// VD_AGENT_CLIPBOARD_REQUEST.
    Request {
        /// Of which clipboard.
        selection: Selection,
        /// As what kind of data.
        kind: ClipboardKind,
    },
    /// VD_AGENT_CLIPBOARD_RELEASE: the sender offers nothing any more.
    Release {
        /// In which clipboard.
        selection: Selection,
    },
    /// Something else.
    Other(u32),
}

impl<'a> AgentMessage<'a> {
    /// The type number of MONITORS_CONFIG.
    pub const MONITORS_CONFIG: u32 = 2;
    /// The type number of CLIPBOARD.
    pub const CLIPBOARD: u32 = 4;

    /// Decodes a payload. `has_selection`: both sides say which selection they mean.
    pub fn decode(kind: u32, payload: &'a [u8], has_selection: bool) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let reader = &mut reader;
        Ok(match kind {
            2 => {
                let count = word(reader, "num_of_monitors")?;
                word(reader, "flags")?;
                let mut monitors = Vec::new();
                for [height, width, ..] in reader.list::<Monitor>(count.into(), 20)?.into_iter().map(|m| m.0)
                {
                    monitors.push((width, height));
                }
                Self::MonitorsConfig(monitors)
            }
            3 => Self::Reply { to: word(reader, "type")?, error: word(reader, "error")? },
            4 => {
                let selection = selection(reader, has_selection)?;
                let kind = ClipboardKind(word(reader, "type")?);
                Self::Clipboard { selection, kind, data: reader.rest() }
            }
            6 => {
                let wants_answer = word(reader, "request")? != 0;
                Self::Announce { wants_answer, capabilities: Capabilities(words(reader)?) }
            }
            7 => {
                let selection = selection(reader, has_selection)?;
                Self::Grab { selection, kinds: words(reader)?.into_iter().map(ClipboardKind).collect() }
            }
            8 => {
                let selection = selection(reader, has_selection)?;
                Self::Request { selection, kind: ClipboardKind(word(reader, "type")?) }
            }
            9 => Self::Release { selection: selection(reader, has_selection)? },
            other => Self::Other(other),
        })
    }

    /// Encodes header and payload.
    pub fn encode(&self, has_selection: bool) -> Vec<u8> {
        let mut writer = Writer::default();
        let put_selection = |writer: &mut Writer, selection: &Selection| {
            if has_selection {
                writer.bytes(&[selection.0, 0, 0, 0]);
            }
        };
        let kind: u32 = match self {
            Self::MonitorsConfig(monitors) => {
                writer.count::<u32>(monitors.len());
                0_u32.encode(&mut writer);
                for (width, height) in monitors {
                    const DEPTH: u32 = 32;
                    [*height, *width, DEPTH, 0, 0].iter().for_each(|word| word.encode(&mut writer));
                }
                2
            }
            Self::Reply { to, error } => {
                [*to, *error].iter().for_each(|word| word.encode(&mut writer));
                3
            }
            Self::Clipboard { selection, kind, data } => {
                put_selection(&mut writer, selection);
                kind.0.encode(&mut writer);
                writer.bytes(data);
                4
            }
            Self::Announce { wants_answer, capabilities } => {
                u32::from(*wants_answer).encode(&mut writer);
                capabilities.0.iter().for_each(|word| word.encode(&mut writer));
                6
            }
            Self::Grab { selection, kinds } => {
                put_selection(&mut writer, selection);
                kinds.iter().for_each(|kind| kind.0.encode(&mut writer));
                7
            }
            Self::Request { selection, kind } => {
                put_selection(&mut writer, selection);
                kind.0.encode(&mut writer);
                8
            }
            Self::Release { selection } => {
                put_selection(&mut writer, selection);
                9
            }
            Self::Other(kind) => *kind,
        };
        let payload = writer.finish();
        let mut message = Writer::default();
        PROTOCOL.encode(&mut message);
        kind.encode(&mut message);
        0_u64.encode(&mut message);
        message.count::<u32>(payload.len());
        message.bytes(&payload);
        message.finish()
    }
}

/// VDAgentMonConfig: height, width, depth, x, y.
struct Monitor([u32; 5]);

impl<'a> Field<'a> for Monitor {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut words = [0; 5];
        for word in &mut words {
            *word = u32::decode(reader)?;
        }
        Ok(Self(words))
    }
    fn encode(&self, writer: &mut Writer) {
        self.0.iter().for_each(|word| word.encode(writer));
    }
}

fn word(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, WireError> {
    u32::decode(reader).map_err(|error| error.in_field(field))
}

/// All whole words that are left, as far as anybody needs them: an agent may send millions.
fn words(reader: &mut Reader<'_>) -> Result<Vec<u32>, WireError> {
    const MOST: usize = 32;
    let count = (reader.remaining() / 4).min(MOST);
    reader.list(u64::try_from(count).unwrap_or(u64::MAX), 4)
}

fn selection(reader: &mut Reader<'_>, has_selection: bool) -> Result<Selection, WireError> {
    if !has_selection {
        return Ok(Selection::CLIPBOARD);
    }
    let bytes = reader.bytes(4).map_err(|error| error.in_field("selection"))?;
    Ok(Selection(bytes.first().copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::testing::annotated;

    /// The message is these bytes, and they are the message; cut short anywhere they are none.
    fn check(message: &AgentMessage<'_>, has_selection: bool, header: &str, payload: &str) {
        let (header, payload) = (annotated(header), annotated(payload));
        assert_eq!(message.encode(has_selection), [header.clone(), payload.clone()].concat());
        let Header { kind, size } = Header::decode(&header).unwrap();
        assert_eq!(usize::try_from(size).unwrap(), payload.len());
        assert_eq!(AgentMessage::decode(kind, &payload, has_selection).as_ref(), Ok(message));
        for end in 0..header.len() {
            assert!(Header::decode(&header[..end]).is_err());
        }
    }

    #[test]
    fn agent_messages_are_their_bytes() {
        let (selection, kind) = (Selection::PRIMARY, ClipboardKind::TEXT);
        let header = |kind: &str, size: &str| {
            format!("01000000 protocol \n {kind}000000 type \n 0000000000000000 opaque \n {size}000000 size")
        };
        check(
            &AgentMessage::Announce { wants_answer: true, capabilities: Capabilities(vec![0x66]) },
            true,
            &header("06", "08"),
            "01000000 request \n 66000000 caps",
        );
        check(
            &AgentMessage::MonitorsConfig(vec![(1024, 768)]),
            true,
            &header("02", "1c"),
            "01000000 num_of_monitors \n 00000000 flags \n 00030000 height \n 00040000 width \n 20000000 depth
             00000000 x \n 00000000 y",
        );
        check(
            &AgentMessage::Reply { to: 2, error: 1 },
            true,
            &header("03", "08"),
            "02000000 type \n 01000000 error",
        );
        check(
            &AgentMessage::Clipboard { selection, kind, data: b"hi" },
            true,
            &header("04", "0a"),
            "01 selection \n 000000 reserved \n 01000000 type \n 6869 data",
        );
        check(
            &AgentMessage::Clipboard { selection: Selection::CLIPBOARD, kind, data: b"hi" },
            false,
            &header("04", "06"),
            "01000000 type \n 6869 data",
        );
        check(
            &AgentMessage::Grab { selection, kinds: vec![kind, ClipboardKind(2)] },
            true,
            &header("07", "0c"),
            "01 selection \n 000000 reserved \n 01000000 type_0 \n 02000000 type_1",
        );
        check(
            &AgentMessage::Request { selection, kind },
            true,
            &header("08", "08"),
            "01 selection \n 000000 reserved \n 01000000 type",
        );
        check(
            &AgentMessage::Release { selection },
            true,
            &header("09", "04"),
            "01 selection \n 000000 reserved",
        );
        check(&AgentMessage::Other(13), true, &header("0d", "00"), "");
    }

    #[test]
    fn what_is_cut_short_or_of_another_protocol_is_refused() {
        for (kind, payload) in [(2, 27), (3, 7), (4, 7), (6, 3), (7, 3), (8, 7), (9, 3)] {
            let payload = vec![1; payload];
            assert!(AgentMessage::decode(kind, &payload, true).is_err(), "{kind}");
        }
        let error = Header::decode(&[2; 20]).unwrap_err();
        assert_eq!(error.to_string(), "agent protocol is 0x2020202, wanted 0x1");
    }
}
