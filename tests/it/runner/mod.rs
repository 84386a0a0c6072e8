//! Integration tests of `backstaff::runner`: whole runs of the program against real machines.
mod attached;
mod faults;
mod folders;
mod kills;
mod lanes;
mod list;
mod parallel;
mod runaway;
mod selection;
mod several;
mod sim;
mod story;
mod verdicts;
mod warm;
