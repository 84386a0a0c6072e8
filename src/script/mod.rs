//! The only place that knows Lua: scenarios as coroutines, in a sandbox, on a thread of their own.
//!
//! Start reading at [`load`] (which scenarios does a file hold) and [`run_attempt`] (run one of them on a lane).
//! [`sandbox`] is what a stranger's script may do, [`failure`] why a script stopped; the rest are the bindings, one
//! file per object a script holds. Nothing here provisions a machine or writes to the terminal.

mod agent;
mod always;
mod attempt;
mod cases;
mod clock;
mod console_call;
mod context;
mod declare;
mod defer;
mod expect;
pub mod failure;
mod hold;
mod keyboard;
mod lane;
pub mod lint;
mod machine;
mod members;
mod mouse;
mod options;
mod pause;
pub mod prompt;
pub mod sandbox;
mod scenario;
mod shown;
mod streams;
mod test;
mod values;

pub use attempt::{AttemptOptions, Outcome, run_attempt};
pub use failure::{Failure, FailureKind, Place};
pub use machine::Lanes;
pub use scenario::{Case, LOAD_TIMEOUT, LoadError, Scenario, Script, load};

/// The Lua that scripts are written in; `_VERSION` says the same to them.
pub const LUA: &str = "5.4";
