//! QEMU's control wire: greeting, negotiation, commands answered by id, events in between.
//!
//! One task owns the connection. When it ends, every waiting command is answered with the reason; a guest that
//! powers off while `quit` is under way is nothing unusual. It knows no commands beyond the negotiation.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::unix_socket::{self, ConnectError};

/// The longest line QEMU may send, in bytes. The whole schema of QEMU 9 takes about 200 KiB.
const LINE_LIMIT: usize = 16 * 1_024 * 1_024;
/// How many events wait for a slow reader before the oldest are dropped, and counted, for it.
const EVENT_BACKLOG: usize = 1_024;
/// Between two tries to write into a full socket.
const RETRY: Duration = Duration::from_millis(1);

/// Something QEMU tells without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct QmpEvent {
    /// Such as `STOP`.
    pub name: String,
    /// Its details; empty where it has none.
    pub data: Map<String, Value>,
    /// QEMU's clock when it happened, in microseconds since 1970, if it knew.
    pub timestamp_us: Option<i64>,
}

/// Where events come out. Reading too slowly is reported as
/// [`Lagged`](broadcast::error::RecvError::Lagged) with the number of events lost.
pub type QmpEvents = broadcast::Receiver<QmpEvent>;

/// Why a command has no answer, or not the wanted one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// QEMU refused the command.
    #[error("qmp {command}: {class}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class.
        class: String,
        /// QEMU's words.
        description: String,
    },
    /// No answer in time.
    #[error("qmp {command}: no answer within {after:?}")]
    Timeout {
        /// The command, or `greeting`.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended before there was an answer.
    #[error("qmp {command}: {reason}")]
    Ended {
        /// The command, or `greeting`.
        command: String,
        /// How the connection ended.
        reason: QmpEnd,
    },
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpEnd {
    /// QEMU closed it.
    #[error("connection closed by QEMU")]
    Eof,
    /// Nobody on our side needs it any more.
    #[error("connection closed by us")]
    Closed,
    /// A line does not end.
    #[error("line longer than {LINE_LIMIT} bytes (stream offset {offset_bytes})")]
    LineTooLong {
        /// Where the line starts.
        offset_bytes: u64,
    },
    /// A line is no QMP message.
    #[error("not a QMP message: {what} (stream offset {offset_bytes})")]
    Malformed {
        /// What is wrong with it.
        what: String,
        /// Where the line starts.
        offset_bytes: u64,
    },
    /// The system reported an error.
    #[error("connection failed: {0}")]
    Io(io::ErrorKind),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum QmpConnectError {
    /// The socket could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The other end is not a QMP server that is ready to talk.
    #[error(transparent)]
    Negotiate(#[from] QmpError),
}

/// A cheap handle on a QMP connection; the connection closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct QmpClient {
    requests: mpsc::Sender<Request>,
    events: broadcast::WeakSender<QmpEvent>,
    /// Whether file descriptors can travel on this connection.
    passes_descriptors: bool,
    closing: CancellationToken,
}

impl QmpClient {
    /// Connects to socket `name` in `folder` and negotiates. `deadline` bounds all of it.
    ///
    /// The events returned miss nothing that QEMU reported on this connection.
    ///
    /// # Errors
    ///
    /// When the socket does not come up in time or does not speak QMP.
    pub async fn connect(
        folder: &Path,
        name: &str,
        deadline: Duration,
    ) -> Result<(Self, QmpEvents), QmpConnectError> {
        let started = tokio::time::Instant::now();
        let stream = unix_socket::connect(folder, name, deadline).await?;
        let rest = deadline.saturating_sub(started.elapsed());
        // A second descriptor of the same socket, for what a stream of bytes cannot carry.
        let socket = stream.as_fd().try_clone_to_owned().ok();
        Ok(Self::negotiate_within(stream, socket, rest).await?)
    }

    /// Negotiates on a connected stream within `deadline`.
    ///
    /// # Errors
    ///
    /// When the other end does not speak QMP or takes too long.
    pub async fn negotiate<S>(stream: S, deadline: Duration) -> Result<(Self, QmpEvents), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::negotiate_within(stream, None, deadline).await
    }

    async fn negotiate_within<S>(
        stream: S,
        socket: Option<OwnedFd>,
        deadline: Duration,
    ) -> Result<(Self, QmpEvents), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let timed_out = |_| QmpError::Timeout { command: "greeting".to_owned(), after: deadline };
        tokio::time::timeout(deadline, Self::negotiate_unbounded(stream, socket, deadline))
            .await
            .map_err(timed_out)?
    }

    async fn negotiate_unbounded<S>(
        stream: S,
        socket: Option<OwnedFd>,
        deadline: Duration,
    ) -> Result<(Self, QmpEvents), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let passes_descriptors = socket.is_some();
        let mut wire = Wire { stream, socket, buffer: Vec::new(), scanned: 0, offset_bytes: 0 };
        let ended = |reason| QmpError::Ended { command: "greeting".to_owned(), reason };
        let mut greeting = wire.message().await.map_err(ended)?;
        while greeting.contains_key("event") {
            // QEMU tells what happens while it has not yet noticed that somebody new is there.
            greeting = wire.message().await.map_err(ended)?;
        }
        if !greeting.contains_key("QMP") {
            return Err(ended(wire.malformed("no greeting")));
        }
        let (event_sender, events) = broadcast::channel(EVENT_BACKLOG);
        let (requests, inbox) = mpsc::channel(16);
        let closing = CancellationToken::new();
        let client =
            Self { requests, events: event_sender.downgrade(), passes_descriptors, closing: closing.clone() };
        let connection =
            Connection { wire, inbox, events: event_sender, waiting: BTreeMap::new(), last_id: 0, closing };
        tokio::spawn(connection.run());
        client.execute("qmp_capabilities", Map::new(), deadline).await?;
        Ok((client, events))
    }

    /// Runs a command and returns what it returns. Other commands may be under way at the same time.
    ///
    /// Cancel safe in that a dropped call leaves the connection in order; the command may still be carried out.
    ///
    /// # Errors
    ///
    /// When QEMU refuses, does not answer within `timeout`, or the connection ends.
    pub async fn execute(
        &self,
        command: &str,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        self.request(command, arguments, None, timeout).await
    }

    /// As [`QmpClient::execute`], with a file descriptor for QEMU: `getfd` and `add-fd` take one.
    ///
    /// # Errors
    ///
    /// As for [`QmpClient::execute`]; also on a connection that was not made by [`QmpClient::connect`].
    pub async fn execute_with_descriptor(
        &self,
        command: &str,
        arguments: Map<String, Value>,
        descriptor: Arc<OwnedFd>,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        if !self.passes_descriptors {
            let reason = QmpEnd::Io(io::ErrorKind::Unsupported);
            return Err(QmpError::Ended { command: command.to_owned(), reason });
        }
        self.request(command, arguments, Some(descriptor), timeout).await
    }

    async fn request(
        &self,
        command: &str,
        arguments: Map<String, Value>,
        descriptor: Option<Arc<OwnedFd>>,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        let named = || command.to_owned();
        let (reply, answer) = oneshot::channel();
        let request = Request { command: named(), arguments, descriptor, reply };
        let exchange = async {
            // A connection that has ended closed its inbox; the reason went to those who waited then.
            let ended = || QmpError::Ended { command: named(), reason: QmpEnd::Eof };
            self.requests.send(request).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| QmpError::Timeout { command: named(), after: timeout })?
    }

    /// Returns events from now on; `None` once the connection has ended.
    pub fn subscribe(&self) -> Option<QmpEvents> {
        self.events.upgrade().map(|events| events.subscribe())
    }

    /// Closes the connection, whoever else holds a handle on it, and waits until it is closed.
    pub async fn close(&self) {
        self.closing.cancel();
        self.requests.closed().await;
    }
}

