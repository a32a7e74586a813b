//! Everything together, over real sockets: the roles as the composition root builds them, the sandbox's WorkOS stand-in
//! and inbox, and, where a test says so, a private RabbitMQ and Redis.
//!
//! Tests wait on events or look until something is so; none sleeps, none is retried. Whoever leaves a message, a task
//! or a process behind fails.

mod browser;
mod chaos;
mod cli;
mod clocks;
mod contracts;
mod crash;
mod dead_command;
mod dead_letters;
mod doctor;
mod duplicates;
mod expiry;
mod failpoints;
mod faults;
mod fuzzed;
mod harness;
mod hostile;
mod ingress;
mod journey;
mod mended;
mod outages;
mod overload;
mod privacy;
mod reconcile;
mod relay;
mod retries;
mod shipped;
mod shutdown;
mod sign_in;
mod storage;
mod tidy;
mod traced;
mod victims;
mod watched;
mod why;

/// Runs each named `async fn(App)` on both engines, set up as said first if anything is. RabbitMQ and Redis are there only under `./scripts/test`.
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
