//! The judges, fed with synthetic screens and drains.
mod digest;
mod reconcile;
