//! The `authpost` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    authpost::cmd::main()
}
