//! A console carried by a SPICE session.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use visual_digest::Frame;

use super::agent::{AgentError, AgentState, GuestAgent, Selection};
use super::evidence::{
    DisplayTraffic, Head, LockLights, Pointer, PointerShape, Sound, StreamTraffic, Traffic,
};
use super::{Area, Console, ConsoleError, ConsoleEvent, MouseAction, Scancode, SurfaceFacts};
use crate::spice::wire::inputs::modifier;
use crate::spice::{
    ChannelId, ChannelType, CloseReason, Motion, Rect, Session, SessionError, SessionEvent, SessionOptions,
    SoundCount, StreamFacts,
};

/// A console carried by a SPICE session.
pub struct SpiceConsole {
    session: Session,
    /// A display channel that ended before the session did, and why, if it was not just closed.
    display_end: watch::Sender<Option<(ChannelId, Option<String>)>>,
    /// How the session ended.
    ended: watch::Sender<Option<CloseReason>>,
    /// Whether the machine takes absolute positions.
    takes_positions: watch::Sender<bool>,
    /// The lock lights as the guest has them.
    lights: watch::Sender<Option<LockLights>>,
    /// Keys that went down.
    keys_sent: AtomicU64,
}

impl SpiceConsole {
    /// Connects, and returns the console with its events. The last event is [`ConsoleEvent::Closed`].
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn connect(
        options: SessionOptions,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<ConsoleEvent>), SessionError> {
        let (session, mut session_events) = Session::connect(options).await?;
        let (display_end, ended) = (watch::Sender::new(None), watch::Sender::new(None));
        let (takes_positions, lights) = (watch::Sender::new(false), watch::Sender::new(None));
        let keys_sent = AtomicU64::new(0);
        let console = Arc::new(Self { session, display_end, ended, takes_positions, lights, keys_sent });
        let (sender, events) = mpsc::unbounded_channel();
        let translator = Arc::downgrade(&console);
        tokio::spawn(async move {
            while let Some(event) = session_events.recv().await {
                let console = translator.upgrade();
                if let (Some(console), SessionEvent::ChannelClosed { channel, reason }) = (&console, &event)
                    && channel.channel_type == ChannelType::DISPLAY
                {
                    console.display_end.send_replace(Some((*channel, reason.clone())));
                }
                if let (Some(console), SessionEvent::Closed { reason }) = (&console, &event) {
                    console.ended.send_replace(Some(reason.clone()));
                }
                if let (Some(console), SessionEvent::MouseMode { client, .. }) = (&console, &event) {
                    console.takes_positions.send_replace(*client);
                }
                if let (Some(console), SessionEvent::KeyboardModifiers(bits)) = (&console, &event) {
                    console.lights.send_replace(Some(lights_of(*bits)));
                }
                let primary = console.and_then(|console| console.primary_surface());
                if let Some(event) = translate(event, primary)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        });
        Ok((console, events))
    }

    /// Resolves when a display channel failed while the session went on: what is on the screen is not seen any more.
    pub async fn display_failure(&self) -> String {
        let mut end = self.display_end.subscribe();
        let has_failed = |end: &Option<(_, Option<_>)>| matches!(end, Some((_, Some(_))));
        match end.wait_for(has_failed).await.map(|end| end.clone()) {
            Ok(Some((channel, Some(reason)))) => format!("{channel}: {reason}"),
            // The sender lives in `self`, so this is never reached.
            _ => std::future::pending().await,
        }
    }

    /// The same, also when the display channel was closed without a word.
    pub async fn display_end(&self) -> String {
        let mut end = self.display_end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some((channel, reason))) => {
                format!("{channel}: {}", reason.as_deref().unwrap_or("closed by the server"))
            }
            // The sender lives in `self`, so this is never reached.
            _ => std::future::pending().await,
        }
    }

    /// How many keys were sent so far, counting how often one went down.
    pub fn keys_sent(&self) -> u64 {
        self.keys_sent.load(Ordering::Acquire)
    }

    /// Resolves when the session has ended.
    pub async fn ended(&self) -> CloseReason {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives in `self`, so this is never reached.
            _ => std::future::pending().await,
        }
    }

    /// How the session ended, if it has.
    pub fn end(&self) -> Option<CloseReason> {
        self.ended.borrow().clone()
    }

    /// Channel and surface of the screen.
    fn primary_surface(&self) -> Option<(u8, u32)> {
        self.session.primary().map(|primary| (primary.channel_id, primary.surface_id))
    }
}

