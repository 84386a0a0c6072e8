//! The display channel: one surface, and what changes on it, as fast as the client takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base::Base;
use super::{Peer, PeerError};
use crate::spice::server::Encoding;
use crate::spice::server::stage::{Scene, Stage, ViewerId};
use crate::spice::wire::bytes::Pointer;
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
    encoding: Encoding,
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
        let has_monitors_config = caps.has(capability::MONITORS_CONFIG);
        let (base, init_due) = (Base::new(form), now + INIT_WITHIN);
        Self { base, stage, viewer: None, init_due, shown: None, has_monitors_config, encoding, images: 0 }
    }

    fn handle(&mut self, kind: u16, body: &[u8]) -> Result<(), PeerError> {
        let name = DisplayMessage::name_of(kind).unwrap_or("unknown");
        let message =
            DisplayMessage::decode(kind, body).map_err(|source| self.base.decode_error(name, source))?;
        match message {
            Some(DisplayMessage::Init(_)) if self.viewer.is_some() => {
                return Err(self.base.unexpected(name, "twice"));
            }
            Some(DisplayMessage::Init(_)) => {
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
            Scene::Seen => return false,
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
        let (format, flags, palette) = (RGB32, Bitmap::TOP_DOWN, PaletteSource::None);
        let bitmap = Bitmap { format, flags, width, height, stride: width * 4, palette, data: pixels };
        let data = ImageData::Bitmap(bitmap);
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

impl Peer for DisplayPeer {
    fn message_bytes(&self) -> u32 {
        1024
    }

    fn handle_message(&mut self, _now: Instant, message: Frame<'_>) -> Result<(), PeerError> {
        match self.base.receive(message)? {
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
        self.base.is_empty() && self.viewer.is_none_or(is_seen)
    }
}

impl Drop for DisplayPeer {
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer {
            self.stage.remove_viewer(viewer);
        }
    }
}

const SURFACE: u32 = 0;
/// A surface of 32 bits per pixel, of which 24 are used.
const XRGB: u32 = 32;
/// A bitmap of the same.
const RGB32: u8 = 8;
/// What one message shows at most, unless a row alone has more.
const PIECE_PIXELS: u64 = 64 * 1024;
const INIT_WITHIN: Duration = Duration::from_secs(10);
