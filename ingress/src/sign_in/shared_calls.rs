//! Requests that need the same call at the same time share it.
//!
//! A code or a refresh token is good for one call, while pages send the same request twice: in two
//! tabs, in React's strict mode, after a reload. A call goes on while one of the requests that
//! wait for it is there. What it brought can be kept for a moment, for a request that was on its
//! way.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a result is kept, and most results.
const KEPT: Duration = Duration::from_secs(10);
const MOST_KEPT: usize = 1000;

type Call<T> = BoxFuture<'static, T>;

enum Known<T> {
    UnderWay(WeakShared<Call<T>>),
    Ended(T),
}

struct Calls<T> {
    by_key: HashMap<String, Known<T>>,
    /// Keys of the calls that have ended, the oldest first.
    ended: VecDeque<(Instant, String)>,
}

/// Calls under way, and those that ended a moment ago, by a key that nobody can guess.
pub(super) struct SharedCalls<T> {
    calls: Mutex<Calls<T>>,
}

impl<T> Default for SharedCalls<T> {
    fn default() -> Self {
        let calls = Calls { by_key: HashMap::new(), ended: VecDeque::new() };
        Self { calls: Mutex::new(calls) }
    }
}

/// How a request came by its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// It made the call itself.
    ItsOwnCall,
    /// Another request made the call.
    AnotherRequest,
}

impl<T: Clone + Send + Sync + 'static> SharedCalls<T> {
    /// The result of the call of this key, which is made by `begin` if there is none. It is kept
    /// where `keep` says so.
    pub(super) async fn join(
        &self,
        key: &str,
        begin: impl FnOnce() -> Call<T>,
        keep: impl Fn(&T) -> bool,
    ) -> (T, By) {
        let _leave = Leave { calls: &self.calls, key };
        let (call, by) = match self.enter(key, begin) {
            Ok(entered) => entered,
            Err(kept) => return (kept, By::AnotherRequest),
        };
        // The call must not be gone before its result is kept.
        let result = call.clone().await;
        if keep(&result) {
            self.keep(key, &result);
        }
        (result, by)
    }

    /// `Err` is the result of a call that has ended.
    fn enter(
        &self,
        key: &str,
        begin: impl FnOnce() -> Call<T>,
    ) -> Result<(Shared<Call<T>>, By), T> {
        let calls = &mut *self.calls.lock();
        calls.forget_old();
        match calls.by_key.get(key) {
            Some(Known::Ended(result)) => return Err(result.clone()),
            Some(Known::UnderWay(call)) => {
                if let Some(call) = call.upgrade() {
                    return Ok((call, By::AnotherRequest));
                }
            }
            None => {}
        }
        let call = begin().shared();
        // It has not been polled, so it can be shared.
        if let Some(weak) = call.downgrade() {
            calls.by_key.insert(key.to_owned(), Known::UnderWay(weak));
        }
        Ok((call, By::ItsOwnCall))
    }

    fn keep(&self, key: &str, result: &T) {
        let calls = &mut *self.calls.lock();
        if let Some(Known::UnderWay(_)) = calls.by_key.get(key) {
            calls.by_key.insert(key.to_owned(), Known::Ended(result.clone()));
            calls.ended.push_back((Instant::now(), key.to_owned()));
        }
    }
}

impl<T> Calls<T> {
    fn forget_old(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.ended.front() {
            if now.duration_since(*at) < KEPT && self.ended.len() <= MOST_KEPT {
                break;
            }
            if let Some((_, key)) = self.ended.pop_front() {
                self.by_key.remove(&key);
            }
        }
    }
}

/// A request leaves. If it was the last one that waited, its call is gone.
struct Leave<'a, T> {
    calls: &'a Mutex<Calls<T>>,
    key: &'a str,
}

impl<T> Drop for Leave<'_, T> {
    fn drop(&mut self) {
        let calls = &mut *self.calls.lock();
        if let Some(Known::UnderWay(call)) = calls.by_key.get(self.key)
            && call.upgrade().is_none()
        {
            calls.by_key.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
