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

/// Loads a journal from disk. A last line cut short, as a kill leaves it, is left out.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path) -> Result<Vec<Event>, LoadError> {
    let mut lines = BufReader::new(File::open(path)?).lines().enumerate().peekable();
    let header = match lines.next() {
        Some((_, line)) => serde_json::from_str::<Header>(&line?).map_err(|_| LoadError::NotAJournal)?,
        None => return Err(LoadError::NotAJournal),
    };
    if header.format != FORMAT {
        return Err(LoadError::NotAJournal);
    }
    if header.version > VERSION {
        return Err(LoadError::Newer { found: header.version });
    }
    let mut events = Vec::new();
    while let Some((index, line)) = lines.next() {
        match serde_json::from_str(&line?) {
            Ok(event) => events.push(event),
            Err(error) if error.is_eof() && lines.peek().is_none() => break,
            Err(source) => return Err(LoadError::Line { line: index + 1, source }),
        }
    }
    Ok(events)
}
