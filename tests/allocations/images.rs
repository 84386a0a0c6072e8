//! Images of every codec, the palettes and caches they refer to, and frames of a video.

use std::io::Write as _;

use backstaff::spice::Limits;
use backstaff::spice::codec::{glz_encode, lz_encode, quic};
use backstaff::spice::wire::bytes::Counted;
use backstaff::spice::wire::display::{
    InvalList, InvalPalette, ResourceId, StreamActivateReport, StreamCreate, StreamData, StreamDataSized,
};
use backstaff::spice::wire::elements::Elements;
use backstaff::spice::wire::image::{
    Bitmap, ImageData, ImageDescriptor, JpegAlpha, LzPlt, PaletteSource, ZlibGlzRgb,
};
use backstaff::spice::wire::types::{Clip, Palette, Rect};

use crate::{Case, HEIGHT, Sent, WIDTH, draw_as, sent};

const SCREEN: (u32, u32) = (WIDTH, HEIGHT);
/// Images of several sizes come in turns.
const SIZES: [(u32, u32); 3] = [(64, 48), (320, 200), (100, 30)];

/// How often the JPEG decoder asks for memory in each image with colours at half resolution, whatever its size.
const JPEG: u64 = 17;
/// The same with colours at full resolution.
const JPEG_FULL: u64 = 4;

pub(crate) fn cases() -> Vec<Case> {
    let quic =
        quic::encode(quic::Kind::Rgb32, WIDTH, HEIGHT, &pixels(0, SCREEN), Limits::default().images).unwrap();
    let alpha =
        quic::encode(quic::Kind::Rgba, WIDTH, HEIGHT, &pixels(0, SCREEN), Limits::default().images).unwrap();
    let block = lz4_flex::block::compress(&pixels(0, SCREEN));
    let lz4 = [&[1, 8][..], &u32::try_from(block.len()).unwrap().to_be_bytes(), &block].concat();
    let always = |name, data| Case::same(name, vec![draw_as(1, 0, SCREEN, data)]);
    let mut cases = vec![
        always("raw", raw(8, &pixels(0, SCREEN), SCREEN, 4, PaletteSource::None)),
        always("LZ", ImageData::LzRgb(Counted(&lz_encode::encode(&pixels(0, SCREEN), WIDTH, HEIGHT)))),
        always("QUIC", ImageData::Quic(Counted(&quic))),
        always("QUIC with alpha", ImageData::Quic(Counted(&alpha))),
        always("LZ4", ImageData::Lz4(Counted(&lz4))),
        Case { allocations: JPEG, ..always("JPEG", ImageData::Jpeg(Counted(&jpeg(0, SCREEN)))) },
        jpeg_full(),
        jpeg_alpha(),
        direct_bitmaps(),
    ];
    cases.extend(palettes());
    cases.extend([glz(), zlib_glz(), cache(), replaced(), frames(), sized_frames()]);
    cases
}

/// Four bytes a pixel, other ones in each round.
fn pixels(round: u64, (width, height): (u32, u32)) -> Vec<u8> {
    let shade = u32::try_from(round % 200).unwrap();
    let pixel = |at: u32| [at % 7 + shade, at / width % 5, at % width / 9, 0];
    (0..width * height).flat_map(|at| pixel(at).map(|byte| u8::try_from(byte).unwrap())).collect()
}

fn size(round: u64) -> (u32, u32) {
    SIZES[usize::try_from(round % 3).unwrap()]
}

/// A bitmap of as many bytes a pixel as `data` has.
fn raw<'a>(
    format: u8,
    data: &'a [u8],
    (width, height): (u32, u32),
    flags: u8,
    palette: PaletteSource<'a>,
) -> ImageData<'a> {
    let stride = u32::try_from(data.len()).unwrap() / height;
    ImageData::Bitmap(Bitmap {
        format,
        flags: flags | Bitmap::TOP_DOWN,
        width,
        height,
        stride,
        palette,
        data,
    })
}

fn direct_bitmaps() -> Case {
    let draws = [(6, 2), (7, 3), (8, 4), (9, 4), (10, 1)].map(|(format, pixel_bytes)| {
        let data = vec![0x5a; usize::try_from(WIDTH * HEIGHT * pixel_bytes).unwrap()];
        draw_as(1, 0, SCREEN, raw(format, &data, SCREEN, 0, PaletteSource::None))
    });
    Case::same("bitmaps that carry colours", draws.into())
}

