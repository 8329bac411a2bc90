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

/// Returns whether one of the JSON Pointers `pointers` lies inside the place `outer`.
pub fn any_inside<P: Borrow<str> + Ord>(pointers: &BTreeSet<P>, outer: &str) -> bool {
    let prefix = format!("{outer}/");
    let range = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    let first = pointers.range::<str, _>(range).next();
    first.is_some_and(|pointer| pointer.borrow().starts_with(&prefix))
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
