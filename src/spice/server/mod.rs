//! A SPICE server: one screen, one pointer, a keyboard and a mouse, for any number of clients at once.
//!
//! [`serve`] listens and returns a [`ServerHandle`], through which its owner shows pixels, and the events of what clients
//! type. It knows nothing of lanes, guests or scripts. Drawing never waits for a client: pixels are taken off the screen
//! when a client has room for them, so a slow one misses what was painted over meanwhile, and a stalled one is dropped. An
//! owner that wants every picture to be seen waits between them, for a while: [`ServerHandle::seen`].
//!
//! - `link`, `key`: the handshake, the server's own key and tickets.
//! - `peer`: one state machine per channel, pure; `stage` and `damage`: what is shown, and who has seen it, pure.
//! - `fault`: what goes wrong on purpose, pure.
//! - `driver`: one task per channel; this file: the listener, the sessions.
//!
//! A client that is malformed, silent or slow loses its channel after a deadline; without its main channel it has no
//! session. Clients cannot make the server hold more than the limits here say.

mod damage;
mod driver;
mod fault;
pub(super) mod fuzzing;
mod key;
mod link;
mod peer;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::driver::{ChannelEnd, Wiring, drive};
use self::fault::Faults;
use self::key::ServerKey;
use self::link::{Guest, TurnedAway, answer};
use self::peer::{CursorPeer, DisplayPeer, InputsPeer, MainPeer, MouseModes, Peer};
use self::stage::{Flip, Stage};
use super::ticket::Password;
use super::tls::Identity;
use super::transport::{Endpoint, Stream};
use super::wire::link::{ChannelId, ChannelType, LinkCode};

pub use self::fault::{ChannelFault, FaultId};
pub use self::peer::PeerError;
pub use self::stage::{CursorShape, ShowError};

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen. The path of a unix socket must not be taken; the port 0 stands for any that is free.
    pub endpoint: Endpoint,
    /// What clients are shown over TLS; `None` serves in plain. Only for TCP.
    pub identity: Option<Identity>,
    /// What clients must know; `None` lets everybody in.
    pub password: Option<Password>,
    /// The machine's name.
    pub name: String,
    /// How pixels are sent to clients that do not say how they want them. Default: raw.
    pub encoding: Encoding,
    /// For a client's whole handshake. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Sessions at once. Default: 16.
    pub most_sessions: usize,
}

impl ServerOptions {
    /// The defaults, in plain and without a password.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            identity: None,
            password: None,
            name: "backstaff".to_owned(),
            encoding: Encoding::Raw,
            handshake_timeout: Duration::from_secs(10),
            most_sessions: 16,
        }
    }
}

/// How pixels are sent, unless they are shorter as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// As LZ.
    Lz,
    /// As LZ with references to what was sent before, to clients that keep that, and as LZ to others.
    Glz,
    /// As QUIC.
    Quic,
    /// As LZ4, to clients that say they understand it, and as LZ to others.
    Lz4,
}

impl Encoding {
    /// What comes nearest to a client's wish; nothing for a number that is none.
    fn wished(wish: u8) -> Option<Self> {
        match wish {
            1 => Some(Self::Raw),
            3 | 6 => Some(Self::Lz),
            2 | 5 => Some(Self::Glz),
            4 => Some(Self::Quic),
            7 => Some(Self::Lz4),
            _ => None,
        }
    }
}

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// It cannot listen.
    #[error("listen at {endpoint}")]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// TLS does not exist on unix sockets.
    #[error("serve TLS at {endpoint}, which is a unix socket")]
    TlsOnUnix {
        /// Where.
        endpoint: Endpoint,
    },
    /// It has no key.
    #[error("make a key")]
    Key(#[source] rsa::Error),
}

/// The number of a session, which links its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// What happens at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A channel was opened.
    Opened {
        /// Whose.
        session: SessionId,
        /// Which.
        channel: ChannelId,
    },
    /// A channel is over. With its main channel the session is.
    Closed {
        /// Whose.
        session: SessionId,
        /// Which.
        channel: ChannelId,
        /// What the client did wrong, if it did.
        reason: Option<String>,
    },
    /// Somebody typed or moved the mouse.
    Input {
        /// Who.
        session: SessionId,
        /// What.
        input: InputEvent,
    },
}

