//! Waits for lapin in one task.
//!
//! lapin answers from a thread of its own. Each task that it wakes costs a system call, unless the
//! task was woken already: one that waits for all answers is woken once for many.

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

type Waiting = BoxFuture<'static, ()>;

/// The way to the task, which ends with it.
pub(super) struct Together(mpsc::UnboundedSender<Waiting>);

impl Together {
    /// Starts the task. Must be called within a runtime.
    pub(super) fn start() -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        tokio::spawn(wait_until_closed(waiting));
        Self(sender)
    }

    /// Runs the future as long as the caller waits: a broker that blocks gets no more later than was
    /// asked for. `None` only if the runtime ends. Keeps nothing of the future in the caller's own.
    pub(super) fn run<T, F>(&self, future: F) -> impl Future<Output = Option<T>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (mut value, done) = oneshot::channel();
        let whole = Box::pin(async move {
            tokio::select! {
                biased;
                () = value.closed() => {}
                result = future => drop(value.send(result)),
            }
        });
        let begun = self.0.send(whole);
        async move {
            begun.ok()?;
            done.await.ok()
        }
    }
}

/// Most futures that are begun at once.
const AT_ONCE: usize = 64;

async fn wait_until_closed(mut waiting: mpsc::UnboundedReceiver<Waiting>) {
    let mut running = FuturesUnordered::new();
    let mut begun = Vec::with_capacity(AT_ONCE);
    loop {
        tokio::select! {
            first = waiting.recv() => match first {
                Some(first) => begun.push(first),
                None => break,
            },
            Some(()) = running.next() => continue,
        }
        // Tasks that are ready, too, add theirs: lapin's thread is woken once for all of them.
        yield_now().await;
        while begun.len() < AT_ONCE
            && let Ok(more) = waiting.try_recv()
        {
            begun.push(more);
        }
        running.extend(begun.drain(..));
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn each_caller_gets_its_own_answer_and_the_last_may_be_first() {
        let (together, first) = (Arc::new(Together::start()), Arc::new(Notify::new()));
        let (waits, notified) = (Arc::clone(&together), Arc::clone(&first));
        let slow = tokio::spawn(async move {
            waits
                .run(async move {
                    notified.notified().await;
                    1
                })
                .await
        });
        assert_eq!(together.run(async { 2 }).await, Some(2));
        first.notify_one();
        assert_eq!(slow.await.expect("no panic"), Some(1));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (together, (done, ended)) = (Together::start(), oneshot::channel::<()>());
        let whole = together.run(async move {
            let _held = done;
            std::future::pending::<()>().await;
        });
        let mut whole = Box::pin(whole);
        assert!(futures_util::poll!(&mut whole).is_pending());
        drop(whole);
        assert!(ended.await.is_err(), "dropped, and what it held with it");
    }
}
