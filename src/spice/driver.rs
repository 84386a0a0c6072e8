//! One channel's task: the only place where bytes move between a socket and a [`Machine`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::channel::{ChannelError, Machine};
use super::recorder::Tap;
use super::transport::Stream;
use super::wire::WireError;
use super::wire::header::{Frame, HeaderForm};

/// How a channel ended.
#[derive(Debug, Error)]
pub(super) enum ChannelEnd {
    #[error("closed by this side")]
    Cancelled,
    #[error("closed by the server")]
    Eof,
    #[error("socket failed: {0}")]
    Io(#[from] io::Error),
    #[error("message {serial}: {source}")]
    Frame { serial: u64, source: WireError },
    #[error("{}", chain(.0))]
    Channel(#[from] ChannelError),
}

/// What the session asks of a channel's task.
pub(super) enum Request<M> {
    /// Change the machine; what it wants to send is sent.
    Change(Box<dyn FnOnce(&mut M) + Send>),
    /// Say when everything asked for before has been written to the socket.
    Flush(oneshot::Sender<()>),
}

/// Locks a machine. A panic elsewhere leaves it readable: its pixels are still evidence.
pub(super) fn lock<M>(machine: &Mutex<M>) -> MutexGuard<'_, M> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to do with what arrives.
pub(super) struct Intake {
    /// Bytes of one message body.
    pub(super) message_limit: u32,
    /// Where it is recorded.
    pub(super) tap: Option<Tap>,
}

/// How long a cancelled channel waits for the server to take it in.
const ESTABLISH_GRACE: Duration = Duration::from_secs(2);

/// Moves bytes until the channel ends. A cancelled channel ends once it is established. `sink` gets the events of each batch, after the batch's last message
/// has been applied and the machine is unlocked.
pub(super) async fn drive<M: Machine>(
    stream: Stream,
    machine: &Mutex<M>,
    intake: Intake,
    mut requests: mpsc::UnboundedReceiver<Request<M>>,
    mut sink: impl FnMut(Vec<M::Event>),
    cancel: CancellationToken,
) -> ChannelEnd {
    let (mut reader, mut writer) = split(stream);
    let mut inbox = Inbox::new(intake);
    let mut outbox = Outbox::default();
    outbox.collect(&mut *lock(machine));
    let mut last_moment: Option<tokio::time::Instant> = None;
    loop {
        // Cancel safety: a read or write that loses the race has moved no bytes, a received request is never
        // dropped, and partial messages live in the boxes.
        tokio::select! {
            () = cancel.cancelled(), if last_moment.is_none() => {
                last_moment = Some(tokio::time::Instant::now() + ESTABLISH_GRACE);
            }
            () = wait_until(last_moment) => return ChannelEnd::Cancelled,
            read = reader.read_buf(inbox.room()) => match read {
                Ok(0) => return ChannelEnd::Eof,
                Ok(_) => {
                    let (events, result) = {
                        let mut machine = lock(machine);
                        let result = inbox.feed(&mut *machine);
                        outbox.collect(&mut *machine);
                        (std::iter::from_fn(|| machine.poll_event()).collect::<Vec<_>>(), result)
                    };
                    if !events.is_empty() {
                        sink(events);
                    }
                    if let Err(end) = result {
                        return end;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return ChannelEnd::Eof,
                Err(error) => return error.into(),
            },
            written = writer.write(outbox.pending()), if !outbox.pending().is_empty() => match written {
                Ok(bytes) => outbox.advance(bytes),
                // The server is gone; the reader says so once it has read what came before.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => outbox.close(),
                Err(error) => return error.into(),
            },
            Some(request) = requests.recv() => match request {
                Request::Change(change) => {
                    let mut machine = lock(machine);
                    change(&mut *machine);
                    outbox.collect(&mut *machine);
                }
                Request::Flush(done) => outbox.flush(done),
            },
        }
        if last_moment.is_some() && lock(machine).is_established() {
            return ChannelEnd::Cancelled;
        }
    }
}

/// Bytes received and not yet handled.
struct Inbox {
    bytes: Vec<u8>,
    intake: Intake,
    serial: u64,
}

impl Inbox {
    /// Room for one read; what a message claims to need is made available as it arrives.
    const READ_BYTES: usize = 256 * 1024;

    fn new(intake: Intake) -> Self {
        Self { bytes: Vec::new(), intake, serial: 0 }
    }

    fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(Self::READ_BYTES);
        &mut self.bytes
    }

    /// Hands all complete messages to the machine.
    fn feed<M: Machine>(&mut self, machine: &mut M) -> Result<(), ChannelEnd> {
        let now = Instant::now();
        let mut rest = self.bytes.as_slice();
        loop {
            self.serial += 1;
            let split = Frame::split(HeaderForm::Mini, rest, self.intake.message_limit);
            match split.map_err(|source| ChannelEnd::Frame { serial: self.serial, source })? {
                Some((message, behind)) => {
                    // Before it is handled: a message that ends the channel belongs into the recording most of all.
                    if let Some(tap) = &self.intake.tap {
                        tap.message(now, message);
                    }
                    machine.handle_message(now, message)?;
                    rest = behind;
                }
                None => break,
            }
        }
        self.serial -= 1;
        let handled = self.bytes.len() - rest.len();
        self.bytes.drain(..handled);
        Ok(())
    }
}

/// Bytes to be sent, and who wants to know when.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes that were sent or dropped before those in `bytes`.
    base: u64,
    flushes: VecDeque<(u64, oneshot::Sender<()>)>,
    is_closed: bool,
}

impl Outbox {
    fn collect<M: Machine>(&mut self, machine: &mut M) {
        machine.transmit_into(&mut self.bytes);
        if self.is_closed {
            self.bytes.clear();
        }
    }

    fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn position(&self, bytes: usize) -> u64 {
        self.base.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.bytes.len() {
            self.base = self.position(self.sent);
            self.bytes.clear();
            self.sent = 0;
        }
        let written = self.position(self.sent);
        while let Some((_, done)) = self.flushes.pop_front_if(|(wanted, _)| *wanted <= written) {
            // The asker may have stopped waiting.
            let _ = done.send(());
        }
    }

    fn flush(&mut self, done: oneshot::Sender<()>) {
        if self.is_closed {
            return;
        }
        self.flushes.push_back((self.position(self.bytes.len()), done));
        self.advance(0);
    }

    /// Nothing more can be sent; those who wait learn it by their dropped senders.
    fn close(&mut self) {
        *self = Self { is_closed: true, ..Self::default() };
    }
}

/// Resolves at `due`; never without one.
pub(super) async fn wait_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// An error and its sources, as in `outer: inner: cause`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
