//! Memory for pixels, so that a picture that is drawn and forgotten costs no allocation.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Decompress;

/// Buffers, and what inflates into them, that wait for their next use; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The one that has waited longest is the first.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
    inflater: Option<Decompress>,
}

impl Pool {
    /// Bytes that wait, at most; beyond, memory goes back to the system.
    const LIMIT: usize = 16 << 20;
    /// Small buffers cost as much to look through as large ones.
    const BUFFERS: usize = 256;

    /// A buffer of `bytes` zeros.
    pub(in crate::spice) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut idle = self.idle();
        let size = size_class(bytes);
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= bytes && size_class(buffer.capacity()) == size;
        let found = idle.buffers.iter().rposition(fits);
        let Some(mut buffer) = found.and_then(|index| idle.buffers.remove(index)) else {
            drop(idle);
            // The system hands zeros out for free.
            let mut buffer = vec![0; size];
            buffer.truncate(bytes);
            return buffer;
        };
        idle.bytes -= buffer.capacity();
        drop(idle);
        buffer.clear();
        buffer.resize(bytes, 0);
        buffer
    }

    /// Keeps a buffer for later. Those that nobody has taken for longest make room for it.
    pub fn give(&self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes == 0 {
            return;
        }
        let mut idle = self.idle();
        // One that is large alone is what a whole screen takes, over and over.
        while idle.bytes.saturating_add(bytes) > Self::LIMIT || idle.buffers.len() >= Self::BUFFERS {
            let Some(oldest) = idle.buffers.pop_front() else { break };
            idle.bytes -= oldest.capacity();
        }
        idle.bytes += bytes;
        idle.buffers.push_back(buffer);
    }

    /// What inflates a zlib stream, from its beginning.
    pub(super) fn take_inflater(&self) -> Decompress {
        let mut inflater = self.idle().inflater.take().unwrap_or_else(|| Decompress::new(true));
        inflater.reset(true);
        inflater
    }

    pub(super) fn give_inflater(&self, inflater: Decompress) {
        self.idle().inflater = Some(inflater);
    }

    /// A panic elsewhere leaves at most a buffer less.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size that buffers for so many bytes have: a little more. Sizes that are a little different share buffers; those that
/// are very different never do, for a small picture that is kept would keep the memory of a large one.
fn size_class(bytes: usize) -> usize {
    const SMALLEST: usize = 64;
    /// Beyond it there are finer steps than doubling.
    const LARGE: usize = 1 << 20;
    let Some(power) = bytes.max(SMALLEST).checked_next_power_of_two() else { return bytes };
    if power <= LARGE { power } else { bytes.checked_next_multiple_of(power / 16).unwrap_or(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_as_zeros_to_what_is_about_as_large() {
        let pool = Pool::default();
        let (mut small, large) = (pool.take(100), pool.take(2 << 20));
        small.fill(7);
        let (at_small, at_large) = (small.as_ptr(), large.as_ptr());
        pool.give(large);
        pool.give(small);
        let again = pool.take(90);
        assert_eq!((again.as_ptr(), again.len()), (at_small, 90));
        assert!(again.iter().all(|byte| *byte == 0));
        let other = pool.take((2 << 20) - 5);
        assert_eq!(other.as_ptr(), at_large);
    }

    #[test]
    fn buffers_are_a_little_larger_than_asked_for() {
        for bytes in [1, 64, 65, 4096, 5_000, 1 << 20, (1 << 20) + 1, 3 << 20, 8_294_400] {
            let size = size_class(bytes);
            assert!(size >= bytes && size < (bytes * 2).max(65), "{bytes}: {size}");
            assert_eq!(size_class(size), size, "{bytes}");
            let pool = Pool::default();
            pool.give(vec![0; Pool::LIMIT / 2]);
            assert_eq!(pool.take(bytes).capacity(), size, "{bytes}: not the large one");
        }
        assert_eq!(size_class(8_294_400), 8 << 20, "a screen of 1920 x 1080");
        assert_eq!(size_class(usize::MAX), usize::MAX);
    }

    #[test]
    fn what_waits_is_limited() {
        let pool = Pool::default();
        pool.give(vec![0; Pool::LIMIT * 2]);
        assert_eq!(pool.idle().buffers.len(), 1, "one large buffer alone is kept");
        pool.give(vec![0; 7]);
        let idle = pool.idle().buffers.iter().map(Vec::capacity).collect::<Vec<_>>();
        assert_eq!(idle, [7], "what was given last");
        let pool = Pool::default();
        (0..Pool::BUFFERS * 2).for_each(|_| pool.give(vec![0; 1]));
        assert_eq!(pool.idle().buffers.len(), Pool::BUFFERS);
    }
}
