//! A console over the control socket of somebody's client (control-socket protocol).
//!
//! Start reading at [`ControlConsole::connect`]. What a server can do is asked for: one that does not tell of draws is
//! looked at now and then, one of protocol 1.1 gets no extended keys. Pixels are fetched when somebody wants to see them:
//! see [`Console::refreshed`]. One task hears the events, one watches the surfaces, one the answers to keys.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use visual_digest::{Frame, Record};

use super::{Area, Console, ConsoleError, ConsoleEvent, Head, MouseAction, Scancode, Screenshot};
use crate::control::client::{Client, ClientEnd, ClientError, ClientOptions, Pending};
use crate::control::protocol::{
    Call, Event, EventKind, EventNames, KeyState, PictureFormat, ScreenshotParams, ScreenshotResult,
    SendKeyParams, StatusResult, SubscribeResult, SurfaceInfo, Version,
};
use crate::journal::ObservedDigest;

/// A console whose pixels and keys go through a control socket. Dropping it closes the connection.
pub struct ControlConsole {
    shared: Arc<Shared>,
    _tasks: DropGuard,
}

/// What the tasks and the handle have in common.
struct Shared {
    client: Client,
    /// Gone when [`ConsoleEvent::Closed`] was said.
    events: Mutex<Option<mpsc::UnboundedSender<ConsoleEvent>>>,
    /// The events that the server has agreed to tell.
    subscribed: Vec<EventKind>,
    screen: Mutex<Screen>,
    /// Taken while a picture is fetched.
    fetching: tokio::sync::Mutex<()>,
    /// The surfaces may be others now.
    look_again: Notify,
    keys: mpsc::UnboundedSender<Pending>,
    /// How many keys were queued, and how many were answered.
    keys_queued: Mutex<u64>,
    keys_answered: watch::Sender<u64>,
    /// What the server said of a key that it refused, until somebody was told.
    refused: Mutex<Option<String>>,
}

/// What is known of the screen.
#[derive(Default)]
struct Screen {
    /// The primary surface.
    primary: Option<SurfaceInfo>,
    /// The last picture that was fetched.
    picture: Option<Arc<Screenshot>>,
    /// When that was asked for.
    asked_at: Option<Instant>,
    /// Whether something was drawn since.
    is_stale: bool,
}

impl ControlConsole {
    /// Connects, and returns the console with its events. The last event is [`ConsoleEvent::Closed`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect(
        path: &Path,
        options: ClientOptions,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<ConsoleEvent>), ClientError> {
        let (client, told) = Client::connect(path, options).await?;
        let wanted: Vec<String> = WANTED
            .into_iter()
            .filter(|kind| client.has_event(*kind))
            .map(|kind| kind.name().to_owned())
            .collect();
        let answer: SubscribeResult = client.call(Call::Subscribe(EventNames { events: wanted })).await?;
        let subscribed = answer.subscribed.iter().filter_map(|name| EventKind::by_name(name)).collect();

        let (sender, events) = mpsc::unbounded_channel();
        let (keys, pending) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            client,
            events: Mutex::new(Some(sender)),
            subscribed,
            screen: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            look_again: Notify::new(),
            keys,
            keys_queued: Mutex::new(0),
            keys_answered: watch::Sender::new(0),
            refused: Mutex::default(),
        });
        shared.say_hello();
        let stop = CancellationToken::new();
        let until_stopped = |stop: CancellationToken, task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            tokio::spawn(async move { stop.run_until_cancelled(task).await });
        };
        until_stopped(stop.clone(), Box::pin(hear(Arc::clone(&shared), told)));
        until_stopped(stop.clone(), Box::pin(watch_surfaces(Arc::clone(&shared))));
        until_stopped(stop.clone(), Box::pin(watch_keys(Arc::clone(&shared), pending)));
        Ok((Arc::new(Self { shared, _tasks: stop.drop_guard() }), events))
    }

    /// What the server calls itself.
    pub fn server_name(&self) -> &str {
        &self.shared.client.hello().server_name
    }

    /// What the server speaks.
    pub fn version(&self) -> Version {
        self.shared.client.version()
    }

    /// Whether the server tells of this.
    pub fn tells(&self, kind: EventKind) -> bool {
        self.shared.tells(kind)
    }

    /// Resolves when the connection has ended.
    pub async fn ended(&self) -> ClientEnd {
        self.shared.client.closed().await
    }

    /// How the connection ended, if it has.
    pub fn end(&self) -> Option<ClientEnd> {
        self.shared.client.end()
    }
}

impl Console for ControlConsole {
    fn key_down(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.shared.send_key(code.0, KeyState::Down)
    }

