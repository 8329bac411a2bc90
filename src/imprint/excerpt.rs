//! Reads an answer of Imprint of any length into a limited buffer. If the answer does not fit, the buffer keeps only
//! the short top-level members, so that the id of a customer with large metadata is kept. The code is pure.
//!
//! The encoding of the answer decides nothing. If a value of the customer is not UTF-8, the answer is readable all the
//! same: otherwise the bridge would send an update again and again that Imprint has applied.

use std::mem;

/// The maximum number of kept bytes of an answer. A customer object has about 1 KiB.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// The maximum length of a kept top-level member, if the answer does not fit into the buffer. An address is shorter.
const MEMBER_BYTES_MAX: usize = 4 * 1024;
/// The mark that some programs write in front of a UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The part of an answer that the bridge keeps.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    kept: Vec<u8>,
    /// The position in the JSON text of the answer. The value is `None` while the answer fits into the buffer.
    abridging: Option<JsonPosition>,
}

/// The position in a JSON text from which the buffer leaves out the long members.
#[derive(Debug, Default)]
struct JsonPosition {
    /// The number of open objects and arrays.
    depth: usize,
    text: Text,
    /// The number of kept bytes before the current member and before the comma in front of this member.
    member_at: usize,
    is_member_left_out: bool,
}

/// Whether the position is inside a JSON string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// The next character is escaped.
    Escaped,
}

impl Excerpt {
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if self.abridging.is_none() {
            self.kept.extend_from_slice(bytes);
            if self.kept.len() <= KEPT_BYTES_MAX {
                return;
            }
            self.abridging = Some(JsonPosition::default());
            let unabridged = mem::take(&mut self.kept);
            self.abridge(&unabridged);
        } else {
            self.abridge(bytes);
        }
    }

    /// Returns whether a part of the answer was left out.
    pub(super) fn is_abridged(&self) -> bool {
        self.abridging.is_some()
    }

    /// Returns the kept text: the whole answer, or a JSON object with the short members of the answer. The replacement
    /// character U+FFFD replaces each sequence of bytes that is not UTF-8. The result has no byte order mark.
    pub(super) fn into_text(self) -> String {
        let mut kept = String::from_utf8(self.kept)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        if kept.starts_with(BYTE_ORDER_MARK) {
            kept.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        kept
    }

    fn abridge(&mut self, bytes: &[u8]) {
        if let Some(position) = &mut self.abridging {
            for byte in bytes {
                position.keep(*byte, &mut self.kept);
            }
        }
    }
}

impl JsonPosition {
    fn keep(&mut self, byte: u8, kept: &mut Vec<u8>) {
        if self.ends_member(byte) {
            self.is_member_left_out = false;
            self.member_at = kept.len();
            if byte == b',' && kept.last() == Some(&b'{') {
                // The buffer has left out the first member, and therefore also leaves out the comma after this member.
                return;
            }
        }
        if self.is_member_left_out {
            return;
        }
        kept.push(byte);
        if byte == b'{' && self.depth == 1 && self.text == Text::Outside {
            self.member_at = kept.len();
        }
        let is_long = kept.len() > self.member_at.saturating_add(MEMBER_BYTES_MAX);
        if is_long || kept.len() > KEPT_BYTES_MAX {
            kept.truncate(self.member_at);
            self.is_member_left_out = true;
        }
    }

