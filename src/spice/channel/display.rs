//! The display channel: one INIT, then surfaces and what is drawn on them, streams and monitors.

use std::collections::VecDeque;
use std::time::Instant;

use super::base::Base;
use super::reports::StreamReports;
use super::streams::StreamLog;
use super::{BaseEvent, ChannelError, Counters, Hold, Machine};
use crate::spice::codec::{CodecError, glz};
use crate::spice::limits::Limits;
use crate::spice::surface::{Canvas, CanvasOptions, DrawError, Outcome, Surface};
use crate::spice::wire::display::client::{Init, PreferredCompression};
use crate::spice::wire::display::{DisplayMessage, Head, MonitorsConfig, SurfaceCreate, capability};
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
    reports: StreamReports,
    streams: StreamLog,
    marks: u64,
    /// What the last MONITORS_CONFIG said; empty before the first.
    heads: Vec<Head>,
    /// A message that waits for another channel, and those that came with it. Whether the first was tried is said beside it.
    held: VecDeque<(u16, Vec<u8>)>,
    is_tried: bool,
}

/// A visible part of a surface: what a person would see on one monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    /// The server's number of it.
    pub id: u32,
    /// The surface it shows.
    pub surface_id: u32,
    /// The part of it, within the surface.
    pub rect: Rect,
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
    /// Other parts of surfaces are visible from now on.
    Monitors(Vec<Monitor>),
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
        Self::open(options, None, server)
    }

    /// The same for a session with several display channels, whose GLZ images refer to each other's: all of them share
    /// one `dictionary`.
    pub fn sharing(options: DisplayOptions, dictionary: &glz::Dictionary, server: &Capabilities) -> Self {
        Self::open(options, Some(dictionary.share()), server)
    }

    /// What [`sharing`](Self::sharing) takes.
    pub fn dictionary(options: &DisplayOptions) -> glz::Dictionary {
        glz::Dictionary::new(glz_window_pixels(options).into())
    }

    fn open(options: DisplayOptions, shared: Option<glz::Dictionary>, server: &Capabilities) -> Self {
        let limits = options.limits;
        let image_cache_pixels = if options.has_image_cache { limits.image_cache_pixels } else { 0 };
        let glz_window_pixels = glz_window_pixels(&options);
        // Where the dictionary is one, its id is. Caches of their own keep channels from having to wait for each other.
        let own_id = options.channel_id.wrapping_add(1);
        let glz_dictionary_id = if shared.is_some() { SHARED_DICTIONARY } else { own_id };
        let dictionary = shared.unwrap_or_else(|| glz::Dictionary::new(glz_window_pixels.into()));
        let canvas_options = CanvasOptions {
            image_cache_pixels: image_cache_pixels.into(),
            glz_window_pixels: glz_window_pixels.into(),
            limits,
        };
        let mut channel = Self {
            base: Base::patient(),
            canvas: Canvas::with_dictionary(canvas_options, dictionary),
            reports: StreamReports::default(),
            streams: StreamLog::default(),
            marks: 0,
            heads: Vec::new(),
            held: VecDeque::new(),
            is_tried: false,
        };
        // A wish sent before INIT holds for the very first image.
        if let Some(compression) = options.compression
            && server.has(capability::PREF_COMPRESSION)
        {
            channel.base.send(&PreferredCompression { image_compression: compression.wire() });
        }
        channel.base.send(&Init {
            pixmap_cache_id: own_id,
            pixmap_cache_size: image_cache_pixels.into(),
            glz_dictionary_id,
            glz_dictionary_window_size: i32::try_from(glz_window_pixels).unwrap_or(0),
        });
        channel
    }

    /// Capabilities to link with: only what is drawn here, so that servers fall back to what is.
    pub fn capabilities() -> Capabilities {
        Capabilities::of(&[
            capability::SIZED_STREAM,
            capability::MONITORS_CONFIG,
            capability::COMPOSITE,
            capability::A8_SURFACE,
            capability::STREAM_REPORT,
            capability::LZ4,
            capability::PREF_COMPRESSION,
            capability::MULTI_CODEC,
            capability::CODEC_MJPEG,
        ])
    }

    /// The surface with this id.
    pub fn surface(&self, id: u32) -> Option<&Surface> {
        self.canvas.surface(id)
    }

    /// Id and surface of the screen, if there is one now.
    pub fn primary(&self) -> Option<(u32, &Surface)> {
        self.canvas.primary()
    }

    /// All surfaces there are.
    pub fn surfaces(&self) -> impl Iterator<Item = (u32, &Surface)> {
        self.canvas.surfaces()
    }

    /// What became of video streams.
    pub fn streams(&self) -> &StreamLog {
        &self.streams
    }

    /// How often the server considered the screen worth showing.
    pub fn marks(&self) -> u64 {
        self.marks
    }

    /// The visible parts of the surfaces there are: what the server named, or the whole screen where it named nothing.
    pub fn monitors(&self) -> Vec<Monitor> {
        if self.heads.is_empty() {
            let whole = |(surface_id, surface): (u32, &Surface)| {
                let (width, height) = (surface.width(), surface.height());
                let head = Head { monitor_id: 0, surface_id, width, height, x: 0, y: 0, flags: 0 };
                self.monitor(&head)
            };
            return self.canvas.primary().and_then(whole).into_iter().collect();
        }
        self.heads.iter().filter_map(|head| self.monitor(head)).collect()
    }

    /// A head cut at its surface; `None` when nothing of it is left.
    fn monitor(&self, head: &Head) -> Option<Monitor> {
        let surface = self.canvas.surface(head.surface_id)?;
        let edge = |at: u32, length: u32, limit: u32| (at.min(limit), at.saturating_add(length).min(limit));
        let (left, right) = edge(head.x, head.width, surface.width());
        let (top, bottom) = edge(head.y, head.height, surface.height());
        let side = |edge: u32| i32::try_from(edge).unwrap_or(i32::MAX);
        let rect = Rect { left: side(left), top: side(top), right: side(right), bottom: side(bottom) };
        let monitor = Monitor { id: head.monitor_id, surface_id: head.surface_id, rect };
        if rect.is_empty() { None } else { Some(monitor) }
    }

    /// See [`Canvas::hold_screen`].
    pub fn hold_screen(&mut self, holds: bool) {
        self.canvas.hold_screen(holds);
    }

    /// See [`Canvas::held_pixels`].
    pub(in crate::spice) fn held_pixels(&self) -> (u64, u64) {
        self.canvas.held_pixels()
    }

    /// Handles a message, or keeps it where it has to wait for another channel.
    fn handle_or_hold(&mut self, now: Instant, kind: u16, body: &[u8]) -> Result<(), ChannelError> {
        if self.hold().is_some() {
            self.held.push_back((kind, body.to_vec()));
            return Ok(());
        }
        match self.handle(now, kind, body, false) {
            Err(error) if is_awaited(&error) => {
                self.held.push_back((kind, body.to_vec()));
                self.is_tried = true;
                Ok(())
            }
            handled => handled,
        }
    }

    fn handle(&mut self, now: Instant, kind: u16, body: &[u8], is_again: bool) -> Result<(), ChannelError> {
        let name = DisplayMessage::name_of(kind).unwrap_or("unknown");
        let message =
            DisplayMessage::decode(kind, body).map_err(|error| self.base.decode_error(name, error))?;
        let Some(message) = message else {
            self.base.unsupported(&format!("message type {kind}"));
            return Ok(());
        };
        if !is_again {
            self.count(name, &message);
        }
        let outcome = self.apply(now, name, &message);
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

    fn apply(
        &mut self,
        now: Instant,
        name: &'static str,
        message: &DisplayMessage<'_>,
    ) -> Result<Outcome, DrawError> {
        let canvas = &mut self.canvas;
        match message {
            DisplayMessage::DrawCopy(m) => return canvas.copy(m),
            DisplayMessage::DrawBlend(m) => return canvas.blend(m),
            DisplayMessage::CopyBits(m) => return canvas.copy_bits(m),
            DisplayMessage::DrawFill(m) => return canvas.fill(m),
            DisplayMessage::DrawOpaque(m) => return canvas.opaque(m),
            DisplayMessage::DrawBlackness(m) => return canvas.blackness(&m.base, &m.mask),
            DisplayMessage::DrawWhiteness(m) => return canvas.whiteness(&m.base, &m.mask),
            DisplayMessage::DrawInvers(m) => return canvas.invers(&m.base, &m.mask),
            DisplayMessage::DrawRop3(m) => return canvas.rop3(m),
            DisplayMessage::DrawStroke(m) => return canvas.stroke(m),
            DisplayMessage::DrawText(m) => return canvas.text(m),
            DisplayMessage::DrawTransparent(m) => return canvas.transparent(m),
            DisplayMessage::DrawAlphaBlend(m) => return canvas.alpha_blend(m),
            DisplayMessage::DrawComposite(m) => return canvas.composite(m),
            DisplayMessage::StreamData(m) => {
                self.streams.receive(m.id);
                let outcome = canvas.stream_data(m)?;
                self.streams.draw(m.id);
                self.count_frame(m.id, m.multi_media_time, now);
                return Ok(outcome);
            }
            DisplayMessage::StreamDataSized(m) => {
                self.streams.receive(m.id);
                let outcome = canvas.stream_data_sized(m)?;
                self.streams.draw(m.id);
                self.count_frame(m.id, m.multi_media_time, now);
                return Ok(outcome);
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
            DisplayMessage::Mark(_) => {
                self.marks += 1;
                self.base.report(DisplayEvent::Marked);
            }
            DisplayMessage::Reset(_) => {
                for (surface_id, rect) in canvas.clear_primary() {
                    self.base.report(DisplayEvent::Drawn { surface_id, rect, at: now });
                }
            }
            DisplayMessage::InvalList(list) => canvas.inval_list(list),
            DisplayMessage::InvalAllPixmaps(_) => canvas.inval_all_pixmaps(),
            DisplayMessage::InvalPalette(message) => canvas.inval_palette(message.id),
            DisplayMessage::InvalAllPalettes(_) => canvas.inval_all_palettes(),
            DisplayMessage::MonitorsConfig(config) => self.configure_monitors(config)?,
            DisplayMessage::StreamCreate(create) => {
                self.reports.forget(create.id);
                canvas.create_stream(create)?;
                self.streams.create(create, now);
            }
            DisplayMessage::StreamClip(clip) => {
                if !canvas.stream_clip(clip)? {
                    return Ok(Outcome::Skipped("clip of a stream that does not exist"));
                }
            }
            DisplayMessage::StreamDestroy(destroy) => {
                self.reports.forget(destroy.id);
                canvas.destroy_stream(destroy.id);
                self.streams.destroy(destroy.id, now);
            }
            // Part of every reset.
            DisplayMessage::StreamDestroyAll(_) => {
                self.reports.forget_all();
                canvas.destroy_all_streams();
                self.streams.destroy_all(now);
            }
            DisplayMessage::StreamActivateReport(activate) => {
                if !canvas.has_stream(activate.stream_id) {
                    return Ok(Outcome::Skipped("report on a stream that does not exist"));
                }
                self.reports.activate(activate);
            }
            // Without the capability for it no server sends these.
            DisplayMessage::GlScanoutUnix(_) | DisplayMessage::GlDraw(_) => {
                return Ok(Outcome::Skipped(name));
            }
        }
        Ok(Outcome::Nothing)
    }

    fn count_frame(&mut self, stream_id: u32, mm_time: u32, now: Instant) {
        *self.base.counters.images.entry("MJPEG").or_default() += 1;
        if let Some(report) = self.reports.count_frame(stream_id, mm_time, now) {
            self.base.send(&report);
            self.streams.reports += 1;
        }
    }

    fn configure_monitors(&mut self, config: &MonitorsConfig) -> Result<(), DrawError> {
        const MONITORS: usize = 256;
        let count = config.heads.len();
        if count > MONITORS {
            let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            return Err(DrawError::Limit {
                what: "number of monitors",
                got: number(count),
                limit: number(MONITORS),
            });
        }
        if self.heads != config.heads {
            self.heads.clone_from(&config.heads);
            let monitors = self.monitors();
            self.base.report(DisplayEvent::Monitors(monitors));
        }
        Ok(())
    }

    fn create_surface(&mut self, create: &SurfaceCreate) -> Result<(), DrawError> {
        let &SurfaceCreate { surface_id, width, height, flags, .. } = create;
        if self.canvas.destroy_surface(surface_id) {
            self.base.report(DisplayEvent::SurfaceDestroyed { surface_id });
        }
        self.canvas.create_surface(create)?;
        let is_primary = flags & SurfaceCreate::PRIMARY != 0;
        self.base.report(DisplayEvent::SurfaceCreated { surface_id, width, height, is_primary });
        Ok(())
    }

    fn count(&mut self, name: &'static str, message: &DisplayMessage<'_>) {
        if name.starts_with("DRAW_") || name.starts_with("STREAM_DATA") || name == "COPY_BITS" {
            *self.base.counters.draws.entry(name).or_default() += 1;
        }
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
        own.into_iter().try_for_each(|(kind, body)| self.handle_or_hold(now, kind, body))
    }

    fn hold(&self) -> Option<Hold<'_>> {
        let waits = self.base.waits();
        if !waits.is_empty() {
            return Some(Hold::Channels(waits));
        }
        (!self.held.is_empty()).then_some(Hold::Image)
    }

    fn resume(&mut self, now: Instant, gives_up: bool) -> Result<(), ChannelError> {
        let has_waits = !self.base.waits().is_empty();
        self.base.stop_waiting();
        if has_waits && gives_up {
            self.base.unsupported("WAIT_FOR_CHANNELS for what does not come");
        }
        while let Some((kind, body)) = self.held.pop_front() {
            let is_again = std::mem::take(&mut self.is_tried);
            match self.handle(now, kind, &body, is_again) {
                Err(error) if is_awaited(&error) && (!gives_up || has_waits) => {
                    self.held.push_front((kind, body));
                    self.is_tried = true;
                    return Ok(());
                }
                handled => handled?,
            }
        }
        Ok(())
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.base.poll_transmit()
    }

    fn transmit_into(&mut self, out: &mut Vec<u8>) {
        self.base.transmit_into(out);
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

/// Whether an image refers to one that is still on its way on another channel.
fn is_awaited(error: &ChannelError) -> bool {
    let ChannelError::Draw { source, .. } = error else { return false };
    matches!(**source, DrawError::Image { source: CodecError::ImageAwaited { .. }, .. })
}

fn glz_window_pixels(options: &DisplayOptions) -> u32 {
    let largest = u32::try_from(Init::GLZ_WINDOW_LIMIT).unwrap_or(0);
    if options.has_image_cache { options.limits.glz_window_pixels.min(largest) } else { 0 }
}

/// The id of the dictionary of all displays of a session.
const SHARED_DICTIONARY: u8 = 1;

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
