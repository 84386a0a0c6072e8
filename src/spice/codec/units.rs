//! What the LZ family copies: pixels of several kinds, or plain bytes.

use super::{CodecError, expand_555};

/// A kind of unit. `SLOT` is the distance in the output between two units.
pub(super) trait Unit {
    const SLOT: usize;
    /// Bytes of a literal in the stream.
    const LITERAL: usize;
    /// Added to each match length.
    const LENGTH_BIAS: usize;

    /// Writes a literal of `LITERAL` bytes into a slot.
    fn literal(slot: &mut [u8], bytes: &[u8]);
    /// Copies what this kind owns of a slot.
    fn copy(to: &mut [u8], from: &[u8]);
}

/// B, G, R.
pub(super) struct Rgb;
/// x1r5g5b5, big-endian.
pub(super) struct Rgb16;
/// The fourth byte of a pixel whose colour is there already.
pub(super) struct Alpha;
/// A byte on its own.
pub(super) struct Byte;

impl Unit for Rgb {
    const SLOT: usize = 4;
    const LITERAL: usize = 3;
    const LENGTH_BIAS: usize = 0;

    fn literal(slot: &mut [u8], bytes: &[u8]) {
        slot[..3].copy_from_slice(bytes);
    }
    fn copy(to: &mut [u8], from: &[u8]) {
        to[..3].copy_from_slice(&from[..3]);
    }
}

impl Unit for Rgb16 {
    const SLOT: usize = 4;
    const LITERAL: usize = 2;
    const LENGTH_BIAS: usize = 1;

    fn literal(slot: &mut [u8], bytes: &[u8]) {
        slot[..3].copy_from_slice(&expand_555(u16::from_be_bytes([bytes[0], bytes[1]])));
    }
    fn copy(to: &mut [u8], from: &[u8]) {
        Rgb::copy(to, from);
    }
}

impl Unit for Alpha {
    const SLOT: usize = 4;
    const LITERAL: usize = 1;
    const LENGTH_BIAS: usize = 2;

    fn literal(slot: &mut [u8], bytes: &[u8]) {
        slot[3] = bytes[0];
    }
    fn copy(to: &mut [u8], from: &[u8]) {
        to[3] = from[3];
    }
}

impl Unit for Byte {
    const SLOT: usize = 1;
    const LITERAL: usize = 1;
    const LENGTH_BIAS: usize = 2;

    fn literal(slot: &mut [u8], bytes: &[u8]) {
        slot[0] = bytes[0];
    }
    fn copy(to: &mut [u8], from: &[u8]) {
        to[0] = from[0];
    }
}

/// The compressed bytes not yet read.
#[derive(Debug, Clone)]
pub(super) struct Input<'a> {
    data: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8], offset: usize) -> Self {
        Self { data, offset }
    }

    /// The next byte, or `None` at the end.
    pub(super) fn byte(&mut self) -> Option<usize> {
        let byte = self.data.get(self.offset)?;
        self.offset += 1;
        Some(usize::from(*byte))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.data.get(self.offset..self.offset.checked_add(count)?)?;
        self.offset += count;
        Some(bytes)
    }

    /// Adds bytes to a match length of 7 until one of them is not 255.
    pub(super) fn extended_length(&mut self, length: usize) -> Option<usize> {
        let mut length = length;
        if length == 7 {
            loop {
                let byte = self.byte()?;
                length += byte;
                if byte != 255 {
                    break;
                }
            }
        }
        Some(length)
    }
}

/// One pass over the units of an image.
pub(super) struct Pass<'o> {
    out: &'o mut [u8],
    units: usize,
    produced: usize,
}

impl<'o> Pass<'o> {
    /// Over all of `out`, whose length is a multiple of the unit's slot.
    pub(super) fn new<U: Unit>(out: &'o mut [u8]) -> Self {
        let units = out.len() / U::SLOT;
        Self { out, units, produced: 0 }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.produced >= self.units
    }

    /// Copies `count` literal units.
    pub(super) fn literals<U: Unit>(
        &mut self,
        input: &mut Input<'_>,
        count: usize,
    ) -> Result<(), CodecError> {
        let slots = self.claim::<U>(count, 0)?;
        let Some(bytes) = input.take(count * U::LITERAL) else { return Err(self.truncated(input)) };
        for (slot, literal) in self.out[slots].chunks_exact_mut(U::SLOT).zip(bytes.chunks_exact(U::LITERAL)) {
            U::literal(slot, literal);
        }
        self.produced += count;
        Ok(())
    }

    /// Copies `count` units that begin `distance` units back; they may overlap what they produce.
    pub(super) fn repeat<U: Unit>(&mut self, count: usize, distance: usize) -> Result<(), CodecError> {
        let slots = self.claim::<U>(count, distance)?;
        if distance == 0 || distance > self.produced {
            return Err(self.bad_reference(count, distance));
        }
        let back = distance * U::SLOT;
        for at in slots.step_by(U::SLOT) {
            let (before, after) = self.out.split_at_mut(at);
            U::copy(&mut after[..U::SLOT], &before[at - back..at - back + U::SLOT]);
        }
        self.produced += count;
        Ok(())
    }

    /// Copies units from another image.
    pub(super) fn copy_from<U: Unit>(&mut self, source: &[u8]) -> Result<(), CodecError> {
        let count = source.len() / U::SLOT;
        let slots = self.claim::<U>(count, 0)?;
        for (to, from) in self.out[slots].chunks_exact_mut(U::SLOT).zip(source.chunks_exact(U::SLOT)) {
            U::copy(to, from);
        }
        self.produced += count;
        Ok(())
    }

    pub(super) fn truncated(&self, input: &Input<'_>) -> CodecError {
        CodecError::Truncated { offset: input.data.len(), produced: self.produced, wanted: self.units }
    }

    /// The bytes of the next `count` slots, if the image has as many left.
    fn claim<U: Unit>(&self, count: usize, distance: usize) -> Result<std::ops::Range<usize>, CodecError> {
        match self.produced.checked_add(count) {
            Some(end) if end <= self.units => Ok(self.produced * U::SLOT..end * U::SLOT),
            _ => Err(self.bad_reference(count, distance)),
        }
    }

    fn bad_reference(&self, length: usize, distance: usize) -> CodecError {
        CodecError::BadReference { length, distance, produced: self.produced, wanted: self.units }
    }
}
