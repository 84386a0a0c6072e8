//! The portable core of the reference guest: its story, its screen and its record.
#![no_std]
