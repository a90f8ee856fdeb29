//! The `sealstone` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealstone::cli::main()
}
