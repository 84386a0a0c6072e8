//! The server's end of a control socket.
//!
//! Start reading at [`ControlServer`]. What it offers is a [`Desk`]; what happens there is told through a [`Hub`], which
//! never waits for a client. Each client has its own `outbox`, and a `connection` that reads, asks the desk and answers,
//! one request after the other. A client can harm nobody but itself.

mod connection;
mod hub;
mod name;
mod outbox;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::protocol::{
    Code, Fault, HelloResult, KeyState, PictureFormat, Response, Size, StatsResult, StatusResult,
};
pub use hub::Hub;
pub use name::{BindError, MOST_PATH_BYTES, SocketName};
pub use outbox::EventSet;

/// What a server offers. Nothing here waits, except the future of [`Desk::paste`].
pub trait Desk: Send + Sync + 'static {
    /// What the console is like now.
    fn status(&self) -> StatusResult;

    /// Queues what happens to a key.
    ///
    /// # Errors
    /// There is no such key, or nobody to send it to.
    fn send_key(&self, scancode: u16, state: KeyState) -> Result<(), Fault>;

    /// Types a text when those before it are typed; returns how many keys were, or why not all. Dropping the future ends
    /// it, with no key left down.
    fn paste(&self, text: String, char_delay: Duration) -> Paste;

    /// Shows a surface, or the screen. Called where it may take its time.
    ///
    /// # Errors
    /// There is no such surface.
    fn screenshot(&self, surface_id: Option<u32>, format: PictureFormat) -> Result<Picture, Fault>;

    /// Offers a text to the guest.
    ///
    /// # Errors
    /// It is too long.
    fn clipboard_set(&self, text: String) -> Result<(), Fault>;

    /// What the guest copied last.
    fn clipboard_get(&self) -> Option<String>;

    /// Asks the guest for a screen of this size; returns what it was really asked for.
    ///
    /// # Errors
    /// There is no such size.
    fn resize(&self, size: Size) -> Result<Size, Fault>;

    /// What came so far.
    fn stats(&self) -> StatsResult;

    /// Somebody subscribed or unsubscribed; [`Hub::wanted`] tells what is wanted now.
    fn subscriptions_changed(&self) {}
}

/// A paste under way.
pub type Paste = Pin<Box<dyn Future<Output = Result<u32, String>> + Send>>;

/// A surface as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// In the format that was asked for.
    pub bytes: Vec<u8>,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What `hello` says of the server.
    pub server_name: String,
    /// How many clients at a time.
    pub clients: usize,
    /// How long a line may be half there. Default: 30 s.
    pub patience: Duration,
}

impl ServerOptions {
    /// The defaults: one client at a time.
    pub fn new(server_name: impl Into<String>) -> Self {
        Self { server_name: server_name.into(), clients: 1, patience: Duration::from_secs(30) }
    }

    fn hello(&self) -> HelloResult {
        use super::protocol::{EventKind, FEATURE_MULTI, Method, VERSION};
        let owned = |name: &'static str| name.to_owned();
        HelloResult {
            server_name: self.server_name.clone(),
            protocol_version: VERSION.to_string(),
            supported_methods: Method::ALL.map(Method::name).map(owned).into(),
            supported_events: EventKind::ALL.map(EventKind::name).map(owned).into(),
            features: (self.clients > 1).then(|| FEATURE_MULTI.to_owned()).into_iter().collect(),
        }
    }
}

/// A socket that listens. It is answered from [`ControlServer::serve`] on.
#[derive(Debug)]
pub struct ControlServer {
    name: Arc<SocketName>,
    listener: std::os::unix::net::UnixListener,
}

/// What became of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Clients that said hello.
    pub clients: u64,
    /// Pastes that were refused or not typed to their end.
    pub failed_pastes: u64,
}

/// What all connections of a server have in common.
struct Shared {
    desk: Arc<dyn Desk>,
    hub: Hub,
    options: ServerOptions,
    hello: HelloResult,
    present: AtomicUsize,
    clients: AtomicU64,
    failed_pastes: AtomicU64,
}

impl ControlServer {
    /// Makes the socket.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let (name, listener) = SocketName::bind(path)?;
        Ok(Self { name: Arc::new(name), listener })
    }

    /// The socket's name, for whoever has to remove it when there is no time for [`ControlServer::serve`] to.
    pub fn name(&self) -> Arc<SocketName> {
        Arc::clone(&self.name)
    }

    /// Talks to clients until `stop`, then closes their connections and removes the socket. What they were told before
    /// they still get, if they read it at once.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub async fn serve(
        self,
        desk: Arc<dyn Desk>,
        hub: Hub,
        options: ServerOptions,
        stop: CancellationToken,
    ) -> std::io::Result<Served> {
        let listener = UnixListener::from_std(self.listener)?;
        let shared = Arc::new(Shared {
            hello: options.hello(),
            desk,
            hub,
            options,
            present: AtomicUsize::new(0),
            clients: AtomicU64::new(0),
            failed_pastes: AtomicU64::new(0),
        });
        let mut connections = JoinSet::new();
        // Clients learn of the end when the name is gone: whoever looks then finds nothing to connect to.
        let leave = CancellationToken::new();
        loop {
            // Cancel safety: a connection that was not accepted waits in the backlog.
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => admit(stream, &shared, &leave, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "control socket: a client cannot be accepted");
                    // Out of descriptors, most likely; that passes, and asking at once would spin.
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
        self.name.remove();
        drop(listener);
        leave.cancel();
        while connections.join_next().await.is_some() {}
        Ok(Served {
            clients: shared.clients.load(Ordering::Acquire),
            failed_pastes: shared.failed_pastes.load(Ordering::Acquire),
        })
    }
}

/// Takes a client in, or tells it that the house is full.
fn admit(stream: UnixStream, shared: &Arc<Shared>, stop: &CancellationToken, connections: &mut JoinSet<()>) {
    let is_full = shared.present.load(Ordering::Acquire) >= shared.options.clients;
    if is_full {
        if connections.len() >= shared.options.clients + TURNED_AWAY {
            return;
        }
        connections.spawn(async move {
            let fault = Fault::new(Code::BUSY, "another client is connected");
            let line = Response { id: None, outcome: Err(fault) }.line();
            say_goodbye(stream, line.as_bytes()).await;
        });
        return;
    }
    shared.present.fetch_add(1, Ordering::AcqRel);
    let (shared, stop) = (Arc::clone(shared), stop.clone());
    connections.spawn(async move {
        let _present = Present(Arc::clone(&shared));
        connection::run(stream, &shared, &stop).await;
    });
}

/// Leaves when it is dropped, also by a panic.
struct Present(Arc<Shared>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Sends the last line and closes. What the client has sent is read, or it would see an error in place of the line.
async fn say_goodbye(mut stream: UnixStream, line: &[u8]) {
    let goodbye = async {
        stream.write_all(line).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 4_096];
        while stream.read(&mut ignored).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whoever does not listen misses it.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

/// Bytes of a text that is offered to a guest.
pub const CLIPBOARD_LIMIT: usize = 32 * 1_048_576;
/// For a last line to be read.
const GOODBYE: Duration = Duration::from_secs(1);
/// Clients that are being told at a time that the server is busy; more are closed without a word.
const TURNED_AWAY: usize = 64;
const AFTER_FAILURE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
