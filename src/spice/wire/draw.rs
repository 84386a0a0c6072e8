//! The drawing messages of the display channel. Each begins with a [`DisplayBase`].

use super::bytes::{Field, Message, Pointer, Reader, WireError, Writer, fields, message};
use super::image::Image;
use super::types::{Brush, Clip, Point, Point16, QMask, Rect, RopDescriptor};

fields! {
    /// SpiceMsgDisplayBase.
    DisplayBase {
        /// Surface drawn to.
        surface_id: u32,
        /// What SPICE calls `box`: the pixels touched at most.
        bounds: Rect,
        /// Where inside `bounds`.
        clip: Clip,
    }
}

/// SPICE_IMAGE_SCALE_MODE.
pub mod scale_mode {
    /// Smooth.
    pub const INTERPOLATE: u8 = 0;
    /// The nearest pixel.
    pub const NEAREST: u8 = 1;
}

message! {
    /// SPICE_MSG_DISPLAY_COPY_BITS: moves pixels within the surface.
    104 "COPY_BITS" CopyBits {
        /// Where to.
        base: DisplayBase,
        /// Where from.
        src_pos: Point,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_FILL.
    302 "DRAW_FILL" DrawFill<'a> {
        /// Where to.
        base: DisplayBase,
        /// The operand.
        brush: Brush<'a>,
        /// How it combines.
        rop_descriptor: RopDescriptor,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_OPAQUE: the source, then the brush over it.
    303 "DRAW_OPAQUE" DrawOpaque<'a> {
        /// Where to.
        base: DisplayBase,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
        /// The operand.
        brush: Brush<'a>,
        /// How it combines with the source.
        rop_descriptor: RopDescriptor,
        /// One of [`scale_mode`].
        scale_mode: u8,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_COPY.
    304 "DRAW_COPY" DrawCopy<'a> {
        /// Where to.
        base: DisplayBase,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
        /// How it combines.
        rop_descriptor: RopDescriptor,
        /// One of [`scale_mode`].
        scale_mode: u8,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_BLEND: a DRAW_COPY by another name.
    305 "DRAW_BLEND" DrawBlend<'a> {
        /// Where to.
        base: DisplayBase,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
        /// How it combines.
        rop_descriptor: RopDescriptor,
        /// One of [`scale_mode`].
        scale_mode: u8,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_BLACKNESS.
    306 "DRAW_BLACKNESS" DrawBlackness<'a> {
        /// Where to.
        base: DisplayBase,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_WHITENESS.
    307 "DRAW_WHITENESS" DrawWhiteness<'a> {
        /// Where to.
        base: DisplayBase,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_INVERS.
    308 "DRAW_INVERS" DrawInvers<'a> {
        /// Where to.
        base: DisplayBase,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_ROP3.
    309 "DRAW_ROP3" DrawRop3<'a> {
        /// Where to.
        base: DisplayBase,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
        /// The pattern.
        brush: Brush<'a>,
        /// The ternary table.
        rop3: u8,
        /// One of [`scale_mode`].
        scale_mode: u8,
        /// Where.
        mask: QMask<'a>,
    }
}

/// SpiceLineAttr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineAttr {
    /// See the constants. [`LineAttr::STYLED`] is set exactly when there are dashes.
    pub flags: u8,
    /// Lengths in sixteenths of a pixel.
    pub style: Option<Vec<i32>>,
}

impl LineAttr {
    /// The dashes begin with a gap.
    pub const START_WITH_GAP: u8 = 4;
    /// There are dashes.
    pub const STYLED: u8 = 8;
}

impl<'a> Field<'a> for LineAttr {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flags = u8::decode(reader)?;
        if flags & Self::STYLED == 0 {
            return Ok(Self { flags, style: None });
        }
        let count = u8::decode(reader)?;
        let mut segments = reader.pointer()?.ok_or_else(|| reader.bad_pointer(0).in_field("style"))?;
        Ok(Self { flags, style: Some(segments.list(count.into(), 4)?) })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        if let Some(style) = &self.style {
            writer.count::<u8>(style.len());
            writer.pointer(|target| style.iter().for_each(|length| length.encode(target)));
        }
    }
}

