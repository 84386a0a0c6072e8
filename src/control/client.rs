//! The end of a client: says hello, asks, and hears what happens.
//!
//! Start reading at [`Client::connect`]. One task writes and one reads; answers find their requests by id. A server may
//! be of another minor version and somebody else's program, so what it can do is asked for, never assumed
//! (control-socket protocol, sections 1, 5 and 10).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::lines::LineBuffer;
use super::protocol::{
    Call, Code, Envelope, Event, EventKind, Fault, HelloParams, HelloResult, Method, RequestId, Response,
    ServerLine, VERSION, Version,
};

/// What a client says of itself, and how patient it is.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For the server's log.
    pub client_name: String,
    /// For connecting, for as long as the server is busy, and for its answer to `hello`.
    pub deadline: Duration,
    /// For the answer to a request.
    pub answer: Duration,
}

/// A connection to a server. A clone is the same connection, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What was asked and not answered yet.
#[derive(Debug)]
pub struct Pending {
    id: RequestId,
    method: Method,
    until: Instant,
    answer: Duration,
    outcome: oneshot::Receiver<Result<Value, Fault>>,
    end: watch::Receiver<Option<ClientEnd>>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEnd {
    /// The server closed it. That is how its session ends, too.
    Server {
        /// What it complained about last, if it did so without saying to whom.
        complaint: Option<Fault>,
    },
    /// It was us.
    Us,
    /// It broke.
    Broken {
        /// How.
        reason: String,
    },
}

impl fmt::Display for ClientEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { complaint: None } => f.write_str("closed by the server"),
            Self::Server { complaint: Some(fault) } => write!(f, "closed by the server, which said: {fault}"),
            Self::Us => f.write_str("closed by us"),
            Self::Broken { reason } => f.write_str(reason),
        }
    }
}

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is there.
    #[error("no socket at {}", .path.display())]
    NoSocket {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not a socket", .path.display())]
    NotASocket {
        /// What it is.
        path: PathBuf,
    },
    /// Nobody listens on it.
    #[error("nobody listens on {}", .path.display())]
    Stale {
        /// The socket.
        path: PathBuf,
    },
    /// No address of a socket can hold it.
    #[error("{}: the name is {bytes} bytes long, the address of a socket holds {most}", .path.display())]
    NameTooLong {
        /// The socket.
        path: PathBuf,
        /// Of its name alone.
        bytes: usize,
        /// What the name may have.
        most: usize,
    },
    /// The system refused.
    #[error("connect to {}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It talked to another client all the time.
    #[error("{}: busy with another client for {:.1} s", .path.display(), .after.as_secs_f64())]
    Busy {
        /// The socket.
        path: PathBuf,
        /// For how long it was tried.
        after: Duration,
    },
    /// Whoever listens there does not speak this protocol.
    #[error("{}: not a control socket: {reason}; the line began {line:?}", .path.display())]
    NotControl {
        /// The socket.
        path: PathBuf,
        /// What is wrong with what it said.
        reason: String,
        /// The beginning of it.
        line: String,
    },
    /// It speaks another protocol of this kind.
    #[error("{}: wants a server of protocol {}.x, got one of {server}", .path.display(), VERSION.major)]
    Version {
        /// The socket.
        path: PathBuf,
        /// What it said.
        server: String,
    },
    /// It was silent.
    #[error("{}: no answer to `hello` within {:.1} s", .path.display(), .after.as_secs_f64())]
    NoHello {
        /// The socket.
        path: PathBuf,
        /// What was left for it.
        after: Duration,
    },
    /// It closed at once.
    #[error("{}: closed by the server before it answered `hello`", .path.display())]
    ClosedAtHello {
        /// The socket.
        path: PathBuf,
    },
    /// The server refused a request.
    #[error("{}: {fault}", .method.name())]
    Refused {
        /// The request.
        method: Method,
        /// Why.
        fault: Fault,
    },
    /// The answer is of another shape.
    #[error("{}: the answer is not what it should be: {reason}", .method.name())]
    Shape {
        /// The request.
        method: Method,
        /// What is wrong.
        reason: String,
    },
    /// The answer did not come.
    #[error("{}: no answer within {:.1} s", .method.name(), .after.as_secs_f64())]
    NoAnswer {
        /// The request.
        method: Method,
        /// How long was waited.
        after: Duration,
    },
    /// The connection is gone.
    #[error("{}: the control socket was {end}", .method.name())]
    Closed {
        /// The request.
        method: Method,
        /// How it ended.
        end: ClientEnd,
    },
}

