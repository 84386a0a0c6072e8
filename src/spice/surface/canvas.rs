//! All surfaces of a display channel and the messages that change them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::cache::{ImageCache, PaletteCache};
use super::error::DrawError;
use super::format::Format;
use super::paint::{self, Mask, Paint, Place};
use super::pixels::Surface;
use super::region::Region;
use super::rop::Rop;
use super::sample::Stretch;
use super::stream::Streams;
use super::stroke::Pen;
use crate::spice::codec::{self, Picture, Pool, bitmap, glz, lz};
use crate::spice::limits::Limits;
use crate::spice::wire::display::{InvalList, SurfaceCreate};
use crate::spice::wire::draw::{
    CopyBits, DisplayBase, DrawBlend, DrawCopy, DrawFill, DrawOpaque, scale_mode,
};
use crate::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use crate::spice::wire::types::{Brush, Clip, Point, QMask, Rect, RopDescriptor};

/// Budgets that the channel told the server about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanvasOptions {
    /// Pixels of the image cache; 0 when there is none.
    pub image_cache_pixels: u64,
    /// Pixels of the GLZ dictionary; 0 when there is none.
    pub glz_window_pixels: u64,
    /// Bounds for everything else.
    pub limits: Limits,
}

/// What a message did to the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Pixels of this surface within this rectangle may have changed.
    Drawn(u32, Rect),
    /// Nothing was visible.
    Nothing,
    /// It was left out, for this reason.
    Skipped(&'static str),
}

/// Surfaces and caches of one display channel.
#[derive(Debug)]
pub struct Canvas {
    pub(super) limits: Limits,
    surfaces: HashMap<u32, Surface>,
    surface_bytes: u64,
    /// Whether a screen that is destroyed is kept for the next of its kind.
    holds_screen: bool,
    held: Option<Surface>,
    generation: u64,
    images: ImageCache,
    image_cache_pixels: u64,
    palettes: PaletteCache,
    dictionary: glz::Dictionary,
    pub(super) pool: Pool,
    pub(super) streams: Streams,
    /// Memory for the clips and the lines of draws.
    region: Region,
    pub(super) pen: Pen,
}

impl Canvas {
    /// No surfaces, empty caches.
    pub fn new(options: CanvasOptions) -> Self {
        Self::with_dictionary(options, glz::Dictionary::new(options.glz_window_pixels))
    }

    /// The same, with a dictionary that may be shared.
    pub fn with_dictionary(options: CanvasOptions, dictionary: glz::Dictionary) -> Self {
        let pool = Pool::default();
        Self {
            limits: options.limits,
            surfaces: HashMap::new(),
            surface_bytes: 0,
            holds_screen: false,
            held: None,
            generation: 0,
            images: ImageCache::new(options.image_cache_pixels, pool.clone()),
            image_cache_pixels: options.image_cache_pixels,
            palettes: PaletteCache::default(),
            dictionary,
            pool,
            streams: Streams::default(),
            region: Region::default(),
            pen: Pen::default(),
        }
    }

    /// The surface with this id.
    pub fn surface(&self, id: u32) -> Option<&Surface> {
        self.surfaces.get(&id)
    }

    /// All surfaces with their ids.
    pub fn surfaces(&self) -> impl Iterator<Item = (u32, &Surface)> {
        self.surfaces.iter().map(|(id, surface)| (*id, surface))
    }

    /// Id and surface of the screen.
    pub fn primary(&self) -> Option<(u32, &Surface)> {
        let primaries = self.surfaces.iter().filter(|(_, surface)| surface.is_primary());
        primaries.min_by_key(|(id, _)| **id).map(|(id, surface)| (*id, surface))
    }

    /// Pixels in the image cache and in the GLZ dictionary.
    pub(in crate::spice) fn held_pixels(&self) -> (u64, u64) {
        (self.images.held_pixels(), self.dictionary.held_pixels())
    }

