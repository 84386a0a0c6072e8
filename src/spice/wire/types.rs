//! Structures that several messages share: geometry, clips, brushes, masks, palettes.

use std::fmt;

use super::bytes::{Field, Pointer, Reader, WireError, Writer, fields};
use super::elements::{Element, Elements};
use super::image::Image;

/// Coordinates further out than this are refused, so that sums and differences of two never overflow.
pub const COORDINATE_LIMIT: i32 = 1 << 24;

fields! {
    /// SpicePoint.
    #[derive(Copy, Default)]
    Point {
        /// Pixels from the left edge.
        x: i32,
        /// Pixels from the top edge.
        y: i32,
    }
}

impl Element for Point {
    type Of<'b> = Self;
    const BYTES: u64 = 8;
}

fields! {
    /// SpicePoint16.
    #[derive(Copy, Default)]
    Point16 {
        /// Pixels from the left edge.
        x: i16,
        /// Pixels from the top edge.
        y: i16,
    }
}

/// SpiceRect: a half-open rectangle.
///
/// A decoded one has `left <= right`, `top <= bottom` and no coordinate beyond [`COORDINATE_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rect {
    /// First column inside.
    pub left: i32,
    /// First row inside.
    pub top: i32,
    /// First column outside.
    pub right: i32,
    /// First row outside.
    pub bottom: i32,
}

impl Rect {
    /// The rectangle at `left`, `top` with the given size.
    pub fn new(left: i32, top: i32, width: i32, height: i32) -> Self {
        Self { left, top, right: left.saturating_add(width), bottom: top.saturating_add(height) }
    }

    /// Columns inside.
    pub fn width(&self) -> i32 {
        self.right.saturating_sub(self.left)
    }

    /// Rows inside.
    pub fn height(&self) -> i32 {
        self.bottom.saturating_sub(self.top)
    }

    /// Whether no pixel is inside.
    pub fn is_empty(&self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }

    /// The pixels inside both; empty (and possibly inverted) when there are none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }

    /// The smallest rectangle that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Pixels inside.
    pub fn area(&self) -> u64 {
        let side = |length: i32| u64::try_from(length).unwrap_or(0);
        side(self.width()) * side(self.height())
    }
}

impl<'a> Field<'a> for Rect {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (top, left) = (i32::decode(reader)?, i32::decode(reader)?);
        let (bottom, right) = (i32::decode(reader)?, i32::decode(reader)?);
        let far =
            [top, left, bottom, right].iter().any(|c| c.unsigned_abs() > COORDINATE_LIMIT.unsigned_abs());
        if far || left > right || top > bottom {
            return Err(WireError::BadRect { left, top, right, bottom, offset: reader.offset() });
        }
        Ok(Self { left, top, right, bottom })
    }
    fn encode(&self, writer: &mut Writer) {
        for edge in [self.top, self.left, self.bottom, self.right] {
            edge.encode(writer);
        }
    }
}

impl Element for Rect {
    type Of<'b> = Self;
    const BYTES: u64 = 16;
}

/// SpiceClip: where inside its box a draw takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clip<'a> {
    /// Everywhere.
    None,
    /// Inside these rectangles only.
    Rects(Elements<'a, Rect>),
}

impl<'a> Field<'a> for Clip<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        match u8::decode(reader)? {
            0 => Ok(Self::None),
            1 => {
                let count = u32::decode(reader)?;
                Ok(Self::Rects(Elements::decode(reader, count)?))
            }
            got => {
                Err(WireError::UnknownValue { what: "clip type", got: got.into(), offset: reader.offset() })
            }
        }
    }
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::None => 0_u8.encode(writer),
            Self::Rects(rects) => {
                1_u8.encode(writer);
                writer.count::<u32>(rects.len());
                rects.encode(writer);
            }
        }
    }
}

impl Clip<'_> {
    /// The same clip in memory of its own.
    #[must_use]
    pub fn into_owned(self) -> Clip<'static> {
        match self {
            Self::None => Clip::None,
            Self::Rects(rects) => Clip::Rects(rects.into_owned()),
        }
    }
}

/// SpiceBrush: what a fill is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brush<'a> {
    /// Nothing is drawn.
    None,
    /// One colour, `0x00RRGGBB` on 32-bit surfaces.
    Solid(u32),
    /// Tiles of an image.
    Pattern {
        /// The tile.
        image: Pointer<Image<'a>>,
        /// Where on the surface a tile begins.
        pos: Point,
    },
}

impl<'a> Field<'a> for Brush<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        match u8::decode(reader)? {
            0 => Ok(Self::None),
            1 => Ok(Self::Solid(u32::decode(reader)?)),
            2 => Ok(Self::Pattern { image: Pointer::decode(reader)?, pos: Point::decode(reader)? }),
            got => {
                Err(WireError::UnknownValue { what: "brush type", got: got.into(), offset: reader.offset() })
            }
        }
    }
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::None => 0_u8.encode(writer),
            Self::Solid(colour) => {
                1_u8.encode(writer);
                colour.encode(writer);
            }
            Self::Pattern { image, pos } => {
                2_u8.encode(writer);
                image.encode(writer);
                pos.encode(writer);
            }
        }
    }
}

