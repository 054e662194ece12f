//! The program of the live system that writes a machine's disk: arguments in, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    bootwright::deploy::main()
}
