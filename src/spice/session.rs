//! The session: what the rest of the program sees of SPICE.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::address::{ConnectionTarget, TargetError};
use super::channel::{
    AgentError, AgentEvent, AgentState, Compression, Counters, CursorChannel, CursorState, DisplayChannel,
    DisplayOptions, InputsChannel, KeyCode, KeyCodeError, Machine, MainChannel, Monitor, Motion, StreamLog,
};
use super::driver::{Intake, Request, Shared, lock};
use super::limits::Limits;
use super::link::LinkError;
use super::proxy::ProxyError;
use super::recorder::{Recorder, Tap};
use super::recording::SessionFacts;
use super::supervisor;
use super::surface::Surface;
use super::ticket::Password;
use super::tls::TlsError;
use super::transport::Endpoint;
use super::wire::agent::Selection;
use super::wire::base::Severity;
use super::wire::link::ChannelId;
use super::wire::types::Rect;

/// How to connect.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Where the server listens. The password in it does not count.
    pub target: ConnectionTarget,
    /// The ticket, if the server wants one.
    pub password: Option<Password>,
    /// How images shall be compressed; `None` leaves it to the server. Default: off.
    pub compression: Option<Compression>,
    /// Whether the server may refer to images it sent before. Default: yes.
    pub image_cache: bool,
    /// For each step of connecting. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Bounds on memory.
    pub limits: Limits,
    /// Where what arrives is recorded.
    pub recorder: Option<Recorder>,
}

impl SessionOptions {
    /// The defaults for a plain endpoint, without a password.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::to(endpoint.into())
    }

    /// The defaults, with the target's password.
    pub fn to(mut target: ConnectionTarget) -> Self {
        Self {
            password: target.password.take(),
            target,
            compression: Some(Compression::Off),
            image_cache: true,
            handshake_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            recorder: None,
        }
    }

    /// What to do with what arrives on `channel`.
    pub(super) fn intake(&self, channel: ChannelId, shared: Arc<Shared>) -> Intake {
        let tap = self.recorder.as_ref().map(|recorder| Tap::new(recorder, channel));
        Intake { message_limit: self.limits.message_bytes, tap, channel, shared }
    }

    /// How a display channel begins.
    pub(super) fn display(&self, channel: ChannelId) -> DisplayOptions {
        DisplayOptions {
            channel_id: channel.id,
            compression: self.compression,
            has_image_cache: self.image_cache,
            limits: self.limits,
        }
    }

    /// Tells the recorder that the displays have one GLZ window.
    pub(super) fn record_shared_window(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.share_window();
        }
    }

    /// Tells the recorder that a session begins.
    pub(super) fn record_session(&self) {
        if let Some(recorder) = &self.recorder {
            let pixels = |pixels| if self.image_cache { pixels } else { 0 };
            recorder.session(SessionFacts {
                image_cache_pixels: pixels(self.limits.image_cache_pixels),
                glz_window_pixels: pixels(self.limits.glz_window_pixels),
            });
        }
    }
}

