//! Journal events in, text out. A report steers nothing and writes only to the writer it is given.
//!
//! Start reading at [`terminal`]: what a person sees while a run goes on, and what stays when it is piped. [`doctor`]
//! is what `backstaff doctor` says, [`html`] the page of a finished run, [`why`] the cause of its failure.

pub mod doctor;
pub mod failure;
pub mod html;
pub mod lane;
pub mod lanes;
pub mod plan;
pub mod replay;
pub mod source;
pub mod style;
pub mod terminal;
pub mod why;
