//! The places in a request body from which the parts of an event come.
//!
//! The expression `body.split` makes the events of a body. An event can be a part of the body, or an object that the
//! expression has made of several parts. Errors name places in the body, because the sender knows only the body.

use std::collections::BTreeMap;

/// The places in a request body from which the parts of one event come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPlaces {
    /// The JSON Pointers of parts of the event, each with the origin of the part. The place of a part is also the place
    /// of everything inside the part, unless the map has a more exact place.
    parts: BTreeMap<String, PartOrigin>,
    /// The item of the body's list from which the expression has made the event, if the event is no part of the body.
    item: Option<String>,
}

/// The origin of one part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartOrigin {
    /// The body contains the part at this place.
    Body(String),
    /// The expression has made the object or the array. The place is the innermost place in the body that contains all
    /// its parts, and that can contain more of them.
    Made(String),
    /// The expression has made the part of constants only.
    Constant,
}

/// The cause of an error about a part of an event, as far as the expression `body.split` is the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitCause {
    /// The expression has made the object around the part, and has not put the part into the object.
    LeftOut,
    /// The expression has made the object around the part of constants only, without the part.
    LeftOutOfConstant,
    /// The expression has made the part.
    Made,
}

impl EventPlaces {
    pub(super) fn insert(&mut self, part: String, origin: PartOrigin) {
        self.parts.insert(part, origin);
    }

    pub(super) fn set_item(&mut self, item: String) {
        self.item = Some(item);
    }

    /// Returns whether the expression has made this part, or has moved it from another place in the body.
    pub(super) fn is_moved(&self, part: &str) -> bool {
        match self.parts.get(part) {
            Some(PartOrigin::Body(place) | PartOrigin::Made(place)) => place != part,
            Some(PartOrigin::Constant) => true,
            None => false,
        }
    }

    /// Returns the place in the body of a place in the event. Both places are JSON Pointers. A constant has the place of
    /// the object that contains the constant.
    pub fn in_body(&self, pointer: &str) -> String {
        let (mut pointer, mut part) = (pointer, pointer);
        loop {
            let outer = part.rsplit_once('/').map(|(outer, _)| outer);
            match (self.parts.get(part), outer) {
                (Some(PartOrigin::Body(place) | PartOrigin::Made(place)), _) => {
                    let inside = pointer.get(part.len()..).unwrap_or_default();
                    return format!("{place}{inside}");
                }
                // The expression has made the event of constants only.
                (Some(PartOrigin::Constant) | None, None) => return String::new(),
                (Some(PartOrigin::Constant), Some(outer)) => (pointer, part) = (outer, outer),
                (None, Some(outer)) => part = outer,
            }
        }
    }

    /// Returns the places in the body whose values are parts of the event, as JSON Pointers.
    pub(super) fn origins(&self) -> impl Iterator<Item = &str> {
        self.parts.values().filter_map(|origin| match origin {
            PartOrigin::Body(place) => Some(place.as_str()),
            PartOrigin::Made(_) | PartOrigin::Constant => None,
        })
    }

    /// Returns the place of the event in the body, as a JSON Pointer.
    pub fn event(&self) -> String {
        self.item.clone().unwrap_or_else(|| self.in_body(""))
    }

    /// Returns the part that the expression has in the cause of an error at this place in the event. Returns `None` if
    /// the body contains the object around the place.
    pub fn split_cause(&self, pointer: &str) -> Option<SplitCause> {
        let mut part = pointer;
        loop {
            match self.parts.get(part) {
                Some(PartOrigin::Body(_)) => return None,
                Some(PartOrigin::Made(_)) if part != pointer => return Some(SplitCause::LeftOut),
                Some(PartOrigin::Constant) if part != pointer => {
                    return Some(SplitCause::LeftOutOfConstant);
                }
                Some(PartOrigin::Made(_) | PartOrigin::Constant) => return Some(SplitCause::Made),
                None => part = part.rsplit_once('/')?.0,
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
        let made = |place: &str| PartOrigin::Made(place.to_owned());
        let body = |place: &str| PartOrigin::Body(place.to_owned());
        for (part, origin) in [
            ("", made("/payload")),
            ("/id", body("/payload/ids/3")),
            ("/a/b", body("/x")),
            ("/kind", PartOrigin::Constant),
        ] {
            places.insert(part.to_owned(), origin);
        }
        let (made, left_out) = (Some(SplitCause::Made), Some(SplitCause::LeftOut));
        for (pointer, expected, cause) in [
            ("", "/payload", made),
            ("/id", "/payload/ids/3", None),
            ("/id/0", "/payload/ids/3/0", None),
            ("/ids", "/payload/ids", left_out),
            ("/a", "/payload/a", left_out),
            ("/a/b/c~1d", "/x/c~1d", None),
            ("/kind", "/payload", made),
            ("/kind/x", "/payload", Some(SplitCause::LeftOutOfConstant)),
        ] {
            assert_eq!(places.in_body(pointer), expected, "{pointer}");
            assert_eq!(places.split_cause(pointer), cause, "{pointer}");
        }
        assert_eq!(EventPlaces::default().in_body("/a"), "");
        assert_eq!(places.event(), "/payload");
        places.set_item("/payload/ids/3".to_owned());
        assert_eq!(places.event(), "/payload/ids/3");
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
