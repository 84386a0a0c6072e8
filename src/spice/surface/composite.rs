//! DRAW_COMPOSITE: pictures with transforms, repeats and masks, combined by an operator of the Render extension.

use super::blend::Operator;
use super::error::DrawError;
use super::format::Format;
use super::sample::{self, mix};
use crate::spice::codec::Picture;
use crate::spice::wire::draw::{DrawComposite, Transform};
use crate::spice::wire::types::Point16;

/// What the flags of a DRAW_COMPOSITE select.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    operator: Operator,
    pub(super) source: Reading,
    pub(super) mask: Reading,
    has_component_alpha: bool,
    is_destination_opaque: bool,
}

/// How one of the pictures is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    is_smooth: bool,
    repeat: Repeat,
    is_opaque: bool,
}

/// What is outside of a picture.
#[derive(Debug, Clone, Copy)]
enum Repeat {
    Nothing,
    Tile,
    Edge,
    Mirror,
}

impl Mode {
    pub(super) fn from_flags(flags: u32) -> Result<Self, DrawError> {
        let number = |shift: u32, bits: u32| flags >> shift & ((1 << bits) - 1);
        let unknown = |what, got, last| DrawError::Unknown { what, got, last };
        let operator = u8::try_from(number(0, 8)).ok().and_then(Operator::from_wire);
        let operator = operator.ok_or_else(|| unknown("compositing operator", number(0, 8), 13))?;
        let reading = |filter: u32, repeat: u32, opaque: u32| {
            const FAST: u32 = 0;
            const NEAREST: u32 = 3;
            const BILINEAR: u32 = 4;
            let filter = number(filter, 3);
            if filter > BILINEAR {
                return Err(unknown("compositing filter", filter, BILINEAR));
            }
            let repeat = match number(repeat, 2) {
                0 => Repeat::Nothing,
                1 => Repeat::Tile,
                2 => Repeat::Edge,
                _ => Repeat::Mirror,
            };
            Ok(Reading {
                is_smooth: !matches!(filter, FAST | NEAREST),
                repeat,
                is_opaque: number(opaque, 1) != 0,
            })
        };
        Ok(Self {
            operator,
            source: reading(8, 14, 22)?,
            mask: reading(11, 16, 23)?,
            has_component_alpha: flags & DrawComposite::COMPONENT_ALPHA != 0,
            is_destination_opaque: flags & DrawComposite::DEST_OPAQUE != 0,
        })
    }

    /// The new held pixel.
    pub(super) fn combine(&self, source: u32, mask: Option<u32>, below: u32, format: Format) -> u32 {
        let mask = match mask {
            None => 0xffff_ffff,
            Some(mask) if self.has_component_alpha => mask,
            Some(mask) => u32::from_le_bytes([super::blend::alpha(mask); 4]),
        };
        let opaque = if self.is_destination_opaque { 0xff00_0000 } else { 0 };
        format.hold(self.operator.combine(source, mask, format.argb(below) | opaque) | opaque)
    }
}

/// A picture as it appears on the destination.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) picture: &'a Picture,
    pub(super) reading: Reading,
    pub(super) transform: Option<Transform>,
    pub(super) origin: Point16,
}

impl View<'_> {
    /// The colour, with alpha, `x` columns right of and `y` rows below the top left of the box.
    pub(super) fn argb(&self, x: i32, y: i32) -> u32 {
        let (x, y) = (i64::from(x) + i64::from(self.origin.x), i64::from(y) + i64::from(self.origin.y));
        let Some(transform) = self.transform else { return self.at(x, y) };
        // Middles of pixels, counted in halves, give coordinates in 131072ths.
        let apply = |a: i32, b: i32, c: i32| {
            let twice = i64::from(a) * (2 * x + 1) + i64::from(b) * (2 * y + 1);
            twice.div_euclid(2) + i64::from(c)
        };
        let (u, v) = (
            apply(transform.t00, transform.t01, transform.t02),
            apply(transform.t10, transform.t11, transform.t12),
        );
        if !self.reading.is_smooth {
            // What lies between two pixels is the first one's.
            return self.at((u - 1) >> 16, (v - 1) >> 16);
        }
        let (u, v) = (u - 0x8000, v - 0x8000);
        let (left, top) = (u >> 16, v >> 16);
        let corners =
            [(left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)].map(|(x, y)| self.at(x, y));
        let part = |position: i64| u32::try_from(position >> 8 & 0xff).unwrap_or(0);
        mix(corners, part(u), part(v))
    }

    fn at(&self, x: i64, y: i64) -> u32 {
        let (x, y) = (self.reading.repeat.place(x, self.picture.width), {
            self.reading.repeat.place(y, self.picture.height)
        });
        let Some(pixel) = x.zip(y).and_then(|(x, y)| sample::argb(self.picture, x, y)) else { return 0 };
        if self.reading.is_opaque { pixel | 0xff00_0000 } else { pixel }
    }
}

