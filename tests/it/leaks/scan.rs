//! Finds canary values in bytes, also in the encodings in which programs print values.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The number of bytes that select the forms to compare at a position.
const START: usize = 3;

/// A search for many canary values at once.
pub(super) struct Scanner {
    /// The forms of all canary values in lower case, by their first [`START`] bytes.
    forms: HashMap<[u8; START], Vec<(&'static str, Vec<u8>)>>,
    /// The first bytes of all forms, because a look into a table is faster than a look into a map.
    first_bytes: [bool; 256],
}

impl Scanner {
    /// Creates a search for canaries: pairs of a name and a value.
    pub(super) fn new(canaries: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let mut scanner = Self {
            forms: HashMap::new(),
            first_bytes: [false; 256],
        };
        for (name, value) in canaries {
            for form in forms(value) {
                let start = [form[0], form[1], form[2]];
                scanner.first_bytes[usize::from(form[0])] = true;
                scanner.forms.entry(start).or_default().push((name, form));
            }
        }
        scanner
    }

    /// Returns the names of the canaries in the bytes.
    pub(super) fn scan(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let bytes = bytes.to_ascii_lowercase();
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(START) {
            if !self.first_bytes[usize::from(bytes[at])] {
                continue;
            }
            let rest = &bytes[at..];
            let forms = self.forms.get(&rest[..START]).into_iter().flatten();
            let matches = forms.filter(|(_, form)| rest.starts_with(form));
            found.extend(matches.map(|(name, _)| *name));
        }
        found
    }
}

/// Returns the forms of a value in lower case: as text, in hexadecimal, as base64 at each of the three positions, and as
/// a list of bytes (`113, 122, …`), as `{:?}` prints bytes. Text that is escaped for JSON or percent-encoded is the same
/// as the plain text, because canary values have no special characters.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = value.bytes().map(|byte| byte.to_string()).collect();
    let mut forms = vec![value.to_owned(), hex, list.join(", ")];
    for position in 0..3 {
        let encoded = STANDARD.encode(format!("{}{value}", " ".repeat(position)));
        // The first and the last characters also depend on the bytes around the value.
        let whole_groups = (position + value.len()) / 3 * 4;
        let skipped = if position == 0 { 0 } else { 4 };
        forms.push(encoded.get(skipped..whole_groups).unwrap().to_owned());
    }
    let bytes = forms.into_iter().map(|form| form.to_ascii_lowercase());
    bytes.map(String::into_bytes).collect()
}

#[test]
fn a_canary_is_found_in_every_form() {
    let scanner = Scanner::new([("a", "qzcanary7x"), ("b", "+14155550142")].into_iter());
    let basic = |user: &str| STANDARD.encode(format!("{user}:qzcanary7x!"));
    let table = [
        ("none: qzcanary8x", vec![]),
        ("{\"text\":\"qzcanary7x\"}", vec!["a"]),
        ("QZCANARY7X", vec!["a"]),
        (&basic("u"), vec!["a"]),
        (&basic("us"), vec!["a"]),
        (&basic("use"), vec!["a"]),
        (&format!("{:?}", b"qzcanary7x".as_slice()), vec!["a"]),
        ("717a63616E617279377800", vec!["a"]),
        ("+14155550142, qzcanary7x", vec!["a", "b"]),
    ];
    for (text, expected) in table {
        let found = scanner.scan(text.as_bytes());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{text}");
    }
}
