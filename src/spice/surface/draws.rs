//! The drawing messages beyond copying and filling.

use super::blend::Operator;
use super::canvas::{Canvas, Outcome, rop, within};
use super::composite::{Mode, View};
use super::error::DrawError;
use super::format::Format;
use super::paint::{self, Place, each_pixel};
use super::rop::Rop3;
use super::{stroke, text};
use crate::spice::wire::draw::{
    DrawAlphaBlend, DrawComposite, DrawRop3, DrawStroke, DrawText, DrawTransparent, GlyphString, scale_mode,
};
use crate::spice::wire::image::ImageData;
use crate::spice::wire::types::{Brush, Rect, RopDescriptor};

impl Canvas {
    /// DRAW_ROP3. A brush of no kind is black: only operations without a pattern come with it.
    pub fn rop3(&mut self, message: &DrawRop3<'_>) -> Result<Outcome, DrawError> {
        let mut source = self.resolve_source(&message.src_bitmap.0, &message.src_area)?;
        source.is_smooth = message.scale_mode == scale_mode::INTERPOLATE;
        let brush = self.resolve_brush(&message.brush)?;
        let mask = self.resolve_mask(&message.mask)?;
        let rop = Rop3(message.rop3);
        self.draw(&message.base, mask.as_ref(), |surface, place| {
            let (format, source, paint) = (surface.format(), source.over(place.bounds), brush.paint());
            each_pixel(surface, place, |x, y, below| {
                let pattern = paint.held(format, x, y).unwrap_or(0);
                rop.combine(pattern, format.hold(source.argb(x, y)), below)
            });
        })
    }

    /// DRAW_TRANSPARENT: all pixels of the source but those of one colour, compared as the surface holds them.
    pub fn transparent(&mut self, message: &DrawTransparent<'_>) -> Result<Outcome, DrawError> {
        const COLOUR: u32 = 0x00ff_ffff;
        let source = self.resolve_source(&message.src_bitmap.0, &message.src_area)?;
        self.draw(&message.base, None, |surface, place| {
            let (format, source) = (surface.format(), source.over(place.bounds));
            let key = format.hold(message.true_color) & COLOUR;
            each_pixel(surface, place, |x, y, below| {
                let pixel = format.hold(source.argb(x, y));
                if pixel & COLOUR == key { below } else { pixel }
            });
        })
    }

    /// DRAW_ALPHA_BLEND: the source, weakened, over what is there. Stretched sources are smooth.
    pub fn alpha_blend(&mut self, message: &DrawAlphaBlend<'_>) -> Result<Outcome, DrawError> {
        let image = &message.src_bitmap.0;
        let has = |flag| message.alpha_flags & flag != 0;
        let is_surface = matches!(image.data, ImageData::Surface(_));
        let opaque_source =
            if is_surface && !has(DrawAlphaBlend::SRC_SURFACE_HAS_ALPHA) { 0xff00_0000 } else { 0 };
        let keeps_alpha = has(DrawAlphaBlend::DEST_HAS_ALPHA);
        let mut source = self.resolve_source(image, &message.src_area)?;
        source.is_smooth = true;
        let weight = u32::from_le_bytes([message.alpha; 4]);
        self.draw(&message.base, None, |surface, place| {
            let (format, source) = (surface.format(), source.over(place.bounds));
            let opaque = if format == Format::Argb && !keeps_alpha { 0xff00_0000 } else { 0 };
            each_pixel(surface, place, |x, y, below| {
                let below = format.argb(below) | opaque;
                format.hold(Operator::OVER.combine(source.argb(x, y) | opaque_source, weight, below))
            });
        })
    }

    /// DRAW_COMPOSITE.
    pub fn composite(&mut self, message: &DrawComposite<'_>) -> Result<Outcome, DrawError> {
        let source = self.resolve_whole(&message.src_bitmap.0)?;
        let mask = message.mask_bitmap.as_ref().map(|mask| self.resolve_whole(&mask.0)).transpose()?;
        let mode = Mode::from_flags(message.flags)?;
        self.draw(&message.base, None, |surface, place| {
            let source = View {
                picture: &source,
                reading: mode.source,
                transform: message.src_transform,
                origin: message.src_origin,
            };
            let mask = mask.as_ref().map(|picture| View {
                picture,
                reading: mode.mask,
                transform: message.mask_transform,
                origin: message.mask_origin,
            });
            let (format, bounds) = (surface.format(), *place.bounds);
            each_pixel(surface, place, |x, y, below| {
                let (x, y) = (x - bounds.left, y - bounds.top);
                mode.combine(source.argb(x, y), mask.map(|mask| mask.argb(x, y)), below, format)
            });
        })
    }

    /// DRAW_STROKE. Gaps between dashes are left as they are.
    pub fn stroke(&mut self, message: &DrawStroke<'_>) -> Result<Outcome, DrawError> {
        let brush = self.resolve_brush(&message.brush)?;
        let rop = rop(message.fore_mode, RopDescriptor::INVERS_BRUSH)?;
        let mut pen = std::mem::take(&mut self.pen);
        pen.follow(&message.path.0, &message.attr)?;
        let limit = self.limits.images.pixels;
        let mut budget = limit.saturating_add(1);
        let outcome = self.draw(&message.base, None, |surface, place| {
            let (format, paint) = (surface.format(), brush.paint());
            place.region.for_each_within(place.bounds, |area| {
                for line in pen.lines() {
                    if budget == 0 {
                        return;
                    }
                    stroke::each_point(line, &area, &mut budget, |x, y, step| {
                        let operand = paint.held(format, x, y).filter(|_| pen.draws(step));
                        if let Some((operand, pixel)) = operand.zip(surface.pixel_mut(x, y)) {
                            let result = rop.combine(operand, u32::from_le_bytes(*pixel)) & format.bits();
                            *pixel = result.to_le_bytes();
                        }
                    });
                }
            });
        })?;
        self.pen = pen;
        within("number of pixels of a path", if budget == 0 { limit.saturating_add(1) } else { 0 }, limit)?;
        Ok(outcome)
    }

    /// DRAW_TEXT: the background, then the glyphs. The raster operation of the glyphs counts for one-bit ones only.
    pub fn text(&mut self, message: &DrawText<'_>) -> Result<Outcome, DrawError> {
        let string = &message.str.0;
        let fore = self.resolve_brush(&message.fore_brush)?;
        let back = self.resolve_brush(&message.back_brush)?;
        let mode =
            if string.flags & GlyphString::A1 != 0 { message.fore_mode } else { RopDescriptor::OP_PUT };
        let fore_rop = rop(mode, RopDescriptor::INVERS_BRUSH)?;
        let has_back = !message.back_area.is_empty() && message.back_brush != Brush::None;
        let back_rop = has_back.then(|| rop(message.back_mode, RopDescriptor::INVERS_BRUSH)).transpose()?;
        let pool = self.pool.clone();
        self.draw(&message.base, None, |surface, place| {
            if let Some(rop) = back_rop {
                let bounds: Rect = message.back_area.intersect(place.bounds);
                paint::fill(surface, Place { bounds: &bounds, ..place }, rop, back.paint());
            }
            text::draw(surface, place, string, fore.paint(), fore_rop, &pool);
        })
    }
}
