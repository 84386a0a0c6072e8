//! How far the channels of a session are, for those that have to wait for each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::base::WaitForChannel;
use super::wire::link::{ChannelId, ChannelType};

/// One session's.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many messages every open channel has handled.
    handled: Mutex<BTreeMap<ChannelId, u64>>,
}

impl Progress {
    /// A channel is there, or will be.
    pub(super) fn open(&self, channel: ChannelId) {
        self.lock().entry(channel).or_default();
    }

    /// A channel has handled so many messages.
    pub(super) fn reach(&self, channel: ChannelId, messages: u64) {
        self.lock().insert(channel, messages);
    }

    /// A channel is gone: nobody waits for it any more.
    pub(super) fn close(&self, channel: ChannelId) {
        self.lock().remove(&channel);
    }

    /// Whether `own` may go on. To wait for oneself, or for a channel that is unknown or gone, is to wait for nothing
    /// (spec spice.md, section 3.6).
    pub(super) fn has_reached(&self, own: ChannelId, waits: &[WaitForChannel]) -> bool {
        let handled = self.lock();
        waits.iter().all(|wait| {
            let channel = ChannelId { channel_type: ChannelType(wait.channel_type), id: wait.channel_id };
            let known = handled.get(&channel).filter(|_| channel != own);
            known.is_none_or(|handled| *handled >= wait.message_serial)
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, u64>> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_others_that_are_there_are_waited_for() {
        let display = |id| ChannelId { channel_type: ChannelType::DISPLAY, id };
        let wait = |channel: ChannelId, message_serial| WaitForChannel {
            channel_type: channel.channel_type.0,
            channel_id: channel.id,
            message_serial,
        };
        let progress = Progress::default();
        [0, 1, 2].iter().for_each(|id| progress.open(display(*id)));
        let is_met = |waits: &[WaitForChannel]| progress.has_reached(display(1), waits);
        assert!(is_met(&[]));
        assert!(!is_met(&[wait(display(0), 7)]));
        progress.reach(display(0), 6);
        assert!(!is_met(&[wait(display(0), 7)]));
        progress.reach(display(0), 7);
        assert!(is_met(&[wait(display(0), 7), wait(display(1), 99), wait(display(9), 1)]));
        assert!(!is_met(&[wait(display(0), 7), wait(display(2), 1)]));
        progress.close(display(2));
        assert!(is_met(&[wait(display(0), 7), wait(display(2), 1)]));
    }
}
