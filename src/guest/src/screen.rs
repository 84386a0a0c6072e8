//! What the screen shows: a grid of text, the logo, the cursor, and for a while a toast.
//!
//! The text is remembered, so that a change of mode can draw all of it again.

use crate::canvas::{CELL_HEIGHT, CELL_WIDTH, Canvas};
use crate::glyphs::{self, Glyph, Logo};
use crate::platform::{Platform, Size};
use core::fmt::{self, Write};
use core::ops::RangeInclusive;
use visual_digest::symbol::Symbol;

/// The dark edge on all sides, in pixels.
const MARGIN: u32 = 16;
/// How many rows of text the story uses.
const STORY_ROWS: usize = 27;
/// No line of the story is longer.
const KEPT_COLUMNS: usize = 96;
const BLANK: u8 = b' ';

type Line = [u8; KEPT_COLUMNS];

pub(crate) struct Screen {
    canvas: Canvas,
    rows: [Line; STORY_ROWS],
    cursor: Option<Cursor>,
    logo: Logo,
}

#[derive(Clone, Copy)]
struct Cursor {
    column: u32,
    row: u32,
    shape: &'static Glyph,
}

impl Screen {
    pub(crate) fn new(size: Size) -> Self {
        let rows = [[BLANK; KEPT_COLUMNS]; STORY_ROWS];
        let mut screen = Self { canvas: Canvas::new(size), rows, cursor: None, logo: glyphs::logo() };
        screen.draw_logo();
        screen
    }

    /// Forgets all text and shows the logo alone.
    pub(crate) fn wipe(&mut self) {
        self.rows = [[BLANK; KEPT_COLUMNS]; STORY_ROWS];
        self.cursor = None;
        self.canvas.clear();
        self.draw_logo();
    }

    /// Draws everything again but the toast, on a screen of this size.
    pub(crate) fn repaint(&mut self, size: Size) {
        if size == self.canvas.size() {
            self.canvas.clear();
        } else {
            self.canvas = Canvas::new(size);
        }
        self.draw_logo();
        for (row, line) in (0..).zip(self.rows) {
            self.draw_changed_cells(row, &[BLANK; KEPT_COLUMNS], &line);
        }
        self.draw_cursor();
    }

    /// Replaces a row of the story by this text.
    pub(crate) fn write_row(&mut self, row: u32, text: fmt::Arguments<'_>) {
        let mut cells = Cells::new();
        cells.write_fmt(text).expect("cells take any text and drop what is too long");
        self.set_cells(row, &cells.line[..cells.len]);
    }

    /// Replaces a row of the story by these cells of [`glyphs::of_cell`].
    pub(crate) fn set_cells(&mut self, row: u32, cells: &[u8]) {
        let mut line = [BLANK; KEPT_COLUMNS];
        line[..cells.len()].copy_from_slice(cells);
        let before = core::mem::replace(&mut self.rows[row as usize], line);
        self.draw_changed_cells(row, &before, &line);
    }

    pub(crate) fn clear_rows(&mut self, rows: RangeInclusive<u32>) {
        for row in rows {
            self.set_cells(row, &[]);
        }
    }

    /// Returns the column after the last character of a row.
    pub(crate) fn end_of_row(&self, row: u32) -> u32 {
        let used = self.rows[row as usize].iter().rposition(|cell| *cell != BLANK).map_or(0, |last| last + 1);
        u32::try_from(used).expect("at most KEPT_COLUMNS")
    }

    /// Shows the cursor in this place, or takes it away.
    pub(crate) fn show_cursor(&mut self, column: u32, row: u32, shape: Option<&'static Glyph>) {
        if let Some(old) = self.cursor.take() {
            let below = glyphs::of_cell(self.rows[old.row as usize][old.column as usize]);
            self.draw_cell(old.column, old.row, below);
        }
        self.cursor = shape.map(|shape| Cursor { column, row, shape });
        self.draw_cursor();
    }

    /// Draws a text on the last row of the grid, where it stays until the next repaint.
    pub(crate) fn draw_toast(&mut self, text: fmt::Arguments<'_>) {
        let mut cells = Cells::new();
        cells.write_fmt(text).expect("cells take any text and drop what is too long");
        let Some(row) = self.grid_rows().checked_sub(1) else { return };
        for (column, cell) in (0..).zip(&cells.line[..cells.len]) {
            self.draw_cell(column, row, glyphs::of_cell(*cell));
        }
    }

    /// Returns the hash of everything outside the digest's region.
    pub(crate) fn hash(&mut self) -> u32 {
        self.canvas.hash()
    }

