//! Recorded sessions through the display channel, one thread: from the message to the surface, in MB/s of pixels.

use std::path::Path;
use std::time::Instant;

use backstaff::spice::channel::{DisplayChannel, DisplayOptions, Machine};
use backstaff::spice::recording::{Fact, Reader};
use backstaff::spice::wire::Message;
use backstaff::spice::wire::display::DisplayMessage;
use backstaff::spice::wire::draw::{CopyBits, DisplayBase, DrawCopy, DrawFill};
use backstaff::spice::wire::header::Frame;
use backstaff::spice::wire::types::{Brush, Clip, Point, QMask, Rect, RopDescriptor};
use backstaff::spice::{ChannelType, Limits};

use crate::measure::Report;

/// A recording, what is in it, and how many MB/s there should be.
const RECORDINGS: [(&str, &str, Option<u32>); 14] = [
    ("guest-std-off", "raw", Some(3_000)),
    ("guest-std-lz", "LZ", Some(600)),
    ("guest-std-glz", "GLZ", Some(600)),
    ("guest-std-zlib_glz", "GLZ and ZLIB_GLZ", None),
    ("guest-std-quic", "QUIC", Some(150)),
    ("guest-std-lz4", "LZ4", None),
    ("guest-std-jpeg", "JPEG, small images raw", None),
    ("firmware-std-off", "raw", Some(3_000)),
    ("firmware-std-lz", "LZ", Some(600)),
    ("firmware-std-glz", "GLZ", Some(600)),
    ("firmware-std-quic", "QUIC", Some(150)),
    ("firmware-qxl-off", "raw", Some(3_000)),
    ("firmware-qxl-glz", "GLZ", Some(600)),
    ("canonical-qxl-off", "raw", Some(3_000)),
];

type Sent = (u16, Vec<u8>);

pub(crate) fn run(report: &mut Report) {
    for (name, what, goal) in RECORDINGS {
        let messages = recorded(name);
        let mut channel = channel();
        messages.iter().for_each(|message| handle(&mut channel, message));
        let draws: Vec<&Sent> = messages.iter().filter(|(kind, _)| *kind == DrawCopy::KIND).collect();
        let bytes: usize = draws.iter().map(|draw| pixel_bytes(draw)).sum();
        let samples = report.time(30, 1, || draws.iter().for_each(|draw| handle(&mut channel, draw)));
        let line = format!("{what}, {name}, {} draws", draws.len());
        report.throughput_of(&line, &samples, bytes, goal);
    }
    let messages = recorded("guest-std-off");
    let mut channel = channel();
    messages.iter().for_each(|message| handle(&mut channel, message));
    let bounds = Rect::new(0, 0, 1024, 768);
    let base = || DisplayBase { surface_id: 0, bounds, clip: Clip::None };
    let (brush, rop_descriptor) = (Brush::Solid(0x00aa_5500), RopDescriptor::OP_PUT);
    let fill = sent(&DrawFill { base: base(), brush, rop_descriptor, mask: QMask::NONE });
    let copy = sent(&CopyBits { base: base(), src_pos: Point { x: 0, y: 16 } });
    for (name, draw) in [("DRAW_FILL, 1024x768", fill), ("COPY_BITS, 16 lines up, 1024x768", copy)] {
        let samples = report.time(200, 1, || handle(&mut channel, &draw));
        report.throughput_of(name, &samples, 1024 * 768 * 4, None);
    }
}

fn sent<'a, M: Message<'a>>(message: &M) -> Sent {
    (M::KIND, message.to_body())
}

fn channel() -> DisplayChannel {
    let limits = Limits::default();
    let options = DisplayOptions { channel_id: 0, compression: None, has_image_cache: true, limits };
    DisplayChannel::new(options, &DisplayChannel::capabilities())
}

fn handle(channel: &mut DisplayChannel, (kind, body): &Sent) {
    channel.handle_message(Instant::now(), Frame { kind: *kind, sub_list: 0, body }).unwrap();
    while channel.poll_transmit().is_some() {}
    while channel.poll_event().is_some() {}
}

/// The pixels that a draw puts on the surface, as bytes.
fn pixel_bytes((kind, body): &Sent) -> usize {
    match DisplayMessage::decode(*kind, body).unwrap() {
        Some(DisplayMessage::DrawCopy(draw)) => usize::try_from(draw.base.bounds.area() * 4).unwrap(),
        _ => 0,
    }
}

/// All messages of a recording's display channel.
fn recorded(name: &str) -> Vec<Sent> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings");
    let file = std::fs::read(folder.join(format!("{name}.rec"))).unwrap();
    let mut reader = Reader::open(file.as_slice()).unwrap();
    let mut messages = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Fact::Message { channel, frame } = entry.fact
            && channel.channel_type == ChannelType::DISPLAY
        {
            messages.push((frame.kind, frame.body.to_vec()));
        }
    }
    messages
}
