//! The journal on disk: a header line `{"format":"backstaff-journal","version":1}`, then one event a line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Event;

/// The name in the header line.
pub const FORMAT: &str = "backstaff-journal";
/// The major version written; newer ones are refused.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// Writes events on a thread of its own, so that producers never wait for the disk.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Arc<Event>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// `on_failure` is told, once, why the file cannot be written any more.
    pub(super) fn create(
        path: &Path,
        on_failure: impl FnOnce(String) + Send + 'static,
    ) -> std::io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, &Header { format: FORMAT.to_owned(), version: VERSION })?;
        file.write_all(b"\n")?;
        file.flush()?;
        let (queue, events) = mpsc::channel();
        let path = path.to_owned();
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            if let Err(error) = write_all(&mut file, &events) {
                on_failure(format!("the journal {} cannot be written: {error}", path.display()));
            }
        })?;
        Ok(Self { queue, thread })
    }

    pub(super) fn write(&self, event: Arc<Event>) {
        // A writer that failed has said so; the journal in memory goes on.
        let _ = self.queue.send(event);
    }

    pub(super) fn finish(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

fn write_all(file: &mut BufWriter<File>, events: &mpsc::Receiver<Arc<Event>>) -> std::io::Result<()> {
    loop {
        let event = match events.recv_timeout(LOOK_FOR_ROOM) {
            Ok(event) => event,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                look_for_room(file.get_ref())?;
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        write_one(file, &event)?;
        while let Ok(event) = events.try_recv() {
            write_one(file, &event)?;
        }
        // What happened so far must be on disk when the process is killed a moment later.
        file.flush()?;
    }
}

/// A machine that waits for something writes nothing, and on a full disk what it waits for may never come: its serial
/// log and its disks are full, too.
fn look_for_room(file: &File) -> std::io::Result<()> {
    let room = rustix::fs::fstatvfs(file)?;
    let is_full = room.f_bfree == 0 || room.f_bavail == 0 && !rustix::process::geteuid().is_root();
    // Some file systems have no size at all.
    if is_full && room.f_blocks > 0 {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    Ok(())
}

/// While there is nothing to write.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

fn write_one(file: &mut BufWriter<File>, event: &Event) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, event)?;
    file.write_all(b"\n")
}

/// Why a journal could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("read the journal")]
    Io(#[from] std::io::Error),
    /// The first line is not a header of this format.
    #[error("line 1 is not a `{FORMAT}` header")]
    NotAJournal,
    /// The journal was written by a newer program.
    #[error("journal version {found}, this program reads up to {VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// A line is not an event.
    #[error("line {line}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// Loads a journal from disk. A last line cut short, as a kill leaves it, and events of names that are not known are left
/// out.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path) -> Result<Vec<Event>, LoadError> {
    let mut events = Vec::new();
    scan(path, |_| true, |event| events.push(event))?;
    Ok(events)
}

/// Reads a journal from disk one event after the other, as [`load`] does. Events whose names `is_wanted` turns down are
/// not even parsed: a reader of few of many needs little time.
///
/// # Errors
/// See [`LoadError`].
pub fn scan(
    path: &Path,
    mut is_wanted: impl FnMut(&str) -> bool,
    mut take: impl FnMut(Event),
) -> Result<(), LoadError> {
    let mut lines = BufReader::new(File::open(path)?).split(b'\n').enumerate().peekable();
    let header = lines.next().map(|(_, line)| line).transpose()?.ok_or(LoadError::NotAJournal)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| LoadError::NotAJournal)?;
    if header.format != FORMAT {
        return Err(LoadError::NotAJournal);
    }
    if header.version > VERSION {
        return Err(LoadError::Newer { found: header.version });
    }
    while let Some((index, line)) = lines.next() {
        let line = line?;
        if name_of(&line).is_some_and(|name| !is_wanted(name)) {
            continue;
        }
        let source = match serde_json::from_slice(&line) {
            Ok(event) => {
                take(event);
                continue;
            }
            Err(error) => error,
        };
        // Cut in the middle of a character it is not even UTF-8; a whole line ends its object.
        let is_cut = lines.peek().is_none() && !line.ends_with(b"}");
        if is_cut || source.is_eof() && lines.peek().is_none() {
            break;
        }
        if !is_unknown_event(&line, &source) {
            return Err(LoadError::Line { line: index + 1, source });
        }
    }
    Ok(())
}

