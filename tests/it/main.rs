//! Everything together, over real sockets: the roles as the composition root builds them, the
//! sandbox's WorkOS stand-in and inbox, and, where a test says so, a private RabbitMQ and Redis.
//!
//! Tests wait for events or poll a condition; none sleeps, none is retried. A test that leaves a
//! message, a task or a process behind fails.

mod broker_outages;
mod browser;
mod chaos;
mod cli;
mod clocks;
mod contracts;
mod crash;
mod dead_command;
mod dead_letters;
mod dead_readers;
mod deploy_manifests;
mod doctor;
mod duplicates;
mod encrypted;
mod expiry;
mod failpoints;
mod faults;
mod fuzz_seeds;
mod hang_ups;
mod harness;
mod hostile;
mod ingress;
mod init;
mod journey;
mod languages;
mod mail_command;
mod mail_programs;
mod newest;
mod outages;
mod overload;
mod postfix;
mod privacy;
mod prometheus;
mod proxied;
mod public_listener;
mod rabbit_places;
mod reconcile;
mod recovery;
mod redis_places;
mod relay;
mod relay_failover;
mod relay_login;
mod relay_replies;
mod reload;
mod retries;
mod schemathesis;
mod sdks;
mod shutdown;
mod sign_in;
mod storage;
mod strangers;
mod tidy;
mod traces;
mod why;

/// Runs each named `async fn(App)` on both engines, with the given setup if there is one. RabbitMQ
/// and Redis are available only under `./scripts/test`.
macro_rules! on_both_engines {
    ($($name:ident,)*) => { crate::on_both_engines! { |setup| setup; $($name,)* } };
    (|$setup:ident| $made:expr; $($name:ident,)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let $setup = crate::harness::app::Setup::embedded();
                super::$name($made.start().await).await;
            })*
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
            async fn $name() {
                let $setup = crate::harness::app::Setup::distributed();
                super::$name($made.start().await).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;