    /// Creates a surface, black or transparent, in place of one with the same id.
    pub fn create_surface(&mut self, message: &SurfaceCreate) -> Result<(), DrawError> {
        let id = message.surface_id;
        self.destroy_surface(id);
        let format = message.format;
        let format = Format::from_wire(format).ok_or(DrawError::SurfaceFormat { id, format })?;
        let count = u64::try_from(self.surfaces.len()).unwrap_or(u64::MAX);
        within("number of surfaces", count + 1, self.limits.surfaces)?;
        let pixels = self.limits.images.check(message.width, message.height);
        let pixels = pixels.map_err(|source| DrawError::Image { id: id.into(), kind: "SURFACE", source })?;
        let bytes = u64::try_from(pixels).unwrap_or(u64::MAX).saturating_mul(4);
        within("surface memory", self.surface_bytes.saturating_add(bytes), self.limits.surface_bytes)?;
        self.surface_bytes += bytes;
        self.generation += 1;
        let is_primary = message.flags & SurfaceCreate::PRIMARY != 0;
        let (width, height) = (message.width, message.height);
        let surface = Surface::new(width, height, format, is_primary, self.generation);
        let surface = match self.held.take_if(|_| is_primary) {
            Some(held) => held.in_place_of(surface),
            None => surface,
        };
        self.surfaces.insert(id, surface);
        Ok(())
    }

    /// Destroys a surface. False when there was none.
    pub fn destroy_surface(&mut self, id: u32) -> bool {
        let Some(surface) = self.surfaces.remove(&id) else { return false };
        self.surface_bytes -= byte_length(surface.pixels());
        if self.holds_screen && surface.is_primary() {
            self.held = Some(surface);
        }
        true
    }

    /// Whether a screen that is destroyed and created anew, as large as before, keeps its pixels.
    pub fn hold_screen(&mut self, holds: bool) {
        self.holds_screen = holds;
        self.held = None;
    }

    /// Blackens the screen, as the RESET of old servers asks. Returns what of which surface that is.
    pub fn clear_primary(&mut self) -> Vec<(u32, Rect)> {
        let screens = self.surfaces.iter_mut().filter(|(_, surface)| surface.is_primary());
        let clear = |(id, surface): (&u32, &mut Surface)| {
            surface.clear();
            (*id, surface.bounds())
        };
        screens.map(clear).collect()
    }

    /// Forgets images one by one.
    pub fn inval_list(&mut self, message: &InvalList<'_>) {
        const PIXMAP: u8 = 1;
        for resource in message.resources.iter().filter(|resource| resource.kind == PIXMAP) {
            self.images.remove(resource.id);
        }
    }

    /// Forgets all images.
    pub fn inval_all_pixmaps(&mut self) {
        self.images.clear();
    }

    /// Forgets a palette.
    pub fn inval_palette(&mut self, id: u64) {
        self.palettes.remove(id);
    }

    /// Forgets all palettes.
    pub fn inval_all_palettes(&mut self) {
        self.palettes.clear();
    }

    /// COPY_BITS.
    pub fn copy_bits(&mut self, message: &CopyBits<'_>) -> Result<Outcome, DrawError> {
        let from = message.src_pos;
        within("coordinate", from.x.unsigned_abs().max(from.y.unsigned_abs()).into(), 1 << 24)?;
        let pool = self.pool.clone();
        self.draw(&message.base, None, |surface, place| paint::copy_bits(surface, place, from, &pool))
    }

    /// DRAW_FILL.
    pub fn fill(&mut self, message: &DrawFill<'_>) -> Result<Outcome, DrawError> {
        let rop = rop(message.rop_descriptor, RopDescriptor::INVERS_BRUSH)?;
        let brush = self.resolve_brush(&message.brush)?;
        let mask = self.resolve_mask(&message.mask)?;
        self.draw(&message.base, mask.as_ref(), |surface, place| {
            paint::fill(surface, place, rop, brush.paint());
        })
    }

    /// DRAW_COPY.
    pub fn copy(&mut self, message: &DrawCopy<'_>) -> Result<Outcome, DrawError> {
        let rop = rop(message.rop_descriptor, RopDescriptor::INVERS_SRC)?;
        let mut source = self.resolve_source(&message.src_bitmap.0, &message.src_area)?;
        source.is_smooth = message.scale_mode == scale_mode::INTERPOLATE;
        self.put(&message.base, &source, rop, &message.mask)
    }

    /// DRAW_BLEND, which means the same.
    pub fn blend(&mut self, message: &DrawBlend<'_>) -> Result<Outcome, DrawError> {
        let rop = rop(message.rop_descriptor, RopDescriptor::INVERS_SRC)?;
        let mut source = self.resolve_source(&message.src_bitmap.0, &message.src_area)?;
        source.is_smooth = message.scale_mode == scale_mode::INTERPOLATE;
        self.put(&message.base, &source, rop, &message.mask)
    }

