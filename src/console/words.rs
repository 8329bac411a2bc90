//! How pages write numbers and times. Pure.

use std::time::Duration;

use crate::time::Timestamp;

/// A time as a page writes it: relative to now, with the absolute time beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeText {
    /// The time in RFC 3339 format, for programs.
    pub(super) machine: String,
    /// The time in UTC, for people.
    pub(super) absolute: String,
    /// The time relative to now, such as `12 min ago`.
    pub(super) relative: String,
}

impl TimeText {
    pub(super) fn of(at: Timestamp, now: Timestamp) -> Self {
        let machine = at.to_rfc3339();
        let seconds = machine.split(['.', 'Z']).next().unwrap_or_default();
        Self {
            absolute: format!("{} UTC", seconds.replace('T', " ")),
            relative: relative(at, now),
            machine,
        }
    }

    /// Returns the time of the day with seconds.
    pub(super) fn clock(&self) -> &str {
        self.absolute.split(' ').nth(1).unwrap_or_default()
    }

    /// Returns the time of the day with the zone. Adds the date if the time is not within 20 hours of now.
    pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
        let text = Self::of(at, now);
        let distance = now.since(at).max(at.since(now));
        match distance < Duration::from_hours(20) {
            true => format!("{} UTC", text.clock()),
            false => text.absolute,
        }
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        return match at.since(now) {
            span if span < Duration::from_secs(1) => "now".to_owned(),
            span => format!("in {}", span_text(span)),
        };
    }
    match now.since(at) {
        span if span < Duration::from_secs(1) => "now".to_owned(),
        span => format!("{} ago", span_text(span)),
    }
}

/// Returns a span in its largest unit, rounded down: at most two digits of a smaller unit would not help anybody.
pub(super) fn span_text(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => "less than 1 s".to_owned(),
        1..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", grouped(seconds / 86_400)),
    }
}

/// Returns the length of a list as a number for texts.
pub(super) fn length<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

/// Returns a number with a comma after every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(place);
        if place > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a rate with at most one decimal.
pub(super) fn rate_text(rate: f64) -> String {
    let text = format!("{rate:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Returns a number of tenths, with a decimal below 10.
pub(super) fn tenths_text(tenths: u64) -> String {
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth}"),
        (whole, _) => grouped(whole),
    }
}

/// Returns a size in KiB or MiB, rounded down.
pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes / 1024 {
        kibibytes @ 0..1024 => format!("{kibibytes} KiB"),
        kibibytes => format!("{} MiB", grouped(kibibytes / 1024)),
    }
}

/// Returns a number with its noun, such as `1 entry` or `1,204 entries`.
pub(super) fn counted(number: u64, [one, several]: [&str; 2]) -> String {
    let noun = if number == 1 { one } else { several };
    format!("{} {noun}", grouped(number))
}

/// Returns a text with a capital letter at its begin.
pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_time_is_relative_with_the_absolute_time_beside_it() {
        for (millis, relative) in [
            (0, "now"),
            (-999, "now"),
            (-1_000, "1 s ago"),
            (-59_000, "59 s ago"),
            (-60_000, "1 min ago"),
            (-120_000, "2 min ago"),
            (-7_199_000, "119 min ago"),
            (-7_200_000, "2 h ago"),
            (-172_800_000, "2 days ago"),
            (-172_800_000_000, "2,000 days ago"),
            (500, "now"),
            (30_000, "in 30 s"),
        ] {
            let at = Timestamp::from_millis(NOW.as_millis() + millis);
            assert_eq!(TimeText::of(at, NOW).relative, relative, "{millis}");
        }
        let text = TimeText::of(NOW, NOW);
        assert_eq!(text.absolute, "2023-11-14 22:13:20 UTC");
        assert_eq!(text.clock(), "22:13:20");
        let day = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
        assert_eq!(TimeText::since(NOW, NOW), "22:13:20 UTC");
        assert_eq!(TimeText::since(day, NOW), "2023-11-13 22:13:20 UTC");
    }

    /// FAULTS N1191
    #[test]
    fn no_span_is_zero_seconds() {
        assert_eq!(span_text(Duration::from_millis(999)), "less than 1 s");
        assert_eq!(span_text(Duration::from_secs(1)), "1 s");
        assert_eq!(bytes_text(1_023 * 1_024), "1023 KiB");
        assert_eq!(bytes_text(5_000 * 1_024 * 1_024), "5,000 MiB");
    }

    #[test]
    fn a_number_has_a_comma_after_three_digits_and_the_right_noun() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            (rate_text(20.0), rate_text(2.54)),
            ("20".to_owned(), "2.5".to_owned())
        );
        assert_eq!(counted(1, ["entry", "entries"]), "1 entry");
        assert_eq!(counted(1_204, ["entry", "entries"]), "1,204 entries");
    }
}
