//! Calculations with the values of several series, like those of the rules for Prometheus.

use std::collections::BTreeMap;

use crate::metrics::Labels;

/// The values of some series, by their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows(pub(super) Vec<(Labels, f64)>);

impl Rows {
    /// Keeps the values above a limit.
    pub(super) fn above(self, limit: f64) -> Self {
        self.keep(|_, value| value > limit)
    }

    /// Keeps the values below a limit.
    pub(super) fn below(self, limit: f64) -> Self {
        self.keep(|_, value| value < limit)
    }

    /// Keeps the values that are 0.
    pub(super) fn zero(self) -> Self {
        self.keep(|_, value| value == 0.0)
    }

    /// Keeps the series whose label has one of these values.
    pub(super) fn with(self, label: &str, values: &[&str]) -> Self {
        self.keep(|labels, _| has(labels, label, values))
    }

    /// Keeps the series whose label has none of these values.
    pub(super) fn without(self, label: &str, values: &[&str]) -> Self {
        self.keep(|labels, _| !has(labels, label, values))
    }

    /// Keeps the rows for which `is_kept` is true.
    pub(super) fn keep(mut self, is_kept: impl Fn(&Labels, f64) -> bool) -> Self {
        self.0.retain(|(labels, value)| is_kept(labels, *value));
        self
    }

    /// Returns the sums of the values whose labels with these names are equal.
    pub(super) fn sum_by(self, names: &[&str]) -> Self {
        let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
        for (mut labels, value) in self.0 {
            labels.retain(|name, _| names.contains(&name.as_str()));
            *sums.entry(labels).or_default() += value;
        }
        Self(sums.into_iter().collect())
    }

    /// Returns the sum of all values. `None` without a series.
    pub(super) fn sum(&self) -> Option<f64> {
        let is_any = !self.0.is_empty();
        is_any.then(|| self.0.iter().map(|(_, value)| value).sum())
    }

    /// Returns the sum of the values of the series that have the same value of the label `source` as `labels`.
    pub(super) fn of_source(&self, labels: &Labels) -> f64 {
        let source = labels.get("source");
        let same = self
            .0
            .iter()
            .filter(|(labels, _)| labels.get("source") == source);
        same.map(|(_, value)| value).sum()
    }

    /// Adds other rows. Of two rows with the same labels, the first counts.
    pub(super) fn or(mut self, other: Self) -> Self {
        for (labels, value) in other.0 {
            if !self.0.iter().any(|(known, _)| *known == labels) {
                self.0.push((labels, value));
            }
        }
        self
    }

    /// Replaces each value.
    pub(super) fn map(mut self, calculate: impl Fn(&Labels, f64) -> f64) -> Self {
        for (labels, value) in &mut self.0 {
            *value = calculate(labels, *value);
        }
        self
    }

    /// Returns the rows if `condition` is true, otherwise none.
    pub(super) fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::default() }
    }
}

fn has(labels: &Labels, label: &str, values: &[&str]) -> bool {
    let value = labels.get(label).map(String::as_str);
    value.is_some_and(|value| values.contains(&value))
}
