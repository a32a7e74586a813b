//! Reads the metrics of a process, and checks the accounting equation.

use std::collections::BTreeMap;

/// The metrics of one scrape, by series.
pub struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(series, value)| (series.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }

    /// The value of one series, which must exist.
    pub fn value(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("there is no series {series}"))
    }

    pub fn count(&self, series: &str) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        let count = self.value(series) as u64;
        count
    }

    /// All outcomes of one kind, whatever their reason.
    pub fn outcomes(&self, outcome: &str) -> u64 {
        let prefix = format!("authpost_outcomes_total{{outcome=\"{outcome}\",");
        let reasons: Vec<_> = self.0.keys().filter(|series| series.starts_with(&prefix)).collect();
        assert!(!reasons.is_empty(), "there is no outcome {outcome}");
        reasons.into_iter().map(|series| self.count(series)).sum()
    }

    pub fn outcome(&self, outcome: &str, reason: &str) -> u64 {
        self.count(&format!("authpost_outcomes_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}"))
    }

    pub fn webhooks(&self, result: &str) -> u64 {
        self.count(&format!("authpost_webhooks_total{{result=\"{result}\"}}"))
    }

    pub fn claims(&self, result: &str) -> u64 {
        self.count(&format!("authpost_claims_total{{result=\"{result}\"}}"))
    }

    /// The upper bound of the bucket that a histogram's quantile falls into; `None` beyond the last
    /// one.
    pub fn quantile(&self, name: &str, quantile: f64) -> Option<f64> {
        let wanted = self.value(&format!("{name}_count")) * quantile;
        let bound =
            |series: &str| series.split_once("le=\"")?.1.split_once('"')?.0.parse::<f64>().ok();
        let buckets =
            self.0.iter().filter(|(series, _)| series.starts_with(&format!("{name}_bucket")));
        let reached =
            buckets.filter(|(_, count)| **count >= wanted).filter_map(|(series, _)| bound(series));
        reached.min_by(f64::total_cmp).filter(|bound| bound.is_finite())
    }

    /// How often a second mail became possible, as far as this process could know.
    pub fn doubts(&self) -> u64 {
        ["doubtful", "late", "already", "unrecorded"]
            .into_iter()
            .map(|result| self.claims(result))
            .sum()
    }

    /// How many events have ended for good.
    pub fn ended(&self) -> u64 {
        ["sent", "duplicate", "superseded", "expired", "dead"]
            .into_iter()
            .map(|outcome| self.outcomes(outcome))
            .sum()
    }
}