impl ClientError {
    /// Returns what to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSocket { .. } => {
                "the socket is there from the server's start until its session ends; is \
                                      the server running?"
                    .to_owned()
            }
            Self::NotASocket { .. } => "give the path that the server was started with".to_owned(),
            Self::Stale { .. } => {
                "a server that was killed leaves its socket behind; start it again".to_owned()
            }
            Self::NameTooLong { .. } => "put the socket at a shorter name".to_owned(),
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "only the user who started the server may connect".to_owned()
            }
            Self::Busy { .. } => {
                "it serves one client at a time; close the other one, or wait longer".to_owned()
            }
            Self::NotControl { .. } => "is this the socket of something else, such as QMP?".to_owned(),
            Self::Version { .. } => format!("this program speaks protocol {VERSION}"),
            Self::NoHello { .. } => {
                "the server may hang, or this is the socket of something that waits to be spoken to \
                 otherwise"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

impl Client {
    /// Connects and says hello. Tries again while the server is busy, until the deadline. The events end when the server
    /// closes; whoever does not read them loses some, and is told by [`Event::Dropped`] how many.
    ///
    /// # Errors
    /// See [`ClientError`]. Everything but a busy server is told at once.
    pub async fn connect(
        path: &Path,
        options: ClientOptions,
    ) -> Result<(Self, mpsc::Receiver<Event>), ClientError> {
        let began = Instant::now();
        let until = began + options.deadline;
        let mut pause = BUSY_PAUSE;
        let connection = loop {
            match Connection::open(path, &options, until).await? {
                Some(connection) => break connection,
                None if Instant::now() + pause >= until => {
                    return Err(ClientError::Busy { path: path.to_owned(), after: began.elapsed() });
                }
                None => tokio::time::sleep(pause).await,
            }
            pause = (pause * 5 / 4).min(LONGEST_PAUSE);
        };
        Ok(connection.start(options))
    }

    /// What the server said of itself.
    pub fn hello(&self) -> &HelloResult {
        &self.shared.hello
    }

    /// What the server speaks.
    pub fn version(&self) -> Version {
        self.shared.version
    }

    /// Whether the server says that it knows this method.
    pub fn has_method(&self, method: Method) -> bool {
        self.shared.hello.supported_methods.iter().any(|name| name == method.name())
    }

    /// Whether the server says that it knows this event.
    pub fn has_event(&self, kind: EventKind) -> bool {
        self.shared.hello.supported_events.iter().any(|name| name == kind.name())
    }

    /// Asks and waits for the answer. Several may ask at once.
    ///
    /// # Errors
    /// The server refuses, is gone, or does not answer in time.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        self.send(call).answer().await
    }

    /// Asks without waiting. The server gets everything in the order in which it was asked.
    pub fn send(&self, call: Call) -> Pending {
        let shared = &self.shared;
        let (sender, outcome) = oneshot::channel();
        let mut asked = lock(&shared.asked);
        asked.last_id += 1;
        let id = RequestId::Number(asked.last_id);
        let last_id = asked.last_id;
        asked.waiting.insert(last_id, sender);
        // Queued under the lock, so that ids rise on the wire. When the writer is gone, the end tells.
        let _ = shared.lines.send(Envelope::line(id.clone(), &call));
        drop(asked);
        let answer = shared.options.answer;
        let (until, end) = (Instant::now() + answer, shared.end.subscribe());
        Pending { id, method: call.method(), until, answer, outcome, end }
    }

    /// Resolves when the connection has ended, and says how.
    pub async fn closed(&self) -> ClientEnd {
        let mut end = self.shared.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            // The sender lives in `self.shared`, so this is never reached.
            _ => std::future::pending().await,
        }
    }

    /// How the connection ended, if it has.
    pub fn end(&self) -> Option<ClientEnd> {
        self.shared.end.borrow().clone()
    }

    /// Says what is queued, closes, and waits a little for the server to have done so, too: it is free for another client
    /// then.
    pub async fn close(&self) {
        self.shared.leaving.send_replace(true);
        let _ = tokio::time::timeout(FAREWELL, self.closed()).await;
        set_end(&self.shared.end, ClientEnd::Us);
    }
}

