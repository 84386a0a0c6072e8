//! Drawing messages that are well formed, with numbers of the fuzzer's choice: what is behind the decoder.

use std::sync::LazyLock;

use super::display::Watched;
use super::{IMAGES, Source};
use crate::spice::codec::lz_encode;
use crate::spice::codec::quic::{self, Kind};
use crate::spice::wire::Message;
use crate::spice::wire::bytes::{Counted, Pointer};
use crate::spice::wire::display::{
    Head, InvalAllPalettes, InvalAllPixmaps, InvalList, InvalPalette, MonitorsConfig, Reset, ResourceId,
    StreamActivateReport, StreamClip, StreamCreate, StreamData, StreamDataSized, StreamDestroy,
    StreamDestroyAll, SurfaceCreate, SurfaceDestroy,
};
use crate::spice::wire::draw::{
    CopyBits, DisplayBase, DrawAlphaBlend, DrawBlackness, DrawBlend, DrawComposite, DrawCopy, DrawFill,
    DrawInvers, DrawOpaque, DrawRop3, DrawStroke, DrawText, DrawTransparent, DrawWhiteness, GlyphString,
    LineAttr, Path, PathSegment, RasterGlyph, Transform,
};
use crate::spice::wire::elements::Elements;
use crate::spice::wire::header::Frame;
use crate::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, LzPlt, PaletteSource};
use crate::spice::wire::types::{Brush, Clip, Palette, Point, Point16, QMask, Rect, RopDescriptor};

/// The first byte makes the screen; then each message is a byte that says which, and what it takes.
pub fn draws(data: &[u8]) {
    let mut artist = Artist { source: Source(data), watched: Watched::new() };
    let format = artist.format();
    let screen =
        SurfaceCreate { surface_id: 0, width: 64, height: 48, format, flags: SurfaceCreate::PRIMARY };
    let mut goes_on = artist.say(&screen);
    while goes_on && !artist.source.is_empty() {
        goes_on = artist.message();
    }
}

/// Says one of the messages that copy an image as it is.
macro_rules! copying {
    ($artist:ident, $message:ident) => {{
        let message = $message {
            base: $artist.base(),
            src_bitmap: $artist.image(),
            src_area: $artist.area(),
            rop_descriptor: $artist.rop(),
            scale_mode: $artist.source.up_to(1),
            mask: $artist.mask(),
        };
        $artist.say_owned(message)
    }};
}

/// Says one of the messages that need no more than a place.
macro_rules! flat {
    ($artist:ident, $message:ident) => {{
        let message = $message { base: $artist.base(), mask: $artist.mask() };
        $artist.say_owned(message)
    }};
}

struct Artist<'a> {
    source: Source<'a>,
    watched: Watched,
}

impl<'a> Artist<'a> {
    fn say<'m, M: Message<'m>>(&mut self, message: &M) -> bool {
        self.watched.feed(Frame { kind: M::KIND, sub_list: 0, body: &message.to_body() })
    }

