//! What a server does wrong on purpose: for tests of those who talk to it.
//!
//! Performs no IO. Faults concern a kind of channel, in all sessions there are and come; [`Gate`] is what they come to for
//! the bytes of one channel.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::spice::wire::link::ChannelType;

/// What slows a channel down for as long as it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelFault {
    /// Nothing is said or taken.
    Stall,
    /// What is said arrives so much later.
    Delay(Duration),
    /// No more than so many bytes are said per second.
    Throttle(NonZeroU32),
}

/// A fault that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// All faults of a server's channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    so_far: u64,
    lasting: Vec<(FaultId, Option<ChannelType>, ChannelFault)>,
    cuts: BTreeMap<ChannelType, u64>,
    malformed: BTreeMap<ChannelType, u64>,
}

/// What there is against one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trouble {
    pub(super) is_stalled: bool,
    pub(super) delay: Duration,
    pub(super) rate: Option<NonZeroU32>,
    /// How often channels of its kind were cut so far.
    pub(super) cuts: u64,
    /// How many malformed messages were asked for so far.
    pub(super) malformed: u64,
}

impl Trouble {
    /// Whether what is said arrives later than it would.
    pub(super) fn is_slow(&self) -> bool {
        self.is_stalled || self.rate.is_some() || !self.delay.is_zero()
    }
}

impl Faults {
    pub(super) fn next_id(&mut self) -> FaultId {
        self.so_far += 1;
        FaultId(self.so_far)
    }

    /// Puts a fault on channels of a kind, or on all.
    pub(super) fn put(&mut self, channel: Option<ChannelType>, fault: ChannelFault) -> FaultId {
        let id = self.next_id();
        self.lasting.push((id, channel, fault));
        id
    }

    pub(super) fn lift(&mut self, id: FaultId) {
        self.lasting.retain(|(other, ..)| *other != id);
    }

    pub(super) fn cut(&mut self, channel: ChannelType) {
        *self.cuts.entry(channel).or_default() += 1;
    }

    pub(super) fn malform(&mut self, channel: ChannelType) {
        *self.malformed.entry(channel).or_default() += 1;
    }

    /// Delays add up, the narrowest throttle counts.
    pub(super) fn against(&self, channel: ChannelType) -> Trouble {
        let count = |counts: &BTreeMap<ChannelType, u64>| counts.get(&channel).copied().unwrap_or(0);
        let mut trouble =
            Trouble { cuts: count(&self.cuts), malformed: count(&self.malformed), ..Trouble::default() };
        let concerns = |of: &Option<ChannelType>| of.is_none_or(|of| of == channel);
        for (.., fault) in self.lasting.iter().filter(|(_, of, _)| concerns(of)) {
            match *fault {
                ChannelFault::Stall => trouble.is_stalled = true,
                ChannelFault::Delay(by) => trouble.delay = trouble.delay.saturating_add(by),
                ChannelFault::Throttle(rate) => {
                    trouble.rate = Some(trouble.rate.map_or(rate, |other| other.min(rate)));
                }
            }
        }
        trouble
    }
}

/// What may go over the wire, and how late it is for the peer: its clock stands still while a fault holds up what is to be
/// sent, so that no deadline is missed on account of that.
#[derive(Debug, Default)]
pub(super) struct Gate {
    trouble: Trouble,
    /// When the bytes that were sent last have gone through the throttle.
    free_at: Option<Instant>,
    held_since: Option<Instant>,
    /// For how long the peer's clock stood still before.
    held: Duration,
}

impl Gate {
    /// Takes note of the trouble there is at `now`, with or without bytes that wait to be sent; returns the peer's time.
    pub(super) fn set(&mut self, trouble: Trouble, has_pending: bool, now: Instant) -> Instant {
        self.trouble = trouble;
        if trouble.rate.is_none() {
            self.free_at = None;
        }
        if trouble.is_stalled || trouble.is_slow() && has_pending {
            self.held_since.get_or_insert(now);
        } else if let Some(since) = self.held_since.take() {
            self.held += now.saturating_duration_since(since);
        }
        let stood = self.held_since.unwrap_or(now);
        stood.checked_sub(self.held).unwrap_or(stood)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.trouble.is_stalled
    }

    /// When it will be this late for the peer; nothing while its clock stands still.
    pub(super) fn real_time(&self, peer: Instant) -> Option<Instant> {
        self.held_since.is_none().then(|| peer + self.held)
    }

