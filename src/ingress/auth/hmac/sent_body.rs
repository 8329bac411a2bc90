//! The bodies that the sender can have signed: the received body, and the bodies before common changes.

/// Returns the body, and the bodies before common changes by editors and gateways, each with a note on the change.
pub(super) fn bodies(body: &[u8]) -> Vec<(Vec<u8>, Option<String>)> {
    let mut bodies = vec![(body.to_vec(), None)];
    let without_end = body.trim_ascii_end();
    let line_feeds: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
    let with_end = [body, b"\n"].concat();
    let compact = without_white_space(body);
    let spaced = with_spaces(&compact);
    let changes = [
        (
            without_end.to_vec(),
            "the body has no line break or white space at its end",
        ),
        (with_end, "the body has a line break at its end"),
        (
            line_feeds,
            "the lines of the body end with LF instead of CRLF",
        ),
        (
            compact,
            "the JSON of the body has no white space: the file was formatted after the sender signed it",
        ),
        (
            spaced,
            "the JSON of the body has a space after each comma and colon: another program parsed the body and wrote it again after the sender signed it",
        ),
    ];
    for (changed, note) in changes {
        if bodies.iter().all(|(known, _)| *known != changed) {
            bodies.push((changed, Some(note.to_owned())));
        }
    }
    bodies
}

/// Returns JSON without the white space between its tokens. The order of the keys stays the same.
fn without_white_space(body: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_kept = |byte: &u8| {
        let was_text = is_text;
        if *byte == b'"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = was_text && *byte == b'\\' && !is_escaped;
        was_text || !byte.is_ascii_whitespace()
    };
    body.iter().copied().filter(is_kept).collect()
}

/// Returns JSON without white space with a space after each comma and colon, as some libraries write JSON.
fn with_spaces(compact: &[u8]) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let mut spaced = Vec::with_capacity(compact.len());
    for byte in compact {
        spaced.push(*byte);
        if *byte == b'"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = is_text && *byte == b'\\' && !is_escaped;
        if !is_text && matches!(byte, b',' | b':') {
            spaced.push(b' ');
        }
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_inside_a_text_stays() {
        let pretty = br#"{
            "a b": "x \" y\\" , "c": [ 1 , 2 ]
        }"#;
        let compact = br#"{"a b":"x \" y\\","c":[1,2]}"#;
        assert_eq!(without_white_space(pretty), compact);
        assert_eq!(without_white_space(compact), compact);
        let spaced = br#"{"a b": "x \" y\\", "c": [1, 2]}"#;
        assert_eq!(with_spaces(compact), spaced);
    }
}
