//! One call of a binding that uses the console: who called, and how its failures are raised.

use std::sync::Arc;

use mlua::Lua;

use super::context::{Context, caller, machine_ended};
use super::failure::{Failure, FailureKind, Place};
use super::machine::Machine;
use crate::console::{Console, ConsoleError};
use crate::lane::handle::Capability;

/// One call of `t.keyboard` or `t.mouse`.
pub(super) struct ConsoleCall {
    pub(super) context: Arc<Context>,
    pub(super) machine: Arc<Machine>,
    /// E.g. `keyboard:press`.
    pub(super) name: String,
    needs: Capability,
    pub(super) place: Option<Place>,
}

impl ConsoleCall {
    pub(super) fn new(lua: &Lua, machine: &Arc<Machine>, needs: Capability, name: &str) -> Self {
        let (context, machine) = (Context::of(lua), Arc::clone(machine));
        Self { name: machine.call(name), context, machine, needs, place: caller(lua) }
    }

    pub(super) fn prepare<T>(&self, prepare: impl FnOnce() -> Result<T, Failure>) -> mlua::Result<T> {
        prepare().map_err(|failure| self.context.raise(failure.at(self.place.clone())))
    }

    pub(super) fn console(&self) -> mlua::Result<Arc<dyn Console>> {
        self.prepare(|| {
            self.machine.require(&self.name, self.needs)?;
            self.machine.console(&self.name)
        })
    }

    pub(super) fn done<T>(&self, result: Result<T, ConsoleError>) -> mlua::Result<T> {
        result.map_err(|error| {
            let reason = match error {
                ConsoleError::Closed { reason } => reason,
                ConsoleError::Refused { reason } => {
                    let failure = Failure::new(FailureKind::LaneLost, format!("{}: {reason}", self.name));
                    return self.context.raise(failure.at(self.place.clone()));
                }
            };
            let failure = match &*self.machine.lane.ended.borrow() {
                Some(end) => machine_ended(end, &format!("{}: the machine has ended", self.name), ""),
                None => Failure::new(
                    FailureKind::LaneLost,
                    format!("{}: the console is closed: {reason}", self.name),
                ),
            };
            self.context.raise(failure.at(self.place.clone()))
        })
    }
}
