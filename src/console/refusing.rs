//! The sentence about a source whose requests the bridge refuses without exception. Pure.

use super::sentence::{Sentence, Situation, Tone, headline};
use super::words::TimeText;
use crate::time::Timestamp;

/// A source of which the bridge has refused every request since its last accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedSource {
    pub(super) name: String,
    /// The path of the source file.
    pub(super) file: String,
    /// The time of the first refused request after the last accepted event. `None` if the process has accepted none.
    pub(super) since: Option<Timestamp>,
    /// The sentence about the latest refused request.
    pub(super) detail: String,
    /// True if the request has a signature or a token of another secret.
    pub(super) is_wrong_secret: bool,
    /// The place of its error in the event, and the place of the rule, or an empty text.
    pub(super) place: (Option<String>, String),
    /// The time of the last change of its file since the start of the process.
    pub(super) changed_at: Option<Timestamp>,
}

/// Describes a source whose requests the bridge refuses without exception.
pub(super) fn refusing(source: &RefusedSource, situation: &Situation) -> Sentence {
    let since = match source.since {
        Some(_) => "Since then, the bridge has refused",
        None => "Since the start, the bridge has refused",
    };
    let changed = source.changed_at.map(|at| {
        let at = TimeText::since(at, situation.now);
        format!(" Its file changed at {at}: Sources shows the changed lines.")
    });
    let name = format!("Refusing the events of {}", source.name);
    Sentence {
        tone: Tone::Warning,
        headline: headline(&name, source.since, situation.now),
        name,
        cause: format!(
            "{since} every request of this source. The latest: {}{}{} The bridge keeps no refused event, so the source must send it again.",
            sentence_end(&source.detail),
            place(&source.place),
            changed.unwrap_or_default()
        ),
        advice: Some(match source.is_wrong_secret {
            true => format!(
                "Compare the secret with the owner of the source. After a change of the secret, put the new one into a further file of the list in the table auth of {}, and keep the old one until the change is over: the bridge reads the files every few seconds.",
                source.file
            )
            .into(),
            false => format!(
                "Sources shows each reason with its place. If the source file {} is wrong, correct it: the bridge reads the file again by itself.",
                source.file
            )
            .into(),
        }),
        link: None,
    }
}

/// Returns a sentence about the place of an error.
fn place((pointer, location): &(Option<String>, String)) -> String {
    match (pointer, location.as_str()) {
        (None, "") => String::new(),
        (None, location) => format!(" The rule is that of {location}."),
        (Some(pointer), "") => format!(" The error is at {pointer} in the event."),
        (Some(pointer), location) => {
            format!(" The error is at {pointer} in the event, and the rule is that of {location}.")
        }
    }
}

/// Returns a text with a full stop at its end.
fn sentence_end(text: &str) -> String {
    match text.ends_with('.') {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}
