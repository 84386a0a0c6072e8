//! The drawing messages of the display channel. Each begins with a [`DisplayBase`].

use std::borrow::Cow;

use super::bytes::{Field, Message, Pointer, Reader, WireError, Writer, fields, message};
use super::elements::{Element, Elements};
use super::image::Image;
use super::types::{Brush, Clip, Point, Point16, QMask, Rect, RopDescriptor};

fields! {
    /// SpiceMsgDisplayBase.
    DisplayBase<'a> {
        /// Surface drawn to.
        surface_id: u32,
        /// What SPICE calls `box`: the pixels touched at most.
        bounds: Rect,
        /// Where inside `bounds`.
        clip: Clip<'a>,
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
    104 "COPY_BITS" CopyBits<'a> {
        /// Where to.
        base: DisplayBase<'a>,
        /// Where from.
        src_pos: Point,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_FILL.
    302 "DRAW_FILL" DrawFill<'a> {
        /// Where to.
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_WHITENESS.
    307 "DRAW_WHITENESS" DrawWhiteness<'a> {
        /// Where to.
        base: DisplayBase<'a>,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_INVERS.
    308 "DRAW_INVERS" DrawInvers<'a> {
        /// Where to.
        base: DisplayBase<'a>,
        /// Where.
        mask: QMask<'a>,
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_ROP3.
    309 "DRAW_ROP3" DrawRop3<'a> {
        /// Where to.
        base: DisplayBase<'a>,
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
pub struct LineAttr<'a> {
    /// See the constants. [`LineAttr::STYLED`] is set exactly when there are dashes.
    pub flags: u8,
    /// Lengths in sixteenths of a pixel.
    pub style: Option<Elements<'a, i32>>,
}

impl LineAttr<'_> {
    /// The dashes begin with a gap.
    pub const START_WITH_GAP: u8 = 4;
    /// There are dashes.
    pub const STYLED: u8 = 8;
}

impl<'a> Field<'a> for LineAttr<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flags = u8::decode(reader)?;
        if flags & Self::STYLED == 0 {
            return Ok(Self { flags, style: None });
        }
        let count = u8::decode(reader)?;
        let mut segments = reader.pointer()?.ok_or_else(|| reader.bad_pointer(0).in_field("style"))?;
        Ok(Self { flags, style: Some(Elements::decode(&mut segments, count)?) })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        if let Some(style) = &self.style {
            writer.count::<u8>(style.len());
            writer.pointer(|target| style.encode(target));
        }
    }
}

/// SpicePathSeg: flags and points in sixteenths of a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSegment<'a> {
    /// 1 begin, 2 end, 8 close, 16 bezier.
    pub flags: u8,
    /// The points.
    pub points: Elements<'a, Point>,
}

impl<'a> Field<'a> for PathSegment<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (flags, count) = (u8::decode(reader)?, u32::decode(reader)?);
        Ok(Self { flags, points: Elements::decode(reader, count)? })
    }
    fn encode(&self, writer: &mut Writer) {
        self.flags.encode(writer);
        writer.count::<u32>(self.points.len());
        self.points.encode(writer);
    }
}

impl Element for PathSegment<'static> {
    type Of<'b> = PathSegment<'b>;
    const BYTES: u64 = 5;
}

/// SpicePath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// In drawing order.
    pub segments: Elements<'a, PathSegment<'static>>,
}

impl<'a> Field<'a> for Path<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u32::decode(reader)?;
        Ok(Self { segments: Elements::decode(reader, count)? })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u32>(self.segments.len());
        self.segments.encode(writer);
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_STROKE.
    310 "DRAW_STROKE" DrawStroke<'a> {
        /// Where to.
        base: DisplayBase<'a>,
        /// The line.
        path: Pointer<Path<'a>>,
        /// Its dashes.
        attr: LineAttr<'a>,
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
    /// How many characters.
    count: usize,
    /// The characters as they lie in the message; all of them can be decoded.
    bytes: Cow<'a, [u8]>,
}

impl<'a> GlyphString<'a> {
    /// One bit per pixel.
    pub const A1: u8 = 1;
    /// Four bits per pixel.
    pub const A4: u8 = 2;
    /// Eight bits per pixel.
    pub const A8: u8 = 4;