/// What a client does to keyboard and mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputEvent {
    /// A key went down or up. One that is held when its client goes away goes up.
    Key {
        /// AT set-1 make code, with 0xE0 in the high byte for an extended key.
        code: u16,
        /// Down, also again and again without going up.
        is_down: bool,
    },
    /// The client wants the lock lights so: 1 scroll, 2 num, 4 caps.
    Lights(u16),
    /// The mouse was moved.
    MouseMotion {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
        /// Buttons held, bit 0 is the left one.
        buttons: u16,
    },
    /// The mouse was put somewhere, perhaps beyond the screen.
    MousePosition {
        /// Pixels from the left edge.
        x: u32,
        /// Pixels from the top edge.
        y: u32,
        /// Buttons held, bit 0 is the left one.
        buttons: u16,
    },
    /// A button went down or up.
    MouseButton {
        /// 1 left, 2 middle, 3 right, 4 wheel up, 5 wheel down.
        button: u8,
        /// Down.
        is_down: bool,
        /// Buttons held afterwards.
        buttons: u16,
    },
}

/// The owner's hold on a server. The server ends with the last handle, or after [`ServerHandle::finish`].
#[derive(Clone)]
pub struct ServerHandle {
    server: Arc<Server>,
    _cancel_on_drop: Arc<DropGuard>,
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").field("size", &self.server.stage.size()).finish_non_exhaustive()
    }
}

/// Listens, and serves every client that comes. Must be called within a tokio runtime.
///
/// The events must be read: while there is no room for them clients that type are not listened to.
///
/// # Errors
/// There is no key, or it cannot listen.
pub async fn serve(
    mut options: ServerOptions,
) -> Result<(ServerHandle, mpsc::Receiver<ServerEvent>), ServeError> {
    if options.identity.is_some() && matches!(options.endpoint, Endpoint::Unix(_)) {
        return Err(ServeError::TlsOnUnix { endpoint: options.endpoint });
    }
    let key = tokio::task::spawn_blocking(ServerKey::of_process);
    let key = key.await.map_err(|_| ServeError::Key(rsa::Error::Internal))?.map_err(ServeError::Key)?;
    let listener = Listener::bind(&options.endpoint)
        .await
        .map_err(|source| ServeError::Listen { endpoint: options.endpoint.clone(), source })?;
    if let Some(port) = listener.port() {
        options.endpoint.set_port(port);
    }
    let (events, receiver) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let guard = Arc::new(cancel.clone().drop_guard());
    let connections = Arc::new(Semaphore::new(options.most_sessions.saturating_mul(CHANNELS.len() + 2)));
    let server = Arc::new(Server {
        options,
        key,
        stage: Arc::default(),
        news: watch::Sender::new(0),
        faults: watch::Sender::default(),
        sessions: Mutex::default(),
        events,
        cancel,
        finish: CancellationToken::new(),
        displays: TaskTracker::new(),
        others: TaskTracker::new(),
    });
    tokio::spawn(listen(Arc::clone(&server), listener, connections));
    Ok((ServerHandle { server, _cancel_on_drop: guard }, receiver))
}

impl ServerHandle {
    /// Puts up a black screen of this size in place of whatever there is.
    ///
    /// # Errors
    /// A side is 0 or too large.
    pub fn set_screen(&self, width: u32, height: u32) -> Result<(), ShowError> {
        self.server.stage.set_screen(width, height)?;
        self.tell();
        Ok(())
    }

    /// Takes the screen away.
    pub fn clear_screen(&self) {
        self.server.stage.clear_screen();
        self.tell();
    }

    /// Pixels per row and rows of the screen, if there is one.
    pub fn screen_size(&self) -> Option<(u32, u32)> {
        self.server.stage.size()
    }