/// What happens in a session. [`Closed`](Self::Closed) is the last event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The session exists; these channels are being opened.
    Connected {
        /// The server's number for the session.
        session_id: u32,
        /// All channels this side opens, main first.
        channels: Vec<ChannelId>,
    },
    /// A surface exists. It is black; nothing is sent about its first contents.
    SurfaceCreated {
        /// The display channel.
        channel_id: u8,
        /// The surface.
        surface_id: u32,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Whether it is the screen.
        primary: bool,
    },
    /// A surface is gone.
    SurfaceDestroyed {
        /// The display channel.
        channel_id: u8,
        /// The surface.
        surface_id: u32,
    },
    /// The server considers the screen worth showing.
    Marked {
        /// The display channel.
        channel_id: u8,
    },
    /// Other parts of surfaces are visible from now on.
    Monitors {
        /// The display channel.
        channel_id: u8,
        /// The visible parts of the surfaces there are now.
        monitors: Vec<Monitor>,
    },
    /// Pixels changed, and [`Session::with_surface`] shows them. Draws that arrive together and lie close
    /// together are one event.
    Drawn {
        /// The display channel.
        channel_id: u8,
        /// The surface.
        surface_id: u32,
        /// Where.
        rect: Rect,
        /// How many draws these are.
        draws: u32,
        /// When the first of the draws was received.
        at: Instant,
        /// Rises with time; draws that the channel took in at once have the same.
        batch: u64,
    },
    /// How the mouse works from now on.
    MouseMode {
        /// Absolute positions can be had.
        client_supported: bool,
        /// Absolute positions are taken now.
        client: bool,
    },
    /// The server has sent a PING on the main channel.
    Pinged {
        /// When it was taken.
        at: Instant,
    },
    /// The server has taken in a motion of the mouse.
    InputRoundTrip {
        /// How long that took, there and back.
        took: Duration,
    },
    /// The guest's lock lights: 1 scroll, 2 num, 4 caps.
    KeyboardModifiers(u16),
    /// The guest's agent came, went, or said something.
    Agent(AgentEvent),
    /// The server has something to say to people.
    Notice {
        /// How bad it is.
        severity: Severity,
        /// The text, safe to print.
        text: String,
    },
    /// A channel ended while the session goes on.
    ChannelClosed {
        /// Which.
        channel: ChannelId,
        /// What was wrong; `None` when the server just closed it.
        reason: Option<String>,
    },
    /// Something was left out for the first time: what is on the surfaces may not be what the guest drew.
    Unsupported {
        /// On which channel.
        channel: ChannelId,
        /// SPICE's name of it, or a reason.
        what: String,
    },
    /// The session is over.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side ended it.
    Shutdown,
    /// The server closed the main channel: the machine ended, or another client took the session.
    ServerClosed,
    /// The server has sent its clients away: the machine was migrated.
    Moved(MovedTo),
    /// The main channel failed.
    Failed(String),
}

/// Where a machine was migrated to, as its old server says. Nothing has checked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTo {
    /// Name or address, safe to print.
    pub host: String,
    /// Plain port.
    pub port: Option<u16>,
    /// TLS port.
    pub tls_port: Option<u16>,
    /// The subject of its certificate, safe to print.
    pub host_subject: Option<String>,
}

impl fmt::Display for MovedTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        for (key, port) in [("port", self.port), ("tls-port", self.tls_port)] {
            if let Some(port) = port {
                write!(f, ", {key} {port}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("shut down"),
            Self::ServerClosed => {
                f.write_str("the server closed the session, or another client took it over")
            }
            Self::Moved(to) => write!(f, "the machine was migrated to {to}"),
            Self::Failed(reason) => write!(f, "main channel failed: {reason}"),
        }
    }
}

/// Why there is no session, or nothing can be typed.
#[derive(Debug, Error)]
pub enum SessionError {
    /// No connection.
    #[error("open {channel}: connect to {endpoint}")]
    Connect {
        /// The channel it was for.
        channel: ChannelId,
        /// The server.
        endpoint: Endpoint,
        /// What the system says.
        source: io::Error,
    },
    /// A connection that does not come about.
    #[error("open {channel}: no connection to {endpoint} within {after:?}")]
    ConnectTimeout {
        /// The channel it was for.
        channel: ChannelId,
        /// The server.
        endpoint: Endpoint,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is no way for a channel.
    #[error("open {channel}")]
    Target {
        /// Which.
        channel: ChannelId,
        /// Why.
        source: TargetError,
    },
    /// There is no TLS.
    #[error("open {channel}: TLS with {endpoint}")]
    Tls {
        /// The channel it was for.
        channel: ChannelId,
        /// The server.
        endpoint: Endpoint,
        /// What failed.
        source: TlsError,
    },
    /// The proxy does not let us through.
    #[error("open {channel}")]
    Proxy {
        /// The channel it was for.
        channel: ChannelId,
        /// What failed.
        source: ProxyError,
    },
    /// A handshake failed.
    #[error("open {channel}")]
    Link {
        /// The channel it was for.
        channel: ChannelId,
        /// What failed.
        source: LinkError,
    },
    /// The main channel does not say what it has to.
    #[error("main channel: no {what} within {after:?}")]
    Silent {
        /// The message awaited.
        what: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The session ended while it was being opened.
    #[error("session ended while connecting: {0}")]
    Ended(CloseReason),
    /// A number that is no key.
    #[error(transparent)]
    KeyCode(#[from] KeyCodeError),
    /// There is no inputs channel, or none any more.
    #[error("no inputs channel is open")]
    InputsClosed,
}

impl SessionError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Link { source, .. } => source.hint(),
            Self::Target { source, .. } => Some(source.hint()),
            Self::Tls { source, .. } => source.hint(),
            Self::Proxy { source, .. } => Some(source.hint()),
            Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                Some("is the machine running, and is this its SPICE address?")
            }
            _ => None,
        }
    }
}

