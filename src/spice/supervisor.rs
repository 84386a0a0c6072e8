//! The task above all channel tasks: opens them, outlives them, and says how it ended.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::vec::Drain;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::address::TargetError;
use super::channel::{
    BaseEvent, CursorChannel, DisplayChannel, DisplayEvent, InputsChannel, InputsEvent, Machine, MainChannel,
    MainEvent, PlaybackChannel,
};
use super::codec::glz;
use super::driver::{ChannelEnd, Request, Shared, chain, drive, wait_until};
use super::link::{LinkError, LinkRequest, PendingLink};
use super::pace::{Look, Pace};
use super::session::{Channels, CloseReason, MovedTo, SessionError, SessionEvent, SessionOptions};
use super::transport::{Endpoint, Stream};
use super::wire::link::{Capabilities, ChannelId, ChannelType, LinkCode};

type Events = mpsc::UnboundedSender<SessionEvent>;
type Ready = oneshot::Sender<Result<Channels, SessionError>>;

/// Opens a session, reports it through `ready`, and serves it until it ends or `cancel` is cancelled.
///
/// Never aborted: channel tasks that are halfway through their handshake must come to its end.
pub(super) async fn run(
    options: SessionOptions,
    events: Events,
    ready: Ready,
    finishing: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    options.record_session();
    let options = Arc::new(options);
    let cancel_main = CancellationToken::new();
    let shared = Arc::default();
    let (moved, tasks) = (Arc::default(), JoinSet::new());
    let mut supervisor = Supervisor { options, events, shared, cancel, cancel_main, moved, tasks };
    match supervisor.open().await {
        Ok(channels) => {
            // When nobody waits for the session any more its guard has cancelled it.
            let _ = ready.send(Ok(channels));
        }
        Err(error) => {
            supervisor.cancel.cancel();
            let _ = ready.send(Err(error));
        }
    }
    let reason = supervisor.serve().await;
    // The session's owner may have stopped listening.
    let _ = supervisor.events.send(SessionEvent::Closed { reason });
    finishing.send_replace(true);
}

struct Supervisor {
    options: Arc<SessionOptions>,
    events: Events,
    shared: Arc<Shared>,
    cancel: CancellationToken,
    /// Main closes last: QEMU crashes when it goes away while another channel is being linked.
    cancel_main: CancellationToken,
    /// Where the server has sent us, which ends the session.
    moved: Arc<OnceLock<MovedTo>>,
    tasks: JoinSet<(ChannelId, ChannelEnd)>,
}

/// What the main channel says while a session is being opened.
enum Setup {
    Init(u32),
    Channels(Vec<ChannelId>),
}

impl Supervisor {
    async fn open(&mut self) -> Result<Channels, SessionError> {
        let mut channels = Channels { shared: Arc::clone(&self.shared), ..Channels::default() };
        let mut setup = self.open_main(&mut channels).await?;
        let due = Instant::now() + self.options.handshake_timeout;
        let session_id = loop {
            if let Setup::Init(session_id) = self.main_says(&mut setup, due, "INIT").await? {
                break session_id;
            }
        };
        let due = Instant::now() + self.options.handshake_timeout;
        let listed = loop {
            if let Setup::Channels(listed) = self.main_says(&mut setup, due, "CHANNELS_LIST").await? {
                break listed;
            }
        };
        let mut wanted = wanted(&listed);
        wanted.retain(|channel| !self.options.target.is_disabled(channel.channel_type));
        let _ = self.events.send(SessionEvent::Connected {
            session_id,
            channels: [ChannelId::MAIN].into_iter().chain(wanted.iter().copied()).collect(),
        });
        let mut displays = wanted.iter().filter(|channel| channel.channel_type == ChannelType::DISPLAY);
        let dictionary = match (displays.next(), displays.next()) {
            (Some(first), Some(_)) => {
                self.options.record_shared_window();
                Some(Arc::new(DisplayChannel::dictionary(&self.options.display(*first))))
            }
            _ => None,
        };
        let mut openings = Vec::new();
        // Before the first can wait for another one.
        wanted.iter().for_each(|channel| self.shared.progress.open(*channel));
        for channel in wanted {
            let (opened, opening) = oneshot::channel();
            let (options, shared) = (Arc::clone(&self.options), Arc::clone(&self.shared));
            let opener = Opener { options, session_id, channel, shared, opened };
            openings.push(opening);
            match channel.channel_type {
                ChannelType::DISPLAY => self.spawn_display(opener, dictionary.clone()),
                ChannelType::INPUTS => self.spawn_inputs(opener),
                ChannelType::PLAYBACK => {
                    self.spawn_listener(opener, PlaybackChannel::new(), Opened::Playback);
                }
                _ => self.spawn_listener(opener, CursorChannel::new(), Opened::Cursor),
            }
        }
        for opening in openings {
            let opened = opening.await.map_err(|_| SessionError::Ended(CloseReason::Shutdown))??;
            match opened {
                Opened::Display(channel, machine) => {
                    channels.counted.push((channel, Arc::clone(&machine) as _));
                    channels.displays.insert(channel.id, machine);
                }
                Opened::Inputs(channel, machine, requests) => {
                    channels.counted.push((channel, machine));
                    channels.inputs = Some(requests);
                }
                Opened::Playback(channel, machine) => channels.counted.push((channel, machine)),
                Opened::Cursor(channel, machine) => {
                    channels.counted.push((channel, Arc::clone(&machine) as _));
                    channels.cursors.insert(channel.id, machine);
                }
            }
        }
        Ok(channels)
    }