    fn message(&mut self) -> bool {
        match self.source.up_to(29) {
            0 => {
                let message = CopyBits { base: self.base(), src_pos: self.point() };
                self.say(&message)
            }
            1 => {
                let message = DrawFill {
                    base: self.base(),
                    brush: self.brush(),
                    rop_descriptor: self.rop(),
                    mask: self.mask(),
                };
                self.say_owned(message)
            }
            2 => {
                let message = DrawOpaque {
                    base: self.base(),
                    src_bitmap: self.image(),
                    src_area: self.area(),
                    brush: self.brush(),
                    rop_descriptor: self.rop(),
                    scale_mode: self.source.up_to(1),
                    mask: self.mask(),
                };
                self.say_owned(message)
            }
            3..=5 => copying!(self, DrawCopy),
            6 => copying!(self, DrawBlend),
            7 => flat!(self, DrawBlackness),
            8 => flat!(self, DrawWhiteness),
            9 => flat!(self, DrawInvers),
            10 => {
                let message = DrawRop3 {
                    base: self.base(),
                    src_bitmap: self.image(),
                    src_area: self.area(),
                    brush: self.brush(),
                    rop3: self.source.u8(),
                    scale_mode: self.source.up_to(1),
                    mask: self.mask(),
                };
                self.say_owned(message)
            }
            11 | 12 => {
                let message = DrawStroke {
                    base: self.base(),
                    path: Pointer(self.path()),
                    attr: self.line(),
                    brush: self.brush(),
                    fore_mode: self.rop(),
                    back_mode: self.rop(),
                };
                self.say_owned(message)
            }
            13 | 14 => {
                let message = DrawText {
                    base: self.base(),
                    str: Pointer(self.string()),
                    back_area: self.area(),
                    fore_brush: self.brush(),
                    back_brush: self.brush(),
                    fore_mode: self.rop(),
                    back_mode: self.rop(),
                };
                self.say_owned(message)
            }
            15 => {
                let message = DrawTransparent {
                    base: self.base(),
                    src_bitmap: self.image(),
                    src_area: self.area(),
                    src_color: self.source.u32(),
                    true_color: self.source.u32(),
                };
                self.say_owned(message)
            }
            16 => {
                let message = DrawAlphaBlend {
                    base: self.base(),
                    alpha_flags: self.source.up_to(3),
                    alpha: self.source.u8(),
                    src_bitmap: self.image(),
                    src_area: self.area(),
                };
                self.say_owned(message)
            }
            17 | 18 => {
                let message = self.composite();
                self.say_owned(message)
            }
            19 => {
                let message = SurfaceCreate {
                    surface_id: self.surface_id(),
                    width: self.source.up_to(63).into(),
                    height: self.source.up_to(63).into(),
                    format: self.format(),
                    flags: self.source.up_to(1).into(),
                };
                self.say(&message)
            }
            20 => {
                let message = SurfaceDestroy { surface_id: self.surface_id() };
                self.say(&message)
            }
            21 => {
                let message = StreamCreate {
                    surface_id: self.surface_id(),
                    id: self.source.up_to(3).into(),
                    flags: self.source.up_to(1),
                    codec_type: 1,
                    stamp: 0,
                    stream_width: self.source.up_to(40).into(),
                    stream_height: self.source.up_to(40).into(),
                    src_width: self.source.up_to(40).into(),
                    src_height: self.source.up_to(40).into(),
                    dest: self.area(),
                    clip: self.clip(),
                };
                self.say(&message)
            }
            22 => {
                let message = StreamData {
                    id: self.source.up_to(3).into(),
                    multi_media_time: self.source.u8().into(),
                    data: Counted(self.source.part()),
                };
                self.say_owned(message)
            }
            23 => {
                let message = StreamDataSized {
                    id: self.source.up_to(3).into(),
                    multi_media_time: self.source.u8().into(),
                    width: self.source.up_to(40).into(),
                    height: self.source.up_to(40).into(),
                    dest: self.area(),
                    data: Counted(self.source.part()),
                };
                self.say_owned(message)
            }
            24 => {
                let message = StreamClip { id: self.source.up_to(3).into(), clip: self.clip() };
                self.say(&message)
            }
            25 => match self.source.up_to(2) {
                0 => self.say(&StreamDestroyAll {}),
                1 => {
                    let message = StreamDestroy { id: self.source.up_to(3).into() };
                    self.say(&message)
                }
                _ => {
                    let message = StreamActivateReport {
                        stream_id: self.source.up_to(3).into(),
                        unique_id: 1,
                        max_window_size: self.source.up_to(3).into(),
                        timeout_ms: self.source.u8().into(),
                    };
                    self.say(&message)
                }
            },
            26 => {
                let resources = Elements::of([ResourceId { kind: self.source.up_to(1), id: self.id() }]);
                self.say(&InvalList { resources })
            }
            27 => match self.source.up_to(3) {
                0 => self.say(&InvalAllPixmaps { wait_list: Vec::new() }),
                1 => self.say(&InvalAllPalettes {}),
                2 => {
                    let id = self.id();
                    self.say(&InvalPalette { id })
                }
                _ => self.say(&Reset {}),
            },
            28 => {
                let count = self.source.up_to(3);
                let heads = (0..count).map(|monitor_id| self.head(monitor_id.into())).collect();
                self.say(&MonitorsConfig { max_allowed: 4, heads })
            }
            _ => true,
        }
    }

