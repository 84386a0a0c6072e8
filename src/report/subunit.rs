//! subunit version 2: packets that `stestr`, `subunit2junitxml` and their relatives read. Packets stay below 4 MiB, and
//! files come in pieces.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::evidence::{Evidence, FileNote};
use super::story::{Class, Entry, Story, details};
use super::text::{clean, cut, one_line, shorten};
use crate::journal::run::Verdict;

/// Writes the story as subunit v2.
///
/// # Errors
/// The writer fails.
pub fn render(story: &Story<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    story.entries.iter().try_for_each(|entry| Test::of(entry, story).write(entry, out))
}

/// What packets of one test have in common.
struct Test {
    id: String,
    route: Option<String>,
    tags: Vec<String>,
    began_at: Timestamp,
}

impl Test {
    fn of(entry: &Entry<'_>, story: &Story<'_>) -> Self {
        let note = entry.note();
        let line = |text: &str| shorten(&one_line(text), LINE_BYTES);
        let mut tags: Vec<String> =
            note.map(|note| note.tags.iter().map(|tag| line(tag)).collect()).unwrap_or_default();
        tags.push(format!("verdict:{}", entry.outcome.name()));
        Self {
            id: line(&entry.id),
            route: note.map(|note| line(&note.lane)).filter(|lane| !lane.is_empty()),
            tags,
            began_at: entry.began_at().unwrap_or(story.run.began_at),
        }
    }

    fn write(&self, entry: &Entry<'_>, out: &mut dyn Write) -> std::io::Result<()> {
        let class = entry.outcome.class();
        if !entry.attempts().is_empty() {
            self.packet(Status::InProgress, self.began_at, None, out)?;
        }
        if let Some(failure) = &entry.failure {
            // Readers of skipped tests look for this name.
            let name = if class == Class::Skipped { "reason" } else { "failure" };
            self.text(name, &cut(&details(failure), MESSAGE_BYTES), out)?;
        }
        for attempt in entry.attempts() {
            let ended = attempt.ended.as_ref();
            if let Some(failure) = ended.and_then(|ended| ended.failure.as_ref())
                && entry.failure.as_deref() != Some(failure)
            {
                let name = format!("attempt-{}", attempt.number);
                self.text(&name, &cut(&details(failure), MESSAGE_BYTES), out)?;
            }
            let has_passed = ended.is_some_and(|it| matches!(it.verdict, Verdict::Passed | Verdict::Skipped));
            for file in Evidence::load_or_say(&attempt.folder).files {
                // Screens of what went well are many, and nobody looks at them here.
                if !has_passed || file.name.is_some() {
                    self.file(&file, attempt.number, out)?;
                }
            }
        }
        let status = match class {
            Class::Passed => Status::Success,
            Class::Failure | Class::Error => Status::Fail,
            Class::Skipped => Status::Skip,
        };
        let took = SignedDuration::try_from(entry.took()).unwrap_or(SignedDuration::ZERO);
        let ended_at = self.began_at.checked_add(took).unwrap_or(self.began_at);
        self.packet(status, ended_at, None, out)
    }

    fn text(&self, name: &str, text: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let text = clean(text);
        let piece = Piece { name, mime: "text/plain;charset=utf8", bytes: text.as_bytes(), is_last: true };
        self.packet(Status::None, self.began_at, Some(piece), out)
    }

    fn file(&self, file: &FileNote, attempt: u32, out: &mut dyn Write) -> std::io::Result<()> {
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = shorten(&one_line(file.name.as_ref().unwrap_or(&name)), LINE_BYTES);
        let name = format!("attempt-{attempt}/{name}");
        let mut source = match File::open(&file.path) {
            Ok(source) => source,
            Err(error) => {
                return self.text(&name, &format!("{} cannot be read: {error}", file.path.display()), out);
            }
        };
        let mime = mime_of(&file.path);
        // A packet ahead of what was read: only the last one says so.
        let mut bytes = read_piece(&mut source)?;
        loop {
            let next = read_piece(&mut source)?;
            let is_last = next.is_empty();
            let piece = Piece { name: &name, mime, bytes: &bytes, is_last };
            self.packet(Status::None, self.began_at, Some(piece), out)?;
            if is_last {
                return Ok(());
            }
            bytes = next;
        }
    }

