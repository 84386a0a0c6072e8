//! Reading pictures: single pixels, and parts of them stretched over a box.

use crate::spice::codec::Picture;
use crate::spice::wire::types::Rect;

/// The pixel at `x`, `y` with its alpha; opaque in pictures without. `None` outside.
pub(super) fn argb(picture: &Picture, x: i32, y: i32) -> Option<u32> {
    let row = picture.row(u32::try_from(y).ok()?)?;
    let start = usize::try_from(x).ok()?.checked_mul(4)?;
    let bytes: &[u8; 4] = row.get(start..)?.first_chunk()?;
    let opaque = if picture.has_alpha { 0 } else { 0xff00_0000 };
    Some(u32::from_le_bytes(*bytes) | opaque)
}

/// The part `area` of a picture, stretched over `bounds` when the sizes differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) picture: &'a Picture,
    /// Within the picture; the caller has checked that.
    pub(super) area: Rect,
    pub(super) bounds: Rect,
    /// Between pixels rather than the nearest one, where sizes differ.
    pub(super) is_smooth: bool,
}

impl Stretch<'_> {
    /// Whether pixels go one to one.
    pub(super) fn is_same_size(&self) -> bool {
        self.bounds.width() == self.area.width() && self.bounds.height() == self.area.height()
    }

    /// The colour for the destination pixel `x`, `y`, with alpha.
    pub(super) fn argb(&self, x: i32, y: i32) -> u32 {
        let (x, y) = (x - self.bounds.left, y - self.bounds.top);
        if self.is_same_size() {
            return self.at(x, y);
        }
        let (width, height) = (self.area.width(), self.area.height());
        if self.is_smooth {
            let (x, right) = between(x, self.bounds.width(), width);
            let (y, lower) = between(y, self.bounds.height(), height);
            let (x1, y1) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
            let corners = [self.at(x, y), self.at(x1, y), self.at(x, y1), self.at(x1, y1)];
            return mix(corners, right, lower);
        }
        self.at(nearest(x, self.bounds.width(), width), nearest(y, self.bounds.height(), height))
    }

    fn at(&self, x: i32, y: i32) -> u32 {
        argb(self.picture, self.area.left + x, self.area.top + y).unwrap_or(0)
    }
}

/// The source pixel under the middle of destination pixel `at`.
fn nearest(at: i32, length: i32, source_length: i32) -> i32 {
    let (at, length, source_length) = (i64::from(at), i64::from(length.max(1)), i64::from(source_length));
    i32::try_from((2 * at + 1) * source_length / (2 * length)).unwrap_or(0)
}

/// The source pixel before the middle of destination pixel `at`, and how far beyond its own middle that lies, in
/// 256ths. Beyond the first and the last middle the edge pixel goes on.
fn between(at: i32, length: i32, source_length: i32) -> (i32, u32) {
    let (at, length, source_length) = (i64::from(at), i64::from(length.max(1)), i64::from(source_length));
    let position =
        ((2 * at + 1) * source_length * 128 / length - 128).clamp(0, (source_length - 1).max(0) * 256);
    (i32::try_from(position / 256).unwrap_or(0), u32::try_from(position % 256).unwrap_or(0))
}

/// Four pixels (left, right of the upper row; left, right of the lower one) weighted by how far right and how far down
/// the point between them lies, in 256ths.
pub(super) fn mix(corners: [u32; 4], right: u32, lower: u32) -> u32 {
    let weights =
        [(256 - right) * (256 - lower), right * (256 - lower), (256 - right) * lower, right * lower];
    let corners = corners.map(u32::to_le_bytes);
    let mut mixed = [0; 4];
    for (channel, mixed) in mixed.iter_mut().enumerate() {
        let sum: u32 =
            corners.iter().zip(weights).map(|(corner, weight)| u32::from(corner[channel]) * weight).sum();
        *mixed = ((sum + 0x8000) >> 16).to_le_bytes()[0];
    }
    u32::from_le_bytes(mixed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn row(values: &[u8]) -> Picture {
        let width = u32::try_from(values.len()).unwrap();
        let bytes = values.iter().flat_map(|value| [*value, 0, 0, 0]).collect();
        Picture { width, height: 1, has_alpha: false, bytes }
    }

    fn stretched(values: &[u8], width: i32, is_smooth: bool) -> Vec<u32> {
        let picture = row(values);
        let area = Rect::new(0, 0, i32::try_from(values.len()).unwrap(), 1);
        let stretch = Stretch { picture: &picture, area, bounds: Rect::new(5, 5, width, 1), is_smooth };
        (5..5 + width).map(|x| stretch.argb(x, 5) & 0xff).collect()
    }

    #[test]
    fn the_nearest_pixel_is_the_one_under_the_middle() {
        assert_eq!(stretched(&[10, 20], 4, false), [10, 10, 20, 20]);
        assert_eq!(stretched(&[10, 20, 30, 40], 2, false), [20, 40]);
        assert_eq!(stretched(&[10, 20, 30], 3, false), [10, 20, 30]);
    }

    /// Middles of four pixels over two lie at -1/4, 1/4, 3/4 and 5/4 of the way between the two.
    #[test]
    fn smooth_pixels_lie_between_their_neighbours() {
        assert_eq!(stretched(&[0, 100], 4, true), [0, 25, 75, 100]);
        assert_eq!(stretched(&[0, 100, 200, 40], 2, true), [50, 120]);
        assert_eq!(stretched(&[0, 100], 2, true), [0, 100], "nothing to smooth");
        assert_eq!(stretched(&[7], 3, true), [7, 7, 7]);
    }

    #[test]
    fn pixels_outside_are_none_and_opaque_inside() {
        let picture = row(&[1]);
        assert_eq!(argb(&picture, 0, 0), Some(0xff00_0001));
        for (x, y) in [(1, 0), (0, 1), (-1, 0), (0, -1), (i32::MAX, i32::MAX)] {
            assert_eq!(argb(&picture, x, y), None);
        }
    }

    proptest! {
        #[test]
        fn four_equal_pixels_mix_to_themselves(pixel in any::<u32>(), right in 0_u32..256, lower in 0_u32..256) {
            assert_eq!(mix([pixel; 4], right, lower), pixel);
        }
    }
}
