//! The SPICE client against real and pretended servers.

mod captures;
mod handshake;
mod machine;
mod pretender;
mod qemu;
mod recordings;
mod session;
