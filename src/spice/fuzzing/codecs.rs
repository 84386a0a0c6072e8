//! Image codecs: streams of a peer, and pixels of our own there and back.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{IMAGES, Source, check_picture};
use crate::spice::codec::glz::Dictionary;
use crate::spice::codec::quic::Kind;
use crate::spice::codec::{self, Pool, bitmap, lz_encode, zlib_glz};
use crate::spice::codec::{lz, lz4};
use crate::spice::surface::CursorShape;
use crate::spice::wire::bytes::Counted;
use crate::spice::wire::cursor::CursorHeader;
use crate::spice::wire::image::{Bitmap, JpegAlpha, PaletteSource, ZlibGlzRgb};

/// QUIC. The first byte says which way: a stream to be decoded (0 to 2), or pixels to be encoded as the kind that the
/// second byte names and decoded again.
pub fn quic(data: &[u8]) {
    const KINDS: [Kind; 5] = [Kind::Gray, Kind::Rgb16, Kind::Rgb24, Kind::Rgb32, Kind::Rgba];
    let mut source = Source(data);
    if source.up_to(3) < 3 {
        let stream = source.rest();
        let (width, height) = (word_le(stream, 12), word_le(stream, 16));
        let result = codec::quic::decode(stream, width, height, IMAGES);
        check_picture(&result, width, height);
        if let Ok(picture) = result {
            let kind = if picture.has_alpha { Kind::Rgba } else { Kind::Rgb32 };
            quic_there_and_back(kind, width, height, &picture.bytes, |pixel| pixel);
        }
        return;
    }
    let kind = KINDS[usize::from(source.up_to(4))];
    let (width, height, pixels) = own_pixels(&mut source);
    quic_there_and_back(kind, width, height, &pixels, |[b, g, r, a]| match kind {
        Kind::Gray => [b, b, b, 0],
        Kind::Rgb16 => {
            let spread = |sample: u8| sample & 0xf8 | sample >> 5;
            [spread(b), spread(g), spread(r), 0]
        }
        Kind::Rgb24 | Kind::Rgb32 => [b, g, r, 0],
        Kind::Rgba => [b, g, r, a],
    });
}

fn quic_there_and_back(
    kind: Kind,
    width: u32,
    height: u32,
    pixels: &[u8],
    becomes: impl Fn([u8; 4]) -> [u8; 4],
) {
    let stream =
        codec::quic::encode(kind, width, height, pixels, IMAGES).expect("the size is within the limits");
    let result = codec::quic::decode(&stream, width, height, IMAGES);
    check_picture(&result, width, height);
    let wanted: Vec<u8> = pixels.as_chunks::<4>().0.iter().flat_map(|pixel| becomes(*pixel)).collect();
    assert_eq!(result.map(|picture| picture.bytes), Ok(wanted), "{kind:?} there and back");
}

/// LZ. The first byte says which way: a stream of the container LZ_RGB (0) or LZ_PLT (1, then the number of
/// colours), or pixels to be encoded and decoded again.
pub fn lz(data: &[u8]) {
    let mut source = Source(data);
    let way = source.up_to(2);
    if way == 2 {
        let (width, height, pixels) = own_pixels(&mut source);
        let result =
            lz::decode(&lz_encode::encode(&pixels, width, height), lz::Container::Rgb, width, height, IMAGES);
        check_picture(&result, width, height);
        let wanted: Vec<u8> =
            pixels.as_chunks::<4>().0.iter().flat_map(|[b, g, r, _]| [*b, *g, *r, 0]).collect();
        assert_eq!(result.map(|picture| picture.bytes), Ok(wanted), "there and back");
        return;
    }
    let palette = if way == 1 { colours(source.u8()) } else { Vec::new() };
    let container = if way == 1 { lz::Container::Plt(&palette) } else { lz::Container::Rgb };
    let stream = source.rest();
    let (width, height) = (word_be(stream, 12), word_be(stream, 16));
    check_picture(&lz::decode(stream, container, width, height, IMAGES), width, height);
}

