//! The locked bootloader: it asks, can be retried, ignored or left, and wants a password pasted.

use crate::guest::Guest;
use crate::platform::{Flow, Key, Platform};
use crate::story::{BOOTLOADER_ROW, LINE_PAUSE_MS, Scene};
use visual_digest::{Choice, Record};

const PROMPT_ROW: u32 = BOOTLOADER_ROW + 2;
const NOTE_ROW: u32 = PROMPT_ROW + 1;
const PAYLOAD_ROW: u32 = PROMPT_ROW + 2;
const INPUT_ROW: u32 = PROMPT_ROW + 4;
const VERDICT_ROW: u32 = PROMPT_ROW + 5;

const RETRY_DOTS: usize = 8;
const DOT_MS: u64 = 200;
/// From this many retries on a note is shown below the prompt.
const PATIENCE: u32 = 5;

const EXPECTED: &str = "sextant{HELLO_OPERATOR}";
/// [`EXPECTED`] in base64.
const PAYLOAD: &str = "c2V4dGFudHtIRUxMT19PUEVSQVRPUn0=";
const INPUT_PROMPT: &str = "Speak, then press Enter > ";
const SILENCE_MS: u64 = 60_000;
const WRONG_PASTES: u32 = 3;
const ACCEPTED_PAUSE_MS: u64 = 600;

const COUNTDOWN_S: u32 = 30;
const COUNTDOWN_STEP_MS: u64 = 1000;
const HALT_MS: u64 = 5000;

/// Where the bootloader is. Times are those of the story.
#[derive(Clone, Copy)]
pub(crate) enum Bootloader {
    /// The telemetry lines before `next_row` are there.
    Checking {
        next_row: u32,
        due_ms: u64,
    },
    Prompt {
        attempt: u32,
    },
    /// Answered with retry at `attempt`; so many dots are there.
    Retrying {
        attempt: u32,
        dots: usize,
        due_ms: u64,
    },
    Listening(Paste),
    Accepted {
        due_ms: u64,
    },
    Countdown {
        left_s: u32,
        due_ms: u64,
    },
    Halted {
        due_ms: u64,
    },
}

/// A paste as far as it has come.
#[derive(Clone, Copy)]
pub(crate) struct Paste {
    buffer: [u8; Self::CAPACITY],
    len: usize,
    /// How many pastes before this one were wrong.
    wrong: u32,
    /// When silence becomes a timeout.
    silent_ms: u64,
}

impl Paste {
    const CAPACITY: usize = 64;

    fn new(wrong: u32, now_ms: u64) -> Self {
        Self { buffer: [0; Self::CAPACITY], len: 0, wrong, silent_ms: now_ms + SILENCE_MS }
    }

    fn push(&mut self, byte: u8) {
        self.buffer[self.len] = byte;
        self.len += 1;
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.buffer[..self.len]).expect("only printable ASCII is taken")
    }
}

impl<P: Platform> Guest<P> {
    pub(crate) fn enter_bootloader(&mut self) {
        self.render_check(BOOTLOADER_ROW);
    }

    pub(crate) fn handle_bootloader_key(&mut self, bootloader: Bootloader, key: Key) {
        match bootloader {
            Bootloader::Prompt { attempt } => self.answer_prompt(attempt, key),
            Bootloader::Listening(paste) => self.hear(paste, key),
            Bootloader::Checking { .. }
            | Bootloader::Retrying { .. }
            | Bootloader::Accepted { .. }
            | Bootloader::Countdown { .. }
            | Bootloader::Halted { .. } => {}
        }
    }

    pub(crate) fn poll_bootloader(&mut self, bootloader: Bootloader) {
        let now = self.story_ms;
        match bootloader {
            Bootloader::Checking { next_row, due_ms } if now >= due_ms => {
                if next_row == PROMPT_ROW {
                    self.show_prompt(1)
                } else {
                    self.render_check(next_row)
                }
            }
            Bootloader::Retrying { attempt, dots, due_ms } if now >= due_ms => {
                self.animate_retry(attempt, dots + 1);
            }
            Bootloader::Listening(paste) if now >= paste.silent_ms => self.time_out(),
            Bootloader::Accepted { due_ms } if now >= due_ms => self.leave_bootloader(),
            Bootloader::Countdown { left_s, due_ms } if now >= due_ms => self.count_down(left_s - 1),
            Bootloader::Halted { due_ms } if now >= due_ms => self.scene = Scene::Ended(Flow::PowerOff),
            _ => {}
        }
    }

    fn render_check(&mut self, row: u32) {
        if row == BOOTLOADER_ROW {
            self.render_telemetry(row, "Harbour chain", "ACROSS");
        } else {
            self.render_telemetry(row, "Bootloader", "LOCKED");
        }
        let due_ms = self.story_ms + LINE_PAUSE_MS;
        self.scene = Scene::Locked(Bootloader::Checking { next_row: row + 1, due_ms });
    }

    fn show_prompt(&mut self, attempt: u32) {
        let question = "The harbour master waits: (R)etry, (I)gnore, (A)bort?";
        if attempt == 1 {
            self.render_line(PROMPT_ROW, format_args!("{question}"));
        } else {
            self.render_line(PROMPT_ROW, format_args!("{question} (attempt {attempt})"));
        }
        if attempt > PATIENCE {
            self.show_note();
        }
        self.scene = Scene::Locked(Bootloader::Prompt { attempt });
    }

