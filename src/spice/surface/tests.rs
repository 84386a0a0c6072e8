//! Drawing on a surface of 4 x 4 pixels, shown as one hexadecimal digit per pixel: its blue channel.

use super::{Canvas, CanvasOptions, DrawError, Outcome};
use crate::spice::limits::Limits;
use crate::spice::wire::bytes::{Counted, Pointer};
use crate::spice::wire::display::{InvalList, ResourceId, SurfaceCreate};
use crate::spice::wire::draw::{CopyBits, DisplayBase, DrawCopy, DrawFill, DrawOpaque, scale_mode};
use crate::spice::wire::elements::Elements;
use crate::spice::wire::image::{
    Bitmap, Image, ImageData, ImageDescriptor, JpegAlpha, PaletteSource, ZlibGlzRgb,
};
use crate::spice::wire::types::{Brush, Clip, Palette, Point, QMask, Rect, RopDescriptor};

const PUT: RopDescriptor = RopDescriptor::OP_PUT;
const ALL: Rect = Rect { left: 0, top: 0, right: 4, bottom: 4 };
const CACHE_PIXELS: u64 = 32;

fn create(surface_id: u32, width: u32, height: u32, format: u32) -> SurfaceCreate {
    SurfaceCreate { surface_id, width, height, format, flags: SurfaceCreate::PRIMARY }
}

/// Surface 0 with pixels 0 to f, row by row.
fn canvas() -> Canvas {
    let options =
        CanvasOptions { image_cache_pixels: CACHE_PIXELS, glz_window_pixels: 0, limits: Limits::default() };
    let mut canvas = Canvas::new(options);
    canvas.create_surface(&create(0, 4, 4, 32)).unwrap();
    let counting = pixels("0123 4567 89ab cdef");
    let outcome = copy(&mut canvas, &base(ALL), &bitmap(4, &counting), &ALL, PUT, &QMask::NONE);
    assert_eq!(outcome, Ok(Outcome::Drawn(0, ALL)));
    canvas
}

fn base(bounds: Rect) -> DisplayBase<'static> {
    DisplayBase { surface_id: 0, bounds, clip: Clip::None }
}

/// Pixels of which each digit is the blue channel; the fourth byte is noise.
fn pixels(digits: &str) -> Vec<u8> {
    let digits = digits.chars().filter_map(|digit| digit.to_digit(16));
    digits.flat_map(|digit| [u8::try_from(digit).unwrap(), 0, 0, 0xee]).collect()
}

fn image<'a>(width: u32, height: u32, data: ImageData<'a>) -> Image<'a> {
    let kind = data.kind().0;
    Image { descriptor: ImageDescriptor { id: 1, kind, flags: 0, width, height }, data }
}

/// A 32-bit top-down bitmap.
fn bitmap(width: u32, data: &[u8]) -> Image<'_> {
    let height = u32::try_from(data.len()).unwrap() / (width * 4);
    let (flags, stride, palette) = (Bitmap::TOP_DOWN, width * 4, PaletteSource::None);
    image(width, height, ImageData::Bitmap(Bitmap { format: 8, flags, width, height, stride, palette, data }))
}

/// A one-bit mask of one byte per row, first pixel in the highest bit.
fn mask(rows: &[u8], flags: u8, pos: Point) -> QMask<'_> {
    let height = u32::try_from(rows.len()).unwrap();
    let palette = PaletteSource::None;
    let (width, bitmap_flags) = (4, Bitmap::TOP_DOWN);
    let bitmap = Bitmap { format: 2, flags: bitmap_flags, width, height, stride: 1, palette, data: rows };
    QMask { flags, pos, bitmap: Some(Pointer(image(width, height, ImageData::Bitmap(bitmap)))) }
}

fn show(canvas: &Canvas) -> String {
    let surface = canvas.surface(0).unwrap();
    assert!(surface.pixels().chunks_exact(4).all(|pixel| pixel[3] == 0), "the fourth byte is 0");
    let row =
        |row: &[u8]| row.chunks_exact(4).map(|pixel| format!("{:x}", pixel[0] & 0xf)).collect::<String>();
    surface.pixels().chunks_exact(surface.stride_bytes()).map(row).collect::<Vec<_>>().join(" ")
}

fn fill(
    canvas: &mut Canvas,
    base: DisplayBase<'_>,
    colour: u32,
    rop_descriptor: RopDescriptor,
    mask: QMask<'_>,
) {
    let fill = DrawFill { base, brush: Brush::Solid(colour), rop_descriptor, mask };
    canvas.fill(&fill).unwrap();
}

