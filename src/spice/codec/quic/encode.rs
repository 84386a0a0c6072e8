//! The other direction.

use std::marker::PhantomData;

use super::bits::BitWriter;
use super::model::{Buckets, Eight, Family, Five, Pace, Pixel, average, place, residual_code};
use super::{CodecError, ImageLimits, Kind, MAGIC, VERSION};

/// Encodes rows from top to bottom, four bytes B, G, R, A per pixel.
///
/// RGB16 keeps the upper five bits of each component, GRAY takes the first byte of each pixel.
pub fn encode(
    kind: Kind,
    width: u32,
    height: u32,
    bytes: &[u8],
    limits: ImageLimits,
) -> Result<Vec<u8>, CodecError> {
    let wanted = limits.check(width, height)?;
    let (pixels, rest) = bytes.as_chunks::<4>();
    if pixels.len() != wanted || !rest.is_empty() {
        return Err(CodecError::Truncated { offset: bytes.len(), produced: pixels.len(), wanted });
    }
    let header = [MAGIC, VERSION, kind.wire(), width, height];
    let mut bits = BitWriter::new(header.iter().flat_map(|word| word.to_le_bytes()).collect());
    // Neither is 0.
    let width = wanted / usize::try_from(height).unwrap_or(1);
    let rows = pixels.chunks_exact(width);
    let colours = |[b, g, r, _]: Pixel| [b, g, r, 0];
    match kind {
        Kind::Gray => {
            let mut plane = Plane::<Eight, 1>::new(width);
            rows.for_each(|row| plane.row(&mut bits, row, |[sample, ..]| [sample, 0, 0, 0]));
        }
        Kind::Rgb16 => {
            let mut plane = Plane::<Five, 3>::new(width);
            rows.for_each(|row| plane.row(&mut bits, row, |pixel| colours(pixel).map(|sample| sample >> 3)));
        }
        Kind::Rgb24 | Kind::Rgb32 => {
            let mut plane = Plane::<Eight, 3>::new(width);
            rows.for_each(|row| plane.row(&mut bits, row, colours));
        }
        Kind::Rgba => {
            let (mut colour, mut alpha) = (Plane::<Eight, 3>::new(width), Plane::<Eight, 1>::new(width));
            rows.for_each(|row| {
                colour.row(&mut bits, row, colours);
                alpha.row(&mut bits, row, |[_, _, _, alpha]| [alpha, 0, 0, 0]);
            });
        }
    }
    Ok(bits.finish())
}

/// See the decoder's plane: the same walk, writing.
struct Plane<F, const C: usize> {
    buckets: [Buckets; C],
    codes: Vec<[u8; C]>,
    current: Vec<Pixel>,
    previous: Vec<Pixel>,
    pace: Pace,
    is_first_row: bool,
    family: PhantomData<F>,
}

impl<F: Family, const C: usize> Plane<F, C> {
    fn new(width: usize) -> Self {
        Self {
            buckets: std::array::from_fn(|_| Buckets::new::<F>()),
            codes: vec![[0; C]; width],
            current: vec![[0; 4]; width],
            previous: vec![[0; 4]; width],
            pace: Pace::new(),
            is_first_row: true,
            family: PhantomData,
        }
    }

    fn row(&mut self, bits: &mut BitWriter, row: &[Pixel], own: impl Fn(Pixel) -> Pixel) {
        std::mem::swap(&mut self.current, &mut self.previous);
        for (to, from) in self.current.iter_mut().zip(row) {
            *to = own(*from);
        }
        let edge = if self.is_first_row { [0; C] } else { self.codes.first().copied().unwrap_or([0; C]) };
        let mut start = 0;
        while start < self.current.len() {
            let length = self.pace.segment(self.current.len() - start);
            self.segment(bits, edge, start, start + length);
            self.pace.finish_segment(length);
            start += length;
        }
        self.is_first_row = false;
    }

    fn segment(&mut self, bits: &mut BitWriter, edge: [u8; C], start: usize, end: usize) {
        let mut column = start;
        if column == 0 {
            self.pixel(bits, 0, edge);
            if self.pace.wait > 0 {
                self.pace.wait -= 1;
            } else {
                self.pace.wait = self.pace.draw_wait();
                self.update(0, edge);
            }
            column = 1;
        }
        let mut stop = column + self.pace.wait;
        let mut run_start = 0;
        while column < end {
            if run_start != column && self.may_begin_run(column) {
                let wait = stop - column;
                run_start = column;
                let left = self.current[column - 1];
                let length = self.current[column..end].iter().take_while(|pixel| **pixel == left).count();
                self.run(bits, length);
                column += length;
                if column == end {
                    self.pace.wait = wait;
                    return;
                }
                stop = column + wait;
                continue;
            }
            let context = self.codes[column - 1];
            self.pixel(bits, column, context);
            if column == stop {
                self.update(column, context);
                stop += 1 + self.pace.draw_wait();
            }
            column += 1;
        }
        self.pace.wait = stop - end;
    }

    fn may_begin_run(&self, column: usize) -> bool {
        let (current, previous) = (&self.current, &self.previous);
        !self.is_first_row
            && column > 2
            && current[column - 1] == current[column - 2]
            && previous[column - 1] == previous[column]
    }

    fn pixel(&mut self, bits: &mut BitWriter, column: usize, context: [u8; C]) {
        let left = column.checked_sub(1).map(|column| self.current[column]);
        let above = (!self.is_first_row).then(|| self.previous[column]);
        let expected = match (left, above) {
            (Some(left), Some(above)) => average(left, above),
            (left, above) => left.or(above).unwrap_or_default(),
        };
        for (channel, (buckets, context)) in self.buckets.iter().zip(context).enumerate() {
            let at = place(C, channel);
            let value = residual_code::<F>(self.current[column][at].wrapping_sub(expected[at]));
            bits.sample(buckets.code::<F>(context), value);
            self.codes[column][channel] = value;
        }
    }

    fn update(&mut self, column: usize, context: [u8; C]) {
        let trigger = self.pace.trigger();
        for ((buckets, context), value) in self.buckets.iter_mut().zip(context).zip(self.codes[column]) {
            buckets.update::<F>(context, value, trigger);
        }
    }

    fn run(&mut self, bits: &mut BitWriter, length: usize) {
        let mut rest = length;
        while rest >= 1 << self.pace.run_bits() {
            bits.put(1, 1);
            rest -= 1 << self.pace.run_bits();
            self.pace.lengthen_runs();
        }
        // The zero that ends the steps, then what is left; it is less than a step.
        bits.put(u32::try_from(rest).unwrap_or(u32::MAX), 1 + self.pace.run_bits());
        self.pace.shorten_runs();
    }
}
