//! The display channel: one surface, and what changes on it, as fast as the client takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base::Base;
use super::{Peer, PeerError};
use crate::spice::codec::{ImageLimits, glz_encode, lz_encode, lz4, quic};
use crate::spice::server::Encoding;
use crate::spice::server::stage::{Scene, Stage, ViewerId};
use crate::spice::wire::Message;
use crate::spice::wire::bytes::{Counted, Pointer};
use crate::spice::wire::display::client::DisplayMessage;
use crate::spice::wire::display::{
    Head, InvalAllPalettes, Mark, MonitorsConfig, SurfaceCreate, SurfaceDestroy, capability,
};
use crate::spice::wire::draw::{DisplayBase, DrawCopy};
use crate::spice::wire::header::{Frame, HeaderForm};
use crate::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::types::{Clip, QMask, Rect, RopDescriptor};

/// The display channel's state.
pub(in crate::spice::server) struct DisplayPeer {
    base: Base,
    stage: Arc<Stage>,
    /// There is one once the client has said INIT.
    viewer: Option<ViewerId>,
    init_due: Instant,
    /// The screen that the client has.
    shown: Option<u64>,
    has_monitors_config: bool,
    /// Whether the client understands LZ4.
    has_lz4: bool,
    encoding: Encoding,
    /// The last picture that the client was asked about, after all of it.
    asked: u64,
    /// Knows what the client keeps for later images.
    glz: glz_encode::Encoder,
    images: u64,
}

impl DisplayPeer {
    pub(in crate::spice::server) fn new(
        form: HeaderForm,
        stage: Arc<Stage>,
        caps: &Capabilities,
        encoding: Encoding,
        now: Instant,
    ) -> Self {
        Self {
            base: Base::new(form),
            stage,
            viewer: None,
            init_due: now + INIT_WITHIN,
            shown: None,
            has_monitors_config: caps.has(capability::MONITORS_CONFIG),
            has_lz4: caps.has(capability::LZ4),
            encoding,
            asked: 0,
            glz: glz_encode::Encoder::new(0),
            images: 0,
        }
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), PeerError> {
        let name = DisplayMessage::name_of(kind).unwrap_or("unknown");
        let message =
            DisplayMessage::decode(kind, body).map_err(|source| self.base.decode_error(name, source))?;
        match message {
            Some(DisplayMessage::Init(_)) if self.viewer.is_some() => {
                return Err(self.base.unexpected(name, "twice"));
            }
            Some(DisplayMessage::Init(init)) => {
                // Nothing of the image cache is used, whatever its size.
                self.glz = glz_encode::Encoder::new(init.glz_dictionary_window_size.try_into().unwrap_or(0));
                self.viewer = Some(self.stage.add_viewer());
                self.base.ask_for_acks();
                self.base.send(&InvalAllPalettes {});
            }
            Some(DisplayMessage::PreferredCompression(wish)) => {
                self.encoding = Encoding::wished(wish.image_compression).unwrap_or(self.encoding);
            }
            // Reports about streams, GL and video codecs, of which there are none.
            None if [102, 104, 105].contains(&kind) => {}
            None => return Err(self.base.unknown(kind)),
        }
        Ok(())
    }

    /// Queues what the client has to be shown next. Returns whether there was anything.
    fn show(&mut self, viewer: ViewerId) -> bool {
        match self.stage.next(viewer, self.shown, PIECE_PIXELS) {
            Scene::Seen => return self.ask(viewer),
            Scene::Dark => self.destroy(),
            Scene::Screen { generation, width, height } => {
                self.destroy();
                self.create(width, height);
                self.shown = Some(generation);
            }
            Scene::Pixels { rect, pixels } => self.copy(rect, &pixels),
        }
        true
    }

    /// Asks the client to say when it has shown a picture, after all of it. Returns whether there was one to ask about.
    fn ask(&mut self, viewer: ViewerId) -> bool {
        let sent = self.stage.sent(viewer, self.shown).filter(|picture| *picture > self.asked);
        if let Some(picture) = sent {
            self.asked = picture;
            self.base.ping(low_half(picture));
        }
        sent.is_some()
    }

    /// Tells the stage what the client has shown.
    fn confirm(&mut self) {
        // Of the pictures asked about only the last is of interest.
        if let (Some(viewer), Some(id)) = (self.viewer, self.base.take_pong())
            && id == low_half(self.asked)
        {
            self.stage.confirm(viewer, self.asked);
        }
    }

    fn destroy(&mut self) {
        if self.shown.take().is_some() {
            self.base.send(&SurfaceDestroy { surface_id: SURFACE });
        }
    }