#[derive(Debug)]
struct Request {
    command: String,
    arguments: Map<String, Value>,
    descriptor: Option<Arc<OwnedFd>>,
    reply: oneshot::Sender<Result<Value, QmpError>>,
}

struct Waiting {
    command: String,
    reply: oneshot::Sender<Result<Value, QmpError>>,
}

struct Connection<S> {
    wire: Wire<S>,
    inbox: mpsc::Receiver<Request>,
    events: broadcast::Sender<QmpEvent>,
    waiting: BTreeMap<u64, Waiting>,
    last_id: u64,
    closing: CancellationToken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(mut self) {
        let reason = loop {
            // Cancel safety: a partial line stays in the wire's buffer, a request is taken whole or not at all.
            let step = tokio::select! {
                message = self.wire.message() => message.map(|message| self.handle_message(message)),
                request = self.inbox.recv() => match request {
                    Some(request) => self.send(request).await,
                    None => Err(QmpEnd::Closed),
                },
                () = self.closing.cancelled() => Err(QmpEnd::Closed),
            };
            if let Err(reason) = step {
                break reason;
            }
        };
        self.inbox.close();
        while let Ok(request) = self.inbox.try_recv() {
            let Request { command, reply, .. } = request;
            self.last_id += 1;
            self.waiting.insert(self.last_id, Waiting { command, reply });
        }
        for Waiting { command, reply } in self.waiting.into_values() {
            let _ = reply.send(Err(QmpError::Ended { command, reason: reason.clone() }));
        }
    }

