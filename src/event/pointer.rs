//! JSON Pointers (RFC 6901) to places in an event, as text.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Appends the member or item `name` to a JSON Pointer.
pub fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    for letter in name.chars() {
        match letter {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            letter => pointer.push(letter),
        }
    }
}

/// Returns the JSON Pointer of the member or item `name` inside the place `outer`.
pub fn inside(outer: &str, name: &str) -> String {
    let mut pointer = String::with_capacity(outer.len() + name.len() + 1);
    pointer.push_str(outer);
    push(&mut pointer, name);
    pointer
}

/// Returns the name of a member or an item from its part of a JSON Pointer.
pub fn name(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Returns whether one of the JSON Pointers `pointers` lies inside the place `outer`.
pub fn any_inside<P: Borrow<str> + Ord>(pointers: &BTreeSet<P>, outer: &str) -> bool {
    let prefix = format!("{outer}/");
    let range = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    let first = pointers.range::<str, _>(range).next();
    first.is_some_and(|pointer| pointer.borrow().starts_with(&prefix))
}

/// The maximum length of a member name in a JSON Pointer for people and logs. A name is longer only by mistake.
const NAME_BYTES_MAX: usize = 64;
/// The maximum number of names in a JSON Pointer for people and logs.
const NAMES_MAX: usize = 16;

/// Returns the JSON Pointer for logs and lists, with `*` in the place of each name that can be a value.
///
/// Some senders send objects whose member names are values, such as e-mail addresses, phone numbers or ids. The place of a
/// header, such as `header("x-topic")`, stays as it is: its name comes from an expression in the source file.
pub fn without_values(pointer: &str) -> String {
    if pointer.starts_with("header(\"") {
        return pointer.to_owned();
    }
    let names = pointer.split('/').skip(1).take(NAMES_MAX);
    let shown = names.flat_map(|name| ["/", if is_name(name) { name } else { "*" }]);
    shown.collect()
}

/// Returns the JSON Pointer with `*` in the place of each index.
pub fn without_indexes(pointer: &str) -> String {
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = pointer
        .split('/')
        .map(|part| if is_index(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns whether a part of a JSON Pointer is certainly a name or an index, and not a value.
pub fn is_name(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let is_index = digits == part.len() && (1..=4).contains(&digits);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    let starts_well = part
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    let is_identifier = starts_well && digits <= 3 && part.bytes().all(is_word);
    is_index || (is_identifier && part.len() <= NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        for (name, expected) in [
            ("a", "/x/a"),
            ("", "/x/"),
            ("a/b", "/x/a~1b"),
            ("~", "/x/~0"),
            ("~1", "/x/~01"),
            ("/~/é", "/x/~1~0~1é"),
        ] {
            assert_eq!(inside("/x", name), expected, "{name}");
        }
        let mut pointer = String::new();
        push(&mut pointer, "a");
        push(&mut pointer, "0");
        assert_eq!(pointer, "/a/0");
    }

    /// FAULTS N460: a member name that is a value does not reach the log or the list of refused requests.
    #[test]
    fn names_that_can_be_values_are_masked() {
        for (pointer, expected) in [
            ("", ""),
            ("/0/data/e_mail", "/0/data/e_mail"),
            ("/Address__c/line2/$id", "/Address__c/line2/$id"),
            ("/by_mail/a@example.com/phone", "/by_mail/*/phone"),
            ("/14155552671", "/*"),
            ("/+14155552671/C-12345/é/a b//a.b", "/*/*/*/*/*/*"),
            ("/a~1b", "/*"),
            ("header(\"x-topic-2024\")", "header(\"x-topic-2024\")"),
        ] {
            assert_eq!(without_values(pointer), expected);
        }
        let long = format!("/{}", "x".repeat(65));
        assert_eq!(without_values(&long), "/*");
        assert_eq!(without_values(&"/a".repeat(17)), "/a".repeat(16));
    }

    #[test]
    fn a_place_is_not_inside_itself_or_its_neighbour() {
        let pointers = BTreeSet::from(["/a/b/c", "/ab", "/d", "/d-e"]);
        for (outer, expected) in [
            ("", true),
            ("/a", true),
            ("/a/b", true),
            ("/a/b/c", false),
            ("/ab", false),
            ("/d", false),
            ("/e", false),
        ] {
            assert_eq!(any_inside(&pointers, outer), expected, "{outer}");
        }
    }
}