impl Console for SpiceConsole {
    fn key_down(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.session.key_down(code.0).map_err(closed)?;
        self.keys_sent.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn key_up(&self, code: Scancode) -> Result<(), ConsoleError> {
        self.session.key_up(code.0).map_err(closed)
    }

    fn mouse(&self, action: MouseAction) -> Result<(), ConsoleError> {
        let done = match action {
            MouseAction::MoveTo { x, y } => {
                let display_id = self.session.primary().map_or(0, |primary| primary.channel_id);
                self.session.mouse_move(Motion::To { x, y, display_id })
            }
            MouseAction::MoveBy { dx, dy } => self.session.mouse_move(Motion::By { dx, dy }),
            MouseAction::Press(button) => self.session.mouse_press(button.number()),
            MouseAction::Release(button) => self.session.mouse_release(button.number()),
        };
        done.map_err(closed)
    }

    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut takes_positions = self.takes_positions.subscribe();
        Box::pin(async move {
            if takes_positions.wait_for(|takes| *takes).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let flushed = self.session.inputs_flushed();
        Box::pin(async move {
            // A closed channel has nothing left to flush; the next key says that it is closed.
            let _ = flushed.await;
        })
    }

    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        let Some((channel_id, surface_id)) = self.primary_surface() else { return false };
        let looked = self.session.with_surface(channel_id, surface_id, |surface| {
            let frame =
                Frame::new(surface.width(), surface.height(), surface.stride_bytes(), surface.pixels());
            frame.map(&mut *look).is_ok()
        });
        looked == Some(true)
    }

    fn look_up_to(&self, batch: Option<u64>) {
        self.session.look_up_to(batch);
    }

    fn hold_screen(&self, holds: bool) {
        self.session.hold_screen(holds);
    }

    fn heads(&self) -> Vec<Head> {
        let heads = self.session.heads().into_iter();
        let heads = heads.map(|(display, head)| Head {
            display,
            surface_id: head.surface_id,
            area: area_of(head.rect),
        });
        heads.collect()
    }

    fn with_head(&self, head: &Head, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        let Area { left, top, right, bottom } = head.area;
        let looked = self.session.with_surface(head.display, head.surface_id, |surface| {
            // It may have become smaller meanwhile; then the frame does not fit.
            if right > surface.width() || bottom > surface.height() {
                return false;
            }
            let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
            let start = index(top) * surface.stride_bytes() + index(left) * 4;
            let pixels = surface.pixels().get(start..).unwrap_or_default();
            let frame = Frame::new(right - left, bottom - top, surface.stride_bytes(), pixels);
            frame.map(&mut *look).is_ok()
        });
        looked == Some(true)
    }

    fn surfaces(&self) -> Vec<SurfaceFacts> {
        let screen = self.primary_surface();
        let mut surfaces = self.session.surfaces();
        surfaces.sort_by_key(|facts| {
            let place = (facts.channel_id, facts.surface_id);
            (screen != Some(place), !facts.is_screen, place)
        });
        surfaces
    }

    fn with_surface(&self, surface: &SurfaceFacts, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        let looked = self.session.with_surface(surface.channel_id, surface.surface_id, |surface| {
            let frame =
                Frame::new(surface.width(), surface.height(), surface.stride_bytes(), surface.pixels());
            frame.map(&mut *look).is_ok()
        });
        looked == Some(true)
    }

    fn display_traffic(&self) -> DisplayTraffic {
        let channel_id = self.primary_surface().map_or(0, |(channel_id, _)| channel_id);
        let Some((streams, marks)) = self.session.streams(channel_id) else {
            return DisplayTraffic { channel_id, ..DisplayTraffic::default() };
        };
        let channel = ChannelId { channel_type: ChannelType::DISPLAY, id: channel_id };
        DisplayTraffic {
            channel_id,
            traffic: self.traffic().remove(&channel.to_string()).unwrap_or_default(),
            marks,
            streams_created: streams.created,
            streams_destroyed: streams.destroyed,
            orphans: streams.orphans,
            reports: streams.reports,
            streams: streams.live.into_values().map(stream_traffic).collect(),
            streams_gone: streams.gone.into_iter().map(stream_traffic).collect(),
        }
    }

    fn probe_input(&self) {
        // A closed console measures nothing.
        let _ = self.session.probe_inputs();
    }

    fn pointer(&self, display: u8) -> Option<Pointer> {
        let cursor = self.session.cursor(display)?;
        let shape = cursor.shape.map(|shape| PointerShape {
            width: shape.picture.width,
            height: shape.picture.height,
            hot_x: shape.hot_spot.x.into(),
            hot_y: shape.hot_spot.y.into(),
            pixels: shape.picture.bytes.clone(),
        });
        let (x, y) = (cursor.position.x.into(), cursor.position.y.into());
        Some(Pointer { x, y, is_visible: cursor.is_visible, shape })
    }

    fn lock_lights(&self) -> Option<LockLights> {
        *self.lights.borrow()
    }

    fn set_lock_lights(&self, lights: LockLights) -> Result<(), ConsoleError> {
        let bits = [
            (lights.caps, modifier::CAPS_LOCK),
            (lights.num, modifier::NUM_LOCK),
            (lights.scroll, modifier::SCROLL_LOCK),
        ];
        let bits = bits.into_iter().filter(|(is_lit, _)| *is_lit).fold(0, |all, (_, bit)| all | bit);
        self.session.set_keyboard_modifiers(bits).map_err(closed)
    }

    fn traffic(&self) -> BTreeMap<String, Traffic> {
        let owned = |(name, count): (&'static str, u64)| (name.to_owned(), count);
        let channels = self.session.stats().channels.into_iter();
        let channels = channels.map(|stats| {
            let counters = stats.counters;
            let traffic = Traffic {
                messages: counters.messages,
                bytes: counters.bytes,
                draws: counters.draws.into_iter().map(owned).collect(),
                images: counters.images.into_iter().map(owned).collect(),
                sounds: counters
                    .sounds
                    .into_iter()
                    .map(|(name, sound)| (name.to_owned(), heard(sound)))
                    .collect(),
                left_out: counters.unsupported,
            };
            (stats.channel.to_string(), traffic)
        });
        channels.collect()
    }

    fn agent(&self) -> Option<&dyn GuestAgent> {
        Some(&self.session)
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.session.shutdown())
    }
}

impl GuestAgent for Session {
    fn state(&self) -> AgentState {
        self.agent()
    }

