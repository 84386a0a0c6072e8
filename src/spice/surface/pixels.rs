//! One surface.

use super::format::Format;
use crate::spice::wire::types::Rect;

/// A rectangle of pixels: rows from top to bottom, four bytes B, G, R, X per pixel, whatever the guest's format.
///
/// The fourth byte is 0 on ordinary surfaces and alpha on those few that a guest creates with alpha.
#[derive(Debug, Clone)]
pub struct Surface {
    width: u32,
    height: u32,
    format: Format,
    is_primary: bool,
    generation: u64,
    pixels: Vec<u8>,
}

impl Surface {
    /// A black surface. The caller has checked the size.
    pub(super) fn new(width: u32, height: u32, format: Format, is_primary: bool, generation: u64) -> Self {
        let bytes = byte_count(width, height);
        Self { width, height, format, is_primary, generation, pixels: vec![0; bytes] }
    }

    /// These pixels on `surface`, where they fit, otherwise `surface`.
    pub(super) fn in_place_of(self, mut surface: Self) -> Self {
        let kind = |surface: &Self| (surface.width, surface.height, surface.format, surface.is_primary);
        if kind(&self) == kind(&surface) {
            surface.pixels = self.pixels;
        }
        surface
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes from one row to the next.
    pub fn stride_bytes(&self) -> usize {
        byte_count(self.width, 1)
    }

    /// All rows, top row first: `stride_bytes * height` bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Whether this surface is the screen.
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// Counts the surfaces created on this channel: another number means another surface, black at first,
    /// even under the same id.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn bounds(&self) -> Rect {
        let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
        Rect::new(0, 0, side(self.width), side(self.height))
    }

    /// The pixels of row `y` from column `left` up to `right`; empty outside of the surface.
    pub(super) fn span(&self, y: i32, left: i32, right: i32) -> &[u8] {
        self.byte_range(y, left, right).and_then(|range| self.pixels.get(range)).unwrap_or_default()
    }

    pub(super) fn span_mut(&mut self, y: i32, left: i32, right: i32) -> &mut [u8] {
        match self.byte_range(y, left, right) {
            Some(range) => self.pixels.get_mut(range).unwrap_or_default(),
            None => &mut [],
        }
    }

    /// The four bytes of a pixel; `None` outside of the surface.
    pub(super) fn pixel_mut(&mut self, x: i32, y: i32) -> Option<&mut [u8; 4]> {
        self.span_mut(y, x, x.checked_add(1)?).first_chunk_mut()
    }

    /// Moves the pixels of row `from.1` from column `from.0` on to `width` pixels at column `to.0` of row `to.1`; they may
    /// overlap. Nothing moves unless both lie on the surface.
    pub(super) fn move_span(&mut self, from: (i32, i32), to: (i32, i32), width: i32) {
        let range = |(x, y): (i32, i32)| self.byte_range(y, x, x.checked_add(width)?);
        if let (Some(source), Some(target)) = (range(from), range(to))
            && source.end.max(target.end) <= self.pixels.len()
        {
            self.pixels.copy_within(source, target.start);
        }
    }

    pub(super) fn clear(&mut self) {
        self.pixels.fill(0);
    }

    fn byte_range(&self, y: i32, left: i32, right: i32) -> Option<std::ops::Range<usize>> {
        let (y, left, right) =
            (usize::try_from(y).ok()?, usize::try_from(left).ok()?, usize::try_from(right).ok()?);
        let start = y.checked_mul(self.stride_bytes())?;
        if left > right || right.checked_mul(4)? > self.stride_bytes() {
            return None;
        }
        Some(start.checked_add(left * 4)?..start.checked_add(right * 4)?)
    }
}

fn byte_count(width: u32, height: u32) -> usize {
    let bytes = u64::from(width) * u64::from(height) * 4;
    usize::try_from(bytes).expect("surface sizes are checked against the limits")
}
