//! Changing the pixels of one surface. Everything here is total: what lies outside is not drawn.

use super::pixels::Surface;
use super::region::Region;
use super::rop::Rop;
use super::sample::{self, Stretch};
use crate::spice::codec::{Picture, Pool};
use crate::spice::wire::types::{Point, Rect};

/// Where a draw takes effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) bounds: &'a Rect,
    /// Within what the surface has.
    pub(super) region: &'a Region,
    pub(super) mask: Option<Mask<'a>>,
}

/// A one-bit picture over the box: any colour but black is a 1, and with alpha what is more than half opaque.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask<'a> {
    pub(super) picture: &'a Picture,
    pub(super) pos: Point,
    pub(super) is_inverse: bool,
}

impl Mask<'_> {
    fn draws(&self, bounds: &Rect, x: i32, y: i32) -> bool {
        let (x, y) = (self.pos.x.saturating_add(x - bounds.left), self.pos.y.saturating_add(y - bounds.top));
        let ones = if self.picture.has_alpha { 0x8000_0000 } else { 0x00ff_ffff };
        match sample::argb(self.picture, x, y) {
            Some(pixel) => (pixel & ones != 0) != self.is_inverse,
            None => false,
        }
    }
}

/// What a draw takes its colours from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Paint<'a> {
    /// Nothing is drawn.
    None,
    /// A number in the surface's own format.
    Solid(u32),
    /// Tiles, one of which begins at this point.
    Pattern(&'a Picture, Point),
}

impl Paint<'_> {
    /// The held pixel for `x`, `y` of `surface`; `None` without a colour.
    pub(super) fn held(&self, format: super::format::Format, x: i32, y: i32) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Solid(value) => Some(format.hold_native(*value)),
            Self::Pattern(tile, origin) => {
                let (width, height) = (i32::try_from(tile.width).ok()?, i32::try_from(tile.height).ok()?);
                let x = x.saturating_sub(origin.x).checked_rem_euclid(width)?;
                let y = y.saturating_sub(origin.y).checked_rem_euclid(height)?;
                sample::argb(tile, x, y).map(|argb| format.hold(argb))
            }
        }
    }
}

/// Gives each pixel of the place, as the surface holds it, the value that `change` makes of it.
pub(super) fn each_pixel(
    surface: &mut Surface,
    place: Place<'_>,
    mut change: impl FnMut(i32, i32, u32) -> u32,
) {
    let bits = surface.format().bits();
    place.region.for_each_within(place.bounds, |area| {
        for y in area.top..area.bottom {
            let row = surface.span_mut(y, area.left, area.right).as_chunks_mut::<4>().0;
            for (x, bytes) in (area.left..area.right).zip(row) {
                if place.mask.is_none_or(|mask| mask.draws(place.bounds, x, y)) {
                    *bytes = (change(x, y, u32::from_le_bytes(*bytes)) & bits).to_le_bytes();
                }
            }
        }
    });
}

/// One operation that needs no operand.
pub(super) fn constant(surface: &mut Surface, place: Place<'_>, rop: Rop) {
    each_pixel(surface, place, |_, _, below| rop.combine(0, below));
}

/// The paint over the place.
pub(super) fn fill(surface: &mut Surface, place: Place<'_>, rop: Rop, paint: Paint<'_>) {
    let format = surface.format();
    match paint {
        Paint::None => {}
        Paint::Solid(value) if rop.is_plain_put() && place.mask.is_none() => {
            let pixel = format.hold_native(value).to_le_bytes();
            place.region.for_each_within(place.bounds, |area| {
                for y in area.top..area.bottom {
                    surface.span_mut(y, area.left, area.right).as_chunks_mut::<4>().0.fill(pixel);
                }
            });
        }
        Paint::Solid(value) => {
            let operand = format.hold_native(value);
            each_pixel(surface, place, |_, _, below| rop.combine(operand, below));
        }
        Paint::Pattern(..) => each_pixel(surface, place, |x, y, below| {
            paint.held(format, x, y).map_or(below, |operand| rop.combine(operand, below))
        }),
    }
}

