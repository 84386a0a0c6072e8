//! Journal events in, text out. A report steers nothing and writes only to the writer it is given.
//!
//! Start reading at [`terminal`]: what a person sees while a run goes on, and what stays when it is piped. [`story`] is
//! what a finished run comes to; [`target`] writes it as [`junit`], [`tap`], [`ndjson`] or [`subunit`], and [`github`]
//! for that place. [`html`] is the page of a run, [`why`] the cause of its failure. [`merge`] makes one run of several,
//! [`flakes`] reads many. [`doctor`] is what `backstaff doctor` says.

pub mod check;
pub mod doctor;
pub mod evidence;
pub mod failure;
pub mod flakes;
pub mod github;
pub mod html;
pub mod junit;
pub mod lane;
pub mod lanes;
pub mod list;
pub mod merge;
pub mod ndjson;
pub mod plan;
pub mod recorded;
pub mod replay;
pub mod source;
pub mod story;
pub mod style;
pub mod subunit;
pub mod summary;
pub mod tap;
pub mod target;
pub mod terminal;
mod text;
pub mod timings;
pub mod why;

pub use target::{ReportTarget, TargetError, WriteError, write};
