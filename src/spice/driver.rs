//! One channel's task: the only place where bytes move between a socket and a [`Machine`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Drain;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::channel::{ChannelError, Hold, Machine};
use super::pace::{Look, Pace};
use super::progress::Progress;
use super::recorder::Tap;
use super::transport::Stream;
use super::wire::header::{Frame, HeaderForm, MiniHeader};
use super::wire::link::ChannelId;
use super::wire::{Field, Reader, WireError};

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
    #[error("message {serial} is not complete after {after:?}, {received} of its bytes have come")]
    Slow { serial: u64, after: Duration, received: usize },
    #[error("the server has read nothing for {0:?}")]
    Stalled(Duration),
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
    /// Whose it is.
    pub(super) channel: ChannelId,
    /// What the channels of its session have in common.
    pub(super) shared: Arc<Shared>,
}

/// What the channels of a session have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Who looks at what is drawn.
    pub(super) pace: Pace,
    /// How far each channel is.
    pub(super) progress: Progress,
}

/// How long a cancelled channel waits for the server to take it in.
const ESTABLISH_GRACE: Duration = Duration::from_secs(2);

/// Moves bytes until the channel ends. A cancelled channel ends once it is established. `sink` gets the events of each
/// batch, after the batch's last message has been applied and the machine is unlocked; where it returns a
/// [`Look`], nothing more is read before that.
pub(super) async fn drive<M: Machine>(
    stream: Stream,
    machine: &Mutex<M>,
    intake: Intake,
    requests: mpsc::UnboundedReceiver<Request<M>>,
    sink: impl FnMut(Drain<'_, M::Event>) -> Option<Look>,
    cancel: CancellationToken,
) -> ChannelEnd {
    let (channel, shared) = (intake.channel, Arc::clone(&intake.shared));
    let inbox = Inbox::new(intake);
    let end = drive_patiently(stream, machine, inbox, Outbox::default(), requests, sink, cancel).await;
    shared.progress.close(channel);
    end
}

async fn drive_patiently<M: Machine>(
    stream: Stream,
    machine: &Mutex<M>,
    mut inbox: Inbox,
    mut outbox: Outbox,
    mut requests: mpsc::UnboundedReceiver<Request<M>>,
    mut sink: impl FnMut(Drain<'_, M::Event>) -> Option<Look>,
    cancel: CancellationToken,
) -> ChannelEnd {
    let (mut reader, mut writer) = split(stream);
    outbox.collect(&mut *lock(machine));
    let mut last_moment: Option<tokio::time::Instant> = None;
    let mut events = Vec::new();
    let shared = Arc::clone(&inbox.intake.shared);
    let mut look: Option<Look> = None;
    loop {
        // A server that does not take the answers is not listened to until it does.
        let may_go_on = !outbox.is_full() && look.is_none();
        let may_read = may_go_on && !inbox.has_more;
        let may_feed = may_go_on && inbox.has_more;
        let is_held = inbox.hold_due.is_some();
        let late = inbox.late_at().into_iter().chain(outbox.stalled_at()).min();
        // Cancel safety: a read or write that loses the race has moved no bytes, a received request is never
        // dropped, and partial messages live in the boxes.
        tokio::select! {
            () = cancel.cancelled(), if last_moment.is_none() => {
                last_moment = Some(tokio::time::Instant::now() + ESTABLISH_GRACE);
            }
            () = wait_until(last_moment) => return ChannelEnd::Cancelled,
            () = wait_until(late) => {
                let now = tokio::time::Instant::now();
                return match outbox.stalled_at().filter(|late| now >= *late) {
                    Some(_) => ChannelEnd::Stalled(outbox.patience),
                    None => inbox.slow(),
                };
            }
            () = shared.pace.looked_at(look), if look.is_some() => look = None,
            read = reader.read_buf(inbox.room()), if may_read => match read {
                Ok(0) => return ChannelEnd::Eof,
                Ok(_) => {
                    match take_in(machine, &mut inbox, &mut outbox, &mut events, &mut sink) {
                        Ok(next) => look = next,
                        Err(end) => return end,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return ChannelEnd::Eof,
                Err(error) => return error.into(),
            },
            // What takes long is done in pieces, between which others get a turn; what waits for others gives them time.
            () = turn(is_held), if may_feed => {
                match take_in(machine, &mut inbox, &mut outbox, &mut events, &mut sink) {
                    Ok(next) => look = next,
                    Err(end) => return end,
                }
            }
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

/// Handles what was received, or as much of it as may be handled at once.
fn take_in<M: Machine>(
    machine: &Mutex<M>,
    inbox: &mut Inbox,
    outbox: &mut Outbox,
    events: &mut Vec<M::Event>,
    sink: &mut impl FnMut(Drain<'_, M::Event>) -> Option<Look>,
) -> Result<Option<Look>, ChannelEnd> {
    let result = {
        let mut machine = lock(machine);
        let result = inbox.feed(&mut *machine);
        outbox.collect(&mut *machine);
        events.extend(std::iter::from_fn(|| machine.poll_event()));
        result
    };
    let look = if events.is_empty() { None } else { sink(events.drain(..)) };
    result.map(|()| look)
}

/// Resolves when the next piece of what is there already is due.
async fn turn(is_held: bool) {
    if is_held {
        tokio::time::sleep(HOLD_CHECK).await;
    } else {
        tokio::task::yield_now().await;
    }
}

/// Bytes received and not yet handled.
struct Inbox {
    bytes: Vec<u8>,
    intake: Intake,
    serial: u64,
    /// Whether there may be a whole message, which was left for later.
    has_more: bool,
    /// For the rest of a small message.
    patience: Duration,
    /// Since when the last message lacks bytes, and how long it may.
    unfinished: Option<(tokio::time::Instant, Duration)>,
    /// For what comes on other channels.
    patience_for_others: Duration,
    /// Until when the last message waits for other channels.
    hold_due: Option<tokio::time::Instant>,
}

impl Inbox {
    /// Room for one read; what a message claims to need is made available as it arrives.
    const READ_BYTES: usize = 256 * 1024;

    fn new(intake: Intake) -> Self {
        Self {
            bytes: Vec::new(),
            intake,
            serial: 0,
            has_more: false,
            patience: PATIENCE,
            unfinished: None,
            patience_for_others: PATIENCE_FOR_OTHERS,
            hold_due: None,
        }
    }

    fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(Self::READ_BYTES);
        &mut self.bytes
    }

    /// Hands complete messages to the machine, all of them unless that takes long.
    fn feed<M: Machine>(&mut self, machine: &mut M) -> Result<(), ChannelEnd> {
        let now = Instant::now();
        let mut handled = 0;
        self.has_more = false;
        loop {
            if !self.may_go_on(machine, now)? {
                self.has_more = true;
                break;
            }
            let rest = self.bytes.get(handled..).unwrap_or_default();
            let serial = self.serial + 1;
            let split = Frame::split(HeaderForm::Mini, rest, self.intake.message_limit);
            let split = split.map_err(|source| ChannelEnd::Frame { serial, source })?;
            let Some((message, behind)) = split else { break };
            // Before it is handled: a message that ends the channel belongs into the recording most of all.
            if let Some(tap) = &self.intake.tap {
                tap.message(now, message);
            }
            machine.handle_message(now, message)?;
            self.serial = serial;
            handled = self.bytes.len() - behind.len();
            self.unfinished = None;
            if now.elapsed() > TURN && handled < self.bytes.len() {
                self.has_more = true;
                break;
            }
        }
        self.bytes.drain(..handled);
        let waiting = u64::from(self.hold_due.is_some());
        self.intake.shared.progress.reach(self.intake.channel, self.serial - waiting);
        if !self.has_more && !self.bytes.is_empty() {
            let patience = self.patience + Duration::from_millis(self.announced() / SLOWEST_BYTES_PER_MS);
            self.unfinished.get_or_insert((tokio::time::Instant::now(), patience)).1 = patience;
        }
        Ok(())
    }

    /// Whether nothing waits for other channels, or not any more.
    fn may_go_on<M: Machine>(&mut self, machine: &mut M, now: Instant) -> Result<bool, ChannelEnd> {
        if let Some(hold) = machine.hold() {
            let patience = self.patience_for_others;
            let due = *self.hold_due.get_or_insert_with(|| tokio::time::Instant::now() + patience);
            let is_late = tokio::time::Instant::now() >= due;
            let (is_met, gives_up) = match hold {
                // Whether it has come shows when it is looked for.
                Hold::Image => (true, is_late),
                Hold::Channels(waits) => {
                    let is_met = self.intake.shared.progress.has_reached(self.intake.channel, waits);
                    (is_met, is_late && !is_met)
                }
            };
            if is_met || gives_up {
                machine.resume(now, gives_up)?;
            }
        }
        let is_free = machine.hold().is_none();
        if is_free {
            self.hold_due = None;
        }
        Ok(is_free)
    }

    /// Bytes of the body that is under way, if its header is there.
    fn announced(&self) -> u64 {
        let header = MiniHeader::decode(&mut Reader::new(&self.bytes));
        header.map_or(0, |header| header.size.into())
    }

    /// When a message that lacks bytes has lacked them for too long.
    fn late_at(&self) -> Option<tokio::time::Instant> {
        self.unfinished.map(|(since, patience)| since + patience)
    }

    fn slow(&self) -> ChannelEnd {
        let after = self.unfinished.map_or(self.patience, |(_, patience)| patience);
        ChannelEnd::Slow { serial: self.serial + 1, after, received: self.bytes.len() }
    }
}

/// How long messages are handled before others get a turn.
const TURN: Duration = Duration::from_millis(20);
/// How often it is looked whether what others have to do first is done.
const HOLD_CHECK: Duration = Duration::from_millis(2);
/// For what others have to do first (spec spice.md, section 3.6).
const PATIENCE_FOR_OTHERS: Duration = Duration::from_secs(5);
/// For the rest of a message, and for a server that reads nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Large messages may take longer in proportion, as on a line of half a megabit per second.
const SLOWEST_BYTES_PER_MS: u64 = 64;

/// Bytes to be sent, and who wants to know when.
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes that were sent or dropped before those in `bytes`.
    base: u64,
    flushes: VecDeque<(u64, oneshot::Sender<()>)>,
    is_closed: bool,
    /// For a server that takes nothing.
    patience: Duration,
    /// Since when it has taken nothing.
    waiting_since: Option<tokio::time::Instant>,
}

impl Default for Outbox {
    fn default() -> Self {
        let (bytes, flushes) = (Vec::new(), VecDeque::new());
        Self { bytes, sent: 0, base: 0, flushes, is_closed: false, patience: PATIENCE, waiting_since: None }
    }
}

impl Outbox {
    /// What there is to answer may go beyond it, then nothing more is read.
    const MOST_BYTES: usize = 512 * 1024;

    fn collect<M: Machine>(&mut self, machine: &mut M) {
        // A server that always takes something and never all of it costs no more than what is left.
        if self.sent >= Self::MOST_BYTES {
            self.base = self.position(self.sent);
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        machine.transmit_into(&mut self.bytes);
        if self.is_closed {
            self.bytes.clear();
        } else if !self.pending().is_empty() {
            self.waiting_since.get_or_insert_with(tokio::time::Instant::now);
        }
    }

    fn is_full(&self) -> bool {
        self.pending().len() >= Self::MOST_BYTES
    }

    fn stalled_at(&self) -> Option<tokio::time::Instant> {
        self.waiting_since.map(|since| since + self.patience)
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
            self.waiting_since = None;
        } else if bytes > 0 {
            self.waiting_since = Some(tokio::time::Instant::now());
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;
    use crate::spice::channel::MainChannel;
    use crate::spice::wire::base::Ping;
    use crate::spice::wire::bytes::Rest;
    use crate::spice::wire::header::mini_frame;

    const SHORT: Duration = Duration::from_millis(300);

    fn intake(message_limit: u32) -> Intake {
        Intake { message_limit, tap: None, channel: ChannelId::MAIN, shared: Arc::default() }
    }

    /// How a main channel ends when `server` is at the other end.
    async fn end_with<F: Future<Output = ()>>(server: impl FnOnce(UnixStream) -> F) -> ChannelEnd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::new(intake(1 << 20));
        inbox.patience = SHORT;
        let outbox = Outbox { patience: SHORT, ..Outbox::default() };
        let machine = Mutex::new(MainChannel::new());
        let (_, requests) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let sink = |_: Drain<'_, _>| None;
        let driven = drive_patiently(Stream::Unix(ours), &machine, inbox, outbox, requests, sink, cancel);
        tokio::select! {
            end = driven => end,
            () = server(theirs) => panic!("the server went first"),
        }
    }

    async fn for_ever() {
        std::future::pending().await
    }

    fn ping() -> Vec<u8> {
        mini_frame(&Ping { id: 1, timestamp: 2, data: Rest(b"1234") })
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_in_a_message_is_left() {
        for length in [1, 6, 9] {
            let end = end_with(async |mut server| {
                server.write_all(&ping()).await.unwrap();
                server.write_all(&ping()[..length]).await.unwrap();
                for_ever().await;
            });
            let end = end.await;
            let ChannelEnd::Slow { serial: 2, received, .. } = end else { panic!("{end:?}") };
            assert_eq!(received, length);
        }
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_not_enough() {
        let end = end_with(async |mut server| {
            for byte in ping().iter().cycle() {
                server.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(SHORT / 4).await;
            }
        });
        let end = end.await;
        assert!(matches!(end, ChannelEnd::Slow { serial: 1, .. }), "{end:?}");
    }

    #[tokio::test]
    async fn a_server_that_asks_and_never_reads_is_left_before_much_is_kept_for_it() {
        let end = end_with(async |mut server| {
            loop {
                server.write_all(&ping()).await.unwrap();
            }
        });
        let end = end.await;
        assert!(matches!(end, ChannelEnd::Stalled(SHORT)), "{end:?}");
    }

    #[test]
    fn a_large_message_may_take_longer() {
        let mut inbox = Inbox::new(intake(1 << 24));
        inbox.bytes = [&[4, 0][..], &(6_400_000_u32).to_le_bytes(), &[1]].concat();
        inbox.feed(&mut MainChannel::new()).unwrap();
        assert_eq!(inbox.unfinished.map(|(_, patience)| patience), Some(PATIENCE + Duration::from_secs(100)));
        inbox.bytes.truncate(6);
        inbox.bytes[2..].fill(0);
        inbox.bytes.resize(6 + 12, 0);
        inbox.bytes[2] = 12;
        inbox.feed(&mut MainChannel::new()).unwrap();
        assert_eq!(inbox.late_at(), None);
    }
}