    /// Begins a picture: until it is dropped clients are shown nothing of what is drawn, then all of it.
    #[must_use]
    pub fn picture(&self) -> Picture<'_> {
        self.server.stage.begin_drawing();
        Picture(self)
    }

    /// Waits until all clients say that they have shown the last [`ServerHandle::picture`]. Who does not within `patience`
    /// is not waited for again until it does; where a fault holds pictures up nobody is.
    pub async fn seen(&self, patience: Duration) {
        let trouble = self.server.faults.borrow().against(ChannelType::DISPLAY);
        if trouble.is_slow() {
            return;
        }
        let stage = &self.server.stage;
        let seen = std::future::poll_fn(|context| stage.poll_seen(context));
        if tokio::time::timeout(patience, seen).await.is_err() {
            stage.leave_behind();
        }
    }

    /// Puts pixels on the screen: rows of `width` pixels from the top, each blue, green, red and a byte that is ignored.
    /// Clients see them at once, or with the [`ServerHandle::picture`] that they are part of.
    ///
    /// # Errors
    /// They do not fit.
    pub fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u8]) -> Result<(), ShowError> {
        if self.server.stage.draw(x, y, width, pixels)? {
            self.tell();
        }
        Ok(())
    }

    /// Gives the pointer a shape, or takes it away.
    ///
    /// # Errors
    /// The shape is too large, or has not the pixels it says.
    pub fn set_cursor(&self, shape: Option<CursorShape>) -> Result<(), ShowError> {
        self.server.stage.set_cursor(shape)?;
        self.tell();
        Ok(())
    }

    /// Sets the lock lights: 1 scroll, 2 num, 4 caps.
    pub fn set_lights(&self, lights: u16) {
        self.server.stage.set_lights(lights);
        self.tell();
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.server.options.endpoint
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.server.lock_sessions().len()
    }

    /// The means to make things go wrong.
    pub fn faults(&self) -> FaultHandle {
        FaultHandle(Arc::clone(&self.server))
    }

    /// Takes no more clients, shows those there are everything that was drawn, and closes all channels, displays first.
    /// Clients that do not take it within `grace` miss it.
    pub async fn finish(&self, grace: Duration) {
        let server = &self.server;
        server.finish.cancel();
        server.displays.close();
        server.others.close();
        let _ = tokio::time::timeout(grace, server.displays.wait()).await;
        server.cancel.cancel();
        let all = async {
            server.displays.wait().await;
            server.others.wait().await;
        };
        let _ = tokio::time::timeout(grace, all).await;
    }

    fn tell(&self) {
        self.server.tell();
    }
}

/// The means to make things go wrong, for all clients there are and come. It does not keep the server going.
#[derive(Clone)]
pub struct FaultHandle(Arc<Server>);

impl std::fmt::Debug for FaultHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FaultHandle").field(&*self.0.faults.borrow()).finish()
    }
}

impl FaultHandle {
    /// Slows down the channels of a kind, or all, until it is lifted. Nobody's deadline is missed on account of that on
    /// this side.
    pub fn put(&self, channel: Option<ChannelType>, fault: ChannelFault) -> FaultId {
        self.change(|faults| faults.put(channel, fault))
    }

    /// Closes the channels of a kind that are open, without a word. With main whole sessions go.
    pub fn cut(&self, channel: ChannelType) {
        self.change(|faults| faults.cut(channel));
    }

    /// Sends a message that is not what its type says on the channels of a kind that are open.
    pub fn malform(&self, channel: ChannelType) {
        self.change(|faults| faults.malform(channel));
    }

    /// Shows a pixel with these bits of its colour, `0xRRGGBB`, flipped until it is lifted, or, for `once`, until something
    /// is drawn there.
    ///
    /// # Errors
    /// There is a screen, and the pixel lies beyond it.
    pub fn flip_pixel(&self, x: u32, y: u32, xor: u32, once: bool) -> Result<FaultId, ShowError> {
        let id = self.change(Faults::next_id);
        self.0.stage.flip(Flip { id, x, y, xor, once })?;
        self.0.tell();
        Ok(id)
    }

    /// Ends a fault. One that has ended already is none.
    pub fn lift(&self, id: FaultId) {
        self.change(|faults| faults.lift(id));
        self.0.stage.unflip(id);
        self.0.tell();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        let mut changed = None;
        self.0.faults.send_modify(|faults| changed = Some(change(faults)));
        changed.expect("it was just changed")
    }
}

