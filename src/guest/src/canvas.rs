//! The pixels of the screen, their hash, and what of them has changed since they were last presented.
//!
//! The hash is kept row by row, so that a refresh after one line of text hashes sixteen rows and joins the rest.

use crate::glyphs::Glyph;
use crate::platform::{Platform, Rect, Size};
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

const PIXEL_BYTES: usize = 4;
const SET: [u8; PIXEL_BYTES] = [FOREGROUND[2], FOREGROUND[1], FOREGROUND[0], 0];
const CLEAR: [u8; PIXEL_BYTES] = [0; PIXEL_BYTES];

pub(crate) struct Canvas {
    size: Size,
    /// Blue, green, red, 0; rows follow each other without padding.
    pixels: Vec<u8>,
    rows: Vec<RowHash>,
    beside: RowKind,
    across: RowKind,
    damage: Option<Rect>,
    symbol_damaged: bool,
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
    /// Returns the kind of row `y` on a screen whose pixels are all zero so far.
    fn of_blank(size: Size, pixels: &[u8], y: u32) -> Self {
        let spans = hashed_spans(size.width, size.height, y);
        let columns = spans.iter().map(ExactSizeIterator::len).sum::<usize>();
        Self { combiner: Combiner::new(columns * PIXEL_BYTES), blank: hash_row(size, pixels, y) }
    }
}

impl Canvas {
    pub(crate) fn new(size: Size) -> Self {
        let bytes = size.width as usize * size.height as usize * PIXEL_BYTES;
        let pixels = vec![0; bytes];
        let (_, top) = region_origin(size.width, size.height);
        let beside = RowKind::of_blank(size, &pixels, top.saturating_add(REGION_SIZE));
        let across = RowKind::of_blank(size, &pixels, top);
        let rows = vec![RowHash { crc: 0, is_stale: false }; size.height as usize];
        let mut canvas = Self { size, pixels, rows, beside, across, damage: None, symbol_damaged: false };
        canvas.clear();
        canvas
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        let stride_bytes = self.size.width as usize * PIXEL_BYTES;
        Frame::new(self.size.width, self.size.height, stride_bytes, &self.pixels)
            .expect("the buffer was made for this size")
    }

    /// Makes everything black.
    pub(crate) fn clear(&mut self) {
        self.pixels.fill(0);
        let crossing = self.rows_across();
        for (y, row) in (0..).zip(&mut self.rows) {
            let kind = if crossing.contains(&y) { &self.across } else { &self.beside };
            *row = RowHash { crc: kind.blank, is_stale: false };
        }
        self.damage = Some(Rect { x: 0, y: 0, width: self.size.width, height: self.size.height });
        self.symbol_damaged = true;
    }

    /// Draws a glyph with its background. One that does not fit on the screen is left out.
    pub(crate) fn draw_glyph(&mut self, x: u32, y: u32, glyph: &Glyph) {
        if x + CELL_WIDTH > self.size.width || y + CELL_HEIGHT > self.size.height {
            return;
        }
        for (y, bits) in (y..).zip(glyph) {
            let start = self.offset(x, y);
            let cell = &mut self.pixels[start..start + CELL_WIDTH as usize * PIXEL_BYTES];
            for (column, pixel) in cell.chunks_exact_mut(PIXEL_BYTES).enumerate() {
                pixel.copy_from_slice(if bits << column & 0x80 != 0 { &SET } else { &CLEAR });
            }
            self.rows[y as usize].is_stale = true;
        }
        let drawn = Rect { x, y, width: CELL_WIDTH, height: CELL_HEIGHT };
        self.damage = Some(self.damage.map_or(drawn, |damage| damage.union(drawn)));
    }

    /// Paints the symbol and its border over the digest's region. No hash changes.
    pub(crate) fn draw_symbol(&mut self, symbol: &Symbol) {
        let region = self.region();
        for row in 0..region.height {
            let start = self.offset(region.x, region.y + row);
            if row % MODULE_SIZE != 0 {
                let width = region.width as usize * PIXEL_BYTES;
                let above = start - self.size.width as usize * PIXEL_BYTES;
                self.pixels.copy_within(above..above + width, start);
                continue;
            }
            let module_y = (row / MODULE_SIZE).wrapping_sub(QUIET_MODULES);
            for module in 0..region.width / MODULE_SIZE {
                // The left border wraps around to columns far outside the symbol, which are clear.
                let is_set = symbol.is_set(module.wrapping_sub(QUIET_MODULES), module_y);
                let first = start + (module * MODULE_SIZE) as usize * PIXEL_BYTES;
                let pixels = &mut self.pixels[first..first + MODULE_SIZE as usize * PIXEL_BYTES];
                for pixel in pixels.chunks_exact_mut(PIXEL_BYTES) {
                    pixel.copy_from_slice(if is_set { &SET } else { &CLEAR });
                }
            }
        }
        self.symbol_damaged = true;
    }

