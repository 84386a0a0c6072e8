//! ZLIB_GLZ_RGB images: a GLZ stream inside a zlib stream.

use flate2::{FlushDecompress, Status};

use super::glz::Dictionary;
use super::{CodecError, ImageLimits, Picture, Pool};
use crate::spice::wire::image::ZlibGlzRgb;

/// Decodes an image of `width` by `height` pixels and keeps it in `dictionary` for later ones.
pub fn decode(
    image: &ZlibGlzRgb<'_>,
    width: u32,
    height: u32,
    dictionary: &mut Dictionary,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    decode_in(image, width, height, dictionary, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_in(
    image: &ZlibGlzRgb<'_>,
    width: u32,
    height: u32,
    dictionary: &mut Dictionary,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    /// Header and slack of a GLZ stream, and what a pixel takes in it at the very worst.
    const HEAD: u64 = 1024;
    const PIXEL: u64 = 8;
    limits.check(width, height)?;
    let most = u64::from(width) * u64::from(height) * PIXEL + HEAD;
    let claimed = u64::from(image.glz_size);
    if claimed > most {
        return Err(CodecError::Mismatch { what: "size of the GLZ stream", wanted: most, got: claimed });
    }
    let stream = inflate(image.data.0, claimed, pool)?;
    let picture = dictionary.decode_in(&stream, width, height, limits, pool);
    pool.give(stream);
    picture
}

/// Inflates a zlib stream to exactly `wanted` bytes.
fn inflate(data: &[u8], wanted: u64, pool: &Pool) -> Result<Vec<u8>, CodecError> {
    /// A byte of zlib is worth no more than this many.
    const RATIO: usize = 1032;
    let room = usize::try_from(wanted).unwrap_or(usize::MAX).min(data.len().saturating_mul(RATIO));
    // A byte more shows a stream that is longer than it claims.
    let mut out = pool.take(room + 1);
    let mut stream = pool.take_inflater();
    let status = stream.decompress(data, &mut out, FlushDecompress::Finish);
    let offset = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
    let damaged = |problem: String| CodecError::Stream { codec: "zlib", offset, problem };
    let status = status.map_err(|error| damaged(error.to_string()))?;
    let got = stream.total_out();
    if status != Status::StreamEnd || got != wanted {
        let end = if status == Status::StreamEnd { "ends" } else { "does not end" };
        return Err(damaged(format!("{end} after {got} bytes of output, wanted {wanted}")));
    }
    pool.give_inflater(stream);
    out.truncate(room);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::ZlibEncoder};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::spice::wire::bytes::Counted;
    use crate::spice::wire::testing::hex;

    const LIMITS: ImageLimits = ImageLimits { side: 256, pixels: 65_536 };

    /// GLZ, 128 x 64, mostly one colour.
    const GLZ: &str = "
        20205a4c0001000118000000800000004000000200000000000000000000000000000a141ee0ffffffffffffffffffffffffff
        ffffffffffff93000001010203040506e1ffffffffffffffffffffffff7b0000";

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode_sized(data: &[u8], glz_size: u32) -> Result<Picture, CodecError> {
        let image = ZlibGlzRgb { glz_size, data: Counted(data) };
        decode(&image, 128, 64, &mut Dictionary::new(65_536), LIMITS)
    }

    #[test]
    fn what_is_inside_is_decoded() {
        let glz = hex(GLZ);
        let wanted = Dictionary::new(65_536).decode(&glz, 128, 64, LIMITS);
        assert_eq!(decode_sized(&zlib(&glz), u32::try_from(glz.len()).unwrap()), wanted);
    }

    #[test]
    fn the_stream_inside_has_exactly_the_size_it_claims() {
        let glz = hex(GLZ);
        let size = u32::try_from(glz.len()).unwrap();
        let data = zlib(&glz);
        for claimed in [0, size - 1, size + 1] {
            let error = decode_sized(&data, claimed).unwrap_err();
            assert!(matches!(error, CodecError::Stream { codec: "zlib", .. }), "{error}");
        }
        for length in 0..data.len() {
            assert!(decode_sized(&data[..length], size).is_err(), "{length}");
        }
        let error = decode_sized(&data, u32::MAX).unwrap_err();
        let wanted = 128 * 64 * 8 + 1024;
        assert!(matches!(error, CodecError::Mismatch { got: 0xffff_ffff, wanted: w, .. } if w == wanted));
    }

    #[test]
    fn a_bomb_goes_no_further_than_it_claims() {
        let error = decode_sized(&zlib(&vec![0; 1 << 20]), 100).unwrap_err();
        let CodecError::Stream { problem, .. } = error else { panic!("{error:?}") };
        assert_eq!(problem, "does not end after 101 bytes of output, wanted 100");
    }

    proptest! {
        #[test]
        fn exactly_what_was_deflated_is_inflated(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let length = u64::try_from(bytes.len()).unwrap();
            prop_assert_eq!(inflate(&zlib(&bytes), length, &Pool::default()).unwrap(), bytes);
        }

        #[test]
        fn no_stream_panics(data in prop::collection::vec(any::<u8>(), 0..300), size in 0_u32..9000) {
            let _ = decode_sized(&data, size);
        }

        #[test]
        fn a_damaged_stream_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let glz = hex(GLZ);
            let mut data = zlib(&glz);
            let at = at.index(data.len());
            data[at] = value;
            let _ = decode_sized(&data, u32::try_from(glz.len()).unwrap());
        }
    }
}
