//! Readers of evidence with a verdict. A judge here is pure: pixels, lines, records and the time are its arguments, and
//! it never opens, sends or waits for anything; whoever owns a wire feeds it.
//!
//! Start reading at [`digest`] (what a screen claims) and [`drain`] (what the serial port says in the end).

pub mod digest;
pub mod drain;
