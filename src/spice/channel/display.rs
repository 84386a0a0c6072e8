//! The display channel: one INIT, then surfaces and what is drawn on them.

use std::time::Instant;

use super::base::Base;
use super::{BaseEvent, ChannelError, Counters, Machine};
use crate::spice::limits::Limits;
use crate::spice::surface::{Canvas, CanvasOptions, DrawError, Outcome, Surface};
use crate::spice::wire::display::client::{Init, PreferredCompression};
use crate::spice::wire::display::{DisplayMessage, SurfaceCreate, capability};
use crate::spice::wire::draw::{
    DrawAlphaBlend, DrawComposite, DrawRop3, DrawStroke, DrawText, DrawTransparent,
};
use crate::spice::wire::header::Frame;
use crate::spice::wire::image::Image;
use crate::spice::wire::link::Capabilities;
use crate::spice::wire::types::{Brush, QMask, Rect};

/// How the server shall compress images. It is a wish; small images come raw anyway, and servers without
/// the capability are not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Raw.
    Off,
    /// LZ.
    Lz,
    /// LZ with references between images.
    Glz,
    /// QUIC, the best for photographs.
    Quic,
    /// QUIC or LZ, as the server judges each image.
    AutoLz,
    /// QUIC or GLZ, as the server judges each image.
    AutoGlz,
    /// LZ4, the fastest.
    Lz4,
}

impl Compression {
    fn wire(self) -> u8 {
        match self {
            Self::Off => 1,
            Self::AutoGlz => 2,
            Self::AutoLz => 3,
            Self::Quic => 4,
            Self::Glz => 5,
            Self::Lz => 6,
            Self::Lz4 => 7,
        }
    }
}

/// How a display channel begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayOptions {
    /// The channel's id.
    pub channel_id: u8,
    /// The wish to send; `None` leaves the choice to the server.
    pub compression: Option<Compression>,
    /// Whether the server may refer to images it sent before, by id or from GLZ streams.
    pub has_image_cache: bool,
    /// Bounds on memory.
    pub limits: Limits,
}

/// The display channel's state. Performs no IO; the caller moves the bytes.
#[derive(Debug)]
pub struct DisplayChannel {
    base: Base<DisplayEvent>,
    canvas: Canvas,
}

/// What a display channel reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisplayEvent {
    /// A surface exists, black.
    SurfaceCreated {
        /// Its id.
        surface_id: u32,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// Whether it is the screen.
        is_primary: bool,
    },
    /// A surface is gone.
    SurfaceDestroyed {
        /// Its id.
        surface_id: u32,
    },
    /// The screen is worth showing.
    Marked,
    /// Pixels changed; they are on the surface already.
    Drawn {
        /// The surface's id.
        surface_id: u32,
        /// Where.
        rect: Rect,
        /// When the message was taken.
        at: Instant,
    },
    /// See [`BaseEvent`].
    Base(BaseEvent),
}

impl From<BaseEvent> for DisplayEvent {
    fn from(event: BaseEvent) -> Self {
        Self::Base(event)
    }
}

impl DisplayChannel {
    /// The state right after the link. INIT is the first thing it transmits, together with the wish for
    /// compression if `server` understands that: the caller must send it at once, or QEMU waits for it with its
    /// machine stopped and dies when the channel is closed without it.
    pub fn new(options: DisplayOptions, server: &Capabilities) -> Self {
        let limits = options.limits;
        let (mut image_cache_pixels, mut glz_window_pixels) = (0, 0);
        if options.has_image_cache {
            image_cache_pixels = limits.image_cache_pixels;
            let largest = u32::try_from(Init::GLZ_WINDOW_LIMIT).unwrap_or(0);
            glz_window_pixels = limits.glz_window_pixels.min(largest);
        }
        let canvas = Canvas::new(CanvasOptions {
            image_cache_pixels: image_cache_pixels.into(),
            glz_window_pixels: glz_window_pixels.into(),
            limits,
        });
        let mut channel = Self { base: Base::new(), canvas };
        // A wish sent before INIT holds for the very first image.
        if let Some(compression) = options.compression
            && server.has(capability::PREF_COMPRESSION)
        {
            channel.base.send(&PreferredCompression { image_compression: compression.wire() });
        }
        // Ids of their own keep display channels from having to wait for each other.
        let own_id = options.channel_id.wrapping_add(1);
        channel.base.send(&Init {
            pixmap_cache_id: own_id,
            pixmap_cache_size: image_cache_pixels.into(),
            glz_dictionary_id: own_id,
            glz_dictionary_window_size: i32::try_from(glz_window_pixels).unwrap_or(0),
        });
        channel
    }

    /// Capabilities to link with: only what is drawn here, so that servers fall back to what is.
    pub fn capabilities() -> Capabilities {
        Capabilities::of(&[capability::MONITORS_CONFIG, capability::LZ4, capability::PREF_COMPRESSION])
    }

