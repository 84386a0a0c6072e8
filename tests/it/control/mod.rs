//! The control socket: both ends of ours, and ours against others that a test plays, old ones and broken ones among them.

mod client;
mod conformance;
mod console;
mod flood;
mod lane;
pub(crate) mod own;
mod page;
mod played;
mod transcript;
mod watch;

use crate::lane::load as typing;
