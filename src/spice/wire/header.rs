//! How a channel's byte stream is cut into messages.

use super::bytes::{Field, Message, Reader, WireError, Writer, fields};

fields! {
    /// SpiceMiniDataHeader.
    #[derive(Copy)]
    MiniHeader {
        /// Message type.
        kind: u16,
        /// Bytes of the body.
        size: u32,
    }
}

fields! {
    /// SpiceDataHeader.
    #[derive(Copy)]
    FullHeader {
        /// Counts messages of one direction from 1.
        serial: u64,
        /// Message type.
        kind: u16,
        /// Bytes of the body.
        size: u32,
        /// Offset of a sub-message list in the body; 0 is none.
        sub_list: u32,
    }
}

/// Which header a channel uses, in both directions. The client's link message decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderForm {
    /// [`MiniHeader`], 6 bytes.
    Mini,
    /// [`FullHeader`], 18 bytes.
    Full,
}

impl HeaderForm {
    /// Bytes of the header.
    pub fn length(self) -> usize {
        match self {
            Self::Mini => 6,
            Self::Full => 18,
        }
    }
}

/// A message as it stands in the stream, its body not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Message type.
    pub kind: u16,
    /// Offset of a sub-message list in the body; 0 is none, as always with mini headers.
    pub sub_list: u32,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first message off `stream`. `None` until it is complete.
    ///
    /// A body above `limit` bytes is an error as soon as its header is there, before anyone makes room for it.
    pub fn split(
        form: HeaderForm,
        stream: &'a [u8],
        limit: u32,
    ) -> Result<Option<(Self, &'a [u8])>, WireError> {
        if stream.len() < form.length() {
            return Ok(None);
        }
        let mut reader = Reader::new(stream);
        let (kind, size, sub_list) = match form {
            HeaderForm::Mini => {
                let header = MiniHeader::decode(&mut reader)?;
                (header.kind, header.size, 0)
            }
            HeaderForm::Full => {
                let header = FullHeader::decode(&mut reader)?;
                (header.kind, header.size, header.sub_list)
            }
        };
        if size > limit {
            let (got, limit, offset) = (size.into(), limit.into(), reader.offset());
            return Err(WireError::OverLimit { what: "message size", got, limit, offset });
        }
        match reader.counted_bytes(size) {
            Ok(body) => Ok(Some((Self { kind, sub_list, body }, reader.rest()))),
            Err(_) => Ok(None),
        }
    }
}

/// Encodes a message behind a mini header.
pub fn mini_frame<'a, M: Message<'a>>(message: &M) -> Vec<u8> {
    let body = message.to_body();
    let mut writer = Writer::default();
    M::KIND.encode(&mut writer);
    writer.count::<u32>(body.len());
    writer.bytes(&body);
    writer.finish()
}

/// Appends a message behind a mini header to `out`. `writer` is empty before and afterwards; its memory is used again.
pub fn append_mini_frame<'a, M: Message<'a>>(message: &M, writer: &mut Writer, out: &mut Vec<u8>) {
    message.encode(writer);
    out.extend(M::KIND.to_le_bytes());
    let size_at = out.len();
    out.extend([0; 4]);
    writer.drain_into(out);
    let size = u32::try_from(out.len() - size_at - 4).expect("a body stays below 4 GiB");
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

/// Encodes a message behind a full header without sub-messages.
pub fn full_frame<'a, M: Message<'a>>(serial: u64, message: &M) -> Vec<u8> {
    let body = message.to_body();
    let mut writer = Writer::default();
    serial.encode(&mut writer);
    M::KIND.encode(&mut writer);
    writer.count::<u32>(body.len());
    0_u32.encode(&mut writer);
    writer.bytes(&body);
    writer.finish()
}

/// Encodes a message behind a header of this form; `serial` counts the messages of one direction from 1.
pub fn frame<'a, M: Message<'a>>(form: HeaderForm, serial: u64, message: &M) -> Vec<u8> {
    match form {
        HeaderForm::Mini => mini_frame(message),
        HeaderForm::Full => full_frame(serial, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::base::SetAck;
    use crate::spice::wire::testing::hex;

    const SET_ACK: SetAck = SetAck { generation: 1, window: 20 };

    #[test]
    fn both_headers_are_their_bytes() {
        assert_eq!(mini_frame(&SET_ACK), hex("0300 08000000 01000000 14000000"));
        let (mut writer, mut out) = (Writer::default(), vec![0xff]);
        append_mini_frame(&SET_ACK, &mut writer, &mut out);
        append_mini_frame(&SET_ACK, &mut writer, &mut out);
        assert_eq!(out, hex("ff 0300 08000000 01000000 14000000 0300 08000000 01000000 14000000"));
        let full = hex("0200000000000000 0300 08000000 00000000 01000000 14000000");
        assert_eq!(full_frame(2, &SET_ACK), full);
        for (form, bytes) in [(HeaderForm::Mini, mini_frame(&SET_ACK)), (HeaderForm::Full, full)] {
            let frame = Frame { kind: 3, sub_list: 0, body: &hex("01000000 14000000") };
            assert_eq!(Frame::split(form, &bytes, 8), Ok(Some((frame, &[][..]))));
        }
    }

    #[test]
    fn a_message_waits_for_its_last_byte() {
        let stream = mini_frame(&SET_ACK);
        for length in 0..stream.len() {
            assert_eq!(Frame::split(HeaderForm::Mini, &stream[..length], 64), Ok(None), "{length} bytes");
        }
        let two = stream.repeat(2);
        let (_, rest) = Frame::split(HeaderForm::Mini, &two, 64).unwrap().unwrap();
        assert_eq!(rest, stream);
    }

    #[test]
    fn a_large_message_is_refused_at_its_header() {
        let header = hex("3001 00009000");
        let error = Frame::split(HeaderForm::Mini, &header, 0x0040_0000);
        let (got, limit) = (9_437_184, 4_194_304);
        assert_eq!(error, Err(WireError::OverLimit { what: "message size", got, limit, offset: 6 }));
    }
}