    fn show_note(&mut self) {
        self.render_line(NOTE_ROW, format_args!("He has heard you. It is not the asking that is missing."));
    }

    fn answer_prompt(&mut self, attempt: u32, key: Key) {
        let choice = match key.unicode.to_ascii_lowercase() {
            'r' => Choice::Retry,
            'i' => Choice::Ignore,
            'a' => Choice::Abort,
            _ => return,
        };
        self.push_record(|timestamp_ms| Record::BootloaderDecision { choice, attempt, timestamp_ms });
        match choice {
            Choice::Retry => self.animate_retry(attempt, 0),
            Choice::Ignore => self.ask_for_paste(),
            Choice::Abort => self.scene = Scene::Ended(Flow::Reset),
        }
    }

    fn animate_retry(&mut self, attempt: u32, dots: usize) {
        self.screen.write_row(PROMPT_ROW, format_args!("Hailing again{:.<dots$}", ""));
        if dots == 0 {
            self.present();
        } else {
            self.refresh();
        }
        if dots < RETRY_DOTS {
            let due_ms = self.story_ms + DOT_MS;
            self.scene = Scene::Locked(Bootloader::Retrying { attempt, dots, due_ms });
            return;
        }
        if attempt == PATIENCE {
            // The note appears before the prompt this once, and after it from then on.
            self.show_note();
        }
        self.show_prompt(attempt.saturating_add(1));
    }

    fn ask_for_paste(&mut self) {
        self.screen.clear_rows(PROMPT_ROW..=NOTE_ROW);
        self.render_line(
            PROMPT_ROW,
            format_args!("Ignored. He shows a slip of paper, and wants it read to him:"),
        );
        self.render_line(PAYLOAD_ROW, format_args!("    {PAYLOAD}"));
        self.render_line(INPUT_ROW, format_args!("{INPUT_PROMPT}"));
        self.listen(0);
    }

    fn listen(&mut self, wrong: u32) {
        self.scene = Scene::Locked(Bootloader::Listening(Paste::new(wrong, self.story_ms)));
    }

    fn hear(&mut self, mut paste: Paste, key: Key) {
        paste.silent_ms = self.story_ms + SILENCE_MS;
        if key.is_enter() {
            return self.judge(paste);
        }
        if let (' '..='~', Ok(byte)) = (key.unicode, u8::try_from(key.unicode)) {
            paste.push(byte);
            self.screen.write_row(INPUT_ROW, format_args!("{INPUT_PROMPT}{}", paste.text()));
            self.refresh();
        }
        if paste.len == Paste::CAPACITY {
            return self.judge(paste);
        }
        self.scene = Scene::Locked(Bootloader::Listening(paste));
    }

    fn judge(&mut self, paste: Paste) {
        let correct = paste.text() == EXPECTED;
        let len = u32::try_from(paste.len).expect("at most CAPACITY");
        self.push_record(|timestamp_ms| Record::PasteReceived { len, correct, timestamp_ms });
        self.refresh();
        let wrong = paste.wrong + 1;
        if correct {
            self.accept();
        } else if wrong < WRONG_PASTES {
            self.ask_again(wrong);
        } else {
            self.time_out();
        }
    }

    fn accept(&mut self) {
        self.screen.clear_rows(BOOTLOADER_ROW..=INPUT_ROW);
        self.refresh();
        self.render_line(PROMPT_ROW, format_args!("The chain is lowered."));
        let due_ms = self.story_ms + ACCEPTED_PAUSE_MS;
        self.scene = Scene::Locked(Bootloader::Accepted { due_ms });
    }

    fn ask_again(&mut self, wrong: u32) {
        self.screen.write_row(INPUT_ROW, format_args!("{INPUT_PROMPT}"));
        self.push_record(|timestamp_ms| Record::LineRendered { row: INPUT_ROW, timestamp_ms });
        self.render_line(VERDICT_ROW, format_args!("(wrong, attempt {wrong} of {WRONG_PASTES})"));
        self.listen(wrong);
    }

    fn time_out(&mut self) {
        self.push_record(|timestamp_ms| Record::BootloaderTimeout { timestamp_ms });
        self.screen.clear_rows(BOOTLOADER_ROW..=VERDICT_ROW);
        self.refresh();
        self.count_down(COUNTDOWN_S);
    }

    fn count_down(&mut self, left_s: u32) {
        self.screen.write_row(PROMPT_ROW, format_args!("The tide turns in {left_s:02} s."));
        self.refresh();
        if left_s > 0 {
            let due_ms = self.story_ms + COUNTDOWN_STEP_MS;
            self.scene = Scene::Locked(Bootloader::Countdown { left_s, due_ms });
            return;
        }
        self.render_line(PAYLOAD_ROW, format_args!("The tide has turned. Lights out."));
        let due_ms = self.story_ms + HALT_MS;
        self.scene = Scene::Locked(Bootloader::Halted { due_ms });
    }
}

const _: () = assert!(INPUT_PROMPT.len() == 26 && EXPECTED.len() == 23);
