//! Messages that no server would send.

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::*;
use crate::spice::wire::draw::{
    CopyBits, DrawAlphaBlend, DrawBlend, DrawComposite, DrawFill, DrawInvers, DrawOpaque, DrawRop3,
    DrawStroke, DrawText, DrawTransparent, GlyphString, LineAttr, Path, PathSegment, RasterGlyph, Transform,
};
use crate::spice::wire::elements::Elements;
use crate::spice::wire::types::{Brush, Point};

fn kinds() -> impl proptest::strategy::Strategy<Value = u16> {
    prop::sample::select((1..9).chain(101..127).chain(301..323).collect::<Vec<u16>>())
}

fn feed(machine: &mut impl Machine, messages: &[(u16, Vec<u8>)]) {
    for (kind, body) in messages {
        if machine.handle_message(Instant::now(), Frame { kind: *kind, sub_list: 0, body }).is_err() {
            break;
        }
    }
}

proptest! {
    #[test]
    fn no_messages_make_a_channel_panic(
        messages in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..120)), 1..12),
    ) {
        feed(&mut MainChannel::new(), &messages);
        feed(&mut InputsChannel::new(), &messages);
        feed(&mut CursorChannel::new(), &messages);
        feed(&mut display().client, &messages);
    }

    /// One byte of a good draw is another.
    #[test]
    fn no_damaged_draw_makes_a_display_panic(
        at in 0_usize..107,
        value in any::<u8>(),
        cut in 0_usize..120,
    ) {
        let mut pair = display();
        pair.send(&CREATE);
        let mut body = copy(&[1, 2, 3, 4, 5, 6, 7, 8], 0).to_body();
        if let Some(byte) = body.get_mut(at) {
            *byte = value;
        }
        body.truncate(cut.max(1));
        feed(&mut pair.client, &[(304, body)]);
    }
}

const BASE: DisplayBase<'_> =
    DisplayBase { surface_id: 0, bounds: Rect { left: -1, top: 0, right: 3, bottom: 3 }, clip: Clip::None };
const AREA: Rect = Rect { left: 0, top: 0, right: 2, bottom: 1 };
const PUT: RopDescriptor = RopDescriptor::OP_PUT;

fn source() -> Pointer<Image<'static>> {
    copy(&[1, 2, 3, 4, 5, 6, 7, 8], 0).src_bitmap
}

fn one_bit() -> QMask<'static> {
    let (palette, data) = (PaletteSource::None, &[0x80][..]);
    let bitmap = Bitmap { format: 2, flags: 4, width: 2, height: 1, stride: 1, palette, data };
    let descriptor = ImageDescriptor { id: 2, kind: 0, flags: 1, width: 2, height: 1 };
    let image = Image { descriptor, data: ImageData::Bitmap(bitmap) };
    QMask { flags: 1, pos: Point { x: 0, y: 0 }, bitmap: Some(Pointer(image)) }
}

fn message<'m, M: Message<'m>>(message: &M) -> (u16, Vec<u8>) {
    (M::KIND, message.to_body())
}