impl Pending {
    /// What the answer will carry, and the events that belong to it.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// The server refuses, is gone, or does not answer in time, which counts from the asking.
    pub async fn answer<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let method = self.method;
        let ended = self.end.wait_for(Option::is_some);
        let outcome = tokio::select! {
            // An answer that came before the end counts.
            biased;
            outcome = &mut self.outcome => outcome.ok(),
            _ = ended => None,
            () = tokio::time::sleep_until(self.until) => {
                return Err(ClientError::NoAnswer { method, after: self.answer });
            }
        };
        match outcome {
            Some(Ok(result)) => serde_json::from_value(result)
                .map_err(|error| ClientError::Shape { method, reason: error.to_string() }),
            Some(Err(fault)) => Err(ClientError::Refused { method, fault }),
            None => {
                let end = self.end.borrow().clone().unwrap_or(ClientEnd::Us);
                Err(ClientError::Closed { method, end })
            }
        }
    }
}

/// What the handles have in common.
#[derive(Debug)]
struct Shared {
    hello: HelloResult,
    version: Version,
    options: ClientOptions,
    asked: Arc<Mutex<Asked>>,
    lines: mpsc::UnboundedSender<String>,
    end: watch::Sender<Option<ClientEnd>>,
    /// True when it is us who leave.
    leaving: watch::Sender<bool>,
}

/// Requests on their way.
#[derive(Debug, Default)]
struct Asked {
    last_id: i64,
    waiting: HashMap<i64, oneshot::Sender<Result<Value, Fault>>>,
}

/// A connection on which hello was said.
struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    buffer: LineBuffer,
    hello: HelloResult,
    version: Version,
}

impl Connection {
    /// Connects and says hello; `None` when the server is busy.
    async fn open(path: &Path, options: &ClientOptions, until: Instant) -> Result<Option<Self>, ClientError> {
        let stream = match connect(path).await {
            // The queue of those who want to connect is full.
            Err(ClientError::Connect { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                return Ok(None);
            }
            stream => stream?,
        };
        let (reader, mut writer) = stream.into_split();
        let hello = Call::Hello(HelloParams {
            client_name: options.client_name.clone(),
            protocol_version: VERSION.to_string(),
        });
        // A busy server has closed by now, maybe; what it said can be read all the same.
        let _ = writer.write_all(Envelope::line(HELLO_ID, &hello).as_bytes()).await;
        let began = Instant::now();
        let mut hearing = Hearing { path, reader, buffer: LineBuffer::default() };
        let outcome = match tokio::time::timeout_at(until, hearing.hello()).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(ClientError::NoHello { path: path.to_owned(), after: began.elapsed() }),
        };
        let result = match outcome {
            Err(fault) if fault.code == Code::BUSY => return Ok(None),
            Err(fault) if fault.code == Code::PROTOCOL_VERSION_MISMATCH => {
                let server = format!("another, which says: {}", fault.message);
                return Err(ClientError::Version { path: path.to_owned(), server });
            }
            Err(fault) => return Err(ClientError::Refused { method: Method::Hello, fault }),
            Ok(result) => result,
        };
        let hello: HelloResult = serde_json::from_value(result)
            .map_err(|error| ClientError::Shape { method: Method::Hello, reason: error.to_string() })?;
        let version = hello.protocol_version.parse::<Version>().ok();
        let Some(version) = version.filter(|version| version.major == VERSION.major) else {
            let server = format!("{:?}", hello.protocol_version);
            return Err(ClientError::Version { path: path.to_owned(), server });
        };
        let Hearing { reader, buffer, .. } = hearing;
        Ok(Some(Self { reader, writer, buffer, hello, version }))
    }

    /// Lets the tasks run.
    fn start(self, options: ClientOptions) -> (Client, mpsc::Receiver<Event>) {
        let Self { reader, writer, buffer, hello, version } = self;
        let (events_sender, events) = mpsc::channel(EVENTS);
        let (lines, queue) = mpsc::unbounded_channel();
        let (end, leaving) = (watch::Sender::new(None), watch::Sender::new(false));
        let asked = Arc::new(Mutex::new(Asked::default()));
        let (left, has_left) = watch::channel(false);
        tokio::spawn(write(writer, queue, leaving.subscribe(), left));
        let listener = Listener {
            reader,
            buffer,
            asked: Arc::clone(&asked),
            events: events_sender,
            dropped: 0,
            complaint: None,
            end: end.clone(),
        };
        tokio::spawn(listener.run(has_left));
        let shared = Shared { hello, version, options, asked, lines, end, leaving };
        (Client { shared: Arc::new(shared) }, events)
    }
}

