//! One channel's task: the only place where bytes move between a socket and a [`Peer`].

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::fault::{Faults, Gate};
use super::peer::{Peer, PeerError};
use super::{ServerEvent, SessionId};
use crate::spice::driver::wait_until;
use crate::spice::transport::Stream;
use crate::spice::wire::WireError;
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::link::ChannelType;

/// How a channel ended.
#[derive(Debug, Error)]
pub(super) enum ChannelEnd {
    #[error("closed by this side")]
    Cancelled,
    #[error("closed by the client")]
    Eof,
    #[error("socket failed")]
    Io(#[from] io::Error),
    #[error("message {serial}")]
    Frame { serial: u64, source: WireError },
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("the client has read nothing for {0:?}")]
    Stalled(Duration),
    #[error("cut on purpose")]
    Cut,
}

/// What a channel's task is connected to.
pub(super) struct Wiring {
    pub(super) stream: Stream,
    pub(super) form: HeaderForm,
    pub(super) session: SessionId,
    pub(super) channel: ChannelType,
    /// Changes when there may be something new to say.
    pub(super) news: watch::Receiver<u64>,
    /// What is to go wrong.
    pub(super) faults: watch::Receiver<Faults>,
    pub(super) events: mpsc::Sender<ServerEvent>,
    /// Ends the channel at once.
    pub(super) cancel: CancellationToken,
    /// Ends it when everything has been said.
    pub(super) finish: CancellationToken,
}

/// Moves bytes until the channel ends.
pub(super) async fn drive(wiring: Wiring, mut peer: Box<dyn Peer>) -> ChannelEnd {
    let Wiring { stream, form, session, channel, mut news, mut faults, events, cancel, finish } = wiring;
    let (mut reader, mut writer) = split(stream);
    let mut inbox = Inbox { form, bytes: Vec::new(), serial: 0 };
    let (mut outbox, mut gate) = (Outbox::default(), Gate::default());
    // What was cut or malformed before concerned others.
    let mut before = faults.borrow().against(channel);
    let end = loop {
        let trouble = faults.borrow_and_update().against(channel);
        if trouble.cuts != before.cuts {
            break ChannelEnd::Cut;
        }
        (before.malformed..trouble.malformed).for_each(|_| peer.malform());
        before = trouble;
        let now = Instant::now();
        let peers_now = gate.set(trouble, !outbox.pending().is_empty(), now);
        if !gate.is_stalled() {
            if let Err(error) = peer.handle_timeout(peers_now) {
                break error.into();
            }
            outbox.fill(&mut *peer, gate.room(Outbox::MOST_BYTES), peers_now, now);
        }
        if let Some(stalled) = outbox.stalled_at()
            && peers_now >= stalled
        {
            break ChannelEnd::Stalled(WRITE_PATIENCE);
        }
        let is_finishing = finish.is_cancelled();
        if is_finishing && outbox.pending().is_empty() && peer.is_idle() {
            // The client has taken everything when it closes its end, too.
            let _ = writer.shutdown().await;
            let _ = cancel.run_until_cancelled(tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
            break ChannelEnd::Cancelled;
        }
        let peers_due = peer.poll_timeout().into_iter().chain(outbox.stalled_at()).min();
        let due = peers_due.and_then(|due| gate.real_time(due));
        let (ready, open_at) = outbox.ready(&gate, now);
        let due = due.into_iter().chain(open_at).min();
        // Cancel safety: a read or write that loses the race has moved no bytes, and what is half there is in the boxes.
        tokio::select! {
            () = cancel.cancelled() => break ChannelEnd::Cancelled,
            () = finish.cancelled(), if !is_finishing => {}
            () = wait_until(due.map(Into::into)) => {}
            // An owner that is gone has nothing new to show; it cancels.
            Ok(()) = news.changed() => {}
            Ok(()) = faults.changed() => {}
            // A client that asks and does not take the answers is asked for no more.
            read = reader.read_buf(inbox.room()), if !outbox.is_full() && !gate.is_stalled() => {
                match read {
                    Ok(0) => break ChannelEnd::Eof,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break ChannelEnd::Eof,
                    Err(error) => break error.into(),
                }
                let result = inbox.feed(&mut *peer, peers_now);
                if let Some(end) = deliver(&mut *peer, session, &events, &cancel).await {
                    break end;
                }
                if let Err(end) = result {
                    break end;
                }
            }
            written = writer.write(ready), if !ready.is_empty() => match written {
                Ok(bytes) => {
                    outbox.advance(bytes);
                    gate.pass(bytes, Instant::now());
                }
                Err(error) if is_hang_up(&error) => break ChannelEnd::Eof,
                Err(error) => break error.into(),
            },
        }
    };
    let _ = writer.shutdown().await;
    peer.close();
    let _ = deliver(&mut *peer, session, &events, &cancel).await;
    end
}

/// Hands on what the client did. Nothing more is read from it before its owner has room for that.
async fn deliver(
    peer: &mut dyn Peer,
    session: SessionId,
    events: &mpsc::Sender<ServerEvent>,
    cancel: &CancellationToken,
) -> Option<ChannelEnd> {
    while let Some(input) = peer.poll_event() {
        let event = ServerEvent::Input { session, input };
        let sending = events.send(event);
        // An owner that does not listen wants no events.
        if cancel.run_until_cancelled(sending).await.is_none() {
            return Some(ChannelEnd::Cancelled);
        }
    }
    None
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Bytes received and not yet handled.
struct Inbox {
    form: HeaderForm,
    bytes: Vec<u8>,
    serial: u64,
}

impl Inbox {
    /// Room for one read; what a message claims to need is made available as it arrives.
    const READ_BYTES: usize = 4 * 1024;

    fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(Self::READ_BYTES);
        &mut self.bytes
    }

    /// Hands all complete messages to the peer.
    fn feed(&mut self, peer: &mut dyn Peer, now: Instant) -> Result<(), ChannelEnd> {
        let mut rest = self.bytes.as_slice();
        loop {
            let split = Frame::split(self.form, rest, peer.message_bytes());
            let serial = self.serial + 1;
            match split.map_err(|source| ChannelEnd::Frame { serial, source })? {
                Some((message, behind)) => {
                    self.serial = serial;
                    peer.handle_message(now, message)?;
                    rest = behind;
                }
                None => break,
            }
        }
        let handled = self.bytes.len() - rest.len();
        self.bytes.drain(..handled);
        Ok(())
    }
}

/// Bytes to be sent. Never much more than [`Outbox::MOST_BYTES`]: what there is no room for is not made.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where frames end, and when they were made.
    frames: VecDeque<(usize, Instant)>,
    /// Since when the client has taken nothing, by the peer's clock.
    waiting_since: Option<Instant>,
}