    /// Moves the position over `byte`, and returns whether a top-level member ends before `byte`.
    fn ends_member(&mut self, byte: u8) -> bool {
        match (self.text, byte) {
            (Text::Escaped, _) | (Text::Outside, b'"') => self.text = Text::Inside,
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, _) => {}
            (Text::Outside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (Text::Outside, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (Text::Outside, b',') => return self.depth == 1,
            (Text::Outside, _) => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Reads an answer in pieces, and returns the kept bytes if they are JSON.
    fn excerpt(answer: &str, piece: usize) -> (Option<Value>, bool) {
        let mut excerpt = Excerpt::default();
        for bytes in answer.as_bytes().chunks(piece) {
            excerpt.read(bytes);
        }
        let is_abridged = excerpt.is_abridged();
        let kept = excerpt.into_text();
        assert!(kept.len() <= KEPT_BYTES_MAX);
        (serde_json::from_str(&kept).ok(), is_abridged)
    }

    #[test]
    fn a_short_answer_is_kept_as_it_is() {
        for answer in ["", "<html>", r#"{"id":"c1""#, "{}", "[1]"] {
            let mut excerpt = Excerpt::default();
            excerpt.read(answer.as_bytes());
            assert!(!excerpt.is_abridged());
            assert_eq!(excerpt.into_text(), answer);
        }
        let longest = format!(r#"{{"a":"{}"}}"#, "x".repeat(KEPT_BYTES_MAX - 8));
        assert!(!excerpt(&longest, 1000).1);
    }

    /// FAULTS N87
    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        for (answer, expected) in [
            (
                &b"{\"id\":\"c1\",\"a\":\"\xe9\"}"[..],
                "{\"id\":\"c1\",\"a\":\"\u{fffd}\"}",
            ),
            (b"\xef\xbb\xbf{\"id\":\"c1\"}", "{\"id\":\"c1\"}"),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", "\u{feff}{}"),
            (b"\xef\xbb", "\u{fffd}"),
        ] {
            let mut excerpt = Excerpt::default();
            excerpt.read(answer);
            assert_eq!(excerpt.into_text(), expected);
        }
    }

    #[test]
    fn a_long_member_is_left_out_wherever_it_stands() {
        let large = json!({"a, \"}{": "x, \\\"}".repeat(40_000), "b": [[{}], {"c": "}"}]});
        let long_text = json!("é\\\"{,".repeat(30_000));
        let short = json!({"id": "c1", "address": {"city": "Re\"n,o"}});
        for (answer, expected) in [
            (json!({"id": "c1", "metadata": large}), json!({"id": "c1"})),
            (json!({"a": large, "id": "c1"}), json!({"id": "c1"})),
            (
                json!({"a": long_text, "id": "c1", "z": large}),
                json!({"id": "c1"}),
            ),
            (json!({"a": large}), json!({})),
            (
                json!({"address": short["address"], "b": large, "id": "c1", "z": long_text}),
                short,
            ),
        ] {
            let texts = [answer.to_string(), format!("{answer:#}\n")];
            for (text, piece) in texts.iter().zip([1, usize::MAX]) {
                let (kept, is_abridged) = excerpt(text, piece);
                assert_eq!((kept, is_abridged), (Some(expected.clone()), true));
            }
        }
    }

    #[test]
    fn an_object_that_breaks_off_or_goes_on_is_not_json() {
        let whole = json!({"id": "c1", "metadata": "x".repeat(200_000)}).to_string();
        for broken in [
            whole.get(..whole.len() - 1).unwrap(),
            whole.get(..whole.len() - 2).unwrap(),
            whole.get(..100_000).unwrap(),
            &format!("{whole}x"),
            &format!("{whole}{whole}"),
            &"<html>".repeat(20_000),
            &"{".repeat(200_000),
        ] {
            assert_eq!(excerpt(broken, 1000), (None, true), "{broken:.40}");
        }
    }

    proptest! {
        #[test]
        fn the_short_members_of_a_long_object_are_kept(
            lengths in prop::collection::vec((prop::bool::ANY, "[a-z\\\\\"{},]{0,20}"), 0..10)
        ) {
            let filler = "x".repeat(KEPT_BYTES_MAX);
            let mut members = serde_json::Map::new();
            let mut kept = serde_json::Map::new();
            for (at, (is_long, text)) in lengths.iter().enumerate() {
                let key = format!("{at}{text}");
                if *is_long {
                    members.insert(key, json!([{ "a": filler }, text]));
                } else {
                    members.insert(key.clone(), json!({ "a": [text] }));
                    kept.insert(key, json!({ "a": [text] }));
                }
            }
            let is_long = lengths.iter().any(|(is_long, _)| *is_long);
            let (read, is_abridged) = excerpt(&Value::Object(members).to_string(), 777);
            prop_assert_eq!(read, Some(Value::Object(kept)));
            prop_assert_eq!(is_abridged, is_long);
        }
    }
}
