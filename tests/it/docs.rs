//! The pages for people are true: examples run, command lines and profiles are ones that the program takes, transcripts
//! are what it says, links lead somewhere, tables are complete.
//!
//! Which blocks there are, and what is done with each, is in `docs/ARCHITECTURE.md`, "Examples on the pages".

mod commands;
mod data;
mod keys;
mod links;
mod page;
mod scripts;
mod transcripts;
