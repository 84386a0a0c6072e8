//! The scenes in the order they are played: awaiting, the boot script, the bootloader, parked.

use crate::bootloader::Bootloader;
use crate::glyphs;
use crate::guest::{Guest, POLL_MS};
use crate::platform::{Flow, Key, Platform};
use core::fmt;
use visual_digest::{Phase, Record};

/// The pause after each line of the script.
pub(crate) const LINE_PAUSE_MS: u64 = 200;

/// The first row of the locked bootloader.
pub(crate) const BOOTLOADER_ROW: u32 = 19;
const LAST_SCRIPT_ROW: u32 = 22;
/// One row stays blank between the script and the closing line.
const CLOSING_ROW: u32 = LAST_SCRIPT_ROW + 2;

/// Times are those of the story, which stands still during a walk through the modes.
pub(crate) enum Scene {
    Awaiting,
    /// The rows before `next_row` are there.
    Script {
        next_row: u32,
        due_ms: u64,
    },
    Locked(Bootloader),
    /// The last line of the script is there.
    Unlocked {
        due_ms: u64,
    },
    Parked,
    Ended(Flow),
}

impl Scene {
    pub(crate) fn obeys_mode_keys(&self) -> bool {
        match self {
            Self::Awaiting | Self::Script { .. } | Self::Unlocked { .. } | Self::Parked => true,
            Self::Locked(_) | Self::Ended(_) => false,
        }
    }
}

impl<P: Platform> Guest<P> {
    pub(crate) fn enter_awaiting(&mut self) {
        self.refresh();
        self.blink(0);
    }

    /// Handles a key which is not an obeyed mode key. It is recorded already.
    pub(crate) fn handle_scene_key(&mut self, key: Key) {
        match self.scene {
            Scene::Awaiting => self.enter_script(),
            Scene::Locked(bootloader) => self.handle_bootloader_key(bootloader, key),
            Scene::Parked => self.leave_parked(),
            Scene::Script { .. } | Scene::Unlocked { .. } | Scene::Ended(_) => {}
        }
    }

    pub(crate) fn poll_scene(&mut self) {
        match self.scene {
            Scene::Awaiting | Scene::Parked => self.blink(POLL_MS),
            Scene::Script { next_row, due_ms } if self.story_ms >= due_ms => self.continue_script(next_row),
            Scene::Locked(bootloader) => self.poll_bootloader(bootloader),
            Scene::Unlocked { due_ms } if self.story_ms >= due_ms => self.enter_parked(),
            Scene::Script { .. } | Scene::Unlocked { .. } | Scene::Ended(_) => {}
        }
    }

    fn enter_script(&mut self) {
        self.push_transition(Phase::Awaiting, Phase::Booting);
        self.refresh();
        self.screen.wipe();
        // The toast went with everything else; there is nothing left to take away later.
        self.toast_ends_ms = None;
        self.continue_script(0);
    }

    fn continue_script(&mut self, row: u32) {
        if row == BOOTLOADER_ROW {
            return self.enter_bootloader();
        }
        self.render_script_row(row);
        self.scene = Scene::Script { next_row: row + 1, due_ms: self.story_ms + LINE_PAUSE_MS };
    }

    fn render_script_row(&mut self, row: u32) {
        match row {
            0 => self.render_probe(row, &glyphs::GREEK_PROBE),
            1 => self.render_probe(row, &glyphs::KATAKANA_PROBE),
            2 => self.render_telemetry(row, "Chronometer", "GOING"),
            3 => self.render_telemetry(row, "Horizon vane", "CLEAR"),
            4 => self.render_telemetry(row, "Shadow vane", "FALLING SHORT"),
            5 => self.render_telemetry(row, "Index error", "UNKNOWN"),
            6 => self.render_telemetry(row, "Chart table", "OPEN"),
            7 => self.render_line(row, format_args!("    chart 1 at 640x480, 2 at 800x600")),
            8 => self.render_line(row, format_args!("    chart 3 at 1024x768, 4 at 1280x720")),
            9 => self.render_line(row, format_args!("    chart 5 at 1280x1024, 6 at 1920x1080")),
            10 => {
                let count = self.modes.len();
                self.render_line(row, format_args!("    0 leafs through all {count} of them"));
            }
            11 => {
                let locked = self.platform().size();
                self.render_line(row, format_args!("    pinned to the table: {locked}"));
            }
            12 => self.render_telemetry(row, "Lead line", "NO BOTTOM"),
            13 => self.render_telemetry(row, "Log line", "STREAMED"),
            14 => self.render_telemetry(row, "Compass deviation", "WITHIN REASON"),
            15 => self.render_telemetry(row, "Bilge", "DRY ENOUGH"),
            16 => self.render_telemetry(row, "Signal halyards", "CLEAR"),
            17 => self.render_telemetry(row, "Watch below", "ASLEEP"),
            _ => self.render_line(row, format_args!("Back to the sun, eyes on the shadow.")),
        }
    }

    fn render_probe(&mut self, row: u32, cells: &[u8]) {
        self.screen.set_cells(row, cells);
        self.push_record(|timestamp_ms| Record::LineRendered { row, timestamp_ms });
        self.refresh();
    }

    pub(crate) fn render_telemetry(&mut self, row: u32, label: &str, status: &str) {
        self.render_line(row, format_args!("{}", Telemetry { label, status }));
    }

    pub(crate) fn leave_bootloader(&mut self) {
        self.render_line(LAST_SCRIPT_ROW, format_args!("Anchor aweigh; the helm answers."));
        self.scene = Scene::Unlocked { due_ms: self.story_ms + LINE_PAUSE_MS };
    }

    fn enter_parked(&mut self) {
        self.push_transition(Phase::Booting, Phase::Parked);
        self.refresh();
        self.scene = Scene::Parked;
        self.screen.write_row(CLOSING_ROW, format_args!("Hove to. Any key ends the voyage."));
        // The phase of awaiting goes on: a cursor that was on then is on again, without coming on.
        self.draw_cursor();
        self.refresh();
    }

    fn leave_parked(&mut self) {
        self.push_transition(Phase::Parked, Phase::Parked);
        self.refresh();
        self.drain();
        self.scene = Scene::Ended(Flow::PowerOff);
    }

    fn blink(&mut self, elapsed_ms: u64) {
        if self.cursor.poll(elapsed_ms) {
            self.draw_cursor();
            self.refresh();
        }
    }

    fn draw_cursor(&mut self) {
        let (column, row) = match self.scene {
            Scene::Parked => (self.screen.end_of_row(CLOSING_ROW), CLOSING_ROW),
            _ => (0, 0),
        };
        self.screen.show_cursor(column, row, self.cursor.shape());
    }
}

/// A label, dots, and a status at column 41.
struct Telemetry<'a> {
    label: &'a str,
    status: &'a str,
}

impl fmt::Display for Telemetry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DOTS_END: usize = 40;
        let Self { label, status } = self;
        let dots = DOTS_END.saturating_sub(label.len() + 1);
        write!(f, "{label} {:.<dots$} {status}", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_has_its_status_at_column_41() {
        let line = Telemetry { label: "Bilge", status: "DRY" }.to_string();
        assert_eq!(line, "Bilge .................................. DRY");
        assert_eq!(line.find("DRY"), Some(41));
    }
}
