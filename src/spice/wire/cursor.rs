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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::testing::{annotated, check};

    fn shape(data: &[u8]) -> Cursor<'_> {
        let header = CursorHeader { unique: 5, kind: 0, width: 1, height: 2, hot_spot_x: 3, hot_spot_y: 4 };
        Cursor { flags: Cursor::CACHE_ME, header: Some(header), data }
    }

    #[test]
    fn messages_with_a_shape_are_their_bytes() {
        let cursor = "0200 flags
                      0500000000000000 unique
                      00 type
                      0100 width
                      0200 height
                      0300 hot_spot_x
                      0400 hot_spot_y
                      aabb data";
        let init = format!(
            "0a00 x \n fbff y \n 0100 trail_length \n 0200 trail_frequency \n 01 visible \n {cursor}"
        );
        let position = Point16 { x: 10, y: -5 };
        check(
            &Init { position, trail_length: 1, trail_frequency: 2, visible: 1, cursor: shape(&[0xaa, 0xbb]) },
            101,
            &annotated(&init),
        );
        let set = format!("0a00 x \n fbff y \n 01 visible \n {cursor}");
        check(&Set { position, visible: 1, cursor: shape(&[0xaa, 0xbb]) }, 103, &annotated(&set));
    }

    #[test]
    fn init_without_a_cursor_is_eleven_bytes() {
        let cursor = Cursor { flags: Cursor::NONE, header: None, data: &[] };
        let init =
            Init { position: Point16::default(), trail_length: 0, trail_frequency: 0, visible: 1, cursor };
        check(&init, 101, &annotated("0000000000000000010100 all"));
    }

    #[test]
    fn plain_messages_are_their_bytes() {
        check(&Reset {}, 102, &[]);
        check(
            &Move { position: Point16 { x: 1, y: 2 } },
            104,
            &annotated(
                "0100 x
                 0200 y",
            ),
        );
        check(&Hide {}, 105, &[]);
        check(
            &Trail { length: 1, frequency: 2 },
            106,
            &annotated(
                "0100 length
                 0200 frequency",
            ),
        );
        check(&InvalOne { id: 7 }, 107, &annotated("0700000000000000 id"));
        check(&InvalAll {}, 108, &[]);
    }
}
