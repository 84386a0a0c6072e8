//! How often the display channel asks for memory: in the steady state not at all.
//!
//! A binary of its own, because it counts what the program allocates, thread by thread.
#![allow(unsafe_code, reason = "only an allocator can count allocations, and implementing one is unsafe")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod drawings;
mod images;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use backstaff::spice::Limits;
use backstaff::spice::channel::{DisplayChannel, DisplayOptions, Machine};
use backstaff::spice::recording::{Fact, Reader};
use backstaff::spice::wire::Message;
use backstaff::spice::wire::base::SetAck;
use backstaff::spice::wire::bytes::Pointer;
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::draw::{DisplayBase, DrawCopy, scale_mode};
use backstaff::spice::wire::header::Frame;
use backstaff::spice::wire::image::{Image, ImageData, ImageDescriptor};
use backstaff::spice::wire::types::{Clip, QMask, Rect, RopDescriptor};
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

fn base() -> DisplayBase<'static> {
    DisplayBase { surface_id: 0, bounds: Rect::new(0, 0, 320, 200), clip: Clip::None }
}

/// An image with an id and flags, drawn over the top left of the screen.
fn draw_as(id: u64, flags: u8, (width, height): (u32, u32), data: ImageData<'_>) -> Sent {
    let area = Rect::new(0, 0, width.cast_signed(), height.cast_signed());
    let descriptor = ImageDescriptor { id, kind: data.kind().0, flags, width, height };
    sent(&DrawCopy {
        base: DisplayBase { bounds: area, ..base() },
        src_bitmap: Pointer(Image { descriptor, data }),
        src_area: area,
        rop_descriptor: RopDescriptor::OP_PUT,
        scale_mode: scale_mode::NEAREST,
        mask: QMask::NONE,
    })
}

/// What a server sends over and over.
struct Case {
    name: &'static str,
    /// What comes once.
    before: Vec<Sent>,
    /// What comes in the round with this number.
    round: Box<dyn FnMut(u64) -> Vec<Sent>>,
    /// How often memory is asked for in each round, by decoders that are not ours.
    allocations: u64,
}

impl Case {
    /// Messages that are the same in each round.
    fn same(name: &'static str, messages: Vec<Sent>) -> Self {
        let round = Box::new(move |_| messages.clone());
        Self { name, before: Vec::new(), round, allocations: 0 }
    }
}

/// Rounds until all memory is there, and rounds that are counted.
const WARM_UP: u64 = 90;
const ROUNDS: u64 = 30;

/// Panics with the names of all that ask for another number of allocations.
fn check(cases: Vec<Case>) {
    let wrong: Vec<String> = cases.into_iter().filter_map(difference).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(mut case: Case) -> Option<String> {
    let name = case.name;
    let (mut channel, mut out) = (channel(), Vec::new());
    let first = [sent(&SetAck { generation: 1, window: 3 }), surface()];
    let before = first.iter().chain(&case.before);
    let mut warm_up: u64 = before.map(|message| handle(&mut channel, message, &mut out)).sum();
    let mut round = |number| -> u64 {
        let messages = (case.round)(number);
        messages.iter().map(|message| handle(&mut channel, message, &mut out)).sum()
    };
    warm_up += (0..WARM_UP).map(&mut round).sum::<u64>();
    assert_ne!(warm_up, 0, "{name}: what is allocated at first is counted");
    let counted: Vec<u64> = (WARM_UP..WARM_UP + ROUNDS).map(&mut round).collect();
    assert!(channel.counters().unsupported.is_empty(), "{name}");
    let wanted = case.allocations;
    let is_wrong = counted.iter().any(|counted| *counted != wanted);
    is_wrong.then(|| format!("{name}: {counted:?} in rounds after {warm_up}, wanted {wanted} in each"))
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
fn an_image_in_the_steady_state_costs_no_allocation() {
    check(images::cases());
}

#[test]
fn a_draw_in_the_steady_state_costs_no_allocation() {
    check(drawings::cases());
}

#[test]
fn recordings_in_the_steady_state_cost_no_allocation() {
    let mut out = Vec::new();
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
