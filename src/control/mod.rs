//! The control socket: a console over a unix socket, one JSON object per line, for programs in any language.
//!
//! [`protocol`] is what is said, for both ends, and [`lines`] how bytes become lines; both are pure. [`server`] offers
//! whatever implements its [`Desk`](server::Desk), [`client`] talks to such a server, also to somebody else's.
//! Nothing here knows what a console is made of.

pub mod client;
#[doc(hidden)]
pub mod fuzzing;
pub mod lines;
pub mod protocol;
pub mod server;
