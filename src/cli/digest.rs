//! `backstaff digest`: a screenshot or a payload into JSON, and JSON back into either.
//!
//! It decides what a file is by its content and gives every way to fail its exit code; the format itself lives in
//! `visual_digest`, the search for a symbol in [`crate::oracle::digest`]. No file makes it panic, and none makes it
//! allocate more than the limits below. Start reading at [`decode`].

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Once;

use visual_digest::symbol::Symbol;
use visual_digest::{
    DecodeError, Digest, EncodeError, FOREGROUND, Frame, MODULE_SIZE, Payload, QUIET_MODULES, REGION_SIZE,
};

use crate::oracle::digest::{DigestReader, ReadingError};

/// What `backstaff digest` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DigestCommand {
    /// Print the digest on a screenshot or in a payload as JSON.
    ///
    /// FILE is a PNG screenshot, in which the symbol may be anywhere, or the bytes of a payload; its content tells,
    /// not its name. Exits with 0 when a digest was decoded, 2 when the file cannot be read or is neither, 3 when
    /// the picture shows no symbol, 4 when there is one, or a payload, that is not a valid digest.
    #[command(after_help = "Example: backstaff digest decode screen.png | jq .frame_counter")]
    Decode {
        /// A PNG or the bytes of a payload; `-` reads standard input.
        file: PathBuf,
    },
    /// Make the payload, or the picture, of a digest given as JSON.
    ///
    /// FILE holds what `decode` prints. Hashes and records are taken as they are. Exits with 0 when it was written,
    /// 2 when a file cannot be read or written or is not JSON, 4 when it is not a valid digest.
    #[command(after_help = "Example: backstaff digest encode two_events.json --png two_events.png")]
    Encode {
        /// The JSON of a digest; `-` reads standard input.
        file: PathBuf,
        /// Write the symbol and its border as a picture of 180x180; `-` is standard output.
        #[arg(long, value_name = "OUT.png", conflicts_with = "output")]
        png: Option<PathBuf>,
        /// Write the payload here instead of to standard output; `-` is that, even on a terminal.
        #[arg(short, long, value_name = "OUT.bin")]
        output: Option<PathBuf>,
    },
}

impl DigestCommand {
    /// Runs it and returns the exit code. `is_terminal` says whether a person is looking at `out`.
    pub(crate) fn run(&self, out: &mut dyn Write, is_terminal: bool, err: &mut dyn Write) -> u8 {
        match self {
            Self::Decode { file } => decode(file, out, err),
            Self::Encode { file, png: Some(png), .. } => encode(file, &Target::Png(png), out, err),
            Self::Encode { file, output: Some(output), .. } => encode(file, &Target::Bytes(output), out, err),
            Self::Encode { .. } if is_terminal => complain(&DigestError::Terminal, err),
            Self::Encode { file, .. } => encode(file, &Target::Bytes(Path::new(STANDARD)), out, err),
        }
    }
}