    /// A string to be sent.
    pub fn new<'b>(flags: u8, glyphs: impl IntoIterator<Item = RasterGlyph<'b>>) -> Self {
        let (mut writer, mut count) = (Writer::default(), 0);
        for glyph in glyphs {
            glyph.render_pos.encode(&mut writer);
            glyph.glyph_origin.encode(&mut writer);
            glyph.width.encode(&mut writer);
            glyph.height.encode(&mut writer);
            writer.bytes(glyph.data);
            count += 1;
        }
        Self { flags, count, bytes: Cow::Owned(writer.finish()) }
    }

    /// The characters.
    pub fn glyphs(&self) -> impl Iterator<Item = RasterGlyph<'_>> {
        let mut reader = Reader::new(&self.bytes);
        let bits = GlyphString::bits(self.flags).unwrap_or(0);
        (0..self.count).map_while(move |_| GlyphString::glyph(&mut reader, bits).ok())
    }

    /// Bits of a pixel.
    fn bits(flags: u8) -> Option<usize> {
        Some(match flags & (Self::A1 | Self::A4 | Self::A8) {
            Self::A1 => 1,
            Self::A4 => 4,
            Self::A8 => 8,
            _ => return None,
        })
    }

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
        let Some(bits) = Self::bits(flags) else {
            let (got, offset) = (flags.into(), reader.offset());
            return Err(WireError::UnknownValue { what: "string flags", got, offset });
        };
        let (mut end, count) = (reader.clone(), usize::from(count));
        (0..count).try_for_each(|_| Self::glyph(&mut end, bits).map(|_| ()))?;
        let bytes = reader.bytes(end.offset() - reader.offset())?;
        Ok(Self { flags, count, bytes: Cow::Borrowed(bytes) })
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u16>(self.count);
        self.flags.encode(writer);
        writer.bytes(&self.bytes);
    }
}

message! {
    /// SPICE_MSG_DISPLAY_DRAW_TEXT.
    311 "DRAW_TEXT" DrawText<'a> {
        /// Where to.
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
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
        base: DisplayBase<'a>,
        /// See the constants.
        alpha_flags: u8,
        /// 255 is opaque.
        alpha: u8,
        /// The source.
        src_bitmap: Pointer<Image<'a>>,
        /// The part of it.
        src_area: Rect,
    }
}

