//! Integration tests of `backstaff::repl`: the program as somebody at a terminal uses it.
mod hold;
mod lane;
mod piped;
mod session;
mod terminal;
