//! The sums over all sources. Each file, schema and expression has a bound of its own, but thousands of them together could
//! need more memory than the machine has. The bridge counts each part before it compiles the part, and after a reload it
//! has two sets for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jsonschema::PatternCache;
use serde_json::Value;

use super::super::reader::SettingError;
use crate::intake::schema::{SchemaSize, pattern_bytes};

/// The maximum number of bytes of all source files. A source file needs about ten times its size while the bridge reads it.
const SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The maximum number of settings, rows of tables and items of lists in all source files.
const SETTINGS_MAX: usize = 200_000;
/// The maximum number of expressions of all event types. A compiled expression needs about 3 KiB, and an interpreted one
/// about 20 KiB.
const EXPRESSIONS_MAX: usize = 10_000;
/// The maximum number of characters of the expressions of all event types. Each character of an interpreted expression
/// needs 400 to 700 bytes, so all of them need less than 100 MiB.
const EXPRESSION_CHARS_MAX: usize = 150_000;
/// The maximum number of bytes of the schemas of all event types. A schema counts once for each event type that uses it.
const SCHEMA_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The maximum number of JSON values in the schemas of all event types. A value needs about 1 KiB.
const SCHEMA_VALUES_MAX: usize = 100_000;
/// The maximum number of different patterns in all schemas. Each thread has a matcher of up to 128 KiB for each pattern.
const PATTERNS_MAX: usize = 1_000;
/// The maximum size of all different compiled patterns.
const PATTERN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The maximum number of sources that the error about a sum names.
const NAMED_SOURCES_MAX: usize = 5;

/// A part of the sources whose sum over all sources has a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Total {
    SourceBytes,
    Settings,
    Expressions,
    ExpressionChars,
    SchemaBytes,
    SchemaValues,
    Patterns,
    PatternBytes,
}

impl Total {
    const fn max(self) -> usize {
        match self {
            Self::SourceBytes => SOURCE_BYTES_MAX,
            Self::Settings => SETTINGS_MAX,
            Self::Expressions => EXPRESSIONS_MAX,
            Self::ExpressionChars => EXPRESSION_CHARS_MAX,
            Self::SchemaBytes => SCHEMA_BYTES_MAX,
            Self::SchemaValues => SCHEMA_VALUES_MAX,
            Self::Patterns => PATTERNS_MAX,
            Self::PatternBytes => PATTERN_BYTES_MAX,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::SourceBytes => "bytes in their source files",
            Self::Settings => "settings, rows and items of lists in their source files",
            Self::Expressions => "expressions in their event types",
            Self::ExpressionChars => "characters in their expressions",
            Self::SchemaBytes => "bytes in the schemas of their event types",
            Self::SchemaValues => "JSON values in the schemas of their event types",
            Self::Patterns => "different patterns in their schemas",
            Self::PatternBytes => "bytes in their compiled patterns",
        }
    }
}

/// The sum exceeds its bound, so the bridge compiles no further part.
#[derive(Debug)]
pub(super) struct Exceeded;

/// The sums over the sources that the bridge has read up to now, and the compiled patterns that their schemas share.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// The source that the bridge reads now.
    source: String,
    /// The sums, and the share of each source.
    shares: BTreeMap<Total, BTreeMap<String, usize>>,
    /// The sum that exceeds its bound.
    exceeded: Option<Total>,
    patterns: BTreeSet<String>,
    compiled_patterns: PatternCache,
}

impl Totals {
    /// Counts the following parts for this source.
    pub(super) fn begin(&mut self, source: &str) {
        source.clone_into(&mut self.source);
    }

    /// Returns the compiled patterns, for the compiler of schemas.
    pub(super) fn compiled_patterns(&self) -> PatternCache {
        self.compiled_patterns.clone()
    }

    /// Adds to a sum, before the bridge compiles the part.
    ///
    /// # Errors
    /// Returns an error if this sum or an earlier one exceeds its bound.
    pub(super) fn add(&mut self, total: Total, amount: usize) -> Result<(), Exceeded> {
        if self.exceeded.is_some() {
            return Err(Exceeded);
        }
        let shares = self.shares.entry(total).or_default();
        let share = shares.entry(self.source.clone()).or_default();
        *share = share.saturating_add(amount);
        if shares
            .values()
            .fold(0, |sum: usize, share| sum.saturating_add(*share))
            > total.max()
        {
            self.exceeded = Some(total);
            return Err(Exceeded);
        }
        Ok(())
    }

