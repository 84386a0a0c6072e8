//! Follows the file into which QEMU writes what the guest says on its serial port.
//!
//! Lines come out the moment they are in the file (inotify, no polling loop), and when QEMU has ended the file is
//! read to its end once more, so nothing is lost. It gives lines no meaning.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::process::ExitWatch;
use super::readable::watch_readable;
use super::serial_lines::LineSplitter;

/// How long an unfinished line must rest before it counts as a prompt.
const PROMPT_REST: Duration = Duration::from_millis(100);
/// Where the system grants no more inotify instances: how often to look instead.
const POLL: Duration = Duration::from_millis(10);
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
    let changes = watch_changes(path).ok();
    let path = path.to_owned();
    Ok(SerialFollower { path, file, changes, splitter: LineSplitter::default(), last_read: Instant::now() })
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
}

impl SerialFollower {
    /// Delivers what is written until the process behind `exit` has ended and everything was read.
    ///
    /// The channel closes after the last line. A reading error closes it, too, and is what the task returns.
    pub fn until(
        self,
        exit: ExitWatch,
    ) -> (mpsc::Receiver<SerialEvent>, tokio::task::JoinHandle<Result<(), SerialError>>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (receiver, tokio::spawn(self.run(exit, sender)))
    }

    async fn run(
        mut self,
        mut exit: ExitWatch,
        sender: mpsc::Sender<SerialEvent>,
    ) -> Result<(), SerialError> {
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
                _ = exit.wait() => has_ended = true,
                () = tokio::time::sleep_until(rested), if may_be_prompt => {
                    prompted = unfinished;
                    let line = SerialLine { text: prompted.clone().unwrap_or_default(), at: self.last_read };
                    if sender.send(SerialEvent::Prompt(line)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if let Some(text) = self.splitter.finish() {
            let _ = sender.send(SerialEvent::Line(SerialLine { text, at: self.last_read })).await;
        }
        Ok(())
    }

    /// Reads to the end of the file and sends the lines; breaks when nobody listens any more.
    async fn deliver(&mut self, sender: &mpsc::Sender<SerialEvent>) -> Result<ControlFlow<()>, SerialError> {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = match self.file.read(&mut bytes) {
                Ok(0) => return Ok(ControlFlow::Continue(())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(SerialError { path: self.path.clone(), source }),
            };
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