/// A picture that is being drawn. Only one at a time.
#[derive(Debug)]
pub struct Picture<'a>(&'a ServerHandle);

impl Drop for Picture<'_> {
    fn drop(&mut self) {
        self.0.server.stage.end_drawing();
        self.0.tell();
    }
}

struct Server {
    options: ServerOptions,
    key: &'static ServerKey,
    stage: Arc<Stage>,
    news: watch::Sender<u64>,
    faults: watch::Sender<Faults>,
    sessions: Mutex<BTreeMap<SessionId, Session>>,
    events: mpsc::Sender<ServerEvent>,
    cancel: CancellationToken,
    /// Cancelled when what there is to say is all there will be.
    finish: CancellationToken,
    displays: TaskTracker,
    others: TaskTracker,
}

struct Session {
    cancel: CancellationToken,
    mouse: MouseModes,
    open: BTreeSet<ChannelId>,
}

async fn listen(server: Arc<Server>, listener: Listener, connections: Arc<Semaphore>) {
    loop {
        let accepted = tokio::select! {
            () = server.cancel.cancelled() => return,
            () = server.finish.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a SPICE client could not be taken");
                // As when too many files are open: it would fail again at once.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!("too many SPICE connections, one was closed");
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            if let Err(error) = Arc::clone(&server).welcome(stream).await {
                tracing::debug!(error = %super::driver::chain(&error), "a SPICE client was turned away");
            }
            drop(permit);
        });
    }
}