    fn key_up(&self, code: Scancode) -> Result<(), ConsoleError> {
        // Some servers forget the break bit, and none minds one that is there already.
        self.shared.send_key(code.0 | BREAK, KeyState::Up)
    }

    fn mouse(&self, _action: MouseAction) -> Result<(), ConsoleError> {
        let reason = "a control socket carries no mouse".to_owned();
        Err(ConsoleError::Refused { reason })
    }

    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // It never does; who asks has a deadline.
        Box::pin(std::future::pending())
    }

    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let queued = *lock(&self.shared.keys_queued);
        let mut answered = self.shared.keys_answered.subscribe();
        Box::pin(async move {
            // When nobody counts any more the console is closed, and the next key says so.
            let _ = answered.wait_for(|answered| *answered >= queued).await;
        })
    }

    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        let Some(picture) = lock(&self.shared.screen).picture.clone() else { return false };
        let stride = usize::try_from(picture.width).unwrap_or(usize::MAX).saturating_mul(4);
        Frame::new(picture.width, picture.height, stride, &picture.pixels).map(&mut *look).is_ok()
    }

    fn heads(&self) -> Vec<Head> {
        // Surfaces beside the screen cannot be told from each other.
        let primary = lock(&self.shared.screen).primary;
        let head = primary.map(|SurfaceInfo { surface_id, width, height, .. }| Head {
            display: 0,
            surface_id,
            area: Area { left: 0, top: 0, right: width, bottom: height },
        });
        head.into_iter().collect()
    }

    fn refreshed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            match tokio::time::timeout(PICTURE, self.shared.refresh()).await {
                Ok(Ok(())) | Ok(Err(ClientError::Closed { .. })) => {}
                Ok(Err(error)) => self.shared.notice(format!("no picture of the screen: {error}")),
                Err(_) => self.shared.notice(format!("no picture of the screen within {PICTURE:?}")),
            }
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.client.close())
    }
}

impl Shared {
    fn tells(&self, kind: EventKind) -> bool {
        self.subscribed.contains(&kind)
    }

    fn emit(&self, event: ConsoleEvent) {
        if let Some(events) = &*lock(&self.events) {
            // Nobody has to listen.
            let _ = events.send(event);
        }
    }

    fn notice(&self, text: String) {
        self.emit(ConsoleEvent::Notice { text });
    }

    /// Says who the server is, and what of the machine it does not show.
    fn say_hello(&self) {
        self.emit(ConsoleEvent::Connected { channels: vec!["control".to_owned()] });
        let hello = self.client.hello();
        let version = self.client.version();
        self.notice(format!("control socket: server {:?}, protocol {version}", hello.server_name));
        if !self.tells(EventKind::SurfaceDrawn) {
            self.notice(format!(
                "the server does not tell of draws: its screen is compared every {:.1} s, and what changes for a shorter \
                 time is not seen",
                LOOK.as_secs_f64()
            ));
        }
        if version < EXTENDED_KEYS {
            self.notice(format!(
                "protocol {version} garbles extended keys such as the arrows, so they are not sent"
            ));
        }
    }

    fn send_key(&self, scancode: u16, state: KeyState) -> Result<(), ConsoleError> {
        if let Some(end) = self.client.end() {
            return Err(ConsoleError::Closed { reason: end.to_string() });
        }
        if let Some(refused) = lock(&self.refused).take() {
            let reason = format!("the server refused an earlier key: {refused}");
            return Err(ConsoleError::Refused { reason });
        }
        let version = self.client.version();
        if scancode > 0xff && version < EXTENDED_KEYS {
            let reason = format!(
                "extended keys want a server of protocol {EXTENDED_KEYS} or later, this one speaks {version}"
            );
            return Err(ConsoleError::Refused { reason });
        }
        // Held while the key is queued: whoever waits for all keys counts this one.
        let mut queued = lock(&self.keys_queued);
        let params = SendKeyParams { scancode, state: state.name().to_owned() };
        let pending = self.client.send(Call::SendKey(params));
        if self.keys.send(pending).is_err() {
            return Err(ConsoleError::Closed { reason: "it is being closed".to_owned() });
        }
        *queued += 1;
        Ok(())
    }

