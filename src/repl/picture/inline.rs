//! Pictures that the terminal decodes itself: it is given the PNG.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// kitty's graphics protocol, in pieces of 4096 bytes; the terminal is asked to answer nothing.
pub(in crate::repl) fn kitty(png: &[u8], columns: usize) -> String {
    let encoded = STANDARD.encode(png);
    let mut text = String::new();
    let mut pieces = encoded.as_bytes().chunks(PIECE).peekable();
    let mut head = format!("a=T,f=100,q=2,c={columns},");
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        text.push_str(&format!("\x1b_G{head}m={more};{}\x1b\\", String::from_utf8_lossy(piece)));
        head.clear();
    }
    text.push('\n');
    text
}

/// iTerm2's inline images.
pub(in crate::repl) fn iterm(png: &[u8], columns: usize) -> String {
    let (size, encoded) = (png.len(), STANDARD.encode(png));
    format!("\x1b]1337;File=inline=1;size={size};width={columns};preserveAspectRatio=1:{encoded}\x07\n")
}

const PIECE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kitty_gets_pieces_of_which_the_last_says_so() {
        assert_eq!(kitty(b"png", 40), "\x1b_Ga=T,f=100,q=2,c=40,m=0;cG5n\x1b\\\n");
        let long = kitty(&[0; 6_200], 80);
        let pieces: Vec<&str> = long.trim_end().split_inclusive("\x1b\\").collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces[0].starts_with("\x1b_Ga=T,f=100,q=2,c=80,m=1;"));
        assert!(pieces[1].starts_with("\x1b_Gm=1;") && pieces[2].starts_with("\x1b_Gm=0;"));
        let data = |piece: &str| piece.split_once(';').unwrap().1.trim_end_matches("\x1b\\").to_owned();
        let all: String = pieces.iter().map(|piece| data(piece)).collect();
        assert_eq!(STANDARD.decode(all).unwrap(), vec![0; 6_200]);
        assert!(data(pieces[0]).len() == 4096);
    }

    #[test]
    fn iterm_gets_one_piece_with_its_size() {
        let wanted = "\x1b]1337;File=inline=1;size=3;width=40;preserveAspectRatio=1:cG5n\x07\n";
        assert_eq!(iterm(b"png", 40), wanted);
    }
}
