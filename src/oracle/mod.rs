//! Readers of evidence with a verdict. A judge here is pure: pixels, lines, records and the time are its arguments, and
//! it never opens, sends or waits for anything; whoever owns a wire feeds it.
//!
//! Start reading at [`digest`] (what a screen claims), [`drain`] (what the serial port says in the end) and
//! [`reconcile`] (whether the two tell the same story).

pub mod digest;
pub mod drain;
pub mod reconcile;