    /// Fetches a picture, unless the one that is there is as good.
    async fn refresh(&self) -> Result<(), ClientError> {
        let wanted_at = Instant::now();
        let _turn = self.fetching.lock().await;
        if lock(&self.screen).primary.is_none() {
            self.look_for_surfaces().await?;
        }
        let knows_draws = self.tells(EventKind::SurfaceDrawn);
        let (is_good, primary) = {
            let screen = lock(&self.screen);
            let is_good = screen.asked_at.is_some_and(|asked_at| {
                // Not every change is a draw command: a video is none.
                asked_at >= wanted_at || knows_draws && !screen.is_stale && asked_at.elapsed() < FRESH
            });
            (is_good && screen.picture.is_some(), screen.primary)
        };
        let Some(primary) = primary.filter(|_| !is_good) else { return Ok(()) };
        self.fetch(primary).await.map(drop)
    }

    /// Fetches a picture; returns whether it is another one than before.
    async fn fetch(&self, primary: SurfaceInfo) -> Result<bool, ClientError> {
        lock(&self.screen).is_stale = false;
        let asked_at = Instant::now();
        let shot = self.client.call(screenshot_of(primary)).await;
        let result = shot.and_then(picture_of);
        let picture = match result {
            Ok(picture) => picture,
            Err(error) => {
                // It is as old as before.
                lock(&self.screen).is_stale = true;
                self.look_again.notify_one();
                return Err(error);
            }
        };
        let is_other_size = (picture.width, picture.height) != (primary.width, primary.height);
        if is_other_size {
            let (width, height) = (picture.width, picture.height);
            self.take_primary(Some(SurfaceInfo { width, height, ..primary }));
            self.look_again.notify_one();
        }
        let mut screen = lock(&self.screen);
        let is_other = screen.picture.as_deref() != Some(&picture);
        screen.picture = Some(Arc::new(picture));
        screen.asked_at = Some(asked_at);
        Ok(is_other)
    }

    /// Asks which surfaces there are; returns whether there is one.
    async fn look_for_surfaces(&self) -> Result<bool, ClientError> {
        let status: StatusResult = self.client.call(Call::Status).await?;
        let primary = primary_of(&status.surfaces);
        if primary.is_some() {
            self.take_primary(primary);
        }
        Ok(primary.is_some())
    }

    /// Takes note of what the screen is now, and tells if it is another one.
    fn take_primary(&self, primary: Option<SurfaceInfo>) {
        let mut screen = lock(&self.screen);
        let before = std::mem::replace(&mut screen.primary, primary);
        if before == primary {
            return;
        }
        screen.is_stale = true;
        screen.asked_at = None;
        screen.picture = None;
        drop(screen);
        if let Some(SurfaceInfo { surface_id, .. }) = before {
            self.emit(ConsoleEvent::SurfaceDestroyed { surface_id });
        }
        if let Some(SurfaceInfo { surface_id, width, height, .. }) = primary {
            self.emit(ConsoleEvent::SurfaceCreated { surface_id, primary: true, width, height });
        }
    }

    /// Takes note that something was drawn.
    fn note_draw(&self, channel_id: u8, surface_id: u32) {
        let mut screen = lock(&self.screen);
        let primary = screen.primary.filter(|it| (it.channel_id, it.surface_id) == (channel_id, surface_id));
        let Some(primary) = primary else {
            drop(screen);
            self.look_again.notify_one();
            return;
        };
        screen.is_stale = true;
        drop(screen);
        self.emit(drawn(primary));
    }
}

/// Where on a surface was drawn is not told.
fn drawn(primary: SurfaceInfo) -> ConsoleEvent {
    let area = Area { left: 0, top: 0, right: primary.width, bottom: primary.height };
    ConsoleEvent::Drawn {
        channel_id: primary.channel_id,
        surface_id: primary.surface_id,
        primary: true,
        area,
        draws: 1,
        at: Instant::now(),
        batch: 0,
    }
}

/// The task that hears what the server tells.
async fn hear(shared: Arc<Shared>, mut told: mpsc::Receiver<Event>) {
    while let Some(event) = told.recv().await {
        match event {
            Event::SurfaceDrawn { display_channel_id, surface_id, .. } => {
                shared.note_draw(display_channel_id, surface_id);
            }
            Event::DigestUpdated { frame_counter, framebuffer_hash, events, .. } => {
                shared.emit(ConsoleEvent::Digest(ObservedDigest {
                    frame_counter,
                    channel_hashes: None,
                    raw_records: records_of(events),
                    unknown_records: Vec::new(),
                    framebuffer_hash,
                }));
            }
            Event::Dropped { count } => {
                // A draw may be among them.
                lock(&shared.screen).is_stale = true;
                shared.look_again.notify_one();
                shared.notice(format!("the control socket lost {count} events on the way"));
            }
            _ => {}
        }
    }
    let reason = shared.client.closed().await.to_string();
    shared.emit(ConsoleEvent::Closed { reason });
    lock(&shared.events).take();
}