/// What [`encode`] makes, and where it goes; `-` is standard output.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    /// The bytes of the payload.
    Bytes(&'a Path),
    /// The symbol with its border.
    Png(&'a Path),
}

/// Prints the digest in `file` as JSON and returns the exit code.
pub(crate) fn decode(file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    report(read_digest(file).and_then(|digest| print(&digest, out)), err)
}

/// Writes the digest, given as JSON in `file`, to its target and returns the exit code.
pub(crate) fn encode(file: &Path, target: &Target<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    report(read_json(file).and_then(|payload| write_payload(&payload, target, out)), err)
}

/// Longer than any screenshot is; a bigger file is not read to its end.
const MAX_PNG_BYTES: u64 = 64 << 20;
/// A payload has 106 bytes at most; broken ones may be longer.
const MAX_PAYLOAD_BYTES: u64 = 1 << 20;
const MAX_JSON_BYTES: u64 = 1 << 20;
/// The longest side of a picture, in pixels.
const MAX_SIDE: u32 = 16_384;
const MAX_PIXELS: u64 = 64 << 20;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const PAYLOAD_MAGIC: &[u8] = b"SXDG";
/// Stands for standard input and output.
const STANDARD: &str = "-";

fn read_digest(file: &Path) -> Result<Digest, DigestError> {
    let mut input = open(file)?;
    let mut bytes = Vec::new();
    read_up_to(&mut input, PNG_SIGNATURE.len() as u64, &mut bytes, file)?;
    if bytes.starts_with(PNG_SIGNATURE) {
        read_rest(&mut input, MAX_PNG_BYTES, &mut bytes, file)?;
        read_picture(file, &bytes)
    } else if bytes.starts_with(PAYLOAD_MAGIC) {
        read_rest(&mut input, MAX_PAYLOAD_BYTES, &mut bytes, file)?;
        visual_digest::decode(&bytes).map_err(|source| DigestError::Payload { file: file.to_owned(), source })
    } else {
        Err(DigestError::UnknownKind { file: file.to_owned(), found: bytes })
    }
}

fn read_picture(file: &Path, bytes: &[u8]) -> Result<Digest, DigestError> {
    let pixels = Picture::decode(bytes).map_err(|fault| fault.of(file))?;
    let frame = Frame::new(pixels.width, pixels.height, pixels.stride_bytes, &pixels.bgrx);
    let frame = frame.expect("a decoded picture holds all its rows");
    let reading = without_panic_messages(|| DigestReader::read(frame));
    match reading {
        Ok(reading) => Ok(reading.digest),
        Err(ReadingError::NoSymbol(_)) => Err(DigestError::NoSymbol { file: file.to_owned() }),
        Err(source) => Err(DigestError::NotADigest { file: file.to_owned(), source }),
    }
}

/// A decoded picture: four bytes a pixel as [`Frame`] wants them, rows without padding.
struct Picture {
    width: u32,
    height: u32,
    stride_bytes: usize,
    bgrx: Vec<u8>,
}

enum PictureFault {
    Png(png::DecodingError),
    TooLarge { width: u32, height: u32 },
}

impl PictureFault {
    fn of(self, file: &Path) -> DigestError {
        let file = file.to_owned();
        match self {
            Self::Png(source) => DigestError::Picture { file, source },
            Self::TooLarge { width, height } => DigestError::PictureTooLarge { file, width, height },
        }
    }
}

impl From<png::DecodingError> for PictureFault {
    fn from(error: png::DecodingError) -> Self {
        Self::Png(error)
    }
}

impl Picture {
    fn decode(bytes: &[u8]) -> Result<Self, PictureFault> {
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        // The size is known before anything is allocated for it.
        let header = decoder.read_header_info()?;
        let too_large = PictureFault::TooLarge { width: header.width, height: header.height };
        let pixels = u64::from(header.width) * u64::from(header.height);
        if header.width > MAX_SIDE || header.height > MAX_SIDE || pixels > MAX_PIXELS {
            return Err(too_large);
        }
        let mut reader = decoder.read_info()?;
        let Some(buffer_bytes) = reader.output_buffer_size() else { return Err(too_large) };
        let mut samples = vec![0; buffer_bytes];
        let image = reader.next_frame(&mut samples)?;
        let samples = samples.get(..image.buffer_size()).unwrap_or(&samples);
        let bgrx = to_bgrx(samples, image.color_type.samples());
        Ok(Self {
            width: image.width,
            height: image.height,
            stride_bytes: usize::try_from(image.width).unwrap_or(usize::MAX).saturating_mul(4),
            bgrx,
        })
    }
}

/// Drops the opacity; a grey is a colour of three equal parts.
fn to_bgrx(samples: &[u8], samples_per_pixel: usize) -> Vec<u8> {
    let pixels = samples.chunks_exact(samples_per_pixel);
    let mut bgrx = Vec::with_capacity(pixels.len() * 4);
    for pixel in pixels {
        match *pixel {
            [red, green, blue, ..] => bgrx.extend([blue, green, red, 0]),
            [grey, ..] => bgrx.extend([grey, grey, grey, 0]),
            [] => {}
        }
    }
    bgrx
}

fn print(digest: &Digest, out: &mut dyn Write) -> Result<(), DigestError> {
    let mut json = serde_json::to_string_pretty(digest).expect("names and numbers are always JSON");
    json.push('\n');
    write_out(out, json.as_bytes())
}

fn read_json(file: &Path) -> Result<Payload, DigestError> {
    let mut json = Vec::new();
    read_rest(&mut open(file)?, MAX_JSON_BYTES, &mut json, file)?;
    let file = || file.to_owned();
    let digest: Digest =
        serde_json::from_slice(&json).map_err(|source| DigestError::Json { file: file(), source })?;
    digest.encode().map_err(|source| DigestError::Encode { file: file(), source })
}

fn write_payload(payload: &Payload, target: &Target<'_>, out: &mut dyn Write) -> Result<(), DigestError> {
    let (file, bytes) = match target {
        Target::Bytes(file) => (file, payload.as_bytes().to_vec()),
        Target::Png(file) => (file, paint(payload)),
    };
    if **file == *STANDARD {
        return write_out(out, &bytes);
    }
    std::fs::write(file, bytes).map_err(|source| DigestError::Write { file: file.to_path_buf(), source })
}

/// The symbol with its border, as it stands on a screen.
fn paint(payload: &Payload) -> Vec<u8> {
    let symbol = Symbol::encode(payload);
    let module = |pixel: u32| (pixel / MODULE_SIZE).checked_sub(QUIET_MODULES);
    let mut rgb = Vec::new();
    for y in 0..REGION_SIZE {
        for x in 0..REGION_SIZE {
            let is_set = module(x).zip(module(y)).is_some_and(|(x, y)| symbol.is_set(x, y));
            rgb.extend(if is_set { FOREGROUND } else { [0; 3] });
        }
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, REGION_SIZE, REGION_SIZE);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&rgb));
    written.expect("a picture of this size in memory can be written");
    png
}