    async fn open_main(
        &mut self,
        channels: &mut Channels,
    ) -> Result<mpsc::UnboundedReceiver<Setup>, SessionError> {
        let options = Arc::clone(&self.options);
        let linking = async {
            let pending = begin(&options, 0, ChannelId::MAIN, MainChannel::capabilities()).await?;
            finish(&options, ChannelId::MAIN, pending, &[]).await
        };
        let Some(stream) = self.cancel.run_until_cancelled(linking).await else {
            return Err(SessionError::Ended(CloseReason::Shutdown));
        };
        let stream = stream?;
        let machine = Arc::new(Mutex::new(MainChannel::new()));
        channels.counted.push((ChannelId::MAIN, Arc::clone(&machine) as _));
        let (says, setup) = mpsc::unbounded_channel();
        let (requests, requested) = mpsc::unbounded_channel();
        channels.main = Some((Arc::clone(&machine), requests));
        let (events, cancel) = (self.events.clone(), self.cancel_main.clone());
        let (moved, cancel_all, shared) =
            (Arc::clone(&self.moved), self.cancel.clone(), Arc::clone(&self.shared));
        self.tasks.spawn(async move {
            let sink = |batch: Drain<'_, MainEvent>| {
                for event in batch {
                    match event {
                        MainEvent::Moved(to) => {
                            let _ = moved.set(to);
                            cancel_all.cancel();
                        }
                        event => main_event(event, &events, &says),
                    }
                }
                None
            };
            let intake = options.intake(ChannelId::MAIN, shared);
            let end = drive(stream, &machine, intake, requested, sink, cancel).await;
            (ChannelId::MAIN, end)
        });
        Ok(setup)
    }

    /// The main channel's next word, or why there is none.
    async fn main_says(
        &mut self,
        setup: &mut mpsc::UnboundedReceiver<Setup>,
        due: Instant,
        what: &'static str,
    ) -> Result<Setup, SessionError> {
        let after = self.options.handshake_timeout;
        let word = timeout_at(due, setup.recv());
        match self.cancel.run_until_cancelled(word).await.unwrap_or(Ok(None)) {
            Ok(Some(word)) => Ok(word),
            Ok(None) if self.cancel.is_cancelled() => {
                Err(SessionError::Ended(self.sent_away().unwrap_or(CloseReason::Shutdown)))
            }
            Ok(None) => {
                let end = self.tasks.join_next().await.and_then(Result::ok).map(|(_, end)| end);
                Err(SessionError::Ended(close_reason(end)))
            }
            Err(_) => Err(SessionError::Silent { what, after }),
        }
    }

    /// `dictionary` is that of all displays, where there are several.
    fn spawn_display(&mut self, opener: Opener, dictionary: Option<Arc<glz::Dictionary>>) {
        let (events, cancel) = (self.events.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let Opener { options, session_id, channel, shared, opened } = opener;
            let link = async {
                let pending = begin(&options, session_id, channel, DisplayChannel::capabilities()).await?;
                let display_options = options.display(channel);
                let server = pending.server_caps();
                let mut display = match &dictionary {
                    Some(dictionary) => DisplayChannel::sharing(display_options, dictionary, server),
                    None => DisplayChannel::new(display_options, server),
                };
                let greeting: Vec<u8> = std::iter::from_fn(|| display.poll_transmit()).flatten().collect();
                Ok((finish(&options, channel, pending, &greeting).await?, display))
            };
            let (stream, display) = match link.await {
                Ok(linked) => linked,
                Err(error) => return refuse(opened, channel, error),
            };
            let machine = Arc::new(Mutex::new(display));
            let _ = opened.send(Ok(Opened::Display(channel, Arc::clone(&machine))));
            let mut translated = Vec::new();
            let sink = |batch: Drain<'_, _>| {
                translate(channel, batch, &mut translated);
                hand_on(&mut translated, &events, &shared.pace)
            };
            let intake = options.intake(channel, Arc::clone(&shared));
            let end = drive(stream, &machine, intake, no_requests(), sink, cancel).await;
            (channel, end)
        });
    }

    fn spawn_inputs(&mut self, opener: Opener) {
        let (events, cancel) = (self.events.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let Opener { options, session_id, channel, shared, opened } = opener;
            let stream = match link(&options, session_id, channel).await {
                Ok(stream) => stream,
                Err(error) => return refuse(opened, channel, error),
            };
            let machine = Arc::new(Mutex::new(InputsChannel::new()));
            let (requests, requested) = mpsc::unbounded_channel();
            let _ = opened.send(Ok(Opened::Inputs(channel, Arc::clone(&machine), requests)));
            let sink = |batch: Drain<'_, InputsEvent>| {
                for event in batch {
                    let _ = events.send(match event {
                        InputsEvent::KeyModifiers(modifiers) => SessionEvent::KeyboardModifiers(modifiers),
                        InputsEvent::MotionTaken { sent_at } => {
                            SessionEvent::InputRoundTrip { took: sent_at.elapsed() }
                        }
                        InputsEvent::Base(event) => base_event(channel, event),
                    });
                }
                None
            };
            let intake = options.intake(channel, shared);
            let end = drive(stream, &machine, intake, requested, sink, cancel).await;
            (channel, end)
        });
    }

    /// A channel that is only listened to, and tells nothing of its own.
    fn spawn_listener<M: Machine<Event = BaseEvent> + Send + 'static>(
        &mut self,
        opener: Opener,
        machine: M,
        open: fn(ChannelId, Arc<Mutex<M>>) -> Opened,
    ) {
        let (events, cancel) = (self.events.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let Opener { options, session_id, channel, shared, opened } = opener;
            let stream = match link(&options, session_id, channel).await {
                Ok(stream) => stream,
                Err(error) => return refuse(opened, channel, error),
            };
            let machine = Arc::new(Mutex::new(machine));
            let _ = opened.send(Ok(open(channel, Arc::clone(&machine))));
            let sink = |batch: Drain<'_, BaseEvent>| {
                for event in batch {
                    let _ = events.send(base_event(channel, event));
                }
                None
            };
            let intake = options.intake(channel, shared);
            let end = drive(stream, &machine, intake, no_requests(), sink, cancel).await;
            (channel, end)
        });
    }

    /// Waits for all tasks. The end of main ends the session.
    async fn serve(&mut self) -> CloseReason {
        /// A machine that ends closes its channels in any order; only what outlasts this is a channel's own end.
        const MAIN_MAY_FOLLOW: Duration = Duration::from_millis(100);
        let mut reason = None;
        let mut is_closing = false;
        let mut suspects: Vec<(Instant, ChannelId, ChannelEnd)> = Vec::new();
        loop {
            if self.cancel.is_cancelled() && self.tasks.len() <= 1 {
                self.cancel_main.cancel();
            }
            let due = suspects.first().map(|(due, ..)| *due);
            // Cancel safety: `join_next` loses no task when the timer wins.
            let joined = tokio::select! {
                joined = self.tasks.join_next() => joined,
                () = self.cancel.cancelled(), if !is_closing => {
                    is_closing = true;
                    continue;
                }
                () = wait_until(due) => {
                    let (_, channel, end) = suspects.remove(0);
                    let reason = if matches!(end, ChannelEnd::Eof) { None } else { Some(end.to_string()) };
                    let _ = self.events.send(SessionEvent::ChannelClosed { channel, reason });
                    continue;
                }
            };
            match joined {
                None => break,
                Some(Ok((ChannelId::MAIN, end))) => {
                    reason = Some(close_reason(Some(end)));
                    self.cancel.cancel();
                    suspects.clear();
                }
                Some(Ok((channel, end))) if !self.cancel.is_cancelled() => {
                    suspects.push((Instant::now() + MAIN_MAY_FOLLOW, channel, end));
                }
                Some(Ok(_)) => {}
                // A panic in a channel's task: end everything rather than go on without it.
                Some(Err(error)) => {
                    reason.get_or_insert(CloseReason::Failed(error.to_string()));
                    self.cancel.cancel();
                }
            }
        }
        self.sent_away().or(reason).unwrap_or(CloseReason::Shutdown)
    }

    fn sent_away(&self) -> Option<CloseReason> {
        self.moved.get().cloned().map(CloseReason::Moved)
    }
}

