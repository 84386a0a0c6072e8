//! The guest as a whole: its clock, its keys, its record, and the digest on its screen.

use crate::cursor::Cursor;
use crate::modes::{self, ModeKey, Walk};
use crate::platform::{Flow, Key, Platform, Size};
use crate::record::{Chronicle, DrainLine};
use crate::screen::Screen;
use crate::stats::RefreshStats;
use crate::story::Scene;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use visual_digest::symbol::Symbol;
use visual_digest::{ChannelHashes, Phase, Record};

/// How much guest time passes from poll to poll, in milliseconds. All of the guest's waits are multiples of it.
pub const POLL_MS: u64 = 50;

/// The first line on the serial port, without line end. The caller writes it before it looks for a screen, so that a
/// machine without one says at least this.
pub const BANNER: &str = "Hello from Uncalibrated Sextant";

/// A running guest on its platform.
pub struct Guest<P> {
    platform: P,
    /// Not empty only if the platform can change modes; in firmware order.
    pub(crate) modes: Vec<Size>,
    /// Guest time since boot: the sum of all waits.
    pub(crate) clock_ms: u64,
    /// The same without the time spent walking through modes, during which the story stands still.
    pub(crate) story_ms: u64,
    pub(crate) scene: Scene,
    pub(crate) screen: Screen,
    pub(crate) cursor: Cursor,
    /// When, by the guest's clock, the toast goes.
    pub(crate) toast_ends_ms: Option<u64>,
    pub(crate) walk: Option<Walk>,
    chronicle: Chronicle,
    stats: RefreshStats,
    frame_counter: u32,
    framebuffer_hash: u32,
}

impl<P: Platform> Guest<P> {
    /// Starts a guest: sets the mode nearest to 1024x768, lists `modes` on the serial port, shows the first scene.
    ///
    /// `ticks_per_ms` tells how fast [`Platform::ticks`] counts, 0 when that is not known.
    pub fn boot(mut platform: P, modes: Vec<Size>, ticks_per_ms: u64) -> Self {
        if let Some(mode) = modes::nearest(&modes, modes::PREFERRED) {
            platform.set_mode(mode);
        }
        let mut guest = Self {
            screen: Screen::new(platform.size()),
            platform,
            modes,
            clock_ms: 0,
            story_ms: 0,
            scene: Scene::Awaiting,
            cursor: Cursor::new(),
            toast_ends_ms: None,
            walk: None,
            chronicle: Chronicle::default(),
            stats: RefreshStats::new(ticks_per_ms),
            frame_counter: 0,
            framebuffer_hash: 0,
        };
        guest.list_modes();
        guest.enter_awaiting();
        guest
    }

    /// Lets [`POLL_MS`] of guest time pass, in which `keys` arrived, oldest first.
    ///
    /// Once it has returned anything but [`Flow::Continue`] the guest is over and returns the same for ever.
    pub fn poll(&mut self, keys: impl IntoIterator<Item = Key>) -> Flow {
        if let Scene::Ended(flow) = self.scene {
            return flow;
        }
        self.clock_ms += POLL_MS;
        if self.walk.is_none() {
            self.story_ms += POLL_MS;
        }
        for key in keys {
            self.handle_key(key);
            if let Scene::Ended(flow) = self.scene {
                return flow;
            }
        }
        self.poll_toast();
        if self.walk.is_some() {
            self.poll_walk();
            return Flow::Continue;
        }
        self.poll_scene();
        if let Scene::Ended(flow) = self.scene { flow } else { Flow::Continue }
    }

    /// Returns the platform given at boot.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Returns the platform given at boot.
    pub fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Returns the guest time since boot, in milliseconds.
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Returns the kept events, oldest first: the newest 256.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + Clone {
        self.chronicle.records()
    }

    /// Returns the hashes over all events since boot.
    pub fn channel_hashes(&self) -> &ChannelHashes {
        self.chronicle.hashes()
    }

    /// Returns how many times the digest was refreshed, modulo 2^32.
    pub fn frame_counter(&self) -> u32 {
        self.frame_counter
    }

    /// Returns the framebuffer hash of the last refresh.
    pub fn framebuffer_hash(&self) -> u32 {
        self.framebuffer_hash
    }

    fn handle_key(&mut self, key: Key) {
        self.push_record(|timestamp_ms| Record::Keypress {
            unicode: key.unicode,
            scancode: key.scancode,
            timestamp_ms,
        });
        let mode_key = ModeKey::of(key);
        if self.walk.is_some() {
            self.interrupt_walk();
            if let Some(mode_key) = mode_key {
                self.obey_mode_key(mode_key);
            }
            return;
        }
        match mode_key {
            Some(mode_key) if self.scene.obeys_mode_keys() => self.obey_mode_key(mode_key),
            _ => self.handle_scene_key(key),
        }
    }

    /// Records an event of this moment.
    pub(crate) fn push_record(&mut self, record: impl FnOnce(u64) -> Record) {
        self.chronicle.push(record(self.clock_ms));
    }

    pub(crate) fn push_transition(&mut self, from: Phase, to: Phase) {
        self.push_record(|timestamp_ms| Record::SceneTransition { from, to, timestamp_ms });
    }

    /// Shows a line of the story: text, event, refresh.
    pub(crate) fn render_line(&mut self, row: u32, text: fmt::Arguments<'_>) {
        self.screen.write_row(row, text);
        self.push_record(|timestamp_ms| Record::LineRendered { row, timestamp_ms });
        self.refresh();
    }

    /// Brings screen and digest up to date with each other and with what has happened.
    pub(crate) fn refresh(&mut self) {
        let begin = self.platform.ticks();
        self.frame_counter = self.frame_counter.wrapping_add(1);
        self.framebuffer_hash = self.screen.hash();
        let payload = visual_digest::encode(
            self.frame_counter,
            self.chronicle.hashes(),
            self.chronicle.records(),
            self.framebuffer_hash,
        );
        self.screen.draw_symbol(&Symbol::encode(&payload));
        self.screen.present(&mut self.platform);
        self.stats.push(self.platform.ticks().saturating_sub(begin));
    }

    /// Shows what was drawn without a refresh of the digest.
    pub(crate) fn present(&mut self) {
        self.screen.present(&mut self.platform);
    }

    /// Sets a mode and returns the size that came of it.
    pub(crate) fn change_mode(&mut self, index: usize) -> Size {
        self.platform.set_mode(index);
        self.platform.size()
    }

    /// Draws the current scene again for the size the screen has now.
    pub(crate) fn repaint(&mut self) {
        self.screen.repaint(self.platform.size());
        self.refresh();
    }

    fn list_modes(&mut self) {
        let mut serial = Serial(&mut self.platform);
        serial.write("available GOP modes:");
        for mode in &self.modes {
            serial.write(format_args!(" {mode}"));
        }
        serial.write("\r\n");
    }

    /// Writes the kept events and the summary to the serial port.
    pub(crate) fn drain(&mut self) {
        let mut serial = Serial(&mut self.platform);
        for record in self.chronicle.records() {
            serial.write(format_args!("{}\r\n", DrainLine(record)));
        }
        serial.write(format_args!("{}\r\n", self.stats));
    }
}

struct Serial<'a, P>(&'a mut P);

impl<P: Platform> Serial<'_, P> {
    fn write(&mut self, text: impl fmt::Display) {
        write!(self, "{text}").expect("the platform takes any text");
    }
}

impl<P: Platform> Write for Serial<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_serial(text);
        Ok(())
    }
}
