//! Keeps display channels from running ahead of whoever looks at their surfaces: a picture that is there for a moment
//! only is seen, however busy the looker was.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// One session's. A batch is what a channel has drawn before it reads on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    batches: Mutex<u64>,
    /// Up to which batch surfaces were looked at; `None` while nobody does.
    seen: watch::Sender<Option<u64>>,
}

impl Pace {
    /// Hands on a batch under its number, in the order of the numbers. Returns what is to be waited for.
    pub(super) fn hand_on(&self, hand: impl FnOnce(u64)) -> Option<Look> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        *batches += 1;
        hand(*batches);
        self.seen.borrow().map(|_| Look { batch: *batches, due: Instant::now() + PATIENCE })
    }

    /// See [`Session::look_up_to`](super::Session::look_up_to).
    pub(super) fn look_up_to(&self, batch: Option<u64>) {
        self.seen.send_replace(batch);
    }

    /// Resolves when a batch was looked at, nobody looks any more, or the looker takes too long; never without a batch.
    pub(super) async fn looked_at(&self, look: Option<Look>) {
        let Some(Look { batch, due }) = look else { return std::future::pending().await };
        let mut seen = self.seen.subscribe();
        let is_seen = |seen: &Option<u64>| seen.is_none_or(|seen| seen >= batch);
        // Too late or in time, the channel goes on; the sender is this one's own.
        let _ = timeout_at(due, seen.wait_for(is_seen)).await;
    }
}

/// What has to be looked at before a channel goes on, and until when it waits for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    batch: u64,
    due: Instant,
}

/// For who looks. After it pictures may be missed.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_waits_for_who_looks_and_not_for_ever() {
        let pace = Pace::default();
        assert!(pace.hand_on(|number| assert_eq!(number, 1)).is_none(), "nobody looks");
        pace.look_up_to(Some(0));
        let began = Instant::now();
        let second = pace.hand_on(|number| assert_eq!(number, 2));
        let waiting = pace.looked_at(second);
        tokio::pin!(waiting);
        pace.look_up_to(Some(1));
        assert!(
            timeout_at(began + PATIENCE / 4, &mut waiting).await.is_err(),
            "the one before it is not enough"
        );
        pace.look_up_to(Some(2));
        waiting.await;
        let third = pace.hand_on(|_| {});
        pace.looked_at(third).await;
        assert!(began.elapsed() > PATIENCE, "a looker that takes too long is waited for, and not for ever");
        let fourth = pace.hand_on(|_| {});
        pace.look_up_to(None);
        pace.looked_at(fourth).await;
    }
}
