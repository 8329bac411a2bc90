//! What pages say about a source that is silent: the rule of the alert `ImprintBridgeSourceSilent` decides. Pure.

use std::collections::BTreeMap;

use super::words::{TimeText, counted, length};
use crate::notices::{SilentSource, SourceFindings};
use crate::time::Timestamp;

/// The maximum number of silent sources that the overview describes.
const DESCRIBED_MAX: usize = 3;
/// What an operator does about it.
pub(super) const SILENT: &str = "Look at the sender of the source, and at the gateway in between. Sources shows the requests that the bridge has refused.";

/// Returns the loaded sources that are silent, the longest silence first. A source that has just sent an event is not silent
/// any more, although the next look at the rule comes some seconds later.
pub(super) fn silent_sources(
    findings: SourceFindings,
    loaded: &[String],
    last_event_at: &BTreeMap<String, i64>,
) -> Vec<SilentSource> {
    let is_silent = |silent: &SilentSource| {
        let last = last_event_at.get(&silent.source);
        let last = last.map(|at| Timestamp::from_millis(at.saturating_mul(1000)));
        loaded.contains(&silent.source) && last.is_some_and(|last| last <= silent.since)
    };
    let mut silent = findings.silent;
    silent.retain(is_silent);
    silent.sort_by_key(|silent| silent.since);
    silent
}

/// Returns the end of a headline, such as `crm is silent`.
pub(super) fn silent_name(silent: &[SilentSource]) -> String {
    match silent {
        [one] => format!("{} is silent", one.source),
        several => format!("{} sources are silent", several.len()),
    }
}

/// Describes the silent sources in one sentence each.
pub(super) fn silent_sentences(silent: &[SilentSource], now: Timestamp) -> Vec<String> {
    let described = silent.iter().take(DESCRIBED_MAX);
    let mut sentences: Vec<String> = described
        .map(|silent| silent_sentence(silent, now))
        .collect();
    let others = length(silent).saturating_sub(length(&sentences));
    sentences.extend((others > 0).then(|| {
        let others = counted(others, ["other source is", "other sources are"]);
        format!("{others} silent too.")
    }));
    sentences
}

pub(super) fn silent_sentence(silent: &SilentSource, now: Timestamp) -> String {
    format!(
        "{} sent more than 240 events in a day, and the bridge has accepted none of it since {}.",
        silent.source,
        TimeText::since(silent.since, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn silent(source: &str, hours: i64) -> SilentSource {
        SilentSource {
            source: source.to_owned(),
            since: Timestamp::from_millis(NOW.as_millis() - hours * 3_600_000),
        }
    }

    #[test]
    fn the_longest_silence_comes_first_and_the_number_is_bounded() {
        let names = ["a", "b", "c", "d", "e", "gone", "back"].map(str::to_owned);
        let all = (3..).zip(&names).map(|(hours, name)| silent(name, hours));
        let findings = SourceFindings {
            silent: all.collect(),
            ..SourceFindings::none(NOW)
        };
        let second =
            |silent: &SilentSource| (silent.source.clone(), silent.since.as_millis() / 1_000);
        let mut last: BTreeMap<String, i64> = findings.silent.iter().map(second).collect();
        last.insert("back".to_owned(), NOW.as_millis() / 1_000);
        let loaded = names.iter().filter(|name| *name != "gone");
        let loaded: Vec<String> = loaded.cloned().collect();
        let found = silent_sources(findings, &loaded, &last);
        assert_eq!(silent_name(&found), "5 sources are silent");
        assert_eq!(silent_name(&found[..1]), "e is silent");
        let sentences = silent_sentences(&found, NOW);
        assert_eq!(sentences.len(), 4);
        assert_eq!(
            sentences[0],
            "e sent more than 240 events in a day, and the bridge has accepted none of it since 15:13:20 UTC."
        );
        assert_eq!(sentences[3], "2 other sources are silent too.");
    }
}