fn open(file: &Path) -> Result<Box<dyn Read>, DigestError> {
    if *file == *STANDARD {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(file) {
        Ok(input) => Ok(Box::new(input)),
        Err(source) => Err(DigestError::Read { file: file.to_owned(), source }),
    }
}

/// Appends what is left of `input`, unless that makes `bytes` longer than `limit`.
fn read_rest(input: &mut dyn Read, limit: u64, bytes: &mut Vec<u8>, file: &Path) -> Result<(), DigestError> {
    read_up_to(input, limit - bytes.len() as u64 + 1, bytes, file)?;
    if bytes.len() as u64 > limit {
        return Err(DigestError::FileTooLarge { file: file.to_owned(), limit });
    }
    Ok(())
}

fn read_up_to(input: &mut dyn Read, most: u64, bytes: &mut Vec<u8>, file: &Path) -> Result<(), DigestError> {
    let read = input.take(most).read_to_end(bytes);
    read.map_err(|source| DigestError::Read { file: file.to_owned(), source })?;
    Ok(())
}

fn write_out(out: &mut dyn Write, bytes: &[u8]) -> Result<(), DigestError> {
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|source| DigestError::Write { file: PathBuf::from(STANDARD), source })
}

/// Runs `f` on this thread without the words that a panic says before it is caught.
///
/// The search for a symbol catches the panics of its detector, but only a hook can keep them off the terminal.
fn without_panic_messages<T>(f: impl FnOnce() -> T) -> T {
    thread_local! {
        static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static INSTALL: Once = Once::new();
    // Never taken away again: a hook that comes and goes would race with that of another thread.
    INSTALL.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                loud(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = f();
    IS_QUIET.set(false);
    result
}

/// Why there is nothing to print or write. Each has its exit code and perhaps a hint.
#[derive(Debug, thiserror::Error)]
enum DigestError {
    #[error("read {file:?}")]
    Read { file: PathBuf, source: io::Error },
    #[error("{file:?} is larger than the limit of {limit} bytes for its kind")]
    FileTooLarge { file: PathBuf, limit: u64 },
    #[error("{file:?} is neither a PNG picture nor a payload: it begins with {found:02x?}")]
    UnknownKind { file: PathBuf, found: Vec<u8> },
    #[error("decode the picture {file:?}")]
    Picture { file: PathBuf, source: png::DecodingError },
    #[error(
        "the picture {file:?} has {width}x{height} pixels, limit is {MAX_SIDE} on a side and {MAX_PIXELS} in all"
    )]
    PictureTooLarge { file: PathBuf, width: u32, height: u32 },
    #[error("no QR symbol in the picture {file:?}")]
    NoSymbol { file: PathBuf },
    #[error("{file:?}")]
    NotADigest { file: PathBuf, source: ReadingError },
    #[error("{file:?} is not a digest")]
    Payload { file: PathBuf, source: DecodeError },
    #[error("{file:?} is not the JSON of a digest")]
    Json { file: PathBuf, source: serde_json::Error },
    #[error("encode {file:?}")]
    Encode { file: PathBuf, source: EncodeError },
    #[error("write {file:?}")]
    Write { file: PathBuf, source: io::Error },
    #[error("a payload is bytes, and standard output is a terminal")]
    Terminal,
}

