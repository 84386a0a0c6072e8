//! What the guest runs on: a screen that is served, a serial port that is a file, a clock that may be fast.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use sextant::{BANNER, Flow, Frame, Guest, POLL_MS, Platform, Size};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LAST_PICTURE;
use super::faults::Faults;
use super::keyboard::Keyboard;
use crate::spice::server::{InputEvent, ServerEvent, ServerHandle};

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MachineEnd {
    /// The guest powered it off.
    PowerOff,
    /// The guest reset it, and that ends it.
    Reset,
    /// We ended it.
    PowerCut,
    /// The file behind the serial port took no more.
    SerialLog(String),
}

/// A machine that has not begun.
pub(super) struct Machine {
    display: ServerHandle,
    inputs: mpsc::Receiver<ServerEvent>,
    board: Board,
    faults: Faults,
    period: Duration,
    /// Whether it is to stand still.
    is_still: watch::Receiver<bool>,
}

impl Machine {
    /// A machine with this display, whose time goes `time_scale` times as fast as the clock.
    pub(super) fn new(
        display: ServerHandle,
        inputs: mpsc::Receiver<ServerEvent>,
        serial_log: &Path,
        time_scale: f64,
        faults: Faults,
        is_still: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let serial = File::options().append(true).create(true).open(serial_log)?;
        let board = Board {
            display: display.clone(),
            is_shown_at_once: true,
            size: Size::new(0, 0),
            serial,
            said: String::new(),
            faults: faults.clone(),
            pictures: VecDeque::new(),
            strokes: Vec::new(),
            began: Instant::now(),
        };
        let period = Duration::from_millis(POLL_MS).div_f64(time_scale);
        Ok(Self { display, inputs, board, faults, period, is_still })
    }

    /// Runs to the end, and says how it came. `power` cuts the power, `ending` is cancelled before the display goes away.
    pub(super) async fn run(
        self,
        power: CancellationToken,
        ending: CancellationToken,
        ended: watch::Sender<Option<MachineEnd>>,
    ) {
        let Self { display, mut inputs, board, faults, period, is_still } = self;
        let playing = play(&display, &mut inputs, board, &faults, period, is_still);
        let end = power.run_until_cancelled(playing).await.unwrap_or(MachineEnd::PowerCut);
        ending.cancel();
        // Nothing that is typed from now on is waited for.
        drop(inputs);
        if end == MachineEnd::PowerCut {
            drop(display);
        } else {
            display.finish(LAST_PICTURE).await;
        }
        ended.send_replace(Some(end));
    }
}

async fn play(
    display: &ServerHandle,
    inputs: &mut mpsc::Receiver<ServerEvent>,
    mut board: Board,
    faults: &Faults,
    period: Duration,
    mut is_still: watch::Receiver<bool>,
) -> MachineEnd {
    board.write_serial(BANNER);
    board.write_serial("\r\n");
    let modes = MODES.map(|(width, height)| Size::new(width, height));
    let mut guest = {
        let _picture = display.picture();
        Guest::boot(board, modes.to_vec(), TICKS_PER_MS)
    };
    let mut hands = Hands { display, inputs, keyboard: Keyboard::default(), faults };
    let mut due = Instant::now();
    loop {
        hands.show(guest.platform_mut()).await;
        if let Err(error) = guest.platform_mut().flush_serial() {
            return MachineEnd::SerialLog(error.to_string());
        }
        // A host that was busy makes the guest late, as it does with any machine; no time is made up for.
        due = (due + period).max(Instant::now());
        hands.type_until(tokio::time::sleep_until(due)).await;
        hands.type_until(display.seen(SEEN_WITHIN)).await;
        if *is_still.borrow() {
            let stopped = Instant::now();
            let going_on = is_still.wait_for(|is_still| !is_still);
            // Nobody is left to let it go on: so it does.
            hands.type_until(async move { drop(going_on.await) }).await;
            guest.platform_mut().began += stopped.elapsed();
        }
        let flow = {
            let _picture = display.picture();
            guest.platform_mut().is_shown_at_once = true;
            guest.poll(hands.keyboard.take())
        };
        match flow {
            Flow::Continue => {}
            flow @ (Flow::PowerOff | Flow::Reset) => {
                hands.show(guest.platform_mut()).await;
                if let Err(error) = guest.platform_mut().finish_serial() {
                    return MachineEnd::SerialLog(error.to_string());
                }
                return if flow == Flow::Reset { MachineEnd::Reset } else { MachineEnd::PowerOff };
            }
        }
        // With a fast clock the guest is always due; others want the thread, too.
        tokio::task::yield_now().await;
    }
}

/// What a machine does beside the guest: showing what was drawn, and taking what is typed.
struct Hands<'a> {
    display: &'a ServerHandle,
    inputs: &'a mut mpsc::Receiver<ServerEvent>,
    keyboard: Keyboard,
    faults: &'a Faults,
}