fn copy(
    canvas: &mut Canvas,
    base: &DisplayBase<'_>,
    image: &Image<'_>,
    area: &Rect,
    rop_descriptor: RopDescriptor,
    mask: &QMask<'_>,
) -> Result<Outcome, DrawError> {
    canvas.copy(&DrawCopy {
        base: base.clone(),
        src_bitmap: Pointer(image.clone()),
        src_area: *area,
        rop_descriptor,
        scale_mode: scale_mode::NEAREST,
        mask: mask.clone(),
    })
}

#[test]
fn raw_pixels_are_copied_and_their_fourth_byte_is_dropped() {
    assert_eq!(show(&canvas()), "0123 4567 89ab cdef");
}

#[test]
fn a_part_of_an_image_goes_to_its_box() {
    let mut canvas = canvas();
    let source = pixels("abc def");
    let outcome = copy(
        &mut canvas,
        &base(Rect::new(3, 3, 2, 2)),
        &bitmap(3, &source),
        &Rect::new(1, 0, 2, 2),
        PUT,
        &QMask::NONE,
    );
    assert_eq!(outcome, Ok(Outcome::Drawn(0, Rect::new(3, 3, 1, 1))), "cut at the surface");
    assert_eq!(show(&canvas), "0123 4567 89ab cdeb");
}

#[test]
fn a_source_area_outside_of_the_image_is_refused() {
    let source = pixels("ab");
    for area in [Rect::new(1, 0, 2, 1), Rect::new(-1, 0, 2, 1), Rect::new(0, 0, 2, 2)] {
        let result = copy(&mut canvas(), &base(ALL), &bitmap(2, &source), &area, PUT, &QMask::NONE);
        assert_eq!(result, Err(DrawError::SourceArea { area, width: 2, height: 1 }));
    }
}

#[test]
fn images_of_another_size_are_scaled_to_the_nearest_pixel() {
    let mut canvas = canvas();
    let source = pixels("12 34");
    copy(&mut canvas, &base(ALL), &bitmap(2, &source), &Rect::new(0, 0, 2, 2), PUT, &QMask::NONE).unwrap();
    assert_eq!(show(&canvas), "1122 1122 3344 3344");
    let source = pixels("1234 5678");
    copy(
        &mut canvas,
        &base(Rect::new(0, 0, 2, 1)),
        &bitmap(4, &source),
        &Rect::new(0, 0, 4, 2),
        PUT,
        &QMask::NONE,
    )
    .unwrap();
    assert_eq!(show(&canvas), "6822 1122 3344 3344");
}

#[test]
fn raster_operations_combine_with_what_is_there() {
    let mut canvas = canvas();
    let row = |y| base(Rect::new(0, y, 4, 1));
    fill(&mut canvas, row(0), 1, RopDescriptor::OP_XOR, QMask::NONE);
    fill(&mut canvas, row(1), 2, RopDescriptor::OP_AND, QMask::NONE);
    fill(&mut canvas, row(2), 4, RopDescriptor::OP_OR, QMask::NONE);
    fill(&mut canvas, row(3), 1, PUT | RopDescriptor::INVERS_BRUSH, QMask::NONE);
    assert_eq!(show(&canvas), "1032 0022 cdef eeee");
    let result = canvas.fill(&DrawFill {
        base: row(0),
        brush: Brush::Solid(0),
        rop_descriptor: RopDescriptor(0),
        mask: QMask::NONE,
    });
    assert_eq!(result, Err(DrawError::Rop(RopDescriptor(0))));
}

#[test]
fn an_image_may_be_combined_too() {
    let mut canvas = canvas();
    let source = pixels("ffff");
    let top = Rect::new(0, 0, 4, 1);
    copy(&mut canvas, &base(top), &bitmap(4, &source), &top, RopDescriptor::OP_XOR, &QMask::NONE).unwrap();
    assert_eq!(show(&canvas), "fedc 4567 89ab cdef");
}

#[test]
fn constants_need_no_operand() {
    let mut canvas = canvas();
    canvas.blackness(&base(Rect::new(0, 0, 4, 1)), &QMask::NONE).unwrap();
    canvas.whiteness(&base(Rect::new(0, 1, 4, 1)), &QMask::NONE).unwrap();
    canvas.invers(&base(Rect::new(0, 2, 4, 1)), &QMask::NONE).unwrap();
    assert_eq!(show(&canvas), "0000 ffff 7654 cdef");
}