impl Repeat {
    /// Where on a side of `length` pixels the pixel `at` comes from.
    fn place(self, at: i64, length: u32) -> Option<i32> {
        let length = i64::from(length);
        let place = match self {
            _ if length == 0 => return None,
            Self::Nothing if at < 0 || at >= length => return None,
            Self::Nothing => at,
            Self::Tile => at.rem_euclid(length),
            Self::Edge => at.clamp(0, length - 1),
            Self::Mirror => {
                let place = at.rem_euclid(2 * length);
                if place < length { place } else { 2 * length - 1 - place }
            }
        };
        i32::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 16;
    const IDENTITY: Transform = Transform { t00: ONE, t01: 0, t02: 0, t10: 0, t11: ONE, t12: 0 };
    const NEAREST: u32 = 3 << 8;
    const BILINEAR: u32 = 4 << 8;
    const TILE: u32 = 1 << 14;
    const EDGE: u32 = 2 << 14;
    const MIRROR: u32 = 3 << 14;

    /// Opaque pixels 1, 2, 3 in a row.
    fn row() -> Picture {
        Picture {
            width: 3,
            height: 1,
            has_alpha: false,
            bytes: (1..4).flat_map(|b| [b * 16, 0, 0, 0]).collect(),
        }
    }

    /// Blue of the pixels -2 to 6 of that row, in sixteenths; transparent ones as `-`.
    fn seen(flags: u32, transform: Option<Transform>) -> String {
        let picture = row();
        let reading = Mode::from_flags(flags).unwrap().source;
        let view = View { picture: &picture, reading, transform, origin: Point16 { x: 0, y: 0 } };
        let pixels = (-2..7).map(|x| view.argb(x, 0));
        pixels.map(|p| if p >> 24 == 0 { "-".to_owned() } else { format!("{:x}", (p & 0xff) / 16) }).collect()
    }

    #[test]
    fn repeats_say_what_is_outside() {
        assert_eq!(seen(NEAREST, None), "--123----");
        assert_eq!(seen(NEAREST | TILE, None), "231231231");
        assert_eq!(seen(NEAREST | EDGE, None), "111233333");
        assert_eq!(seen(NEAREST | MIRROR, None), "211233211");
    }

    #[test]
    fn transforms_go_from_the_destination_to_the_source() {
        assert_eq!(seen(NEAREST, Some(IDENTITY)), "--123----");
        let half = Transform { t00: ONE / 2, ..IDENTITY };
        assert_eq!(seen(NEAREST, Some(half)), "--112233-");
        let shifted = Transform { t02: -2 * ONE, ..IDENTITY };
        assert_eq!(seen(NEAREST, Some(shifted)), "----123--");
        let flipped = Transform { t00: -ONE, t02: 3 * ONE, ..IDENTITY };
        assert_eq!(seen(NEAREST, Some(flipped)), "--321----");
    }

    #[test]
    fn smooth_pixels_are_mixed_from_four() {
        assert_eq!(seen(BILINEAR | EDGE, Some(IDENTITY)), "111233333");
        let picture = row();
        let reading = Mode::from_flags(BILINEAR | EDGE).unwrap().source;
        let shifted = Some(Transform { t02: ONE / 2, ..IDENTITY });
        let view = View { picture: &picture, reading, transform: shifted, origin: Point16 { x: 0, y: 0 } };
        assert_eq!(view.argb(0, 0), 0xff00_0018, "halfway between 0x10 and 0x20");
    }

    #[test]
    fn opaque_pictures_and_destinations_are_read_so() {
        let picture = Picture { width: 1, height: 1, has_alpha: true, bytes: vec![8, 8, 8, 8] };
        let opaque = Mode::from_flags(1 | 1 << 22 | 1 << 24).unwrap();
        let origin = Point16 { x: 0, y: 0 };
        let view = View { picture: &picture, reading: opaque.source, transform: None, origin };
        assert_eq!(view.argb(0, 0), 0xff08_0808);
        assert_eq!(opaque.combine(0x0808_0808, None, 0, Format::Argb), 0xff08_0808);
    }

    #[test]
    fn what_render_does_not_know_is_refused_by_name() {
        let message = |flags| Mode::from_flags(flags).unwrap_err().to_string();
        assert_eq!(message(14), "compositing operator 14 is unknown, the last is 13");
        assert_eq!(message(5 << 8), "compositing filter 5 is unknown, the last is 4");
        assert_eq!(message(7 << 11), "compositing filter 7 is unknown, the last is 4");
    }

    #[test]
    fn extreme_transforms_are_computed_without_overflow() {
        let picture = row();
        for repeat in [0, TILE, EDGE, MIRROR] {
            let reading = Mode::from_flags(BILINEAR | repeat).unwrap().source;
            for t in [i32::MIN, i32::MAX] {
                let transform = Some(Transform { t00: t, t01: t, t02: t, t10: t, t11: t, t12: t });
                let view = View {
                    picture: &picture,
                    reading,
                    transform,
                    origin: Point16 { x: i16::MIN, y: i16::MAX },
                };
                view.argb(1 << 24, -(1 << 24));
            }
        }
    }
}
