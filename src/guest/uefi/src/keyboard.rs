//! The firmware's text input, emptied as soon as anything is in it.
//!
//! The keyboard controller holds 16 bytes only. A fast paste overruns it when it is read once a poll, so keys are
//! fetched the moment they arrive and kept until the poll.

use alloc::vec::{Drain, Vec};
use sextant::Key;
use uefi::boot;
use uefi::proto::console::text::Key as FirmwareKey;
use uefi::{Event, ResultExt, system};

/// Keys beyond this many between two polls are dropped, so that a stuck device cannot exhaust memory.
const MOST_KEYS: usize = 1024;

pub(crate) struct Keyboard {
    keys: Vec<Key>,
}

impl Keyboard {
    pub(crate) fn new() -> Self {
        Self { keys: Vec::with_capacity(64) }
    }

    /// Waits for `timer` and collects the keys that arrive until then.
    pub(crate) fn wait_until(&mut self, timer: &Event) -> uefi::Result {
        loop {
            // The timer stands first: keys that never cease must not hide it.
            let is_due = match system::with_stdin(|input| input.wait_for_key_event()) {
                Ok(arrival) => {
                    // SAFETY: the firmware owns the event of its text input, which stays for as long as we run.
                    let timer = unsafe { timer.unsafe_clone() };
                    boot::wait_for_event(&[timer, arrival]).discard_errdata()? == 0
                }
                Err(_) => {
                    // SAFETY: as above; both handles name the same event, which is never closed.
                    let timer = unsafe { timer.unsafe_clone() };
                    boot::wait_for_event(&[timer]).discard_errdata()? == 0
                }
            };
            self.collect();
            if is_due {
                return Ok(());
            }
        }
    }

    /// Returns the keys collected so far, oldest first.
    pub(crate) fn take_keys(&mut self) -> Drain<'_, Key> {
        self.keys.drain(..)
    }

    fn collect(&mut self) {
        while let Ok(Some(key)) = system::with_stdin(|input| input.read_key()) {
            if self.keys.len() < MOST_KEYS {
                self.keys.push(translate(key));
            }
        }
    }
}

fn translate(key: FirmwareKey) -> Key {
    match key {
        FirmwareKey::Printable(character) => Key::character(char::from(character)),
        FirmwareKey::Special(code) => Key::special(code.0),
    }
}
