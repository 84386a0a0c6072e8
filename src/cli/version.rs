//! What `--version` says: enough to tell two binaries apart.

use std::sync::OnceLock;

use crate::control::protocol::VERSION as CONTROL;
use crate::script::LUA;
use crate::spice::codec::CODECS;

/// The number, and lines about the build.
pub(super) fn long() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let build = if cfg!(debug_assertions) { ", a development build" } else { "" };
        format!(
            "{}\ncommit    {}{build}\nLua       {LUA}\nplatform  {}-{}\ncodecs    {}\nlanes     qemu sim attach\n\
             control   protocol {CONTROL}",
            env!("CARGO_PKG_VERSION"),
            env!("BACKSTAFF_COMMIT"),
            std::env::consts::ARCH,
            std::env::consts::OS,
            CODECS.join(" "),
        )
    })
}