fields! {
    /// SpiceQMask: a one-bit image that says where a draw takes effect.
    QMask<'a> {
        /// [`QMask::INVERS`].
        flags: u8,
        /// The mask pixel at the top left of the box.
        pos: Point,
        /// The mask; `None` draws everywhere.
        bitmap: Option<Pointer<Image<'a>>>,
    }
}

impl QMask<'_> {
    /// Draw where the bit is 0.
    pub const INVERS: u8 = 1;
    /// The mask that draws everywhere.
    pub const NONE: Self = Self { flags: 0, pos: Point { x: 0, y: 0 }, bitmap: None };
}

/// SpicePalette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette<'a> {
    /// Key in the palette cache.
    pub unique: u64,
    /// `0x00RRGGBB` each; at most [`Palette::LIMIT`].
    pub colours: Elements<'a, u32>,
}

impl Palette<'_> {
    /// No indexed format reaches further.
    pub const LIMIT: u16 = 256;
}

impl<'a> Field<'a> for Palette<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (unique, count) = (u64::decode(reader)?, u16::decode(reader)?);
        if count > Self::LIMIT {
            let (got, limit) = (count.into(), Self::LIMIT.into());
            return Err(WireError::OverLimit { what: "palette size", got, limit, offset: reader.offset() });
        }
        Ok(Self { unique, colours: Elements::decode(reader, count)? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.unique.encode(writer);
        writer.count::<u16>(self.colours.len());
        self.colours.encode(writer);
    }
}

/// SPICE_ROPD: how operand and destination combine. A set of bits; see the constants.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RopDescriptor(pub u16);

impl RopDescriptor {
    /// Inverts the source first.
    pub const INVERS_SRC: Self = Self(0x001);
    /// Inverts the brush first.
    pub const INVERS_BRUSH: Self = Self(0x002);
    /// Inverts the destination first.
    pub const INVERS_DEST: Self = Self(0x004);
    /// The operand alone.
    pub const OP_PUT: Self = Self(0x008);
    /// Operand or destination.
    pub const OP_OR: Self = Self(0x010);
    /// Operand and destination.
    pub const OP_AND: Self = Self(0x020);
    /// Operand exclusive-or destination.
    pub const OP_XOR: Self = Self(0x040);
    /// All zeros.
    pub const OP_BLACKNESS: Self = Self(0x080);
    /// All ones.
    pub const OP_WHITENESS: Self = Self(0x100);
    /// The destination inverted.
    pub const OP_INVERS: Self = Self(0x200);
    /// Inverts the result.
    pub const INVERS_RES: Self = Self(0x400);

    /// Whether all bits of `bits` are set.
    pub fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }
}

impl std::ops::BitOr for RopDescriptor {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for RopDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RopDescriptor(0x{:03x})", self.0)
    }
}

impl<'a> Field<'a> for RopDescriptor {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        u16::decode(reader).map(Self)
    }
    fn encode(&self, writer: &mut Writer) {
        self.0.encode(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::testing::hex;

    #[test]
    fn rectangles_come_top_first() {
        let bytes = hex("01000000 02000000 03000000 04000000");
        let rect = Rect { top: 1, left: 2, bottom: 3, right: 4 };
        assert_eq!(Rect::decode(&mut Reader::new(&bytes)), Ok(rect));
    }

    #[test]
    fn inverted_and_far_rectangles_are_refused() {
        for bytes in [
            "02000000 00000000 01000000 01000000",
            "00000000 02000000 01000000 01000000",
            "00000000 00000000 01000000 01000001",
            "00000080 00000080 ffffff7f ffffff7f",
        ] {
            let bytes = hex(bytes);
            assert!(
                matches!(Rect::decode(&mut Reader::new(&bytes)), Err(WireError::BadRect { .. })),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn clip_rectangles_are_believed_only_as_far_as_the_body_reaches() {
        let bytes = hex("01 ffffffff 00000000 00000000 01000000 01000000");
        let wanted = 0xffff_ffff * 16;
        let error = Clip::decode(&mut Reader::new(&bytes));
        assert_eq!(error, Err(WireError::Truncated { field: "", wanted, offset: 5, left: 16 }));
    }

    #[test]
    fn unknown_clips_and_brushes_are_refused() {
        let unknown =
            |result: Result<(), WireError>| matches!(result, Err(WireError::UnknownValue { got: 3, .. }));
        assert!(unknown(Clip::decode(&mut Reader::new(&[3])).map(|_| ())));
        assert!(unknown(Brush::decode(&mut Reader::new(&[3])).map(|_| ())));
    }
}