    /// Returns the CRC32C of the screen outside the digest's region.
    pub(crate) fn hash(&mut self) -> u32 {
        let crossing = self.rows_across();
        let mut hash = 0;
        for (y, row) in (0..).zip(&mut self.rows) {
            if row.is_stale {
                *row = RowHash { crc: hash_row(self.size, &self.pixels, y), is_stale: false };
            }
            let kind = if crossing.contains(&y) { &self.across } else { &self.beside };
            hash = kind.combiner.combine(hash, row.crc);
        }
        hash
    }

    /// Presents what has changed since the last time, the symbol last.
    pub(crate) fn present(&mut self, platform: &mut impl Platform) {
        if let Some(area) = self.damage.take() {
            platform.present(self.frame(), area);
        }
        if core::mem::take(&mut self.symbol_damaged) {
            platform.present(self.frame(), self.region());
        }
    }

    fn region(&self) -> Rect {
        let (x, y) = region_origin(self.size.width, self.size.height);
        let width = REGION_SIZE.min(self.size.width - x) / MODULE_SIZE * MODULE_SIZE;
        Rect { x, y, width, height: REGION_SIZE.min(self.size.height - y) }
    }

    fn rows_across(&self) -> Range<u32> {
        let (_, top) = region_origin(self.size.width, self.size.height);
        top..top.saturating_add(REGION_SIZE)
    }

    fn offset(&self, x: u32, y: u32) -> usize {
        (y as usize * self.size.width as usize + x as usize) * PIXEL_BYTES
    }
}

fn hash_row(size: Size, pixels: &[u8], y: u32) -> u32 {
    let row_bytes = size.width as usize * PIXEL_BYTES;
    let start = y as usize * row_bytes;
    let Some(row) = pixels.get(start..start + row_bytes) else { return 0 };
    hashed_spans(size.width, size.height, y).into_iter().fold(0, |hash, columns| {
        crc32c::extend(hash, &row[columns.start as usize * PIXEL_BYTES..columns.end as usize * PIXEL_BYTES])
    })
}

const _: () = assert!(REGION_SIZE == (SYMBOL_MODULES + 2 * QUIET_MODULES) * MODULE_SIZE);

#[cfg(test)]
mod tests {
    use super::*;
    use visual_digest::framebuffer_hash;

    /// Draws a few glyphs in new places and checks the kept hash against hashing everything.
    fn check_drawing(canvas: &mut Canvas, seed: u32) {
        let (columns, rows) = (canvas.size().width / CELL_WIDTH, canvas.size().height / CELL_HEIGHT);
        for step in 1..6 {
            let place = seed.wrapping_mul(2_654_435_761).wrapping_mul(step);
            canvas.draw_glyph(
                place % columns * CELL_WIDTH,
                place / 7 % rows * CELL_HEIGHT,
                &[0xA5 ^ step.to_le_bytes()[0]; 16],
            );
        }
        let kept = canvas.hash();
        assert_eq!(kept, framebuffer_hash(canvas.frame()), "{} seed {seed}", canvas.size());
    }

    #[test]
    fn the_hash_kept_by_rows_is_the_hash_of_the_frame_on_every_size() {
        let sizes = [(640, 480), (1024, 768), (1920, 1080), (2048, 512), (2560, 400), (200, 216), (64, 48)];
        for (width, height) in sizes {
            let mut canvas = Canvas::new(Size::new(width, height));
            assert_eq!(canvas.hash(), framebuffer_hash(canvas.frame()));
            (0..20).for_each(|seed| check_drawing(&mut canvas, seed));
            canvas.clear();
            check_drawing(&mut canvas, 99);
        }
    }

    #[test]
    fn a_row_of_a_kind_the_screen_has_not_is_blank() {
        let canvas = Canvas::new(Size::new(180, 180));
        assert_eq!(canvas.rows_across(), 0..180);
        assert_eq!(hash_row(canvas.size(), &canvas.pixels, 180), 0);
    }

    #[test]
    fn drawing_the_symbol_does_not_change_the_hash() {
        let mut canvas = Canvas::new(Size::new(640, 480));
        canvas.draw_glyph(16, 16, &[0xFF; 16]);
        let before = canvas.hash();
        let payload = visual_digest::encode(1, &Default::default(), [].iter(), before);
        canvas.draw_symbol(&Symbol::encode(&payload));
        assert_eq!(canvas.hash(), before);
        assert_eq!(framebuffer_hash(canvas.frame()), before);
        // The finder pattern's corner is the first module inside the border.
        assert_eq!(canvas.frame().row(284, 460..461), SET);
        assert_eq!(canvas.frame().row(283, 460..461), CLEAR);
        assert_eq!(canvas.frame().row(284, 459..460), CLEAR);
    }

    #[test]
    fn a_glyph_beyond_the_edge_is_left_out() {
        let mut canvas = Canvas::new(Size::new(640, 480));
        let blank = canvas.hash();
        canvas.draw_glyph(633, 0, &[0xFF; 16]);
        canvas.draw_glyph(0, 465, &[0xFF; 16]);
        assert_eq!(canvas.hash(), blank);
    }
}
