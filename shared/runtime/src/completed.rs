//! Work that is completed whether or not somebody waits for it.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

/// Runs `work` to its end, also if the returned future is dropped before: what is left of the work
/// becomes a task then. Until then it is no task, which saves making one.
///
/// `None` if the work panics, and if it was polled after its end. Outside of a Tokio runtime, dropped
/// work ends.
pub fn completed<F>(work: F) -> Completed<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let work = AssertUnwindSafe(work).catch_unwind().map(Result::ok);
    Completed(Some(Box::pin(work)))
}

/// Work that is completed when this is dropped. Made by [`completed`].
#[must_use = "the work begins when this is awaited or dropped"]
pub struct Completed<T: Send + 'static>(Option<Work<T>>);

type Work<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

impl<T: Send + 'static> Future for Completed<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.0 else { return Poll::Ready(None) };
        let result = ready!(work.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(result)
    }
}

impl<T: Send + 'static> Drop for Completed<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_goes_on_where_it_was() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut begun = 0;
        let mut work = completed(async move {
            begun += 1;
            gone.await.expect("sent");
            done.send(begun).expect("somebody waits");
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).expect("it still waits");
        assert_eq!(ended.await, Ok(1), "begun once");
    }

    #[tokio::test]
    async fn the_end_comes_once_and_a_panic_is_none() {
        assert_eq!(completed(async { 1 }).await, Some(1));
        let panics = async { "x".parse::<u8>().expect("a planted panic") };
        assert_eq!(completed(panics).await, None);
    }

    #[test]
    fn without_a_runtime_it_ends() {
        drop(completed(std::future::pending::<()>()));
    }
}
