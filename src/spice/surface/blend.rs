//! Pixels with alpha over pixels: the operators of the Render extension, on premultiplied eight-bit channels.

/// `a * b / 255`, rounded to the nearest, as all drawing libraries of SPICE compute it.
pub(super) fn scale(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 0x80;
    low_byte((product + (product >> 8)) >> 8)
}

/// Every channel of `pixel` times `factor / 255`.
pub(super) fn scale_pixel(pixel: u32, factor: u8) -> u32 {
    u32::from_le_bytes(pixel.to_le_bytes().map(|channel| scale(channel, factor)))
}

/// The alpha of a pixel.
pub(super) fn alpha(pixel: u32) -> u8 {
    low_byte(pixel >> 24)
}

/// `source` over `destination`.
pub(super) fn over(source: u32, destination: u32) -> u32 {
    Operator::OVER.combine(source, 0xffff_ffff, destination)
}

/// A PictOp of the Render extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    source: Factor,
    destination: Factor,
}

/// What one side is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Factor {
    Zero,
    One,
    /// The other side's alpha.
    Alpha,
    /// 1 - the other side's alpha.
    Beyond,
    /// As much as there is room for.
    Room,
}

impl Operator {
    pub(super) const OVER: Self = Self { source: Factor::One, destination: Factor::Beyond };

    /// The operator with SPICE's number.
    pub(super) fn from_wire(number: u8) -> Option<Self> {
        use Factor::{Alpha, Beyond, One, Room, Zero};
        let (source, destination) = match number {
            0 => (Zero, Zero),
            1 => (One, Zero),
            2 => (Zero, One),
            3 => (One, Beyond),
            4 => (Beyond, One),
            5 => (Alpha, Zero),
            6 => (Zero, Alpha),
            7 => (Beyond, Zero),
            8 => (Zero, Beyond),
            9 => (Alpha, Beyond),
            10 => (Beyond, Alpha),
            11 => (Beyond, Beyond),
            12 => (One, One),
            13 => (Room, One),
            _ => return None,
        };
        Some(Self { source, destination })
    }

    /// The new pixel. Each channel of `mask` weakens that channel of `source`.
    pub(super) fn combine(self, source: u32, mask: u32, destination: u32) -> u32 {
        let (source_alpha, destination_alpha) = (alpha(source), alpha(destination));
        let (source, mask, destination) =
            (source.to_le_bytes(), mask.to_le_bytes(), destination.to_le_bytes());
        let mut result = [0; 4];
        for (channel, result) in result.iter_mut().enumerate() {
            let (seen, below) = (scale(source[channel], mask[channel]), destination[channel]);
            let seen_alpha = scale(source_alpha, mask[channel]);
            let seen = scale(seen, self.source.value(destination_alpha, seen_alpha));
            let below = scale(below, self.destination.value(seen_alpha, destination_alpha));
            *result = seen.saturating_add(below);
        }
        u32::from_le_bytes(result)
    }
}

impl Factor {
    fn value(self, other_alpha: u8, own_alpha: u8) -> u8 {
        let room = 255 - other_alpha;
        match self {
            Self::Zero => 0,
            Self::One => 255,
            Self::Alpha => other_alpha,
            Self::Beyond => room,
            Self::Room if own_alpha > room => {
                low_byte((u32::from(room) * 255 + u32::from(own_alpha) / 2) / u32::from(own_alpha))
            }
            Self::Room => 255,
        }
    }
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const RED_HALF: u32 = 0x8080_0000;
    const BLUE: u32 = 0xff00_00ff;

    fn combine(number: u8, source: u32, destination: u32) -> u32 {
        Operator::from_wire(number).unwrap().combine(source, !0, destination)
    }

    #[test]
    fn scaling_rounds_to_the_nearest() {
        for a in 0..=255_u8 {
            for b in 0..=255_u8 {
                let exact = (2 * u32::from(a) * u32::from(b) + 255) / (2 * 255);
                assert_eq!(u32::from(scale(a, b)), exact, "{a} * {b}");
            }
        }
    }

    /// Half red on blue, computed by hand: 0x80 of red, 255 - 0x80 = 0x7f of blue.
    #[test]
    fn operators_are_the_ones_of_render() {
        let expected: [u32; 14] = [
            0,           // CLEAR
            0x8080_0000, // SRC
            0xff00_00ff, // DST
            0xff80_007f, // OVER
            0xff00_00ff, // OVER_REVERSE: blue hides the red
            0x8080_0000, // IN
            0x8000_0080, // IN_REVERSE
            0,           // OUT: nothing beyond an opaque destination
            0x7f00_007f, // OUT_REVERSE
            0xff80_007f, // ATOP
            0x8000_0080, // ATOP_REVERSE
            0x7f00_007f, // XOR
            0xff80_00ff, // ADD
            0xff00_00ff, // SATURATE: there is no room
        ];
        for (number, result) in (0..).zip(expected) {
            let got = combine(number, RED_HALF, BLUE);
            assert_eq!(got, result, "operator {number}: {got:#010x}");
        }
        assert_eq!(Operator::from_wire(14), None);
    }

    #[test]
    fn saturate_fills_the_room_that_is_left() {
        // A quarter of alpha is left; the source wants a half, so half of it fits.
        assert_eq!(combine(13, RED_HALF, 0xbf00_00bf), 0xff40_00bf);
        assert_eq!(combine(13, RED_HALF, 0x1000_0010), 0x9080_0010, "all of it fits");
    }

    #[test]
    fn a_mask_of_components_weakens_each_by_its_own() {
        let white = 0xffff_ffff;
        let got = Operator::OVER.combine(white, 0xffff_8000, 0xff00_0040);
        assert_eq!(got, 0xffff_8040, "red full, green half, blue not at all");
    }

    proptest! {
        #[test]
        fn opaque_and_transparent_sources_are_put_and_left_out(source in any::<u32>(), below in any::<u32>()) {
            assert_eq!(over(source | 0xff00_0000, below), source | 0xff00_0000);
            assert_eq!(over(0, below), below);
            assert_eq!(Operator::OVER.combine(source, 0, below), below);
        }

        #[test]
        fn reverse_operators_are_their_twins_with_the_sides_exchanged(a in any::<u32>(), b in any::<u32>()) {
            for (operator, reverse) in [(3, 4), (5, 6), (7, 8), (9, 10), (11, 11), (12, 12)] {
                assert_eq!(combine(operator, a, b), combine(reverse, b, a), "{operator}");
            }
        }
    }
}
