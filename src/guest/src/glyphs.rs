//! The pictures that make up the screen, all of them 8x16 pixels: letters, two words in other scripts, the logo.

use spleen_font::FONT_8X16;

/// One byte a row, the leftmost pixel in the highest bit.
pub(crate) type Glyph = [u8; 16];

/// The logo's size in glyphs.
pub(crate) const LOGO_COLUMNS: u32 = 16;
/// The logo's size in glyphs.
pub(crate) const LOGO_ROWS: u32 = 8;

/// Cells of the first language probe: "sextant" in Greek capitals.
pub(crate) const GREEK_PROBE: [u8; 7] = [0x80, 0x81, 0x82, 0x83, 0x84, 0x82, 0x85];
/// Cells of the second language probe: "sextant" in Katakana, two cells a character.
pub(crate) const KATAKANA_PROBE: [u8; 12] =
    [0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x91];

const FONT_HEADER_BYTES: usize = 4;
const FIRST_PROBE: u8 = 0x80;

/// Returns the picture of a cell: a printable ASCII character, part of a probe, or a question mark.
pub(crate) fn of_cell(cell: u8) -> &'static Glyph {
    if let Some(glyph) = cell.checked_sub(FIRST_PROBE).and_then(|index| PROBES.get(usize::from(index))) {
        return glyph;
    }
    let letter = if (0x20..0x7F).contains(&cell) { cell } else { b'?' };
    let start = FONT_HEADER_BYTES + usize::from(letter) * 16;
    FONT_8X16[start..].first_chunk().expect("the font has 256 glyphs")
}

/// The logo as rows of glyphs.
pub(crate) type Logo = [[Glyph; LOGO_COLUMNS as usize]; LOGO_ROWS as usize];

/// Returns the logo: a backstaff with its two arcs and its vanes, and a low sun behind it.
pub(crate) fn logo() -> Logo {
    let mut logo = [[[0; 16]; LOGO_COLUMNS as usize]; LOGO_ROWS as usize];
    for (y, row) in (0..).step_by(16).zip(&mut logo) {
        for (x, glyph) in (0..).step_by(8).zip(row) {
            for (y, bits) in (y..).zip(glyph) {
                *bits = (x..x + 8).fold(0, |bits, x| bits << 1 | u8::from(is_logo_set(x, y)));
            }
        }
    }
    logo
}

/// Where the staffs meet and the arcs have their centre.
const PIVOT: (i32, i32) = (112, 24);
const SUN: (i32, i32) = (24, 24);

fn is_logo_set(x: i32, y: i32) -> bool {
    let (left, down) = (PIVOT.0 - x, y - PIVOT.1);
    let squared = left * left + down * down;
    // The lower arc lies between 10 and 60 degrees below the horizontal, the small upper arc between 0 and 40.
    let is_within_lower = down * 100 >= left * 18 && down * 100 <= left * 173;
    let is_within_upper = down >= 0 && down * 100 <= left * 84;
    let is_ring = |radius: i32, thickness: i32| {
        squared >= radius * radius && squared < (radius + thickness) * (radius + thickness)
    };
    // A graduation every eighth of the slope; steps of the slope are near enough to steps of the angle.
    let is_graduation = is_ring(84, 8) && is_within_lower && left > 0 && down * 64 / left % 6 == 0;
    let is_on_staff = |rise: i32, run: i32| {
        let off = down * run - left * rise;
        left >= -6 && squared < 104 * 104 && off.abs() < 2 * run.max(rise)
    };
    is_within_lower && (is_ring(92, 4) || is_ring(82, 2))
        || is_graduation
        || is_within_upper && is_ring(44, 4)
        || is_on_staff(18, 100)
        || is_on_staff(100, 58)
        || is_on_staff(55, 100) && squared > 30 * 30
        || is_sun(x - SUN.0, y - SUN.1)
        || is_horizon(x, y)
}

fn is_sun(x: i32, y: i32) -> bool {
    let squared = x * x + y * y;
    let is_ray = x.abs() < 2 || y.abs() < 2 || (x.abs() - y.abs()).abs() < 2;
    squared < 9 * 9 || is_ray && (13 * 13..20 * 20).contains(&squared)
}

fn is_horizon(x: i32, y: i32) -> bool {
    let swell = (x % 16 - 8).abs() / 3;
    (120..122).contains(&(y + swell)) || (125..126).contains(&(y - swell))
}

