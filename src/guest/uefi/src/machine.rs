//! The machine as the guest's platform.

use crate::display::Display;
use crate::serial::SerialPort;
use core::arch::x86_64::_rdtsc;
use core::time::Duration;
use sextant::{Frame, Platform, Size};
use uefi::boot;

pub(crate) struct Machine {
    pub(crate) display: Display,
    pub(crate) serial: SerialPort,
}

impl Platform for Machine {
    fn size(&self) -> Size {
        self.display.size()
    }

    fn set_mode(&mut self, index: usize) {
        self.display.set_mode(index);
    }

    fn present(&mut self, piece: Frame<'_>, x: u32, y: u32) {
        self.display.present(piece, x, y);
    }

    fn write_serial(&mut self, text: &str) {
        self.serial.write(text);
    }

    fn ticks(&mut self) -> u64 {
        ticks()
    }
}

/// Returns how many ticks a millisecond has; 0 when the counter stands still.
pub(crate) fn calibrate() -> u64 {
    const CALIBRATION_MS: u64 = 100;
    let begin = ticks();
    boot::stall(Duration::from_millis(CALIBRATION_MS));
    ticks().saturating_sub(begin) / CALIBRATION_MS
}

fn ticks() -> u64 {
    // SAFETY: every x86_64 processor has a time stamp counter.
    unsafe { _rdtsc() }
}
