//! A machine that shows, stores and counts, and a guest on it whose time the tests let pass.

use sextant::{Flow, Frame, Guest, Key, POLL_MS, Platform, Size};
use visual_digest::symbol;
use visual_digest::{Choice, Digest, Phase, Record};

/// What the firmware of the published machine offers, shortened.
pub(crate) const MODES: [(u32, u32); 6] =
    [(640, 480), (800, 600), (1024, 768), (1280, 720), (1280, 1024), (1920, 1080)];

pub(crate) struct Machine {
    /// What becomes of each mode: its size, or another where a test wants that.
    pub(crate) outcomes: Vec<Size>,
    size: Size,
    pixels: Vec<u8>,
    serial: String,
    ticks: u64,
}

impl Machine {
    fn new(outcomes: Vec<Size>) -> Self {
        let mut machine =
            Self { outcomes, size: Size::new(0, 0), pixels: Vec::new(), serial: String::new(), ticks: 0 };
        machine.set_size(Size::new(1280, 800));
        machine
    }

    /// The new screen is full of something that is neither black nor green.
    fn set_size(&mut self, size: Size) {
        self.size = size;
        self.pixels = vec![0x5A; size.width as usize * size.height as usize * 4];
    }

    fn frame(&self) -> Frame<'_> {
        Frame::new(self.size.width, self.size.height, self.size.width as usize * 4, &self.pixels)
            .expect("the buffer was made for this size")
    }
}

impl Platform for Machine {
    fn size(&self) -> Size {
        self.size
    }

    fn set_mode(&mut self, index: usize) {
        self.set_size(self.outcomes[index]);
    }

    fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
        assert!(x + piece.width() <= self.size.width && y + piece.height() <= self.size.height);
        for row in 0..piece.height() {
            let from = piece.row(row, 0..piece.width());
            let start = ((y + row) as usize * self.size.width as usize + x as usize) * 4;
            self.pixels[start..start + from.len()].copy_from_slice(from);
        }
    }

    fn write_serial(&mut self, text: &str) {
        self.serial.push_str(text);
    }

    fn ticks(&mut self) -> u64 {
        self.ticks += 3_500;
        self.ticks
    }
}