/// The event's name, where a line of ours has it; nothing where only a parser can tell.
fn name_of(line: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"event\":\"";
    // Quotes within a text have backslashes before them, so this is a key.
    let head = &line[..line.len().min(NAME_WITHIN)];
    let at = head.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let length = head[at..].iter().position(|&byte| byte == b'"')?;
    std::str::from_utf8(&head[at..at + length]).ok()
}

/// Bytes of a line in which its event's name is looked for.
const NAME_WITHIN: usize = 256;

/// Whether this is an event of a later version: in order, only of a name or a stream that is not ours.
fn is_unknown_event(line: &[u8], error: &serde_json::Error) -> bool {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(rename = "seq")]
        _seq: u64,
        #[serde(rename = "t_ns")]
        _t_ns: u64,
        #[serde(rename = "event")]
        _event: String,
    }
    error.is_data()
        && error.to_string().starts_with("unknown variant")
        && serde_json::from_slice::<Outline>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"format\":\"backstaff-journal\",\"version\":1}\n";

    fn line(seq: u64, rest: &str) -> String {
        format!("{{\"seq\":{seq},\"t_ns\":1,\"wall\":\"2026-01-01T00:00:00Z\",{rest}}}\n")
    }

    fn log(seq: u64) -> String {
        line(seq, "\"source\":\"script\",\"event\":\"log\",\"data\":{\"message\":\"größer\"}")
    }

    fn load_bytes(bytes: &[u8]) -> Result<Vec<u64>, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        std::fs::write(&path, bytes).unwrap();
        Ok(load(&path)?.iter().map(|event| event.seq).collect())
    }

    #[test]
    fn events_of_later_versions_are_left_out() {
        let tomorrow = line(2, "\"source\":\"script\",\"event\":\"of_tomorrow\",\"data\":{\"a\":[1]}");
        let bare = line(3, "\"source\":\"script\",\"event\":\"of_tomorrow\"");
        let elsewhere = line(4, "\"source\":\"camera\",\"event\":\"log\",\"data\":{\"message\":\"a\"}");
        let text = [HEADER, &log(1), &tomorrow, &bare, &elsewhere, &log(5)].concat();
        assert_eq!(load_bytes(text.as_bytes()).unwrap(), [1, 5]);
    }

    #[test]
    fn a_last_line_may_be_cut_anywhere_also_within_a_character() {
        let whole = [HEADER, &log(1)].concat();
        let text = [whole.as_str(), &log(2)].concat();
        for cut in whole.len()..text.len() - 2 {
            assert_eq!(load_bytes(&text.as_bytes()[..cut]).unwrap(), [1], "cut at {cut}");
        }
        assert_eq!(load_bytes(&text.as_bytes()[..text.len() - 1]).unwrap(), [1, 2]);
    }

    #[test]
    fn damage_elsewhere_is_named_by_its_line() {
        let cut = [HEADER, "{\"seq\":1,\"t_ns\n", &log(2)].concat();
        assert!(matches!(load_bytes(cut.as_bytes()), Err(LoadError::Line { line: 2, .. })));
        let wrong = line(2, "\"source\":\"script\",\"event\":\"log\",\"data\":{\"message\":7}");
        let text = [HEADER, &log(1), &wrong].concat();
        assert!(matches!(load_bytes(text.as_bytes()), Err(LoadError::Line { line: 3, .. })));
        assert!(matches!(load_bytes(b""), Err(LoadError::NotAJournal)));
        let newer = "{\"format\":\"backstaff-journal\",\"version\":2}\n";
        assert!(matches!(load_bytes(newer.as_bytes()), Err(LoadError::Newer { found: 2 })));
    }
}
