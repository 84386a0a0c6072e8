//! Parse, run, and map the outcome to an exit code; everything else is in the library.

fn main() {
    let code = backstaff::cli::main();
    // Threads of scripts that could not be stopped must not keep the process.
    std::process::exit(i32::from(code.0));
}
