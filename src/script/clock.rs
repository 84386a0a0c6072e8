//! The clock that a scenario's deadlines go by. It stands still while the scenario is held at a prompt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A clock that can stand still. A clone is another handle to the same clock.
///
/// Its times are [`Instant`]s as long as it never stood still, and lag behind by all the time it did.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<watch::Sender<Hands>>);

#[derive(Clone, Copy, Default)]
struct Hands {
    /// How long it stood still, without the present time.
    lag: Duration,
    /// Since when it stands still.
    since: Option<Instant>,
}

impl Clock {
    /// The time now.
    pub(super) fn now(&self) -> Instant {
        let Hands { lag, since } = *self.0.borrow();
        let now = since.unwrap_or_else(Instant::now);
        now.checked_sub(lag).unwrap_or(now)
    }

    /// How long ago `then` was by this clock.
    pub(super) fn since(&self, then: Instant) -> Duration {
        self.now().saturating_duration_since(then)
    }

    /// Waits until this clock shows `deadline`.
    pub(super) async fn sleep_until(&self, deadline: Instant) {
        let mut hands = self.0.subscribe();
        loop {
            let Hands { lag, since } = *hands.borrow_and_update();
            let reached = async {
                match since {
                    // Until the hands change, below.
                    Some(_) => std::future::pending().await,
                    None => tokio::time::sleep_until((deadline + lag).into()).await,
                }
            };
            tokio::select! {
                () = reached => return,
                // The sender lives in `self`.
                _ = hands.changed() => {}
            }
        }
    }

    /// Waits for so long by this clock.
    pub(super) async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Stands still until [`Self::go_on`].
    pub(super) fn stand_still(&self) {
        self.0.send_modify(|hands| {
            hands.since.get_or_insert_with(Instant::now);
        });
    }

    /// Goes on.
    pub(super) fn go_on(&self) {
        self.0.send_modify(|hands| {
            if let Some(since) = hands.since.take() {
                hands.lag += since.elapsed();
            }
        });
    }

    /// Shows an earlier time again.
    pub(super) fn set_back(&self, to: Instant) {
        let since = self.since(to);
        self.0.send_modify(|hands| hands.lag += since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_waits_while_the_clock_stands_still() {
        let clock = Clock::default();
        clock.stand_still();
        let still = clock.now();
        let deadline = still + Duration::from_millis(1);
        let early = tokio::time::timeout(Duration::from_millis(50), clock.sleep_until(deadline)).await;
        assert!(early.is_err(), "fifty milliseconds are no time while it stands still");
        assert_eq!(clock.now(), still);
        clock.go_on();
        clock.sleep_until(deadline).await;
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn a_clock_that_was_set_back_shows_the_earlier_time() {
        let clock = Clock::default();
        let began = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        clock.stand_still();
        clock.set_back(began);
        assert_eq!(clock.now(), began);
    }
}