/// Records of kinds that this version does not know are left out.
fn records_of(events: Vec<Value>) -> Vec<Record> {
    events.into_iter().filter_map(|event| serde_json::from_value(event).ok()).collect()
}

/// The task that knows which surfaces there are. There is no event for that, so it asks: often until there is one, now
/// and then later, and whenever something hints at a change.
async fn watch_surfaces(shared: Arc<Shared>) {
    let mut empty = 0_u32;
    let compares = !shared.tells(EventKind::SurfaceDrawn);
    loop {
        match shared.look_for_surfaces().await {
            Ok(true) => empty = 0,
            // A server whose pixels are busy says that there are none.
            Ok(false) => {
                empty = empty.saturating_add(1);
                if empty == EMPTY {
                    shared.take_primary(None);
                }
            }
            Err(ClientError::Closed { .. }) => return,
            Err(error) => shared.notice(format!("which surfaces there are is unknown: {error}")),
        }
        let primary = lock(&shared.screen).primary;
        if let Some(primary) = primary.filter(|_| compares) {
            let turn = shared.fetching.lock().await;
            let found = shared.fetch(primary).await;
            drop(turn);
            match found {
                Ok(true) => shared.emit(drawn(primary)),
                Ok(false) => {}
                Err(ClientError::Closed { .. }) => return,
                Err(error) => shared.notice(format!("no picture of the screen: {error}")),
            }
        }
        let pause = if primary.is_some() { LOOK } else { LOOK_FOR_FIRST };
        let _ = tokio::time::timeout(pause, shared.look_again.notified()).await;
        // However often something hints at a change, a server has other things to do.
        tokio::time::sleep(LOOK_FOR_FIRST).await;
    }
}

/// The task that hears what became of keys.
async fn watch_keys(shared: Arc<Shared>, mut pending: mpsc::UnboundedReceiver<Pending>) {
    while let Some(key) = pending.recv().await {
        match key.answer::<Value>().await {
            Ok(_) | Err(ClientError::Closed { .. }) => {}
            Err(error) => {
                shared.notice(format!("a key was not sent: {error}"));
                lock(&shared.refused).get_or_insert_with(|| error.to_string());
            }
        }
        shared.keys_answered.send_modify(|answered| *answered += 1);
    }
}

fn primary_of(surfaces: &[SurfaceInfo]) -> Option<SurfaceInfo> {
    let is_primary = |it: &&SurfaceInfo| (it.channel_id, it.surface_id) == (0, 0);
    surfaces.iter().find(is_primary).or(surfaces.first()).copied()
}

fn screenshot_of(surface: SurfaceInfo) -> Call {
    Call::Screenshot(ScreenshotParams {
        surface_id: Some(surface.surface_id),
        format: Some(PictureFormat::Rgba.name().to_owned()),
    })
}

/// Turns R, G, B, A into B, G, R, 0.
fn picture_of(shot: ScreenshotResult) -> Result<Screenshot, ClientError> {
    let ScreenshotResult { width, height, format, data_base64 } = shot;
    let wrong =
        |reason: String| ClientError::Shape { method: crate::control::protocol::Method::Screenshot, reason };
    if format != PictureFormat::Rgba.name() {
        return Err(wrong(format!("asked for \"rgba\", got {format:?}")));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(data_base64);
    let mut pixels = decoded.map_err(|error| wrong(error.to_string()))?;
    let wanted = u64::from(width) * u64::from(height) * 4;
    if u64::try_from(pixels.len()) != Ok(wanted) {
        return Err(wrong(format!("a picture of {width}x{height} has {wanted} bytes, got {}", pixels.len())));
    }
    for pixel in pixels.chunks_exact_mut(4) {
        pixel.swap(0, 2);
        pixel[3] = 0;
    }
    Ok(Screenshot { width, height, pixels })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a console wants to be told.
const WANTED: [EventKind; 2] = [EventKind::DigestUpdated, EventKind::SurfaceDrawn];
/// The first protocol that encodes extended keys as they should be.
const EXTENDED_KEYS: Version = Version { major: 1, minor: 2 };
/// Of a scancode, in the low byte.
const BREAK: u16 = 0x80;
/// Between two looks at the surfaces.
const LOOK: Duration = Duration::from_millis(500);
/// The same while there is none.
const LOOK_FOR_FIRST: Duration = Duration::from_millis(100);
/// So many looks in a row without a surface, and there is none.
const EMPTY: u32 = 3;
/// For a picture. Who wants to see one is not kept for ever.
const PICTURE: Duration = Duration::from_secs(5);
/// How old a picture may be of which no draw is known.
const FRESH: Duration = Duration::from_millis(300);
