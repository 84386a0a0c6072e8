//! Messages that draw, with brushes, masks, clips, paths and characters, and those that come between them.

use backstaff::spice::wire::base::Ping;
use backstaff::spice::wire::bytes::Pointer;
use backstaff::spice::wire::bytes::Rest;
use backstaff::spice::wire::display::SurfaceCreate;
use backstaff::spice::wire::draw::{
    CopyBits, DisplayBase, DrawAlphaBlend, DrawBlackness, DrawBlend, DrawComposite, DrawCopy, DrawFill,
    DrawInvers, DrawOpaque, DrawRop3, DrawStroke, DrawText, DrawTransparent, DrawWhiteness, GlyphString,
    LineAttr, Path, PathSegment, RasterGlyph, Transform, scale_mode,
};
use backstaff::spice::wire::elements::Elements;
use backstaff::spice::wire::image::{Bitmap, Image, ImageData, ImageDescriptor, PaletteSource};
use backstaff::spice::wire::types::{Brush, Clip, Point, Point16, QMask, Rect, RopDescriptor};

use crate::{Case, base, draw_as, sent};

const AREA: Rect = Rect { left: 0, top: 0, right: 64, bottom: 48 };
const PUT: RopDescriptor = RopDescriptor::OP_PUT;
const ORIGIN: Point16 = Point16 { x: 0, y: 0 };

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = plain();
    cases.extend(combined());
    cases.extend(shapes());
    cases.extend(surfaces());
    cases
}

static PIXELS: [u8; 64 * 48 * 4] = [0x5a; 64 * 48 * 4];

/// 64 x 48 with alpha.
fn image() -> Pointer<Image<'static>> {
    let (palette, data) = (PaletteSource::None, &PIXELS[..]);
    let bitmap = Bitmap { format: 9, flags: 4, width: 64, height: 48, stride: 256, palette, data };
    let descriptor = ImageDescriptor { id: 2, kind: 0, flags: 0, width: 64, height: 48 };
    Pointer(Image { descriptor, data: ImageData::Bitmap(bitmap) })
}

fn pattern() -> Brush<'static> {
    Brush::Pattern { image: image(), pos: Point { x: 3, y: 5 } }
}

/// One bit for each of 320 x 200 pixels.
fn mask() -> QMask<'static> {
    let (palette, data) = (PaletteSource::None, &PIXELS[..8000]);
    let bitmap = Bitmap { format: 2, flags: 4, width: 320, height: 200, stride: 40, palette, data };
    let descriptor = ImageDescriptor { id: 3, kind: 0, flags: 0, width: 320, height: 200 };
    let image = Image { descriptor, data: ImageData::Bitmap(bitmap) };
    QMask { flags: QMask::INVERS, pos: Point { x: 0, y: 0 }, bitmap: Some(Pointer(image)) }
}

/// More rectangles than draws mostly have, some of them over others.
fn clipped() -> DisplayBase<'static> {
    let rects = (0..40).map(|index| Rect::new(index * 7, index * 3, 20, 30));
    DisplayBase { clip: Clip::Rects(Elements::of(rects)), ..base() }
}

fn plain() -> Vec<Case> {
    let fill = |base, brush, mask| sent(&DrawFill { base, brush, rop_descriptor: PUT, mask });
    let src_pos = Point { x: 3, y: 5 };
    let masked = vec![
        sent(&DrawBlackness { base: base(), mask: mask() }),
        sent(&DrawWhiteness { base: base(), mask: mask() }),
        sent(&DrawInvers { base: base(), mask: mask() }),
    ];
    let ping = sent(&Ping { id: 1, timestamp: 2, data: Rest(&PIXELS[..100]) });
    vec![
        Case::same("fill", vec![fill(base(), Brush::Solid(0x00aa_5500), QMask::NONE)]),
        Case::same("fill with a pattern, mask and clip", vec![fill(clipped(), pattern(), mask())]),
        Case::same("copy bits", vec![sent(&CopyBits { base: base(), src_pos })]),
        Case::same("copy bits with a clip", vec![sent(&CopyBits { base: clipped(), src_pos })]),
        Case::same("blackness, whiteness, invers with a mask", masked),
        Case::same("ping", vec![ping]),
    ]
}