/// A window of GLZ images. The first byte says whether two channels share the dictionary; then each image has a byte
/// of flags (1: inflate it first, 2: deflate and inflate it, 4: on the second channel) and its length.
pub fn glz(data: &[u8]) {
    const WINDOW: u64 = 1 << 14;
    let mut source = Source(data);
    let mut first = Dictionary::new(WINDOW);
    let is_shared = source.u8() & 1 != 0;
    let mut second = if is_shared { first.share() } else { Dictionary::new(0) };
    while !source.is_empty() {
        let flags = source.u8();
        let dictionary = if is_shared && flags & 4 != 0 { &mut second } else { &mut first };
        let result;
        let (width, height);
        if flags & 1 != 0 {
            (width, height) = (u32::from(source.u8()), u32::from(source.u8()));
            let image = ZlibGlzRgb { glz_size: source.u16().into(), data: Counted(source.part()) };
            result = zlib_glz::decode(&image, width, height, dictionary, IMAGES);
        } else {
            let stream = source.part();
            (width, height) = (word_be(stream, 9), word_be(stream, 13));
            result = if flags & 2 != 0 {
                let glz_size = u32::try_from(stream.len()).unwrap_or(u32::MAX);
                let image = ZlibGlzRgb { glz_size, data: Counted(&deflated(stream)) };
                zlib_glz::decode(&image, width, height, dictionary, IMAGES)
            } else {
                dictionary.decode(stream, width, height, IMAGES)
            };
        }
        check_picture(&result, width, height);
        match result {
            Ok(_) => {
                let (held, most) = (first.held_pixels(), if is_shared { 2 * WINDOW } else { WINDOW });
                // The newest image may come on top.
                assert!(held <= most + IMAGES.pixels, "{held} pixels are held, the window is {WINDOW}");
            }
            // It may be tried again later; any other error ends the channel.
            Err(codec::CodecError::ImageAwaited { .. }) => {}
            Err(_) => break,
        }
    }
}

/// JPEG and JPEG_ALPHA: flags (1: with alpha, 2: alpha from the top), the size, for JPEG_ALPHA the length of the JPEG file.
pub fn jpeg(data: &[u8]) {
    let mut source = Source(data);
    let flags = source.u8();
    let (width, height) = (u32::from(source.u8()) + 1, u32::from(source.u8()) + 1);
    let result = if flags & 1 == 0 {
        codec::jpeg::decode(source.rest(), width, height, IMAGES)
    } else {
        let (jpeg, alpha) = (source.part(), source.rest());
        codec::jpeg::decode_with_alpha(&JpegAlpha { flags: flags >> 1, jpeg, alpha }, width, height, IMAGES)
    };
    check_picture(&result, width, height);
}

/// LZ4, bitmaps, masks and the shapes of pointers, by the first byte; then the size.
pub fn small_codecs(data: &[u8]) {
    let mut source = Source(data);
    let which = source.up_to(3);
    let (width, height) = (u32::from(source.u8()), u32::from(source.u8()));
    if which == 3 {
        let kind = source.up_to(8);
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let (hot_spot_x, hot_spot_y) = (source.u16(), source.u16());
        let (width, height) = (side(width), side(height));
        let header = CursorHeader { unique: 1, kind, width, height, hot_spot_x, hot_spot_y };
        match CursorShape::decode(&header, source.rest()) {
            Ok(shape) => assert_eq!(u64::try_from(shape.picture.bytes.len()), Ok(shape.picture.pixels() * 4)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        return;
    }
    let result = if which == 0 {
        lz4::decode(source.rest(), width, height, IMAGES)
    } else {
        let (format, flags, stride) = (source.up_to(12), source.u8(), u32::from(source.u16()));
        let palette = colours(source.u8());
        let data = source.bytes(usize::try_from(stride * height).unwrap_or(usize::MAX));
        let bitmap = Bitmap { format, flags, width, height, stride, palette: PaletteSource::None, data };
        match which {
            1 => bitmap::decode(
                &bitmap,
                Some(&palette).filter(|colours| !colours.is_empty()).map(|c| &**c),
                IMAGES,
            ),
            _ => bitmap::decode_mask(&bitmap, IMAGES, &Pool::default()),
        }
    };
    check_picture(&result, width, height);
}

/// A size and that many pixels, repeated where there are too few.
fn own_pixels(source: &mut Source<'_>) -> (u32, u32, Vec<u8>) {
    let (width, height) = (u32::from(source.up_to(127)) + 1, u32::from(source.up_to(127)) + 1);
    let given = source.rest();
    let wanted = usize::try_from(width * height * 4).unwrap_or(usize::MAX);
    let given: &[u8] = if given.is_empty() { &[0] } else { given };
    (width, height, given.iter().copied().cycle().take(wanted).collect())
}

/// So many colours.
fn colours(count: u8) -> Vec<u32> {
    (0..u32::from(count)).map(|index| index.wrapping_mul(0x0001_0307)).collect()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory does not fail to be written to")
}

fn word_le(bytes: &[u8], at: usize) -> u32 {
    four(bytes, at).map_or(0, u32::from_le_bytes)
}

fn word_be(bytes: &[u8], at: usize) -> u32 {
    four(bytes, at).map_or(0, u32::from_be_bytes)
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}