impl DigestError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoSymbol { .. } => 3,
            Self::NotADigest { .. } | Self::Payload { .. } | Self::Encode { .. } => 4,
            Self::Json { source, .. } if source.is_data() => 4,
            Self::Read { .. }
            | Self::FileTooLarge { .. }
            | Self::UnknownKind { .. }
            | Self::Picture { .. }
            | Self::PictureTooLarge { .. }
            | Self::Json { .. }
            | Self::Write { .. }
            | Self::Terminal => 2,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownKind { .. } => {
                Some("save the screenshot as PNG; other kinds of picture are not read")
            }
            Self::NoSymbol { .. } => Some(
                "a digest is bright green on black, 4 pixels a module: take the picture neither scaled nor cropped",
            ),
            Self::Encode { source: EncodeError::TooLarge { .. }, .. } => {
                Some("leave out the oldest of `raw_records`, as a guest does")
            }
            Self::Json { source, .. } if source.is_data() => {
                Some("`backstaff digest decode` prints the shape that is wanted")
            }
            Self::Terminal => {
                Some("name a file with `-o OUT.bin` or `--png OUT.png`, or send it through a pipe")
            }
            _ => None,
        }
    }
}

fn report(result: Result<(), DigestError>, err: &mut dyn Write) -> u8 {
    result.map_or_else(|error| complain(&error, err), |()| 0)
}