    pub(crate) fn draw_symbol(&mut self, symbol: &Symbol) {
        self.canvas.draw_symbol(symbol);
    }

    /// Brings what has changed to the platform's screen.
    pub(crate) fn present(&mut self, platform: &mut impl Platform) {
        self.canvas.present(platform);
    }

    fn draw_logo(&mut self) {
        let Some(left) = self.grid_columns().checked_sub(glyphs::LOGO_COLUMNS) else { return };
        for (row, glyphs) in (0..).zip(self.logo) {
            for (column, glyph) in (left..).zip(glyphs) {
                self.draw_cell(column, row, &glyph);
            }
        }
    }

    fn draw_cursor(&mut self) {
        if let Some(Cursor { column, row, shape }) = self.cursor {
            self.draw_cell(column, row, shape);
        }
    }

    fn draw_changed_cells(&mut self, row: u32, before: &Line, after: &Line) {
        for (column, (before, after)) in (0..).zip(before.iter().zip(after)) {
            if before != after {
                self.draw_cell(column, row, glyphs::of_cell(*after));
            }
        }
    }

    fn draw_cell(&mut self, column: u32, row: u32, glyph: &Glyph) {
        if column < self.grid_columns() && row < self.grid_rows() {
            self.canvas.draw_glyph(MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT, glyph);
        }
    }

    fn grid_columns(&self) -> u32 {
        self.canvas.size().width.saturating_sub(2 * MARGIN) / CELL_WIDTH
    }

    fn grid_rows(&self) -> u32 {
        self.canvas.size().height.saturating_sub(2 * MARGIN) / CELL_HEIGHT
    }
}

/// Text as cells; what does not fit is dropped and what is not printable ASCII becomes a question mark.
struct Cells {
    line: Line,
    len: usize,
}

impl Cells {
    fn new() -> Self {
        Self { line: [BLANK; KEPT_COLUMNS], len: 0 }
    }
}

impl Write for Cells {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (character, cell) in text.chars().zip(&mut self.line[self.len..]) {
            *cell = u8::try_from(character).ok().filter(|byte| (0x20..0x7F).contains(byte)).unwrap_or(b'?');
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repaint_draws_what_was_drawn_piece_by_piece() {
        let mut screen = Screen::new(Size::new(1024, 768));
        screen.write_row(3, format_args!("ahoy"));
        screen.write_row(3, format_args!("a much longer line, later cut"));
        screen.write_row(3, format_args!("aha"));
        screen.write_row(26, format_args!("the last row"));
        screen.show_cursor(5, 5, Some(&[0xFF; 16]));
        screen.show_cursor(12, 26, Some(&[0xF0; 16]));
        let drawn = screen.hash();
        screen.repaint(Size::new(640, 480));
        assert_ne!(screen.hash(), drawn);
        screen.repaint(Size::new(1024, 768));
        assert_eq!(screen.hash(), drawn);
    }

    #[test]
    fn the_cursor_leaves_the_text_below_it_as_it_was() {
        let mut screen = Screen::new(Size::new(640, 480));
        screen.write_row(0, format_args!("text"));
        let before = screen.hash();
        screen.show_cursor(1, 0, Some(&[0xFF; 16]));
        assert_ne!(screen.hash(), before);
        screen.show_cursor(1, 0, None);
        assert_eq!(screen.hash(), before);
    }

    #[test]
    fn a_repaint_removes_the_toast() {
        let mut screen = Screen::new(Size::new(640, 480));
        let before = screen.hash();
        screen.draw_toast(format_args!("mode 640x480"));
        assert_ne!(screen.hash(), before);
        screen.repaint(Size::new(640, 480));
        assert_eq!(screen.hash(), before);
    }

    #[test]
    fn other_than_printable_ascii_shows_as_a_question_mark() {
        let mut screen = Screen::new(Size::new(640, 480));
        screen.write_row(0, format_args!("a\u{e4}\n\u{20ac}b"));
        assert_eq!(&screen.rows[0][..6], b"a???b ");
        assert_eq!(screen.end_of_row(0), 5);
    }

    #[test]
    fn text_beyond_the_grid_is_cut() {
        let mut screen = Screen::new(Size::new(64, 64));
        let blank = screen.hash();
        screen.write_row(2, format_args!("below the grid"));
        assert_eq!(screen.hash(), blank);
        screen.write_row(0, format_args!("        right of it"));
        assert_eq!(screen.hash(), blank);
    }
}