impl Hands<'_> {
    /// Shows what the guest has made beyond a first picture, each picture for as long as it takes to be seen: a real
    /// machine needs its time for drawing, too, and none of its pictures is gone before anybody could look.
    async fn show(&mut self, board: &mut Board) {
        while let Some(strokes) = board.pictures.pop_front() {
            let display = self.display;
            self.type_until(display.seen(SEEN_WITHIN)).await;
            let _picture = display.picture();
            strokes.into_iter().for_each(|stroke| stroke.draw(display));
        }
    }

    /// Takes what is typed until something has happened.
    async fn type_until(&mut self, happened: impl Future<Output = ()>) {
        let mut happened = std::pin::pin!(happened);
        loop {
            // Cancel safety: an event that loses the race stays in the channel.
            tokio::select! {
                biased;
                Some(event) = self.inputs.recv(), if !self.keyboard.is_full() => {
                    if let ServerEvent::Input { input, .. } = event {
                        take(input, self.display, &mut self.keyboard, self.faults);
                    }
                }
                () = &mut happened => return,
            }
        }
    }
}

fn take(input: InputEvent, display: &ServerHandle, keyboard: &mut Keyboard, faults: &Faults) {
    let before = keyboard.lights();
    match input {
        InputEvent::Key { code, is_down } => {
            faults.key(code, is_down, |is_down| keyboard.handle_key(code, is_down));
        }
        InputEvent::Lights(lights) => keyboard.set_lights(lights),
        // The machine has a tablet, and its server says where the pointer is put; the guest reads no pointer, here as under
        // QEMU.
        InputEvent::MouseMotion { .. }
        | InputEvent::MousePosition { .. }
        | InputEvent::MouseButton { .. } => {}
    }
    if keyboard.lights() != before {
        display.set_lights(keyboard.lights());
    }
}

/// The guest's platform.
struct Board {
    display: ServerHandle,
    /// Whether a first picture is being made, which needs not wait.
    is_shown_at_once: bool,
    size: Size,
    serial: File,
    /// What was said and is not in the file yet.
    said: String,
    faults: Faults,
    /// What the guest has drawn and nobody has been shown yet.
    pictures: VecDeque<Vec<Stroke>>,
    /// Of the picture that is being made.
    strokes: Vec<Stroke>,
    began: Instant,
}

/// What a guest does to its screen.
enum Stroke {
    /// It has this size from now on, and is black.
    Mode(Size),
    /// These pixels, from there to the right and down.
    Piece { x: u32, y: u32, width: u32, pixels: Vec<u8> },
}

impl Stroke {
    fn draw(self, display: &ServerHandle) {
        let drawn = match self {
            Self::Mode(Size { width, height }) => display.set_screen(width, height),
            Self::Piece { x, y, width, pixels } => display.draw(x, y, width, &pixels),
        };
        if let Err(error) = drawn {
            tracing::warn!(%error, "what the guest has drawn cannot be shown");
        }
    }
}

impl Board {
    fn make(&mut self, stroke: Stroke) {
        if self.is_shown_at_once {
            stroke.draw(&self.display);
        } else {
            self.strokes.push(stroke);
        }
    }

    fn flush_serial(&mut self) -> io::Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        if self.faults.concern_lines() {
            return self.flush_lines();
        }
        let written = self.serial.write_all(self.said.as_bytes());
        self.said.clear();
        written
    }

    /// Writes the lines that are not lost; the last one waits for its end.
    fn flush_lines(&mut self) -> io::Result<()> {
        let end = self.said.rfind('\n').map_or(0, |at| at + 1);
        let lines: String = self.said.drain(..end).collect();
        let is_kept = |line: &&str| !self.faults.lose(line.trim_end_matches(['\r', '\n']));
        let kept: String = lines.split_inclusive('\n').filter(is_kept).collect();
        self.serial.write_all(kept.as_bytes())
    }

    /// Writes what there is to the end.
    fn finish_serial(&mut self) -> io::Result<()> {
        self.flush_serial()?;
        self.serial.write_all(std::mem::take(&mut self.said).as_bytes())
    }
}

impl Platform for Board {
    fn size(&self) -> Size {
        self.size
    }

    fn set_mode(&mut self, index: usize) {
        let Some(&(width, height)) = MODES.get(index) else { return };
        self.size = Size::new(width, height);
        self.make(Stroke::Mode(self.size));
    }

    fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
        let width = piece.width();
        let mut pixels = Vec::new();
        for row in 0..piece.height() {
            pixels.extend_from_slice(piece.row(row, 0..width));
        }
        self.make(Stroke::Piece { x, y, width, pixels });
    }

    fn finish_picture(&mut self) {
        if !std::mem::take(&mut self.is_shown_at_once) {
            self.pictures.push_back(std::mem::take(&mut self.strokes));
        }
    }

    fn write_serial(&mut self, text: &str) {
        self.said.push_str(text);
    }

    fn ticks(&mut self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

const TICKS_PER_MS: u64 = 1_000;
/// For a client to show a picture. Who takes longer misses some.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// What OVMF offers on a QXL card, in its order.
#[rustfmt::skip]
const MODES: [(u32, u32); 30] = [
    (640, 480), (800, 480), (800, 600), (832, 624), (960, 640), (1024, 600), (1024, 768), (1152, 864), (1152, 870),
    (1280, 720), (1280, 760), (1280, 768), (1280, 800), (1280, 960), (1280, 1024), (1360, 768), (1366, 768),
    (1400, 1050), (1440, 900), (1600, 900), (1600, 1200), (1680, 1050), (1920, 1080), (1920, 1200), (1920, 1440),
    (2000, 2000), (2048, 1536), (2048, 2048), (2560, 1440), (2560, 1600),
];