    fn put(
        &mut self,
        base: &DisplayBase<'_>,
        source: &ResolvedSource,
        rop: Rop,
        mask: &QMask<'_>,
    ) -> Result<Outcome, DrawError> {
        let mask = self.resolve_mask(mask)?;
        self.draw(base, mask.as_ref(), |surface, place| {
            paint::copy(surface, place, rop, &source.over(place.bounds));
        })
    }

    /// DRAW_OPAQUE: the source as it is, then the brush with the source as its destination.
    pub fn opaque(&mut self, message: &DrawOpaque<'_>) -> Result<Outcome, DrawError> {
        let descriptor = message.rop_descriptor;
        let rop = Rop::new(descriptor, RopDescriptor::INVERS_BRUSH, RopDescriptor::INVERS_SRC);
        let rop = rop.ok_or(DrawError::Rop(descriptor))?;
        let mut source = self.resolve_source(&message.src_bitmap.0, &message.src_area)?;
        source.is_smooth = message.scale_mode == scale_mode::INTERPOLATE;
        let brush = self.resolve_brush(&message.brush)?;
        let mask = self.resolve_mask(&message.mask)?;
        self.draw(&message.base, mask.as_ref(), |surface, place| {
            paint::copy(surface, place, Rop::PUT, &source.over(place.bounds));
            paint::fill(surface, place, rop, brush.paint());
        })
    }

    /// DRAW_BLACKNESS.
    pub fn blackness(&mut self, base: &DisplayBase<'_>, mask: &QMask<'_>) -> Result<Outcome, DrawError> {
        self.constant(base, mask, Rop::BLACKNESS)
    }

    /// DRAW_WHITENESS.
    pub fn whiteness(&mut self, base: &DisplayBase<'_>, mask: &QMask<'_>) -> Result<Outcome, DrawError> {
        self.constant(base, mask, Rop::WHITENESS)
    }

    /// DRAW_INVERS.
    pub fn invers(&mut self, base: &DisplayBase<'_>, mask: &QMask<'_>) -> Result<Outcome, DrawError> {
        self.constant(base, mask, Rop::INVERS)
    }

    fn constant(&mut self, base: &DisplayBase<'_>, mask: &QMask<'_>, rop: Rop) -> Result<Outcome, DrawError> {
        let mask = self.resolve_mask(mask)?;
        self.draw(base, mask.as_ref(), |surface, place| paint::constant(surface, place, rop))
    }

    /// Decodes an image without a draw.
    #[cfg(test)]
    pub(super) fn decode_for_caches(&mut self, image: &Image<'_>) -> Result<(), DrawError> {
        self.resolve_whole(image).map(|_| ())
    }