/// SpicePathSeg: flags and points in sixteenths of a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSegment {
    /// 1 begin, 2 end, 8 close, 16 bezier.
    pub flags: u8,
    /// The points.
    pub points: Vec<Point>,
}

impl<'a> Field<'a> for PathSegment {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (flags, count) = (u8::decode(reader)?, u32::decode(reader)?);
        Ok(Self { flags, points: reader.list(count.into(), 8)? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        writer.count::<u32>(self.points.len());
        self.points.iter().for_each(|point| point.encode(writer));
    }
}

/// SpicePath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// In drawing order.
    pub segments: Vec<PathSegment>,
}

impl<'a> Field<'a> for Path {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u32::decode(reader)?;
        Ok(Self { segments: reader.list(count.into(), 5)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u32>(self.segments.len());
        self.segments.iter().for_each(|segment| segment.encode(writer));
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_STROKE.
    310 "DRAW_STROKE" DrawStroke<'a> {
        /// Where to.
        base: DisplayBase,
        /// The line.
        path: Pointer<Path>,
        /// Its dashes.
        attr: LineAttr,
        /// Its colour.
        brush: Brush<'a>,
        /// How it combines.
        fore_mode: RopDescriptor,
        /// How gaps combine.
        back_mode: RopDescriptor,
    }
}

/// SpiceRasterGlyph: one character's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RasterGlyph<'a> {
    /// Where the character is.
    pub render_pos: Point,
    /// Where the picture begins relative to that.
    pub glyph_origin: Point,
    /// Pixels per row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Rows padded to whole bytes, bottom row first.
    pub data: &'a [u8],
}

/// SpiceString: characters as pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlyphString<'a> {
    /// One of [`GlyphString::A1`], [`GlyphString::A4`], [`GlyphString::A8`], perhaps with others.
    pub flags: u8,
    /// The characters.
    pub glyphs: Vec<RasterGlyph<'a>>,
}

impl<'a> GlyphString<'a> {
    /// One bit per pixel.
    pub const A1: u8 = 1;
    /// Four bits per pixel.
    pub const A4: u8 = 2;
    /// Eight bits per pixel.
    pub const A8: u8 = 4;