/// One good message of every kind that draws or that decides where something is drawn.
fn draws() -> Vec<(u16, Vec<u8>)> {
    let (base, src_area, rop_descriptor) = (|| BASE, AREA, PUT);
    let clipped = DisplayBase { clip: Clip::Rects(Elements::of([RECT, AREA])), ..BASE };
    let pattern = || Brush::Pattern { image: source(), pos: Point { x: 1, y: 1 } };
    let points = |count: i32| Elements::of((0..count).map(|i| Point { x: i * 40, y: i * i * 16 }));
    let segments =
        [PathSegment { flags: 1, points: points(3) }, PathSegment { flags: 16 | 2 | 8, points: points(3) }];
    let glyph = RasterGlyph {
        render_pos: Point { x: 1, y: 1 },
        glyph_origin: Point { x: 0, y: -1 },
        width: 3,
        height: 2,
        data: &[0xff, 0x80, 0x40, 0x20],
    };
    let one = 1 << 16;
    let transform = Some(Transform { t00: one, t01: 0, t02: 0, t10: 0, t11: one / 2, t12: 0 });
    vec![
        message(&CopyBits { base: clipped.clone(), src_pos: Point { x: 1, y: 1 } }),
        message(&DrawFill { base: clipped, brush: pattern(), rop_descriptor, mask: one_bit() }),
        message(&DrawOpaque {
            base: base(),
            src_bitmap: source(),
            src_area,
            brush: Brush::Solid(5),
            rop_descriptor: RopDescriptor::OP_XOR,
            scale_mode: 0,
            mask: QMask::NONE,
        }),
        message(&DrawBlend {
            base: base(),
            src_bitmap: source(),
            src_area,
            rop_descriptor,
            scale_mode: 0,
            mask: one_bit(),
        }),
        message(&DrawRop3 {
            base: base(),
            src_bitmap: source(),
            src_area,
            brush: pattern(),
            rop3: 0xb8,
            scale_mode: 1,
            mask: QMask::NONE,
        }),
        message(&DrawInvers { base: base(), mask: one_bit() }),
        message(&DrawStroke {
            base: base(),
            path: Pointer(Path { segments: Elements::of(segments) }),
            attr: LineAttr { flags: LineAttr::STYLED, style: Some(Elements::of([16, 48, 16])) },
            brush: Brush::Solid(1),
            fore_mode: PUT,
            back_mode: PUT,
        }),
        message(&DrawText {
            base: base(),
            str: Pointer(GlyphString::new(GlyphString::A4, [glyph])),
            back_area: AREA,
            fore_brush: Brush::Solid(1),
            back_brush: pattern(),
            fore_mode: PUT,
            back_mode: PUT,
        }),
        message(&DrawTransparent {
            base: base(),
            src_bitmap: source(),
            src_area,
            src_color: 0,
            true_color: 1,
        }),
        message(&DrawAlphaBlend { base: base(), alpha_flags: 3, alpha: 99, src_bitmap: source(), src_area }),
        message(&DrawComposite {
            base: base(),
            flags: 3 | 4 << 8 | 3 << 14 | 7 << 18 | 1 << 21,
            src_bitmap: source(),
            mask_bitmap: Some(source()),
            src_transform: transform,
            mask_transform: transform,
            src_origin: Point16 { x: 1, y: 0 },
            mask_origin: Point16 { x: 0, y: -1 },
        }),
        message(&SurfaceCreate { surface_id: 1, width: 3, height: 2, format: 80, flags: 0 }),
        message(&stream(1)),
        message(&StreamClip { id: 5, clip: Clip::Rects(Elements::of([RECT])) }),
        message(&MonitorsConfig { max_allowed: 1, heads: vec![head(0, 0, 1, 2)] }),
    ]
}

#[test]
fn one_of_each_draws_as_it_is() {
    let mut pair = display();
    pair.send(&CREATE);
    for (kind, body) in draws() {
        let frame = Frame { kind, sub_list: 0, body: &body };
        pair.client.handle_message(pair.now, frame).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    }
    assert!(pair.client.counters().unsupported.is_empty());
}

/// Sums, products and bounds of what a server claims (CVE-2017-12194), and pointers into the last bytes of a message
/// (CVE-2018-10873).
#[test]
fn no_number_of_a_draw_is_too_large() {
    let mut pair = display();
    for (kind, body) in draws() {
        let length = u32::try_from(body.len()).unwrap();
        let near_end = (0..5).map(|left| length - left);
        let huge = [u32::MAX, u32::MAX - 15, 1 << 31, (1 << 31) - 1, 1 << 30, 1 << 28, 0x5555_5556];
        for value in near_end.chain(huge) {
            for at in 0..body.len() - 3 {
                let mut body = body.clone();
                body[at..at + 4].copy_from_slice(&value.to_le_bytes());
                // Draws on a surface that does not exist cost no pixels.
                let frame = Frame { kind, sub_list: 0, body: &body };
                let _ = pair.client.handle_message(pair.now, frame);
            }
        }
        for length in 0..body.len() {
            let frame = Frame { kind, sub_list: 0, body: &body[..length] };
            let _ = pair.client.handle_message(pair.now, frame);
        }
        pair.received();
        pair.events();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A few bytes of good draws are others.
    #[test]
    fn no_damaged_draws_make_a_display_panic(
        damages in prop::collection::vec((0_usize..15, prop::collection::vec((0_usize..250, any::<u8>()), 1..4)), 1..4),
        cut in prop::option::of(0_usize..250),
        format in prop::sample::select(vec![1_u32, 8, 16, 80, 32, 96]),
    ) {
        let mut pair = display();
        pair.send(&SurfaceCreate { format, ..CREATE });
        let draws = draws();
        for (which, bytes) in damages {
            let (kind, mut body) = draws[which].clone();
            let length = body.len();
            bytes.into_iter().for_each(|(at, value)| body[at % length] = value);
            body.truncate(cut.map_or(length, |cut| cut % length));
            // Others follow a refused one only here: in a session it ends the channel.
            let frame = Frame { kind, sub_list: 0, body: &body };
            let _ = pair.client.handle_message(pair.now, frame);
        }
    }
}