impl DrawAlphaBlend<'_> {
    /// The destination's alpha counts and is kept.
    pub const DEST_HAS_ALPHA: u8 = 1;
    /// The alpha of a source that is a surface counts.
    pub const SRC_SURFACE_HAS_ALPHA: u8 = 2;
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
    pub base: DisplayBase<'a>,
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
    /// Each channel of the mask counts for itself.
    pub const COMPONENT_ALPHA: u32 = 1 << 18;
    /// The destination is taken as opaque.
    pub const DEST_OPAQUE: u32 = 1 << 24;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spice::wire::image::{ImageData, ImageDescriptor};
    use crate::spice::wire::testing::{annotated, check};

    const AREA: Rect = Rect { left: 1, top: 2, right: 3, bottom: 4 };
    /// Surface 7, box 1,2 to 3,4, no clip.
    const BASE: &str = "07000000 surface_id
                        02000000 top
                        01000000 left
                        04000000 bottom
                        03000000 right
                        00 clip_type
                        ";
    /// The image FROM_CACHE with id 5 and size 2 x 2.
    const IMAGE: &str = "0500000000000000 id
                         67 type
                         00 flags
                         02000000 width
                         02000000 height
                         ";
    const NO_MASK: &str = "00 mask_flags
                           00000000 mask_x
                           00000000 mask_y
                           00000000 mask_bitmap
                           ";
    const SRC_AREA: &str = "02000000010000000400000003000000 src_area
                            ";

    fn base() -> DisplayBase<'static> {
        DisplayBase { surface_id: 7, bounds: AREA, clip: Clip::None }
    }

    fn image() -> Pointer<Image<'static>> {
        let descriptor = ImageDescriptor { id: 5, kind: 103, flags: 0, width: 2, height: 2 };
        Pointer(Image { descriptor, data: ImageData::FromCache })
    }

    fn lines(parts: &[&str]) -> Vec<u8> {
        annotated(&parts.concat())
    }

    #[test]
    fn copy_bits_is_its_bytes() {
        let bytes = lines(&[BASE, "05000000 x \n 06000000 y"]);
        check(&CopyBits { base: base(), src_pos: Point { x: 5, y: 6 } }, 104, &bytes);
    }

    #[test]
    fn fill_is_its_bytes() {
        let fill = DrawFill {
            base: base(),
            brush: Brush::Solid(0x0011_2233),
            rop_descriptor: RopDescriptor::OP_PUT,
            mask: QMask::NONE,
        };
        let bytes = lines(&[BASE, "01 brush_type \n 33221100 colour \n 0800 rop \n", NO_MASK]);
        check(&fill, 302, &bytes);
    }

    #[test]
    fn pattern_brushes_and_masks_are_behind_pointers() {
        let fill = DrawFill {
            base: base(),
            brush: Brush::Pattern { image: image(), pos: Point { x: 8, y: 9 } },
            rop_descriptor: RopDescriptor::OP_XOR,
            mask: QMask { flags: QMask::INVERS, pos: Point { x: 1, y: 1 }, bitmap: Some(image()) },
        };
        let bytes = lines(&[
            BASE,
            "02 brush_type
             31000000 brush_image_at_49
             08000000 x
             09000000 y
             4000 rop
             01 mask_flags
             01000000 mask_x
             01000000 mask_y
             43000000 mask_bitmap_at_67
             ",
            IMAGE,
            IMAGE,
        ]);
        check(&fill, 302, &bytes);
    }

    #[test]
    fn copy_and_blend_are_the_same_bytes() {
        let bytes = lines(&[
            BASE,
            "39000000 image_at_57 \n",
            SRC_AREA,
            "0800 rop \n 01 scale_mode \n",
            NO_MASK,
            IMAGE,
        ]);
        let (rop_descriptor, scale_mode) = (RopDescriptor::OP_PUT, scale_mode::NEAREST);
        let (src_bitmap, src_area, mask) = (image(), AREA, QMask::NONE);
        check(
            &DrawCopy { base: base(), src_bitmap, src_area, rop_descriptor, scale_mode, mask },
            304,
            &bytes,
        );
        let (src_bitmap, mask) = (image(), QMask::NONE);
        check(
            &DrawBlend { base: base(), src_bitmap, src_area, rop_descriptor, scale_mode, mask },
            305,
            &bytes,
        );
    }

    #[test]
    fn opaque_and_rop3_are_their_bytes() {
        let opaque = DrawOpaque {
            base: base(),
            src_bitmap: image(),
            src_area: AREA,
            brush: Brush::None,
            rop_descriptor: RopDescriptor::OP_AND,
            scale_mode: 0,
            mask: QMask::NONE,
        };
        let image_at = "3a000000 image_at_58 \n";
        let bytes = lines(&[
            BASE,
            image_at,
            SRC_AREA,
            "00 brush_type \n 2000 rop \n 00 scale_mode \n",
            NO_MASK,
            IMAGE,
        ]);
        check(&opaque, 303, &bytes);
        let rop3 = DrawRop3 {
            base: base(),
            src_bitmap: image(),
            src_area: AREA,
            brush: Brush::None,
            rop3: 0xcc,
            scale_mode: 0,
            mask: QMask::NONE,
        };
        let image_at = "39000000 image_at_57 \n";
        let bytes = lines(&[
            BASE,
            image_at,
            SRC_AREA,
            "00 brush_type \n cc rop3 \n 00 scale_mode \n",
            NO_MASK,
            IMAGE,
        ]);
        check(&rop3, 309, &bytes);
    }

    #[test]
    fn draws_without_operands_are_base_and_mask() {
        let bytes = lines(&[BASE, NO_MASK]);
        check(&DrawBlackness { base: base(), mask: QMask::NONE }, 306, &bytes);
        check(&DrawWhiteness { base: base(), mask: QMask::NONE }, 307, &bytes);
        check(&DrawInvers { base: base(), mask: QMask::NONE }, 308, &bytes);
    }

    #[test]
    fn stroke_is_its_bytes() {
        let segment = PathSegment { flags: 3, points: Elements::of([Point { x: 16, y: 32 }]) };
        let stroke = DrawStroke {
            base: base(),
            path: Pointer(Path { segments: Elements::of([segment]) }),
            attr: LineAttr { flags: LineAttr::STYLED, style: Some(Elements::of([16, 48])) },
            brush: Brush::Solid(1),
            fore_mode: RopDescriptor::OP_PUT,
            back_mode: RopDescriptor::OP_AND,
        };
        let bytes = lines(&[
            BASE,
            "28000000 path_at_40
             08 attr_flags
             02 style_count
             39000000 style_at_57
             01 brush_type
             01000000 colour
             0800 fore_mode
             2000 back_mode
             01000000 segment_count
             03 segment_flags
             01000000 point_count
             10000000 x
             20000000 y
             10000000 dash_0
             30000000 dash_1",
        ]);
        check(&stroke, 310, &bytes);
    }

    #[test]
    fn text_is_its_bytes() {
        let glyph = RasterGlyph {
            render_pos: Point { x: 1, y: 2 },
            glyph_origin: Point { x: 0, y: -1 },
            width: 9,
            height: 1,
            data: &[0xff, 0x80],
        };
        let text = DrawText {
            base: base(),
            str: Pointer(GlyphString::new(GlyphString::A1, [glyph])),
            back_area: Rect::default(),
            fore_brush: Brush::Solid(1),
            back_brush: Brush::None,
            fore_mode: RopDescriptor::OP_PUT,
            back_mode: RopDescriptor::OP_PUT,
        };
        let bytes = lines(&[
            BASE,
            "33000000 string_at_51
             00000000000000000000000000000000 back_area
             01 fore_brush_type
             01000000 fore_colour
             00 back_brush_type
             0800 fore_mode
             0800 back_mode
             0100 glyph_count
             01 string_flags
             01000000 render_x
             02000000 render_y
             00000000 origin_x
             ffffffff origin_y
             0900 width
             0100 height
             ff80 row",
        ]);
        check(&text, 311, &bytes);
    }

    #[test]
    fn transparent_and_alpha_blend_are_their_bytes() {
        let transparent = DrawTransparent {
            base: base(),
            src_bitmap: image(),
            src_area: AREA,
            src_color: 1,
            true_color: 2,
        };
        let colours = "01000000 src_color \n 02000000 true_color \n";
        check(&transparent, 312, &lines(&[BASE, "31000000 image_at_49 \n", SRC_AREA, colours, IMAGE]));
        let blend =
            DrawAlphaBlend { base: base(), alpha_flags: 1, alpha: 128, src_bitmap: image(), src_area: AREA };
        let alpha = "01 alpha_flags \n 80 alpha \n 2b000000 image_at_43 \n";
        check(&blend, 313, &lines(&[BASE, alpha, SRC_AREA, IMAGE]));
    }

    #[test]
    fn composite_has_what_its_flags_say() {
        let plain = DrawComposite {
            base: base(),
            flags: 3,
            src_bitmap: image(),
            mask_bitmap: None,
            src_transform: None,
            mask_transform: None,
            src_origin: Point16 { x: 1, y: 2 },
            mask_origin: Point16 { x: 3, y: 4 },
        };
        let origins = "0100 src_x \n 0200 src_y \n 0300 mask_x \n 0400 mask_y \n";
        check(&plain, 318, &lines(&[BASE, "03000000 flags \n 25000000 image_at_37 \n", origins, IMAGE]));
        let transform = Transform { t00: 1, t01: 2, t02: 3, t10: 4, t11: 5, t12: 6 };
        let full = DrawComposite {
            flags: DrawComposite::HAS_MASK
                | DrawComposite::HAS_SRC_TRANSFORM
                | DrawComposite::HAS_MASK_TRANSFORM,
            mask_bitmap: Some(image()),
            src_transform: Some(transform),
            mask_transform: Some(transform),
            ..plain
        };
        let matrix = "010000000200000003000000040000000500000006000000 transform \n";
        let pointers = "00003800 flags \n 59000000 image_at_89 \n 6b000000 mask_at_107 \n";
        check(&full, 318, &lines(&[BASE, pointers, matrix, matrix, origins, IMAGE, IMAGE]));
    }

    #[test]
    fn a_null_source_image_is_refused() {
        let bytes = lines(&[BASE, "00000000 image \n", SRC_AREA, "0800 rop \n 01 scale_mode \n", NO_MASK]);
        let error = DrawCopy::from_body(&bytes).expect_err("no image");
        assert_eq!(
            error.to_string(),
            "field `src_bitmap` points to offset 0 of a body of 57 bytes (offset 25)"
        );
    }
}
