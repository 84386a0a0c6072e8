//! Keyboard in, surfaces and events out: what a scenario sees of a machine's console, whoever carries it.
//!
//! Start reading at [`Console`]. [`spice`] carries it over a SPICE session, [`control`] over the control socket of
//! somebody's client, [`keyboard`] knows keys,
//! [`layout`] what characters they make, [`typing`] and [`mouse`] pace them, [`evidence`] is what a console tells
//! beside pixels, [`agent`] the way to a guest's agent, and [`served`] offers a console on a control socket. Nothing
//! here judges what is on the screen.

pub mod agent;
pub mod control;
pub mod evidence;
pub mod keyboard;
pub mod layout;
pub mod mouse;
pub mod served;
pub mod spice;
#[cfg(test)]
pub(crate) mod test_console;
pub mod typing;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use visual_digest::Frame;

use crate::journal::ObservedDigest;
pub use crate::spice::SurfaceFacts;
use agent::AgentEvent;
pub use agent::GuestAgent;
pub use evidence::{DisplayTraffic, Head, LockLights, Pointer, PointerShape, Sound, StreamTraffic, Traffic};
pub use keyboard::Scancode;
pub use mouse::MouseAction;

/// A machine's console. Handles are shared; nothing here waits, except [`Console::flushed`] and
/// [`Console::close`].
pub trait Console: Send + Sync {
    /// Queues a key going down. Keys arrive in the order in which they were queued.
    ///
    /// # Errors
    /// The console is closed.
    fn key_down(&self, code: Scancode) -> Result<(), ConsoleError>;

    /// Queues a key going up.
    ///
    /// # Errors
    /// The console is closed.
    fn key_up(&self, code: Scancode) -> Result<(), ConsoleError>;

    /// Queues something that a mouse does, in order with the keys.
    ///
    /// # Errors
    /// The console is closed.
    fn mouse(&self, action: MouseAction) -> Result<(), ConsoleError>;