/// What a channel's task needs to open its channel.
struct Opener {
    options: Arc<SessionOptions>,
    session_id: u32,
    channel: ChannelId,
    shared: Arc<Shared>,
    opened: oneshot::Sender<Result<Opened, SessionError>>,
}

enum Opened {
    Display(ChannelId, Arc<Mutex<DisplayChannel>>),
    Inputs(ChannelId, Arc<Mutex<InputsChannel>>, mpsc::UnboundedSender<Request<InputsChannel>>),
    Cursor(ChannelId, Arc<Mutex<CursorChannel>>),
    Playback(ChannelId, Arc<Mutex<PlaybackChannel>>),
}

fn refuse(
    opened: oneshot::Sender<Result<Opened, SessionError>>,
    channel: ChannelId,
    error: SessionError,
) -> (ChannelId, ChannelEnd) {
    let _ = opened.send(Err(error));
    (channel, ChannelEnd::Cancelled)
}

/// Links a channel that has no capabilities and says nothing first.
async fn link(options: &SessionOptions, session_id: u32, channel: ChannelId) -> Result<Stream, SessionError> {
    let pending = begin(options, session_id, channel, Capabilities::default()).await?;
    finish(options, channel, pending, &[]).await
}

async fn begin(
    options: &SessionOptions,
    connection_id: u32,
    channel: ChannelId,
    channel_caps: Capabilities,
) -> Result<PendingLink, SessionError> {
    let target = &options.target;
    let request = LinkRequest { connection_id, channel, channel_caps, timeout: options.handshake_timeout };
    let is_tls = target.begins_with_tls(channel.channel_type);
    let is_tls = is_tls.map_err(|source| SessionError::Target { channel, source })?;
    let attempt = async |is_tls| {
        let stream = connect(options, channel, is_tls).await?;
        Ok::<_, SessionError>(super::link::begin(stream, &request).await)
    };
    // The server may have its own idea of which channels go where.
    let linked = match attempt(is_tls).await? {
        Err(LinkError::Refused(LinkCode::NEED_SECURED)) if !is_tls && target.tls.is_some() => {
            attempt(true).await?
        }
        Err(LinkError::Refused(LinkCode::NEED_UNSECURED))
            if is_tls && target.plain.is_some() && target.demands_tls(channel.channel_type).is_none() =>
        {
            attempt(false).await?
        }
        linked => linked,
    };
    linked.map_err(|source| SessionError::Link { channel, source })
}

