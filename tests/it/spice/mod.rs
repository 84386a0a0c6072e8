//! The SPICE client against real and pretended servers.

mod captures;
mod handshake;
mod machine;
mod matrix;
mod pretender;
mod qemu;
mod session;
