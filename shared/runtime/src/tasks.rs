//! The lifecycle of a process: named tasks, one stop signal, a grace period, and an exit code that
//! reflects the outcome.
//!
//! A role is a future. If one ends or panics before anybody asked it to, the others are stopped in
//! order and the process exits with 1, so that a supervisor restarts it. The first SIGTERM,
//! SIGINT or SIGQUIT asks for an orderly end, the second cuts it short.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// The tasks of one process, by name.
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
    /// Held by every task until it ends.
    alive: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Tasks {
    /// No tasks yet. Cancelling `stop` asks them to end.
    pub fn new(stop: CancellationToken) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), stop, alive: mpsc::channel(1) }
    }

    /// Starts a task that runs until the stop.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let alive = self.alive.0.clone();
        let running = async move {
            task.await;
            drop(alive);
        };
        let id = self.set.spawn(running).id();
        self.names.insert(id, name);
    }

    /// Resolves when every task spawned so far has ended, however.
    pub fn all_ended(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (_, mut gone) = std::mem::replace(&mut self.alive, mpsc::channel(1));
        async move {
            // Nothing is ever sent: `None` means that the last sender was dropped.
            while gone.recv().await.is_some() {}
        }
    }

    /// Waits for a signal or for a task that ends by itself, stops everything, and waits at most
    /// `grace`.
    pub async fn run_until_stopped(mut self, grace: Duration) -> ExitCode {
        let signals = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::quit()),
        );
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut quit)) = signals else {
            tracing::error!("signals cannot be handled on this system");
            return ExitCode::FAILURE;
        };
        let mut clean = true;
        let stop = self.stop.clone();
        // In this order: whoever else hears the same signal may ask for the stop on its account,
        // and then the signal must have been taken here, or it would be found below and taken for a
        // second one.
        tokio::select! {
            biased;
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            _ = quit.recv() => tracing::info!(signal = "SIGQUIT", "stopping"),
            () = stop.cancelled() => tracing::info!("stopping"),
            clean_end = self.next_end() => clean = clean_end && self.stop.is_cancelled(),
        }
        if !clean {
            tracing::error!("a task ended unexpectedly; stopping the process");
        }
        self.stop.cancel();
        let all_ended = async {
            while !self.set.is_empty() {
                clean &= self.next_end().await;
            }
        };
        tokio::select! {
            () = all_ended => {}
            () = tokio::time::sleep(grace) => { clean = false; self.cut_off("the grace period is over"); }
            _ = terminate.recv() => { clean = false; self.cut_off("a second signal"); }
            _ = interrupt.recv() => { clean = false; self.cut_off("a second signal"); }
            _ = quit.recv() => { clean = false; self.cut_off("a second signal"); }
        }
        if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The next task to end, logged; `false` if it panicked.
    async fn next_end(&mut self) -> bool {
        let Some(ended) = self.set.join_next_with_id().await else { return true };
        let (id, panicked) = match &ended {
            Ok((id, ())) => (*id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let task = self.names.remove(&id).unwrap_or("unnamed");
        if panicked {
            tracing::error!(task, "a task panicked");
        } else {
            tracing::debug!(task, "a task ended");
        }
        !panicked
    }

    fn cut_off(&self, why: &'static str) {
        let running: Vec<&str> = self.names.values().copied().collect();
        tracing::warn!(
            why,
            still_running = running.join(","),
            "stopped before all work was finished; unfinished events will be delivered again"
        );
    }
}

#[cfg(test)]
mod tests;
