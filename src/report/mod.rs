//! Journal events in, text out. A report steers nothing and writes only to the writer it is given.
//!
//! Start reading at [`terminal`]: what a person sees while a run goes on, and what stays when it is piped. [`doctor`]
//! is what `backstaff doctor` says.

pub mod doctor;
pub mod failure;
pub mod lane;
pub mod lanes;
pub mod list;
pub mod plan;
pub mod replay;
pub mod style;
pub mod terminal;
