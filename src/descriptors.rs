//! The limit on open files. Each connection is an open file; the public listener gets a share of
//! them, and the rest is reserved for the queue, WorkOS and the relay.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Reserved for everything but the public listener: standard streams, the runtime, the database,
/// the broker, Redis, the private listener.
const KEPT: u64 = 64;

/// A worker's task has at most a connection to WorkOS, one to the relay, and the one that replaces
/// a stale one.
const PER_TASK: u64 = 3;

/// A sign-in has a connection of its own to WorkOS, and one for memberships.
const PER_CALL: u64 = 2;

/// Raises this process's soft limit to its hard limit. A refusal is no failure: [`connections`]
/// respects whatever the limit is.
pub fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, soft, "cannot raise the limit on open files");
    }
}

/// How many of the `wanted` connections the public listener may hold, beside a worker with so many
/// tasks and so many calls to WorkOS that sign-ins cause.
pub fn connections(wanted: usize, tasks: usize, calls: usize) -> usize {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let granted = share(limit, wanted, tasks, calls);
    if granted < wanted {
        tracing::warn!(
            limit,
            wanted,
            granted,
            "the limit on open files allows fewer connections than AUTHPOST_MAX_CONNECTIONS; \
             raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    granted
}

fn share(limit: u64, wanted: usize, tasks: usize, calls: usize) -> usize {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let reserved = count(tasks)
        .saturating_mul(PER_TASK)
        .saturating_add(count(calls).saturating_mul(PER_CALL))
        .saturating_add(KEPT);
    let left = usize::try_from(limit.saturating_sub(reserved)).unwrap_or(usize::MAX);
    wanted.min(left.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_keeps_its_share() {
        assert_eq!(share(20_000, 4096, 32, 64), 4096);
        assert_eq!(share(1024, 4096, 32, 64), 1024 - 64 - 96 - 128);
        assert_eq!(share(10, 4096, 32, 0), 1, "a front that takes nothing would be no front");
    }
}