#[test]
fn a_brush_of_no_kind_draws_nothing() {
    let mut canvas = canvas();
    let draw = DrawFill { base: base(ALL), brush: Brush::None, rop_descriptor: PUT, mask: QMask::NONE };
    canvas.fill(&draw).unwrap();
    assert_eq!(show(&canvas), "0123 4567 89ab cdef");
}

#[test]
fn patterns_tile_from_their_origin_in_all_directions() {
    let mut canvas = canvas();
    let tile = pixels("123");
    let brush = Brush::Pattern { image: Pointer(bitmap(3, &tile)), pos: Point { x: 1, y: 7 } };
    canvas.fill(&DrawFill { base: base(ALL), brush, rop_descriptor: PUT, mask: QMask::NONE }).unwrap();
    assert_eq!(show(&canvas), "3123 3123 3123 3123");
}

#[test]
fn opaque_puts_the_source_and_combines_the_brush_with_it() {
    let mut canvas = canvas();
    let source = pixels("abcd");
    let top = Rect::new(0, 0, 4, 1);
    let opaque = |brush, rop_descriptor| DrawOpaque {
        base: base(top),
        src_bitmap: Pointer(bitmap(4, &source)),
        src_area: top,
        brush,
        rop_descriptor,
        scale_mode: 0,
        mask: QMask::NONE,
    };
    canvas.opaque(&opaque(Brush::Solid(1), RopDescriptor::OP_XOR)).unwrap();
    assert_eq!(show(&canvas), "badc 4567 89ab cdef");
    canvas.opaque(&opaque(Brush::Solid(3), RopDescriptor::OP_AND | RopDescriptor::INVERS_SRC)).unwrap();
    assert_eq!(show(&canvas), "1032 4567 89ab cdef");
}

#[test]
fn clip_rectangles_limit_a_draw_and_its_report() {
    let mut canvas = canvas();
    let clip =
        Clip::Rects(Elements::of([Rect::new(0, 0, 2, 2), Rect::new(1, 1, 2, 2), Rect::new(9, 9, 9, 9)]));
    let draw = DrawFill {
        base: DisplayBase { clip, ..base(ALL) },
        brush: Brush::Solid(0xf),
        rop_descriptor: RopDescriptor::OP_XOR,
        mask: QMask::NONE,
    };
    assert_eq!(canvas.fill(&draw), Ok(Outcome::Drawn(0, Rect::new(0, 0, 3, 3))));
    assert_eq!(show(&canvas), "fe23 ba97 865b cdef");
}

#[test]
fn masks_choose_pixels() {
    let rows = [0b1010_0000, 0b0101_0000];
    let mut drawn = canvas();
    fill(&mut drawn, base(ALL), 0xf, PUT, mask(&rows, 0, Point::default()));
    assert_eq!(show(&drawn), "f1f3 4f6f 89ab cdef", "outside of the mask nothing is drawn");
    let mut inverse = canvas();
    fill(&mut inverse, base(ALL), 0xf, PUT, mask(&rows, QMask::INVERS, Point::default()));
    assert_eq!(show(&inverse), "0f2f f5f7 89ab cdef");
    let mut shifted = canvas();
    fill(&mut shifted, base(Rect::new(1, 2, 3, 2)), 0xf, PUT, mask(&rows, 0, Point { x: 1, y: 1 }));
    assert_eq!(show(&shifted), "0123 4567 8faf cdef");
}

#[test]
fn copy_bits_reads_what_was_there_before() {
    for (to, from, expected) in [
        (Rect::new(1, 1, 3, 3), Point { x: 0, y: 0 }, "0123 4012 8456 c89a"),
        (Rect::new(0, 0, 3, 3), Point { x: 1, y: 1 }, "5673 9ab7 defb cdef"),
        (Rect::new(0, 0, 4, 1), Point { x: 2, y: 0 }, "2323 4567 89ab cdef"),
    ] {
        let mut canvas = canvas();
        canvas.copy_bits(&CopyBits { base: base(to), src_pos: from }).unwrap();
        assert_eq!(show(&canvas), expected, "{to:?} from {from:?}");
    }
}

