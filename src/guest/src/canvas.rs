//! The pixels of the screen, their hash, and what of them has changed since they were last presented.
//!
//! There are two colours, so a pixel is kept as one bit: the largest screen takes half a megabyte where the firmware
//! has little to give. The hash is kept row by row, so that a refresh after one line of text hashes sixteen rows and
//! joins the rest.

use crate::glyphs::Glyph;
use crate::platform::{Platform, Size};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use visual_digest::crc32c::{self, Combiner};
use visual_digest::symbol::Symbol;
use visual_digest::{
    FOREGROUND, Frame, MODULE_SIZE, QUIET_MODULES, REGION_SIZE, SYMBOL_MODULES, hashed_spans, region_origin,
};

/// The width of a text cell, in pixels.
pub(crate) const CELL_WIDTH: u32 = 8;
/// The height of a text cell, in pixels.
pub(crate) const CELL_HEIGHT: u32 = 16;

/// How many rows of pixels are presented at once.
const BAND_ROWS: u32 = 16;
const PIXEL_BYTES: usize = 4;

pub(crate) struct Canvas {
    size: Size,
    /// Each row begins with a new byte; the leftmost of eight pixels is in the highest bit.
    bits: Vec<u8>,
    rows: Vec<RowHash>,
    beside: RowKind,
    across: RowKind,
    damage: Option<Rect>,
    is_symbol_damaged: bool,
    /// Room for pixels on their way out: blue, green, red, 0.
    pixels: Vec<u8>,
}