    fn copy(&self, selection: Selection, text: &str) -> Result<(), AgentError> {
        self.agent_copy(selection, text)
    }

    fn fetch(&self, selection: Selection) -> Result<(), AgentError> {
        self.agent_fetch(selection)
    }

    fn fetched(&self, selection: Selection) -> Option<Arc<[u8]>> {
        self.agent_fetched(selection)
    }

    fn resize(&self, width: u32, height: u32) -> Result<(), AgentError> {
        self.agent_resize(width, height)
    }
}

fn stream_traffic(facts: StreamFacts) -> StreamTraffic {
    StreamTraffic {
        stream_id: facts.stream_id,
        surface_id: facts.surface_id,
        codec_type: facts.codec_type,
        width: facts.width,
        height: facts.height,
        received: facts.frames_received,
        drawn: facts.frames_drawn,
        created_at: facts.created_at,
        destroyed_at: facts.destroyed_at,
    }
}

fn heard(sound: SoundCount) -> Sound {
    Sound { packets: sound.packets, bytes: sound.bytes }
}

/// What lies left of or above the surface is cut off.
fn area_of(rect: Rect) -> Area {
    let clamp = |side: i32| u32::try_from(side).unwrap_or(0);
    Area {
        left: clamp(rect.left),
        top: clamp(rect.top),
        right: clamp(rect.right),
        bottom: clamp(rect.bottom),
    }
}

fn lights_of(bits: u16) -> LockLights {
    LockLights {
        caps: bits & modifier::CAPS_LOCK != 0,
        num: bits & modifier::NUM_LOCK != 0,
        scroll: bits & modifier::SCROLL_LOCK != 0,
    }
}

fn closed(error: SessionError) -> ConsoleError {
    ConsoleError::Closed { reason: error.to_string() }
}

fn translate(event: SessionEvent, primary: Option<(u8, u32)>) -> Option<ConsoleEvent> {
    Some(match event {
        SessionEvent::Connected { channels, .. } => {
            ConsoleEvent::Connected { channels: channels.iter().map(ToString::to_string).collect() }
        }
        SessionEvent::SurfaceCreated { surface_id, width, height, primary, .. } => {
            ConsoleEvent::SurfaceCreated { surface_id, primary, width, height }
        }
        SessionEvent::SurfaceDestroyed { surface_id, .. } => ConsoleEvent::SurfaceDestroyed { surface_id },
        SessionEvent::Drawn { channel_id, surface_id, rect, draws, at, batch } => {
            let (primary, area) = (primary == Some((channel_id, surface_id)), area_of(rect));
            ConsoleEvent::Drawn { channel_id, surface_id, primary, area, draws, at, batch }
        }
        SessionEvent::Notice { severity, text } => {
            ConsoleEvent::Notice { text: format!("server says ({severity:?}): {text}") }
        }
        SessionEvent::ChannelClosed { channel, reason } => {
            let reason = reason.unwrap_or_else(|| "closed by the server".to_owned());
            ConsoleEvent::Notice { text: format!("channel {channel} ended: {reason}") }
        }
        SessionEvent::Unsupported { channel, what } => {
            ConsoleEvent::Notice { text: format!("channel {channel}: left out, not supported: {what}") }
        }
        SessionEvent::Closed { reason } => ConsoleEvent::Closed { reason: reason.to_string() },
        SessionEvent::KeyboardModifiers(bits) => ConsoleEvent::Lights(lights_of(bits)),
        SessionEvent::Agent(event) => ConsoleEvent::Agent(event),
        SessionEvent::Pinged { at } => ConsoleEvent::Pinged { at },
        SessionEvent::InputRoundTrip { took } => ConsoleEvent::InputRoundTrip { took },
        SessionEvent::Marked { .. } | SessionEvent::Monitors { .. } | SessionEvent::MouseMode { .. } => {
            return None;
        }
    })
}