/// The screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryInfo {
    /// The display channel.
    pub channel_id: u8,
    /// The surface.
    pub surface_id: u32,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Changes when the screen is created anew, black, even with the same id and size.
    pub generation: u64,
}

/// A surface of a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurfaceFacts {
    /// The number of the graphics device, which is that of its display channel.
    pub channel_id: u8,
    /// Its id there.
    pub surface_id: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether it is the screen of its channel.
    pub is_screen: bool,
}

/// What a session has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// By channel, main first.
    pub channels: Vec<ChannelStats>,
}

/// What a channel has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelStats {
    /// Which.
    pub channel: ChannelId,
    /// What was counted.
    pub counters: Counters,
}

/// A handle on a session. The session ends when the last one is dropped, or after [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

/// The main channel, and the way to its task.
pub(super) type MainHandle = (Arc<Mutex<MainChannel>>, mpsc::UnboundedSender<Request<MainChannel>>);

/// The open channels, as the supervisor hands them over.
#[derive(Default)]
pub(super) struct Channels {
    pub(super) shared: Arc<Shared>,
    pub(super) main: Option<MainHandle>,
    pub(super) displays: BTreeMap<u8, Arc<Mutex<DisplayChannel>>>,
    pub(super) inputs: Option<mpsc::UnboundedSender<Request<InputsChannel>>>,
    pub(super) cursors: BTreeMap<u8, Arc<Mutex<CursorChannel>>>,
    pub(super) counted: Vec<(ChannelId, Arc<dyn CountersSource>)>,
}

struct Inner {
    channels: Channels,
    recorder: Option<Recorder>,
    finished: watch::Receiver<bool>,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

/// A machine behind its lock, for counting only.
pub(super) trait CountersSource: Send + Sync {
    fn counters(&self) -> Counters;
}

impl<M: Machine + Send> CountersSource for Mutex<M> {
    fn counters(&self) -> Counters {
        lock(self).counters().clone()
    }
}

impl Session {
    /// Connects, opens main, then all displays, inputs and cursor at once, and returns when all are open.
    ///
    /// Must be called within a tokio runtime. Cancel safe: a dropped call closes what it has opened, in the
    /// background and in the order servers survive.
    pub async fn connect(
        options: SessionOptions,
    ) -> Result<(Self, mpsc::UnboundedReceiver<SessionEvent>), SessionError> {
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let (events, receiver) = mpsc::unbounded_channel();
        let (ready, opened) = oneshot::channel();
        let (finishing, finished) = watch::channel(false);
        let recorder = options.recorder.clone();
        tokio::spawn(supervisor::run(options, events, ready, finishing, cancel.clone()));
        let channels = opened.await.map_err(|_| SessionError::Ended(CloseReason::Shutdown))??;
        let inner = Inner { channels, recorder, finished, cancel, _cancel_on_drop: guard };
        Ok((Self { inner: Arc::new(inner) }, receiver))
    }

    /// Queues a press. `code` is an AT set-1 make code, `0xE0cc` for an extended key. Returning says that it is
    /// queued, in order, not that it is sent.
    pub fn key_down(&self, code: u16) -> Result<(), SessionError> {
        let key = KeyCode::try_from(code)?;
        self.request(Request::Change(Box::new(move |inputs| inputs.key_down(key))))
    }

    /// Queues a release; `code` is the make code, as for [`key_down`](Self::key_down).
    pub fn key_up(&self, code: u16) -> Result<(), SessionError> {
        let key = KeyCode::try_from(code)?;
        self.request(Request::Change(Box::new(move |inputs| inputs.key_up(key))))
    }

