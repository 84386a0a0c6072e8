//! Follows the file into which QEMU writes what the guest says on its serial port, ours or somebody else's.
//!
//! Lines come out the moment they are in the file (inotify, no polling loop), and when QEMU has ended the file is
//! read to its end once more, so nothing is lost. A file of somebody else's may be cut short or replaced meanwhile. It
//! gives lines no meaning.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::readable::watch_readable;
use super::serial_lines::LineSplitter;

/// How long an unfinished line must rest before it counts as a prompt.
const PROMPT_REST: Duration = Duration::from_millis(100);
/// Where the system grants no more inotify instances: how often to look instead.
const POLL: Duration = Duration::from_millis(10);
/// How often to look whether somebody else's file was cut short or replaced.
const TURNED_OVER: Duration = Duration::from_millis(200);
/// Lines that may wait for a slow reader; beyond it they wait in the file.
const BACKLOG: usize = 1_024;
const READ_BYTES: usize = 64 * 1_024;

/// Text from the serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialLine {
    /// Without line end, escape sequences and control characters.
    pub text: String,
    /// When it was read.
    pub at: Instant,
}

/// What the serial port had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialEvent {
    /// A line that has ended, or that QEMU's end cut off. Lines beyond 64 KiB come in pieces.
    Line(SerialLine),
    /// A line that has begun and does not go on: a prompt. If it does go on, or ends, its whole text comes
    /// again, so this is for waiting, not for the record.
    Prompt(SerialLine),
}

/// Why the file could not be followed.
#[derive(Debug, thiserror::Error)]
#[error("follow serial log {path:?}")]
pub struct SerialError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Starts to follow `path`, which is made if need be: call this before QEMU starts.
///
/// Must be called within a Tokio runtime. Close the circle with [`SerialFollower::until`].
///
/// # Errors
///
/// When the file cannot be made or opened.
pub fn follow(path: &Path) -> Result<SerialFollower, SerialError> {
    let failed = |source| SerialError { path: path.to_owned(), source };
    File::options().append(true).create(true).open(path).map_err(failed)?;
    let file = File::open(path).map_err(failed)?;
    Ok(SerialFollower::new(path, file, 0, false))
}

/// Starts to follow what is written to somebody else's file from now on. What is in it already is left alone.
///
/// A file that is cut short is read from its beginning, and so is one that takes its place under the same name.
/// Must be called within a Tokio runtime.
///
/// # Errors
///
/// When the file is not there, cannot be read, or is no regular file.
pub fn follow_from_end(path: &Path) -> Result<SerialFollower, SerialError> {
    let opened = open_foreign(path).and_then(|mut file| Ok((file.seek(SeekFrom::End(0))?, file)));
    let (end, file) = opened.map_err(|source| SerialError { path: path.to_owned(), source })?;
    Ok(SerialFollower::new(path, file, end, true))
}