#[test]
fn copy_bits_from_beyond_the_surface_takes_what_there_is() {
    let mut canvas = canvas();
    let far = Point { x: i32::MIN, y: i32::MAX };
    assert!(canvas.copy_bits(&CopyBits { base: base(ALL), src_pos: far }).is_err());
    let left = Point { x: -2, y: 0 };
    canvas.copy_bits(&CopyBits { base: base(ALL), src_pos: left }).unwrap();
    assert_eq!(show(&canvas), "0101 4545 8989 cdcd");
}

#[test]
fn a_surface_may_be_the_source_of_another_and_of_itself() {
    let mut canvas = canvas();
    canvas.create_surface(&create(1, 2, 1, 32)).unwrap();
    let pair = Rect::new(0, 0, 2, 1);
    let other = DisplayBase { surface_id: 1, ..base(pair) };
    let screen = image(4, 4, ImageData::Surface(0));
    copy(&mut canvas, &other, &screen, &Rect::new(2, 1, 2, 1), PUT, &QMask::NONE).unwrap();
    copy(&mut canvas, &base(pair), &image(2, 1, ImageData::Surface(1)), &pair, PUT, &QMask::NONE).unwrap();
    assert_eq!(show(&canvas), "6723 4567 89ab cdef");
    let missing =
        copy(&mut canvas, &base(pair), &image(2, 1, ImageData::Surface(9)), &pair, PUT, &QMask::NONE);
    assert_eq!(missing, Err(DrawError::SurfaceMissing { id: 9 }));
}

#[test]
fn surfaces_with_alpha_keep_it_and_make_plain_images_opaque() {
    let mut canvas = canvas();
    canvas.create_surface(&create(1, 1, 1, 96)).unwrap();
    let one = Rect::new(0, 0, 1, 1);
    let to = DisplayBase { surface_id: 1, ..base(one) };
    let plain = pixels("5");
    copy(&mut canvas, &to, &bitmap(1, &plain), &one, PUT, &QMask::NONE).unwrap();
    assert_eq!(canvas.surface(1).unwrap().pixels(), [5, 0, 0, 0xff]);
    let mut translucent = bitmap(1, &plain);
    let ImageData::Bitmap(bitmap) = &mut translucent.data else { unreachable!() };
    bitmap.format = 9;
    copy(&mut canvas, &to, &translucent, &one, PUT, &QMask::NONE).unwrap();
    assert_eq!(canvas.surface(1).unwrap().pixels(), [5, 0, 0, 0xee]);
    translucent.descriptor.flags = ImageDescriptor::HIGH_BITS_SET;
    copy(&mut canvas, &to, &translucent, &one, PUT, &QMask::NONE).unwrap();
    assert_eq!(canvas.surface(1).unwrap().pixels(), [5, 0, 0, 0xff]);
}

fn cached(flags: u8, id: u64, data: &[u8]) -> Image<'_> {
    let mut image = bitmap(4, data);
    (image.descriptor.flags, image.descriptor.id) = (flags, id);
    image
}

fn from_cache(canvas: &mut Canvas, id: u64) -> Result<Outcome, DrawError> {
    let mut image = image(4, 4, ImageData::FromCache);
    image.descriptor.id = id;
    copy(canvas, &base(ALL), &image, &ALL, PUT, &QMask::NONE)
}

#[test]
fn images_are_cached_even_when_their_draw_is_invisible() {
    let mut canvas = canvas();
    let ones = pixels("1111 1111 1111 1111");
    let nowhere = DisplayBase { surface_id: 77, ..base(ALL) };
    let image = cached(ImageDescriptor::CACHE_ME, 5, &ones);
    let outcome = copy(&mut canvas, &nowhere, &image, &ALL, PUT, &QMask::NONE);
    assert_eq!(outcome, Ok(Outcome::Skipped("draw to a surface that does not exist")));
    from_cache(&mut canvas, 5).unwrap();
    assert_eq!(show(&canvas), "1111 1111 1111 1111");
}

#[test]
fn an_image_announced_twice_is_forgotten_after_two_removals() {
    let mut canvas = canvas();
    let ones = pixels("1111 1111 1111 1111");
    let twos = pixels("2222 2222 2222 2222");
    for data in [&ones, &twos] {
        canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_ME, 5, data)).unwrap();
    }
    let removal = InvalList { resources: Elements::of([ResourceId { kind: 1, id: 5 }]) };
    canvas.inval_list(&removal);
    from_cache(&mut canvas, 5).unwrap();
    assert_eq!(show(&canvas), "2222 2222 2222 2222");
    canvas.inval_list(&removal);
    canvas.inval_list(&removal);
    assert_eq!(from_cache(&mut canvas, 5), Err(DrawError::ImageMissing { id: 5 }));
}

