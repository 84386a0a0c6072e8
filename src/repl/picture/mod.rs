//! Pictures for terminals: pixels in, bytes out. Pure; nothing here asks the terminal anything, for one that does not
//! answer would keep a prompt waiting.

mod blocks;
mod inline;
mod sixel;

pub(super) use blocks::blocks;
pub(super) use inline::{iterm, kitty};
pub(super) use sixel::sixel;

use crate::console::Screenshot;

/// How a terminal shows a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// The graphics protocol of kitty, Ghostty and others.
    Kitty,
    /// The inline images of iTerm2 and WezTerm.
    Iterm,
    /// Sixels, as foot and mlterm have them.
    Sixel,
    /// Two pixels to a character, everywhere.
    #[default]
    Blocks,
    /// Not at all.
    File,
}

impl Way {
    /// Finds a way by the name that people type.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        match name {
            "kitty" => Some(Self::Kitty),
            "iterm" => Some(Self::Iterm),
            "sixel" => Some(Self::Sixel),
            "blocks" => Some(Self::Blocks),
            "file" => Some(Self::File),
            _ => None,
        }
    }

    /// The way of the terminal that these variables tell of. Inside tmux or screen pictures would land anywhere.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).unwrap_or_default();
        let term = text("TERM");
        let is_nested = !text("TMUX").is_empty() || term.starts_with("tmux") || term.starts_with("screen");
        let program = text("TERM_PROGRAM");
        match () {
            () if term == "dumb" => Self::File,
            () if is_nested => Self::Blocks,
            () if !text("KITTY_WINDOW_ID").is_empty() || term == "xterm-kitty" => Self::Kitty,
            () if term == "xterm-ghostty" || program == "ghostty" => Self::Kitty,
            () if program == "iTerm.app" || program == "WezTerm" => Self::Iterm,
            () if ["foot", "mlterm", "yaft", "contour"].iter().any(|known| term.starts_with(known)) => {
                Self::Sixel
            }
            () if term.contains("sixel") => Self::Sixel,
            () => Self::Blocks,
        }
    }
}

/// A picture of another size: each pixel is the mean of those it stands for. Red, green and blue.
fn scaled(shot: &Screenshot, width: u32, height: u32) -> Vec<[u8; 3]> {
    let (from_width, from_height) = (u64::from(shot.width), u64::from(shot.height));
    let span = |at: u32, to: u32, from: u64| {
        let begin = u64::from(at) * from / u64::from(to);
        let end = (u64::from(at) + 1) * from / u64::from(to);
        begin..end.max(begin + 1).min(from.max(begin + 1))
    };
    let mut pixels = Vec::new();
    for y in 0..height {
        let rows = span(y, height, from_height);
        for x in 0..width {
            let columns = span(x, width, from_width);
            let mut sum = [0_u64; 3];
            let mut count = 0_u64;
            for row in rows.clone() {
                for column in columns.clone() {
                    let at = usize::try_from((row * from_width + column) * 4).unwrap_or(usize::MAX);
                    let Some(&[blue, green, red]) =
                        shot.pixels.get(at..at.saturating_add(3)).and_then(|it| it.first_chunk())
                    else {
                        continue;
                    };
                    for (sum, part) in sum.iter_mut().zip([red, green, blue]) {
                        *sum += u64::from(part);
                    }
                    count += 1;
                }
            }
            pixels.push(sum.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX)));
        }
    }
    pixels
}

/// The height that goes with a width, at least 1.
fn height_for(shot: &Screenshot, width: u32) -> u32 {
    let height = u64::from(shot.height) * u64::from(width) / u64::from(shot.width.max(1));
    u32::try_from(height).unwrap_or(u32::MAX).clamp(1, 4_096)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of these colours, as red, green, blue.
    pub(super) fn shot(width: u32, rows: &[&[[u8; 3]]]) -> Screenshot {
        let pixels =
            rows.iter().flat_map(|row| row.iter()).flat_map(|[red, green, blue]| [*blue, *green, *red, 0]);
        Screenshot { width, height: u32::try_from(rows.len()).unwrap(), pixels: pixels.collect() }
    }

    #[test]
    fn the_terminal_decides_how_a_picture_is_shown() {
        let way = |variables: &[(&str, &str)]| {
            Way::of(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(way(&[("TERM", "xterm-256color")]), Way::Blocks);
        assert_eq!(way(&[("TERM", "xterm-kitty")]), Way::Kitty);
        assert_eq!(way(&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")]), Way::Kitty);
        assert_eq!(way(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]), Way::Blocks);
        assert_eq!(way(&[("TERM_PROGRAM", "WezTerm")]), Way::Iterm);
        assert_eq!(way(&[("TERM", "foot-extra")]), Way::Sixel);
        assert_eq!(way(&[("TERM", "dumb")]), Way::File);
        for name in crate::repl::command::WAYS {
            assert!(Way::by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_smaller_picture_has_the_means_of_the_larger() {
        let large = shot(2, &[&[[0, 0, 0], [200, 0, 0]], &[[0, 100, 0], [0, 0, 40]]]);
        assert_eq!(scaled(&large, 1, 1), [[50, 25, 10]]);
        assert_eq!(scaled(&large, 2, 1), [[0, 50, 0], [100, 0, 20]]);
        assert_eq!(scaled(&large, 4, 2).len(), 8);
        // What is claimed and not there is black, and no reason to end.
        let torn = Screenshot { width: 2, height: 2, pixels: vec![1, 2, 3, 0] };
        assert_eq!(scaled(&torn, 2, 2), [[3, 2, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]);
        let empty = Screenshot { width: 0, height: 0, pixels: vec![] };
        assert_eq!(scaled(&empty, 1, 1), [[0, 0, 0]]);
        assert_eq!(height_for(&empty, 80), 1);
    }
}