    fn packet(
        &self,
        status: Status,
        at: Timestamp,
        piece: Option<Piece<'_>>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let mut flags = VERSION | HAS_ID | HAS_TIME | IS_RUNNABLE | status as u16;
        let mut body = Vec::new();
        // Before 1970 and after 2106 there is no time in this format.
        body.extend(u32::try_from(at.as_second()).unwrap_or_default().to_be_bytes());
        number(u32::try_from(at.subsec_nanosecond()).unwrap_or_default(), &mut body);
        string(&self.id, &mut body);
        if !self.tags.is_empty() {
            flags |= HAS_TAGS;
            number(size(self.tags.len()), &mut body);
            self.tags.iter().for_each(|tag| string(tag, &mut body));
        }
        if let Some(piece) = piece {
            flags |= HAS_MIME | HAS_FILE | if piece.is_last { IS_END_OF_FILE } else { 0 };
            string(piece.mime, &mut body);
            string(piece.name, &mut body);
            number(size(piece.bytes.len()), &mut body);
            body.extend(piece.bytes);
        }
        if let Some(route) = &self.route {
            flags |= HAS_ROUTE;
            string(route, &mut body);
        }
        out.write_all(&packet(flags, &body))
    }
}

/// A part of a file.
struct Piece<'a> {
    name: &'a str,
    mime: &'a str,
    bytes: &'a [u8],
    is_last: bool,
}

/// What happened to a test; the lowest three bits of the flags.
#[derive(Debug, Clone, Copy)]
enum Status {
    None = 0,
    InProgress = 2,
    Success = 3,
    Skip = 5,
    Fail = 6,
}

const VERSION: u16 = 0x2000;
const HAS_ID: u16 = 0x0800;
const HAS_ROUTE: u16 = 0x0400;
const HAS_TIME: u16 = 0x0200;
const IS_RUNNABLE: u16 = 0x0100;
const HAS_TAGS: u16 = 0x0080;
const HAS_FILE: u16 = 0x0040;
const HAS_MIME: u16 = 0x0020;
const IS_END_OF_FILE: u16 = 0x0010;
const SIGNATURE: u8 = 0xB3;

/// A packet: signature, flags, its whole length, the body, and a checksum over all before it.
fn packet(flags: u16, body: &[u8]) -> Vec<u8> {
    let fixed = 1 + 2 + body.len() + 4;
    // The length counts itself.
    let length = (1..=3).map(|own| fixed + own).find(|&length| length < 1 << (8 * (length - fixed) - 2));
    let length = size(length.expect("pieces and names are limited to less than 4 MiB together"));
    let mut packet = Vec::with_capacity(fixed + 3);
    packet.push(SIGNATURE);
    packet.extend(flags.to_be_bytes());
    number(length, &mut packet);
    packet.extend(body);
    let checksum = crc32fast::hash(&packet);
    packet.extend(checksum.to_be_bytes());
    packet
}

/// A number in as few bytes as it takes; the upper two bits of the first say how many follow.
fn number(value: u32, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let (skip, prefix) = match value {
        0..0x40 => (3, 0x00),
        0x40..0x4000 => (2, 0x40),
        0x4000..0x40_0000 => (1, 0x80),
        _ => (0, 0xC0),
    };
    out.push(bytes[skip] | prefix);
    out.extend(&bytes[skip + 1..]);
}

fn string(text: &str, out: &mut Vec<u8>) {
    number(size(text.len()), out);
    out.extend(text.as_bytes());
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("names and pieces are limited")
}

fn read_piece(source: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Read::by_ref(source).take(PIECE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn mime_of(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => "image/png",
        Some("txt" | "log") => "text/plain;charset=utf8",
        Some("json" | "ndjson") => "application/json",
        _ => "application/octet-stream",
    }
}

const PIECE_BYTES: u64 = 1 << 20;
/// Of an id, a tag or a file's name.
const LINE_BYTES: usize = 4_096;
const MESSAGE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_few_bytes_as_they_need() {
        let encoded = |value| {
            let mut bytes = Vec::new();
            number(value, &mut bytes);
            bytes
        };
        assert_eq!(encoded(0x3F), [0x3F]);
        assert_eq!(encoded(0x40), [0x40, 0x40]);
        assert_eq!(encoded(0x3FFF), [0x7F, 0xFF]);
        assert_eq!(encoded(0x4000), [0x80, 0x40, 0x00]);
        assert_eq!(encoded(0x3F_FFFF), [0xBF, 0xFF, 0xFF]);
        assert_eq!(encoded(999_999_999), [0xFB, 0x9A, 0xC9, 0xFF]);
    }

    #[test]
    fn a_packets_length_counts_itself() {
        for body in [0, 54, 55, 56, 57, 16_373, 16_374, 16_375, 16_376, 1 << 20] {
            let packet = packet(VERSION, &vec![0; body]);
            let width = usize::from(packet[3] >> 6) + 1;
            let mut length = usize::from(packet[3] & 0x3F);
            packet[4..3 + width].iter().for_each(|byte| length = length << 8 | usize::from(*byte));
            assert_eq!((length, packet.len()), (packet.len(), 3 + width + body + 4), "{body}");
        }
    }
}
