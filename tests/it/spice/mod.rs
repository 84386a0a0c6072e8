//! The SPICE client against real and pretended servers.

mod handshake;
mod machine;
mod pretender;
mod qemu;
mod session;
