//! Arguments in, a command's `run`, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    bootwright::cli::main()
}
