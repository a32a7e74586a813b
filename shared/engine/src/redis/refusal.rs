//! What errors of the library and refusals of a server mean.

use domain::fault::{Fault, Reason};
use redis::{RedisError, ServerErrorKind};

/// A reply that none of our scripts gives.
pub(super) fn unexpected_reply() -> Fault {
    unavailable("an unexpected reply")
}

pub(super) fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::DedupeUnavailable, detail)
}

pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether the connection must not be used again: its state is in question, or the server is not the
/// one that takes writes (any more).
pub(super) fn is_unusable_after(error: &RedisError) -> bool {
    use redis::ErrorKind::{AuthenticationFailed, Parse, Server};
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || matches!(error.kind(), Parse | AuthenticationFailed)
        || matches!(
            error.kind(),
            Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::ClusterDown
            )
        )
}

/// Every error is transient for an event: what is refused today can be fixed by an operator while the
/// event waits in the queue.
pub(super) fn classify(error: &RedisError) -> Fault {
    use redis::ErrorKind;
    unavailable(match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no reply in time",
        ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
        ErrorKind::Io => "the connection broke",
        ErrorKind::AuthenticationFailed => PASSWORD,
        _ => refusal(error),
    })
}

const PASSWORD: &str = "the user name or password was refused";

/// What a server means by the code of its error, or by one within the error of a script, where
/// releases before 7 have it.
fn refusal(error: &RedisError) -> &'static str {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let is = |wanted: &str| code == wanted || detail.contains(&format!("-{wanted} "));
    let known = [
        ("READONLY", "this server is a read-only replica"),
        ("LOADING", "the server is loading its data"),
        ("MASTERDOWN", "the replica has lost its master"),
        ("OOM", "the memory of the server is full (maxmemory), and it evicts nothing"),
        ("MISCONF", "the server cannot save its data and takes no writes (MISCONF): see its disk"),
        ("NOREPLICAS", "the server has too few replicas to take writes (min-replicas-to-write)"),
        ("NOAUTH", NO_PASSWORD),
        ("WRONGPASS", PASSWORD),
        (
            "NOPERM",
            "this user lacks a permission: EVALSHA, EVAL, what the scripts call, or the keys of the \
             prefix",
        ),
        ("MOVED", "the keys have moved to another node of the cluster"),
        ("ASK", "the keys are moving to another node of the cluster"),
        ("TRYAGAIN", "the keys are moving to another node of the cluster"),
        ("CLUSTERDOWN", "the cluster is down: some of its slots have no node"),
    ];
    let found = known.into_iter().find(|(code, _)| is(code));
    match found {
        Some((_, meaning)) => meaning,
        // Without a password, a call with many arguments is refused before it is understood.
        None if detail.contains("unauthenticated") => NO_PASSWORD,
        None if matches!(
            error.kind(),
            redis::ErrorKind::Server(_) | redis::ErrorKind::Extension
        ) =>
        {
            "the server refused the command"
        }
        None => "an unexpected reply",
    }
}

const NO_PASSWORD: &str = "the server asks for a password, and REDIS_URL has none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_retried_and_only_unusable_connections_are_discarded() {
        let server = |kind| RedisError::from((redis::ErrorKind::Server(kind), "text"));
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        for (error, discarded, says) in [
            (server(ServerErrorKind::ReadOnly), true, "read-only"),
            (server(ServerErrorKind::BusyLoading), true, "loading"),
            (server(ServerErrorKind::NoPerm), false, "lacks a permission"),
            (server(ServerErrorKind::Moved), true, "another node of the cluster"),
            (server(ServerErrorKind::ClusterDown), true, "slots have no node"),
            (server(ServerErrorKind::ResponseError), false, "refused the command"),
            (io(std::io::ErrorKind::TimedOut), true, "in time"),
            (io(std::io::ErrorKind::ConnectionRefused), true, "was refused"),
            (io(std::io::ErrorKind::BrokenPipe), true, "broke"),
            (RedisError::from((redis::ErrorKind::AuthenticationFailed, "text")), true, "password"),
        ] {
            let fault = classify(&error);
            assert_eq!(fault.severity, domain::fault::Severity::Transient { retry_after: None });
            assert!(fault.detail.contains(says), "{error}: {fault}");
            assert_eq!(is_unusable_after(&error), discarded, "{error}");
        }
    }
}
