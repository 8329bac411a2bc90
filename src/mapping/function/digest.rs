//! The function `digest`, which makes an event id for senders whose events have no id.

use std::io;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Conversion;

/// Returns the SHA-256 of a value as 64 hexadecimal digits.
///
/// The digest covers the JSON of the value without white space and with sorted keys, so two bodies that differ only in
/// white space or in the order of keys have the same digest.
pub(super) fn digest(value: &Value) -> Conversion {
    let mut hash = HashWriter(Sha256::new());
    // A `Value` always serialises without an error, and the hash accepts every byte.
    let _written = serde_json::to_writer(&mut hash, value);
    let digest = hash.0.finalize();
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Value::String(digits))
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::FieldResult::{Absent, Set};
    use crate::mapping::tests::check;

    #[test]
    fn a_digest_depends_on_the_content_only() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = digest(&parsed(r#"{"b": [1, "x"], "a": null}"#)).unwrap();
        // The expected digest comes from `printf '{"a":null,"b":[1,"x"]}' | sha256sum`.
        let expected = "c22cb7b0353770e2b38094af641143ebf008ddf2d1f2dedb9d875996fcf245fa";
        assert_eq!(one, expected);
        assert_eq!(
            digest(&parsed(r#"{"a":null,"b":[1,"x"]}"#)).unwrap(),
            expected
        );
        for other in [
            r#"{"a":null,"b":[1,"y"]}"#,
            r#"{"a":null,"b":["x",1]}"#,
            r#"{"b":[1,"x"]}"#,
        ] {
            assert_ne!(digest(&parsed(other)).unwrap(), expected, "{other}");
        }
    }

    /// A digest of nothing would give all events without the values the same id.
    #[test]
    fn a_digest_of_absent_values_is_absent() {
        let digest_of = |value: &Value| digest(value).unwrap();
        check("metadata.k", ".v | digest", None, &Absent);
        check("metadata.k", "{v} | digest", None, &Absent);
        let v = json!({"x": 1});
        check(
            "metadata.k",
            ".v | digest",
            Some(v.clone()),
            &Set(digest_of(&v)),
        );
        check(
            "metadata.k",
            "[.v.x, .at] | digest",
            Some(v),
            &Set(digest_of(&json!([1, "2025-02-13T19:08:07.000Z"]))),
        );
    }
}