    fn glyph(reader: &mut Reader<'a>, bits: usize) -> Result<RasterGlyph<'a>, WireError> {
        let (render_pos, glyph_origin) = (Point::decode(reader)?, Point::decode(reader)?);
        let (width, height) = (u16::decode(reader)?, u16::decode(reader)?);
        let row_bytes = (usize::from(width) * bits).div_ceil(8);
        let data = reader.bytes(row_bytes * usize::from(height))?;
        Ok(RasterGlyph { render_pos, glyph_origin, width, height, data })
    }
}

impl<'a> Field<'a> for GlyphString<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (count, flags) = (u16::decode(reader)?, u8::decode(reader)?);
        let bits = match flags & (Self::A1 | Self::A4 | Self::A8) {
            Self::A1 => 1,
            Self::A4 => 4,
            Self::A8 => 8,
            _ => {
                let (got, offset) = (flags.into(), reader.offset());
                return Err(WireError::UnknownValue { what: "string flags", got, offset });
            }
        };
        let glyphs = (0..count).map(|_| Self::glyph(reader, bits));
        Ok(Self { flags, glyphs: glyphs.collect::<Result<_, _>>()? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u16>(self.glyphs.len());
        self.flags.encode(writer);
        for glyph in &self.glyphs {
            glyph.render_pos.encode(writer);
            glyph.glyph_origin.encode(writer);
            glyph.width.encode(writer);
            glyph.height.encode(writer);
            writer.bytes(glyph.data);
        }
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_TEXT.
    311 "DRAW_TEXT" DrawText<'a> {
        /// Where to.
        base: DisplayBase,
        /// The text.
        str: Pointer<GlyphString<'a>>,
        /// Painted first, unless empty.
        back_area: Rect,
        /// Colour of the text.
        fore_brush: Brush<'a>,
        /// Colour of `back_area`.
        back_brush: Brush<'a>,
        /// How the text combines.
        fore_mode: RopDescriptor,
        /// How `back_area` combines.
        back_mode: RopDescriptor,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_TRANSPARENT: copies all pixels but those of one colour.
    312 "DRAW_TRANSPARENT" DrawTransparent<'a> {
        /// Where to.
        base: DisplayBase,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
        /// The colour in the source's format.
        src_color: u32,
        /// The colour as `0x00RRGGBB`.
        true_color: u32,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_ALPHA_BLEND.
    313 "DRAW_ALPHA_BLEND" DrawAlphaBlend<'a> {
        /// Where to.
        base: DisplayBase,
        /// 1: the destination has alpha; 2: the source surface has.
        alpha_flags: u8,
        /// 255 is opaque.
        alpha: u8,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
    }
}

fields! {
    /// SpiceTransform: an affine map in 16.16 fixed point.
    #[derive(Copy)]
    Transform {
        /// Row 0, column 0.
        t00: i32,
        /// Row 0, column 1.
        t01: i32,
        /// Row 0, column 2.
        t02: i32,
        /// Row 1, column 0.
        t10: i32,
        /// Row 1, column 1.
        t11: i32,
        /// Row 1, column 2.
        t12: i32,
    }
}

/// SPICE_MSG_DISPLAY_DRAW_COMPOSITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawComposite<'a> {
    /// Where to.
    pub base: DisplayBase,
    /// Operator, filters and repeats; the bits for the optional fields are set exactly when these are there.
    pub flags: u32,
    /// The source.
    pub src_bitmap: Pointer<Image<'a>>,
    /// The mask.
    pub mask_bitmap: Option<Pointer<Image<'a>>>,
    /// From destination to source.
    pub src_transform: Option<Transform>,
    /// From destination to mask.
    pub mask_transform: Option<Transform>,
    /// Where in the source.
    pub src_origin: Point16,
    /// Where in the mask.
    pub mask_origin: Point16,
}

impl DrawComposite<'_> {
    /// The mask is there.
    pub const HAS_MASK: u32 = 1 << 19;
    /// The source transform is there.
    pub const HAS_SRC_TRANSFORM: u32 = 1 << 20;
    /// The mask transform is there.
    pub const HAS_MASK_TRANSFORM: u32 = 1 << 21;
}

impl<'a> Field<'a> for DrawComposite<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (base, flags) = (Field::decode(reader)?, u32::decode(reader)?);
        let src_bitmap = Field::decode(reader)?;
        let has = |bit| flags & bit != 0;
        Ok(Self {
            base,
            flags,
            src_bitmap,
            mask_bitmap: has(Self::HAS_MASK).then(|| Field::decode(reader)).transpose()?,
            src_transform: has(Self::HAS_SRC_TRANSFORM).then(|| Field::decode(reader)).transpose()?,
            mask_transform: has(Self::HAS_MASK_TRANSFORM).then(|| Field::decode(reader)).transpose()?,
            src_origin: Field::decode(reader)?,
            mask_origin: Field::decode(reader)?,
        })
    }
    fn encode(&self, writer: &mut Writer) {
        self.base.encode(writer);
        self.flags.encode(writer);
        self.src_bitmap.encode(writer);
        if let Some(mask) = &self.mask_bitmap {
            mask.encode(writer);
        }
        for transform in [&self.src_transform, &self.mask_transform].into_iter().flatten() {
            transform.encode(writer);
        }
        self.src_origin.encode(writer);
        self.mask_origin.encode(writer);
    }
}

impl<'a> Message<'a> for DrawComposite<'a> {
    const KIND: u16 = 318;
    const NAME: &'static str = "DRAW_COMPOSITE";
}
