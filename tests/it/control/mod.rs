//! The control socket: both ends of ours, and ours against others that a test plays, old ones and broken ones among them.

mod client;
mod console;
mod flood;
mod lane;
mod played;
mod watch;

use crate::lane::load as typing;