    /// The surface with this id.
    pub fn surface(&self, id: u32) -> Option<&Surface> {
        self.canvas.surface(id)
    }

    /// Id and surface of the screen, if there is one now.
    pub fn primary(&self) -> Option<(u32, &Surface)> {
        self.canvas.primary()
    }

    /// See [`Canvas::hold_screen`].
    pub fn hold_screen(&mut self, holds: bool) {
        self.canvas.hold_screen(holds);
    }

    fn handle(&mut self, now: Instant, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        let name = DisplayMessage::name_of(kind).unwrap_or("unknown");
        let message =
            DisplayMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        let Some(message) = message else {
            self.base.unsupported(&format!("message type {kind}"));
            return Ok(());
        };
        if name.starts_with("DRAW_") || name == "COPY_BITS" {
            *self.base.counters.draws.entry(name).or_default() += 1;
        }
        let outcome = self.apply(name, &message);
        let serial = self.base.serial();
        match outcome.map_err(|source| ChannelError::Draw { serial, name, source: Box::new(source) })? {
            Outcome::Drawn(surface_id, rect) => {
                self.base.report(DisplayEvent::Drawn { surface_id, rect, at: now });
            }
            Outcome::Nothing => {}
            Outcome::Skipped(reason) => self.base.unsupported(reason),
        }
        Ok(())
    }

    fn apply(&mut self, name: &'static str, message: &DisplayMessage<'_>) -> Result<Outcome, DrawError> {
        self.count_images(message);
        let canvas = &mut self.canvas;
        match message {
            DisplayMessage::DrawCopy(m) => {
                return canvas.copy(&m.base, &m.src_bitmap.0, &m.src_area, m.rop_descriptor, &m.mask);
            }
            DisplayMessage::DrawBlend(m) => {
                return canvas.copy(&m.base, &m.src_bitmap.0, &m.src_area, m.rop_descriptor, &m.mask);
            }
            DisplayMessage::CopyBits(m) => return canvas.copy_bits(m),
            DisplayMessage::DrawFill(m) => return canvas.fill(m),
            DisplayMessage::DrawOpaque(m) => return canvas.opaque(m),
            DisplayMessage::DrawBlackness(m) => return canvas.blackness(&m.base, &m.mask),
            DisplayMessage::DrawWhiteness(m) => return canvas.whiteness(&m.base, &m.mask),
            DisplayMessage::DrawInvers(m) => return canvas.invers(&m.base, &m.mask),
            DisplayMessage::DrawRop3(_)
            | DisplayMessage::DrawStroke(_)
            | DisplayMessage::DrawText(_)
            | DisplayMessage::DrawTransparent(_)
            | DisplayMessage::DrawAlphaBlend(_)
            | DisplayMessage::DrawComposite(_) => {
                for image in images(message) {
                    canvas.decode_for_caches(image)?;
                }
                for mask in masks(message) {
                    canvas.decode_mask_for_caches(mask)?;
                }
                return Ok(Outcome::Skipped(name));
            }
            DisplayMessage::Mode(mode) => {
                let flags = SurfaceCreate::PRIMARY;
                let (width, height, format) = (mode.x_res, mode.y_res, mode.bits);
                self.create_surface(&SurfaceCreate { surface_id: 0, width, height, format, flags })?;
            }
            DisplayMessage::SurfaceCreate(create) => self.create_surface(create)?,
            DisplayMessage::SurfaceDestroy(destroy) => {
                let surface_id = destroy.surface_id;
                if canvas.destroy_surface(surface_id) {
                    self.base.report(DisplayEvent::SurfaceDestroyed { surface_id });
                }
            }
            DisplayMessage::Mark(_) => self.base.report(DisplayEvent::Marked),
            DisplayMessage::Reset(_) => canvas.clear_primary(),
            DisplayMessage::InvalList(list) => canvas.inval_list(list),
            DisplayMessage::InvalAllPixmaps(_) => canvas.inval_all_pixmaps(),
            DisplayMessage::InvalPalette(message) => canvas.inval_palette(message.id),
            DisplayMessage::InvalAllPalettes(_) => canvas.inval_all_palettes(),
            // Heads are parts of surfaces; what is asked for here are whole ones.
            DisplayMessage::MonitorsConfig(_) => {}
            // Part of every reset, and there are no streams to end.
            DisplayMessage::StreamDestroyAll(_) | DisplayMessage::StreamDestroy(_) => {}
            DisplayMessage::StreamCreate(_)
            | DisplayMessage::StreamData(_)
            | DisplayMessage::StreamDataSized(_)
            | DisplayMessage::StreamClip(_)
            | DisplayMessage::StreamActivateReport(_)
            | DisplayMessage::GlScanoutUnix(_)
            | DisplayMessage::GlDraw(_) => return Ok(Outcome::Skipped(name)),
        }
        Ok(Outcome::Nothing)
    }

