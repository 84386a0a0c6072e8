//! The first serial port, by its registers: the firmware's own driver loses text when the other side is slow.

use core::arch::asm;

const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
const SENDER_EMPTY: u8 = 0x20;
/// What an address without a device reads as.
const ABSENT: u8 = 0xFF;
/// More than a second of polling; a side that takes nothing for so long is taken to be gone.
const PATIENCE: u32 = 1_000_000;

/// A serial port, set up by the firmware; without one, or after the other side has gone, text goes nowhere.
pub(crate) struct SerialPort {
    is_usable: bool,
}

impl SerialPort {
    pub(crate) fn first() -> Self {
        Self { is_usable: read(LINE_STATUS) != ABSENT }
    }

    pub(crate) fn write(&mut self, text: &str) {
        for byte in text.bytes() {
            self.is_usable = self.is_usable && (0..PATIENCE).any(|_| read(LINE_STATUS) & SENDER_EMPTY != 0);
            if !self.is_usable {
                return;
            }
            write(COM1, byte);
        }
    }
}

fn read(port: u16) -> u8 {
    let value;
    // SAFETY: reading a serial port's line status changes no memory; on an address without a device it reads 0xFF.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

fn write(port: u16, value: u8) {
    // SAFETY: writing to a serial port's data register changes no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}