    /// Resolves as soon as the machine takes absolute positions; before that it heeds relative motion only.
    fn takes_positions(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Resolves when every key queued so far has left this process.
    fn flushed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Shows the primary surface as it is now. Returns false when there is none. No draw happens meanwhile, so
    /// `look` must be short.
    fn with_screen(&self, look: &mut dyn FnMut(Frame<'_>)) -> bool;

    /// Resolves when [`with_screen`](Self::with_screen) shows what the machine shows now, as far as this can be had. A console
    /// that holds the pixels itself has nothing to do; one that asks for them asks now.
    fn refreshed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// The screen was looked at after every [`ConsoleEvent::Drawn`] up to this batch, and will be: what is drawn next waits
    /// for that, though not for long. `None`: nobody looks any more.
    fn look_up_to(&self, _batch: Option<u64>) {}

    /// Whether a screen that is taken away and given back, as large as before, keeps its pixels. While a machine is put
    /// back to a snapshot it must; a console on which that cannot happen has nothing to do.
    fn hold_screen(&self, _holds: bool) {}

    /// The monitors of the machine that show something now, the first of the screen first.
    fn heads(&self) -> Vec<Head> {
        let mut heads = Vec::new();
        self.with_screen(&mut |frame| {
            let area = Area { left: 0, top: 0, right: frame.width(), bottom: frame.height() };
            heads.push(Head { display: 0, surface_id: 0, area });
        });
        heads
    }

    /// Shows what is on a monitor now, as [`with_screen`](Self::with_screen) does. Returns false when there is no such
    /// monitor any more.
    fn with_head(&self, head: &Head, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        head.display == 0 && self.with_screen(look)
    }

    /// All surfaces there are, the screen first.
    fn surfaces(&self) -> Vec<SurfaceFacts> {
        let mut surfaces = Vec::new();
        self.with_screen(&mut |frame| {
            let (width, height) = (frame.width(), frame.height());
            surfaces.push(SurfaceFacts { channel_id: 0, surface_id: 0, width, height, is_screen: true });
        });
        surfaces
    }

    /// Shows a surface as it is now, as [`with_screen`](Self::with_screen) does. Returns false when there is no such
    /// surface any more.
    fn with_surface(&self, surface: &SurfaceFacts, look: &mut dyn FnMut(Frame<'_>)) -> bool {
        surface.is_screen && self.with_screen(look)
    }

    /// The pointer of a graphics device; `None` on a console that does not tell.
    fn pointer(&self, _display: u8) -> Option<Pointer> {
        None
    }

    /// The lock lights; `None` as long as nobody has told.
    fn lock_lights(&self) -> Option<LockLights> {
        None
    }

    /// Asks the machine to light these, in order with the keys. It presses lock keys of its own for that, so what comes of
    /// it is up to the guest.
    ///
    /// # Errors
    /// The console is closed, or has no such way.
    fn set_lock_lights(&self, _lights: LockLights) -> Result<(), ConsoleError> {
        Err(ConsoleError::Closed { reason: "it has no way to set lock lights".to_owned() })
    }

    /// What came so far, by channel; empty on a console that does not count.
    fn traffic(&self) -> BTreeMap<String, Traffic> {
        BTreeMap::new()
    }

    /// What came over the display channel of the screen; nothing on a console that does not count.
    fn display_traffic(&self) -> DisplayTraffic {
        DisplayTraffic::default()
    }

    /// Asks for a [`ConsoleEvent::InputRoundTrip`], with input that changes nothing; a console that cannot measure it has
    /// nothing to do.
    fn probe_input(&self) {}

    /// The way to the guest's agent; `None` on a console that has none.
    fn agent(&self) -> Option<&dyn GuestAgent> {
        None
    }

    /// Closes this end of the console in an orderly way.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Hears what a console tells, right after the journal's own watcher took it. Nothing in it may wait.
pub trait ConsoleListener: std::fmt::Debug + Send + Sync {
    /// This is the console that the rest is about.
    fn handle_console(&self, console: &Arc<dyn Console>);

    /// Something happened.
    fn handle_event(&self, event: &ConsoleEvent);

    /// A digest that was not there before is on the screen.
    fn handle_digest(&self, digest: &ObservedDigest);
}

/// What a console tells.
#[derive(Debug, Clone)]
pub enum ConsoleEvent {
    /// The console is up.
    Connected {
        /// Names of the channels, e.g. `display:0`.
        channels: Vec<String>,
    },
    /// A surface appeared or changed its size.
    SurfaceCreated {
        /// Surface id.
        surface_id: u32,
        /// Whether it is the screen.
        primary: bool,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A surface is gone.
    SurfaceDestroyed {
        /// Surface id.
        surface_id: u32,
    },
    /// Pixels changed; they are in the surface already.
    Drawn {
        /// The number of the graphics device.
        channel_id: u8,
        /// Surface id.
        surface_id: u32,
        /// Whether it is the screen.
        primary: bool,
        /// Bounding box of the change.
        area: Area,
        /// How many draws these are.
        draws: u32,
        /// When the bytes arrived.
        at: Instant,
        /// See [`Console::look_up_to`].
        batch: u64,
    },
    /// A digest came that the console read from the screen itself.
    Digest(ObservedDigest),
    /// The guest's lock lights are like this from now on.
    Lights(LockLights),
    /// The guest's agent came, went, or said something.
    Agent(AgentEvent),
    /// The other side measures: it has sent a ping.
    Pinged {
        /// When it arrived.
        at: Instant,
    },
    /// The machine has taken in input that was sent before.
    InputRoundTrip {
        /// How long that took, there and back.
        took: Duration,
    },
    /// Something worth knowing that changes no pixel.
    Notice {
        /// For people.
        text: String,
    },
    /// The console is closed; nothing follows.
    Closed {
        /// Why, as far as known.
        reason: String,
    },
}

/// A rectangle in pixels; right and bottom are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Column after the last.
    pub right: u32,
    /// Row after the last.
    pub bottom: u32,
}

impl Area {
    /// Whether the two share a pixel.
    pub fn touches(self, other: Self) -> bool {
        self.left.max(other.left) < self.right.min(other.right)
            && self.top.max(other.top) < self.bottom.min(other.bottom)
    }

    /// Whether every pixel of this is in the other.
    pub fn is_within(self, other: Self) -> bool {
        other.left <= self.left
            && self.right <= other.right
            && other.top <= self.top
            && self.bottom <= other.bottom
    }

    /// The smallest rectangle that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// Why a console refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsoleError {
    /// The other end is gone.
    #[error("the console is closed: {reason}")]
    Closed {
        /// Why, as far as known.
        reason: String,
    },
    /// It cannot do that, or did not do it.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// A copy of the screen: BGRX, rows top down without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `width * height * 4` bytes in the order B, G, R, 0.
    pub pixels: Vec<u8>,
}

impl Screenshot {
    /// Copies the screen of `console`; `None` when it shows none.
    pub fn take(console: &dyn Console) -> Option<Self> {
        let mut copy = None;
        console.with_screen(&mut |frame| copy = Some(Self::of(frame)));
        copy
    }

    /// Copies what is on one monitor; `None` when it is gone.
    pub fn take_head(console: &dyn Console, head: &Head) -> Option<Self> {
        let mut copy = None;
        console.with_head(head, &mut |frame| copy = Some(Self::of(frame)));
        copy
    }

    fn of(frame: Frame<'_>) -> Self {
        let (width, height) = (frame.width(), frame.height());
        let mut pixels = Vec::with_capacity(width as usize * height as usize * 4);
        for y in 0..height {
            pixels.extend_from_slice(frame.row(y, 0..width));
        }
        Self { width, height, pixels }
    }

    /// Reads what [`Screenshot::to_png`] wrote.
    ///
    /// # Errors
    /// It is no PNG, or one of another kind.
    pub fn from_png(bytes: &[u8]) -> Result<Self, png::DecodingError> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
        let (width, height) = (reader.info().width, reader.info().height);
        let wrong = || {
            let what = "not 8-bit RGB, or too large";
            png::DecodingError::IoError(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
        };
        let mut rgb = vec![0; reader.output_buffer_size().ok_or_else(wrong)?];
        reader.next_frame(&mut rgb)?;
        if rgb.len() != width as usize * height as usize * 3 {
            return Err(wrong());
        }
        let pixels = rgb.chunks_exact(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0], 0]).collect();
        Ok(Self { width, height, pixels })
    }

    /// Encodes it as PNG.
    ///
    /// # Errors
    /// A side is zero.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let rgb: Vec<u8> = self.pixels.chunks_exact(4).flat_map(|bgrx| [bgrx[2], bgrx[1], bgrx[0]]).collect();
        encoder.write_header()?.write_image_data(&rgb)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::test_console::TestConsole;
    use super::*;

    #[test]
    fn a_screenshot_is_the_screen_and_its_png_has_the_same_colours() {
        let console = TestConsole::default();
        assert!(Screenshot::take(&console).is_none(), "the screen is off");
        let screen = Screenshot { width: 2, height: 1, pixels: vec![1, 2, 3, 0, 4, 5, 6, 0] };
        console.show(screen.clone());
        let taken = Screenshot::take(&console).unwrap();
        assert_eq!(taken, screen);
        let png = taken.to_png().unwrap();
        assert_eq!(Screenshot::from_png(&png).unwrap(), taken);
        assert!(Screenshot::from_png(&png[..40]).is_err());
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(rgb, [3, 2, 1, 6, 5, 4]);
    }
}
