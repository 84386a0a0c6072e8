//! The reference guest as a UEFI application: real keys, a real screen and a serial port for the `sextant` package.
//!
//! It waits on firmware events only and never spins, so that an idle guest costs its host next to nothing. Start
//! reading at [`main`]; `display`, `keyboard` and `serial` are the devices.
#![no_main]
#![no_std]

extern crate alloc;

mod display;
mod keyboard;
mod machine;
mod serial;

use core::time::Duration;
use keyboard::Keyboard;
use machine::Machine;
use serial::SerialPort;
use sextant::{BANNER, Flow, Guest, POLL_MS};
use uefi::Event;
use uefi::boot::{self, EventType, TimerTrigger, Tpl};
use uefi::prelude::{Status, entry};
use uefi::runtime::{self, ResetType};

#[entry]
fn main() -> Status {
    let mut serial = SerialPort::first();
    serial.write(BANNER);
    serial.write("\r\n");
    // The firmware resets a machine whose application says nothing for five minutes. Without a watchdog all is well too.
    let _ = boot::set_watchdog_timer(0, 0, None);
    match play(serial) {
        Ok(flow) => leave(flow),
        Err(error) => error.status(),
    }
}

fn play(serial: SerialPort) -> uefi::Result<Flow> {
    let display = display::open()?;
    let ticks_per_ms = machine::calibrate();
    let modes = display.modes().collect();
    let timer = poll_timer()?;
    let mut keyboard = Keyboard::new();
    let mut guest = Guest::boot(Machine { display, serial }, modes, ticks_per_ms);
    loop {
        keyboard.wait_until(&timer)?;
        let flow = guest.poll(keyboard.take_keys());
        if flow != Flow::Continue {
            return Ok(flow);
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

fn leave(flow: Flow) -> ! {
    let reset = if flow == Flow::Reset { ResetType::COLD } else { ResetType::SHUTDOWN };
    runtime::reset(reset, Status::SUCCESS, None)
}
