//! Log lines on stderr: what went wrong beside the main story; more with `-v`.

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Installs the subscriber; once per process.
pub(super) fn install(verbose: u8) {
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let ours = Targets::new().with_target("backstaff", level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}