#[test]
fn a_replacement_changes_pixels_but_not_the_count() {
    let mut canvas = canvas();
    let ones = pixels("1111 1111 1111 1111");
    canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_ME, 5, &ones)).unwrap();
    let twos = pixels("2222 2222 2222 2222");
    canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_REPLACE_ME, 5, &twos)).unwrap();
    from_cache(&mut canvas, 5).unwrap();
    assert_eq!(show(&canvas), "2222 2222 2222 2222");
    canvas.inval_list(&InvalList { resources: Elements::of([ResourceId { kind: 1, id: 5 }]) });
    assert!(from_cache(&mut canvas, 5).is_err());
}

#[test]
fn a_cache_of_countless_small_images_is_refused() {
    let limits = Limits::default();
    let image_cache_pixels = limits.image_cache_pixels.into();
    let mut canvas = Canvas::new(CanvasOptions { image_cache_pixels, glz_window_pixels: 0, limits });
    let pixel = pixels("1");
    let one = |id| Image {
        descriptor: ImageDescriptor { id, kind: 0, flags: ImageDescriptor::CACHE_ME, width: 1, height: 1 },
        data: bitmap(1, &pixel).data,
    };
    let refused = (0..=1 << 18).find_map(|id| canvas.decode_for_caches(&one(id)).err());
    let (what, got, limit) = ("number of images in the image cache", (1 << 18) + 1, 1 << 18);
    assert_eq!(refused, Some(DrawError::Limit { what, got, limit }));
}

#[test]
fn a_server_that_overfills_the_cache_is_refused() {
    let mut canvas = canvas();
    let ones = pixels("1111 1111 1111 1111");
    for id in 0..3 {
        canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_ME, id, &ones)).unwrap();
    }
    let fourth = canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_ME, 3, &ones));
    assert!(matches!(fourth, Err(DrawError::Limit { what: "image cache", limit: CACHE_PIXELS, .. })));
    canvas.inval_all_pixmaps();
    assert_eq!(from_cache(&mut canvas, 0), Err(DrawError::ImageMissing { id: 0 }));
    canvas.decode_for_caches(&cached(ImageDescriptor::CACHE_ME, 3, &ones)).unwrap();
}