    /// Draws on the surface, if there is one. Everything that fills caches has been resolved before.
    pub(super) fn draw(
        &mut self,
        base: &DisplayBase<'_>,
        mask: Option<&ResolvedMask>,
        draw: impl FnOnce(&mut Surface, Place<'_>),
    ) -> Result<Outcome, DrawError> {
        check_clip(&base.clip)?;
        let Some(surface) = self.surfaces.get_mut(&base.surface_id) else {
            return Ok(Outcome::Skipped("draw to a surface that does not exist"));
        };
        if base.bounds.intersect(&surface.bounds()).is_empty() {
            return Ok(Outcome::Nothing);
        }
        self.region.cut(&base.bounds, &base.clip, &surface.bounds());
        let mask =
            mask.map(|mask| Mask { picture: &mask.picture, pos: mask.pos, is_inverse: mask.is_inverse });
        draw(surface, Place { bounds: &base.bounds, region: &self.region, mask });
        Ok(Outcome::Drawn(base.surface_id, self.region.extent()))
    }

    /// The part `area` of an image. Of a surface only this part is taken.
    pub(super) fn resolve_source(
        &mut self,
        image: &Image<'_>,
        area: &Rect,
    ) -> Result<ResolvedSource, DrawError> {
        if let ImageData::Surface(id) = image.data {
            let surface = self.surfaces.get(&id).ok_or(DrawError::SurfaceMissing { id })?;
            check_area(area, surface.width(), surface.height())?;
            let picture = paint::snapshot(surface, area, &self.pool).unwrap_or_default();
            let picture = Resolved::Brief(Brief { picture, pool: self.pool.clone() });
            let area = Rect::new(0, 0, area.width(), area.height());
            return Ok(ResolvedSource { picture, area, is_smooth: false });
        }
        let picture = self.resolve(image, Purpose::Picture)?;
        check_area(area, picture.width, picture.height)?;
        Ok(ResolvedSource { picture, area: *area, is_smooth: false })
    }

    /// All of an image.
    pub(super) fn resolve_whole(&mut self, image: &Image<'_>) -> Result<Resolved, DrawError> {
        self.resolve(image, Purpose::Picture)
    }

    pub(super) fn resolve_brush(&mut self, brush: &Brush<'_>) -> Result<ResolvedBrush, DrawError> {
        Ok(match brush {
            Brush::None => ResolvedBrush::None,
            Brush::Solid(colour) => ResolvedBrush::Solid(*colour),
            Brush::Pattern { image, pos } => {
                ResolvedBrush::Pattern(self.resolve(&image.0, Purpose::Picture)?, *pos)
            }
        })
    }

    pub(super) fn resolve_mask(&mut self, mask: &QMask<'_>) -> Result<Option<ResolvedMask>, DrawError> {
        let Some(image) = &mask.bitmap else { return Ok(None) };
        let picture = self.resolve(&image.0, Purpose::Mask)?;
        Ok(Some(ResolvedMask { picture, pos: mask.pos, is_inverse: mask.flags & QMask::INVERS != 0 }))
    }

    /// Turns an image into pixels and keeps the caches up to date.
    fn resolve(&mut self, image: &Image<'_>, purpose: Purpose) -> Result<Resolved, DrawError> {
        let ImageDescriptor { id, flags, width, height, .. } = image.descriptor;
        let (_, kind) = image.data.kind();
        let limits = self.limits.images;
        let in_image = |source| DrawError::Image { id, kind, source };
        let mut picture = match &image.data {
            ImageData::FromCache | ImageData::FromCacheLossless => {
                return self.images.get(id).map(Resolved::Kept).ok_or(DrawError::ImageMissing { id });
            }
            ImageData::Surface(surface_id) => return self.resolve_surface(*surface_id),
            ImageData::Bitmap(bitmap) => {
                let palette = self.resolve_palette(&bitmap.palette, bitmap.flags)?;
                let colours = palette.as_ref().map(|colours| colours.as_slice());
                let picture = match purpose {
                    Purpose::Picture => bitmap::decode_in(bitmap, colours, limits, &self.pool),
                    Purpose::Mask => bitmap::decode_mask(bitmap, limits, &self.pool),
                };
                palette.into_iter().for_each(|palette| self.palettes.give_back(palette));
                picture.map_err(in_image)?
            }
            ImageData::LzPlt(image) => {
                let palette = self.resolve_palette(&image.palette, image.flags)?;
                let colours = lz::Container::Plt(palette.as_ref().map_or(&[], |colours| colours.as_slice()));
                let picture = lz::decode_in(image.data, colours, width, height, limits, &self.pool);
                palette.into_iter().for_each(|palette| self.palettes.give_back(palette));
                picture.map_err(in_image)?
            }
            data => {
                let dictionary = &mut self.dictionary;
                codec::decode(data, width, height, dictionary, limits, &self.pool).map_err(in_image)?
            }
        };
        let (wanted, got) = ((width, height), (picture.width, picture.height));
        if wanted != got {
            return Err(DrawError::SizeMismatch { id, wanted, got });
        }
        if flags & ImageDescriptor::HIGH_BITS_SET != 0 {
            picture.drop_alpha();
        }
        if flags & (ImageDescriptor::CACHE_ME | ImageDescriptor::CACHE_REPLACE_ME) != 0 {
            let is_replacement = flags & ImageDescriptor::CACHE_REPLACE_ME != 0;
            let limit = self.image_cache_pixels;
            let stored = self.images.insert(id, picture, is_replacement);
            let picture = stored.map_err(|got| DrawError::Limit { what: "image cache", got, limit })?;
            within("number of images in the image cache", self.images.count(), ImageCache::MOST_IMAGES)?;
            return Ok(Resolved::Kept(picture));
        }
        Ok(Resolved::Brief(Brief { picture, pool: self.pool.clone() }))
    }

    fn resolve_surface(&mut self, id: u32) -> Result<Resolved, DrawError> {
        let surface = self.surfaces.get(&id).ok_or(DrawError::SurfaceMissing { id })?;
        let picture = paint::snapshot(surface, &surface.bounds(), &self.pool);
        let picture = picture.ok_or(DrawError::SurfaceMissing { id })?;
        Ok(Resolved::Brief(Brief { picture, pool: self.pool.clone() }))
    }

    fn resolve_palette(
        &mut self,
        source: &PaletteSource<'_>,
        flags: u8,
    ) -> Result<Option<Arc<Vec<u32>>>, DrawError> {
        match source {
            PaletteSource::None => Ok(None),
            PaletteSource::Cached(id) => {
                self.palettes.get(*id).map(Some).ok_or(DrawError::PaletteMissing { id: *id })
            }
            PaletteSource::Inline(palette) => {
                let colours = self.palettes.lend(palette);
                if flags & Bitmap::PAL_CACHE_ME != 0
                    && !self.palettes.insert(palette.unique, Arc::clone(&colours))
                {
                    let limit = u64::try_from(PaletteCache::LIMIT).unwrap_or(u64::MAX);
                    return Err(DrawError::Limit { what: "palette cache", got: limit + 1, limit });
                }
                Ok(Some(colours))
            }
        }
    }
}

/// What an image is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Picture,
    Mask,
}

