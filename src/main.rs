//! The `authpost` command.

use std::{alloc::System, process::ExitCode};

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed. Codes pass through buffers and strings of a dozen libraries.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    authpost::memory::forbid_dumps();
    authpost::cmd::main()
}
