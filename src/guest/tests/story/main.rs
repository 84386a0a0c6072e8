//! The guest's promises, scene by scene, on an invented machine with an invented clock.

mod awaiting;
mod bootloader;
mod lab;
mod modes;
mod parked;
mod paste;
mod script;
