//! Each draw against what the protocol says about one pixel.

use super::*;

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
