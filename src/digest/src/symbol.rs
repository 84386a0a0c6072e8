//! A payload as the modules of a symbol, and back from its place on a frame.
//!
//! The symbol is pinned: version 5, error correction level L, one segment in byte mode.

use crate::frame::SYMBOL_MODULES;
use crate::payload::Payload;
use qrcodegen_no_heap::{QrCode, QrCodeEcc, Version};

#[cfg(feature = "host")]
mod read;

#[cfg(feature = "host")]
pub use read::{ReadError, read};

const VERSION: Version = Version::new(5);
const SIDE: usize = SYMBOL_MODULES as usize;

/// The modules of a symbol, without the border around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Bit `x` of `rows[y]` is the module in column `x` of row `y`.
    rows: [u64; SIDE],
}

impl Symbol {
    /// Encodes a payload; the mask is the one with the least penalty, as the QR standard asks.
    pub fn encode(payload: &Payload) -> Self {
        let mut data = [0; VERSION.buffer_len()];
        let mut out = [0; VERSION.buffer_len()];
        let bytes = payload.as_bytes();
        data[..bytes.len()].copy_from_slice(bytes);
        let level = QrCodeEcc::Low;
        let code =
            QrCode::encode_binary(&mut data, bytes.len(), &mut out, level, VERSION, VERSION, None, false)
                .expect("a version 5-L symbol holds MAX_PAYLOAD bytes");
        let mut rows = [0; SIDE];
        for (y, row) in (0..).zip(&mut rows) {
            for x in 0..code.size() {
                *row |= u64::from(code.get_module(x, y)) << x;
            }
        }
        Self { rows }
    }

    /// Returns whether the module is set, that is bright on the screen; `false` outside the symbol.
    pub fn is_set(&self, x: u32, y: u32) -> bool {
        let row = usize::try_from(y).ok().and_then(|y| self.rows.get(y));
        row.is_some_and(|row| x < SYMBOL_MODULES && row >> x & 1 == 1)
    }
}