    /// Bytes that may be made before those that wait have gone, of `most`: behind a throttle pixels are to be new, too.
    pub(super) fn room(&self, most: usize) -> usize {
        self.trouble.rate.map_or(most, |rate| to_usize(rate.get() / 4).clamp(1, most))
    }

    /// From when on what was made at `made` may be sent.
    pub(super) fn due(&self, made: Instant) -> Instant {
        let delayed = made + self.trouble.delay;
        self.free_at.map_or(delayed, |free_at| free_at.max(delayed))
    }

    /// Whether what was made at `made` may go at `now`.
    pub(super) fn is_open(&self, made: Instant, now: Instant) -> bool {
        !self.trouble.is_stalled && now >= self.due(made)
    }

    /// Of so many bytes that may go, those that may go at once.
    pub(super) fn portion(&self, bytes: usize) -> usize {
        self.trouble.rate.map_or(bytes, |rate| bytes.min(to_usize(rate.get() / 50).max(1)))
    }

    /// So many bytes were sent.
    pub(super) fn pass(&mut self, bytes: usize, now: Instant) {
        let Some(rate) = self.trouble.rate else { return };
        let nanos =
            u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000_000) / u64::from(rate.get());
        let from = self.free_at.map_or(now, |free_at| free_at.max(now));
        self.free_at = Some(from + Duration::from_nanos(nanos));
    }
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn faults_of_a_kind_of_channel_and_of_all_come_together() {
        let mut faults = Faults::default();
        let rate = |bytes| ChannelFault::Throttle(NonZeroU32::new(bytes).unwrap());
        faults.put(None, ChannelFault::Delay(SECOND));
        faults.put(Some(ChannelType::DISPLAY), ChannelFault::Delay(SECOND));
        faults.put(Some(ChannelType::DISPLAY), rate(10));
        let wide = faults.put(None, rate(20));
        let stall = faults.put(Some(ChannelType::INPUTS), ChannelFault::Stall);
        faults.cut(ChannelType::CURSOR);
        let display = faults.against(ChannelType::DISPLAY);
        assert_eq!((display.delay, display.rate), (2 * SECOND, NonZeroU32::new(10)));
        assert!(faults.against(ChannelType::INPUTS).is_stalled && !display.is_stalled);
        assert_eq!((faults.against(ChannelType::CURSOR).cuts, display.cuts), (1, 0));
        faults.lift(wide);
        faults.lift(stall);
        let inputs = faults.against(ChannelType::INPUTS);
        assert_eq!(inputs, Trouble { delay: SECOND, ..Trouble::default() });
    }

    #[test]
    fn a_throttle_lets_through_so_many_bytes_a_second() {
        let (mut gate, began) = (Gate::default(), Instant::now());
        let trouble = Trouble { rate: NonZeroU32::new(1_000), ..Trouble::default() };
        let (mut now, mut sent) = (began, 0);
        while sent < 3_000 {
            gate.set(trouble, true, now);
            if gate.is_open(began, now) {
                let bytes = gate.portion(3_000 - sent);
                gate.pass(bytes, now);
                sent += bytes;
            }
            now = gate.due(began);
        }
        assert_eq!(now - began, 3 * SECOND);
        gate.set(Trouble::default(), true, now);
        assert!(gate.is_open(began, began) && gate.portion(3_000) == 3_000, "the throttle is gone");
    }

    #[test]
    fn the_peers_clock_stands_still_while_its_bytes_are_held_up() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let stalled = Trouble { is_stalled: true, ..Trouble::default() };
        assert_eq!(gate.set(Trouble::default(), false, now), now);
        assert_eq!(gate.set(stalled, false, now + SECOND), now + SECOND);
        assert_eq!(gate.set(stalled, false, now + 60 * SECOND), now + SECOND);
        assert_eq!(gate.real_time(now + 2 * SECOND), None);
        assert_eq!(gate.set(Trouble::default(), false, now + 61 * SECOND), now + SECOND);
        assert_eq!(gate.real_time(now + 2 * SECOND), Some(now + 62 * SECOND));
        let slow = Trouble { delay: SECOND, ..Trouble::default() };
        assert_eq!(gate.set(slow, false, now + 62 * SECOND), now + 2 * SECOND, "nothing waits");
        assert_eq!(gate.set(slow, true, now + 63 * SECOND), now + 3 * SECOND);
        assert_eq!(gate.set(slow, true, now + 64 * SECOND), now + 3 * SECOND);
        assert!(!gate.is_open(now + 64 * SECOND, now + 64 * SECOND));
        assert!(gate.is_open(now + 63 * SECOND, now + 64 * SECOND));
    }
}
