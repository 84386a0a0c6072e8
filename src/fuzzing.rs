//! Every fuzz target by name. The fuzzers under `tests/fuzz` and the tests that replay the corpus run the same functions;
//! `docs/fuzzing.md` says how.
//!
//! A target takes any bytes and panics where something is wrong with what this program makes of them.

use visual_digest::symbol::{self, Symbol};
use visual_digest::{Frame, MAX_PAYLOAD, MODULE_SIZE, Payload, SYMBOL_MODULES, region_origin};

use crate::{control, lane, spice};

/// Runs what a fuzzer feeds.
pub type Target = fn(&[u8]);

/// All targets. Each has a fuzzer of its name, and a corpus.
pub const TARGETS: [(&str, Target); 17] = [
    ("agent", spice::fuzzing::agent),
    ("channels", spice::fuzzing::channels),
    ("control", control::fuzzing::control),
    ("digest", digest),
    ("display", spice::fuzzing::display),
    ("draws", spice::fuzzing::draws),
    ("glz", spice::fuzzing::glz),
    ("jpeg", spice::fuzzing::jpeg),
    ("link", spice::fuzzing::link),
    ("lz", spice::fuzzing::lz),
    ("messages", spice::fuzzing::messages),
    ("peers", spice::fuzzing::peers),
    ("playback", spice::fuzzing::playback),
    ("quic", spice::fuzzing::quic),
    ("small_codecs", spice::fuzzing::small_codecs),
    ("text", text),
    ("wires", wires),
];

/// Runs one target.
///
/// # Panics
/// When there is no such target, and when it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no fuzz target `{name}`"));
    target(data);
}

/// Text that people write, by the first byte: 0 an address, 1 a connection file, 2 and more a profile.
fn text(data: &[u8]) {
    match data.split_first() {
        Some((0 | 1, _)) => spice::fuzzing::text(data),
        Some((_, text)) => lane::fuzzing::profile(text),
        None => {}
    }
}

/// The wires beside the console, by the first byte: 0 QMP, otherwise serial.
fn wires(data: &[u8]) {
    match data.split_first() {
        Some((0, stream)) => lane::fuzzing::qmp(stream),
        Some((_, stream)) => lane::fuzzing::serial(stream),
        None => {}
    }
}

/// The visual digest. By the first byte: 0 the bytes of a payload, otherwise a payload behind its length as a symbol on
/// a screen, of which then some modules are painted over.
fn digest(data: &[u8]) {
    match data.split_first() {
        Some((0, payload)) => payload_there_and_back(payload),
        Some((length, rest)) => symbol_there_and_back(usize::from(*length) % (MAX_PAYLOAD + 1), rest),
        None => {}
    }
}

fn payload_there_and_back(bytes: &[u8]) {
    match visual_digest::decode(bytes) {
        Ok(digest) => {
            if let Ok(payload) = digest.encode() {
                let again = visual_digest::decode(payload.as_bytes());
                assert_eq!(again.as_ref(), Ok(&digest), "{bytes:02x?}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn symbol_there_and_back(length: usize, rest: &[u8]) {
    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 240;
    let (bytes, damage) = rest.split_at(length.min(rest.len()));
    let payload = Payload::from_bytes(bytes).expect("it has no more than a payload");
    let symbol = Symbol::encode(&payload);
    let (left, top) = region_origin(WIDTH, HEIGHT);
    let mut pixels = vec![0_u8; 4 * 320 * 240];
    let mut paint = |x: u32, y: u32, shade: u8| {
        for row in 0..MODULE_SIZE {
            let start = (top + (QUIET + y) * MODULE_SIZE + row) * WIDTH + left + (QUIET + x) * MODULE_SIZE;
            let start = usize::try_from(start * 4).expect("a small screen");
            let end = start + usize::try_from(MODULE_SIZE * 4).expect("a small screen");
            pixels[start..end].fill(shade);
        }
    };
    for (x, y) in (0..SYMBOL_MODULES).flat_map(|y| (0..SYMBOL_MODULES).map(move |x| (x, y))) {
        paint(x, y, if symbol.is_set(x, y) { 255 } else { 0 });
    }
    for part in damage.as_chunks::<3>().0 {
        let module = |byte: u8| u32::from(byte) % SYMBOL_MODULES;
        paint(module(part[0]), module(part[1]), part[2]);
    }
    let frame = Frame::new(WIDTH, HEIGHT, 4 * 320, &pixels).expect("a whole screen");
    let found = symbol::read(frame);
    if damage.len() < 3 {
        assert_eq!(found.as_ref().map(Payload::as_bytes), Ok(payload.as_bytes()));
    }
    match found {
        Ok(payload) => payload_there_and_back(payload.as_bytes()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

const QUIET: u32 = visual_digest::QUIET_MODULES;
