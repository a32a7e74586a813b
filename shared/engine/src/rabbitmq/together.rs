//! Waits for lapin in one task.
//!
//! lapin answers from a thread of its own. Each task that it wakes costs a system call, unless the
//! task was woken already: one that waits for all answers is woken once for many.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

/// The way to the task, which ends with it.
pub(super) struct Together<I, O>(mpsc::UnboundedSender<(I, oneshot::Sender<O>)>);

impl<I: Send + 'static, O: Send + 'static> Together<I, O> {
    /// Starts the task, which runs `answer` for each input. Must be called within a runtime.
    pub(super) fn start<F, A>(answer: F) -> Self
    where
        F: Fn(I) -> A + Send + 'static,
        A: Future<Output = O> + Send + 'static,
    {
        let (sender, waiting) = mpsc::unbounded_channel();
        tokio::spawn(answer_until_closed(waiting, answer));
        Self(sender)
    }

    /// Answers this input. `None` only if the runtime ends. Keeps nothing of the input in the
    /// caller's future.
    pub(super) fn run(&self, input: I) -> impl Future<Output = Option<O>> + use<I, O> {
        let (answer, answered) = oneshot::channel();
        let begun = self.0.send((input, answer));
        async move {
            begun.ok()?;
            answered.await.ok()
        }
    }
}

/// Most inputs that are begun at once.
const AT_ONCE: usize = 64;

async fn answer_until_closed<I, O, A: Future<Output = O>>(
    mut waiting: mpsc::UnboundedReceiver<(I, oneshot::Sender<O>)>,
    answer: impl Fn(I) -> A,
) {
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
        running.extend(begun.drain(..).map(|(input, asked)| send(answer(input), asked)));
    }
    while running.next().await.is_some() {}
}

/// Sends the answer, which is waited for as long as somebody wants it: a broker that blocks gets no
/// more later than was asked for.
async fn send<O>(answer: impl Future<Output = O>, mut to: oneshot::Sender<O>) {
    tokio::select! {
        biased;
        () = to.closed() => {}
        answer = answer => drop(to.send(answer)),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn each_caller_gets_its_own_answer_and_the_last_may_be_first() {
        let first = Arc::new(Notify::new());
        let notified = Arc::clone(&first);
        let together = Together::start(move |number| {
            let notified = Arc::clone(&notified);
            async move {
                if number == 1 {
                    notified.notified().await;
                }
                number
            }
        });
        let slow = tokio::spawn(together.run(1));
        assert_eq!(together.run(2).await, Some(2));
        first.notify_one();
        assert_eq!(slow.await.expect("no panic"), Some(1));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (done, ended) = oneshot::channel::<()>();
        let together = Together::start(async move |held: oneshot::Sender<()>| {
            pending::<()>().await;
            drop(held);
        });
        let mut whole = Box::pin(together.run(done));
        assert!(futures_util::poll!(&mut whole).is_pending());
        drop(whole);
        assert!(ended.await.is_err(), "dropped, and what it held with it");
    }
}