    /// Queues a motion of the mouse. A server that cannot keep up gets fewer, which end in the same place.
    pub fn mouse_move(&self, motion: Motion) -> Result<(), SessionError> {
        self.request(Request::Change(Box::new(move |inputs| inputs.mouse_move(motion, Instant::now()))))
    }

    /// Asks for an [`InputRoundTrip`](SessionEvent::InputRoundTrip), with motions that move nothing.
    pub fn probe_inputs(&self) -> Result<(), SessionError> {
        self.request(Request::Change(Box::new(|inputs| inputs.probe(Instant::now()))))
    }

    /// Queues a press of a mouse button: 1 left, 2 middle, 3 right, 4 and 5 a notch of the wheel up and down, 6 side,
    /// 7 extra.
    pub fn mouse_press(&self, button: u8) -> Result<(), SessionError> {
        self.request(Request::Change(Box::new(move |inputs| inputs.mouse_press(button))))
    }

    /// Queues a release of a mouse button.
    pub fn mouse_release(&self, button: u8) -> Result<(), SessionError> {
        self.request(Request::Change(Box::new(move |inputs| inputs.mouse_release(button))))
    }

    /// Queues a wish for the guest's lock lights: 1 scroll, 2 num, 4 caps. The server presses lock keys until they are so.
    pub fn set_keyboard_modifiers(&self, modifiers: u16) -> Result<(), SessionError> {
        self.request(Request::Change(Box::new(move |inputs| inputs.set_modifiers(modifiers))))
    }

    /// Resolves when everything queued so far has been written to the socket; fails when it cannot be any more.
    pub fn inputs_flushed(&self) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let (done, flushed) = oneshot::channel();
        let requested = self.request(Request::Flush(done));
        async move {
            requested?;
            flushed.await.map_err(|_| SessionError::InputsClosed)
        }
    }

    /// Calls `f` with a surface, locked against change: be short. `None` when there is no such surface now.
    ///
    /// Surfaces stay readable after the session has ended.
    pub fn with_surface<R>(
        &self,
        channel_id: u8,
        surface_id: u32,
        f: impl FnOnce(&Surface) -> R,
    ) -> Option<R> {
        let display = lock(self.inner.channels.displays.get(&channel_id)?);
        display.surface(surface_id).map(f)
    }

    /// The screen of the first display channel that has one. `None` is a normal state early in a boot and
    /// during mode changes.
    pub fn primary(&self) -> Option<PrimaryInfo> {
        self.inner.channels.displays.iter().find_map(|(channel_id, display)| {
            let display = lock(display);
            let (surface_id, surface) = display.primary()?;
            let (width, height, generation) = (surface.width(), surface.height(), surface.generation());
            Some(PrimaryInfo { channel_id: *channel_id, surface_id, width, height, generation })
        })
    }

    /// All surfaces of all display channels, with whether they are the screen of theirs.
    pub fn surfaces(&self) -> Vec<SurfaceFacts> {
        let mut all = Vec::new();
        for (&channel_id, display) in &self.inner.channels.displays {
            let display = lock(display);
            let screen = display.primary().map(|(id, _)| id);
            all.extend(display.surfaces().map(|(surface_id, surface)| SurfaceFacts {
                channel_id,
                surface_id,
                width: surface.width(),
                height: surface.height(),
                is_screen: screen == Some(surface_id),
            }));
        }
        all
    }

    /// What became of the video streams of a display channel, and how often its screen was marked.
    pub fn streams(&self, channel_id: u8) -> Option<(StreamLog, u64)> {
        let display = lock(self.inner.channels.displays.get(&channel_id)?);
        Some((display.streams().clone(), display.marks()))
    }

    /// The visible parts of the surfaces of one display channel; none without such a channel.
    pub fn monitors(&self, channel_id: u8) -> Vec<Monitor> {
        self.inner
            .channels
            .displays
            .get(&channel_id)
            .map(|display| lock(display).monitors())
            .unwrap_or_default()
    }

