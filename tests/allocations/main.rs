//! How often the display channel asks for memory: in the steady state not at all.
//!
//! A binary of its own, because it counts what the whole program allocates; one test, because tests share a program.
#![allow(unsafe_code, reason = "only an allocator can count allocations, and implementing one is unsafe")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use backstaff::spice::Limits;
use backstaff::spice::channel::{DisplayChannel, DisplayOptions, Machine};
use backstaff::spice::codec::{lz_encode, quic};
use backstaff::spice::recording::{Fact, Reader};
use backstaff::spice::wire::Message;
use backstaff::spice::wire::base::SetAck;
use backstaff::spice::wire::bytes::{Counted, Pointer};
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::draw::{CopyBits, DisplayBase, DrawCopy, DrawFill, scale_mode};
use backstaff::spice::wire::header::Frame;
use backstaff::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use backstaff::spice::wire::types::{Brush, Clip, Point, QMask, Rect, RopDescriptor};
use backstaff::spice::{ChannelId, ChannelType};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all requests go to the system's allocator unchanged; counting touches a cell of the thread and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // Nothing is counted while a thread ends.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Type and body of a message.
type Sent = (u16, Vec<u8>);

fn sent<'a, M: Message<'a>>(message: &M) -> Sent {
    (M::KIND, message.to_body())
}

fn channel() -> DisplayChannel {
    let limits = Limits::default();
    let options = DisplayOptions { channel_id: 0, compression: None, has_image_cache: true, limits };
    DisplayChannel::new(options, &DisplayChannel::capabilities())
}

/// What a driver does with a message; returns how often memory was asked for.
fn handle(channel: &mut DisplayChannel, (kind, body): &Sent, out: &mut Vec<u8>) -> u64 {
    let before = allocations();
    let frame = Frame { kind: *kind, sub_list: 0, body };
    channel.handle_message(Instant::now(), frame).unwrap();
    out.clear();
    channel.transmit_into(out);
    while channel.poll_event().is_some() {}
    allocations() - before
}

const WIDTH: u32 = 320;
const HEIGHT: u32 = 200;

fn surface() -> Sent {
    let flags = SurfaceCreate::PRIMARY;
    sent(&SurfaceCreate { surface_id: 0, width: WIDTH, height: HEIGHT, format: 32, flags })
}

fn base() -> DisplayBase {
    DisplayBase { surface_id: 0, bounds: Rect::new(0, 0, 320, 200), clip: Clip::None }
}

fn draw(data: ImageData<'_>) -> Sent {
    let kind = data.kind().0;
    let descriptor = ImageDescriptor { id: 1, kind, flags: 0, width: WIDTH, height: HEIGHT };
    sent(&DrawCopy {
        base: base(),
        src_bitmap: Pointer(Image { descriptor, data }),
        src_area: Rect::new(0, 0, 320, 200),
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: scale_mode::NEAREST,
        mask: QMask::NONE,
    })
}

/// Draws of each kind, as a server would send them.
fn draws() -> Vec<(&'static str, Sent)> {
    let pixels: Vec<u8> = (0..HEIGHT * WIDTH)
        .flat_map(|at| [at % 7, at / 320 % 5, at % 320 / 9, 0].map(|n| u8::try_from(n).unwrap()))
        .collect();
    let bitmap = Bitmap {
        format: 8,
        flags: Bitmap::TOP_DOWN,
        width: WIDTH,
        height: HEIGHT,
        stride: WIDTH * 4,
        palette: PaletteSource::None,
        data: &pixels,
    };
    let lz = lz_encode::encode(&pixels, WIDTH, HEIGHT);
    let quic = quic::encode(quic::Kind::Rgb32, WIDTH, HEIGHT, &pixels, Limits::default().images).unwrap();
    let block = lz4_flex::block::compress(&pixels);
    let mut lz4 = vec![1, 8];
    lz4.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
    lz4.extend(block);
    let fill = DrawFill {
        base: base(),
        brush: Brush::Solid(0x00aa_5500),
        rop_descriptor: RopDescriptor::OP_PUT,
        mask: QMask::NONE,
    };
    vec![
        ("raw", draw(ImageData::Bitmap(bitmap))),
        ("LZ", draw(ImageData::LzRgb(Counted(&lz)))),
        ("QUIC", draw(ImageData::Quic(Counted(&quic)))),
        ("LZ4", draw(ImageData::Lz4(Counted(&lz4)))),
        ("fill", sent(&fill)),
        ("copy bits", sent(&CopyBits { base: base(), src_pos: Point { x: 3, y: 5 } })),
    ]
}

/// All messages of the first display channel of a recording.
fn recorded(name: &str) -> Vec<Sent> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings").join(name);
    let file = std::fs::read(path).unwrap();
    let mut reader = Reader::open(file.as_slice()).unwrap();
    let display = ChannelId { channel_type: ChannelType::DISPLAY, id: 0 };
    let mut messages = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Fact::Message { channel, frame } = entry.fact
            && channel == display
        {
            messages.push((frame.kind, frame.body.to_vec()));
        }
    }
    messages
}

#[test]
fn a_draw_in_the_steady_state_allocates_nothing() {
    let mut out = Vec::new();
    for (name, draw) in draws() {
        let mut channel = channel();
        handle(&mut channel, &sent(&SetAck { generation: 1, window: 3 }), &mut out);
        handle(&mut channel, &surface(), &mut out);
        let warm_up: u64 = (0..8).map(|_| handle(&mut channel, &draw, &mut out)).sum();
        assert_ne!(warm_up, 0, "{name}: what is allocated at first is counted");
        let allocated: u64 = (0..50).map(|_| handle(&mut channel, &draw, &mut out)).sum();
        assert_eq!(allocated, 0, "{name}: 50 draws and their acknowledgements");
    }
    for (name, image) in [
        ("guest-std-off.rec", "BITMAP"),
        ("guest-std-lz.rec", "LZ_RGB"),
        ("guest-std-glz.rec", "GLZ_RGB"),
        ("guest-std-quic.rec", "QUIC"),
        ("guest-std-lz4.rec", "LZ4"),
    ] {
        let messages = recorded(name);
        let mut channel = channel();
        let mut warm_up = 0;
        // Ids come again: each image takes the place in the dictionary that it had before.
        for _ in 0..3 {
            warm_up += messages.iter().map(|message| handle(&mut channel, message, &mut out)).sum::<u64>();
        }
        assert_ne!(warm_up, 0, "{name}: what is allocated at first is counted");
        let mut by_kind: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for message in &messages {
            let (count, sum) = by_kind.entry(message.0).or_default();
            *count += 1;
            *sum += handle(&mut channel, message, &mut out);
        }
        let (draws, allocated) = by_kind[&DrawCopy::KIND];
        assert!(draws > 50, "{name}: {draws} draws");
        assert_eq!(allocated, 0, "{name}: {draws} draws of {image}");
        assert!(channel.counters().images.get(image).is_some_and(|count| *count > 50), "{name}");
    }
}
