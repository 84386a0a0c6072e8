//! The pixels of a screen: where the digest is on it, and the hash of all the rest.

use crate::crc32c;
use core::fmt;
use core::ops::Range;

/// The side of the square the digest takes on the screen, in pixels.
pub const REGION_SIZE: u32 = MODULE_SIZE * (SYMBOL_MODULES + 2 * QUIET_MODULES);
/// The side of one module, in pixels.
pub const MODULE_SIZE: u32 = 4;
/// The width of the dark border on each side, in modules.
pub const QUIET_MODULES: u32 = 4;
/// The side of the symbol without its border, in modules.
pub const SYMBOL_MODULES: u32 = 37;
/// The colour of set modules as red, green, blue; clear modules and the border are black.
pub const FOREGROUND: [u8; 3] = [51, 150, 51];
/// How many columns, from the left, the framebuffer hash covers at most.
pub const HASHED_COLUMNS: u32 = 1920;

const MARGIN: u32 = 16;
const TOAST_ROW: u32 = 16;
const PIXEL_BYTES: usize = 4;

/// A view of a screen: four bytes a pixel in the order blue, green, red, unused.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    width: u32,
    height: u32,
    stride_bytes: usize,
    // INVARIANT: holds `width` pixels at `row * stride_bytes` for every row below `height`.
    pixels: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns a view of `pixels`, whose rows start every `stride_bytes` from the first byte on.
    ///
    /// # Errors
    /// When a row is longer than the stride, or the last row is not all there.
    pub fn new(width: u32, height: u32, stride_bytes: usize, pixels: &'a [u8]) -> Result<Self, FrameError> {
        let wanted = bytes_wanted(width, height, stride_bytes);
        if wanted.is_some_and(|wanted| wanted <= pixels.len()) {
            Ok(Self { width, height, stride_bytes, pixels })
        } else {
            Err(FrameError { width, height, stride_bytes, found_bytes: pixels.len() })
        }
    }

    /// Returns the width in pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Returns the pixels `columns` of row `y`, four bytes each; empty where they are not on the screen.
    pub fn row(&self, y: u32, columns: Range<u32>) -> &'a [u8] {
        self.row_bytes(y, columns).unwrap_or_default()
    }

    fn row_bytes(&self, y: u32, columns: Range<u32>) -> Option<&'a [u8]> {
        if y >= self.height || columns.end > self.width {
            return None;
        }
        let row = usize::try_from(y).ok()?.checked_mul(self.stride_bytes)?;
        let start = row.checked_add(usize::try_from(columns.start).ok()?.checked_mul(PIXEL_BYTES)?)?;
        let end = row.checked_add(usize::try_from(columns.end).ok()?.checked_mul(PIXEL_BYTES)?)?;
        self.pixels.get(start..end)
    }
}

fn bytes_wanted(width: u32, height: u32, stride_bytes: usize) -> Option<usize> {
    let row = usize::try_from(width).ok()?.checked_mul(PIXEL_BYTES)?;
    if row > stride_bytes {
        return None;
    }
    match usize::try_from(height).ok()?.checked_sub(1) {
        Some(last) => last.checked_mul(stride_bytes)?.checked_add(row),
        None => Some(0),
    }
}

/// The pixels given are not a screen of the size claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The width claimed, in pixels.
    pub width: u32,
    /// The height claimed, in pixels.
    pub height: u32,
    /// The distance from row to row, in bytes.
    pub stride_bytes: usize,
    /// How many bytes there were.
    pub found_bytes: usize,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, stride_bytes, found_bytes } = self;
        write!(
            f,
            "a {width}x{height} screen of 4-byte pixels does not fit {found_bytes} bytes with rows {stride_bytes} bytes apart"
        )
    }
}

impl core::error::Error for FrameError {}

/// Returns the top left pixel of the digest's region on a screen of this size; the symbol starts 16 pixels further in
/// on both axes.
pub const fn region_origin(width: u32, height: u32) -> (u32, u32) {
    (
        width.saturating_sub(MARGIN).saturating_sub(REGION_SIZE),
        height.saturating_sub(TOAST_ROW).saturating_sub(MARGIN).saturating_sub(REGION_SIZE),
    )
}

/// Returns the columns of row `y` which the framebuffer hash covers: those left and those right of the region. The
/// right part may be empty; rows beside the region have only a left part.
pub fn hashed_spans(width: u32, height: u32, y: u32) -> [Range<u32>; 2] {
    let end = width.min(HASHED_COLUMNS);
    let (left, top) = region_origin(width, height);
    if y < top || y >= top.saturating_add(REGION_SIZE) {
        return [0..end, end..end];
    }
    let right = left.saturating_add(REGION_SIZE).min(end);
    [0..left.min(end), right..end]
}

/// Returns the CRC32C of all pixels outside the digest's region, row by row, as blue, green, red, 0.
///
/// The fourth byte counts as 0 whatever it is; frames where it is 0 are hashed in place, which is several times
/// faster. Of screens wider than [`HASHED_COLUMNS`] only that many columns count.
pub fn framebuffer_hash(frame: Frame<'_>) -> u32 {
    let mut hash = 0;
    for y in 0..frame.height {
        for span in hashed_spans(frame.width, frame.height, y) {
            hash = extend_with_pixels(hash, frame.row(y, span));
        }
    }
    hash
}

