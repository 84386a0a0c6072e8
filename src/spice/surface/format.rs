//! What a surface's pixels are made of.

/// SPICE_SURFACE_FMT.
///
/// Pixels of every format are held as four bytes B, G, R, A. Five and six bits are held repeated to eight, one bit
/// of alpha as eight: raster operations, being bitwise, give the same on the held value as on the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One bit of alpha, no colour.
    A1,
    /// Alpha, no colour.
    A8,
    /// Five bits each.
    Rgb555,
    /// Six bits of green, five of the others.
    Rgb565,
    /// The fourth byte is held as 0.
    Xrgb,
    /// Premultiplied.
    Argb,
}

impl Format {
    /// The format with SPICE's number `number`.
    pub(super) fn from_wire(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::A1,
            8 => Self::A8,
            16 => Self::Rgb555,
            80 => Self::Rgb565,
            32 => Self::Xrgb,
            96 => Self::Argb,
            _ => return None,
        })
    }

    /// Whether the fourth byte means something.
    pub(super) fn has_alpha(self) -> bool {
        matches!(self, Self::A1 | Self::A8 | Self::Argb)
    }

    /// The bits of a held pixel that may be set.
    pub(super) fn bits(self) -> u32 {
        match self {
            Self::A1 | Self::A8 => 0xff00_0000,
            Self::Rgb555 | Self::Rgb565 | Self::Xrgb => 0x00ff_ffff,
            Self::Argb => !0,
        }
    }

    /// A held pixel as colour and alpha.
    pub(super) fn argb(self, held: u32) -> u32 {
        if self.has_alpha() { held } else { held | 0xff00_0000 }
    }

    /// The held pixel nearest to (and not above) a colour with alpha.
    pub(super) fn hold(self, argb: u32) -> u32 {
        match self {
            Self::Xrgb => argb & 0x00ff_ffff,
            Self::Argb => argb,
            Self::A8 => argb & 0xff00_0000,
            Self::A1 => fill_byte(argb >> 31) << 24,
            Self::Rgb555 => (argb & 0x00f8_f8f8) | (argb >> 5 & 0x0007_0707),
            Self::Rgb565 => (argb & 0x00f8_fcf8) | (argb >> 5 & 0x0007_0007) | (argb >> 6 & 0x0000_0300),
        }
    }

    /// The held pixel of a number in the surface's own format, as brushes have it.
    pub(super) fn hold_native(self, value: u32) -> u32 {
        match self {
            Self::Xrgb | Self::Argb => self.hold(value),
            Self::A8 => value << 24,
            Self::A1 => fill_byte(value & 1) << 24,
            Self::Rgb555 => {
                let (r, g, b) = (value >> 10 & 0x1f, value >> 5 & 0x1f, value & 0x1f);
                self.hold(spread_5(r) << 16 | spread_5(g) << 8 | spread_5(b))
            }
            Self::Rgb565 => {
                let (r, g, b) = (value >> 11 & 0x1f, value >> 5 & 0x3f, value & 0x1f);
                self.hold(spread_5(r) << 16 | (g << 2 | g >> 4) << 8 | spread_5(b))
            }
        }
    }
}

/// 0xff for a bit that is set.
fn fill_byte(bit: u32) -> u32 {
    bit * 0xff
}

fn spread_5(bits: u32) -> u32 {
    bits << 3 | bits >> 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const ALL: [Format; 6] =
        [Format::A1, Format::A8, Format::Rgb555, Format::Rgb565, Format::Xrgb, Format::Argb];

    #[test]
    fn numbers_are_the_ones_of_the_protocol() {
        let known: Vec<u32> = (0..256).filter(|number| Format::from_wire(*number).is_some()).collect();
        assert_eq!(known, [1, 8, 16, 32, 80, 96]);
    }

    #[test]
    fn colours_lose_what_the_format_has_no_bits_for() {
        let held = ALL.map(|format| format.hold(0x8012_f7ff));
        assert_eq!(held, [0xff00_0000, 0x8000_0000, 0x0010_f7ff, 0x0010_f7ff, 0x0012_f7ff, 0x8012_f7ff]);
        assert_eq!(Format::Rgb565.hold(0x0000_ff00 - 0x0300), 0x0000_ff00);
        assert_eq!(Format::A1.hold(0x7fff_ffff), 0);
    }

    #[test]
    fn native_numbers_are_the_bits_of_the_format() {
        assert_eq!(Format::Rgb555.hold_native(0b0100_0000_0011_1111), 0x0084_08ff);
        assert_eq!(Format::Rgb565.hold_native(0b1000_0000_0011_1111), 0x0084_04ff);
        assert_eq!(Format::A8.hold_native(0x7f), 0x7f00_0000);
        assert_eq!(Format::A1.hold_native(3), 0xff00_0000);
        assert_eq!(Format::Xrgb.hold_native(0xee12_3456), 0x0012_3456);
    }

    proptest! {
        #[test]
        fn what_is_held_stays_as_it_is_under_bitwise_operations(
            format in prop::sample::select(ALL.to_vec()),
            a in any::<u32>(),
            b in any::<u32>(),
        ) {
            let (a, b) = (format.hold(a), format.hold_native(b));
            for result in [a & b, a | b, a ^ b, !a] {
                let result = result & format.bits();
                assert_eq!(format.hold(format.argb(result)), result);
            }
        }
    }
}
