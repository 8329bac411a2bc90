//! Parses the value of one setting.

use std::str::FromStr;
use std::time::Duration;

use config::{Value, ValueKind};

use crate::spelling;

/// The value of a setting before the bridge parses it.
#[derive(Debug)]
pub(in crate::config) struct Raw(pub(super) Value);

impl Raw {
    pub(in crate::config) fn text(self) -> Result<String, String> {
        match self.0.kind {
            ValueKind::String(text) => Ok(text),
            ValueKind::Array(_) => Err("must be a string, not a list".to_owned()),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Table(_) => {
                Err("must be a string: write quotes around the value".to_owned())
            }
        }
    }

    /// Parses a setting that is the name of a header.
    pub(in crate::config) fn header_name<T: FromStr>(self) -> Result<T, String> {
        let text = self.text()?;
        let name = text.trim();
        name.parse().map_err(|_unreadable| {
            let before_colon = name
                .strip_suffix(':')
                .and_then(|name| name.parse::<T>().ok());
            match before_colon {
                Some(_) => "must be the name of a header, without the colon".to_owned(),
                None => "must be the name of a header".to_owned(),
            }
        })
    }

    /// Parses a setting that is an integer from `least` to `most`.
    pub(in crate::config) fn whole(self, least: u64, most: u64) -> Result<u64, String> {
        let number = if self.is_truth() || matches!(self.0.kind, ValueKind::Float(_)) {
            None
        } else {
            self.0.into_uint().ok()
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }

    /// Parses a setting like [`Raw::whole`], but returns a `usize`.
    pub(in crate::config) fn count(self, least: u64, most: u64) -> Result<usize, String> {
        usize::try_from(self.whole(least, most)?)
            .map_err(|_large| "is too large for this machine".to_owned())
    }

    /// Parses a setting that is a number from `least` to `most`.
    pub(in crate::config) fn number(self, least: f64, most: f64) -> Result<f64, String> {
        let number = if self.is_truth() {
            None
        } else {
            self.0.into_float().ok()
        };
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("must be a number from {least} to {most}"))
    }

    /// Parses a setting that is a duration such as `10s`. A number without a unit means seconds.
    pub(in crate::config) fn duration(
        self,
        least: Duration,
        most: Duration,
    ) -> Result<Duration, String> {
        let range = || format!("must be a duration such as \"10s\", from {least:?} to {most:?}");
        let text = self.0.into_string().map_err(|_unreadable| range())?;
        let seconds = text
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let friendly = || {
            text.parse::<jiff::SignedDuration>()
                .ok()
                .and_then(|span| Duration::try_from(span).ok())
        };
        let in_days = || match text.trim().strip_suffix('d')?.parse::<u32>() {
            Ok(days) if most >= Duration::from_hours(u64::from(days) * 24) => Some(format!(
                "{}; the units are ms, s, m and h, so write \"{}h\"",
                range(),
                u64::from(days) * 24
            )),
            Ok(_) | Err(_) => None,
        };
        let unknown = || in_days().unwrap_or_else(range);
        let duration = seconds.or_else(friendly).ok_or_else(unknown)?;
        if (least..=most).contains(&duration) {
            Ok(duration)
        } else {
            Err(range())
        }
    }

    /// Parses a setting that is true or false.
    pub(in crate::config) fn truth(self) -> Result<bool, String> {
        if let ValueKind::Boolean(truth) = self.0.kind {
            Ok(truth)
        } else {
            Err("must be true or false".to_owned())
        }
    }

    /// Returns whether the value is true or false. The crate `config` would read true as the number 1.
    const fn is_truth(&self) -> bool {
        matches!(self.0.kind, ValueKind::Boolean(_))
    }

    /// Parses a setting that is a list of strings. In an environment variable, commas separate the strings.
    pub(in crate::config) fn texts(self) -> Result<Vec<String>, String> {
        let not_a_list = |_not_a_text| "must be a list of strings".to_owned();
        if let ValueKind::Array(values) = self.0.kind {
            let texts = values.into_iter().map(|value| Self(value).text());
            return texts.collect::<Result<_, _>>().map_err(not_a_list);
        }
        let text = self.text().map_err(not_a_list)?;
        // A list in the notation of JSON or TOML would be one text with brackets and quotes.
        if text.trim_start().starts_with('[') {
            return Err(
                "must be a list without brackets and quotes, with commas between the texts, such as a,b"
                    .to_owned(),
            );
        }
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Parses a setting that is one of the given words.
    pub(in crate::config) fn word<T: Copy>(self, words: &[(&str, T)]) -> Result<T, String> {
        // Another type, such as true in the place of "on", gets the list of the words.
        let text = self.text().unwrap_or_default();
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning);
        found.ok_or_else(|| {
            let words_known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let quoted: Vec<String> = words_known
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect();
            // A word with another number, such as base16 and base64, is another word.
            let has_digits = |word: &str| word.contains(|sign: char| sign.is_ascii_digit());
            let known = words_known.iter().copied();
            let known =
                known.filter(|word| !has_digits(word) || spelling::has_same_digits(word, &text));
            let suggestion = spelling::suggestion(&text, known);
            format!("must be {}{suggestion}", quoted.join(" or "))
        })
    }
}
