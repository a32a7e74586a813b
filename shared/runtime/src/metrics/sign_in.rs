//! The metrics of the sign-in endpoints.

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;
use prometheus::{HistogramVec, IntCounterVec};

use super::{
    declare::{Declare, Misdeclared, RELAY},
    labels::{Refresh, SignInResult, StateRefusal, Success},
};

/// Most issuers that are told apart.
const MOST_ISSUERS: usize = 8;

/// The metrics of the sign-in endpoints.
pub struct SignIns {
    ended: IntCounterVec,
    exchange_seconds: HistogramVec,
    states_refused: IntCounterVec,
    refreshes: IntCounterVec,
    issuers_refused: IntCounterVec,
    /// Issuers that have a series of their own.
    issuers: Mutex<BTreeSet<String>>,
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
            issuers_refused: new.counters(
                "authpost_signin_issuers_refused_total",
                "Session tokens with WorkOS's signature that were refused for their issuer.",
                &["issuer"],
            )?,
            issuers: Mutex::default(),
        })
    }

    pub(super) fn create_every_series(&self) {
        self.issuers_refused.with_label_values(&["other"]).reset();
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

    /// One session token of WorkOS's whose issuer is not accepted.
    pub fn issuer_refused(&self, issuer: &str) {
        let mut known = self.issuers.lock();
        let fits = issuer.bytes().all(|byte| byte.is_ascii_graphic());
        let own = fits && (known.contains(issuer) || known.len() < MOST_ISSUERS);
        if own {
            known.insert(issuer.to_owned());
        }
        self.issuers_refused.with_label_values(&[if own { issuer } else { "other" }]).inc();
    }

    /// One refresh of a session.
    pub fn refresh(&self, result: Refresh) {
        self.refreshes.with_label_values(&[result.label()]).inc();
    }
}