/// What is read until hello was answered.
struct Hearing<'a> {
    path: &'a Path,
    reader: OwnedReadHalf,
    buffer: LineBuffer,
}

impl Hearing<'_> {
    async fn hello(&mut self) -> Result<Result<Value, Fault>, ClientError> {
        let path = || self.path.to_owned();
        loop {
            while let Some(line) = self.buffer.next_line() {
                match ServerLine::parse(line) {
                    Ok(ServerLine::Response(Response { id, outcome })) => {
                        if id.is_none() || id == Some(HELLO_ID) {
                            return Ok(outcome);
                        }
                    }
                    Ok(ServerLine::Event(_) | ServerLine::Unknown { .. }) => {}
                    Err(reason) => {
                        return Err(ClientError::NotControl { path: path(), reason, line: beginning(line) });
                    }
                }
            }
            let rest = self.buffer.rest();
            if rest.len() > FIRST_LINE {
                let (reason, line) = (format!("a first line of over {FIRST_LINE} bytes"), beginning(rest));
                return Err(ClientError::NotControl { path: path(), reason, line });
            }
            let mut bytes = [0; 4_096];
            match self.reader.read(&mut bytes).await {
                Ok(read @ 1..) => self.buffer.push(&bytes[..read]),
                _ => return Err(ClientError::ClosedAtHello { path: path() }),
            }
        }
    }
}

/// The task that reads.
struct Listener {
    reader: OwnedReadHalf,
    buffer: LineBuffer,
    asked: Arc<Mutex<Asked>>,
    events: mpsc::Sender<Event>,
    /// Events that nobody took, and what the server said of those it lost.
    dropped: u32,
    complaint: Option<Fault>,
    end: watch::Sender<Option<ClientEnd>>,
}

impl Listener {
    async fn run(mut self, has_left: watch::Receiver<bool>) {
        let mut left = has_left.clone();
        let leaves = async move {
            // The writer has said its last word; a server that does not close then is left alone.
            if left.wait_for(|left| *left).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(FAREWELL).await;
        };
        let end = tokio::select! {
            end = self.listen() => end,
            () = leaves => ClientEnd::Us,
        };
        let end = if *has_left.borrow() { ClientEnd::Us } else { end };
        if self.dropped > 0 {
            // The very last word about what was lost must not be lost as well; a reader that is gone needs none.
            let last = self.events.send(Event::Dropped { count: self.dropped });
            let _ = tokio::time::timeout(FAREWELL, last).await;
        }
        set_end(&self.end, end);
        lock(&self.asked).waiting.clear();
    }

    async fn listen(&mut self) -> ClientEnd {
        let broken = |reason: String| ClientEnd::Broken { reason };
        let mut bytes = vec![0; READ];
        loop {
            while let Some(line) = self.buffer.next_line() {
                let parsed = ServerLine::parse(line);
                let parsed =
                    parsed.map_err(|reason| format!("ended: {reason}; the line began {:?}", beginning(line)));
                match parsed {
                    Ok(line) => self.take(line),
                    Err(reason) => return broken(reason),
                }
            }
            if self.buffer.rest().len() > LONGEST_LINE {
                return broken(format!("ended: a line of over {LONGEST_LINE} bytes came"));
            }
            let read = tokio::select! {
                read = self.reader.read(&mut bytes) => read,
                // Cancel safe: a permit that is not used is given back.
                Ok(permit) = self.events.reserve(), if self.dropped > 0 => {
                    permit.send(Event::Dropped { count: std::mem::take(&mut self.dropped) });
                    continue;
                }
            };
            match read {
                Ok(0) => return ClientEnd::Server { complaint: self.complaint.take() },
                Ok(read) => self.buffer.push(&bytes[..read]),
                // A server that did not read our last words is closed all the same.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return ClientEnd::Server { complaint: self.complaint.take() };
                }
                Err(error) => return broken(format!("broken: {error}")),
            }
        }
    }

    fn take(&mut self, line: ServerLine) {
        match line {
            ServerLine::Unknown { .. } => {}
            ServerLine::Event(event) => self.tell(event),
            ServerLine::Response(Response { id: Some(RequestId::Number(id)), outcome }) => {
                if let Some(waiting) = lock(&self.asked).waiting.remove(&id) {
                    // Whoever asked may have stopped waiting.
                    let _ = waiting.send(outcome);
                }
            }
            ServerLine::Response(Response { id: None, outcome: Err(fault) }) => {
                // Whose it is can be told only when there is one.
                let mut asked = lock(&self.asked);
                let only = (asked.waiting.len() == 1).then(|| asked.waiting.drain().next()).flatten();
                match only {
                    Some((_, waiting)) => drop(waiting.send(Err(fault))),
                    None => self.complaint = Some(fault),
                }
            }
            ServerLine::Response(_) => {}
        }
    }

    fn tell(&mut self, event: Event) {
        if self.dropped > 0
            && let Ok(permit) = self.events.try_reserve()
        {
            permit.send(Event::Dropped { count: std::mem::take(&mut self.dropped) });
        }
        if self.dropped > 0 {
            return self.lose(&event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.lose(&event);
        }
    }

    fn lose(&mut self, event: &Event) {
        let count = match event {
            Event::Dropped { count } => *count,
            _ => 1,
        };
        self.dropped = self.dropped.saturating_add(count);
    }
}

