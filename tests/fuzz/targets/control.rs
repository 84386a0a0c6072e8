#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| backstaff::fuzzing::run("control", data));
