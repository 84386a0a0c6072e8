//! Integration tests of `backstaff::runner`: whole runs of the program against real machines.
mod folders;
mod lanes;
mod runaway;
mod selection;
mod verdicts;
mod warm;
