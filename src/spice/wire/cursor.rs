//! The cursor channel: shapes and positions of the pointer.

use super::bytes::{Field, Reader, WireError, Writer, fields, message, message_set};
use super::types::Point16;

fields! {
    /// SpiceCursorHeader.
    #[derive(Copy)]
    CursorHeader {
        /// Key in the cursor cache.
        unique: u64,
        /// 0 alpha, 1 mono, 2 to 6 colour.
        kind: u8,
        /// Pixels per row.
        width: u16,
        /// Rows.
        height: u16,
        /// Column of the hot spot.
        hot_spot_x: u16,
        /// Row of the hot spot.
        hot_spot_y: u16,
    }
}

/// SpiceCursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<'a> {
    /// See the constants. [`Cursor::NONE`] is set exactly when there is no header.
    pub flags: u16,
    /// What shape it is.
    pub header: Option<CursorHeader>,
    /// Its pixels; empty when the cache has them.
    pub data: &'a [u8],
}

impl Cursor<'_> {
    /// There is no cursor.
    pub const NONE: u16 = 1;
    /// Store the shape.
    pub const CACHE_ME: u16 = 2;
    /// The cache has the shape.
    pub const FROM_CACHE: u16 = 4;
}

impl<'a> Field<'a> for Cursor<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flags = u16::decode(reader)?;
        let header = if flags & Self::NONE == 0 { Some(CursorHeader::decode(reader)?) } else { None };
        Ok(Self { flags, header, data: reader.rest() })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        if let Some(header) = &self.header {
            header.encode(writer);
        }
        writer.bytes(self.data);
    }
}

message! {
    /// SPICE_MSG_CURSOR_INIT.
    101 "INIT" Init<'a> {
        /// Where the hot spot is.
        position: Point16,
        /// Ghost images behind a moving cursor.
        trail_length: u16,
        /// How often.
        trail_frequency: u16,
        /// Not 0: shown.
        visible: u8,
        /// Its shape.
        cursor: Cursor<'a>,
    }
}

message! {
    /// SPICE_MSG_CURSOR_RESET: no cursor, empty cache.
    102 "RESET" Reset {}
}

message! {
    /// SPICE_MSG_CURSOR_SET.
    103 "SET" Set<'a> {
        /// Where the hot spot is.
        position: Point16,
        /// Not 0: shown.
        visible: u8,
        /// Its shape.
        cursor: Cursor<'a>,
    }
}

message! {
    /// SPICE_MSG_CURSOR_MOVE: also shows it.
    104 "MOVE" Move {
        /// Where the hot spot is.
        position: Point16,
    }
}

message! {
    /// SPICE_MSG_CURSOR_HIDE.
    105 "HIDE" Hide {}
}

message! {
    /// SPICE_MSG_CURSOR_TRAIL.
    106 "TRAIL" Trail {
        /// Ghost images behind a moving cursor.
        length: u16,
        /// How often.
        frequency: u16,
    }
}

message! {
    /// SPICE_MSG_CURSOR_INVAL_ONE.
    107 "INVAL_ONE" InvalOne {
        /// Key of the shape to forget.
        id: u64,
    }
}

message! {
    /// SPICE_MSG_CURSOR_INVAL_ALL.
    108 "INVAL_ALL" InvalAll {}
}

message_set! {
    /// What a server says on the cursor channel.
    CursorMessage<'a> {
        Init(Init<'a>),
        Reset(Reset),
        Set(Set<'a>),
        Move(Move),
        Hide(Hide),
        Trail(Trail),
        InvalOne(InvalOne),
        InvalAll(InvalAll),
    }
}