/// An image as pixels.
pub(super) enum Resolved {
    /// Others have it, too.
    Kept(Arc<Picture>),
    /// For one draw.
    Brief(Brief),
}

impl Deref for Resolved {
    type Target = Picture;

    fn deref(&self) -> &Picture {
        match self {
            Self::Kept(picture) => picture,
            Self::Brief(brief) => &brief.picture,
        }
    }
}

/// A picture whose memory goes back to the pool.
pub(super) struct Brief {
    picture: Picture,
    pool: Pool,
}

impl Drop for Brief {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.picture.bytes));
    }
}

/// A part of a picture.
pub(super) struct ResolvedSource {
    picture: Resolved,
    area: Rect,
    pub(super) is_smooth: bool,
}

impl ResolvedSource {
    /// This part stretched over `bounds`.
    pub(super) fn over(&self, bounds: &Rect) -> Stretch<'_> {
        Stretch { picture: &self.picture, area: self.area, bounds: *bounds, is_smooth: self.is_smooth }
    }
}

pub(super) enum ResolvedBrush {
    None,
    Solid(u32),
    Pattern(Resolved, Point),
}

impl ResolvedBrush {
    pub(super) fn paint(&self) -> Paint<'_> {
        match self {
            Self::None => Paint::None,
            Self::Solid(colour) => Paint::Solid(*colour),
            Self::Pattern(tile, origin) => Paint::Pattern(tile, *origin),
        }
    }
}

pub(super) struct ResolvedMask {
    picture: Resolved,
    pos: Point,
    is_inverse: bool,
}

pub(super) fn rop(descriptor: RopDescriptor, operand_bit: RopDescriptor) -> Result<Rop, DrawError> {
    Rop::new(descriptor, operand_bit, RopDescriptor::INVERS_DEST).ok_or(DrawError::Rop(descriptor))
}

pub(super) fn within(what: &'static str, got: u64, limit: u64) -> Result<(), DrawError> {
    if got > limit { Err(DrawError::Limit { what, got, limit }) } else { Ok(()) }
}

pub(super) fn check_clip(clip: &Clip<'_>) -> Result<(), DrawError> {
    /// Cutting overlapping rectangles takes time that grows with the square of their number.
    const CLIP_RECTS: u64 = 4096;
    let Clip::Rects(rects) = clip else { return Ok(()) };
    within("number of clip rectangles", u64::try_from(rects.len()).unwrap_or(u64::MAX), CLIP_RECTS)
}

fn check_area(area: &Rect, width: u32, height: u32) -> Result<(), DrawError> {
    let inside = |edge: i32, length: u32| u32::try_from(edge).is_ok_and(|edge| edge <= length);
    let is_inside = [area.left, area.right].iter().all(|x| inside(*x, width))
        && [area.top, area.bottom].iter().all(|y| inside(*y, height));
    if is_inside { Ok(()) } else { Err(DrawError::SourceArea { area: *area, width, height }) }
}

fn byte_length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