/// Says what is wrong on one line, and what would help on another.
fn complain(error: &DigestError, err: &mut dyn Write) -> u8 {
    let mut line = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(line, ": {cause}");
        source = cause.source();
    }
    // A cause may quote the file.
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    // Where stderr is gone nobody is left to be told.
    let _ = write!(err, "{line}\n{hint}");
    error.exit_code()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;
    use visual_digest::{FOREGROUND, MAX_PAYLOAD, Payload, REGION_SIZE};

    use super::{DigestCommand, Target, decode, encode, paint};

    const TWO_EVENTS: &[u8] = include_bytes!("../../fixtures/digest/two_events.bin");
    const TWO_EVENTS_JSON: &str = include_str!("../../fixtures/digest/two_events.json");

    struct Outcome {
        code: u8,
        out: Vec<u8>,
        err: String,
    }

    impl Outcome {
        fn of(run: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> u8) -> Self {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = run(&mut out, &mut err);
            Self { code, out, err: String::from_utf8(err).unwrap() }
        }

        /// The code, and the one line that says why.
        fn refusal(&self) -> (u8, &str) {
            assert_eq!(self.out, b"");
            let (line, hint) = self.err.split_once('\n').unwrap();
            assert!(hint.is_empty() || hint.starts_with("hint: ") && hint.ends_with('\n'), "{hint:?}");
            assert!(hint.matches('\n').count() <= 1, "{hint:?}");
            (self.code, line.strip_prefix("error: ").unwrap())
        }
    }

    fn decode_bytes(bytes: &[u8]) -> Outcome {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, bytes).unwrap();
        Outcome::of(|out, err| decode(file.path(), out, err))
    }

    fn encode_json(json: &str) -> Outcome {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, json).unwrap();
        Outcome::of(|out, err| encode(file.path(), &Target::Bytes(Path::new("-")), out, err))
    }

    fn picture_of(payload: &[u8]) -> Vec<u8> {
        paint(&Payload::from_bytes(payload).unwrap())
    }

    /// A PNG with one byte a sample, or less where `depth` says so.
    fn png_of(colour: png::ColorType, depth: png::BitDepth, side: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == png::ColorType::Indexed {
            encoder.set_palette([[0; 3], FOREGROUND].concat());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    /// One pixel after the other: whether it is bright.
    fn bright_pixels() -> Vec<bool> {
        let bytes = picture_of(TWO_EVENTS);
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        rgb.chunks_exact(3).map(|pixel| pixel[1] > 0).collect()
    }

    #[test]
    fn payload_and_picture_print_the_published_json() {
        for bytes in [TWO_EVENTS.to_vec(), picture_of(TWO_EVENTS)] {
            let Outcome { code, out, err } = decode_bytes(&bytes);
            assert_eq!((code, String::from_utf8(out).unwrap().as_str(), &*err), (0, TWO_EVENTS_JSON, ""));
        }
    }

    #[test]
    fn the_json_becomes_the_bytes_it_came_from() {
        let Outcome { code, out, err } = encode_json(TWO_EVENTS_JSON);
        assert_eq!((code, &*out, &*err), (0, TWO_EVENTS, ""));
    }

    #[test]
    fn a_picture_is_written_that_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (json, picture) = (folder.path().join("a.json"), folder.path().join("a.png"));
        fs::write(&json, TWO_EVENTS_JSON).unwrap();
        let written = Outcome::of(|out, err| encode(&json, &Target::Png(&picture), out, err));
        assert_eq!((written.code, &*written.out, &*written.err), (0, &b""[..], ""));
        let read = Outcome::of(|out, err| decode(&picture, out, err));
        assert_eq!((read.code, &*read.out), (0, TWO_EVENTS_JSON.as_bytes()));
    }

    #[test]
    fn every_kind_of_png_is_read() {
        use png::{BitDepth, ColorType};
        let bright = bright_pixels();
        let samples = |bytes: fn(bool) -> Vec<u8>| bright.iter().flat_map(|b| bytes(*b)).collect::<Vec<_>>();
        let level = |bright| if bright { 0xFF } else { 0 };
        let bits: Vec<u8> = bright
            .chunks(REGION_SIZE as usize)
            .flat_map(|row| row.chunks(8))
            .map(|bits| bits.iter().zip([128, 64, 32, 16, 8, 4, 2, 1]).map(|(b, v)| u8::from(*b) * v).sum())
            .collect();
        let kinds = [
            (ColorType::Grayscale, BitDepth::One, bits.clone()),
            (ColorType::Grayscale, BitDepth::Eight, samples(|b| vec![if b { 0xFF } else { 0 }])),
            (ColorType::Grayscale, BitDepth::Sixteen, bright.iter().flat_map(|b| [level(*b), 0]).collect()),
            (
                ColorType::GrayscaleAlpha,
                BitDepth::Eight,
                bright.iter().flat_map(|b| [level(*b), 9]).collect(),
            ),
            (ColorType::Rgba, BitDepth::Eight, bright.iter().flat_map(|b| [0, level(*b), 0, 0]).collect()),
            (
                ColorType::Rgb,
                BitDepth::Sixteen,
                bright.iter().flat_map(|b| [0, 0, level(*b), 0, 0, 0]).collect(),
            ),
            (ColorType::Indexed, BitDepth::One, bits),
            (ColorType::Indexed, BitDepth::Eight, bright.iter().map(|b| u8::from(*b)).collect()),
        ];
        for (colour, depth, data) in kinds {
            let Outcome { code, out, err } = decode_bytes(&png_of(colour, depth, REGION_SIZE, &data));
            assert_eq!((code, &*err), (0, ""), "{colour:?} {depth:?}");
            assert_eq!(out, TWO_EVENTS_JSON.as_bytes(), "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let missing = Outcome::of(|out, err| decode(Path::new("no/such.png"), out, err));
        let (code, why) = missing.refusal();
        assert_eq!(code, 2);
        assert!(why.starts_with("read \"no/such.png\": No such file"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        let outcome = Outcome::of(|out, err| decode(folder.path(), out, err));
        assert_eq!(outcome.refusal().0, 2);
    }

    #[test]
    fn a_file_of_another_kind_is_no_picture() {
        for (bytes, begins) in
            [(&b""[..], "[]"), (b"\x89PN", "[89, 50, 4e]"), (b"P6 640 480 255", "[50, 36, 20")]
        {
            let outcome = decode_bytes(bytes);
            let (code, why) = outcome.refusal();
            assert_eq!(code, 2, "{why}");
            assert!(why.contains("neither a PNG picture nor a payload: it begins with ["), "{why}");
            assert!(why.contains(begins), "{why}");
        }
    }

    #[test]
    fn a_picture_without_a_symbol_has_no_qr() {
        let black = png_of(png::ColorType::Grayscale, png::BitDepth::Eight, 300, &vec![0; 300 * 300]);
        let outcome = decode_bytes(&black);
        let (code, why) = outcome.refusal();
        assert_eq!(code, 3);
        assert!(why.starts_with("no QR symbol in the picture "), "{why}");
    }

    #[test]
    fn a_symbol_that_is_something_else_is_not_a_digest() {
        let outcome =
            decode_bytes(&picture_of(b"a text long enough to be a digest, if only it were one of them!"));
        let (code, why) = outcome.refusal();
        assert_eq!(code, 4);
        assert!(why.contains("not a digest: payload begins with [61, 20, 74, 65]"), "{why}");
        let outcome = decode_bytes(b"SXDG\x01");
        let (code, why) = outcome.refusal();
        assert_eq!(code, 4);
        assert!(why.ends_with("is not a digest: payload too short: 5 bytes, the smallest has 62"), "{why}");
    }

    #[test]
    fn sizes_are_checked_before_anything_is_allocated() {
        for (width, height) in [(16_385, 1), (1, 16_385), (16_384, 4_097), (u32::MAX >> 1, u32::MAX >> 1)] {
            let mut bytes = Vec::new();
            let encoder = png::Encoder::new(&mut bytes, width, height);
            // Dropped before there are any pixels.
            drop(encoder.write_header().unwrap());
            let outcome = decode_bytes(&bytes);
            let (code, why) = outcome.refusal();
            assert_eq!(code, 2);
            assert!(why.contains(&format!("has {width}x{height} pixels, limit is 16384")), "{why}");
        }
        let mut payload = TWO_EVENTS.to_vec();
        payload.resize((1 << 20) + 1, 0);
        let outcome = decode_bytes(&payload);
        let (code, why) = outcome.refusal();
        assert_eq!(code, 2);
        assert!(why.ends_with("is larger than the limit of 1048576 bytes for its kind"), "{why}");
    }

    #[test]
    fn json_that_is_no_digest_is_told_from_what_is_no_json() {
        let too_much = TWO_EVENTS_JSON.replace(
            "\"unknown_records\": []",
            "\"unknown_records\": [{\"tag\": 9, \"value\": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}]",
        );
        let cases = [
            ("{", 2, "is not the JSON of a digest: EOF while parsing"),
            ("{}", 4, "is not the JSON of a digest: missing field `frame_counter`"),
            (
                &TWO_EVENTS_JSON.replace("\"keypress\": {", "\"key\\npress\": {"),
                4,
                "unknown variant `key press`",
            ),
            (&too_much, 4, "the digest takes 107 bytes, a symbol holds 106"),
        ];
        for (json, wanted, says) in cases {
            let outcome = encode_json(json);
            let (code, why) = outcome.refusal();
            assert_eq!(code, wanted, "{why}");
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn bytes_go_to_a_terminal_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        fs::write(&file, TWO_EVENTS_JSON).unwrap();
        let encode = |output: Option<&str>| DigestCommand::Encode {
            file: file.clone(),
            png: None,
            output: output.map(PathBuf::from),
        };
        let outcome = Outcome::of(|out, err| encode(None).run(out, true, err));
        assert_eq!(outcome.refusal(), (2, "a payload is bytes, and standard output is a terminal"));
        let asked = Outcome::of(|out, err| encode(Some("-")).run(out, true, err));
        assert_eq!((asked.code, &*asked.out), (0, TWO_EVENTS));
        let piped = Outcome::of(|out, err| encode(None).run(out, false, err));
        assert_eq!((piped.code, &*piped.out), (0, TWO_EVENTS));
    }

    #[test]
    fn output_that_nobody_takes_is_an_error() {
        let mut full = [0; 3];
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, TWO_EVENTS).unwrap();
        let outcome = Outcome::of(|_, err| decode(file.path(), &mut &mut full[..], err));
        let (code, why) = outcome.refusal();
        assert_eq!(code, 2);
        assert!(why.starts_with("write \"-\": "), "{why}");
        let outcome = Outcome::of(|out, err| {
            encode(Path::new("/dev/null"), &Target::Png(Path::new("/dev/null/x.png")), out, err)
        });
        assert_eq!(outcome.refusal().0, 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_after_a_signature_make_it_panic(
            is_picture: bool,
            tail in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = if is_picture { super::PNG_SIGNATURE } else { super::PAYLOAD_MAGIC }.to_vec();
            bytes.extend(tail);
            let outcome = decode_bytes(&bytes);
            if is_picture {
                prop_assert_eq!(outcome.refusal().0, 2);
            } else {
                prop_assert!(outcome.code == 0 || outcome.refusal().0 == 4);
            }
        }

        #[test]
        fn a_damaged_picture_is_refused_or_still_read(at in 8_usize.., flip in 1_u8.., is_cut: bool) {
            let mut bytes = picture_of(TWO_EVENTS);
            let at = at % (bytes.len() - 8) + 8;
            if is_cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            let outcome = decode_bytes(&bytes);
            if outcome.code == 0 {
                prop_assert_eq!(outcome.out, TWO_EVENTS_JSON.as_bytes());
            } else {
                prop_assert_eq!(outcome.refusal().0, 2);
            }
        }

        #[test]
        fn any_payload_survives_being_a_picture(bytes in proptest::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD)) {
            let of_picture = decode_bytes(&picture_of(&bytes));
            match visual_digest::decode(&bytes) {
                Ok(_) => prop_assert_eq!(of_picture.code, 0),
                Err(fault) => prop_assert!(of_picture.refusal().1.ends_with(&fault.to_string())),
            }
        }

        #[test]
        fn noise_on_a_screen_is_refused_or_read_and_nothing_else(seed: u64, percent in 1_u64..=100) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let bright = bright_pixels();
            let pixels: Vec<u8> = bright
                .iter()
                .map(|bright| if next() % 100 < percent { u8::from(next() % 2 == 0) } else { u8::from(*bright) })
                .map(|bright| bright * 255)
                .collect();
            let bytes = png_of(png::ColorType::Grayscale, png::BitDepth::Eight, REGION_SIZE, &pixels);
            let outcome = decode_bytes(&bytes);
            prop_assert!(outcome.code == 0 || matches!(outcome.refusal().0, 3 | 4), "{}", outcome.err);
        }
    }
}
