//! One plane of an image, row by row.

use std::marker::PhantomData;

use super::super::Pool;
use super::bits::BitReader;
use super::model::{Buckets, Family, Pace, Pixel, average, place, residual};

/// `C` channels that are decoded together.
#[derive(Debug)]
pub(super) struct Plane<'p, F, const C: usize> {
    buckets: [Buckets; C],
    /// Residual codes of each column, left by the last row that coded it. Runs leave them alone.
    ///
    /// `C` bytes each; four for each pixel of the rows.
    codes: Vec<u8>,
    current: Vec<u8>,
    previous: Vec<u8>,
    pace: Pace,
    is_first_row: bool,
    /// Where the memory came from.
    pool: &'p Pool,
    family: PhantomData<F>,
}

/// A run leaves its row.
#[derive(Debug)]
pub(super) struct RunTooLong {
    /// Column of its first pixel.
    pub(super) column: usize,
    /// At least so many pixels.
    pub(super) length: usize,
    /// Pixels left.
    pub(super) left: usize,
}

impl<'p, F: Family, const C: usize> Plane<'p, F, C> {
    /// A plane whose rows have `width` pixels, at least one.
    pub(super) fn new(width: usize, pool: &'p Pool) -> Self {
        Self {
            buckets: std::array::from_fn(|_| Buckets::new::<F>()),
            codes: pool.take(width * C),
            current: pool.take(width * 4),
            previous: pool.take(width * 4),
            pace: Pace::new(),
            is_first_row: true,
            pool,
            family: PhantomData,
        }
    }

    /// Decodes the next row.
    pub(super) fn row(&mut self, reader: &mut BitReader<'_>) -> Result<&[Pixel], RunTooLong> {
        std::mem::swap(&mut self.current, &mut self.previous);
        // Left of the first pixel stands what the row above had in the first column.
        let edge =
            if self.is_first_row { [0; C] } else { self.codes.first_chunk().copied().unwrap_or([0; C]) };
        // A copy that the compiler can keep in registers.
        let mut bits = reader.clone();
        let width = self.current.len() / 4;
        let mut start = 0;
        while start < width {
            let length = self.pace.segment(width - start);
            if self.is_first_row {
                self.segment::<true>(&mut bits, edge, start, start + length)?;
            } else {
                self.segment::<false>(&mut bits, edge, start, start + length)?;
            }
            self.pace.finish_segment(length);
            start += length;
        }
        *reader = bits;
        self.is_first_row = false;
        Ok(self.current.as_chunks().0)
    }

    /// Decodes the pixels from `start` up to `end`, between which the model changes at one pace.
    fn segment<const FIRST_ROW: bool>(
        &mut self,
        bits: &mut BitReader<'_>,
        edge: [u8; C],
        start: usize,
        end: usize,
    ) -> Result<(), RunTooLong> {
        let Self { buckets, codes, current, previous, pace, .. } = self;
        let (codes, current) = (&mut codes.as_chunks_mut().0[..end], &mut current.as_chunks_mut().0[..end]);
        let previous: &[Pixel] = &previous.as_chunks().0[..end];
        let trigger = pace.trigger();
        let mut column = start;
        if column == 0 {
            let above = if FIRST_ROW { [0; 4] } else { previous[0] };
            (codes[0], current[0]) = pixel::<F, C>(bits, buckets, edge, above);
            if pace.wait > 0 {
                pace.wait -= 1;
            } else {
                pace.wait = pace.draw_wait();
                update::<F, C>(buckets, edge, codes[0], trigger);
            }
            column = 1;
        }
        let mut stop = column + pace.wait;
        // There is no run in the first three columns.
        let mut run_start = 0;
        let mut context = codes[column - 1];
        let mut left = current[column - 1];
        let mut is_flat = column > 2 && left == current[column - 2];
        while column < end {
            if !FIRST_ROW && is_flat && run_start != column && previous[column - 1] == previous[column] {
                let wait = stop - column;
                run_start = column;
                let length = run_length(bits, pace, end - column);
                let Some(run) = current.get_mut(column..column + length) else {
                    return Err(RunTooLong { column, length, left: end - column });
                };
                run.fill(left);
                column += length;
                if column == end {
                    pace.wait = wait;
                    return Ok(());
                }
                stop = column + wait;
                context = codes[column - 1];
                continue;
            }
            let expected = if FIRST_ROW { left } else { average(left, previous[column]) };
            let (values, next) = pixel::<F, C>(bits, buckets, context, expected);
            codes[column] = values;
            current[column] = next;
            if column == stop {
                update::<F, C>(buckets, context, values, trigger);
                stop += 1 + pace.draw_wait();
            }
            context = values;
            is_flat = next == left && column > 1;
            left = next;
            column += 1;
        }
        pace.wait = stop - end;
        Ok(())
    }
}

impl<F, const C: usize> Drop for Plane<'_, F, C> {
    fn drop(&mut self) {
        for memory in [&mut self.codes, &mut self.current, &mut self.previous] {
            self.pool.give(std::mem::take(memory));
        }
    }
}

#[inline(always)]
fn pixel<F: Family, const C: usize>(
    bits: &mut BitReader<'_>,
    buckets: &[Buckets; C],
    context: [u8; C],
    expected: Pixel,
) -> ([u8; C], Pixel) {
    let (mut values, mut pixel) = ([0; C], [0; 4]);
    for channel in 0..C {
        let code = buckets[channel].code::<F>(context[channel]);
        let value = bits.sample::<F>(code);
        values[channel] = value;
        let at = place(C, channel);
        pixel[at] = residual(value).wrapping_add(expected[at]) & F::MASK;
    }
    (values, pixel)
}

fn update<F: Family, const C: usize>(
    buckets: &mut [Buckets; C],
    context: [u8; C],
    values: [u8; C],
    trigger: u16,
) {
    for ((buckets, context), value) in buckets.iter_mut().zip(context).zip(values) {
        buckets.update::<F>(context, value, trigger);
    }
}

/// Pixels of a run; more than `limit` when it leaves the row.
fn run_length(bits: &mut BitReader<'_>, pace: &mut Pace, limit: usize) -> usize {
    let mut length = 0;
    while bits.take(1) == 1 {
        length += 1 << pace.run_bits();
        pace.lengthen_runs();
        if length > limit {
            return length;
        }
    }
    length += usize::try_from(bits.take(pace.run_bits())).unwrap_or(usize::MAX);
    pace.shorten_runs();
    length
}
