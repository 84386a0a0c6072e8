//! Everything that is observed or done during an attempt, in one order.
//!
//! Producers only append and never block on a reader. A wait is a question to the journal ("the first event of
//! this stream after my cursor that matches"), a report is a reader of it. The journal judges nothing.
//!
//! Start reading at [`Journal`]; [`event`] holds the shapes, [`matching`] what scripts can ask for, [`ndjson`]
//! the form on disk, [`run`] the journal of a whole run.

pub mod event;
pub mod matching;
pub mod ndjson;
pub mod run;
mod store;

pub use event::{Body, Event, ObservedDigest, Source};
pub use store::{Cursor, Journal, STREAM_LIMIT};
