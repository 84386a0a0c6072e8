//! How an operand and a destination pixel combine.

use crate::spice::wire::types::RopDescriptor;

/// A [`RopDescriptor`] made ready for one kind of operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rop {
    operation: Operation,
    operand_inversion: u32,
    destination_inversion: u32,
    result_inversion: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Zeros,
    Ones,
    Destination,
    Put,
    Or,
    And,
    Xor,
}

impl Rop {
    pub(super) const PUT: Self = Self {
        operation: Operation::Put,
        operand_inversion: 0,
        destination_inversion: 0,
        result_inversion: 0,
    };
    pub(super) const BLACKNESS: Self = Self { operation: Operation::Zeros, ..Self::PUT };
    pub(super) const WHITENESS: Self = Self { operation: Operation::Ones, ..Self::PUT };
    pub(super) const INVERS: Self =
        Self { operation: Operation::Destination, result_inversion: !0, ..Self::PUT };

    /// `operand_bit` is the bit that inverts the operand, `destination_bit` the one that inverts the other
    /// side. `None` when the descriptor names no operation.
    pub(super) fn new(
        descriptor: RopDescriptor,
        operand_bit: RopDescriptor,
        destination_bit: RopDescriptor,
    ) -> Option<Self> {
        if descriptor.has(RopDescriptor::OP_BLACKNESS) {
            return Some(Self::BLACKNESS);
        }
        if descriptor.has(RopDescriptor::OP_WHITENESS) {
            return Some(Self::WHITENESS);
        }
        if descriptor.has(RopDescriptor::OP_INVERS) {
            return Some(Self::INVERS);
        }
        let operations = [
            (RopDescriptor::OP_PUT, Operation::Put),
            (RopDescriptor::OP_OR, Operation::Or),
            (RopDescriptor::OP_AND, Operation::And),
            (RopDescriptor::OP_XOR, Operation::Xor),
        ];
        let (_, operation) = operations.into_iter().find(|(bit, _)| descriptor.has(*bit))?;
        let inversion = |bit| if descriptor.has(bit) { !0 } else { 0 };
        let (mut operand_inversion, mut result_inversion) =
            (inversion(operand_bit), inversion(RopDescriptor::INVERS_RES));
        if operation == Operation::Put {
            // Two inversions of a copied operand are none.
            operand_inversion ^= result_inversion;
            result_inversion = 0;
        }
        Some(Self {
            operation,
            operand_inversion,
            destination_inversion: inversion(destination_bit),
            result_inversion,
        })
    }

    /// Whether the result is the operand as it is.
    pub(super) fn is_plain_put(self) -> bool {
        self.operation == Operation::Put && self.operand_inversion == 0
    }

    /// The new pixel.
    pub(super) fn combine(self, operand: u32, destination: u32) -> u32 {
        let operand = operand ^ self.operand_inversion;
        let inverted = destination ^ self.destination_inversion;
        let result = match self.operation {
            Operation::Zeros => 0,
            Operation::Ones => !0,
            Operation::Destination => destination,
            Operation::Put => operand,
            Operation::Or => operand | inverted,
            Operation::And => operand & inverted,
            Operation::Xor => operand ^ inverted,
        };
        result ^ self.result_inversion
    }
}

/// A ternary raster operation: bit `pattern << 2 | source << 1 | destination` of the number is the result for these
/// three bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rop3(pub(super) u8);