/// Opens a regular file; a pipe of that name would keep us waiting for its writer.
fn open_foreign(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// A file about to be followed.
#[derive(Debug)]
pub struct SerialFollower {
    path: PathBuf,
    file: File,
    /// `None` when the system has no inotify instance left for us.
    changes: Option<AsyncFd<OwnedFd>>,
    splitter: LineSplitter,
    last_read: Instant,
    /// How much of the file was read.
    position: u64,
    /// Whether the file is somebody else's, who may cut it short or put another one in its place.
    is_foreign: bool,
}

impl SerialFollower {
    fn new(path: &Path, file: File, position: u64, is_foreign: bool) -> Self {
        let changes = watch_changes(path).ok();
        let (splitter, last_read) = (LineSplitter::default(), Instant::now());
        Self { path: path.to_owned(), file, changes, splitter, last_read, position, is_foreign }
    }

    /// Delivers what is written until `end`, for one the end of a process, and everything was read.
    ///
    /// The channel closes after the last line. A reading error closes it, too, and is what the task returns.
    pub fn until<E>(
        self,
        end: E,
    ) -> (mpsc::Receiver<SerialEvent>, tokio::task::JoinHandle<Result<(), SerialError>>)
    where
        E: IntoFuture<Output: Send>,
        E::IntoFuture: Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (receiver, tokio::spawn(self.run(end.into_future(), sender)))
    }

    async fn run(
        mut self,
        end: impl Future + Send,
        sender: mpsc::Sender<SerialEvent>,
    ) -> Result<(), SerialError> {
        let mut end = std::pin::pin!(end);
        let mut prompted = None;
        let mut has_ended = false;
        loop {
            if self.deliver(&sender).await?.is_break() {
                return Ok(());
            }
            if has_ended {
                break;
            }
            let unfinished = self.splitter.unfinished();
            let may_be_prompt = unfinished.is_some() && unfinished != prompted;
            let rested = tokio::time::Instant::from_std(self.last_read + PROMPT_REST);
            // Cancel safety: every arm only observes; bytes are read above.
            tokio::select! {
                () = changed(self.changes.as_ref()) => {}
                // What was written before the end is in the file by now, and is read once more.
                _ = &mut end => has_ended = true,
                // Nothing tells that another file has taken the name.
                () = tokio::time::sleep(TURNED_OVER), if self.is_foreign => {}
                () = tokio::time::sleep_until(rested), if may_be_prompt => {
                    prompted = unfinished;
                    let line = SerialLine { text: prompted.clone().unwrap_or_default(), at: self.last_read };
                    if sender.send(SerialEvent::Prompt(line)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        self.finish_line(&sender).await;
        Ok(())
    }

    /// Delivers the line that has begun, if there is one, as it is.
    async fn finish_line(&mut self, sender: &mpsc::Sender<SerialEvent>) {
        if let Some(text) = self.splitter.finish() {
            let _ = sender.send(SerialEvent::Line(SerialLine { text, at: self.last_read })).await;
        }
    }

    /// Looks whether the file was cut short or another one has its name by now, and begins with that from its start.
    /// Returns whether it does.
    fn turn_over(&mut self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        if ours.len() < self.position {
            self.position = self.file.seek(SeekFrom::Start(0))?;
            return Ok(true);
        }
        // Between the old file and the new one there is none for a moment.
        let Ok(there) = std::fs::metadata(&self.path) else { return Ok(false) };
        if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
            return Ok(false);
        }
        self.file = match open_foreign(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        self.position = 0;
        self.changes = watch_changes(&self.path).ok();
        Ok(true)
    }

    /// Reads to the end of the file and sends the lines; breaks when nobody listens any more.
    async fn deliver(&mut self, sender: &mpsc::Sender<SerialEvent>) -> Result<ControlFlow<()>, SerialError> {
        let mut bytes = vec![0; READ_BYTES];
        let failed = |path: &Path, source| SerialError { path: path.to_owned(), source };
        loop {
            let read = match self.file.read(&mut bytes) {
                Ok(0) if self.is_foreign => {
                    if !self.turn_over().map_err(|source| failed(&self.path, source))? {
                        return Ok(ControlFlow::Continue(()));
                    }
                    self.finish_line(sender).await;
                    continue;
                }
                Ok(0) => return Ok(ControlFlow::Continue(())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(failed(&self.path, source)),
            };
            self.position = self.position.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            let at = Instant::now();
            self.last_read = at;
            let mut lines = Vec::new();
            self.splitter.handle_bytes(&bytes[..read], |text| lines.push(SerialLine { text, at }));
            for line in lines {
                if sender.send(SerialEvent::Line(line)).await.is_err() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}

fn watch_changes(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let inotify = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    rustix::fs::inotify::add_watch(&inotify, path, WatchFlags::MODIFY)?;
    watch_readable(inotify)
}

/// Waits until the file may have grown. Cancel safe.
async fn changed(changes: Option<&AsyncFd<OwnedFd>>) {
    let Some(changes) = changes else { return tokio::time::sleep(POLL).await };
    let Ok(mut ready) = changes.readable().await else { return tokio::time::sleep(POLL).await };
    // What the notices say does not matter, only that they are taken before the file is read.
    let mut notices = [0; 4_096];
    while rustix::io::read(changes.get_ref(), &mut notices).is_ok_and(|length| length > 0) {}
    ready.clear_ready();
}

#[cfg(test)]
mod tests {
    use super::{SerialEvent, follow};
    use crate::lane::process::{QemuProcess, SpawnOptions};

    #[tokio::test]
    async fn without_inotify_lines_still_come() {
        let folder = tempfile::tempdir().unwrap();
        let mut follower = follow(&folder.path().join("serial.log")).unwrap();
        follower.changes = None;
        let argv =
            ["/bin/sh", "-c", "printf 'one\\nlogin: ' > serial.log; exec sleep 600"].map(str::to_owned);
        let options = SpawnOptions { argv: &argv, folder: folder.path(), log: "qemu.log" };
        let process = QemuProcess::spawn(options).await.unwrap();
        let (mut events, _task) = follower.until(process.exit_watch());
        assert!(matches!(events.recv().await, Some(SerialEvent::Line(line)) if line.text == "one"));
        assert!(matches!(events.recv().await, Some(SerialEvent::Prompt(line)) if line.text == "login: "));
        process.kill().unwrap();
        assert!(matches!(events.recv().await, Some(SerialEvent::Line(line)) if line.text == "login: "));
        assert_eq!(events.recv().await, None);
    }
}
