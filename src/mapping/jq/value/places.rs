//! Finds the places in a body from which the parts of an interpreter value come.

use super::super::super::located::PathStep;
use super::super::super::places::{EventPlaces, common};
use super::{Val, ValContent};
use crate::event::pointer;

impl Val {
    /// Returns the places in the body from which the parts of this event come. `item` is the item of the body's list
    /// from which the expression has made the event.
    pub(in crate::mapping::jq) fn places(&self, item: Option<Self>) -> EventPlaces {
        let mut places = EventPlaces::default();
        let place = self.add_places(String::new(), &mut places);
        let item = item.and_then(|item| item.origin.map(|origin| origin.pointer()));
        // Parts that the event does not have are parts that the item does not have, not other parts of the body.
        if let Some(item) = item
            && self.origin.is_none()
            && place.is_none_or(|place| common(&place, &item) == place)
        {
            places.insert(String::new(), item);
        }
        places
    }

    /// Adds the places of this value, which is the part `part` of the event. Returns the place of the value.
    ///
    /// An object or an array that the expression has made has the innermost place that contains all its parts.
    fn add_places(&self, part: String, places: &mut EventPlaces) -> Option<String> {
        let place = match &self.origin {
            Some(origin) => origin.pointer(),
            None => self.place_of_parts(&part, places)?,
        };
        places.insert(part, place.clone());
        Some(place)
    }

    fn place_of_parts(&self, part: &str, places: &mut EventPlaces) -> Option<String> {
        let mut place: Option<String> = None;
        for (step, inner) in self.parts() {
            let name = match step {
                PathStep::Key(name) => pointer::inside(part, &name),
                PathStep::Index(index) => pointer::inside(part, &index.to_string()),
            };
            let Some(inner) = inner.add_places(name, places) else {
                continue;
            };
            let around = inner.rsplit_once('/').map_or("", |(around, _)| around);
            place = Some(place.map_or_else(|| around.to_owned(), |place| common(&place, around)));
        }
        place
    }

    fn parts(&self) -> Vec<(PathStep, &Self)> {
        match &self.content {
            ValContent::Array(items, _) => {
                let indexed = items.iter().enumerate();
                indexed
                    .map(|(index, item)| (PathStep::Index(index), item))
                    .collect()
            }
            ValContent::Object(members, _) => members
                .iter()
                .map(|(key, member)| (PathStep::Key(key.as_ref().to_owned()), member))
                .collect(),
            ValContent::Absent(_)
            | ValContent::Null
            | ValContent::Bool(_)
            | ValContent::Number(_)
            | ValContent::Text(_)
            | ValContent::Error(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use jaq_core::ValT as _;
    use serde_json::json;

    use super::*;
    use crate::mapping::budget;
    use crate::mapping::located::LocatedValue;

    /// An error about an event that the expression made of parts of a body names the place of each part in the body.
    #[test]
    fn a_made_event_has_the_places_of_its_parts() {
        budget::begin_event(u32::MAX);
        let body = json!({"header": {"id": 7, "at": 8}, "rows": [{"a": 1}]});
        let body = Val::of(&LocatedValue::of_event(&body)).unwrap();
        let member = |value: &Val, name: &str| {
            let name = Val::from(name.to_owned());
            value.clone().index(&name).unwrap()
        };
        let header = member(&body, "header");
        let row = member(&body, "rows").index(&Val::from(0)).unwrap();
        let of_header = Val::object([
            (Rc::from("id"), member(&header, "id")),
            (Rc::from("at"), member(&header, "at")),
        ]);
        assert_eq!(of_header.places(None).in_body(""), "/header");
        let of_both = Val::object([
            (Rc::from("head"), of_header.clone()),
            (Rc::from("row"), row),
        ]);
        for (part, place) in [
            ("/head/id", "/header/id"),
            ("/head", "/header"),
            ("/row/a", "/rows/0/a"),
            ("", ""),
        ] {
            assert_eq!(of_both.places(None).in_body(part), place, "{part}");
        }
        // A part that the event does not have is a part of its item, unless the event has no part of the item.
        let row = member(&body, "rows").index(&Val::from(0)).unwrap();
        let constant = Val::object([(Rc::from("kind"), Val::from(1))]);
        for (event, part, place) in [
            (&of_both, "/type", "/rows/0/type"),
            (&of_both, "/head/type", "/header/type"),
            (&constant, "", "/rows/0"),
            (&of_header, "/type", "/header/type"),
        ] {
            assert_eq!(
                event.places(Some(row.clone())).in_body(part),
                place,
                "{part}"
            );
        }
    }
}
