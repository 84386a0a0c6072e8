//! Sixels: bands of six rows, one colour after the other, repeated characters counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{height_for, scaled};
use crate::console::Screenshot;

/// Draws the picture at most `width` pixels wide, in at most 216 colours.
pub(in crate::repl) fn sixel(shot: &Screenshot, width: u32) -> String {
    let width = width.min(shot.width).clamp(1, MOST_PIXELS);
    let height = height_for(shot, width);
    let pixels: Vec<u8> = scaled(shot, width, height).into_iter().map(color_of).collect();
    let mut text = format!("\x1bPq\"1;1;{width};{height}");
    let mut defined = [false; COLORS];
    for band in pixels.chunks(width as usize * 6) {
        let mut rows: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (bit, row) in band.chunks(width as usize).enumerate() {
            for (column, color) in row.iter().enumerate() {
                rows.entry(*color).or_insert_with(|| vec![0; width as usize])[column] |= 1 << bit;
            }
        }
        for (index, (color, sixels)) in rows.iter().enumerate() {
            // Writing to a text cannot fail.
            if !std::mem::replace(&mut defined[usize::from(*color)], true) {
                let [red, green, blue] = percent_of(*color);
                let _ = write!(text, "#{color};2;{red};{green};{blue}");
            }
            let _ = write!(text, "{}#{color}", if index > 0 { "$" } else { "" });
            repeat(&mut text, sixels);
        }
        text.push('-');
    }
    text.push_str("\x1b\\\n");
    text
}

/// Characters for sixels, of which four and more alike are counted.
fn repeat(text: &mut String, sixels: &[u8]) {
    let mut rest = without_end(sixels);
    while let Some(&first) = rest.first() {
        let count = rest.iter().take_while(|&&sixel| sixel == first).count();
        let char = char::from(0x3F + first);
        match count {
            0..4 => text.extend(std::iter::repeat_n(char, count)),
            _ => text.push_str(&format!("!{count}{char}")),
        }
        rest = &rest[count..];
    }
}

/// Without what is nothing at the end of a row.
fn without_end(sixels: &[u8]) -> &[u8] {
    let end = sixels.iter().rposition(|&sixel| sixel != 0).map_or(0, |at| at + 1);
    &sixels[..end]
}

/// The nearest of 6 x 6 x 6 colours.
fn color_of([red, green, blue]: [u8; 3]) -> u8 {
    let level = |part: u8| u8::try_from((u16::from(part) * 5 + 127) / 255).unwrap_or(5);
    level(red) * 36 + level(green) * 6 + level(blue)
}

fn percent_of(color: u8) -> [u8; 3] {
    [color / 36 * 20, color / 6 % 6 * 20, color % 6 * 20]
}

const COLORS: usize = 216;
const MOST_PIXELS: u32 = 1_600;

#[cfg(test)]
mod tests {
    use super::super::tests::shot;
    use super::*;

    #[test]
    fn a_picture_becomes_bands_of_colours() {
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        let picture = shot(5, &[&[red; 5], &[blue, blue, red, red, red]]);
        // Blue is colour 5 and red 180; the second row is bit 1.
        assert_eq!(sixel(&picture, 100), "\x1bPq\"1;1;5;2#5;2;0;0;100#5AA#180;2;100;0;0$#180@@BBB-\x1b\\\n");
        let wide = sixel(&shot(9, &[&[red; 9]]), 100);
        assert!(wide.contains("#180!9@-"), "{wide:?}");
        assert!(sixel(&shot(9, &[&[red; 9]]), 3).contains("\"1;1;3;1"));
    }

    #[test]
    fn colours_are_the_nearest_there_are() {
        assert_eq!([[0; 3], [255; 3], [51, 150, 51]].map(color_of), [0, 215, 36 + 18 + 1]);
        assert_eq!(percent_of(215), [100, 100, 100]);
    }
}