    /// For messages that borrow what was taken from the source, which lives longer than the artist.
    fn say_owned<M: Message<'a>>(&mut self, message: M) -> bool {
        self.watched.feed(Frame { kind: M::KIND, sub_list: 0, body: &message.to_body() })
    }

    fn surface_id(&mut self) -> u32 {
        self.source.up_to(4).into()
    }

    fn id(&mut self) -> u64 {
        self.source.up_to(7).into()
    }

    fn format(&mut self) -> u32 {
        const FORMATS: [u32; 8] = [32, 32, 96, 16, 80, 8, 1, 32];
        FORMATS[usize::from(self.source.up_to(7))]
    }

    fn coordinate(&mut self) -> i32 {
        let near = i32::from(self.source.u8()) - 64;
        match near {
            // A few are far away.
            190 => 1 << 24,
            191 => -(1 << 24),
            near => near,
        }
    }

    fn point(&mut self) -> Point {
        Point { x: self.coordinate(), y: self.coordinate() }
    }

    /// Left and top as they come, and a size that keeps it a rectangle.
    fn area(&mut self) -> Rect {
        let (left, top) = (i32::from(self.source.up_to(80)) - 8, i32::from(self.source.up_to(80)) - 8);
        let (width, height) = (self.source.up_to(80).into(), self.source.up_to(80).into());
        Rect::new(left.max(0), top.max(0), width, height)
    }

    fn bounds(&mut self) -> Rect {
        let (a, b) = (self.point(), self.point());
        Rect { left: a.x.min(b.x), top: a.y.min(b.y), right: a.x.max(b.x), bottom: a.y.max(b.y) }
    }

    fn clip(&mut self) -> Clip<'static> {
        match self.source.up_to(5) {
            0..=2 => Clip::None,
            count => Clip::Rects(Elements::of((3..count).map(|_| self.bounds()))),
        }
    }

    fn base(&mut self) -> DisplayBase<'static> {
        DisplayBase { surface_id: self.surface_id(), bounds: self.bounds(), clip: self.clip() }
    }

    fn rop(&mut self) -> RopDescriptor {
        // Half are what servers mostly say.
        match self.source.u16() {
            bits if bits & 0x8000 == 0 => RopDescriptor::OP_PUT,
            bits => RopDescriptor(bits & 0x7ff),
        }
    }

    fn brush(&mut self) -> Brush<'a> {
        match self.source.up_to(3) {
            0 => Brush::None,
            1 => Brush::Solid(self.source.u32()),
            _ => Brush::Pattern { image: self.image(), pos: self.point() },
        }
    }

    fn mask(&mut self) -> QMask<'a> {
        let flags = self.source.u8();
        if flags < 128 {
            return QMask::NONE;
        }
        let (width, height, stride) = (13, 9, 2);
        let data = self.source.bytes(18);
        let (format, palette) = (1 + (flags & 1), PaletteSource::None);
        let is_whole = data.len() == 18;
        let height = if is_whole { height } else { 0 };
        let data = if is_whole { data } else { &[] };
        let bitmap = Bitmap { format, flags: flags & 4, width, height, stride, palette, data };
        let bitmap = Some(Pointer(self.describe(ImageData::Bitmap(bitmap), width, height)));
        QMask { flags: flags >> 1 & 1, pos: self.point(), bitmap }
    }

    fn image(&mut self) -> Pointer<Image<'a>> {
        let (width, height) = (u32::from(self.source.up_to(31)), u32::from(self.source.up_to(31)));
        Pointer(match self.source.up_to(9) {
            0 => self.describe(ImageData::FromCache, width, height),
            1 => self.describe(ImageData::FromCacheLossless, width, height),
            2 => {
                let id = self.surface_id();
                self.describe(ImageData::Surface(id), width, height)
            }
            3 => {
                let palette = self.palette();
                let data = ImageData::LzPlt(LzPlt {
                    flags: palette.0,
                    palette: palette.1,
                    data: self.source.part(),
                });
                self.describe(data, width, height)
            }
            4 => self.compressed(width, height),
            _ => self.bitmap(width, height),
        })
    }

    fn bitmap(&mut self, width: u32, height: u32) -> Image<'a> {
        const BITS: [u32; 11] = [0, 1, 1, 4, 4, 8, 16, 24, 32, 32, 8];
        let format = self.source.up_to(9) + 1;
        let (palette_flags, palette) = if format <= 5 { self.palette() } else { (0, PaletteSource::None) };
        let flags = palette_flags | self.source.u8() & Bitmap::TOP_DOWN;
        let stride = (width * BITS[usize::from(format)]).div_ceil(8);
        let length = usize::try_from(stride * height).unwrap_or(0);
        // Where bytes are missing there are others to take.
        let data = match self.source.bytes(length) {
            data if data.len() == length => data,
            _ => FILLING.get(..length).unwrap_or_default(),
        };
        let height = if data.len() == length { height } else { 0 };
        let bitmap = Bitmap { format, flags, width, height, stride, palette, data };
        self.describe(ImageData::Bitmap(bitmap), width, height)
    }

    fn palette(&mut self) -> (u8, PaletteSource<'static>) {
        let unique = self.id();
        match self.source.up_to(3) {
            0 => (Bitmap::PAL_FROM_CACHE, PaletteSource::Cached(unique)),
            how => {
                let count = self.source.u8();
                let first = self.source.u32();
                let colours = Elements::of((0..u32::from(count)).map(|index| first.wrapping_mul(index + 1)));
                (how & Bitmap::PAL_CACHE_ME, PaletteSource::Inline(Palette { unique, colours }))
            }
        }
    }

    /// An image that our own encoders have made, mostly with the size that it really has.
    fn compressed(&mut self, width: u32, height: u32) -> Image<'a> {
        let (way, side) = (self.source.up_to(2), self.source.up_to(5));
        let (side, streams) = &STREAMS[usize::from(side)];
        let (side, stream) = (*side, Counted(&streams[usize::from(way)]));
        let data = if way == 0 { ImageData::LzRgb(stream) } else { ImageData::Quic(stream) };
        let (width, height) = if self.source.u8() == 0 { (width, height) } else { (side, side) };
        self.describe(data, width, height)
    }

    fn describe(&mut self, data: ImageData<'a>, width: u32, height: u32) -> Image<'a> {
        let (id, flags) = (self.id(), self.source.up_to(7));
        Image { descriptor: ImageDescriptor { id, kind: data.kind().0, flags, width, height }, data }
    }

    fn path(&mut self) -> Path<'static> {
        let count = self.source.up_to(3);
        let segments = (0..count).map(|_| {
            let flags = self.source.up_to(31);
            let points = Elements::of((0..self.source.up_to(7)).map(|_| self.sixteenths()));
            PathSegment { flags, points }
        });
        Path { segments: Elements::of(segments) }
    }

    fn sixteenths(&mut self) -> Point {
        let number = |source: &mut Source<'_>| i32::from(source.u16()) - (1 << 14);
        Point { x: number(&mut self.source), y: number(&mut self.source) }
    }

    fn line(&mut self) -> LineAttr<'static> {
        let count = self.source.up_to(7);
        if count < 4 {
            return LineAttr { flags: count & LineAttr::START_WITH_GAP, style: None };
        }
        let style = Elements::of((4..count).map(|_| i32::from(self.source.u16()) - 16));
        LineAttr { flags: LineAttr::STYLED | count & LineAttr::START_WITH_GAP, style: Some(style) }
    }

    fn string(&mut self) -> GlyphString<'a> {
        let (flags, bits) = [(1, 1), (2, 4), (4, 8)][usize::from(self.source.up_to(2))];
        let count = self.source.up_to(3);
        let glyphs = (0..count).map(|_| {
            let (render_pos, glyph_origin) = (self.point(), self.point());
            let (width, height) = (u16::from(self.source.up_to(20)), u16::from(self.source.up_to(20)));
            let length = usize::from((width * bits).div_ceil(8)) * usize::from(height);
            let data = self.source.bytes(length);
            let (width, height) = if data.len() == length { (width, height) } else { (0, 0) };
            let data = if data.len() == length { data } else { &[] };
            RasterGlyph { render_pos, glyph_origin, width, height, data }
        });
        GlyphString::new(flags, glyphs)
    }

    fn composite(&mut self) -> DrawComposite<'a> {
        let own =
            DrawComposite::HAS_MASK | DrawComposite::HAS_SRC_TRANSFORM | DrawComposite::HAS_MASK_TRANSFORM;
        let mut flags = self.source.u32();
        let base = self.base();
        let src_bitmap = self.image();
        let has = |bit: u32| flags & bit != 0;
        let mask_bitmap = has(DrawComposite::HAS_MASK).then(|| self.image());
        let src_transform = has(DrawComposite::HAS_SRC_TRANSFORM).then(|| self.transform());
        let mask_transform = has(DrawComposite::HAS_MASK_TRANSFORM).then(|| self.transform());
        flags &= 0x01ff_ffff | own;
        DrawComposite {
            base,
            flags,
            src_bitmap,
            mask_bitmap,
            src_transform,
            mask_transform,
            src_origin: self.point16(),
            mask_origin: self.point16(),
        }
    }

    fn transform(&mut self) -> Transform {
        let mut number = || i32::from_le_bytes(self.source.u32().to_le_bytes());
        let (t00, t01, t02) = (number(), number(), number());
        let (t10, t11, t12) = (number(), number(), number());
        Transform { t00, t01, t02, t10, t11, t12 }
    }

    fn point16(&mut self) -> Point16 {
        let mut number = || i16::from_le_bytes(self.source.u16().to_le_bytes());
        Point16 { x: number(), y: number() }
    }

    fn head(&mut self, monitor_id: u32) -> Head {
        let (width, height) = (self.source.u8().into(), self.source.u8().into());
        let (x, y) = (self.source.u8().into(), self.source.u8().into());
        Head { monitor_id, surface_id: self.surface_id(), width, height, x, y, flags: 0 }
    }
}

/// Squares of some sizes as LZ, QUIC and QUIC with alpha.
static STREAMS: LazyLock<[(u32, [Vec<u8>; 3]); 6]> = LazyLock::new(|| {
    [1, 2, 5, 16, 31, 32].map(|side| {
        let pixels = FILLING.get(..usize::try_from(side * side * 4).unwrap_or(0)).unwrap_or_default();
        let quic = |kind| quic::encode(kind, side, side, pixels, IMAGES).unwrap_or_default();
        (side, [lz_encode::encode(pixels, side, side), quic(Kind::Rgb32), quic(Kind::Rgba)])
    })
});

/// Bytes that are neither all the same nor all different.
static FILLING: [u8; 32 * 32 * 4] = {
    let mut bytes = [0; 32 * 32 * 4];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = ((at / 7) ^ (at % 61)).to_le_bytes()[0];
        at += 1;
    }
    bytes
};