/// A guest under test. Looking at records, frames or serial text takes what is new since the last look.
pub(crate) struct Lab {
    guest: Guest<Machine>,
    records_taken: usize,
    frames_taken: u32,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with_modes(&MODES)
    }

    pub(crate) fn with_modes(modes: &[(u32, u32)]) -> Self {
        let modes = sizes(modes);
        Self::with_machine(Machine::new(modes.clone()), modes)
    }

    /// The mode at `index` turns out to have another size than it claims.
    pub(crate) fn with_lying_mode(modes: &[(u32, u32)], index: usize, (width, height): (u32, u32)) -> Self {
        let modes = sizes(modes);
        let mut machine = Machine::new(modes.clone());
        machine.outcomes[index] = Size::new(width, height);
        Self::with_machine(machine, modes)
    }

    fn with_machine(machine: Machine, modes: Vec<Size>) -> Self {
        Self { guest: Guest::boot(machine, modes, 1_000), records_taken: 0, frames_taken: 0 }
    }

    /// A guest at the prompt of the locked bootloader, which it reached at 6550 ms, with nothing left to look at.
    pub(crate) fn at_prompt() -> Self {
        let mut lab = Self::new();
        lab.press_at(2350, '\r');
        lab.wait_until(6550);
        lab.forget();
        lab
    }

    /// A guest that waits for the paste, since 7000 ms, with nothing left to look at.
    pub(crate) fn at_paste() -> Self {
        let mut lab = Self::at_prompt();
        lab.press_at(7000, 'i');
        lab.forget();
        lab
    }

    /// A parked guest, at 8100 ms, with nothing left to look at.
    pub(crate) fn parked() -> Self {
        let mut lab = Self::at_paste();
        lab.wait_until(7150);
        lab.type_text(ANSWER);
        lab.press('\r');
        lab.wait_until(8100);
        lab.forget();
        lab
    }

    /// Polls with these keys at once.
    pub(crate) fn poll(&mut self, keys: impl IntoIterator<Item = Key>) -> Flow {
        self.guest.poll(keys)
    }

    /// Polls without keys until the guest's clock says so.
    pub(crate) fn wait_until(&mut self, clock_ms: u64) {
        while self.clock() < clock_ms {
            assert_eq!(self.poll([]), Flow::Continue, "at {} ms", self.clock());
        }
        assert_eq!(self.clock(), clock_ms, "waits are multiples of the poll interval");
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.wait_until(self.clock() + ms);
    }

    /// Polls with one key.
    pub(crate) fn press(&mut self, character: char) {
        assert_eq!(self.poll([Key::character(character)]), Flow::Continue);
    }

    /// Waits so that the key is handled when the clock says so.
    pub(crate) fn press_at(&mut self, clock_ms: u64, character: char) {
        self.wait_until(clock_ms - POLL_MS);
        self.press(character);
    }

    /// Polls once with all characters of the text.
    pub(crate) fn type_text(&mut self, text: &str) {
        assert_eq!(self.poll(text.chars().map(Key::character)), Flow::Continue);
    }

    pub(crate) fn clock(&self) -> u64 {
        self.guest.clock_ms()
    }

    /// Returns the new records. Of use while fewer than 256 have happened.
    pub(crate) fn records(&mut self) -> Vec<Record> {
        let new: Vec<_> = self.guest.records().skip(self.records_taken).copied().collect();
        self.records_taken += new.len();
        new
    }

    /// Returns how many refreshes are new.
    pub(crate) fn frames(&mut self) -> u32 {
        let new = self.guest.frame_counter() - self.frames_taken;
        self.frames_taken += new;
        new
    }

    /// Returns the new text on the serial port.
    pub(crate) fn serial(&mut self) -> String {
        std::mem::take(&mut self.guest.platform_mut().serial)
    }

    pub(crate) fn forget(&mut self) {
        self.records();
        self.frames();
        self.serial();
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        let size = self.guest.platform().size;
        (size.width, size.height)
    }

    /// Reads the digest from the screen, as a stranger would.
    pub(crate) fn digest(&self) -> Digest {
        let payload = symbol::read(self.guest.platform().frame()).expect("a symbol is on the screen");
        visual_digest::decode(payload.as_bytes()).expect("the symbol holds a digest")
    }

    /// Returns whether the digest on the screen is the last one and fits the pixels around it.
    pub(crate) fn is_in_step(&self) -> bool {
        let digest = self.digest();
        digest.frame_counter == self.guest.frame_counter()
            && digest.framebuffer_hash == visual_digest::framebuffer_hash(self.guest.platform().frame())
    }

    /// Returns what stands in a text row of the screen, without trailing blanks.
    pub(crate) fn row(&self, row: u32) -> String {
        let columns = (self.size().0 - 32) / 8;
        let text: String = (0..columns).map(|column| self.cell(column, row)).collect();
        text.trim_end().to_owned()
    }

    /// Returns the character in a cell, or `'#'` for a picture that is none.
    pub(crate) fn cell(&self, column: u32, row: u32) -> char {
        let frame = self.guest.platform().frame();
        let glyph: Vec<u8> = (0..16)
            .map(|y| {
                let pixels = frame.row(16 + row * 16 + y, 16 + column * 8..24 + column * 8);
                pixels.chunks_exact(4).fold(0, |bits, pixel| bits << 1 | u8::from(pixel != [0; 4]))
            })
            .collect();
        let font = &spleen_font::FONT_8X16[4..];
        (' '..='~').find(|letter| font[*letter as usize * 16..][..16] == glyph).unwrap_or('#')
    }
}

fn sizes(modes: &[(u32, u32)]) -> Vec<Size> {
    modes.iter().map(|(width, height)| Size::new(*width, *height)).collect()
}

pub(crate) const ANSWER: &str = "sextant{HELLO_OPERATOR}";

pub(crate) fn key(timestamp_ms: u64, unicode: char) -> Record {
    Record::Keypress { unicode, scancode: 0, timestamp_ms }
}

pub(crate) fn line(timestamp_ms: u64, row: u32) -> Record {
    Record::LineRendered { row, timestamp_ms }
}

pub(crate) fn transition(timestamp_ms: u64, from: Phase, to: Phase) -> Record {
    Record::SceneTransition { from, to, timestamp_ms }
}

pub(crate) fn decision(timestamp_ms: u64, choice: Choice, attempt: u32) -> Record {
    Record::BootloaderDecision { choice, attempt, timestamp_ms }
}

pub(crate) fn paste(timestamp_ms: u64, len: u32, correct: bool) -> Record {
    Record::PasteReceived { len, correct, timestamp_ms }
}

pub(crate) fn switch(timestamp_ms: u64, requested: (u32, u32), applied: (u32, u32)) -> Record {
    Record::ModeSwitch {
        requested_w: requested.0,
        requested_h: requested.1,
        applied_w: applied.0,
        applied_h: applied.1,
        timestamp_ms,
    }
}

pub(crate) fn cycle(timestamp_ms: u64, count: u32, interrupted: bool) -> Record {
    Record::ModeCycle { count, interrupted, timestamp_ms }
}
