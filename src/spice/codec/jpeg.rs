//! JPEG and JPEG_ALPHA images. The only codec that loses something: pixels are near those of the guest, not equal.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::lz::{self, require};
use super::{CodecError, ImageLimits, Picture, Pool};
use crate::spice::wire::image::JpegAlpha;

/// Decodes a JPEG file of `width` by `height` pixels.
///
/// Only baseline files are, which is what servers send: their memory and time are in proportion to their pixels.
/// JPEG has no checksum: damage to its coded samples mostly shows in the picture and not as an error.
pub fn decode(data: &[u8], width: u32, height: u32, limits: ImageLimits) -> Result<Picture, CodecError> {
    decode_in(data, width, height, limits, &Pool::default())
}

/// The same with memory out of `pool`. What the decoder itself needs is not: it asks for a few buffers for each image.
pub fn decode_in(
    data: &[u8],
    width: u32,
    height: u32,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(width, height)?;
    let frame = Frame::find(data)?;
    require("JPEG width", width.into(), frame.width.into())?;
    require("JPEG height", height.into(), frame.height.into())?;
    // Decoders take what is missing at the end for grey.
    if !data.ends_with(&[0xff, marker::EOI]) {
        return Err(CodecError::Truncated { offset: data.len(), produced: 0, wanted: pixels });
    }
    let side = usize::try_from(limits.side).unwrap_or(usize::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let mut colours = pool.take(pixels * 3);
    let decoded = decoder.decode_into(&mut colours);
    // The decoder's words may have several lines.
    let one_line = |words: String| words.split_whitespace().collect::<Vec<_>>().join(" ");
    decoded.map_err(|error| damaged(frame.offset, one_line(format!("{error:?}"))))?;
    let mut bytes = pool.take(pixels * 4);
    for (pixel, colour) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(colours.as_chunks::<3>().0) {
        let [r, g, b] = *colour;
        *pixel = [b, g, r, 0];
    }
    pool.give(colours);
    Ok(Picture { width, height, has_alpha: false, bytes })
}

/// Decodes a JPEG_ALPHA image: colours as JPEG, alpha as LZ.
pub fn decode_with_alpha(
    image: &JpegAlpha<'_>,
    width: u32,
    height: u32,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    decode_with_alpha_in(image, width, height, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_with_alpha_in(
    image: &JpegAlpha<'_>,
    width: u32,
    height: u32,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let mut picture = decode_in(image.jpeg, width, height, limits, pool)?;
    lz::decode_alpha(image.alpha, image.flags & JpegAlpha::TOP_DOWN != 0, &mut picture)?;
    Ok(picture)
}

/// Second bytes of markers.
mod marker {
    pub(super) const SOF_BASELINE: u8 = 0xc0;
    pub(super) const SOF_EXTENDED: u8 = 0xc1;
    pub(super) const DHT: u8 = 0xc4;
    pub(super) const JPG: u8 = 0xc8;
    pub(super) const DAC: u8 = 0xcc;
    pub(super) const SOF_LAST: u8 = 0xcf;
    pub(super) const SOI: u8 = 0xd8;
    pub(super) const EOI: u8 = 0xd9;
    pub(super) const SOS: u8 = 0xda;
}

/// What the frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    width: u16,
    height: u16,
    offset: usize,
}

impl Frame {
    /// Looks for the frame header, which comes before any pixels.
    fn find(data: &[u8]) -> Result<Self, CodecError> {
        let truncated = || CodecError::Truncated { offset: data.len(), produced: 0, wanted: 1 };
        if !data.starts_with(&[0xff, marker::SOI]) {
            return Err(damaged(0, "does not begin with SOI".to_owned()));
        }
        let mut offset = 2;
        loop {
            let segment = data.get(offset..).and_then(|rest| rest.split_first_chunk::<4>());
            let Some((&[begin, kind, high, low], body)) = segment else { return Err(truncated()) };
            if begin != 0xff {
                return Err(damaged(offset, format!("{begin:#04x} where a marker was wanted")));
            }
            match kind {
                // Any number of these may stand before a marker.
                0xff => {
                    offset += 1;
                    continue;
                }
                marker::SOF_BASELINE => return Self::read(body, offset).ok_or_else(truncated)?,
                marker::DHT | marker::JPG | marker::DAC => {}
                marker::SOF_EXTENDED..=marker::SOF_LAST => {
                    return Err(CodecError::Unsupported { codec: "JPEG, other than baseline," });
                }
                marker::SOS | marker::EOI => {
                    return Err(damaged(offset, "no frame header before the pixels".to_owned()));
                }
                _ => {}
            }
            offset += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
        }
    }

    /// Reads the header after its length. Grey, or red, green and blue with full or half resolution of colour.
    fn read(body: &[u8], offset: usize) -> Option<Result<Self, CodecError>> {
        let (&[precision, height_high, height_low, width_high, width_low, count], rest) =
            body.split_first_chunk::<6>()?;
        let components = rest.get(..usize::from(count) * 3)?.as_chunks::<3>().0;
        let is_known =
            matches!(components, [_] | [[_, 0x11 | 0x21 | 0x12 | 0x22, _], [_, 0x11, _], [_, 0x11, _]]);
        if precision != 8 || !is_known {
            let problem =
                format!("{count} components of {precision} bits, wanted 1 or 3 of 8, sampled 1 or 2 to 1");
            return Some(Err(damaged(offset, problem)));
        }
        let width = u16::from_be_bytes([width_high, width_low]);
        let height = u16::from_be_bytes([height_high, height_low]);
        Some(Ok(Self { width, height, offset }))
    }
}

fn damaged(offset: usize, problem: String) -> CodecError {
    CodecError::Stream { codec: "JPEG", offset, problem }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::spice::codec::testing::{blocks, expected};

    const LIMITS: ImageLimits = ImageLimits { side: 256, pixels: 16_384 };

    fn soft(x: u32, y: u32) -> [u8; 4] {
        [2 * x, 3 * y, 255 - x - y, 0].map(|sample| sample.to_le_bytes()[0])
    }

    fn jpeg(sampling: SamplingFactor, width: u16, height: u16, is_progressive: bool) -> Vec<u8> {
        let pixels = expected(width.into(), height.into(), soft);
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 95);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(is_progressive);
        encoder.encode(&pixels, width, height, ColorType::Bgra).unwrap();
        file
    }

    #[track_caller]
    fn assert_near(got: &[u8], wanted: &[u8]) {
        let worst = got.iter().zip(wanted).map(|(got, wanted)| got.abs_diff(*wanted)).max();
        assert!(got.len() == wanted.len() && worst.unwrap_or(0) < 16, "off by up to {worst:?}");
    }

    #[test]
    fn colours_come_near_and_in_their_order() {
        for sampling in [SamplingFactor::R_4_4_4, SamplingFactor::R_4_2_2, SamplingFactor::R_4_2_0] {
            for (width, height) in [(64, 48), (61, 33), (9, 3), (1, 1)] {
                let file = jpeg(sampling, width, height, false);
                let picture = decode(&file, width.into(), height.into(), LIMITS).unwrap();
                assert_near(&picture.bytes, &expected(width.into(), height.into(), soft));
                assert!(!picture.has_alpha);
            }
        }
    }

    #[test]
    fn grey_files_are_decoded() {
        let shades: Vec<u8> = (0..64).map(|x| x * 4).collect();
        let mut file = Vec::new();
        Encoder::new(&mut file, 95).encode(&shades, 8, 8, ColorType::Luma).unwrap();
        let picture = decode(&file, 8, 8, LIMITS).unwrap();
        let wanted: Vec<u8> = shades.iter().flat_map(|shade| [*shade, *shade, *shade, 0]).collect();
        assert_near(&picture.bytes, &wanted);
    }

    /// The LZ stream of an alpha plane, literals only.
    fn alpha_stream(width: u32, height: u32, is_top_down: bool, alpha: &[u8]) -> Vec<u8> {
        let words = [0x2020_5a4c, 0x0001_0001, 10, width, height, width * 4, is_top_down.into()];
        let mut stream: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        for literals in alpha.chunks(32) {
            stream.push(u8::try_from(literals.len() - 1).unwrap());
            stream.extend(literals);
        }
        stream
    }

    #[test]
    fn alpha_comes_from_its_own_stream_in_either_order() {
        let jpeg = jpeg(SamplingFactor::R_4_4_4, 40, 6, false);
        let wanted: Vec<u8> = expected(40, 6, blocks).chunks_exact(4).map(|pixel| pixel[3]).collect();
        let upside_down: Vec<u8> = wanted.rchunks_exact(40).flatten().copied().collect();
        for (flags, rows) in [(1, &wanted), (0, &upside_down)] {
            let alpha = alpha_stream(40, 6, flags == 1, rows);
            let image = JpegAlpha { flags, jpeg: &jpeg, alpha: &alpha };
            let picture = decode_with_alpha(&image, 40, 6, LIMITS).unwrap();
            let alphas: Vec<u8> = picture.bytes.chunks_exact(4).map(|pixel| pixel[3]).collect();
            assert!(picture.has_alpha && alphas == wanted, "flags {flags}");
            let colours = decode(&jpeg, 40, 6, LIMITS).unwrap().bytes;
            let same = |(a, b): (&[u8], &[u8])| a[..3] == b[..3];
            assert!(picture.bytes.chunks(4).zip(colours.chunks(4)).all(same), "colours stay");
            let other = JpegAlpha { flags: 1 - flags, jpeg: &jpeg, alpha: &alpha };
            let error = decode_with_alpha(&other, 40, 6, LIMITS).unwrap_err();
            assert!(matches!(error, CodecError::Mismatch { what: "LZ top_down", .. }), "{error}");
            for length in 0..alpha.len() {
                let image = JpegAlpha { flags, jpeg: &jpeg, alpha: &alpha[..length] };
                assert!(decode_with_alpha(&image, 40, 6, LIMITS).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn other_sizes_other_kinds_and_cut_files_are_refused() {
        let file = jpeg(SamplingFactor::R_4_2_0, 32, 16, false);
        let error = decode(&file, 32, 17, LIMITS).unwrap_err();
        assert_eq!(error, CodecError::Mismatch { what: "JPEG height", wanted: 17, got: 16 });
        let error = decode(&file, 31, 16, LIMITS).unwrap_err();
        assert_eq!(error, CodecError::Mismatch { what: "JPEG width", wanted: 31, got: 32 });
        let progressive = jpeg(SamplingFactor::R_4_2_0, 32, 16, true);
        assert!(matches!(decode(&progressive, 32, 16, LIMITS), Err(CodecError::Unsupported { .. })));
        for length in 0..file.len() {
            assert!(decode(&file[..length], 32, 16, LIMITS).is_err(), "{length} of {}", file.len());
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_never_panics(
            sampling in 0_usize..4,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            use SamplingFactor::{R_4_2_0, R_4_2_2, R_4_4_0, R_4_4_4};
            let mut file = jpeg([R_4_2_0, R_4_2_2, R_4_4_0, R_4_4_4][sampling], 50, 34, false);
            for (at, value) in damage {
                let at = at.index(file.len());
                file[at] = value;
            }
            if let Ok(picture) = decode(&file, 50, 34, LIMITS) {
                prop_assert_eq!(picture.bytes.len(), 50 * 34 * 4);
            }
        }

        #[test]
        fn no_file_panics(body in prop::collection::vec(any::<u8>(), 0..400), size in (1_u32..60, 1_u32..60)) {
            let mut file = vec![0xff, marker::SOI];
            file.extend(&body);
            file.extend([0xff, marker::EOI]);
            let _ = decode(&file, size.0, size.1, LIMITS);
        }
    }
}