fn combined() -> Vec<Case> {
    let (src_area, scale_mode) = (AREA, scale_mode::INTERPOLATE);
    let rop_descriptor = RopDescriptor::OP_XOR;
    let (src_bitmap, mask) = (image(), mask());
    let blend = DrawBlend { base: clipped(), src_bitmap, src_area, rop_descriptor, scale_mode, mask };
    let opaque = DrawOpaque {
        base: base(),
        src_bitmap: image(),
        src_area,
        brush: pattern(),
        rop_descriptor,
        scale_mode,
        mask: blend.mask.clone(),
    };
    let rop3 = DrawRop3 {
        base: base(),
        src_bitmap: image(),
        src_area,
        brush: pattern(),
        rop3: 0xb8,
        scale_mode,
        mask: blend.mask.clone(),
    };
    let transparent =
        DrawTransparent { base: clipped(), src_bitmap: image(), src_area, src_color: 0, true_color: 1 };
    let alpha_blend =
        DrawAlphaBlend { base: base(), alpha_flags: 0, alpha: 99, src_bitmap: image(), src_area };
    let one = 1 << 16;
    let transform = Some(Transform { t00: one, t01: 0, t02: 0, t10: 0, t11: one / 2, t12: 0 });
    let composite = DrawComposite {
        base: base(),
        flags: 3 | 4 << 8 | 3 << 14 | 7 << 18 | 1 << 21,
        src_bitmap: image(),
        mask_bitmap: Some(image()),
        src_transform: transform,
        mask_transform: transform,
        src_origin: ORIGIN,
        mask_origin: ORIGIN,
    };
    vec![
        Case::same("blend with a mask and a clip", vec![sent(&blend)]),
        Case::same("opaque with a pattern and a mask", vec![sent(&opaque)]),
        Case::same("rop3 with a pattern and a mask", vec![sent(&rop3)]),
        Case::same("transparent with a clip", vec![sent(&transparent)]),
        Case::same("alpha blend", vec![sent(&alpha_blend)]),
        Case::same("composite with a mask and transforms", vec![sent(&composite)]),
    ]
}

fn shapes() -> Vec<Case> {
    let points = |count: i32| Elements::of((0..count).map(|at| Point { x: at * 160, y: at * at * 16 }));
    let segments = [
        PathSegment { flags: 1, points: points(9) },
        PathSegment { flags: 16 | 2 | 8, points: points(30) },
        PathSegment { flags: 1 | 2, points: points(5) },
    ];
    let stroke = |style: Option<[i32; 3]>| DrawStroke {
        base: clipped(),
        path: Pointer(Path { segments: Elements::of(segments.clone()) }),
        attr: LineAttr {
            flags: if style.is_some() { LineAttr::STYLED } else { 0 },
            style: style.map(Elements::of),
        },
        brush: pattern(),
        fore_mode: PUT,
        back_mode: PUT,
    };
    let glyph = |at: i32| RasterGlyph {
        render_pos: Point { x: at * 7, y: 20 },
        glyph_origin: Point { x: 0, y: -10 },
        width: 8,
        height: 12,
        data: &PIXELS[..12],
    };
    let text = |flags: u8, bits: usize| DrawText {
        base: clipped(),
        str: Pointer(GlyphString::new(
            flags,
            (0..30).map(|at| RasterGlyph { data: &PIXELS[..12 * bits], ..glyph(at) }),
        )),
        back_area: AREA,
        fore_brush: Brush::Solid(1),
        back_brush: pattern(),
        fore_mode: PUT,
        back_mode: PUT,
    };
    vec![
        Case::same("stroke", vec![sent(&stroke(None))]),
        Case::same("stroke with dashes", vec![sent(&stroke(Some([16, 48, 16])))]),
        Case::same("text of one bit", vec![sent(&text(GlyphString::A1, 1))]),
        Case::same("text of four bits", vec![sent(&text(GlyphString::A4, 4))]),
        Case::same("text of eight bits", vec![sent(&text(GlyphString::A8, 8))]),
    ]
}

fn surfaces() -> Vec<Case> {
    let off_screen = SurfaceCreate { surface_id: 5, width: 64, height: 48, format: 96, flags: 0 };
    let descriptor = ImageDescriptor { id: 5, kind: 104, flags: 0, width: 64, height: 48 };
    let surface = || Pointer(Image { descriptor, data: ImageData::Surface(5) });
    let copy = DrawCopy {
        base: base(),
        src_bitmap: surface(),
        src_area: Rect::new(3, 3, 40, 30),
        rop_descriptor: PUT,
        scale_mode: scale_mode::NEAREST,
        mask: QMask::NONE,
    };
    let brush = Brush::Pattern { image: surface(), pos: Point { x: 0, y: 0 } };
    let fill = DrawFill { base: base(), brush, rop_descriptor: PUT, mask: QMask::NONE };
    let onto = draw_as(1, 0, (64, 48), image().0.data);
    vec![Case {
        before: vec![sent(&off_screen)],
        ..Case::same("surfaces as sources and patterns", vec![onto, sent(&copy), sent(&fill)])
    }]
}
