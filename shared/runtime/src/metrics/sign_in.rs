//! The metrics of the sign-in endpoints.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::{
    declare::{Declare, Misdeclared, RELAY},
    labels::{Refresh, SignInResult, StateRefusal, Success},
};

/// The metrics of the sign-in endpoints.
pub struct SignIns {
    ended: IntCounterVec,
    exchange_seconds: HistogramVec,
    states_refused: IntCounterVec,
    refreshes: IntCounterVec,
}

impl SignIns {
    pub(super) fn declare(new: &Declare<'_>) -> Result<Self, Misdeclared> {
        Ok(Self {
            ended: new.counters(
                "authpost_signins_total",
                "Sign-in callbacks by result.",
                &["result"],
            )?,
            exchange_seconds: new.histograms(
                "authpost_signin_exchange_seconds",
                "Time from exchanging a code at WorkOS to the decision on the sign-in.",
                &["result"],
                RELAY,
            )?,
            states_refused: new.counters(
                "authpost_signin_states_refused_total",
                "Sign-in states that were rejected, by reason.",
                &["reason"],
            )?,
            refreshes: new.counters(
                "authpost_signin_refreshes_total",
                "Session refreshes by result.",
                &["result"],
            )?,
        })
    }

    pub(super) fn create_every_series(&self) {
        SignInResult::ALL
            .iter()
            .for_each(|result| self.ended.with_label_values(&[result.label()]).reset());
        StateRefusal::ALL
            .iter()
            .for_each(|why| self.states_refused.with_label_values(&[why.label()]).reset());
        Refresh::ALL
            .iter()
            .for_each(|result| self.refreshes.with_label_values(&[result.label()]).reset());
        Success::ALL
            .iter()
            .for_each(|result| drop(self.exchange_seconds.with_label_values(&[result.label()])));
    }

    /// Counts one callback that was answered.
    pub fn ended(&self, result: SignInResult) {
        self.ended.with_label_values(&[result.label()]).inc();
    }

    /// One exchange of a code, with what follows from it.
    pub fn exchange(&self, result: Success, took: Duration) {
        self.exchange_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// One state that was not believed.
    pub fn state_refused(&self, why: StateRefusal) {
        self.states_refused.with_label_values(&[why.label()]).inc();
    }

    /// One refresh of a session.
    pub fn refresh(&self, result: Refresh) {
        self.refreshes.with_label_values(&[result.label()]).inc();
    }
}
