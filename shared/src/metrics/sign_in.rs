//! What is counted of signing in.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::{
    Declare, Misdeclared, RELAY,
    labels::{Refresh, SignInResult, StateRefusal, Success},
};

/// The handles.
pub struct SignIns {
    ended: IntCounterVec,
    exchange_seconds: HistogramVec,
    states_refused: IntCounterVec,
    refreshes: IntCounterVec,
}

impl SignIns {
    pub(super) fn declare(new: &Declare<'_>) -> Result<Self, Misdeclared> {
        Ok(Self {
            ended: new.counters("authpost_signins_total", "Callbacks of a sign-in by how they ended.", &["result"])?,
            exchange_seconds: new.histograms(
                "authpost_signin_exchange_seconds",
                "From asking WorkOS to exchange a code to knowing who it is and whether they may enter.",
                &["result"],
                RELAY,
            )?,
            states_refused: new.counters(
                "authpost_signin_states_refused_total",
                "States of sign-ins that were not believed.",
                &["reason"],
            )?,
            refreshes: new.counters("authpost_signin_refreshes_total", "Refreshes of sessions by how they ended.", &["result"])?,
        })
    }

    pub(super) fn create_every_series(&self) {
        SignInResult::ALL.iter().for_each(|result| self.ended.with_label_values(&[result.label()]).reset());
        StateRefusal::ALL.iter().for_each(|why| self.states_refused.with_label_values(&[why.label()]).reset());
        Refresh::ALL.iter().for_each(|result| self.refreshes.with_label_values(&[result.label()]).reset());
        Success::ALL.iter().for_each(|result| drop(self.exchange_seconds.with_label_values(&[result.label()])));
    }

    /// One callback, answered.
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