    fn create_surface(&mut self, create: &SurfaceCreate) -> Result<(), DrawError> {
        let &SurfaceCreate { surface_id, width, height, flags, .. } = create;
        if self.canvas.destroy_surface(surface_id) {
            self.base.report(DisplayEvent::SurfaceDestroyed { surface_id });
        }
        if self.canvas.create_surface(create)? {
            let is_primary = flags & SurfaceCreate::PRIMARY != 0;
            self.base.report(DisplayEvent::SurfaceCreated { surface_id, width, height, is_primary });
        } else {
            self.base.unsupported(&format!("surface format {}", create.format));
        }
        Ok(())
    }

    fn count_images(&mut self, message: &DisplayMessage<'_>) {
        let masks = masks(message).filter_map(|mask| mask.bitmap.as_ref()).map(|pointer| &pointer.0);
        for image in images(message).chain(masks) {
            let (_, name) = image.data.kind();
            *self.base.counters.images.entry(name).or_default() += 1;
        }
    }
}

impl Machine for DisplayChannel {
    type Event = DisplayEvent;

    fn handle_message(&mut self, now: Instant, message: Frame<'_>) -> Result<(), ChannelError> {
        let own = self.base.receive(message)?;
        own.into_iter().try_for_each(|(kind, body)| self.handle(now, kind, body))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.base.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<DisplayEvent> {
        self.base.poll_event()
    }

    fn counters(&self) -> &Counters {
        &self.base.counters
    }

    /// SET_ACK may be sent before the server has read INIT, what follows it is not.
    fn is_established(&self) -> bool {
        self.base.counters.messages >= 2
    }
}

/// The images of a draw in decoding order: sources, then brushes.
fn images<'m, 'a>(message: &'m DisplayMessage<'a>) -> impl Iterator<Item = &'m Image<'a>> {
    let (sources, brushes): ([Option<&'m Image<'a>>; 2], [Option<&'m Brush<'a>>; 2]) = match message {
        DisplayMessage::DrawCopy(m) => ([Some(&m.src_bitmap.0), None], [None; 2]),
        DisplayMessage::DrawBlend(m) => ([Some(&m.src_bitmap.0), None], [None; 2]),
        DisplayMessage::DrawOpaque(m) => ([Some(&m.src_bitmap.0), None], [Some(&m.brush), None]),
        DisplayMessage::DrawRop3(DrawRop3 { src_bitmap, brush, .. }) => {
            ([Some(&src_bitmap.0), None], [Some(brush), None])
        }
        DisplayMessage::DrawTransparent(DrawTransparent { src_bitmap, .. })
        | DisplayMessage::DrawAlphaBlend(DrawAlphaBlend { src_bitmap, .. }) => {
            ([Some(&src_bitmap.0), None], [None; 2])
        }
        DisplayMessage::DrawComposite(DrawComposite { src_bitmap, mask_bitmap, .. }) => {
            ([Some(&src_bitmap.0), mask_bitmap.as_ref().map(|pointer| &pointer.0)], [None; 2])
        }
        DisplayMessage::DrawFill(m) => ([None; 2], [Some(&m.brush), None]),
        DisplayMessage::DrawStroke(DrawStroke { brush, .. }) => ([None; 2], [Some(brush), None]),
        DisplayMessage::DrawText(DrawText { fore_brush, back_brush, .. }) => {
            ([None; 2], [Some(fore_brush), Some(back_brush)])
        }
        _ => ([None; 2], [None; 2]),
    };
    let patterns = brushes.into_iter().flatten().filter_map(|brush| match brush {
        Brush::Pattern { image, .. } => Some(&image.0),
        Brush::None | Brush::Solid(_) => None,
    });
    sources.into_iter().flatten().chain(patterns)
}

/// The one-bit mask of a draw.
fn masks<'m, 'a>(message: &'m DisplayMessage<'a>) -> impl Iterator<Item = &'m QMask<'a>> {
    let mask = match message {
        DisplayMessage::DrawCopy(m) => Some(&m.mask),
        DisplayMessage::DrawBlend(m) => Some(&m.mask),
        DisplayMessage::DrawOpaque(m) => Some(&m.mask),
        DisplayMessage::DrawRop3(m) => Some(&m.mask),
        DisplayMessage::DrawFill(m) => Some(&m.mask),
        DisplayMessage::DrawBlackness(m) => Some(&m.mask),
        DisplayMessage::DrawWhiteness(m) => Some(&m.mask),
        DisplayMessage::DrawInvers(m) => Some(&m.mask),
        _ => None,
    };
    mask.into_iter()
}
