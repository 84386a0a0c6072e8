//! From encoded images to pixels, and for some back.
//!
//! INVARIANT: pure. Each decoder takes bytes, the size the image descriptor promised and [`ImageLimits`], and
//! returns a whole [`Picture`] or an error: never a partly filled one, never a panic, and never more work
//! than the promised pixels are worth. All but [`jpeg`] are lossless.
//!
//! Start with [`Picture`]; [`bitmap`] is the simplest decoder, [`decode`] chooses among those that need no palette.

pub mod bitmap;
pub mod glz;
pub mod glz_encode;
pub mod jpeg;
pub mod lz;
pub mod lz4;
pub mod lz_encode;
mod pool;
pub mod quic;
mod units;
pub mod zlib_glz;

#[cfg(test)]
mod testing;

pub use pool::Pool;
use thiserror::Error;

use super::wire::image::ImageData;

/// What images may come in, as profiles name it where they do.
pub const CODECS: [&str; 7] = ["raw", "lz", "glz", "zlib-glz", "quic", "lz4", "jpeg"];

/// Decodes an image of `width` by `height` pixels that carries its colours itself. What needs a palette, a cache
/// or a surface is refused by name. Memory comes out of `pool`.
pub fn decode(
    data: &ImageData<'_>,
    width: u32,
    height: u32,
    dictionary: &mut glz::Dictionary,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    match data {
        ImageData::Quic(data) => quic::decode_in(data.0, width, height, limits, pool),
        ImageData::LzRgb(data) => lz::decode_in(data.0, lz::Container::Rgb, width, height, limits, pool),
        ImageData::GlzRgb(data) => dictionary.decode_in(data.0, width, height, limits, pool),
        ImageData::ZlibGlzRgb(image) => zlib_glz::decode_in(image, width, height, dictionary, limits, pool),
        ImageData::Lz4(data) => lz4::decode_in(data.0, width, height, limits, pool),
        ImageData::Jpeg(data) => jpeg::decode_in(data.0, width, height, limits, pool),
        ImageData::JpegAlpha(image) => jpeg::decode_with_alpha_in(image, width, height, limits, pool),
        ImageData::Bitmap(_)
        | ImageData::LzPlt(_)
        | ImageData::FromCache
        | ImageData::FromCacheLossless
        | ImageData::Surface(_) => Err(CodecError::Unsupported { codec: data.kind().1 }),
    }
}

/// Decoded pixels: rows from top to bottom without gaps, four bytes B, G, R, A per pixel.
///
/// The fourth byte is 0 everywhere unless `has_alpha`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Whether the fourth byte means something: alpha, with premultiplied colours.
    pub has_alpha: bool,
    /// `width * height * 4` bytes.
    pub bytes: Vec<u8>,
}

impl Picture {
    /// Pixels in the picture.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The `width * 4` bytes of row `y`, counted from the top.
    pub fn row(&self, y: u32) -> Option<&[u8]> {
        let row_bytes = usize::try_from(self.width).ok()?.checked_mul(4)?;
        let start = usize::try_from(y).ok()?.checked_mul(row_bytes)?;
        self.bytes.get(start..start.checked_add(row_bytes)?)
    }

    /// Makes the picture opaque.
    pub(super) fn drop_alpha(&mut self) {
        if self.has_alpha {
            self.has_alpha = false;
            self.bytes.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0);
        }
    }
}

/// The largest image a decoder makes room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Pixels on a side.
    pub side: u32,
    /// Pixels in all.
    pub pixels: u64,
}

impl ImageLimits {
    /// Checks a size before anything is allocated for it and returns its number of pixels.
    pub fn check(&self, width: u32, height: u32) -> Result<usize, CodecError> {
        let pixels = u64::from(width) * u64::from(height);
        let usable = width != 0 && height != 0 && width.max(height) <= self.side && pixels <= self.pixels;
        match usize::try_from(pixels) {
            Ok(pixels) if usable => Ok(pixels),
            _ => {
                let Self { side, pixels } = *self;
                Err(CodecError::Size { width, height, side, pixels })
            }
        }
    }
}