/// Connects to the plain or the TLS port, through a proxy if there is one.
async fn connect(options: &SessionOptions, channel: ChannelId, is_tls: bool) -> Result<Stream, SessionError> {
    let (target, after) = (&options.target, options.handshake_timeout);
    let tls = target.tls.as_ref().filter(|_| is_tls);
    let endpoint = match tls {
        Some(tls) => Endpoint::Tcp { host: tls.host.clone(), port: tls.port },
        None => {
            let no_port = SessionError::Target { channel, source: TargetError::NoPort };
            target.plain.clone().ok_or(no_port)?
        }
    };
    let stream = match (&endpoint, &target.proxy) {
        (Endpoint::Tcp { host, port }, Some(proxy)) => {
            let tunnel = super::proxy::connect(proxy, host, *port, after).await;
            Stream::Tcp(tunnel.map_err(|source| SessionError::Proxy { channel, source })?)
        }
        (endpoint, _) => match timeout(after, Stream::connect(endpoint)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => {
                return Err(SessionError::Connect { channel, endpoint: endpoint.clone(), source });
            }
            Err(_) => {
                return Err(SessionError::ConnectTimeout { channel, endpoint: endpoint.clone(), after });
            }
        },
    };
    match (stream, tls) {
        (Stream::Tcp(socket), Some(tls)) => match super::tls::connect(socket, tls, after).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(source) => Err(SessionError::Tls { channel, endpoint, source }),
        },
        (stream, _) => Ok(stream),
    }
}

async fn finish(
    options: &SessionOptions,
    channel: ChannelId,
    pending: PendingLink,
    greeting: &[u8],
) -> Result<Stream, SessionError> {
    let (common, channel_caps) = (pending.common_caps().clone(), pending.server_caps().clone());
    let linked = pending.finish(options.password.as_ref(), greeting).await;
    if let (Some(recorder), Ok(_)) = (&options.recorder, &linked) {
        recorder.opened(channel, &common, &channel_caps);
    }
    linked.map_err(|source| SessionError::Link { channel, source })
}

