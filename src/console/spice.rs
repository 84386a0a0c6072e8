//! A console carried by a SPICE session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use visual_digest::Frame;

use super::{Area, Console, ConsoleError, ConsoleEvent, MouseAction, Scancode};
use crate::spice::{
    ChannelId, ChannelType, CloseReason, Motion, Session, SessionError, SessionEvent, SessionOptions,
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
        let takes_positions = watch::Sender::new(false);
        let keys_sent = AtomicU64::new(0);
        let console = Arc::new(Self { session, display_end, ended, takes_positions, keys_sent });
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

    fn hold_screen(&self, holds: bool) {
        self.session.hold_screen(holds);
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.session.shutdown())
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
        SessionEvent::Drawn { channel_id, surface_id, rect, at } => {
            let clamp = |side: i32| u32::try_from(side).unwrap_or(0);
            let area = Area {
                left: clamp(rect.left),
                top: clamp(rect.top),
                right: clamp(rect.right),
                bottom: clamp(rect.bottom),
            };
            ConsoleEvent::Drawn { surface_id, primary: primary == Some((channel_id, surface_id)), area, at }
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
        SessionEvent::Marked { .. }
        | SessionEvent::Monitors { .. }
        | SessionEvent::MouseMode { .. }
        | SessionEvent::KeyboardModifiers(_) => return None,
    })
}