impl Server {
    fn tell(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    fn lock_sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a client through its handshake and serves its channel to the end.
    async fn welcome(self: Arc<Self>, stream: Stream) -> Result<(), TurnedAway> {
        let handshake = async {
            let stream = match (stream, &self.options.identity) {
                (Stream::Tcp(socket), Some(identity)) => {
                    Stream::Tls(Box::new(identity.accept(socket).await?))
                }
                (stream, _) => stream,
            };
            let mut guest = link::receive(stream, self.key, self.options.password.as_ref()).await?;
            match self.enter(&guest) {
                Ok(place) => {
                    // From here on leaving gives the place back.
                    let place = Leaving { server: &self, place: Some(place) };
                    answer(&mut guest.stream, LinkCode::OK).await?;
                    Ok((guest, place.keep()))
                }
                Err(code) => {
                    answer(&mut guest.stream, code).await?;
                    Err(TurnedAway::Refused(code))
                }
            }
        };
        let late = || TurnedAway::Io(io::ErrorKind::TimedOut.into());
        let handshake = tokio::time::timeout(self.options.handshake_timeout, handshake);
        let Some(result) = self.cancel.run_until_cancelled(handshake).await else { return Ok(()) };
        let (guest, place) = result.map_err(|_| late())??;
        let is_display = place.channel.channel_type == ChannelType::DISPLAY;
        let tracker = if is_display { &self.displays } else { &self.others };
        tracker.track_future(Arc::clone(&self).serve_channel(guest, place)).await;
        Ok(())
    }

    /// Finds the client's session, or makes one for a main channel, and notes the channel in it.
    fn enter(&self, guest: &Guest) -> Result<Place, LinkCode> {
        let channel = guest.mess.channel;
        let mut sessions = self.lock_sessions();
        if channel == ChannelId::MAIN {
            if guest.mess.connection_id != 0 {
                return Err(LinkCode::BAD_CONNECTION_ID);
            }
            if sessions.len() >= self.options.most_sessions {
                return Err(LinkCode::ERROR);
            }
            let mut random = rand::rngs::OsRng;
            let is_free = |id: &SessionId| id.0 != 0 && !sessions.contains_key(id);
            let id = std::iter::repeat_with(|| SessionId(random.r#gen())).find(is_free);
            let id = id.ok_or(LinkCode::ERROR)?;
            let (cancel, mouse) = (self.cancel.child_token(), MouseModes::new());
            let open = BTreeSet::from([channel]);
            sessions.insert(id, Session { cancel: cancel.clone(), mouse: mouse.clone(), open });
            return Ok(Place { session: id, channel, cancel, mouse });
        }
        let id = SessionId(guest.mess.connection_id);
        let session = sessions.get_mut(&id).ok_or(LinkCode::BAD_CONNECTION_ID)?;
        if !session.open.insert(channel) {
            return Err(LinkCode::CHANNEL_NOT_AVAILABLE);
        }
        Ok(Place { session: id, channel, cancel: session.cancel.clone(), mouse: session.mouse.clone() })
    }

    /// Forgets a channel, and with a main channel its session.
    fn leave(&self, place: &Place) {
        let mut sessions = self.lock_sessions();
        if place.channel == ChannelId::MAIN {
            sessions.remove(&place.session);
            place.cancel.cancel();
        } else if let Some(session) = sessions.get_mut(&place.session) {
            session.open.remove(&place.channel);
        }
    }

    async fn serve_channel(self: Arc<Self>, guest: Guest, place: Place) {
        let (session, channel) = (place.session, place.channel);
        let peer = self.peer(&guest, &place);
        // The others stay while displays have something to show: with main the whole session goes.
        let is_display = channel.channel_type == ChannelType::DISPLAY;
        let finish = if is_display { self.finish.clone() } else { CancellationToken::new() };
        let wiring = Wiring {
            stream: guest.stream,
            form: guest.form,
            session,
            channel: channel.channel_type,
            faults: self.faults.subscribe(),
            news: self.news.subscribe(),
            events: self.events.clone(),
            cancel: place.cancel.clone(),
            finish,
        };
        let place = Leaving { server: &self, place: Some(place) };
        self.say(ServerEvent::Opened { session, channel }).await;
        let end = drive(wiring, peer).await;
        let reason = match &end {
            ChannelEnd::Cancelled | ChannelEnd::Eof => None,
            end => Some(super::driver::chain(end)),
        };
        tracing::debug!(%channel, %end, "SPICE channel ended");
        drop(place);
        self.say(ServerEvent::Closed { session, channel, reason }).await;
    }

    fn peer(&self, guest: &Guest, place: &Place) -> Box<dyn Peer> {
        let (form, caps, now) = (guest.form, &guest.mess.channel_caps, Instant::now());
        let stage = Arc::clone(&self.stage);
        match place.channel.channel_type {
            ChannelType::DISPLAY => Box::new(DisplayPeer::new(form, stage, caps, self.options.encoding, now)),
            ChannelType::INPUTS => Box::new(InputsPeer::new(form, stage, place.mouse.clone())),
            ChannelType::CURSOR => Box::new(CursorPeer::new(form, stage)),
            _ => {
                let (session_id, name, mouse) = (place.session.0, &*self.options.name, place.mouse.clone());
                let channels = CHANNELS.to_vec();
                let options = peer::MainOptions { form, session_id, name, caps, channels, mouse };
                Box::new(MainPeer::new(options, now))
            }
        }
    }

    async fn say(&self, event: ServerEvent) {
        // Nobody may be listening, and then nobody wants to know.
        let _ = self.cancel.run_until_cancelled(self.events.send(event)).await;
    }
}

/// A channel's place in its session.
struct Place {
    session: SessionId,
    channel: ChannelId,
    /// Ends the session.
    cancel: CancellationToken,
    mouse: MouseModes,
}

/// Gives a place back when it is dropped.
struct Leaving<'a> {
    server: &'a Server,
    place: Option<Place>,
}

impl Leaving<'_> {
    fn keep(mut self) -> Place {
        self.place.take().expect("it is taken once, here or when this is dropped")
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.server.leave(&place);
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => TcpListener::bind((host.as_str(), *port)).await.map(Self::Tcp),
            Endpoint::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// What every session has beside its main channel.
const CHANNELS: [ChannelId; 3] = [
    ChannelId { channel_type: ChannelType::DISPLAY, id: 0 },
    ChannelId { channel_type: ChannelType::CURSOR, id: 0 },
    ChannelId { channel_type: ChannelType::INPUTS, id: 0 },
];
/// Events that may wait for the owner.
const EVENTS: usize = 1024;
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