    async fn send(&mut self, request: Request) -> Result<(), QmpEnd> {
        self.last_id += 1;
        let message = json!({
            "execute": request.command,
            "arguments": request.arguments,
            "id": self.last_id,
        });
        let waiting = Waiting { command: request.command, reply: request.reply };
        self.waiting.insert(self.last_id, waiting);
        self.wire.send(&message, request.descriptor.as_deref()).await
    }

    fn handle_message(&mut self, mut message: Map<String, Value>) {
        if let Some(Value::String(name)) = message.remove("event") {
            let data = match message.remove("data") {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            };
            // Nobody listening is no error.
            let _ = self.events.send(QmpEvent { name, data, timestamp_us: timestamp_us(&message) });
            return;
        }
        let id = message.get("id").and_then(Value::as_u64);
        // An answer nobody waits for is one to a command that was given up.
        let Some(Waiting { command, reply }) = id.and_then(|id| self.waiting.remove(&id)) else { return };
        let result = match message.remove("error") {
            None => Ok(message.remove("return").unwrap_or(Value::Null)),
            Some(error) => {
                let text = |key: &str| error[key].as_str().unwrap_or("(not told)").to_owned();
                Err(QmpError::Refused { command, class: text("class"), description: text("desc") })
            }
        };
        let _ = reply.send(result);
    }
}

fn timestamp_us(message: &Map<String, Value>) -> Option<i64> {
    let timestamp = message.get("timestamp")?;
    // QEMU writes -1 for both where it could not tell the time.
    let part = |key: &str| timestamp.get(key)?.as_i64().filter(|number| *number >= 0);
    part("seconds")?.checked_mul(1_000_000)?.checked_add(part("microseconds")?)
}

/// A peer that goes away while we write is one that closed the connection.
fn ended_by(error: &io::Error) -> QmpEnd {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => QmpEnd::Eof,
        kind => QmpEnd::Io(kind),
    }
}

/// Sends the beginning of `bytes` together with a descriptor, and returns how many bytes went.
async fn send_descriptor(socket: &OwnedFd, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    loop {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match sendmsg(socket, &[io::IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => return Ok(sent),
            Err(rustix::io::Errno::INTR) => {}
            // QEMU reads its monitor all the time; a full socket is a matter of a moment.
            Err(rustix::io::Errno::AGAIN) => tokio::time::sleep(RETRY).await,
            Err(errno) => return Err(errno.into()),
        }
    }
}

struct Wire<S> {
    stream: S,
    /// The same socket, for passing descriptors.
    socket: Option<OwnedFd>,
    /// What was received and not yet taken; never more than one line's limit and one read.
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    /// The stream's offset of the buffer's first byte.
    offset_bytes: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Returns the next message. Cancel safe.
    async fn message(&mut self) -> Result<Map<String, Value>, QmpEnd> {
        loop {
            if let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.scanned + at).collect();
                self.scanned = 0;
                let message =
                    serde_json::from_slice(&line).map_err(|error| self.malformed(&error.to_string()));
                self.offset_bytes =
                    self.offset_bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
                return message;
            }
            self.scanned = self.buffer.len();
            if self.scanned > LINE_LIMIT {
                return Err(QmpEnd::LineTooLong { offset_bytes: self.offset_bytes });
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(QmpEnd::Eof),
                Ok(_) => {}
                Err(error) => return Err(ended_by(&error)),
            }
        }
    }

    async fn send(&mut self, message: &Value, descriptor: Option<&OwnedFd>) -> Result<(), QmpEnd> {
        let mut line = message.to_string();
        line.push('\n');
        let mut rest = line.as_bytes();
        if let (Some(socket), Some(descriptor)) = (&self.socket, descriptor) {
            let sent = send_descriptor(socket, rest, descriptor.as_fd()).await;
            rest = &rest[sent.map_err(|error| ended_by(&error))?..];
        }
        self.stream.write_all(rest).await.map_err(|error| ended_by(&error))
    }

    fn malformed(&self, what: &str) -> QmpEnd {
        QmpEnd::Malformed { what: what.to_owned(), offset_bytes: self.offset_bytes }
    }
}
