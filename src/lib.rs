//! backstaff tests the *consoles* of virtual machines: it boots a machine, watches its screen, types on its
//! keyboard, reads what it says on its other wires, and judges.
//!
//! The modules, from the terminal down to the wire. A module may use those below it, never those above;
//! `tests/it/architecture.rs` reads the sources and says so.
//!
//! - [`cli`]: arguments in, exit code out; the only place that touches the terminal.
//! - [`repl`]: a prompt on a live lane, and inside a scenario that stands still.
//! - [`report`]: journal events in, text out.
//! - [`runner`]: which scenarios run, on which lane, and what became of them.
//! - [`script`]: the only place that knows Lua.
//! - [`lane`]: one running machine and its endpoints, from profile to teardown.
//! - [`oracle`]: readers of evidence with a verdict, and the watchers that feed them.
//! - [`console`]: keyboard in, surfaces and events out.
//! - [`journal`]: everything observed or done during an attempt, in one order.
//! - [`spice`]: the SPICE client.
//! - [`control`]: consoles over a unix socket, for programs in any language.
//! - [`reference`](mod@reference): the Lua API as data, read from `lua/meta`.
//! - [`near`]: "did you mean", for everybody.
//! - [`fuzzing`]: what fuzzers feed bytes to, above all of these.
//!
//! `src/digest` (package `visual-digest`) and `src/guest` (package `sextant`) are packages of their own.

pub mod cli;
pub mod console;
pub mod control;
#[doc(hidden)]
pub mod fuzzing;
pub mod journal;
pub mod lane;
pub mod near;
pub mod oracle;
pub mod reference;
pub mod repl;
pub mod report;
pub mod runner;
pub mod script;
pub mod spice;