/// Why an image cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// An empty image, or one beyond the limits.
    #[error("image of {width} x {height} pixels, wanted 1 to {side} on a side and {pixels} in all")]
    Size {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// The limit on a side.
        side: u32,
        /// The limit in all.
        pixels: u64,
    },
    /// An image type this program does not decode.
    #[error("{codec} images are not decoded here")]
    Unsupported {
        /// SPICE's name of the type or format.
        codec: &'static str,
    },
    /// Header and descriptor disagree, or a header value is impossible.
    #[error("{what} is {got}, wanted {wanted}")]
    Mismatch {
        /// Which value.
        what: &'static str,
        /// The value required.
        wanted: u64,
        /// The value found.
        got: u64,
    },
    /// A pixel type that the image type does not carry.
    #[error("pixel type does not belong in a {container} image")]
    ForeignPixelType {
        /// SPICE's name of the image type.
        container: &'static str,
    },
    /// The data ends before the image is complete.
    #[error("data ends at byte {offset} with {produced} of {wanted} units produced")]
    Truncated {
        /// Length of the data.
        offset: usize,
        /// Pixels or bytes produced so far.
        produced: usize,
        /// Pixels or bytes wanted.
        wanted: usize,
    },
    /// A run or a reference leaves the image.
    #[error("reference of {length} units {distance} back at unit {produced} of {wanted} leaves the image")]
    BadReference {
        /// Units to be copied.
        length: usize,
        /// How far back they start; 0 for literals.
        distance: usize,
        /// Units produced so far.
        produced: usize,
        /// Units in the image.
        wanted: usize,
    },
    /// A QUIC run leaves its row.
    #[error("run of {length} pixels at pixel {produced} leaves its row, which has {left} left")]
    RunTooLong {
        /// Pixels in the run, or as many as were counted.
        length: usize,
        /// Pixels produced so far.
        produced: usize,
        /// Pixels left in the row.
        left: usize,
    },
    /// A QUIC code word beyond the samples there are.
    #[error("a sample of the row at pixel {produced} of {wanted} has more than {bits} bits")]
    BadSample {
        /// Bits of a sample.
        bits: usize,
        /// Pixels in the rows before.
        produced: usize,
        /// Pixels in the image.
        wanted: usize,
    },
    /// A stream inside the image is damaged.
    #[error("{codec} stream at byte {offset}: {problem}")]
    Stream {
        /// The stream's format.
        codec: &'static str,
        /// Where in the data.
        offset: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A reference to an earlier image that is not there, or beyond its end.
    #[error(
        "image {id} refers to {length} units at {offset} of the image {distance} before, which has {available}"
    )]
    BadImageReference {
        /// The image being decoded.
        id: u64,
        /// How many images before.
        distance: u64,
        /// Where in it.
        offset: usize,
        /// Units to be copied.
        length: usize,
        /// Units it has; 0 when it is not in the dictionary.
        available: usize,
    },
    /// A reference to an image that another channel with the same dictionary has yet to receive.
    #[error("image {id} refers to image {awaited}, which has not arrived on any channel")]
    ImageAwaited {
        /// The image being decoded.
        id: u64,
        /// The image that is missing.
        awaited: u64,
    },
    /// More pixels kept for later images than the window allows.
    #[error("dictionary holds {pixels} pixels, window is {window}")]
    WindowExceeded {
        /// Pixels held.
        pixels: u64,
        /// The window agreed on.
        window: u64,
    },
    /// More images kept for later ones than any server refers to.
    #[error("dictionary holds {images} images, limit is {limit}")]
    TooManyImages {
        /// Images held.
        images: usize,
        /// The most there may be.
        limit: usize,
    },
    /// An indexed image without a palette.
    #[error("{format} image without a palette")]
    NoPalette {
        /// The format.
        format: &'static str,
    },
    /// An index beyond the palette.
    #[error("palette index {index}, palette has {size} colours")]
    PaletteIndex {
        /// The index found.
        index: u8,
        /// Colours in the palette.
        size: usize,
    },
}

/// Spreads five bits over eight.
pub(super) fn expand_5_bits(value: u16) -> u8 {
    let value = u8::try_from(value & 0x1f).expect("five bits fit");
    value << 3 | value >> 2
}

/// The B, G, R of an x1r5g5b5 pixel.
pub(super) fn expand_555(pixel: u16) -> [u8; 3] {
    [expand_5_bits(pixel), expand_5_bits(pixel >> 5), expand_5_bits(pixel >> 10)]
}

/// A colour `0x00RRGGBB` as B, G, R.
fn bgr(colour: u32) -> [u8; 3] {
    let [b, g, r, _] = colour.to_le_bytes();
    [b, g, r]
}

/// How indexed pixels lie in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexLayout {
    /// 1, 4 or 8.
    bits: u8,
    /// Whether the first pixel is in the most significant bits.
    is_big_endian: bool,
    /// For errors.
    name: &'static str,
}

impl IndexLayout {
    const BIT_LE: Self = Self { bits: 1, is_big_endian: false, name: "1-bit" };
    const BIT_BE: Self = Self { bits: 1, is_big_endian: true, name: "1-bit" };
    const NIBBLE_LE: Self = Self { bits: 4, is_big_endian: false, name: "4-bit" };
    const NIBBLE_BE: Self = Self { bits: 4, is_big_endian: true, name: "4-bit" };
    const BYTE: Self = Self { bits: 8, is_big_endian: true, name: "8-bit" };

    /// Bytes that `width` pixels take.
    fn row_bytes(self, width: u32) -> u64 {
        (u64::from(width) * u64::from(self.bits)).div_ceil(8)
    }

    /// The index of pixel `x` of a row; 0 beyond its end.
    fn index(self, row: &[u8], x: usize) -> u8 {
        let per_byte = usize::from(8 / self.bits);
        let byte = row.get(x / per_byte).copied().unwrap_or(0);
        if self.bits == 8 {
            return byte;
        }
        let place = u8::try_from(x % per_byte).expect("below 8");
        let place = if self.is_big_endian { 8 / self.bits - 1 - place } else { place };
        byte >> (place * self.bits) & ((1 << self.bits) - 1)
    }

    /// Colours one row.
    fn expand(self, row: &[u8], palette: &[u32], out: &mut [u8]) -> Result<(), CodecError> {
        for (x, pixel) in out.chunks_exact_mut(4).enumerate() {
            let index = self.index(row, x);
            let Some(colour) = palette.get(usize::from(index)) else {
                return Err(CodecError::PaletteIndex { index, size: palette.len() });
            };
            pixel[..3].copy_from_slice(&bgr(*colour));
        }
        Ok(())
    }
}

/// Turns rows in storage order upside down unless they are top-down already.
fn flip(bytes: &mut [u8], row_bytes: usize, is_top_down: bool) {
    if is_top_down || row_bytes == 0 {
        return;
    }
    let rows = bytes.len() / row_bytes;
    let (top, bottom) = bytes.split_at_mut(rows / 2 * row_bytes);
    for (upper, lower) in top.chunks_exact_mut(row_bytes).zip(bottom.rchunks_exact_mut(row_bytes)) {
        upper.swap_with_slice(lower);
    }
}