fn indexed(flags: u8, palette: PaletteSource<'static>) -> Image<'static> {
    let bitmap = Bitmap { format: 5, flags, width: 1, height: 1, stride: 1, palette, data: &[1] };
    image(1, 1, ImageData::Bitmap(bitmap))
}

#[test]
fn palettes_are_cached_by_their_key() {
    let mut canvas = canvas();
    let one = Rect::new(0, 0, 1, 1);
    let palette = PaletteSource::Inline(Palette { unique: 9, colours: Elements::of([0, 0xf]) });
    let known = indexed(Bitmap::PAL_FROM_CACHE, PaletteSource::Cached(9));
    let missing = copy(&mut canvas, &base(one), &known, &one, PUT, &QMask::NONE);
    assert_eq!(missing, Err(DrawError::PaletteMissing { id: 9 }));
    canvas.decode_for_caches(&indexed(Bitmap::PAL_CACHE_ME, palette)).unwrap();
    copy(&mut canvas, &base(one), &known, &one, PUT, &QMask::NONE).unwrap();
    assert_eq!(show(&canvas), "f123 4567 89ab cdef");
    canvas.inval_palette(9);
    assert!(canvas.decode_for_caches(&known).is_err());
}

#[test]
fn palettes_are_limited_in_number() {
    let mut canvas = canvas();
    let announce = |canvas: &mut Canvas, unique| {
        let palette = PaletteSource::Inline(Palette { unique, colours: Elements::of([0, 0]) });
        canvas.decode_for_caches(&indexed(Bitmap::PAL_CACHE_ME, palette))
    };
    for unique in 0..256 {
        announce(&mut canvas, unique).unwrap();
    }
    assert!(matches!(announce(&mut canvas, 256), Err(DrawError::Limit { what: "palette cache", .. })));
    canvas.inval_all_palettes();
    announce(&mut canvas, 256).unwrap();
}

#[test]
fn descriptor_and_data_must_have_the_same_size() {
    let data = pixels("12");
    let mut image = bitmap(2, &data);
    image.descriptor.width = 1;
    let error = canvas().decode_for_caches(&image);
    assert_eq!(error, Err(DrawError::SizeMismatch { id: 1, wanted: (1, 1), got: (2, 1) }));
}

#[test]
fn a_damaged_image_is_refused_by_name_whatever_its_encoding() {
    let encodings = [
        ImageData::Quic(Counted(&[])),
        ImageData::LzRgb(Counted(&[])),
        ImageData::GlzRgb(Counted(&[])),
        ImageData::Lz4(Counted(&[])),
        ImageData::Jpeg(Counted(&[])),
        ImageData::JpegAlpha(JpegAlpha { flags: 0, jpeg: &[], alpha: &[] }),
        ImageData::ZlibGlzRgb(ZlibGlzRgb { glz_size: 33, data: Counted(&[]) }),
    ];
    for data in encodings {
        let (_, name) = data.kind();
        let error = canvas().decode_for_caches(&image(2, 2, data)).unwrap_err();
        assert!(matches!(error, DrawError::Image { id: 1, kind, .. } if kind == name), "{name}: {error:?}");
    }
}

#[test]
fn a_screen_that_is_held_keeps_its_pixels_when_it_is_made_anew() {
    let mut canvas = canvas();
    let drawn = canvas.surface(0).unwrap().pixels().to_vec();
    canvas.hold_screen(true);
    for _ in 0..2 {
        canvas.destroy_surface(0);
        assert!(canvas.surface(0).is_none());
        canvas.create_surface(&create(0, 4, 4, 32)).unwrap();
        assert_eq!(canvas.surface(0).unwrap().pixels(), drawn);
    }
    canvas.create_surface(&create(0, 4, 3, 32)).unwrap();
    assert_eq!(canvas.surface(0).unwrap().pixels(), [0; 48], "it has another size");
    canvas.hold_screen(false);
    canvas.create_surface(&create(0, 4, 4, 32)).unwrap();
    assert_eq!(canvas.surface(0).unwrap().pixels(), [0; 64]);
}

#[test]
fn surfaces_stay_within_their_limits() {
    let limits = Limits { surfaces: 2, surface_bytes: 40, ..Limits::default() };
    let mut canvas = Canvas::new(CanvasOptions { image_cache_pixels: 0, glz_window_pixels: 0, limits });
    canvas.create_surface(&create(0, 2, 2, 32)).unwrap();
    let memory = canvas.create_surface(&create(1, 3, 3, 32));
    assert_eq!(memory, Err(DrawError::Limit { what: "surface memory", got: 52, limit: 40 }));
    canvas.create_surface(&create(0, 3, 3, 32)).expect("takes the place of the first");
    canvas.create_surface(&create(7, 1, 1, 32)).unwrap();
    assert!(matches!(canvas.create_surface(&create(8, 1, 1, 32)), Err(DrawError::Limit { limit: 2, .. })));
    assert!(canvas.destroy_surface(7));
    assert!(!canvas.destroy_surface(7));
    assert!(canvas.create_surface(&create(8, 0, 1, 32)).is_err());
    assert!(canvas.create_surface(&create(8, 1, 16_385, 32)).is_err());
}

#[test]
fn surfaces_of_unknown_formats_are_refused() {
    let mut canvas = canvas();
    for format in [0, 24, 95, u32::MAX] {
        let refused = canvas.create_surface(&create(3, 4, 4, format));
        assert_eq!(refused, Err(DrawError::SurfaceFormat { id: 3, format }));
    }
    let to = DisplayBase { surface_id: 3, ..base(ALL) };
    assert!(matches!(canvas.blackness(&to, &QMask::NONE), Ok(Outcome::Skipped(_))));
}

#[test]
fn a_new_surface_under_an_old_id_is_another_generation() {
    let mut canvas = canvas();
    let before = canvas.surface(0).unwrap().generation();
    canvas.create_surface(&create(0, 4, 4, 32)).unwrap();
    assert_eq!(show(&canvas), "0000 0000 0000 0000");
    assert_ne!(canvas.surface(0).unwrap().generation(), before);
}

#[test]
fn too_many_clip_rectangles_are_refused() {
    let clip = Clip::Rects(Elements::of([Rect::new(0, 0, 1, 1); 4097]));
    let base = DisplayBase { clip, ..base(ALL) };
    let result = canvas().blackness(&base, &QMask::NONE);
    assert!(matches!(result, Err(DrawError::Limit { got: 4097, limit: 4096, .. })));
}
