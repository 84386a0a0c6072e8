//! Machines and a clock that stand still for somebody at a prompt, and go on for as long as what they ask waits.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::context::Context;
use super::machine::Machine;
use crate::lane::standstill::Standstill;

/// Machines and a clock that stand still.
pub(super) struct Pause<'a> {
    context: &'a Context,
    pub(super) clock: &'a Clock,
    /// Those that ran before.
    still: Vec<(Arc<Machine>, Standstill)>,
    /// Why others go on.
    pub(super) notes: Vec<String>,
    /// Whether everything is to go on all the time.
    is_live: bool,
}

impl<'a> Pause<'a> {
    pub(super) fn new(context: &'a Context, clock: &'a Clock, is_live: bool) -> Self {
        Self { context, clock, still: Vec::new(), notes: Vec::new(), is_live }
    }

    pub(super) async fn stop(&mut self) {
        if self.is_live {
            return;
        }
        self.clock.stand_still();
        for machine in self.context.machines() {
            let name = &machine.lane.name;
            if machine.lane.ended.borrow().is_some() {
                self.notes.push(format!("the machine of lane \"{name}\" has ended"));
                continue;
            }
            let Some(standstill) = &machine.lane.standstill else {
                if machine.lane.console.is_some() {
                    self.notes.push(format!("the machine goes on: lane \"{name}\" cannot be paused"));
                }
                continue;
            };
            match tokio::time::timeout(ANSWER, standstill.stop()).await {
                Ok(Ok(true)) => self.still.push((Arc::clone(machine), standstill.clone())),
                Ok(Ok(false)) => {}
                Ok(Err(why)) => self.notes.push(format!("the machine goes on: lane \"{name}\": {why}")),
                Err(_) => self.notes.push(format!("lane \"{name}\" does not answer")),
            }
        }
    }

    /// Runs something that somebody asked for; as long as it waits, the machines run.
    pub(super) async fn while_running<T>(&mut self, part: impl Future<Output = T>) -> T {
        let mut part = std::pin::pin!(part);
        if let std::task::Poll::Ready(done) = futures_util::poll!(&mut part) {
            return done;
        }
        self.machines(true).await;
        let done = part.await;
        self.machines(false).await;
        done
    }

    async fn machines(&self, run: bool) {
        for (machine, standstill) in &self.still {
            // What somebody at the prompt paused or let go on stays so.
            if machine.is_left_alone() || machine.lane.ended.borrow().is_some() {
                continue;
            }
            let done = async {
                match run {
                    true => standstill.go_on().await,
                    false => standstill.stop().await.map(drop),
                }
            };
            if let Ok(Err(error)) = tokio::time::timeout(ANSWER, done).await {
                tracing::debug!(error, run, "machine not stopped or resumed");
            }
        }
    }

    pub(super) async fn go_on(&mut self) {
        if self.is_live {
            return;
        }
        self.machines(true).await;
        for (machine, _) in self.still.drain(..) {
            machine.leave_alone(false);
        }
        self.clock.go_on();
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        // Dropped in the middle, the attempt is over, and so are the machines; its end has a deadline, too.
        if !self.is_live {
            self.clock.go_on();
        }
    }
}

/// For a machine's monitor to answer.
const ANSWER: Duration = Duration::from_secs(5);
