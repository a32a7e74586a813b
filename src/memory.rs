//! Keeps the memory of the process, which holds codes and keys, out of files.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// Switches core dumps off, and keeps other processes of the same user from reading this one's
/// memory (`PR_SET_DUMPABLE` in prctl(2)). A refusal is no failure: nothing depends on it.
pub fn forbid_dumps() {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap_or_default();
    prctl::set_dumpable(false).unwrap_or_default();
}