/// A part of the screen, in pixels.
#[derive(Clone, Copy)]
struct Rect {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

#[derive(Clone, Copy)]
struct RowHash {
    crc: u32,
    is_stale: bool,
}

/// Rows that cross the digest's region are hashed over fewer bytes than those beside it.
struct RowKind {
    combiner: Combiner,
    blank: u32,
}

impl RowKind {
    /// Returns the kind of row `y`, whether the screen has such a row or not.
    fn of_row(size: Size, y: u32) -> Self {
        let columns: usize =
            hashed_spans(size.width, size.height, y).iter().map(ExactSizeIterator::len).sum();
        let blank = (0..columns).fold(0, |crc, _| crc32c::extend(crc, &[0; PIXEL_BYTES]));
        Self { combiner: Combiner::new(columns * PIXEL_BYTES), blank }
    }
}

impl Canvas {
    pub(crate) fn new(size: Size) -> Self {
        let (_, top) = region_origin(size.width, size.height);
        let mut canvas = Self {
            size,
            bits: vec![0; stride_bytes(size) * size.height as usize],
            rows: vec![RowHash { crc: 0, is_stale: true }; size.height as usize],
            beside: RowKind::of_row(size, top.saturating_add(REGION_SIZE)),
            across: RowKind::of_row(size, top),
            damage: None,
            is_symbol_damaged: false,
            pixels: Vec::new(),
        };
        canvas.clear();
        canvas
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Makes everything black.
    pub(crate) fn clear(&mut self) {
        self.bits.fill(0);
        let crossing = self.rows_across();
        for (y, row) in (0..).zip(&mut self.rows) {
            let kind = if crossing.contains(&y) { &self.across } else { &self.beside };
            *row = RowHash { crc: kind.blank, is_stale: false };
        }
        self.damage = Some(Rect { x: 0, y: 0, width: self.size.width, height: self.size.height });
    }

    /// Draws a glyph with its background; `x` is a multiple of eight. One that does not fit on the screen is left out.
    pub(crate) fn draw_glyph(&mut self, x: u32, y: u32, glyph: &Glyph) {
        if x + CELL_WIDTH > self.size.width || y + CELL_HEIGHT > self.size.height {
            return;
        }
        for (y, bits) in (y..).zip(glyph) {
            let place = self.byte_of(x, y);
            self.bits[place] = *bits;
            self.rows[y as usize].is_stale = true;
        }
        let drawn = Rect { x, y, width: CELL_WIDTH, height: CELL_HEIGHT };
        self.damage = Some(self.damage.map_or(drawn, |damage| damage.union(drawn)));
    }

    /// Paints the symbol and its border over the digest's region. No hash changes.
    ///
    /// A screen too small for the region shows no symbol.
    pub(crate) fn draw_symbol(&mut self, symbol: &Symbol) {
        let Some(region) = self.region() else { return };
        for row in 0..region.height {
            let module_y = (row / MODULE_SIZE).wrapping_sub(QUIET_MODULES);
            for module in 0..SYMBOL_MODULES + 2 * QUIET_MODULES {
                // The border above and to the left wraps around to modules far outside the symbol, which are clear.
                let is_set = symbol.is_set(module.wrapping_sub(QUIET_MODULES), module_y);
                self.draw_module_row(region.x + module * MODULE_SIZE, region.y + row, is_set);
            }
        }
        self.is_symbol_damaged = true;
    }

    /// Draws four pixels, which may lie across two bytes.
    fn draw_module_row(&mut self, x: u32, y: u32, is_set: bool) {
        let mask = (0xF000_u16 >> (x % 8)).to_be_bytes();
        let place = self.byte_of(x, y);
        for (bits, mask) in self.bits[place..].iter_mut().zip(mask) {
            *bits = if is_set { *bits | mask } else { *bits & !mask };
        }
    }

    /// Returns the CRC32C of the screen outside the digest's region.
    pub(crate) fn hash(&mut self) -> u32 {
        let crossing = self.rows_across();
        let mut pixels = core::mem::take(&mut self.pixels);
        let mut hash = 0;
        for y in 0..self.size.height {
            if self.rows[y as usize].is_stale {
                pixels.clear();
                self.expand_row(y, 0..self.size.width, &mut pixels);
                self.rows[y as usize] = RowHash { crc: hash_row(self.size, &pixels, y), is_stale: false };
            }
            let kind = if crossing.contains(&y) { &self.across } else { &self.beside };
            hash = kind.combiner.combine(hash, self.rows[y as usize].crc);
        }
        self.pixels = pixels;
        hash
    }

    /// Presents what has changed since the last time, the symbol last.
    pub(crate) fn present(&mut self, platform: &mut impl Platform) {
        let content = self.damage.take();
        let symbol = if core::mem::take(&mut self.is_symbol_damaged) { self.region() } else { None };
        for area in content.into_iter().chain(symbol) {
            self.present_area(area, platform);
        }
        platform.finish_picture();
    }

    fn present_area(&mut self, area: Rect, platform: &mut impl Platform) {
        let mut pixels = core::mem::take(&mut self.pixels);
        for top in (area.y..area.y + area.height).step_by(BAND_ROWS as usize) {
            let height = (area.y + area.height - top).min(BAND_ROWS);
            pixels.clear();
            for y in top..top + height {
                self.expand_row(y, area.x..area.x + area.width, &mut pixels);
            }
            let piece = Frame::new(area.width, height, area.width as usize * PIXEL_BYTES, &pixels)
                .expect("as many pixels were expanded");
            platform.present(piece, area.x, top);
        }
        self.pixels = pixels;
    }

    /// Appends the pixels of a part of a row.
    fn expand_row(&self, y: u32, columns: Range<u32>, pixels: &mut Vec<u8>) {
        let first = self.byte_of(columns.start, y);
        let last = self.byte_of(columns.end.saturating_sub(1), y);
        let skipped = columns.start as usize % 8 * PIXEL_BYTES;
        let end = pixels.len() + columns.len() * PIXEL_BYTES;
        let bits = self.bits.get(first..=last).unwrap_or_default();
        let mut eight = bits.iter().map(|bits| &EXPANDED[usize::from(*bits)]);
        pixels.extend(eight.next().into_iter().flat_map(|pixels| &pixels[skipped..]));
        eight.for_each(|eight| pixels.extend_from_slice(eight));
        pixels.truncate(end);
    }

    fn region(&self) -> Option<Rect> {
        let (x, y) = region_origin(self.size.width, self.size.height);
        let fits = self.size.width >= REGION_SIZE && self.size.height >= REGION_SIZE;
        fits.then_some(Rect { x, y, width: REGION_SIZE, height: REGION_SIZE })
    }

    fn rows_across(&self) -> Range<u32> {
        let (_, top) = region_origin(self.size.width, self.size.height);
        top..top.saturating_add(REGION_SIZE)
    }

    fn byte_of(&self, x: u32, y: u32) -> usize {
        y as usize * stride_bytes(self.size) + x as usize / 8
    }
}

impl Rect {
    /// Returns the smallest rectangle around both.
    fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }
}

fn stride_bytes(size: Size) -> usize {
    size.width.div_ceil(8) as usize
}

/// Returns the hash of row `y` from all its pixels.
fn hash_row(size: Size, pixels: &[u8], y: u32) -> u32 {
    hashed_spans(size.width, size.height, y).into_iter().fold(0, |crc, columns| {
        let bytes = columns.start as usize * PIXEL_BYTES..columns.end as usize * PIXEL_BYTES;
        crc32c::extend(crc, &pixels[bytes])
    })
}

/// The pixels of each eight bits.
static EXPANDED: [[u8; 8 * PIXEL_BYTES]; 256] = {
    let mut table = [[0; 8 * PIXEL_BYTES]; 256];
    let mut index = 0;
    while index < 256 * 8 {
        let (bits, pixel) = (index / 8, index % 8);
        if bits << pixel & 0x80 != 0 {
            table[bits][pixel * PIXEL_BYTES] = FOREGROUND[2];
            table[bits][pixel * PIXEL_BYTES + 1] = FOREGROUND[1];
            table[bits][pixel * PIXEL_BYTES + 2] = FOREGROUND[0];
        }
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use visual_digest::framebuffer_hash;

    /// A screen that holds what was presented on it.
    struct Shown {
        size: Size,
        pixels: Vec<u8>,
    }

    impl Shown {
        fn new(size: Size) -> Self {
            let bytes = size.width as usize * size.height as usize * PIXEL_BYTES;
            Self { size, pixels: vec![0x5A; bytes] }
        }

        fn frame(&self) -> Frame<'_> {
            let stride = self.size.width as usize * PIXEL_BYTES;
            Frame::new(self.size.width, self.size.height, stride, &self.pixels).expect("made for this size")
        }
    }

    impl Platform for Shown {
        fn size(&self) -> Size {
            self.size
        }

        fn set_mode(&mut self, _: usize) {}

        fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
            for row in 0..piece.height() {
                let from = piece.row(row, 0..piece.width());
                let start = ((y + row) as usize * self.size.width as usize + x as usize) * PIXEL_BYTES;
                self.pixels[start..start + from.len()].copy_from_slice(from);
            }
        }

        fn write_serial(&mut self, _: &str) {}

        fn ticks(&mut self) -> u64 {
            0
        }
    }