fn inline(unique: u64) -> PaletteSource<'static> {
    PaletteSource::Inline(Palette {
        unique,
        colours: Elements::of((0..256).map(|index| index * 0x0001_0203)),
    })
}

/// Bitmaps of one, four and eight bits and LZ with these palettes.
fn indexed(flags: u8, palette: &PaletteSource<'_>) -> Vec<Sent> {
    let formats = [(1, 8), (2, 8), (3, 2), (4, 2), (5, 1)];
    let mut draws: Vec<Sent> = formats
        .iter()
        .map(|(format, pixels_per_byte)| {
            let data = vec![0x5a; usize::try_from(WIDTH * HEIGHT / pixels_per_byte).unwrap()];
            draw_as(1, 0, SCREEN, raw(*format, &data, SCREEN, flags, palette.clone()))
        })
        .collect();
    let stream = lz_literals(5, SCREEN, &vec![0x5a; usize::try_from(WIDTH * HEIGHT).unwrap()]);
    let data = ImageData::LzPlt(LzPlt { flags, palette: palette.clone(), data: &stream });
    draws.push(draw_as(1, 0, SCREEN, data));
    draws
}

fn palettes() -> [Case; 4] {
    let evicted = |round: u64| {
        let mut messages = indexed(Bitmap::PAL_CACHE_ME, &inline(round));
        messages.extend(indexed(Bitmap::PAL_FROM_CACHE, &PaletteSource::Cached(round)));
        messages.extend(round.checked_sub(5).map(|id| sent(&InvalPalette { id })));
        messages
    };
    [
        Case::same("palettes in the message", indexed(0, &inline(7))),
        Case::same("palettes to be cached, again and again", indexed(Bitmap::PAL_CACHE_ME, &inline(7))),
        Case {
            before: indexed(Bitmap::PAL_CACHE_ME, &inline(7)),
            ..Case::same(
                "palettes from the cache",
                indexed(Bitmap::PAL_FROM_CACHE, &PaletteSource::Cached(7)),
            )
        },
        Case { round: Box::new(evicted), ..Case::same("palettes that are evicted", Vec::new()) },
    ]
}

/// An LZ stream of literals of one byte.
fn lz_literals(pixel_type: u32, (width, height): (u32, u32), bytes: &[u8]) -> Vec<u8> {
    let row_bytes = if pixel_type == 10 { width * 4 } else { width };
    let words = [0x2020_5a4c, 0x0001_0001, pixel_type, width, height, row_bytes, 1];
    let mut stream: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    for part in bytes.chunks(32) {
        stream.push(u8::try_from(part.len() - 1).unwrap());
        stream.extend_from_slice(part);
    }
    stream
}

fn jpeg(round: u64, (width, height): (u32, u32)) -> Vec<u8> {
    let mut stream = Vec::new();
    let side = |length: u32| u16::try_from(length).unwrap();
    let encoder = jpeg_encoder::Encoder::new(&mut stream, 85);
    let pixels = pixels(round, (width, height));
    encoder.encode(&pixels, side(width), side(height), jpeg_encoder::ColorType::Bgra).unwrap();
    stream
}

fn jpeg_full() -> Case {
    let mut data = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut data, 85);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
    encoder.encode(&pixels(0, SCREEN), 320, 200, jpeg_encoder::ColorType::Bgra).unwrap();
    let draw = draw_as(1, 0, SCREEN, ImageData::Jpeg(Counted(&data)));
    Case { allocations: JPEG_FULL, ..Case::same("JPEG with all colours", vec![draw]) }
}

fn jpeg_alpha() -> Case {
    let alpha = lz_literals(10, SCREEN, &vec![0x80; usize::try_from(WIDTH * HEIGHT).unwrap()]);
    let jpeg = jpeg(0, SCREEN);
    let data = ImageData::JpegAlpha(JpegAlpha { flags: JpegAlpha::TOP_DOWN, jpeg: &jpeg, alpha: &alpha });
    Case { allocations: JPEG, ..Case::same("JPEG_ALPHA", vec![draw_as(1, 0, SCREEN, data)]) }
}

