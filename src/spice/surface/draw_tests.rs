//! The drawing messages, pixel by pixel: against what the protocol says about one pixel, and against small pictures.

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

fn base(bounds: Rect) -> DisplayBase {
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

fn bitmap(format: u8, width: u32, stride: u32, palette: PaletteSource, data: &[u8]) -> Image<'_> {
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

fn copy(base: DisplayBase, image: Image<'_>, src_area: Rect) -> DrawCopy<'_> {
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
    fn base(&self) -> DisplayBase {
        let clip = self.clip.clone().map_or(Clip::None, Clip::Rects);
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

fn rects() -> impl Strategy<Value = Rect> {
    (-4..10, -4..10, 1..9, 1..9).prop_map(|(x, y, width, height)| Rect::new(x, y, width, height))
}

fn places() -> impl Strategy<Value = Where> {
    let clip = prop::option::of(prop::collection::vec(rects(), 0..4));
    let rows = prop::collection::vec(any::<u8>(), 1..9);
    let pos = (-3..4, -3..4).prop_map(|(x, y)| Point { x, y });
    (rects(), clip, prop::option::of((rows, pos, any::<bool>()))).prop_map(|(bounds, clip, mask)| Where {
        bounds,
        clip,
        mask,
    })
}

fn descriptors() -> impl Strategy<Value = u16> {
    (prop::sample::select(vec![0x8_u16, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200]), 0_u16..8, any::<bool>())
        .prop_map(|(operation, inversions, result)| operation | inversions | if result { 0x400 } else { 0 })
}

/// One pixel under a rop descriptor; `operand` and `other` are the bits that invert either side.
fn rop(descriptor: u16, operand: u16, other: u16, s: u32, d: u32) -> u32 {
    let inverted = |bit: u16, value: u32| if descriptor & bit != 0 { !value } else { value };
    match descriptor {
        bits if bits & 0x80 != 0 => return 0,
        bits if bits & 0x100 != 0 => return !0,
        bits if bits & 0x200 != 0 => return !d,
        _ => {}
    }
    let (s, d) = (inverted(operand, s), inverted(other, d));
    let result = match descriptor {
        bits if bits & 0x8 != 0 => s,
        bits if bits & 0x10 != 0 => s | d,
        bits if bits & 0x20 != 0 => s & d,
        _ => s ^ d,
    };
    inverted(0x400, result)
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

/// The bits of a held pixel of this format.
fn bits(format: u32) -> u32 {
    kept(format, !0)
}

/// Pixel `x`, `y` of an image eight pixels wide.
fn at(data: &[u8], x: i32, y: i32) -> u32 {
    let index = usize::try_from(y * 8 + x).unwrap() * 4;
    u32::from_le_bytes(data[index..index + 4].try_into().unwrap())
}

/// The part of an image of 8 x 8 pixels that is as large as the box, from its top left.
fn fitting(place: &Where) -> Rect {
    Rect::new(0, 0, place.bounds.width(), place.bounds.height())
}

proptest! {
    #[test]
    fn fills_are_their_definition(
        format in prop::sample::select(FORMATS.to_vec()),
        place in places(),
        descriptor in descriptors(),
        pos in (-20..20, -20..20),
        is_pattern in any::<bool>(),
    ) {
        let mut canvas = canvas(format);
        let before = held(&canvas);
        let tile = noise(8, 3, 7);
        let colour = 0x1234_5678_u32;
        let brush = if is_pattern {
            Brush::Pattern { image: Pointer(rgba(8, &tile)), pos: Point { x: pos.0, y: pos.1 } }
        } else {
            Brush::Solid(colour)
        };
        let rop_descriptor = RopDescriptor(descriptor);
        canvas.fill(&DrawFill { base: place.base(), brush, rop_descriptor, mask: place.mask() }).unwrap();
        let solid = match format {
            1 => 0,
            8 => 0x7800_0000,
            16 => kept(16, 0x00a8_9cc0 | 0x0000_0300),
            80 => kept(80, 0x0050_ccc0),
            format => kept(format, colour),
        };
        let expected = place.drawn(&before, |x, y, below| {
            let operand = if is_pattern {
                kept(format, at(&tile, (x - pos.0).rem_euclid(8), (y - pos.1).rem_euclid(3)))
            } else {
                solid
            };
            rop(descriptor, 2, 4, operand, below) & bits(format)
        });
        assert_eq!(held(&canvas), expected);
    }

    #[test]
    fn copies_and_blends_are_their_definition(
        format in prop::sample::select(FORMATS.to_vec()),
        place in places(),
        descriptor in descriptors(),
        is_opaque in any::<bool>(),
    ) {
        let area = fitting(&place);
        let data = noise(8, 8, 3);
        let image = if is_opaque { rgb(8, &data) } else { rgba(8, &data) };
        let before = held(&canvas(format));
        let copy = DrawCopy {
            rop_descriptor: RopDescriptor(descriptor),
            mask: place.mask(),
            ..copy(place.base(), image, area)
        };
        let DrawCopy { base, src_bitmap, src_area, rop_descriptor, scale_mode, mask } = copy.clone();
        let blend = DrawBlend { base, src_bitmap, src_area, rop_descriptor, scale_mode, mask };
        let expected = place.drawn(&before, |x, y, below| {
            let pixel = at(&data, x - place.bounds.left, y - place.bounds.top);
            let pixel = if is_opaque { pixel | 0xff00_0000 } else { pixel };
            rop(descriptor, 1, 4, kept(format, pixel), below) & bits(format)
        });
        let mut copied = canvas(format);
        copied.copy(&copy).unwrap();
        assert_eq!(held(&copied), expected);
        let mut blended = canvas(format);
        blended.blend(&blend).unwrap();
        assert_eq!(held(&blended), expected);
    }

    #[test]
    fn opaque_and_ternary_draws_are_their_definition(
        format in prop::sample::select(FORMATS.to_vec()),
        place in places(),
        descriptor in descriptors(),
        rop3 in any::<u8>(),
        colour in any::<u32>(),
    ) {
        let src_area = fitting(&place);
        let (data, tile) = (noise(8, 8, 3), colour.to_le_bytes());
        let before = held(&canvas(format));
        let brush = || Brush::Pattern { image: Pointer(rgba(1, &tile)), pos: Point::default() };
        let source = |x: i32, y: i32| kept(format, at(&data, x - place.bounds.left, y - place.bounds.top));
        let pattern = kept(format, colour);

        let mut drawn = canvas(format);
        let opaque = DrawOpaque {
            base: place.base(),
            src_bitmap: Pointer(rgba(8, &data)),
            src_area,
            brush: brush(),
            rop_descriptor: RopDescriptor(descriptor),
            scale_mode: 1,
            mask: place.mask(),
        };
        drawn.opaque(&opaque).unwrap();
        let expected =
            place.drawn(&before, |x, y, _| rop(descriptor, 2, 1, pattern, source(x, y)) & bits(format));
        assert_eq!(held(&drawn), expected);

        let mut drawn = canvas(format);
        let src_bitmap = Pointer(rgba(8, &data));
        let (base, mask) = (place.base(), place.mask());
        drawn.rop3(&DrawRop3 { base, src_bitmap, src_area, brush: brush(), rop3, scale_mode: 1, mask }).unwrap();
        let expected = place.drawn(&before, |x, y, below| {
            let bit = |bit: u32| {
                let row = (pattern >> bit & 1) << 2 | (source(x, y) >> bit & 1) << 1 | below >> bit & 1;
                (u32::from(rop3) >> row & 1) << bit
            };
            (0..32).map(bit).sum::<u32>() & bits(format)
        });
        assert_eq!(held(&drawn), expected);
    }

    #[test]
    fn constants_are_their_definition(format in prop::sample::select(FORMATS.to_vec()), place in places()) {
        let before = held(&canvas(format));
        let mut black = canvas(format);
        black.blackness(&place.base(), &place.mask()).unwrap();
        assert_eq!(held(&black), place.drawn(&before, |_, _, _| 0));
        let mut white = canvas(format);
        white.whiteness(&place.base(), &place.mask()).unwrap();
        assert_eq!(held(&white), place.drawn(&before, |_, _, _| bits(format)));
        let mut inverse = canvas(format);
        inverse.invers(&place.base(), &place.mask()).unwrap();
        assert_eq!(held(&inverse), place.drawn(&before, |_, _, below| !below & bits(format)));
    }

    #[test]
    fn moved_pixels_are_what_was_there_before(
        format in prop::sample::select(FORMATS.to_vec()),
        place in places(),
        x in -9..9,
        y in -9..9,
    ) {
        let mut canvas = canvas(format);
        let before = held(&canvas);
        let place = Where { mask: None, ..place };
        canvas.copy_bits(&CopyBits { base: place.base(), src_pos: Point { x, y } }).unwrap();
        let expected = place.drawn(&before, |to_x, to_y, below| {
            let (x, y) = (x + to_x - place.bounds.left, y + to_y - place.bounds.top);
            let is_inside = (0..SIDE).contains(&x) && (0..SIDE).contains(&y);
            if is_inside { before[usize::try_from(y * SIDE + x).unwrap()] } else { below }
        });
        assert_eq!(held(&canvas), expected);
    }

    /// A surface that is its own source, whole, in any other place: no pixel is read after it was written.
    #[test]
    fn a_surface_copied_to_itself_is_what_it_was_before(
        format in prop::sample::select(FORMATS.to_vec()),
        x in -7..8,
        y in -7..8,
    ) {
        let mut canvas = canvas(format);
        let before = held(&canvas);
        canvas.copy(&copy(base(Rect::new(x, y, 8, 8)), surface_image(0), ALL)).unwrap();
        let place = Where { bounds: Rect::new(x, y, 8, 8), clip: None, mask: None };
        let from = |to_x: i32, to_y: i32| before[usize::try_from((to_y - y) * 8 + to_x - x).unwrap()];
        assert_eq!(held(&canvas), place.drawn(&before, |x, y, _| from(x, y)));
    }

    #[test]
    fn colour_keys_are_their_definition(
        format in prop::sample::select(vec![16_u32, 80, 32, 96]),
        mut place in places(),
    ) {
        place.mask = None;
        let src_area = fitting(&place);
        // Few colours, so that many pixels have the one that is left out.
        let data: Vec<u8> = noise(8, 8, 5).iter().map(|byte| byte & 0x40).collect();
        let key = 0x0040_0040;
        let mut canvas = canvas(format);
        let before = held(&canvas);
        let (base, src_bitmap) = (place.base(), Pointer(rgb(8, &data)));
        canvas.transparent(&DrawTransparent { base, src_bitmap, src_area, src_color: 0, true_color: key }).unwrap();
        let expected = place.drawn(&before, |x, y, below| {
            let pixel = at(&data, x - place.bounds.left, y - place.bounds.top) | 0xff00_0000;
            if pixel & 0x00ff_ffff == key { below } else { kept(format, pixel) }
        });
        assert_eq!(held(&canvas), expected);
    }

    #[test]
    fn alpha_blends_are_their_definition(
        format in prop::sample::select(vec![16_u32, 32, 96]),
        mut place in places(),
        alpha in any::<u8>(),
        alpha_flags in 0_u8..4,
    ) {
        place.mask = None;
        let src_area = fitting(&place);
        let data = noise(8, 8, 5);
        let mut canvas = canvas(format);
        let before = held(&canvas);
        let (base, src_bitmap) = (place.base(), Pointer(rgba(8, &data)));
        canvas.alpha_blend(&DrawAlphaBlend { base, alpha_flags, alpha, src_bitmap, src_area }).unwrap();
        let expected = place.drawn(&before, |x, y, below| {
            let source = at(&data, x - place.bounds.left, y - place.bounds.top).to_le_bytes();
            let has_alpha = format == 96 && alpha_flags & 1 != 0;
            let below = if has_alpha { below } else { below | 0xff00_0000 }.to_le_bytes();
            let times = |a: u8, b: u8| (u32::from(a) * u32::from(b) * 2 + 255) / 510;
            let weak = source.map(|channel| u8::try_from(times(channel, alpha)).unwrap());
            let channel = |i: usize| u32::from(weak[i]) + times(below[i], 255 - weak[3]);
            kept(format, u32::from_le_bytes([0, 1, 2, 3].map(|i| u8::try_from(channel(i).min(255)).unwrap())))
        });
        assert_eq!(held(&canvas), expected);
    }
}

#[test]
fn sources_are_stretched_as_the_scale_mode_says() {
    let data: Vec<u8> = [0_u8, 8].iter().flat_map(|blue| [*blue, 0, 0, 0]).collect();
    let stretched = |scale_mode| {
        let mut canvas = empty_canvas(32);
        let area = Rect::new(0, 0, 2, 1);
        let draw = DrawCopy { scale_mode, ..copy(base(Rect::new(0, 0, 8, 1)), rgb(2, &data), area) };
        canvas.copy(&draw).unwrap();
        digits(&canvas).remove(0)
    };
    assert_eq!(stretched(1), "00008888");
    // Eighths of the way from 0 to 8, from 1/2 before the first middle on.
    assert_eq!(stretched(0), "00135788");
}

#[test]
fn a_source_without_pixels_draws_nothing() {
    let data = noise(8, 8, 1);
    let nothing = Rect::new(3, 3, 0, 2);
    for image in [rgb(8, &data), surface_image(0)] {
        let mut canvas = canvas(32);
        let before = held(&canvas);
        canvas.copy(&copy(base(ALL), image, nothing)).unwrap();
        assert_eq!(held(&canvas), before);
    }
}

#[test]
fn surfaces_of_every_format_can_be_drawn_to_others() {
    for from in FORMATS {
        for to in FORMATS {
            let mut canvas = empty_canvas(to);
            create(&mut canvas, 1, from);
            let data = noise(8, 8, 9);
            let other = DisplayBase { surface_id: 1, ..base(ALL) };
            canvas.copy(&copy(other, rgba(8, &data), ALL)).unwrap();
            canvas.copy(&copy(base(ALL), surface_image(1), ALL)).unwrap();
            let opaque = if matches!(from, 16 | 80 | 32) { 0xff00_0000 } else { 0 };
            let expected: Vec<u32> = data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| kept(to, kept(from, u32::from_le_bytes(*bytes)) | opaque))
                .collect();
            assert_eq!(held(&canvas), expected, "{from} to {to}");
        }
    }
}

#[test]
fn a_surface_of_one_bit_is_a_mask() {
    let mut canvas = canvas(32);
    let before = held(&canvas);
    create(&mut canvas, 1, 1);
    let one = DisplayBase { surface_id: 1, ..base(Rect::new(2, 1, 3, 2)) };
    canvas.whiteness(&one, &QMask::NONE).unwrap();
    let mask = QMask { flags: 0, pos: Point::default(), bitmap: Some(Pointer(surface_image(1))) };
    canvas.blackness(&base(ALL), &mask).unwrap();
    let place = Where { bounds: Rect::new(2, 1, 3, 2), clip: None, mask: None };
    assert_eq!(held(&canvas), place.drawn(&before, |_, _, _| 0));
}

#[test]
fn alpha_of_a_surface_counts_where_the_flag_says_so() {
    let blend = |alpha_flags| {
        let mut canvas = empty_canvas(32);
        create(&mut canvas, 1, 96);
        let one = DisplayBase { surface_id: 1, ..base(ALL) };
        canvas
            .fill(&DrawFill {
                base: one,
                brush: Brush::Solid(0x8000_0080),
                rop_descriptor: PUT,
                mask: QMask::NONE,
            })
            .unwrap();
        canvas.whiteness(&base(ALL), &QMask::NONE).unwrap();
        let src_bitmap = Pointer(surface_image(1));
        canvas
            .alpha_blend(&DrawAlphaBlend {
                base: base(ALL),
                alpha_flags,
                alpha: 255,
                src_bitmap,
                src_area: ALL,
            })
            .unwrap();
        held(&canvas)[0]
    };
    assert_eq!(blend(DrawAlphaBlend::SRC_SURFACE_HAS_ALPHA), 0x007f_7fff);
    assert_eq!(blend(0), 0x0000_0080);
}

/// Every bitmap format with the pixels 0 to 3 of a palette of white, red, green and blue, two by two.
#[test]
fn every_bitmap_format_gives_its_pixels_both_ways_up() {
    let colours = [0x00ff_ffff, 0x00ff_0000, 0x0000_ff00, 0x0000_00ff];
    let rows: [(u8, [&[u8]; 2]); 9] = [
        (1, [&[0b10], &[0b01]]),
        (2, [&[0b0100_0000], &[0b1000_0000]]),
        (3, [&[0x10], &[0x32]]),
        (4, [&[0x01], &[0x23]]),
        (5, [&[0, 1], &[2, 3]]),
        (6, [&[0xff, 0x7f, 0x00, 0x7c], &[0xe0, 0x03, 0x1f, 0x00]]),
        (7, [&[255, 255, 255, 0, 0, 255], &[0, 255, 0, 255, 0, 0]]),
        (8, [&[255, 255, 255, 9, 0, 0, 255, 9], &[0, 255, 0, 9, 255, 0, 0, 9]]),
        (9, [&[255; 8], &[0; 8]]),
    ];
    for (format, [first, second]) in rows {
        let expected = match format {
            1 | 2 => [colours[0], colours[1], colours[1], colours[0]],
            9 => [colours[0], colours[0], 0, 0],
            _ => colours,
        };
        for is_top_down in [true, false] {
            let mut canvas = empty_canvas(32);
            let data = if is_top_down { [first, second].concat() } else { [second, first].concat() };
            let stride = u32::try_from(first.len()).unwrap();
            let palette = PaletteSource::Inline(Palette { unique: 1, colours: colours.to_vec() });
            let mut image = bitmap(format, 2, stride, palette, &data);
            if let ImageData::Bitmap(bitmap) = &mut image.data {
                bitmap.flags = if is_top_down { Bitmap::TOP_DOWN } else { 0 };
            }
            let pair = Rect::new(0, 0, 2, 2);
            canvas.copy(&copy(base(pair), image, pair)).unwrap();
            let held = held(&canvas);
            assert_eq!([held[0], held[1], held[8], held[9]], expected, "format {format}, {is_top_down}");
        }
    }
}

#[test]
fn eight_bits_of_alpha_are_drawn_to_surfaces_that_have_them() {
    let data = [1, 2, 3, 4];
    let image = || bitmap(10, 2, 2, PaletteSource::None, &data);
    let pair = Rect::new(0, 0, 2, 2);
    for (format, expected) in [(8, [1 << 24, 2 << 24, 3 << 24, 4 << 24]), (32, [0; 4])] {
        let mut canvas = empty_canvas(format);
        canvas.copy(&copy(base(pair), image(), pair)).unwrap();
        let held = held(&canvas);
        assert_eq!([held[0], held[1], held[8], held[9]], expected);
    }
}

fn composite(flags: u32, image: Image<'_>) -> DrawComposite<'_> {
    DrawComposite {
        base: base(ALL),
        flags,
        src_bitmap: Pointer(image),
        mask_bitmap: None,
        src_transform: None,
        mask_transform: None,
        src_origin: Point16 { x: 0, y: 0 },
        mask_origin: Point16 { x: 0, y: 0 },
    }
}

#[test]
fn composites_take_source_mask_and_origins() {
    let mut canvas = empty_canvas(32);
    let source: Vec<u8> = (1..5).flat_map(|blue| [blue, 0, 0, 255]).collect();
    // Alpha of the left column is 0, of the right one 255.
    let mask = [0, 255, 0, 255];
    let over = 3 | 1 << 14; // tiled
    let with_mask = DrawComposite {
        base: base(Rect::new(1, 0, 4, 2)),
        mask_bitmap: Some(Pointer(bitmap(10, 2, 2, PaletteSource::None, &mask))),
        src_origin: Point16 { x: 1, y: 0 },
        mask_origin: Point16 { x: -1, y: 0 },
        ..composite(over | DrawComposite::HAS_MASK, rgba(2, &source))
    };
    assert_eq!(canvas.composite(&with_mask), Ok(Outcome::Drawn(0, Rect::new(1, 0, 4, 2))));
    // Tiles 2 1 2 1 over 4 3 4 3; the mask shows its second column only, at the third of the box.
    assert_eq!(digits(&canvas)[..3], ["00020000", "00040000", "00000000"]);
}

#[test]
fn composites_are_clipped_and_transformed() {
    let mut canvas = empty_canvas(32);
    let source: Vec<u8> = (1..5).flat_map(|blue| [blue, 0, 0, 0]).collect();
    let one = 1 << 16;
    let half = Transform { t00: one / 2, t01: 0, t02: 0, t10: 0, t11: one / 2, t12: 0 };
    let nearest_put = 1 | 3 << 8 | DrawComposite::HAS_SRC_TRANSFORM;
    let mut draw = DrawComposite { src_transform: Some(half), ..composite(nearest_put, rgb(2, &source)) };
    canvas.composite(&draw).unwrap();
    assert_eq!(digits(&canvas)[..5], ["11220000", "11220000", "33440000", "33440000", "00000000"]);
    draw.base.clip = Clip::Rects(vec![Rect::new(0, 0, 1, 1)]);
    draw.flags = 0; // CLEAR
    canvas.composite(&draw).unwrap();
    assert_eq!(digits(&canvas)[..2], ["01220000", "11220000"]);
    draw.flags = 99;
    assert!(matches!(canvas.composite(&draw), Err(DrawError::Unknown { got: 99, .. })));
}

fn stroke(points: &[(i32, i32)], attr: LineAttr, fore_mode: RopDescriptor) -> DrawStroke<'static> {
    let points = points.iter().map(|(x, y)| Point { x: x * 16, y: y * 16 }).collect();
    DrawStroke {
        base: base(ALL),
        path: Pointer(Path { segments: vec![PathSegment { flags: 3, points }] }),
        attr,
        brush: Brush::Solid(7),
        fore_mode,
        back_mode: RopDescriptor(0),
    }
}

const WHOLE: LineAttr = LineAttr { flags: 0, style: None };

#[test]
fn strokes_touch_each_pixel_of_a_line_once() {
    let mut canvas = empty_canvas(32);
    canvas.stroke(&stroke(&[(1, 1), (6, 1), (6, 4), (2, 4)], WHOLE, RopDescriptor::OP_XOR)).unwrap();
    let expected =
        ["00000000", "07777770", "00000070", "00000070", "00777770", "00000000", "00000000", "00000000"];
    assert_eq!(digits(&canvas), expected);
}

#[test]
fn strokes_are_dashed_and_clipped() {
    let mut canvas = empty_canvas(32);
    let dashes = LineAttr { flags: LineAttr::STYLED, style: Some(vec![32, 16]) };
    canvas.stroke(&stroke(&[(-3, 0), (20, 0)], dashes, PUT)).unwrap();
    let mut diagonal = stroke(&[(0, 1), (7, 8)], WHOLE, PUT);
    diagonal.base.clip =
        Clip::Rects(vec![Rect::new(0, 0, 2, 8), Rect::new(1, 0, 2, 4), Rect::new(6, 6, 1, 9)]);
    canvas.stroke(&diagonal).unwrap();
    let expected =
        ["77077077", "70000000", "07000000", "00700000", "00000000", "00000000", "00000000", "00000070"];
    assert_eq!(digits(&canvas), expected);
}

#[test]
fn strokes_without_an_operation_or_without_end_are_refused() {
    let mut canvas = empty_canvas(32);
    let nothing = stroke(&[(0, 0), (1, 1)], WHOLE, RopDescriptor(0));
    assert_eq!(canvas.stroke(&nothing), Err(DrawError::Rop(RopDescriptor(0))));
    let limits =
        Limits { images: crate::spice::codec::ImageLimits { side: 64, pixels: 100 }, ..Limits::default() };
    let mut small = Canvas::new(CanvasOptions { image_cache_pixels: 0, glz_window_pixels: 0, limits });
    create(&mut small, 0, 32);
    let zigzag: Vec<_> = (0..40).map(|i| (i % 2 * 7, 0)).collect();
    let error = small.stroke(&stroke(&zigzag, WHOLE, PUT)).unwrap_err();
    assert_eq!(error.to_string(), "number of pixels of a path would be 101, limit is 100");
}

fn glyph(x: i32, y: i32, width: u16, height: u16, data: &[u8]) -> RasterGlyph<'_> {
    let (render_pos, glyph_origin) = (Point { x: x + 1, y: y + 2 }, Point { x: -1, y: -2 });
    RasterGlyph { render_pos, glyph_origin, width, height, data }
}

fn text<'a>(flags: u8, glyphs: Vec<RasterGlyph<'a>>) -> DrawText<'a> {
    DrawText {
        base: base(ALL),
        str: Pointer(GlyphString { flags, glyphs }),
        back_area: Rect::default(),
        fore_brush: Brush::Solid(0x0000_00ff),
        back_brush: Brush::None,
        fore_mode: PUT,
        back_mode: RopDescriptor(0),
    }
}

#[test]
fn one_bit_glyphs_are_masks_with_the_bottom_row_first() {
    let mut canvas = empty_canvas(32);
    let letter = [0b1110_0000, 0b1000_0000]; // an L, wider than a byte is never needed
    let mut draw = text(GlyphString::A1, vec![glyph(1, 1, 3, 2, &letter), glyph(6, 0, 3, 2, &letter)]);
    canvas.text(&draw).unwrap();
    assert_eq!(digits(&canvas)[..3], ["000000f0", "0f0000ff", "0fff0000"]);
    draw.fore_mode = RopDescriptor::OP_XOR;
    draw.base.clip = Clip::Rects(vec![Rect::new(0, 0, 3, 3)]);
    canvas.text(&draw).unwrap();
    assert_eq!(digits(&canvas)[..3], ["000000f0", "000000ff", "000f0000"]);
}

#[test]
fn glyphs_of_more_bits_cover_by_degrees() {
    let mut canvas = empty_canvas(32);
    canvas.text(&text(GlyphString::A4, vec![glyph(0, 0, 3, 1, &[0x8f, 0x40])])).unwrap();
    assert_eq!(held(&canvas)[..4], [0x80, 0xf0, 0x40, 0]);
    let mut canvas = empty_canvas(32);
    canvas.whiteness(&base(ALL), &QMask::NONE).unwrap();
    canvas.text(&text(GlyphString::A8, vec![glyph(0, 0, 3, 1, &[0, 0x80, 0xff])])).unwrap();
    assert_eq!(held(&canvas)[..3], [0x00ff_ffff, 0x007f_7fff, 0x0000_00ff]);
}

#[test]
fn glyphs_that_overlap_cover_as_much_as_the_one_that_covers_more() {
    let mut canvas = empty_canvas(32);
    let glyphs = vec![glyph(0, 0, 2, 1, &[0x80, 0x20]), glyph(1, 0, 2, 1, &[0x40, 0x10])];
    canvas.text(&text(GlyphString::A8, glyphs)).unwrap();
    assert_eq!(held(&canvas)[..4], [0x80, 0x40, 0x10, 0]);
}

#[test]
fn the_background_of_a_text_is_painted_first() {
    let mut canvas = empty_canvas(32);
    let dot = [0x80];
    let mut draw = text(GlyphString::A1, vec![glyph(1, 0, 1, 1, &dot)]);
    (draw.back_area, draw.back_brush, draw.back_mode) = (Rect::new(0, 0, 3, 2), Brush::Solid(3), PUT);
    canvas.text(&draw).unwrap();
    assert_eq!(digits(&canvas)[..3], ["3f300000", "33300000", "00000000"]);
}

#[test]
fn images_of_every_draw_reach_the_cache_when_nothing_is_visible() {
    let data = noise(8, 8, 1);
    let cached = |id| {
        let mut image = rgba(8, &data);
        (image.descriptor.id, image.descriptor.flags) = (id, ImageDescriptor::CACHE_ME);
        image
    };
    let nowhere = || DisplayBase { surface_id: 9, ..base(ALL) };
    let limits = Limits::default();
    let mut canvas = Canvas::new(CanvasOptions { image_cache_pixels: 4096, glz_window_pixels: 0, limits });
    let skipped = |outcome: Result<Outcome, DrawError>| assert!(matches!(outcome, Ok(Outcome::Skipped(_))));
    let brush = |id| Brush::Pattern { image: Pointer(cached(id)), pos: Point::default() };
    skipped(canvas.transparent(&DrawTransparent {
        base: nowhere(),
        src_bitmap: Pointer(cached(1)),
        src_area: ALL,
        src_color: 0,
        true_color: 0,
    }));
    skipped(canvas.alpha_blend(&DrawAlphaBlend {
        base: nowhere(),
        alpha_flags: 0,
        alpha: 1,
        src_bitmap: Pointer(cached(2)),
        src_area: ALL,
    }));
    skipped(canvas.composite(&DrawComposite {
        base: nowhere(),
        mask_bitmap: Some(Pointer(cached(4))),
        ..composite(3 | DrawComposite::HAS_MASK, cached(3))
    }));
    skipped(canvas.rop3(&DrawRop3 {
        base: nowhere(),
        src_bitmap: Pointer(cached(5)),
        src_area: ALL,
        brush: brush(6),
        rop3: 0,
        scale_mode: 0,
        mask: QMask::NONE,
    }));
    skipped(canvas.stroke(&DrawStroke { base: nowhere(), brush: brush(7), ..stroke(&[(0, 0)], WHOLE, PUT) }));
    let letters = text(GlyphString::A1, Vec::new());
    skipped(canvas.text(&DrawText {
        base: nowhere(),
        fore_brush: brush(8),
        back_brush: brush(9),
        ..letters
    }));
    create(&mut canvas, 0, 32);
    for id in 1..10 {
        let descriptor = ImageDescriptor { id, kind: 103, flags: 0, width: 8, height: 8 };
        canvas.copy(&copy(base(ALL), Image { descriptor, data: ImageData::FromCache }, ALL)).unwrap();
    }
}