fn extend_with_pixels(hash: u32, pixels: &[u8]) -> u32 {
    const CHUNK: usize = 256 * PIXEL_BYTES;
    if unused_bytes_are_zero(pixels) {
        return crc32c::extend(hash, pixels);
    }
    let mut buffer = [0; CHUNK];
    pixels.chunks(CHUNK).fold(hash, |hash, chunk| {
        let masked = &mut buffer[..chunk.len()];
        masked.copy_from_slice(chunk);
        for unused in masked.iter_mut().skip(3).step_by(PIXEL_BYTES) {
            *unused = 0;
        }
        crc32c::extend(hash, masked)
    })
}

fn unused_bytes_are_zero(pixels: &[u8]) -> bool {
    const UNUSED: u128 = 0xFF00_0000_FF00_0000_FF00_0000_FF00_0000;
    // Four pixels at a time: this is as long as the hashing itself.
    let (quads, rest) = pixels.as_chunks::<16>();
    let all = quads.iter().fold(0, |all, quad| all | u128::from_le_bytes(*quad));
    all & UNUSED == 0 && rest.iter().skip(3).step_by(PIXEL_BYTES).all(|unused| *unused == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: usize = 402;
    const H: usize = 300;

    fn noise(len: usize) -> impl Iterator<Item = u8> {
        let mut state = 1_u32;
        (0..len).map(move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        })
    }

    #[test]
    fn the_region_stands_where_the_published_table_says() {
        let table = [
            ((640, 480), (444, 268)),
            ((800, 600), (604, 388)),
            ((1024, 768), (828, 556)),
            ((1280, 720), (1084, 508)),
            ((1280, 1024), (1084, 812)),
            ((1920, 1080), (1724, 868)),
            ((100, 100), (0, 0)),
        ];
        for ((width, height), origin) in table {
            assert_eq!(region_origin(width, height), origin, "{width}x{height}");
        }
    }

    #[test]
    fn the_hash_skips_the_region_and_the_fourth_bytes() {
        let mut pixels: Vec<u8> = noise(W * H * 4).collect();
        let (left, top) = region_origin(402, 300);
        let mut wanted = 0;
        for (index, pixel) in pixels.as_chunks::<4>().0.iter().enumerate() {
            let x = u32::try_from(index % W).unwrap();
            let y = u32::try_from(index / W).unwrap();
            if !((left..left + 180).contains(&x) && (top..top + 180).contains(&y)) {
                wanted = crc32c::extend(wanted, &[pixel[0], pixel[1], pixel[2], 0]);
            }
        }
        let hash = |pixels: &[u8]| framebuffer_hash(Frame::new(402, 300, W * 4, pixels).unwrap());
        assert_eq!(hash(&pixels), wanted);
        pixels.iter_mut().skip(3).step_by(4).for_each(|byte| *byte = 0);
        assert_eq!(hash(&pixels), wanted);
        pixels[(100 * W + 205) * 4 + 3] = 0xFF;
        assert_eq!(hash(&pixels), wanted, "even in the last pixel left of the region alone");
    }

    #[test]
    fn padding_between_rows_does_not_count() {
        let tight = [7, 8, 9, 0].repeat(8);
        let mut padded = [0xEE; 4 * 8 * 4];
        for row in 0..4 {
            padded[row * 32..row * 32 + 16].copy_from_slice(&[7, 8, 9, 0].repeat(4));
        }
        let tight = Frame::new(4, 2, 16, &tight).unwrap();
        let loose = Frame::new(4, 2, 32, &padded).unwrap();
        assert_eq!(framebuffer_hash(tight), framebuffer_hash(loose));
    }

    #[test]
    fn only_the_first_1920_columns_of_a_wide_screen_count() {
        assert_eq!(hashed_spans(2560, 1440, 0), [0..1920, 1920..1920]);
        assert_eq!(hashed_spans(2560, 1440, 1300), [0..1920, 1920..1920]);
        assert_eq!(hashed_spans(2048, 1536, 1400), [0..1852, 1920..1920]);
        assert_eq!(hashed_spans(1280, 800, 600), [0..1084, 1264..1280]);
        assert_eq!(hashed_spans(100, 100, 5), [0..0, 100..100]);
    }

    #[test]
    fn a_frame_needs_all_its_bytes() {
        let pixels = [0; 64];
        assert!(Frame::new(4, 4, 16, &pixels).is_ok());
        assert!(Frame::new(3, 4, 16, &pixels[..60]).is_ok(), "the last row need not be padded");
        for (width, height, stride) in [(4, 5, 16), (5, 4, 16), (4, 4, 20), (u32::MAX, u32::MAX, usize::MAX)]
        {
            assert!(Frame::new(width, height, stride, &pixels).is_err(), "{width}x{height} {stride}");
        }
        assert!(Frame::new(0, 0, 0, &[]).is_ok());
    }
}