#[rustfmt::skip]
const PROBES: [Glyph; 18] = [
    // epsilon
    [0, 0, 0b1111_1110, 0b1100_0010, 0b1100_0000, 0b1100_0000, 0b1100_1000, 0b1111_1000, 0b1100_1000,
     0b1100_0000, 0b1100_0000, 0b1100_0010, 0b1111_1110, 0, 0, 0],
    // xi
    [0, 0, 0b1111_1110, 0b1000_0010, 0, 0, 0b0100_0100, 0b0111_1100, 0b0100_0100,
     0, 0, 0b1000_0010, 0b1111_1110, 0, 0, 0],
    // alpha
    [0, 0, 0b0001_0000, 0b0011_1000, 0b0011_1000, 0b0110_1100, 0b0110_1100, 0b0100_0100, 0b1111_1110,
     0b1100_0110, 0b1000_0010, 0b1000_0010, 0b1000_0010, 0, 0, 0],
    // nu
    [0, 0, 0b1000_0010, 0b1100_0010, 0b1110_0010, 0b1011_0010, 0b1001_0010, 0b1001_1010, 0b1000_1110,
     0b1000_0110, 0b1000_0010, 0b1000_0010, 0b1000_0010, 0, 0, 0],
    // tau
    [0, 0, 0b1111_1110, 0b1001_0010, 0b0001_0000, 0b0001_0000, 0b0001_0000, 0b0001_0000, 0b0001_0000,
     0b0001_0000, 0b0001_0000, 0b0001_0000, 0b0011_1000, 0, 0, 0],
    // sigma
    [0, 0, 0b1111_1110, 0b0110_0010, 0b0011_0000, 0b0001_1000, 0b0000_1100, 0b0000_1100, 0b0001_1000,
     0b0011_0000, 0b0110_0000, 0b1100_0010, 0b1111_1110, 0, 0, 0],
    // se, left and right
    [0, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1111, 0b0111_1000, 0b0000_1000, 0b0000_1000,
     0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_0111, 0, 0],
    [0, 0, 0, 0, 0b0001_1110, 0b1110_0100, 0b0000_0100, 0b0000_1000, 0b0001_0000,
     0, 0, 0, 0, 0b1111_1100, 0, 0],
    // ki
    [0, 0b0000_0010, 0b0000_0010, 0b0000_0010, 0b0011_1111, 0b0000_0001, 0b0000_0001, 0b0000_0001, 0b0111_1111,
     0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0, 0],
    [0, 0, 0, 0b0001_1000, 0b1110_0000, 0, 0b0000_1100, 0b0111_0000, 0b1000_0000,
     0b1000_0000, 0b1000_0000, 0b0100_0000, 0b0100_0000, 0b0100_0000, 0, 0],
    // su
    [0, 0, 0b0011_1111, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0001,
     0b0000_0010, 0b0000_0100, 0b0001_1000, 0b0110_0000, 0, 0, 0],
    [0, 0, 0b1111_1000, 0b0000_1000, 0b0001_0000, 0b0010_0000, 0b0010_0000, 0b0100_0000, 0b1000_0000,
     0b0100_0000, 0b0010_0000, 0b0001_0000, 0b0000_1100, 0, 0, 0],
    // ta
    [0, 0b0000_0010, 0b0000_0100, 0b0000_0111, 0b0000_1000, 0b0001_0000, 0b0010_0110, 0b0100_0001, 0b0000_0000,
     0b0000_0000, 0b0000_0001, 0b0000_0010, 0b0000_1100, 0b0011_0000, 0, 0],
    [0, 0, 0, 0b1111_1000, 0b0000_1000, 0b0001_0000, 0b0001_0000, 0b0010_0000, 0b1110_0000,
     0b0100_0000, 0b1000_0000, 0, 0, 0, 0, 0],
    // n
    [0, 0, 0b0010_0000, 0b0001_1000, 0b0000_0110, 0b0000_0000, 0b0000_0000, 0b0000_0000, 0b0000_0000,
     0b0000_0000, 0b0000_0001, 0b0000_0110, 0b0111_1000, 0, 0, 0],
    [0, 0, 0, 0, 0, 0b0000_0010, 0b0000_0100, 0b0000_1000, 0b0001_0000,
     0b0110_0000, 0b1000_0000, 0, 0, 0, 0, 0],
    // to
    [0, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1100, 0b0000_1011, 0b0000_1000, 0b0000_1000,
     0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0b0000_1000, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0b1100_0000, 0b0011_0000, 0, 0, 0, 0, 0, 0, 0],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_outside_the_font_show_as_question_marks() {
        assert_eq!(of_cell(0x07), of_cell(b'?'));
        assert_eq!(of_cell(0x7F), of_cell(b'?'));
        assert_eq!(of_cell(0xFF), of_cell(b'?'));
        assert_ne!(of_cell(b'A'), of_cell(b'?'));
        assert_eq!(of_cell(b' '), &[0; 16]);
    }

    #[test]
    fn every_cell_of_the_probes_has_a_picture() {
        for cell in GREEK_PROBE.into_iter().chain(KATAKANA_PROBE) {
            assert_ne!(of_cell(cell), of_cell(b'?'), "{cell:#x}");
            assert_ne!(of_cell(cell), &[0; 16], "{cell:#x}");
        }
    }

    #[test]
    fn the_logo_fills_its_square_and_is_mostly_dark() {
        let set: u32 = logo().iter().flatten().flatten().map(|bits| bits.count_ones()).sum();
        assert!((1_000..6_000).contains(&set), "{set} of 16384 pixels");
    }
}
