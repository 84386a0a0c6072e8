//! Characters: pictures of coverage through which a brush paints.

use super::blend::{over, scale_pixel};
use super::format::Format;
use super::paint::{Paint, Place, each_pixel};
use super::pixels::Surface;
use super::rop::Rop;
use crate::spice::codec::Pool;
use crate::spice::wire::draw::{GlyphString, RasterGlyph};
use crate::spice::wire::types::Rect;

/// How much of each pixel of `area` the glyphs of a string cover; where they overlap, the most.
#[derive(Debug)]
struct Coverage {
    area: Rect,
    /// 0 to 255 each, row by row.
    values: Vec<u8>,
}

impl Coverage {
    /// What of the string lies within `visible`.
    fn of(string: &GlyphString<'_>, visible: &Rect, pool: &Pool) -> Self {
        let boxes = string.glyphs().map(|glyph| glyph_box(&glyph).intersect(visible));
        let area = boxes.filter(|area| !area.is_empty()).reduce(|all, area| all.union(&area));
        let area = area.unwrap_or_default();
        let mut coverage = Self { area, values: pool.take(usize::try_from(area.area()).unwrap_or(0)) };
        string.glyphs().for_each(|glyph| coverage.add(&glyph, string.flags));
        coverage
    }

    fn add(&mut self, glyph: &RasterGlyph<'_>, flags: u8) {
        let whole = glyph_box(glyph);
        let part = whole.intersect(&self.area);
        if part.is_empty() {
            return;
        }
        for y in part.top..part.bottom {
            // The bottom row is stored first.
            let row = usize::try_from(whole.bottom - 1 - y).unwrap_or(usize::MAX);
            for x in part.left..part.right {
                let column = usize::try_from(x - whole.left).unwrap_or(usize::MAX);
                let value = glyph_value(glyph, flags, row, column);
                if let Some(cell) = self.index(x, y).and_then(|index| self.values.get_mut(index)) {
                    *cell = value.max(*cell);
                }
            }
        }
    }

    fn at(&self, x: i32, y: i32) -> u8 {
        self.index(x, y).and_then(|index| self.values.get(index)).copied().unwrap_or(0)
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let width = usize::try_from(self.area.width()).ok()?;
        let (x, y) = (usize::try_from(x - self.area.left).ok()?, usize::try_from(y - self.area.top).ok()?);
        if x < width { Some(y * width + x) } else { None }
    }
}

fn glyph_box(glyph: &RasterGlyph<'_>) -> Rect {
    let left = glyph.render_pos.x.saturating_add(glyph.glyph_origin.x);
    let top = glyph.render_pos.y.saturating_add(glyph.glyph_origin.y);
    Rect::new(left, top, glyph.width.into(), glyph.height.into())
}

/// The coverage in stored row `row`: the first pixel is in the most significant bits of a byte.
fn glyph_value(glyph: &RasterGlyph<'_>, flags: u8, row: usize, column: usize) -> u8 {
    let width = usize::from(glyph.width);
    let byte = |at: usize| glyph.data.get(at).copied().unwrap_or(0);
    if flags & GlyphString::A1 != 0 {
        let byte = byte(row * width.div_ceil(8) + column / 8);
        return if byte >> (7 - column % 8) & 1 != 0 { 0xff } else { 0 };
    }
    if flags & GlyphString::A4 != 0 {
        let byte = byte(row * width.div_ceil(2) + column / 2);
        return if column.is_multiple_of(2) { byte & 0xf0 } else { byte << 4 };
    }
    byte(row * width + column)
}

/// Paints a string: one-bit glyphs with a raster operation, others by how much they cover.
pub(super) fn draw(
    surface: &mut Surface,
    place: Place<'_>,
    string: &GlyphString<'_>,
    paint: Paint<'_>,
    rop: Rop,
    pool: &Pool,
) {
    let format = surface.format();
    let coverage = Coverage::of(string, &place.bounds.intersect(&surface.bounds()), pool);
    let is_one_bit = string.flags & GlyphString::A1 != 0;
    each_pixel(surface, Place { bounds: &coverage.area, ..place }, |x, y, below| {
        let covered = coverage.at(x, y);
        match paint.held(format, x, y) {
            Some(held) if covered != 0 && is_one_bit => rop.combine(held, below),
            Some(held) if covered != 0 => {
                let seen = scale_pixel(colour(format, held), covered);
                format.hold(over(seen, format.argb(below)))
            }
            _ => below,
        }
    });
    pool.give(coverage.values);
}

/// A brush's colour is opaque even where it has no alpha to say so.
fn colour(format: Format, held: u32) -> u32 {
    match format {
        Format::A1 | Format::A8 => held,
        _ => held | 0xff00_0000,
    }
}