/// The task that writes. Ends when the last handle is gone or one of them closes.
async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<String>,
    mut leaving: watch::Receiver<bool>,
    left: watch::Sender<bool>,
) {
    loop {
        let line = tokio::select! {
            // What is queued is said before one leaves.
            biased;
            line = queue.recv() => line,
            _ = leaving.wait_for(|leaving| *leaving) => None,
        };
        let Some(line) = line else { break };
        let mut gone = leaving.clone();
        let written = tokio::select! {
            written = writer.write_all(line.as_bytes()) => written,
            // A server that does not read does not keep us from leaving.
            () = async {
                let _ = gone.wait_for(|leaving| *leaving).await;
                tokio::time::sleep(FAREWELL).await;
            } => break,
        };
        if written.is_err() {
            // The reader learns why; it must not take this for our leaving.
            return;
        }
    }
    // Said first: a server that closes at once does so because of us.
    left.send_replace(true);
    let _ = writer.shutdown().await;
}

/// Connects, also where the path is longer than an address: through a descriptor of the folder then.
async fn connect(path: &Path) -> Result<UnixStream, ClientError> {
    let failed = |source| ClientError::Connect { path: path.to_owned(), source };
    let error = match UnixStream::connect(&path).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let kind = match tokio::fs::metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ClientError::NoSocket { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
        Ok(metadata) => metadata.file_type(),
    };
    if !kind.is_socket() {
        return Err(ClientError::NotASocket { path: path.to_owned() });
    }
    let error =
        if path.as_os_str().len() > MOST_PATH_BYTES { connect_through(path).await? } else { Err(error) };
    error.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::Stale { path: path.to_owned() },
        _ => failed(error),
    })
}

async fn connect_through(path: &Path) -> Result<io::Result<UnixStream>, ClientError> {
    let failed = |source| ClientError::Connect { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let name = path.file_name().unwrap_or_default();
    let most = MOST_PATH_BYTES - through.as_os_str().len() - 1;
    if name.len() > most {
        return Err(ClientError::NameTooLong { path: path.to_owned(), bytes: name.len(), most });
    }
    Ok(UnixStream::connect(through.join(name)).await)
}

/// The first that is said counts.
fn set_end(end: &watch::Sender<Option<ClientEnd>>, how: ClientEnd) {
    end.send_if_modified(|end| {
        let is_first = end.is_none();
        if is_first {
            *end = Some(how);
        }
        is_first
    });
}

/// As much of a line as people want to read.
fn beginning(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(BEGINNING)]);
    if line.len() > BEGINNING { format!("{text}…") } else { text.into_owned() }
}

fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of `hello`; others count from one.
const HELLO_ID: RequestId = RequestId::Number(0);
/// Before a busy server is asked again, at first and at most.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For a server to close when we have.
const FAREWELL: Duration = Duration::from_secs(1);
/// Events that wait to be read. A digest takes some kilobytes.
const EVENTS: usize = 4_096;
/// What a server that is none may say before it is found out.
const FIRST_LINE: usize = 1 << 20;
/// A screenshot of 8K takes 178 million bytes.
const LONGEST_LINE: usize = 256 << 20;
const READ: usize = 65_536;
const BEGINNING: usize = 60;
/// What the address of a socket holds.
const MOST_PATH_BYTES: usize = 107;
