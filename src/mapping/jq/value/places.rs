//! Finds the places in a body from which the parts of an interpreter value come.

use super::super::super::located::PathStep;
use super::super::super::places::{EventPlaces, PartOrigin, common};
use super::notes::AbsentMember;
use super::{Val, ValContent};
use crate::event::pointer;

impl Val {
    /// Returns the places in the body from which the parts of this event come. `item` is the item of the body's list
    /// from which the expression has made the event. `absent` has the absent members of the objects that the expression
    /// has made for this event.
    pub(in crate::mapping::jq) fn places(
        &self,
        item: Option<Self>,
        absent: &[AbsentMember],
    ) -> EventPlaces {
        let mut places = EventPlaces::default();
        let place = self.add_places(String::new(), &mut places);
        self.add_absent(absent, &mut places);
        if self.origin.is_some() {
            return places;
        }
        let item = item.and_then(|item| {
            let is_object = matches!(item.content, ValContent::Object(..));
            Some((item.origin?.pointer(), is_object))
        });
        let around = place.as_deref().unwrap_or_default();
        let item = item.filter(|(item, _)| common(around, item) == around);
        // Parts that the event does not have are parts that the item does not have, not other parts of the body. A number
        // or a list has no members, so the event then lacks a part of the body around the item.
        let root = match item {
            Some((item, true)) => item,
            Some((item, false)) => {
                places.set_item(item);
                around.to_owned()
            }
            None => around.to_owned(),
        };
        places.insert(String::new(), PartOrigin::Made(root));
        places
    }

    /// Adds the places of the members that the event lacks because the body lacks them. Leaves out a name with several
    /// places.
    fn add_absent(&self, absent: &[AbsentMember], places: &mut EventPlaces) {
        let ValContent::Object(members, _) = &self.content else {
            return;
        };
        for member in absent
            .iter()
            .filter(|noted| !members.contains_key(&noted.name))
        {
            let place = member.value.pointer();
            let is_elsewhere =
                |other: &AbsentMember| other.name == member.name && other.value.pointer() != place;
            if !absent.iter().any(is_elsewhere) {
                let part = pointer::inside("", &member.name);
                places.insert(part, PartOrigin::Body(place));
            }
        }
    }

    /// Adds the places of this value, which is the part `part` of the event. Returns the place of the value.
    ///
    /// An object or an array that the expression has made has the innermost place that contains all its parts.
    fn add_places(&self, part: String, places: &mut EventPlaces) -> Option<String> {
        let place = match &self.origin {
            Some(origin) => Some(origin.pointer()),
            None => self.place_of_parts(&part, places),
        };
        let origin = match &place {
            Some(place) if self.is_of_event() => PartOrigin::Body(place.clone()),
            Some(place) => PartOrigin::Made(place.clone()),
            None => PartOrigin::Constant,
        };
        places.insert(part, origin);
        place
    }

    fn place_of_parts(&self, part: &str, places: &mut EventPlaces) -> Option<String> {
        let mut place: Option<String> = None;
        for (step, inner) in self.parts() {
            let name = match step {
                PathStep::Key(name) => pointer::inside(part, &name),
                PathStep::Index(index) => pointer::inside(part, &index.to_string()),
            };
            let Some(place_of_part) = inner.add_places(name, places) else {
                continue;
            };
            let around = match &inner.origin {
                Some(origin) if self.is_list() => outer(&origin.pointer()).to_owned(),
                Some(origin) => origin.object_pointer(),
                None => outer(&place_of_part).to_owned(),
            };
            place = Some(place.map_or_else(|| around.clone(), |place| common(&place, &around)));
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

/// Returns the place around a place.
fn outer(place: &str) -> &str {
    place.rsplit_once('/').map_or("", |(outer, _)| outer)
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
        assert_eq!(of_header.places(None, &[]).in_body(""), "/header");
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
            assert_eq!(of_both.places(None, &[]).in_body(part), place, "{part}");
        }
        // A part that the event does not have is a part of its item, unless the event has no part of the item.
        let row = member(&body, "rows").index(&Val::from(0)).unwrap();
        let constant = Val::object([(Rc::from("kind"), Val::from(1))]);
        for (event, part, place) in [
            (&of_both, "/type", "/rows/0/type"),
            (&of_both, "/head/type", "/header/type"),
            (&constant, "", "/rows/0"),
            (&of_header, "/type", "/header/type"),
            (&constant, "/kind", "/rows/0"),
        ] {
            assert_eq!(
                event.places(Some(row.clone()), &[]).in_body(part),
                place,
                "{part}"
            );
        }
    }

    /// FAULTS N580: a member that the event does not have is never a member of a number or of a list.
    #[test]
    fn an_event_of_an_id_has_the_place_of_the_object_around_the_ids() {
        budget::begin_event(u32::MAX);
        let body = json!({"type": "t", "ids": [7], "rows": [["x"]]});
        let body = Val::of(&LocatedValue::of_event(&body)).unwrap();
        let member = |name: &str| body.clone().index(&Val::from(name.to_owned())).unwrap();
        let item = |of: Val| of.index(&Val::from(0)).unwrap();
        let (id, row) = (item(member("ids")), item(member("rows")));
        let alone = Val::object([(Rc::from("id"), id.clone())]);
        let with_type = Val::object([
            (Rc::from("id"), id.clone()),
            (Rc::from("type"), member("type")),
        ]);
        let of_row = Val::object([(Rc::from("id"), item(row.clone()))]);
        for (event, item, event_place) in [
            (alone, &id, "/ids/0"),
            (with_type, &id, "/ids/0"),
            (of_row, &row, "/rows/0"),
        ] {
            let places = event.places(Some(item.clone()), &[]);
            assert_eq!(places.in_body("/at"), "/at");
            assert_eq!(places.in_body(""), "");
            assert_eq!(places.event(), event_place);
        }
    }
}
