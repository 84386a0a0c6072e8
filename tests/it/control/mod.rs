//! The control socket: our client and our lanes against servers that a test plays, old ones and broken ones among them.

mod client;
mod console;
mod lane;
mod played;
mod watch;