/// A picture over the place.
pub(super) fn copy(surface: &mut Surface, place: Place<'_>, rop: Rop, source: &Stretch<'_>) {
    let format = surface.format();
    if source.area.is_empty() {
        return;
    }
    let is_verbatim = rop.is_plain_put()
        && place.mask.is_none()
        && source.is_same_size()
        && is_held_alike(surface, source.picture);
    if !is_verbatim {
        each_pixel(surface, place, |x, y, below| rop.combine(format.hold(source.argb(x, y)), below));
        return;
    }
    let shift = (source.area.left - source.bounds.left, source.area.top - source.bounds.top);
    place.region.for_each_within(place.bounds, |area| {
        for y in area.top..area.bottom {
            let row = surface.span_mut(y, area.left, area.right);
            let from = u32::try_from(y + shift.1).ok().and_then(|y| source.picture.row(y));
            let start = usize::try_from(area.left + shift.0).ok().and_then(|x| x.checked_mul(4));
            let span = from.zip(start).and_then(|(from, start)| from.get(start..)?.get(..row.len()));
            if let Some(span) = span {
                row.copy_from_slice(span);
            }
        }
    });
}

/// Whether the surface holds the picture's bytes as they are.
fn is_held_alike(surface: &Surface, picture: &Picture) -> bool {
    use super::format::Format;
    match surface.format() {
        Format::Xrgb => !picture.has_alpha,
        Format::Argb => picture.has_alpha,
        _ => false,
    }
}

/// The box from the equally large area at `from`, as it was before.
pub(super) fn copy_bits(surface: &mut Surface, place: Place<'_>, from: Point, pool: &Pool) {
    let shift = (from.x.saturating_sub(place.bounds.left), from.y.saturating_sub(place.bounds.top));
    let whole = surface.bounds();
    let source = Rect::new(from.x, from.y, place.bounds.width(), place.bounds.height()).intersect(&whole);
    // Only where the source has pixels is anything drawn.
    let reached = Rect {
        left: source.left.saturating_sub(shift.0),
        top: source.top.saturating_sub(shift.1),
        right: source.right.saturating_sub(shift.0),
        bottom: source.bottom.saturating_sub(shift.1),
    };
    if source.is_empty() {
        return;
    }
    if place.region.is_one_piece() {
        place.region.for_each_within(&reached, |area| move_area(surface, area, shift));
        return;
    }
    let Some(before) = snapshot(surface, &source, pool) else { return };
    let area = Rect::new(0, 0, source.width(), source.height());
    let stretch = Stretch { picture: &before, area, bounds: reached, is_smooth: false };
    let bits = surface.format().bits();
    each_pixel(surface, Place { bounds: &reached, ..place }, |x, y, _| stretch.argb(x, y) & bits);
    pool.give(before.bytes);
}

/// Moves what is `shift` away to `area`, row by row in the order that reads before it writes.
fn move_area(surface: &mut Surface, area: Rect, shift: (i32, i32)) {
    let mut move_row = |y: i32| {
        surface.move_span((area.left + shift.0, y + shift.1), (area.left, y), area.width());
    };
    if shift.1 >= 0 {
        (area.top..area.bottom).for_each(&mut move_row);
    } else {
        (area.top..area.bottom).rev().for_each(&mut move_row);
    }
}

/// The pixels of `area` as a picture; `None` when nothing of it lies on the surface.
pub(super) fn snapshot(surface: &Surface, area: &Rect, pool: &Pool) -> Option<Picture> {
    let area = area.intersect(&surface.bounds());
    if area.is_empty() {
        return None;
    }
    let (width, height) = (u32::try_from(area.width()).ok()?, u32::try_from(area.height()).ok()?);
    let bytes = usize::try_from(area.area()).ok()?.checked_mul(4)?;
    let mut bytes = pool.take(bytes);
    let row_bytes = bytes.len() / usize::try_from(height).ok()?;
    for (y, row) in (area.top..area.bottom).zip(bytes.chunks_exact_mut(row_bytes)) {
        row.copy_from_slice(surface.span(y, area.left, area.right));
    }
    Some(Picture { width, height, has_alpha: surface.format().has_alpha(), bytes })
}
