//! Image codecs, one thread, in MB/s of decoded pixels.

use std::io::Write as _;

use backstaff::spice::Limits;
use backstaff::spice::codec::{Picture, glz, jpeg, lz4, quic, zlib_glz};
use backstaff::spice::wire::bytes::Counted;
use backstaff::spice::wire::image::ZlibGlzRgb;

use crate::measure::Report;

const WIDTH: u32 = 1024;
const HEIGHT: u32 = 768;
const PIXELS: usize = 1024 * 768;

/// What QUIC should decode in a second.
const QUIC_GOAL: u32 = 150;

/// Something of this name on the screen.
type Scene = (&'static str, fn(u32, u32) -> [u8; 4]);

const SCENES: [Scene; 4] =
    [("text", text), ("gradient", gradient), ("photograph", photograph), ("noise", noise)];

pub(crate) fn run(report: &mut Report) {
    let limits = Limits::default().images;
    let megabytes = u32::try_from(PIXELS * 4 / 1_000_000).unwrap();
    for (scene, pixel) in SCENES {
        let pixels: Vec<u8> = (0..HEIGHT).flat_map(|y| (0..WIDTH).flat_map(move |x| pixel(x, y))).collect();
        let line = |report: &mut Report, codec: &str, stream: &[u8], decode: &mut dyn FnMut() -> Picture| {
            assert_eq!(decode().bytes.len(), pixels.len());
            let samples = report.time(200, 1, decode);
            report.throughput(&format!("{codec}, {scene}, {} KiB", stream.len() >> 10), &samples, PIXELS * 4);
        };

        let stream = quic::encode(quic::Kind::Rgb32, WIDTH, HEIGHT, &pixels, limits).unwrap();
        let mut decode = || quic::decode(&stream, WIDTH, HEIGHT, limits).unwrap();
        assert!(decode().bytes == pixels);
        line(report, "QUIC", &stream, &mut decode);

        let block = lz4_flex::block::compress(&pixels);
        let mut stream = vec![1, 8];
        stream.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        stream.extend(block);
        let mut decode = || lz4::decode(&stream, WIDTH, HEIGHT, limits).unwrap();
        line(report, "LZ4", &stream, &mut decode);

        let plain = glz_stream(&pixels);
        let window = u64::try_from(PIXELS).unwrap();
        let mut decode = || glz::Dictionary::new(window).decode(&plain, WIDTH, HEIGHT, limits).unwrap();
        line(report, "GLZ", &plain, &mut decode);

        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&plain).unwrap();
        let stream = encoder.finish().unwrap();
        let glz_size = u32::try_from(plain.len()).unwrap();
        let mut decode = || {
            let image = ZlibGlzRgb { glz_size, data: Counted(&stream) };
            zlib_glz::decode(&image, WIDTH, HEIGHT, &mut glz::Dictionary::new(window), limits).unwrap()
        };
        line(report, "ZLIB_GLZ", &stream, &mut decode);

        let mut stream = Vec::new();
        let (width, height) = (u16::try_from(WIDTH).unwrap(), u16::try_from(HEIGHT).unwrap());
        // The quality that servers ask for.
        let encoder = jpeg_encoder::Encoder::new(&mut stream, 85);
        encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Bgra).unwrap();
        let mut decode = || jpeg::decode(&stream, WIDTH, HEIGHT, limits).unwrap();
        line(report, "JPEG", &stream, &mut decode);
    }
    let goal = std::time::Duration::from_secs(1) * megabytes / QUIC_GOAL;
    report.note(&format!(
        "the goal for QUIC is {QUIC_GOAL} MB/s: a median of {:.1} ms",
        goal.as_secs_f64() * 1e3
    ));
}

/// Letters of 8 x 16 on a terminal.
fn text(x: u32, y: u32) -> [u8; 4] {
    let (column, row) = (x / 8, y / 16);
    let letter = scatter(column, row) % 64;
    let is_blank = column % 100 > 10 + row * 7 % 80 || letter < 10;
    let is_ink = scatter(letter * 8 + x % 8 / 2, y % 16 / 2).is_multiple_of(3) && (3..13).contains(&(y % 16));
    if is_ink && !is_blank { [0xc0, 0xc0, 0xc0, 0] } else { [0x20, 0, 0x10, 0] }
}

fn gradient(x: u32, y: u32) -> [u8; 4] {
    [x / 4, y / 3, (x + y) / 7, 0].map(low_byte)
}

/// Soft shapes with a little noise.
fn photograph(x: u32, y: u32) -> [u8; 4] {
    let shape = (x * x / 900 + y * y / 700) / 3 % 256;
    let light = if shape < 128 { shape } else { 255 - shape };
    let grain = scatter(x, y) % 5;
    [light + grain, light / 2 + y / 8 + grain, light + x / 16 % 60 + grain, 0].map(low_byte_or_zero_alpha)
}

fn noise(x: u32, y: u32) -> [u8; 4] {
    let random = scatter(x, y);
    [random, random >> 8, random >> 16, 0].map(low_byte)
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

fn low_byte_or_zero_alpha(value: u32) -> u8 {
    low_byte(value.min(255))
}

/// A number that looks random, the same for the same place.
fn scatter(x: u32, y: u32) -> u32 {
    let mut number = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77);
    number = (number ^ number >> 15).wrapping_mul(0x2c1b_3c6d);
    number ^ number >> 13
}

/// A GLZ stream of one image: runs of one colour, and pixels as they are.
fn glz_stream(pixels: &[u8]) -> Vec<u8> {
    let mut stream = [0x2020_5a4c_u32.to_be_bytes(), 0x0001_0001_u32.to_be_bytes()].concat();
    stream.push(0x18);
    stream.extend([WIDTH, HEIGHT, WIDTH * 4].iter().flat_map(|word| word.to_be_bytes()));
    // Id 0 and no image before.
    stream.extend([0; 12]);
    let mut rest = pixels.as_chunks::<4>().0;
    let mut literals: Vec<[u8; 4]> = Vec::new();
    let flush = |stream: &mut Vec<u8>, literals: &mut Vec<[u8; 4]>| {
        for part in literals.chunks(32) {
            stream.push(u8::try_from(part.len() - 1).unwrap());
            stream.extend(part.iter().flat_map(|pixel| pixel[..3].iter().copied()));
        }
        literals.clear();
    };
    while let Some((first, after)) = rest.split_first() {
        literals.push(*first);
        let run = after.iter().take_while(|pixel| *pixel == first).count();
        rest = after;
        if run >= 4 {
            flush(&mut stream, &mut literals);
            rest = &after[run..];
            stream.push(u8::try_from(run.min(7) << 5).unwrap());
            if let Some(mut more) = run.checked_sub(7) {
                while more >= 255 {
                    stream.push(255);
                    more -= 255;
                }
                stream.push(u8::try_from(more).unwrap());
            }
            // One pixel back, in this image.
            stream.extend([0, 0]);
        }
    }
    flush(&mut stream, &mut literals);
    stream
}
