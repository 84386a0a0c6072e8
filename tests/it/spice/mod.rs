//! The SPICE client against real and pretended servers.

pub(crate) mod authority;
mod captures;
mod displays;
mod handshake;
mod installer;
mod machine;
mod matrix;
mod migration;
mod pretender;
mod qemu;
mod recordings;
mod session;
mod tls;
