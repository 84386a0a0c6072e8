//! Memory for pixels, so that a picture that is drawn and forgotten costs no allocation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers that wait for their next use; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// Bytes that wait, at most; beyond, memory goes back to the system.
    const LIMIT: usize = 16 << 20;
    /// Small buffers cost as much to look through as large ones.
    const BUFFERS: usize = 256;

    /// A buffer of `bytes` zeros.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut idle = self.idle();
        let fits = idle.buffers.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= bytes);
        let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(index, _)| index);
        let Some(index) = best else {
            drop(idle);
            // Sizes that are a little different share a buffer; the system hands zeros out for free.
            let mut buffer =
                vec![0; bytes.checked_next_power_of_two().filter(|_| bytes < SMALL).unwrap_or(bytes)];
            buffer.truncate(bytes);
            return buffer;
        };
        let mut buffer = idle.buffers.swap_remove(index);
        idle.bytes -= buffer.capacity();
        drop(idle);
        buffer.clear();
        buffer.resize(bytes, 0);
        buffer
    }

    /// Keeps a buffer for later, if there is room for it.
    pub fn give(&self, buffer: Vec<u8>) {
        let mut idle = self.idle();
        let bytes = buffer.capacity();
        // One that is large alone is what a whole screen takes, over and over.
        let has_room = idle.bytes.saturating_add(bytes) <= Self::LIMIT || idle.buffers.is_empty();
        if bytes > 0 && has_room && idle.buffers.len() < Self::BUFFERS {
            idle.bytes += bytes;
            idle.buffers.push(buffer);
        }
    }

    /// A panic elsewhere leaves at most a buffer less.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buffers below this size are made a power of two long.
const SMALL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_as_zeros_and_the_smallest_that_fits_is_used() {
        let pool = Pool::default();
        let (mut small, large) = (pool.take(100), pool.take(2 << 20));
        small.fill(7);
        let (at_small, at_large) = (small.as_ptr(), large.as_ptr());
        pool.give(large);
        pool.give(small);
        let again = pool.take(90);
        assert_eq!((again.as_ptr(), again.len()), (at_small, 90));
        assert!(again.iter().all(|byte| *byte == 0));
        let other = pool.take(90);
        assert_eq!(other.as_ptr(), at_large);
    }

    #[test]
    fn what_waits_is_limited() {
        let pool = Pool::default();
        pool.give(vec![0; Pool::LIMIT * 2]);
        assert_eq!(pool.idle().buffers.len(), 1, "one large buffer alone is kept");
        pool.give(vec![0; 1]);
        assert_eq!(pool.idle().buffers.len(), 1);
        let pool = Pool::default();
        (0..Pool::BUFFERS * 2).for_each(|_| pool.give(vec![0; 1]));
        assert_eq!(pool.idle().buffers.len(), Pool::BUFFERS);
    }
}
