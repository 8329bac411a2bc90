//! The places in a request body from which the parts of an event come.
//!
//! The expression `body.split` makes the events of a body. An event can be a part of the body, or an object that the
//! expression has made of several parts. Errors name places in the body, because the sender knows only the body.

use std::collections::BTreeMap;

/// The places in a request body from which the parts of one event come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPlaces {
    /// The JSON Pointers of parts of the event, each with the JSON Pointer of the place in the body. The place of a part
    /// is also the place of everything inside the part, unless the map has a more exact place.
    places: BTreeMap<String, String>,
}

impl EventPlaces {
    pub(super) fn insert(&mut self, part: String, place: String) {
        self.places.insert(part, place);
    }

    /// Returns whether this place in the event has a place in the body of its own.
    pub(super) fn is_part(&self, pointer: &str) -> bool {
        self.places.contains_key(pointer)
    }

    /// Returns the place in the body of a place in the event. Both places are JSON Pointers.
    pub fn in_body(&self, pointer: &str) -> String {
        let mut part = pointer;
        loop {
            if let Some(place) = self.places.get(part) {
                let inside = pointer.get(part.len()..).unwrap_or_default();
                return format!("{place}{inside}");
            }
            match part.rsplit_once('/') {
                Some((outer, _)) => part = outer,
                // The expression has made the event of constants only.
                None => return String::new(),
            }
        }
    }
}

/// Returns the JSON Pointer of the innermost place that contains both places.
pub(super) fn common(one: &str, other: &str) -> String {
    let steps = one.split('/').zip(other.split('/'));
    let shared: Vec<_> = steps
        .take_while(|(one, other)| one == other)
        .map(|(step, _)| step)
        .collect();
    shared.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_place_counts() {
        let mut places = EventPlaces::default();
        for (part, place) in [("", "/payload"), ("/id", "/payload/ids/3"), ("/a/b", "/x")] {
            places.insert(part.to_owned(), place.to_owned());
        }
        for (pointer, expected) in [
            ("", "/payload"),
            ("/id", "/payload/ids/3"),
            ("/id/0", "/payload/ids/3/0"),
            ("/ids", "/payload/ids"),
            ("/a", "/payload/a"),
            ("/a/b/c~1d", "/x/c~1d"),
        ] {
            assert_eq!(places.in_body(pointer), expected, "{pointer}");
        }
        assert_eq!(EventPlaces::default().in_body("/a"), "");
    }

    #[test]
    fn two_places_have_an_innermost_common_place() {
        for (one, other, expected) in [
            ("/a/b", "/a/c", "/a"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a/b", "/a", "/a"),
            ("/ab", "/a", ""),
            ("", "/a", ""),
        ] {
            assert_eq!(common(one, other), expected, "{one} {other}");
        }
    }
}
