//! The SPICE client against real and pretended servers.

mod machine;
mod qemu;
