//! Unit tests of the parent module.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

use super::*;

/// Counts calls, each of which ends when it is told to.
#[derive(Default)]
struct Provider {
    made: AtomicU32,
    answer: Notify,
}

impl Provider {
    fn call(self: &Arc<Self>) -> Call<u32> {
        let provider = Arc::clone(self);
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            provider.answer.notified().await;
            number
        }
        .boxed()
    }

    fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_make_one_call_and_its_result_is_kept_for_a_moment() {
    let (provider, calls) = (Arc::new(Provider::default()), SharedCalls::default());
    let join = || calls.join("a", || provider.call(), |_| true);
    let release = async { provider.answer.notify_one() };
    let ((one, other), ()) = tokio::join!(async { tokio::join!(join(), join()) }, release);
    assert_eq!((one, other), ((1, By::ItsOwnCall), (1, By::AnotherRequest)));
    assert_eq!(join().await, (1, By::AnotherRequest), "on its way meanwhile");
    let (another, ()) = tokio::join!(calls.join("b", || provider.call(), |_| true), async {
        provider.answer.notify_one();
    });
    assert_eq!(another, (2, By::ItsOwnCall), "another key is another call");
    tokio::time::advance(KEPT).await;
    provider.answer.notify_one();
    assert_eq!(join().await, (3, By::ItsOwnCall));
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_for_those_who_wait() {
    let (provider, calls) = (Arc::new(Provider::default()), SharedCalls::default());
    let join = || calls.join("a", || provider.call(), |_| false);
    let release = async { provider.answer.notify_one() };
    let ((one, other), ()) = tokio::join!(async { tokio::join!(join(), join()) }, release);
    assert_eq!((one.0, other.0), (1, 1));
    assert!(calls.calls.lock().by_key.is_empty());
    provider.answer.notify_one();
    assert_eq!(join().await.0, 2);
}

#[tokio::test]
async fn a_call_goes_on_while_anybody_waits_and_ends_with_the_last() {
    let (provider, calls) = (Arc::new(Provider::default()), SharedCalls::default());
    let join = || calls.join("a", || provider.call(), |_| true).boxed();
    let (mut first, mut second) = (join(), join());
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    provider.answer.notify_one();
    assert_eq!(second.await, (1, By::AnotherRequest));

    let (provider, calls) = (Arc::new(Provider::default()), SharedCalls::default());
    let join = || calls.join("a", || provider.call(), |_| true).boxed();
    let mut only = join();
    assert!(futures_util::poll!(&mut only).is_pending());
    drop(only);
    assert_eq!((Arc::strong_count(&provider), calls.calls.lock().by_key.len()), (1, 0));
    assert_eq!(provider.made(), 1);
}

#[tokio::test]
async fn no_more_results_are_kept_than_the_limit() {
    let calls = SharedCalls::default();
    for number in 0..MOST_KEPT + 50 {
        let result = async move { number }.boxed();
        assert_eq!(calls.join(&number.to_string(), || result, |_| true).await.0, number);
    }
    let calls = calls.calls.lock();
    assert!(calls.by_key.len() <= MOST_KEPT + 1);
    assert_eq!(calls.by_key.len(), calls.ended.len());
}