/// Room for a few images, so that each new one drops old ones.
const WINDOW: u32 = 200_000;

fn glz() -> Case {
    let mut encoder = glz_encode::Encoder::new(WINDOW);
    let round = move |round| {
        let size = size(round);
        let stream = encoder.encode(&pixels(round, size), size.0, size.1).unwrap();
        vec![draw_as(round, 0, size, ImageData::GlzRgb(Counted(&stream)))]
    };
    Case { round: Box::new(round), ..Case::same("GLZ with ids that rise", Vec::new()) }
}

fn zlib_glz() -> Case {
    let mut encoder = glz_encode::Encoder::new(WINDOW);
    let round = move |round| {
        let size = size(round);
        let stream = encoder.encode(&pixels(round, size), size.0, size.1).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&stream).unwrap();
        let (glz_size, zlib) = (u32::try_from(stream.len()).unwrap(), zlib.finish().unwrap());
        let data = ImageData::ZlibGlzRgb(ZlibGlzRgb { glz_size, data: Counted(&zlib) });
        vec![draw_as(round, 0, size, data)]
    };
    Case { round: Box::new(round), ..Case::same("ZLIB_GLZ with ids that rise", Vec::new()) }
}

/// An image to be cached, drawn once more from there; an older one goes.
fn cache() -> Case {
    let round = |round: u64| {
        let size = size(round);
        let stream = lz_encode::encode(&pixels(round, size), size.0, size.1);
        let data = ImageData::LzRgb(Counted(&stream));
        let mut messages = vec![
            draw_as(round, ImageDescriptor::CACHE_ME, size, data),
            draw_as(round, 0, size, ImageData::FromCache),
        ];
        if let Some(id) = round.checked_sub(5) {
            messages.push(sent(&InvalList { resources: Elements::of([ResourceId { kind: 1, id }]) }));
        }
        messages
    };
    Case { round: Box::new(round), ..Case::same("images that are cached and evicted", Vec::new()) }
}

/// One id whose image is another one in each round.
fn replaced() -> Case {
    let round = |round: u64| {
        let flags = if round == 0 { ImageDescriptor::CACHE_ME } else { ImageDescriptor::CACHE_REPLACE_ME };
        let size = size(round);
        let pixels = pixels(round, size);
        vec![
            draw_as(9, flags, size, raw(8, &pixels, size, 0, PaletteSource::None)),
            draw_as(9, 0, size, ImageData::FromCacheLossless),
        ]
    };
    Case { round: Box::new(round), ..Case::same("images that are replaced", Vec::new()) }
}

fn stream() -> Vec<Sent> {
    let create = StreamCreate {
        surface_id: 0,
        id: 3,
        flags: 0,
        codec_type: 1,
        stamp: 0,
        stream_width: WIDTH,
        stream_height: HEIGHT,
        src_width: WIDTH,
        src_height: HEIGHT,
        dest: Rect::new(0, 0, 320, 200),
        clip: Clip::Rects(Elements::of([Rect::new(0, 0, 320, 100), Rect::new(0, 50, 100, 100)])),
    };
    let report = StreamActivateReport { stream_id: 3, unique_id: 1, max_window_size: 5, timeout_ms: 1000 };
    vec![sent(&create), sent(&report)]
}

fn frames() -> Case {
    let frame = |round: u64| {
        let (data, multi_media_time) = (jpeg(round, SCREEN), u32::try_from(round).unwrap() * 40);
        vec![sent(&StreamData { id: 3, multi_media_time, data: Counted(&data) })]
    };
    let name = "frames of a stream";
    Case { before: stream(), round: Box::new(frame), allocations: JPEG, ..Case::same(name, Vec::new()) }
}

fn sized_frames() -> Case {
    let frame = |round: u64| {
        let (width, height) = size(round);
        let data = jpeg(round, (width, height));
        let dest = Rect::new(7, 7, 200, 150);
        let (multi_media_time, data) = (u32::try_from(round).unwrap() * 40, Counted(&data));
        vec![sent(&StreamDataSized { id: 3, multi_media_time, width, height, dest, data })]
    };
    let name = "frames of sizes of their own";
    Case { before: stream(), round: Box::new(frame), allocations: JPEG, ..Case::same(name, Vec::new()) }
}
