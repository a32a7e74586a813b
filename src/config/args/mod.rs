//! The options as clap sees them: names, defaults and help. Values are text; `read` parses them.
//! Secrets are secret from the first byte on, so that no `{:?}` prints them.

mod process;
mod roles;

use clap::Args;

pub use self::{
    process::{EngineOptions, OperatorOptions, OutgoingOptions, ProcessOptions, TraceOptions},
    roles::{IngressOptions, MailOptions, SignInOptions, WorkerOptions, WorkosOptions},
};

#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub ingress: IngressOptions,
    #[command(flatten)]
    pub worker: WorkerOptions,
    #[command(flatten)]
    pub workos: WorkosOptions,
    #[command(flatten)]
    pub sign_in: SignInOptions,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub traces: TraceOptions,
}

#[derive(Debug, Clone, Args)]
pub struct IngressArgs {
    #[command(flatten)]
    pub ingress: IngressOptions,
    #[command(flatten)]
    pub workos: WorkosOptions,
    #[command(flatten)]
    pub sign_in: SignInOptions,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub traces: TraceOptions,
}

#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    pub worker: WorkerOptions,
    #[command(flatten)]
    pub workos: WorkosOptions,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub traces: TraceOptions,
}

/// What sends a sample: the mails, and the way to the relays.
#[derive(Debug, Clone, Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub worker: WorkerOptions,
    #[command(flatten)]
    pub outgoing: OutgoingOptions,
}