impl Rop3 {
    /// The new pixel.
    pub(super) fn combine(self, pattern: u32, source: u32, destination: u32) -> u32 {
        // For each row of the table that gives 1: the pixel's bits that are in this row.
        (0..8).filter(|row| self.0 >> row & 1 != 0).fold(0, |result, row| {
            let pick = |bits: u32, is_set: bool| if is_set { bits } else { !bits };
            result
                | (pick(pattern, row & 4 != 0) & pick(source, row & 2 != 0) & pick(destination, row & 1 != 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const OPERAND: u32 = 0b0011;
    const DESTINATION: u32 = 0b0101;

    fn low_bits(descriptor: RopDescriptor) -> u32 {
        let rop = Rop::new(descriptor, RopDescriptor::INVERS_SRC, RopDescriptor::INVERS_DEST).unwrap();
        rop.combine(OPERAND, DESTINATION) & 0xf
    }

    #[test]
    fn operations_combine_bits() {
        let expected = [
            (RopDescriptor::OP_PUT, 0b0011),
            (RopDescriptor::OP_OR, 0b0111),
            (RopDescriptor::OP_AND, 0b0001),
            (RopDescriptor::OP_XOR, 0b0110),
            (RopDescriptor::OP_BLACKNESS, 0b0000),
            (RopDescriptor::OP_WHITENESS, 0b1111),
            (RopDescriptor::OP_INVERS, 0b1010),
        ];
        for (descriptor, result) in expected {
            assert_eq!(low_bits(descriptor), result, "{descriptor:?}");
        }
    }

    #[test]
    fn inversions_apply_to_their_side() {
        let and = RopDescriptor::OP_AND;
        assert_eq!(low_bits(and | RopDescriptor::INVERS_SRC), 0b0100);
        assert_eq!(low_bits(and | RopDescriptor::INVERS_DEST), 0b0010);
        assert_eq!(low_bits(and | RopDescriptor::INVERS_RES), 0b1110);
        assert_eq!(low_bits(and | RopDescriptor::INVERS_BRUSH), 0b0001, "no brush, no effect");
    }

    #[test]
    fn a_copy_inverted_twice_is_a_plain_copy() {
        let twice = RopDescriptor::OP_PUT | RopDescriptor::INVERS_SRC | RopDescriptor::INVERS_RES;
        let rop = Rop::new(twice, RopDescriptor::INVERS_SRC, RopDescriptor::INVERS_DEST).unwrap();
        assert!(rop.is_plain_put());
    }

    #[test]
    fn a_descriptor_without_an_operation_is_none() {
        let nothing =
            Rop::new(RopDescriptor::INVERS_RES, RopDescriptor::INVERS_SRC, RopDescriptor::INVERS_DEST);
        assert_eq!(nothing, None);
    }

    #[test]
    fn well_known_ternary_operations_are_themselves() {
        let (p, s, d) = (0x0f0f_0f0f, 0x3333_3333, 0x5555_5555);
        let known: [(u8, u32); 8] = [
            (0x00, 0),
            (0xff, !0),
            (0xcc, s),
            (0xf0, p),
            (0xaa, d),
            (0x66, s ^ d),
            (0x88, s & d),
            (0xb8, ((p ^ d) & s) ^ p), // the one that paints through a mask
        ];
        for (code, expected) in known {
            assert_eq!(Rop3(code).combine(p, s, d), expected, "{code:#04x}");
        }
    }

    proptest! {
        #[test]
        fn every_ternary_operation_is_its_truth_table(p in any::<u32>(), s in any::<u32>(), d in any::<u32>()) {
            for code in 0..=255_u8 {
                let result = Rop3(code).combine(p, s, d);
                for bit in 0..32 {
                    let row = (p >> bit & 1) << 2 | (s >> bit & 1) << 1 | d >> bit & 1;
                    let expected = u32::from(code) >> row & 1;
                    assert_eq!(result >> bit & 1, expected, "code {code:#04x}, bit {bit}");
                }
            }
        }

        /// Any descriptor with an operation, against the definition one bit at a time.
        #[test]
        fn every_descriptor_is_its_definition(bits in 0_u16..0x800, s in any::<u32>(), d in any::<u32>()) {
            let descriptor = RopDescriptor(bits);
            let rop = Rop::new(descriptor, RopDescriptor::INVERS_SRC, RopDescriptor::INVERS_DEST);
            let has = |bit: RopDescriptor| descriptor.has(bit);
            let (source, below) = (
                if has(RopDescriptor::INVERS_SRC) { !s } else { s },
                if has(RopDescriptor::INVERS_DEST) { !d } else { d },
            );
            let constant = [
                (RopDescriptor::OP_BLACKNESS, 0),
                (RopDescriptor::OP_WHITENESS, !0),
                (RopDescriptor::OP_INVERS, !d),
            ];
            let combined = [
                (RopDescriptor::OP_PUT, source),
                (RopDescriptor::OP_OR, source | below),
                (RopDescriptor::OP_AND, source & below),
                (RopDescriptor::OP_XOR, source ^ below),
            ];
            let constant = constant.into_iter().find(|(bit, _)| has(*bit)).map(|(_, value)| value);
            let combined = combined.into_iter().find(|(bit, _)| has(*bit)).map(|(_, value)| value);
            let combined = combined.map(|value| if has(RopDescriptor::INVERS_RES) { !value } else { value });
            assert_eq!(rop.map(|rop| rop.combine(s, d)), constant.or(combined), "{descriptor:?}");
        }
    }
}
