//! The drawing messages, pixel by pixel: against what the protocol says about one pixel, and against small pictures.

mod definitions;
mod pictures;
mod shapes;

use proptest::prelude::{Strategy, any, prop, proptest};

use super::{Canvas, CanvasOptions, DrawError, Outcome};
use crate::spice::limits::Limits;
use crate::spice::wire::bytes::Pointer;
use crate::spice::wire::display::SurfaceCreate;
use crate::spice::wire::draw::{
    CopyBits, DisplayBase, DrawAlphaBlend, DrawBlend, DrawComposite, DrawCopy, DrawFill, DrawOpaque,
    DrawRop3, DrawStroke, DrawText, DrawTransparent, GlyphString, LineAttr, Path, PathSegment, RasterGlyph,
    Transform,
};
use crate::spice::wire::elements::Elements;
use crate::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use crate::spice::wire::types::{Brush, Clip, Palette, Point, Point16, QMask, Rect, RopDescriptor};

const PUT: RopDescriptor = RopDescriptor::OP_PUT;
const SIDE: i32 = 8;
const ALL: Rect = Rect { left: 0, top: 0, right: SIDE, bottom: SIDE };

/// A1, A8, 555, 565, xRGB, ARGB.
const FORMATS: [u32; 6] = [1, 8, 16, 80, 32, 96];

fn empty_canvas(format: u32) -> Canvas {
    let limits = Limits::default();
    let mut canvas = Canvas::new(CanvasOptions { image_cache_pixels: 64, glz_window_pixels: 0, limits });
    create(&mut canvas, 0, format);
    canvas
}

fn create(canvas: &mut Canvas, surface_id: u32, format: u32) {
    let flags = if surface_id == 0 { SurfaceCreate::PRIMARY } else { 0 };
    canvas.create_surface(&SurfaceCreate { surface_id, width: 8, height: 8, format, flags }).unwrap();
}

/// A surface full of noise.
fn canvas(format: u32) -> Canvas {
    let mut canvas = empty_canvas(format);
    let noise = noise(8, 8, 1);
    canvas.copy(&copy(base(ALL), rgba(8, &noise), ALL)).unwrap();
    canvas
}

fn base(bounds: Rect) -> DisplayBase<'static> {
    DisplayBase { surface_id: 0, bounds, clip: Clip::None }
}

/// Bytes without a pattern, four per pixel.
fn noise(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    (0..width * height).flat_map(|_| next().rotate_left(13).wrapping_mul(0x9e37).to_le_bytes()).collect()
}

fn bitmap<'a>(format: u8, width: u32, stride: u32, palette: PaletteSource<'a>, data: &'a [u8]) -> Image<'a> {
    let height = u32::try_from(data.len()).unwrap() / stride;
    let bitmap = Bitmap { format, flags: Bitmap::TOP_DOWN, width, height, stride, palette, data };
    let descriptor = ImageDescriptor { id: 1, kind: 0, flags: 0, width, height };
    Image { descriptor, data: ImageData::Bitmap(bitmap) }
}

fn rgba(width: u32, data: &[u8]) -> Image<'_> {
    bitmap(9, width, width * 4, PaletteSource::None, data)
}

fn rgb(width: u32, data: &[u8]) -> Image<'_> {
    bitmap(8, width, width * 4, PaletteSource::None, data)
}

fn surface_image(id: u32) -> Image<'static> {
    let descriptor = ImageDescriptor { id: 1, kind: 104, flags: 0, width: 8, height: 8 };
    Image { descriptor, data: ImageData::Surface(id) }
}

fn copy<'a>(base: DisplayBase<'a>, image: Image<'a>, src_area: Rect) -> DrawCopy<'a> {
    let (src_bitmap, mask) = (Pointer(image), QMask::NONE);
    DrawCopy { base, src_bitmap, src_area, rop_descriptor: PUT, scale_mode: 1, mask }
}

fn held(canvas: &Canvas) -> Vec<u32> {
    let pixels = canvas.surface(0).unwrap().pixels().as_chunks::<4>().0;
    pixels.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

/// The surface's blue channel, one digit per pixel.
fn digits(canvas: &Canvas) -> Vec<String> {
    let held = held(canvas);
    let row = |row: &[u32]| row.iter().map(|pixel| format!("{:x}", pixel & 0xf)).collect::<String>();
    held.chunks(8).map(row).collect()
}

/// Where a draw takes effect, as the protocol says it.
#[derive(Debug, Clone)]
struct Where {
    bounds: Rect,
    clip: Option<Vec<Rect>>,
    /// Rows of eight bits, first pixel in the highest.
    mask: Option<(Vec<u8>, Point, bool)>,
}

impl Where {
    fn base(&self) -> DisplayBase<'static> {
        let clip = self.clip.clone().map_or(Clip::None, |rects| Clip::Rects(Elements::of(rects)));
        DisplayBase { surface_id: 0, bounds: self.bounds, clip }
    }

    fn mask(&self) -> QMask<'_> {
        let Some((rows, pos, is_inverse)) = &self.mask else { return QMask::NONE };
        let bitmap = Some(Pointer(bitmap(2, 8, 1, PaletteSource::None, rows)));
        QMask { flags: u8::from(*is_inverse), pos: *pos, bitmap }
    }

    fn touches(&self, x: i32, y: i32) -> bool {
        let inside = |rect: &Rect| x >= rect.left && x < rect.right && y >= rect.top && y < rect.bottom;
        let is_clipped = self.clip.as_ref().is_some_and(|rects| !rects.iter().any(inside));
        inside(&self.bounds) && !is_clipped && self.is_masked(x, y)
    }

    fn is_masked(&self, x: i32, y: i32) -> bool {
        let Some((rows, pos, is_inverse)) = &self.mask else { return true };
        let (x, y) = (pos.x + x - self.bounds.left, pos.y + y - self.bounds.top);
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return false };
        let Some(row) = rows.get(y).filter(|_| x < 8) else { return false };
        (row >> (7 - x) & 1 != 0) != *is_inverse
    }

    /// The surface after each touched pixel has become what `pixel` says.
    fn drawn(&self, before: &[u32], pixel: impl Fn(i32, i32, u32) -> u32) -> Vec<u32> {
        let at = |index: usize| {
            let index = i32::try_from(index).unwrap();
            (index % SIDE, index / SIDE)
        };
        let after = before.iter().enumerate().map(|(index, old)| match at(index) {
            (x, y) if self.touches(x, y) => pixel(x, y, *old),
            _ => *old,
        });
        after.collect()
    }
}

/// What a surface of this format keeps of a colour with alpha.
fn kept(format: u32, argb: u32) -> u32 {
    let [b, g, r, a] = argb.to_le_bytes();
    let five = |c: u8| (c >> 3) << 3 | c >> 5;
    let six = |c: u8| (c >> 2) << 2 | c >> 6;
    u32::from_le_bytes(match format {
        1 => [0, 0, 0, if a >= 128 { 255 } else { 0 }],
        8 => [0, 0, 0, a],
        16 => [five(b), five(g), five(r), 0],
        80 => [five(b), six(g), five(r), 0],
        32 => [b, g, r, 0],
        _ => [b, g, r, a],
    })
}