impl Outbox {
    /// The last frame may go beyond it.
    const MOST_BYTES: usize = 512 * 1024;
    /// Of memory, while there is nothing to send.
    const KEPT_BYTES: usize = 32 * 1024;

    fn fill(&mut self, peer: &mut dyn Peer, room: usize, peers_now: Instant, now: Instant) {
        while self.pending().len() < room
            && let Some(frame) = peer.poll_transmit(peers_now)
        {
            if self.sent > 0 {
                self.bytes.drain(..self.sent);
                self.frames.iter_mut().for_each(|(end, _)| *end -= self.sent);
                self.sent = 0;
            }
            self.bytes.extend_from_slice(&frame);
            self.frames.push_back((self.bytes.len(), now));
        }
        if self.pending().is_empty() {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(peers_now);
        }
    }

    fn is_full(&self) -> bool {
        self.pending().len() >= Self::MOST_BYTES
    }

    fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// What the gate lets out, or when it will let something out.
    fn ready(&self, gate: &Gate, now: Instant) -> (&[u8], Option<Instant>) {
        let is_open = |made: Instant| gate.is_open(made, now);
        // As a rule there is nothing to hold back.
        let newest = self.frames.back().filter(|(_, made)| is_open(*made));
        let open = newest.or_else(|| self.frames.iter().take_while(|(_, made)| is_open(*made)).last());
        match (open, self.frames.front()) {
            (Some((end, _)), _) => {
                let bytes = gate.portion(end.saturating_sub(self.sent));
                (self.pending().get(..bytes).unwrap_or_default(), None)
            }
            (None, Some((_, made))) if !gate.is_stalled() => (&[], Some(gate.due(*made))),
            (None, _) => (&[], None),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        self.waiting_since = None;
        while self.frames.pop_front_if(|(end, _)| *end <= self.sent).is_some() {}
        if self.pending().is_empty() {
            self.bytes.clear();
            // A whole screen is sent once; what follows is small.
            self.bytes.shrink_to(Self::KEPT_BYTES);
            self.sent = 0;
        }
    }

    fn stalled_at(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + WRITE_PATIENCE)
    }
}

/// For a client that reads nothing.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
