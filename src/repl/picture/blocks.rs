//! Two pixels to a character: the upper half block in one colour on another.

use std::fmt::Write as _;

use super::{height_for, scaled};
use crate::console::Screenshot;

/// Draws the picture `columns` wide. Without colours its light is shown in five shades.
pub(in crate::repl) fn blocks(shot: &Screenshot, columns: usize, color: bool) -> String {
    let width = u32::try_from(columns).unwrap_or(u32::MAX).clamp(1, MOST_COLUMNS);
    let height = height_for(shot, width).next_multiple_of(2);
    let pixels = scaled(shot, width, height);
    let mut text = String::new();
    let width = width as usize;
    for rows in pixels.chunks(width * 2) {
        let (upper, lower) = rows.split_at(width.min(rows.len()));
        let mut last = None;
        for (upper, lower) in upper.iter().zip(lower) {
            if !color {
                text.push(shade(*upper, *lower));
                continue;
            }
            if last != Some((upper, lower)) {
                let ([r, g, b], [lr, lg, lb]) = (upper, lower);
                // Writing to a text cannot fail.
                let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{lr};{lg};{lb}m");
                last = Some((upper, lower));
            }
            text.push('▀');
        }
        text.push_str(if color { "\x1b[0m\n" } else { "\n" });
    }
    text
}

fn shade(upper: [u8; 3], lower: [u8; 3]) -> char {
    let light =
        |[red, green, blue]: [u8; 3]| (u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue)) / 10;
    let light = usize::try_from(light(upper).midpoint(light(lower))).unwrap_or(0);
    SHADES[(light * SHADES.len() / 256).min(SHADES.len() - 1)]
}

const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
const MOST_COLUMNS: u32 = 160;

#[cfg(test)]
mod tests {
    use super::super::tests::shot;
    use super::*;

    #[test]
    fn two_rows_of_pixels_make_a_row_of_blocks() {
        let picture = shot(2, &[&[[255, 0, 0], [255, 0, 0]], &[[0, 0, 255], [0, 0, 255]]]);
        assert_eq!(blocks(&picture, 2, true), "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m\n");
        let light = shot(2, &[&[[0; 3], [255; 3]], &[[0; 3], [255; 3]]]);
        assert_eq!(blocks(&light, 2, false), " █\n");
        let wide = blocks(&shot(1, &[&[[9; 3]]]), 100_000, false);
        assert!(wide.lines().all(|line| line.chars().count() == 160));
    }
}
