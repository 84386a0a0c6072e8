//! What every control socket keeps, one test per rule of the protocol.
//!
//! `BACKSTAFF_CONFORMANCE_SOCKET=PATH` points the suite at any server whose guest is the reference guest, booted and not
//! beyond its first prompt; without it `backstaff serve` is started on a simulated lane. The suite reads what the server
//! says of itself: what came later, or is ours, is asked of nobody else, and such a test says aloud that it was skipped.
//! Nothing of our own client is used; the lines are built and read by hand.
//!
//! The tests take turns on one server. [`wire`] is a connection, [`server`] the server, [`guest`] what was typed.

mod events;
mod framing;
mod guest;
mod hello;
mod keys;
mod later;
mod paste;
mod screenshot;
mod server;
mod shape;
mod status;
mod subscriptions;
mod transport;
mod wire;
