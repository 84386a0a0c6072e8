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

#[cfg(test)]
mod tests {
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
}