    /// The visible parts of all surfaces: by display channel, in the server's order.
    pub fn heads(&self) -> Vec<(u8, Monitor)> {
        let displays = self.inner.channels.displays.iter();
        displays
            .flat_map(|(id, display)| lock(display).monitors().into_iter().map(|head| (*id, head)))
            .collect()
    }

    /// The pointer as the guest's device of that number has it; `None` when there is no such cursor channel. It is on no
    /// surface.
    pub fn cursor(&self, channel_id: u8) -> Option<CursorState> {
        self.inner.channels.cursors.get(&channel_id).map(|cursor| lock(cursor).state().clone())
    }

    /// What is known of the guest's agent.
    pub fn agent(&self) -> AgentState {
        let main = self.inner.channels.main.as_ref();
        main.map(|(main, _)| lock(main).agent().clone()).unwrap_or_default()
    }

    /// Offers text to the guest, which gets it when it asks for it.
    pub fn agent_copy(&self, selection: Selection, text: &str) -> Result<(), AgentError> {
        self.on_main(|main| main.agent_copy(selection, text.as_bytes().into()))
    }

    /// Asks for the text that the guest offers; it comes as [`AgentEvent::Fetched`], or never.
    pub fn agent_fetch(&self, selection: Selection) -> Result<(), AgentError> {
        self.on_main(|main| main.agent_fetch(selection))
    }

    /// The text that was fetched last, as the guest sent it.
    pub fn agent_fetched(&self, selection: Selection) -> Option<Arc<[u8]>> {
        lock(&self.inner.channels.main.as_ref()?.0).agent_fetched(selection)
    }

    /// Asks for one monitor of this size.
    pub fn agent_resize(&self, width: u32, height: u32) -> Result<(), AgentError> {
        self.on_main(|main| main.agent_resize(vec![(width, height)]))
    }

    /// Has the main channel do something, and its task send what comes of it.
    fn on_main(
        &self,
        act: impl FnOnce(&mut MainChannel) -> Result<(), AgentError>,
    ) -> Result<(), AgentError> {
        let (main, requests) = self.inner.channels.main.as_ref().ok_or(AgentError::Closed)?;
        if requests.is_closed() {
            return Err(AgentError::Closed);
        }
        act(&mut lock(main))?;
        requests.send(Request::Change(Box::new(|_| {}))).map_err(|_| AgentError::Closed)
    }

    /// Whether a screen that is destroyed and created anew, as large as before, keeps its pixels.
    ///
    /// QEMU's qxl, used as plain VGA, makes its surface anew when a snapshot is loaded, black, and then sends only what
    /// differs from what it had sent before.
    pub fn hold_screen(&self, holds: bool) {
        if let Some(recorder) = &self.inner.recorder {
            recorder.hold_screen(holds);
        }
        for display in self.inner.channels.displays.values() {
            lock(display).hold_screen(holds);
        }
    }

    /// Somebody looks at the surfaces after every [`SessionEvent::Drawn`], and has done so up to this batch: from here on a
    /// display channel draws nothing more before its last batch was looked at, for a second at the longest. `None`: nobody
    /// looks any more.
    pub fn look_up_to(&self, batch: Option<u64>) {
        self.inner.channels.shared.pace.look_up_to(batch);
    }

    /// What was counted so far.
    pub fn stats(&self) -> SessionStats {
        let channels = self.inner.channels.counted.iter();
        let channels =
            channels.map(|(channel, source)| ChannelStats { channel: *channel, counters: source.counters() });
        SessionStats { channels: channels.collect() }
    }

    /// Closes this end and waits until every task has ended. What was queued but not flushed is lost.
    pub async fn shutdown(&self) {
        self.inner.cancel.cancel();
        let mut finished = self.inner.finished.clone();
        // An error means that the supervisor is gone, which is as finished as it gets.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    fn request(&self, request: Request<InputsChannel>) -> Result<(), SessionError> {
        let inputs = self.inner.channels.inputs.as_ref().ok_or(SessionError::InputsClosed)?;
        inputs.send(request).map_err(|_| SessionError::InputsClosed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("primary", &self.primary()).finish_non_exhaustive()
    }
}
