//! Sources of every format, stretched, and surfaces as sources.

use super::*;

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
            let palette = PaletteSource::Inline(Palette { unique: 1, colours: Elements::of(colours) });
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
