//! The firmware's text input, emptied as soon as anything is in it.
//!
//! The keyboard controller holds 16 bytes only. A fast paste overruns it when it is read once a poll, so keys are
//! fetched the moment they arrive and kept until the poll.

use alloc::vec::{Drain, Vec};
use core::time::Duration;
use sextant::{Key, POLL_MS};
use uefi::boot::{self, EventType, TimerTrigger, Tpl};
use uefi::proto::console::text::Key as FirmwareKey;
use uefi::{Event, ResultExt, system};

/// So many keys are kept between two polls; the firmware holds the rest back.
const MOST_KEYS: usize = 1024;
/// Where the timer stands among the events: first, so that keys which never cease cannot hide it.
const TIMER: usize = 0;

pub(crate) struct Keyboard {
    events: Vec<Event>,
    keys: Vec<Key>,
}

impl Keyboard {
    pub(crate) fn new() -> uefi::Result<Self> {
        let mut events = Vec::from([poll_timer()?]);
        // Firmware without such an event is asked for keys at every poll instead.
        events.extend(system::with_stdin(|input| input.wait_for_key_event()).ok());
        Ok(Self { events, keys: Vec::new() })
    }

    /// Waits for the next poll and returns the keys that arrived until then, oldest first.
    pub(crate) fn wait_for_poll(&mut self) -> uefi::Result<Drain<'_, Key>> {
        loop {
            let signaled = boot::wait_for_event(&self.events).discard_errdata()?;
            self.collect();
            if signaled == TIMER {
                return Ok(self.keys.drain(..));
            }
        }
    }

    fn collect(&mut self) {
        while self.keys.len() < MOST_KEYS
            && let Ok(Some(key)) = system::with_stdin(|input| input.read_key())
        {
            self.keys.push(translate(key));
        }
    }
}

/// Returns an event which is signaled every [`POLL_MS`]; a period, so that drawing does not make the waits longer.
fn poll_timer() -> uefi::Result<Event> {
    // SAFETY: an event without a notification function calls nothing.
    let timer = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) }?;
    boot::set_timer(&timer, TimerTrigger::Periodic(Duration::from_millis(POLL_MS)))?;
    Ok(timer)
}

fn translate(key: FirmwareKey) -> Key {
    match key {
        FirmwareKey::Printable(character) => Key::character(char::from(character)),
        FirmwareKey::Special(code) => Key::special(code.0),
    }
}
