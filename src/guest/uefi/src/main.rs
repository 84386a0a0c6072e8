//! The reference guest as a UEFI application: real keys, a real screen and a serial port for the `sextant` package.
//!
//! It waits on firmware events only and never spins, so that an idle guest costs its host next to nothing. Start
//! reading at `play`; `display`, `keyboard` and `serial` are the devices.
#![no_main]
#![no_std]

extern crate alloc;

mod display;
mod keyboard;
mod machine;
mod serial;

use alloc::format;
use keyboard::Keyboard;
use machine::Machine;
use serial::SerialPort;
use sextant::{BANNER, Flow, Guest};
use uefi::boot;
use uefi::prelude::{Status, entry};
use uefi::runtime::{self, ResetType};

/// The first watchdog code that is not the firmware's.
const WATCHDOG_CODE: u64 = 0x1_0000;

#[entry]
fn main() -> Status {
    let mut serial = SerialPort::first();
    serial.write(BANNER);
    serial.write("\r\n");
    // The firmware resets a machine whose application runs for five minutes. It may have no watchdog at all.
    let _ = boot::set_watchdog_timer(0, WATCHDOG_CODE, None);
    let reset = match play() {
        Ok(Flow::Reset) => ResetType::COLD,
        Ok(Flow::Continue | Flow::PowerOff) => ResetType::SHUTDOWN,
        Err(error) => {
            let status = error.status();
            serial.write(&format!("the firmware gave no screen or no timer: {status}\r\n"));
            ResetType::SHUTDOWN
        }
    };
    runtime::reset(reset, Status::SUCCESS, None)
}

/// Plays the story to its end.
fn play() -> uefi::Result<Flow> {
    let display = display::open()?;
    let ticks_per_ms = machine::calibrate();
    let modes = display.modes().collect();
    let mut keyboard = Keyboard::new()?;
    let mut guest = Guest::boot(Machine { display, serial: SerialPort::first() }, modes, ticks_per_ms);
    loop {
        let flow = guest.poll(keyboard.wait_for_poll()?);
        if flow != Flow::Continue {
            return Ok(flow);
        }
    }
}
