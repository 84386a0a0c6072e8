//! Changing the pixels of one surface. Everything here is total: what lies outside is not drawn.

use super::pixels::Surface;
use super::region::for_each_visible;
use super::rop::Rop;
use crate::spice::codec::Picture;
use crate::spice::wire::types::{Clip, Point, Rect};

/// Where a draw takes effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bounds: &'a Rect,
    pub(super) clip: &'a Clip,
    pub(super) mask: Option<Mask<'a>>,
}

/// A one-bit picture over the box: any colour but black is a 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask<'a> {
    pub(super) picture: &'a Picture,
    pub(super) pos: Point,
    pub(super) is_inverse: bool,
}

impl Mask<'_> {
    fn draws(&self, bounds: &Rect, x: i32, y: i32) -> bool {
        let (x, y) = (self.pos.x.saturating_add(x - bounds.left), self.pos.y.saturating_add(y - bounds.top));
        match pixel(self.picture, x, y) {
            Some(bit) => (bit & 0x00ff_ffff != 0) != self.is_inverse,
            None => false,
        }
    }
}

fn pixel(picture: &Picture, x: i32, y: i32) -> Option<u32> {
    let row = picture.row(u32::try_from(y).ok()?)?;
    let start = usize::try_from(x).ok()?.checked_mul(4)?;
    row.get(start..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Draws row by row: `draw` gets the pixels of row `y` from column `left` on and changes them in place.
fn each_row(surface: &mut Surface, place: Place<'_>, mut draw: impl FnMut(&mut [u8], i32, i32)) {
    let bounds = surface.bounds();
    for_each_visible(place.bounds, place.clip, &bounds, |area| {
        for y in area.top..area.bottom {
            let row = surface.span_mut(y, area.left, area.right);
            let Some(mask) = place.mask else {
                draw(row, area.left, y);
                continue;
            };
            let mut drawn = row.to_vec();
            draw(&mut drawn, area.left, y);
            let columns = area.left..area.right;
            for ((x, old), new) in columns.zip(row.chunks_exact_mut(4)).zip(drawn.chunks_exact(4)) {
                if mask.draws(place.bounds, x, y) {
                    old.copy_from_slice(new);
                }
            }
        }
    });
}

/// Applies `rop` to each pixel with what `operand` gives for it.
fn each_pixel(
    surface: &mut Surface,
    place: Place<'_>,
    rop: Rop,
    mut operand: impl FnMut(i32, i32) -> Option<u32>,
) {
    let keep = if surface.has_alpha() { !0 } else { 0x00ff_ffff };
    each_row(surface, place, |row, left, y| {
        for (x, bytes) in (left..).zip(row.as_chunks_mut::<4>().0) {
            if let Some(operand) = operand(x, y) {
                *bytes = (rop.combine(operand, u32::from_le_bytes(*bytes)) & keep).to_le_bytes();
            }
        }
    });
}

/// One colour, or none for operations that need no operand.
pub(super) fn fill(surface: &mut Surface, place: Place<'_>, rop: Rop, colour: u32) {
    each_pixel(surface, place, rop, |_, _| Some(colour));
}

/// Tiles of `tile`, one of which begins at `origin`.
pub(super) fn fill_pattern(surface: &mut Surface, place: Place<'_>, rop: Rop, tile: &Picture, origin: Point) {
    let (Ok(width), Ok(height)) = (i32::try_from(tile.width), i32::try_from(tile.height)) else { return };
    if width == 0 || height == 0 {
        return;
    }
    let opaque = opaque_bits(surface, tile);
    each_pixel(surface, place, rop, |x, y| {
        let (x, y) =
            (x.saturating_sub(origin.x).rem_euclid(width), y.saturating_sub(origin.y).rem_euclid(height));
        pixel(tile, x, y).map(|pixel| pixel | opaque)
    });
}

/// The part `area` of `picture`, stretched over the box to the nearest pixel when the sizes differ. The caller
/// has checked that `area` lies within the picture.
pub(super) fn copy(surface: &mut Surface, place: Place<'_>, rop: Rop, picture: &Picture, area: &Rect) {
    let bounds = *place.bounds;
    let is_same_size = bounds.width() == area.width() && bounds.height() == area.height();
    let opaque = opaque_bits(surface, picture);
    if !is_same_size {
        each_pixel(surface, place, rop, |x, y| {
            let x = area.left + nearest(x - bounds.left, bounds.width(), area.width());
            let y = area.top + nearest(y - bounds.top, bounds.height(), area.height());
            pixel(picture, x, y).map(|pixel| pixel | opaque)
        });
        return;
    }
    let shift = (area.left - bounds.left, area.top - bounds.top);
    let is_verbatim = rop.is_plain_put() && opaque == 0 && (surface.has_alpha() || !picture.has_alpha);
    if !is_verbatim {
        each_pixel(surface, place, rop, |x, y| {
            pixel(picture, x + shift.0, y + shift.1).map(|pixel| pixel | opaque)
        });
        return;
    }
    each_row(surface, place, |row, left, y| {
        let source = u32::try_from(y + shift.1).ok().and_then(|y| picture.row(y));
        let start = usize::try_from(left + shift.0).ok().and_then(|x| x.checked_mul(4));
        if let Some(source) =
            source.zip(start).and_then(|(source, start)| source.get(start..)?.get(..row.len()))
        {
            row.copy_from_slice(source);
        }
    });
}

/// The box from the equally large area at `from`, as it was before.
pub(super) fn copy_bits(surface: &mut Surface, place: Place<'_>, from: Point) {
    let bounds = *place.bounds;
    let shift = (from.x.saturating_sub(bounds.left), from.y.saturating_sub(bounds.top));
    let source = Rect::new(from.x, from.y, bounds.width(), bounds.height()).intersect(&surface.bounds());
    let Some(before) = snapshot(surface, &source) else { return };
    let place_of_source = Rect {
        left: source.left.saturating_sub(shift.0),
        top: source.top.saturating_sub(shift.1),
        right: source.right.saturating_sub(shift.0),
        bottom: source.bottom.saturating_sub(shift.1),
    };
    let area = Rect::new(0, 0, source.width(), source.height());
    copy(surface, Place { bounds: &place_of_source, ..place }, Rop::PUT, &before, &area);
}

/// The pixels of `area` as a picture; `None` when nothing of it lies on the surface.
pub(super) fn snapshot(surface: &Surface, area: &Rect) -> Option<Picture> {
    let area = area.intersect(&surface.bounds());
    if area.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for y in area.top..area.bottom {
        bytes.extend_from_slice(surface.span(y, area.left, area.right));
    }
    let (width, height) = (u32::try_from(area.width()).ok()?, u32::try_from(area.height()).ok()?);
    Some(Picture { width, height, has_alpha: surface.has_alpha(), bytes })
}

/// What a picture without alpha needs on a surface with alpha.
fn opaque_bits(surface: &Surface, picture: &Picture) -> u32 {
    if surface.has_alpha() && !picture.has_alpha { 0xff00_0000 } else { 0 }
}

/// The source pixel under the middle of destination pixel `at`.
fn nearest(at: i32, length: i32, source_length: i32) -> i32 {
    let (at, length, source_length) = (i64::from(at), i64::from(length.max(1)), i64::from(source_length));
    i32::try_from((2 * at + 1) * source_length / (2 * length)).unwrap_or(0)
}
