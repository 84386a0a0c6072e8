//! What fuzzers feed bytes to, for everything that SPICE peers and files say; see `docs/fuzzing.md`.
//!
//! Each target takes any bytes and panics where something is wrong with what this program makes of them. The same
//! functions are run by the fuzzers under `tests/fuzz` and over the committed corpus by the ordinary tests.

mod agent;
mod codecs;
mod display;
mod draws;
mod link;
mod messages;
mod playback;
mod text;

pub use self::agent::agent;
pub use self::codecs::{glz, jpeg, lz, quic, small_codecs};
pub use self::display::display;
pub use self::draws::draws;
pub use self::link::link;
pub use self::messages::{channels, messages};
pub use self::playback::playback;
pub use self::text::text;
pub use super::server::fuzzing::peers;

use super::codec::{CodecError, ImageLimits, Picture};

/// Small enough for limits to be reached, large enough for every path.
const IMAGES: ImageLimits = ImageLimits { side: 256, pixels: 1 << 14 };

/// Numbers and parts out of a fuzzer's bytes. What is missing at the end is 0 or empty.
#[derive(Debug, Clone)]
pub(super) struct Source<'a>(pub(super) &'a [u8]);

impl<'a> Source<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number from 0 up to `most`.
    pub(super) fn up_to(&mut self, most: u8) -> u8 {
        u8::try_from(u16::from(self.u8()) % (u16::from(most) + 1)).unwrap_or(most)
    }

    /// The next bytes, as many as there are of `length`.
    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The bytes behind their own length of two bytes.
    pub(super) fn part(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.bytes(length.into())
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array.iter_mut().zip(taken).for_each(|(to, from)| *to = *from);
        array
    }
}

/// A decoder returned a whole picture of the size it was asked for, or an error that can be shown.
fn check_picture(result: &Result<Picture, CodecError>, width: u32, height: u32) {
    match result {
        Ok(picture) => {
            assert_eq!((picture.width, picture.height), (width, height), "size of the picture");
            assert!(IMAGES.check(width, height).is_ok(), "{width} x {height} is beyond the limits");
            assert_eq!(u64::try_from(picture.bytes.len()), Ok(picture.pixels() * 4), "bytes of the picture");
            let is_clean = picture.has_alpha || picture.bytes.chunks_exact(4).all(|pixel| pixel[3] == 0);
            assert!(is_clean, "a fourth byte is set in a picture without alpha");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An error and its sources can be shown, on one line.
pub(super) fn check_error(error: &dyn std::error::Error) {
    let text = super::driver::chain(error);
    assert!(!text.is_empty() && !text.contains(|character: char| character.is_control()), "{text:?}");
}