    fn create(&mut self, width: u32, height: u32) {
        let flags = SurfaceCreate::PRIMARY;
        self.base.send(&SurfaceCreate { surface_id: SURFACE, width, height, format: XRGB, flags });
        if self.has_monitors_config {
            let head = Head { monitor_id: 0, surface_id: SURFACE, width, height, x: 0, y: 0, flags: 0 };
            self.base.send(&MonitorsConfig { max_allowed: 1, heads: vec![head] });
        }
        self.base.send(&Mark {});
    }

    fn copy(&mut self, rect: Rect, pixels: &[u8]) {
        let side = |length: i32| u32::try_from(length).unwrap_or(0);
        let (width, height) = (side(rect.width()), side(rect.height()));
        self.images += 1;
        let compressed = self.compress(pixels, width, height);
        let data = match &compressed {
            Some((Encoding::Glz, stream)) => ImageData::GlzRgb(Counted(stream)),
            Some((Encoding::Quic, stream)) => ImageData::Quic(Counted(stream)),
            Some((Encoding::Lz4, stream)) => ImageData::Lz4(Counted(stream)),
            Some((_, stream)) => ImageData::LzRgb(Counted(stream)),
            None => {
                let (format, flags, palette) = (RGB32, Bitmap::TOP_DOWN, PaletteSource::None);
                let stride = width * 4;
                ImageData::Bitmap(Bitmap { format, flags, width, height, stride, palette, data: pixels })
            }
        };
        let descriptor = ImageDescriptor { id: self.images, kind: data.kind().0, flags: 0, width, height };
        self.base.send(&DrawCopy {
            base: DisplayBase { surface_id: SURFACE, bounds: rect, clip: Clip::None },
            src_bitmap: Pointer(Image { descriptor, data }),
            src_area: Rect::new(0, 0, rect.width(), rect.height()),
            rop_descriptor: RopDescriptor::OP_PUT,
            scale_mode: 0,
            mask: QMask::NONE,
        });
    }
}

impl DisplayPeer {
    /// The pixels in the encoding that is wanted, or one that comes near, where that makes them shorter.
    fn compress(&mut self, pixels: &[u8], width: u32, height: u32) -> Option<(Encoding, Vec<u8>)> {
        let lz = || (Encoding::Lz, lz_encode::encode(pixels, width, height));
        let compressed = match self.encoding {
            Encoding::Raw => return None,
            Encoding::Lz => lz(),
            Encoding::Glz => match self.glz.encode(pixels, width, height) {
                // The client keeps it from here on, so it has to be sent.
                Some(stream) => return Some((Encoding::Glz, stream)),
                None => lz(),
            },
            Encoding::Quic => {
                let limits = ImageLimits { side: u32::MAX, pixels: u64::MAX };
                let stream = quic::encode(quic::Kind::Rgb32, width, height, pixels, limits);
                (Encoding::Quic, stream.ok()?)
            }
            Encoding::Lz4 if self.has_lz4 => (Encoding::Lz4, lz4::encode(pixels)),
            Encoding::Lz4 => lz(),
        };
        Some(compressed).filter(|(_, stream)| stream.len() < pixels.len())
    }
}

impl Peer for DisplayPeer {
    fn message_bytes(&self) -> u32 {
        1024
    }

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), PeerError> {
        let own = self.base.receive(message)?;
        self.confirm();
        match own {
            Some((kind, body)) => self.handle(kind, body),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        // Pixels are taken off the screen when they can be sent, so a slow client gets the newest and no old ones.
        if let Some(viewer) = self.viewer.filter(|_| self.base.is_empty())
            && (!self.base.may_send(now) || !self.show(viewer))
        {
            return None;
        }
        self.base.poll_transmit(now)
    }

    fn malform(&mut self) {
        self.base.malform(<DrawCopy<'_> as Message<'_>>::KIND);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.viewer {
            Some(_) => self.base.poll_timeout(),
            None => Some(self.init_due),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        if self.viewer.is_none() && now >= self.init_due {
            return Err(PeerError::Silent { what: "INIT", after: INIT_WITHIN });
        }
        self.base.handle_timeout(now)
    }

    fn is_idle(&self) -> bool {
        let is_seen = |viewer| self.stage.is_seen(viewer, self.shown);
        // One that has not said INIT yet has not seen anything.
        self.base.is_empty() && self.viewer.is_some_and(is_seen)
    }
}

impl Drop for DisplayPeer {
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer {
            self.stage.remove_viewer(viewer);
        }
    }
}

/// A number as large as a ping's.
fn low_half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

const SURFACE: u32 = 0;
/// A surface of 32 bits per pixel, of which 24 are used.
const XRGB: u32 = 32;
/// A bitmap of the same.
const RGB32: u8 = 8;
/// What one message shows at most, unless a row alone has more.
const PIECE_PIXELS: u64 = 64 * 1024;
const INIT_WITHIN: Duration = Duration::from_secs(10);