    /// Adds the schema of an event type.
    ///
    /// # Errors
    /// As [`Totals::add`].
    pub(super) fn add_schema(&mut self, document: &Value) -> Result<(), Exceeded> {
        let size = SchemaSize::of(document);
        self.add(Total::SchemaValues, size.values)?;
        let new: Vec<String> = size.patterns.difference(&self.patterns).cloned().collect();
        self.add(Total::Patterns, new.len())?;
        for pattern in new {
            self.add(Total::PatternBytes, pattern_bytes(&pattern))?;
            self.patterns.insert(pattern);
        }
        Ok(())
    }

    /// Adds the expressions of an event type.
    ///
    /// # Errors
    /// As [`Totals::add`].
    pub(super) fn add_expressions<'e>(
        &mut self,
        expressions: impl Iterator<Item = &'e str>,
    ) -> Result<(), Exceeded> {
        let lengths: Vec<usize> = expressions.map(|one| one.chars().count()).collect();
        self.add(Total::Expressions, lengths.len())?;
        self.add(Total::ExpressionChars, lengths.iter().sum())
    }

    /// Returns whether a sum exceeds its bound. The bridge then reads no further source.
    pub(super) const fn is_exceeded(&self) -> bool {
        self.exceeded.is_some()
    }

    /// Returns the error about the sum that exceeds its bound.
    pub(super) fn error(&self, folder: &Path) -> Option<SettingError> {
        Some(SettingError {
            origin: super::super::absolute(folder),
            key: String::new(),
            reason: self.reason()?,
        })
    }

    /// Returns the sentence about the sum that exceeds its bound.
    pub(super) fn reason(&self) -> Option<String> {
        let total = self.exceeded?;
        let shares = self.shares.get(&total)?.iter();
        let mut shares: Vec<(&String, &usize)> = shares.filter(|(_, share)| **share > 0).collect();
        shares.sort_by_key(|(source, share)| (std::cmp::Reverse(**share), *source));
        let named = shares.iter().take(NAMED_SOURCES_MAX);
        let named: Vec<String> = named
            .map(|(source, share)| format!("{source} has {share}"))
            .collect();
        let others = shares.len().saturating_sub(NAMED_SOURCES_MAX);
        Some(format!(
            "all sources together may have at most {} {}. Counted up to the source {}: {}, and {others} others have fewer. Make the largest of them smaller, or remove sources that are not used",
            total.max(),
            total.words(),
            self.source,
            named.join(", "),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// FAULTS N790: every sum has a bound, and its error names the sources with the largest shares.
    #[test]
    fn a_sum_over_all_sources_has_a_bound() {
        for total in [
            Total::SourceBytes,
            Total::Settings,
            Total::Expressions,
            Total::ExpressionChars,
            Total::SchemaBytes,
            Total::SchemaValues,
            Total::Patterns,
            Total::PatternBytes,
        ] {
            let mut totals = Totals::default();
            for source in 0..7 {
                totals.begin(&format!("s{source}"));
                totals.add(total, source).unwrap();
            }
            totals.begin("wide");
            totals.add(total, total.max() - 21).unwrap();
            assert!(totals.error(Path::new("x")).is_none());
            totals.begin("last");
            totals.add(total, 1).unwrap_err();
            totals.add(Total::Settings, 0).unwrap_err();
            let reason = totals.error(Path::new("x")).unwrap().reason;
            let expected = format!(
                "at most {} {}. Counted up to the source last: wide has {}, s6 has 6, s5 has 5, s4 has 4, s3 has 3, and 3 others have fewer.",
                total.max(),
                total.words(),
                total.max() - 21
            );
            assert!(reason.contains(&expected), "{reason}");
        }
    }

    #[test]
    fn a_pattern_of_several_schemas_counts_once() {
        let mut totals = Totals::default();
        for source in 0..2_000 {
            totals.begin(&format!("s{source}"));
            totals.add_schema(&json!({"pattern": "^[a-z]+$"})).unwrap();
        }
        assert!(!totals.is_exceeded());
    }
}