    /// Draws a few glyphs in new places and checks the kept hash against hashing everything that is shown.
    fn check_drawing(canvas: &mut Canvas, shown: &mut Shown, seed: u32) {
        let (columns, rows) = (canvas.size().width / CELL_WIDTH, canvas.size().height / CELL_HEIGHT);
        for step in 1..6 {
            let place = seed.wrapping_mul(2_654_435_761).wrapping_mul(step);
            let (x, y) = (place % columns * CELL_WIDTH, place / 7 % rows * CELL_HEIGHT);
            canvas.draw_glyph(x, y, &[0xA5 ^ step.to_le_bytes()[0]; 16]);
        }
        canvas.present(shown);
        assert_eq!(canvas.hash(), framebuffer_hash(shown.frame()), "{} seed {seed}", canvas.size());
    }

    #[test]
    fn the_hash_kept_by_rows_is_the_hash_of_what_is_shown_on_every_size() {
        let sizes = [
            (640, 480),
            (1366, 768),
            (1920, 1080),
            (2048, 512),
            (2560, 400),
            (200, 216),
            (180, 180),
            (65, 49),
        ];
        for (width, height) in sizes {
            let mut canvas = Canvas::new(Size::new(width, height));
            let mut shown = Shown::new(canvas.size());
            canvas.present(&mut shown);
            assert_eq!(canvas.hash(), framebuffer_hash(shown.frame()));
            (0..20).for_each(|seed| check_drawing(&mut canvas, &mut shown, seed));
            canvas.clear();
            check_drawing(&mut canvas, &mut shown, 99);
        }
    }

    #[test]
    fn a_screen_without_pixels_has_the_hash_of_nothing() {
        for size in [Size::new(0, 0), Size::new(0, 9), Size::new(9, 0)] {
            let mut canvas = Canvas::new(size);
            canvas.draw_glyph(0, 0, &[0xFF; 16]);
            assert_eq!(canvas.hash(), 0, "{size}");
        }
    }

    #[test]
    fn the_symbol_stands_in_its_place_and_changes_no_hash() {
        for (width, height) in [(640, 480), (1366, 768)] {
            let mut canvas = Canvas::new(Size::new(width, height));
            let mut shown = Shown::new(canvas.size());
            let (left, top) = region_origin(width, height);
            // Text below and beside the region must not be nibbled at.
            for y in (0..height - 16).step_by(16) {
                (0..width / 8).for_each(|column| canvas.draw_glyph(column * 8, y, &[0xFF; 16]));
            }
            let before = canvas.hash();
            let payload = visual_digest::encode(1, &Default::default(), [].iter(), before);
            canvas.draw_symbol(&Symbol::encode(&payload));
            canvas.present(&mut shown);
            assert_eq!(framebuffer_hash(shown.frame()), before);
            let is_set = |x, y| shown.frame().row(y, x..x + 1) == [51, 150, 51, 0];
            assert!(
                is_set(left + 16, top + 16) && is_set(left + 43, top + 16),
                "the corners of a finder pattern"
            );
            assert!(!is_set(left + 15, top + 16) && !is_set(left + 16, top + 15), "the border around it");
            assert!(is_set(left - 1, top) && !is_set(left, top), "the edge of the border");
        }
    }

    #[test]
    fn a_glyph_beyond_the_edge_is_left_out() {
        let mut canvas = Canvas::new(Size::new(644, 490));
        let blank = canvas.hash();
        canvas.draw_glyph(640, 0, &[0xFF; 16]);
        canvas.draw_glyph(0, 480, &[0xFF; 16]);
        assert_eq!(canvas.hash(), blank);
    }
}
