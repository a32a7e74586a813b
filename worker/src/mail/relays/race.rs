//! Has relays make one step each, the next one beside one that takes long.

use std::{pin::Pin, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::sleep;

use super::{Relays, Tried};
use crate::mail::{Mail, Mailer, SendError};

/// A step of one relay.
pub(super) type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, SendError>> + Send + 'a>>;

/// The first relay that makes the step, and its result. `first` is the step of a relay that is
/// further than the others. The relays that failed are added to `tried`.
pub(super) async fn race<'a, T>(
    relays: &Relays,
    mail: &Mail,
    first: Option<(usize, Step<'a, T>)>,
    tried: &mut Tried,
    step: impl Fn(Arc<dyn Mailer>) -> Step<'a, T>,
) -> Result<(usize, T), SendError> {
    let ahead = first.as_ref().map(|(index, _)| *index);
    let order = relays.order(mail, &tried.relays);
    let mut waiting = order.into_iter().filter(|index| Some(*index) != ahead).peekable();
    let mut attempts = FuturesUnordered::new();
    // Those that have begun and not ended, in order.
    let mut slow: Vec<usize> = Vec::new();
    let mut next = first;
    loop {
        let begin = |index: usize| {
            let relay = &relays.relays[index];
            relay.health.begins();
            (index, step(Arc::clone(&relay.candidate.mailer)))
        };
        if let Some((index, step)) = next.take().or_else(|| waiting.next().map(begin)) {
            slow.push(index);
            attempts.push(async move { (index, step.await) });
        } else if attempts.is_empty() {
            return Err(std::mem::take(tried).failure());
        }
        let (index, result) = tokio::select! {
            Some(ended) = attempts.next() => ended,
            () = sleep(relays.hedge), if waiting.peek().is_some() => {
                slow.last().into_iter().for_each(|it| relays.relays[*it].candidate.metrics.hedge());
                continue;
            }
        };
        match result {
            Ok(ended) => {
                let overtaken = slow.iter().take_while(|other| **other != index);
                overtaken.for_each(|other| relays.relays[*other].was_overtaken());
                return Ok((index, ended));
            }
            Err(error) => {
                slow.retain(|other| *other != index);
                let is_last = attempts.is_empty() && waiting.peek().is_none();
                relays.relays[index].failed(error, (index, is_last), tried)?;
            }
        }
    }
}

impl super::Relay {
    /// Takes note of a failure. `Err` if no other relay is to be asked.
    fn failed(
        &self,
        error: SendError,
        (index, is_last): (usize, bool),
        tried: &mut Tried,
    ) -> Result<(), SendError> {
        self.health.note(Err(&error));
        let SendError::NotSent(fault) = error else { return Err(error) };
        if !is_last {
            self.candidate.metrics.hop(fault.reason);
        }
        tried.add(index, fault);
        if tried.is_final() { Err(std::mem::take(tried).failure()) } else { Ok(()) }
    }

    /// Another relay was ready before it. That says nothing about it if it has only no room for
    /// more of ours.
    fn was_overtaken(&self) {
        if !self.candidate.mailer.is_busy() {
            self.health.was_slow();
        }
    }
}
