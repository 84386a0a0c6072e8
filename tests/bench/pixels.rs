//! Pixels as they come over the wire, onto a surface.

use std::time::Instant;

use backstaff::spice::channel::{DisplayChannel, DisplayOptions, Machine};
use backstaff::spice::codec::lz;
use backstaff::spice::wire::Message;
use backstaff::spice::wire::bytes::Pointer;
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::draw::{DisplayBase, DrawCopy, scale_mode};
use backstaff::spice::wire::header::Frame;
use backstaff::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use backstaff::spice::wire::link::Capabilities;
use backstaff::spice::wire::types::{Clip, QMask, Rect, RopDescriptor};
use backstaff::spice::{Compression, Limits};

use crate::measure::Report;

const WIDTH: u32 = 1024;
const HEIGHT: u32 = 768;
const BYTES: usize = 1024 * 768 * 4;

pub(crate) fn run(report: &mut Report) {
    let pixels: Vec<u8> = (0..=250).flat_map(|shade| [shade, 7, shade, 0]).cycle().take(BYTES).collect();
    let message = draw_copy(&pixels);
    let mut channel = DisplayChannel::new(
        DisplayOptions {
            channel_id: 0,
            compression: Some(Compression::Off),
            has_image_cache: false,
            limits: Limits::default(),
        },
        &Capabilities::default(),
    );
    let flags = SurfaceCreate::PRIMARY;
    take(&mut channel, &SurfaceCreate { surface_id: 0, width: WIDTH, height: HEIGHT, format: 32, flags });
    let frame = Frame { kind: DrawCopy::KIND, sub_list: 0, body: &message };
    let draw = || {
        channel.handle_message(Instant::now(), frame).unwrap();
        while channel.poll_event().is_some() {}
        while channel.poll_transmit().is_some() {}
    };
    report.throughput("DRAW_COPY, raw 1024x768", &report.time(1000, 1, draw), BYTES);
    assert_eq!(channel.primary().unwrap().1.pixels(), pixels);

    for (name, run_pixels) in [("LZ_RGB 1024x768, long runs", 512), ("LZ_RGB 1024x768, short runs", 8)] {
        let stream = lz_stream(run_pixels);
        let limits = Limits::default().images;
        let decode = || lz::decode(&stream, lz::Container::Rgb, WIDTH, HEIGHT, limits).unwrap();
        report.throughput(name, &report.time(500, 1, decode), BYTES);
    }
}

fn take<'a>(channel: &mut DisplayChannel, message: &impl Message<'a>) {
    let body = message.to_body();
    let frame = Frame { kind: kind_of(message), sub_list: 0, body: &body };
    channel.handle_message(Instant::now(), frame).unwrap();
}

fn kind_of<'a, M: Message<'a>>(_: &M) -> u16 {
    M::KIND
}

/// The whole screen from the top, as QEMU sends it.
fn draw_copy(pixels: &[u8]) -> Vec<u8> {
    let area = Rect::new(0, 0, 1024, 768);
    let bitmap = Bitmap {
        format: 8,
        flags: Bitmap::TOP_DOWN,
        width: WIDTH,
        height: HEIGHT,
        stride: WIDTH * 4,
        palette: PaletteSource::None,
        data: pixels,
    };
    let descriptor = ImageDescriptor { id: 1, kind: 0, flags: 0, width: WIDTH, height: HEIGHT };
    let message = DrawCopy {
        base: DisplayBase { surface_id: 0, bounds: area, clip: Clip::None },
        src_bitmap: Pointer(Image { descriptor, data: ImageData::Bitmap(bitmap) }),
        src_area: area,
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: scale_mode::NEAREST,
        mask: QMask::NONE,
    };
    message.to_body()
}

/// A screen of runs of one colour, each a literal pixel and a reference to the pixel before.
fn lz_stream(run_pixels: usize) -> Vec<u8> {
    let words = [0x2020_5a4c, 0x0001_0001, 8, WIDTH, HEIGHT, WIDTH * 4, 1];
    let mut stream: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    let mut colour = 0_u8;
    for _ in 0..BYTES / 4 / run_pixels {
        colour = colour.wrapping_add(17);
        stream.extend([0, colour, colour, colour]);
        // Three bits of length, those beyond in bytes of up to 255; then the distance less one.
        let mut rest = run_pixels - 1;
        if rest < 7 {
            stream.push(u8::try_from(rest << 5).unwrap());
        } else {
            stream.push(7 << 5);
            rest -= 7;
            while rest >= 255 {
                stream.push(255);
                rest -= 255;
            }
            stream.push(u8::try_from(rest).unwrap());
        }
        stream.push(0);
    }
    stream
}