/// For channels that are only listened to.
fn no_requests<M>() -> mpsc::UnboundedReceiver<Request<M>> {
    mpsc::unbounded_channel().1
}

/// Displays with their cursors, sound, and the first inputs channel: an open channel that nobody reads blocks the machine.
fn wanted(listed: &[ChannelId]) -> Vec<ChannelId> {
    let mut wanted: Vec<ChannelId> = Vec::new();
    for channel in listed {
        let is_wanted = match channel.channel_type {
            ChannelType::DISPLAY | ChannelType::CURSOR | ChannelType::PLAYBACK => !wanted.contains(channel),
            ChannelType::INPUTS => !wanted.iter().any(|w| w.channel_type == ChannelType::INPUTS),
            _ => false,
        };
        if is_wanted {
            wanted.push(*channel);
        }
    }
    wanted.truncate(MOST_CHANNELS);
    wanted
}

/// Sixteen displays, each with a cursor, and more: each channel may take memory of its own.
const MOST_CHANNELS: usize = 64;

fn close_reason(end: Option<ChannelEnd>) -> CloseReason {
    match end {
        Some(ChannelEnd::Eof) => CloseReason::ServerClosed,
        Some(ChannelEnd::Cancelled) | None => CloseReason::Shutdown,
        Some(end) => CloseReason::Failed(chain(&end)),
    }
}

fn base_event(channel: ChannelId, event: BaseEvent) -> SessionEvent {
    match event {
        BaseEvent::Notice { severity, text } => SessionEvent::Notice { severity, text },
        BaseEvent::Unsupported { what } => SessionEvent::Unsupported { channel, what },
        BaseEvent::Pinged => SessionEvent::Pinged { at: std::time::Instant::now() },
    }
}

fn main_event(event: MainEvent, events: &Events, setup: &mpsc::UnboundedSender<Setup>) {
    // Neither the session's owner nor its opener need to be listening still.
    let _ = match event {
        MainEvent::Init { session_id } => return drop(setup.send(Setup::Init(session_id))),
        MainEvent::Channels(channels) => return drop(setup.send(Setup::Channels(channels))),
        MainEvent::MouseMode { is_client_supported, is_client } => {
            events.send(SessionEvent::MouseMode { client_supported: is_client_supported, client: is_client })
        }
        MainEvent::Agent(event) => events.send(SessionEvent::Agent(event)),
        MainEvent::Name(_) | MainEvent::Moved(_) => return,
        MainEvent::Base(event) => events.send(base_event(ChannelId::MAIN, event)),
    };
}

/// Translates a batch; draws of one surface that lie close together become one event.
fn translate(channel: ChannelId, batch: Drain<'_, DisplayEvent>, translated: &mut Vec<SessionEvent>) {
    let channel_id = channel.id;
    for event in batch {
        let event = match event {
            DisplayEvent::Drawn { surface_id, rect, at } => {
                if let Some(SessionEvent::Drawn { surface_id: last_id, rect: last, draws, .. }) =
                    translated.last_mut()
                    && *last_id == surface_id
                    && last.union(&rect).area() <= 2 * (last.area() + rect.area())
                {
                    *last = last.union(&rect);
                    *draws += 1;
                    continue;
                }
                SessionEvent::Drawn { channel_id, surface_id, rect, draws: 1, at, batch: 0 }
            }
            DisplayEvent::SurfaceCreated { surface_id, width, height, is_primary } => {
                SessionEvent::SurfaceCreated { channel_id, surface_id, width, height, primary: is_primary }
            }
            DisplayEvent::SurfaceDestroyed { surface_id } => {
                SessionEvent::SurfaceDestroyed { channel_id, surface_id }
            }
            DisplayEvent::Marked => SessionEvent::Marked { channel_id },
            DisplayEvent::Monitors(monitors) => SessionEvent::Monitors { channel_id, monitors },
            DisplayEvent::Base(event) => base_event(channel, event),
        };
        translated.push(event);
    }
}

/// Sends what a display has to tell. Where something was drawn that is looked at, returns what to wait for.
fn hand_on(translated: &mut Vec<SessionEvent>, events: &Events, pace: &Pace) -> Option<Look> {
    let has_drawn = translated.iter().any(|event| matches!(event, SessionEvent::Drawn { .. }));
    let mut send = |number: u64| {
        for mut event in translated.drain(..) {
            if let SessionEvent::Drawn { batch, .. } = &mut event {
                *batch = number;
            }
            // The session's owner may have stopped listening.
            let _ = events.send(event);
        }
    };
    if has_drawn {
        return pace.hand_on(send);
    }
    send(0);
    None
}
