//! One running machine and its endpoints: from a profile to a plan, a process, its wires, and its end.
//!
//! A lane never judges and never runs a scenario; it reports facts through return values and channels, and
//! layers above turn them into journal events. It knows neither SPICE messages nor Lua.
//!
//! Start reading at [`profile`] (what the user writes), then [`mod@plan`] (what it comes to on this platform).
//! [`profile`], [`platform`], [`mod@plan`] and the argv rendering are pure: no files, no clock, no processes.
//! Finding out what the platform offers is [`platform_detect`]'s work.

mod argv;
mod near_miss;
pub mod plan;
pub mod platform;
pub mod platform_detect;
pub mod profile;
mod profile_parse;
mod sha256;

pub use plan::{Plan, plan};
pub use platform::Platform;
pub use profile::Profile;
