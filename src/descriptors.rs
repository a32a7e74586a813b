//! The limit on open files. Each connection is an open file; the public listener gets a share of
//! them, and the rest is reserved for the queue, WorkOS and the relay.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Reserved for everything but the public listener: standard streams, the runtime, the database,
/// the broker, Redis, the private listener.
const KEPT: u64 = 64;

/// A worker's task has at most a connection to WorkOS, one to the relay, and the one that replaces
/// a stale one.
const PER_TASK: u64 = 3;

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
/// tasks.
pub fn connections(wanted: usize, tasks: usize) -> usize {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let granted = share(limit, wanted, tasks);
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

fn share(limit: u64, wanted: usize, tasks: usize) -> usize {
    let worker = u64::try_from(tasks).unwrap_or(u64::MAX).saturating_mul(PER_TASK);
    let left =
        usize::try_from(limit.saturating_sub(KEPT).saturating_sub(worker)).unwrap_or(usize::MAX);
    wanted.min(left.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_keeps_its_share() {
        assert_eq!(share(20_000, 4096, 32), 4096);
        assert_eq!(share(1024, 4096, 32), 1024 - 64 - 96);
        assert_eq!(share(10, 4096, 32), 1, "a front that takes nothing would be no front");
    }
}
