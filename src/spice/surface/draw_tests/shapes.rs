//! Composites, strokes and texts, as small pictures.

use super::*;

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
    draw.base.clip = Clip::Rects(Elements::of([Rect::new(0, 0, 1, 1)]));
    draw.flags = 0; // CLEAR
    canvas.composite(&draw).unwrap();
    assert_eq!(digits(&canvas)[..2], ["01220000", "11220000"]);
    draw.flags = 99;
    assert!(matches!(canvas.composite(&draw), Err(DrawError::Unknown { got: 99, .. })));
}

fn stroke(points: &[(i32, i32)], attr: LineAttr<'static>, fore_mode: RopDescriptor) -> DrawStroke<'static> {
    let points = Elements::of(points.iter().map(|(x, y)| Point { x: x * 16, y: y * 16 }));
    DrawStroke {
        base: base(ALL),
        path: Pointer(Path { segments: Elements::of([PathSegment { flags: 3, points }]) }),
        attr,
        brush: Brush::Solid(7),
        fore_mode,
        back_mode: RopDescriptor(0),
    }
}

const WHOLE: LineAttr<'_> = LineAttr { flags: 0, style: None };

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
    let dashes = LineAttr { flags: LineAttr::STYLED, style: Some(Elements::of([32, 16])) };
    canvas.stroke(&stroke(&[(-3, 0), (20, 0)], dashes, PUT)).unwrap();
    let mut diagonal = stroke(&[(0, 1), (7, 8)], WHOLE, PUT);
    diagonal.base.clip =
        Clip::Rects(Elements::of([Rect::new(0, 0, 2, 8), Rect::new(1, 0, 2, 4), Rect::new(6, 6, 1, 9)]));
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
    let dots = PathSegment { flags: 3, points: Elements::of([Point { x: -160, y: 0 }]) };
    let mut many = stroke(&[], WHOLE, PUT);
    many.path.0.segments = Elements::of(vec![dots; 101]);
    assert!(matches!(small.stroke(&many), Err(DrawError::Limit { limit: 100, .. })), "none of them is seen");
}

fn glyph(x: i32, y: i32, width: u16, height: u16, data: &[u8]) -> RasterGlyph<'_> {
    let (render_pos, glyph_origin) = (Point { x: x + 1, y: y + 2 }, Point { x: -1, y: -2 });
    RasterGlyph { render_pos, glyph_origin, width, height, data }
}

fn text<'a>(flags: u8, glyphs: Vec<RasterGlyph<'a>>) -> DrawText<'a> {
    DrawText {
        base: base(ALL),
        str: Pointer(GlyphString::new(flags, glyphs)),
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
    draw.base.clip = Clip::Rects(Elements::of([Rect::new(0, 0, 3, 3)]));
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
