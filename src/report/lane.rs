//! What `backstaff lane up` says.

use super::style::{Look, Tone};
use crate::journal::{Body, Event};
use crate::lane::join::Joining;

/// A line about the lane coming up, where the event deserves one.
pub fn progress(event: &Event, look: Look) -> Option<String> {
    let text = match &event.body {
        Body::LaneState { state, detail: Some(name) } if state == "starting" => format!("starting {name}"),
        Body::LaneState { state, detail: Some(gate) } if state == "waiting" => format!("waiting for {gate}"),
        _ => return None,
    };
    let at = event.at().as_secs_f64();
    Some(format!("{}\n", look.paint(Tone::Faint, format!("{at:6.1} s  {text}"))))
}

/// How to join a lane that is up.
pub fn joining(joining: &Joining, qemu: Option<i32>, look: Look) -> String {
    let lane = look.paint(Tone::Strong, &joining.lane);
    let machine = qemu.map_or_else(|| "simulated".to_owned(), |pid| format!("QEMU is process {pid}"));
    let mut text = format!("lane {lane} is up ({machine}); Ctrl-C takes it down\n");
    let mut row = |name: &str, value: String| {
        text.push_str(&format!("  {} {value}\n", look.paint(Tone::Place, format!("{name:<8}"))));
    };
    row("SPICE", joining.uri.clone());
    row("viewer", format!("remote-viewer {}", joining.vv.display()));
    if let Some(monitor) = &joining.monitor {
        row("QMP", monitor.display().to_string());
    }
    if let Some(serial) = &joining.serial_log {
        row("serial", serial.display().to_string());
    }
    row("folder", joining.folder.display().to_string());
    if let Some(warning) = &joining.warning {
        text.push_str(&format!("{} {warning}\n", look.paint(Tone::Warn, "note:")));
    }
    text
}
