//! Reads the values of the fields of an update, leaves out invalid values, and compares the values with the customer before
//! the change.

use std::collections::BTreeSet;

use serde_json::Value;

use super::budget;
use super::contract;
use super::error::EvalError;
use super::located::{self, LocatedValue, ReadContext};
use super::{BEFORE, CompiledRule, Field, FieldRule, Mapping, Update, or_record};
use crate::event::{EventError, RequestHeaders};
use crate::imprint::{CustomerRef, FieldGroup};

/// The path of the field whose value decides whether the address at the top level of an update is in the USA.
const COUNTRY_FIELD: &str = "customer_history.address.country";

/// The customer after a change: an event with what the mapping has read of it.
pub(super) struct CurrentImage<'e> {
    pub(super) input: &'e LocatedValue<'e>,
    pub(super) headers: &'e RequestHeaders,
    pub(super) customer: Option<&'e CustomerRef>,
    pub(super) values: &'e FieldValues,
}

/// The values of the fields of one event, and the fields that the update leaves out because their values are invalid.
pub(super) struct FieldValues {
    update: Update,
    skipped: Vec<(Field, EventError)>,
}

impl FieldValues {
    /// Returns whether the country of the address is outside the USA and its territories. `only_changed` can leave the country
    /// out of the update and keep the lines of the address.
    pub(super) fn names_foreign_country(&self) -> bool {
        self.update.names_foreign_country()
    }

    pub(super) fn into_errors(self) -> Vec<EventError> {
        self.skipped.into_iter().map(|(_, error)| error).collect()
    }
}

impl FieldRule {
    /// Returns whether the update leaves out the field because of this error. If the expression exceeds its budget, nothing
    /// is known about the value, so the whole event is invalid.
    pub(super) fn skips(&self, error: &EvalError) -> bool {
        self.skips_invalid && error.rule != budget::RULE
    }
}

impl Mapping {
    /// Reads the values of all fields. Adds the errors of fields that the update must not leave out to `errors`.
    pub(super) fn values(
        &self,
        input: &LocatedValue<'_>,
        errors: &mut Vec<EventError>,
    ) -> FieldValues {
        let mut skipped = Vec::new();
        let values = self.fields.iter().filter_map(|field_rule| {
            let located = field_rule.rule.plan.read(input);
            let field = &field_rule.field;
            let value = located.and_then(|located| contract::field_value(field, located));
            match value {
                Err(error) if field_rule.skips(&error) => {
                    skipped.push((field.clone(), error.into_skipped_error(field)));
                    None
                }
                value => Some((field.clone(), or_record(errors, field, value)??)),
            }
        });
        let mut update: Update = values.collect();
        if !skipped.is_empty() {
            let invalid = || skipped.iter().map(|(field, _)| field);
            let sent = update
                .iter()
                .filter(|(field, _)| !self.holds_back(invalid(), field));
            update = sent
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect();
        }
        FieldValues { update, skipped }
    }

    /// Returns whether an update without the invalid fields must not contain `field`.
    ///
    /// An address of new and old lines does not exist, and an amount means nothing in another currency. Without the
    /// country, nobody knows whether the address is in the USA.
    pub(super) fn holds_back<'f>(
        &self,
        mut invalid: impl Iterator<Item = &'f Field>,
        field: &Field,
    ) -> bool {
        invalid.any(|invalid| {
            let decides_country = invalid.path() == COUNTRY_FIELD && self.country.is_none();
            invalid.belongs_with(field) || decides_country && field.group() == FieldGroup::Address
        })
    }

    /// Returns the update without the field groups whose values have not changed.
    ///
    /// Returns the whole update if the event does not contain the customer before the change. That is also so if the source
    /// has said nothing about this customer then: the row before the change has another id or null, or does not meet `when`.
    ///
    /// The bridge sends a field group as a whole or not at all. A field that the bridge cannot read from the customer
    /// before the change counts as changed. A field that the update leaves out because of an invalid value does not count
    /// as changed. The country decides whether the bridge sends the address, so an address that becomes domestic or foreign
    /// has changed, also if its lines are equal.
    pub(super) fn changed(&self, now: &CurrentImage<'_>, errors: &mut Vec<EventError>) -> Update {
        let CurrentImage { input, values, .. } = *now;
        let update = &values.update;
        let Some(images) = &self.images else {
            return update.clone();
        };
        let before = or_record(errors, &BEFORE, images.before.plan.read(input));
        let before = before.and_then(|located| located.value().cloned());
        let Some(before) = before.filter(|before| !before.is_null()) else {
            return update.clone();
        };
        let mut event = input.value().cloned().unwrap_or_default();
        located::replace_at(&mut event, &images.after_path, before);
        budget::begin_event(budget::EVENT_STEPS_MAX);
        let before_event = LocatedValue::of_event(&event);
        let mut unreadable = Vec::new();
        let was_left_out =
            !images.is_condition && matches!(self.condition(&event, now.headers), Ok(Some(false)));
        if was_left_out || self.is_about_other(&before_event, now.customer) {
            return update.clone();
        }
        let before = self.values(&before_event, &mut unreadable);
        let was_foreign = self.has_foreign_address(&before_event, &before, &unreadable);
        let is_foreign = self.has_foreign_address(input, values, errors);
        if budget::is_exceeded() {
            or_record::<()>(errors, &BEFORE, Err(input.exceeded()));
        }
        let invalid = || values.skipped.iter().map(|(field, _)| field);
        let differs = |field: &Field| {
            update.value(field) != before.update.value(field) && !self.holds_back(invalid(), field)
        };
        let groups = self.fields().filter(|field| differs(field));
        let mut groups: BTreeSet<FieldGroup> = groups.map(Field::group).collect();
        if was_foreign.is_none() || was_foreign != is_foreign {
            groups.insert(FieldGroup::Address);
        }
        let changed = update
            .iter()
            .filter(|(field, _)| groups.contains(&field.group()));
        changed
            .map(|(field, fact)| (field.clone(), fact.clone()))
            .collect()
    }

    /// Returns whether an event meets the condition `when`, or `None` if the event says nothing about it. Such an event does not
    /// meet the condition.
    pub(super) fn condition(
        &self,
        event: &Value,
        headers: &RequestHeaders,
    ) -> Result<Option<bool>, EvalError> {
        let Some(when) = &self.when else {
            return Ok(Some(true));
        };
        let context = ReadContext {
            headers: Some(headers),
            log: None,
        };
        let request = LocatedValue::in_context(event, &context);
        let met = when.plan.read(&request)?;
        let is_met = met.is_true();
        Ok((is_met || !met.is_absent()).then_some(is_met))
    }

    /// Returns whether the row before the change names another customer, or null. A row without the id does not say so.
    fn is_about_other(&self, before: &LocatedValue<'_>, now: Option<&CustomerRef>) -> bool {
        let imprint = stated(self.imprint_id.as_ref(), before).map(|located| {
            let id = located.and_then(|located| contract::imprint_id(&located));
            id.ok().flatten().as_ref() != now.and_then(CustomerRef::imprint)
        });
        let partner = stated(self.partner_id.as_ref(), before).map(|located| {
            let id = located.and_then(|located| contract::partner_id(&located));
            id.ok().flatten().as_ref() != now.and_then(CustomerRef::partner)
        });
        imprint == Some(true) || partner == Some(true)
    }

    /// Returns whether the address is outside the USA and its territories, or `None` if the country is invalid. `values` and
    /// `errors` are the results of [`Self::values`] for the event.
    fn has_foreign_address(
        &self,
        event: &LocatedValue<'_>,
        values: &FieldValues,
        errors: &[EventError],
    ) -> Option<bool> {
        if let Some(rule) = &self.country {
            let located = rule.plan.read(event);
            match located.and_then(|located| contract::is_foreign(&located)) {
                Err(_invalid) => return None,
                Ok(Some(is_foreign)) => return Some(is_foreign),
                // Without a country there, the field counts.
                Ok(None) => {}
            }
        }
        let is_country = |error: &EventError| error.location == COUNTRY_FIELD;
        let mut skipped = values.skipped.iter().map(|(_, error)| error);
        let is_invalid = errors.iter().any(is_country) || skipped.any(is_country);
        (!is_invalid).then(|| values.names_foreign_country())
    }
}

/// Returns the value of a rule, or `None` if the event says nothing about it.
fn stated<'v>(
    rule: Option<&'v CompiledRule>,
    event: &LocatedValue<'v>,
) -> Option<Result<LocatedValue<'v>, EvalError>> {
    let read = rule.map(|rule| rule.plan.read(event))?;
    (!read.as_ref().is_ok_and(LocatedValue::is_absent)).then_some(read)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mapping::tests::{any_value, rules};
    use crate::mapping::{FieldValue, MappingRules};

    const UPDATE: &[(&str, &str)] = &[
        ("email", ".email"),
        ("phone", ".phone | e164(\"US\")"),
        ("preferred_language", "[.languages[] | language] | first"),
        ("city", ".city"),
        ("state", ".state | us_state"),
        ("customer_history.address.city", ".city"),
        ("customer_history.address.country", ".country | alpha3"),
        (
            "customer_history.ltv_amount",
            "minor_units(.amount; .currency)",
        ),
        ("customer_history.ltv_currency", ".currency"),
        (
            "metadata.since",
            "if .since? then .since | date else empty end",
        ),
    ];

    /// A mapping that compares two rows with a city and a country. The country is a field, unless it is the `rule` of the event
    /// type.
    fn moved(rule: Option<&str>) -> Mapping {
        let country = ".after.c | alpha3";
        let mut fields = vec![("city", ".after.city")];
        if rule != Some(country) {
            fields.push((COUNTRY_FIELD, country));
        }
        Mapping::compile(&MappingRules {
            country: rule.map(str::to_owned),
            only_changed: Some(crate::mapping::ImageRules {
                before: ".before".to_owned(),
                after: ".after".to_owned(),
            }),
            ..rules(&fields)
        })
        .unwrap()
    }

    /// FAULTS N1434: the country decides whether the bridge sends the address.
    #[test]
    fn an_address_that_becomes_foreign_or_domestic_has_changed() {
        let row = |city: &str, country: &str| json!({"city": city, "c": country});
        for (before, country, city, is_sent, is_foreign) in [
            ("CA", "US", "Reno", true, false),
            ("US", "CA", "Reno", true, true),
            ("US", "US", "Reno", false, false),
            ("US", "PR", "Reno", false, false),
            ("Atlantis", "US", "Reno", true, false),
            // The country has not changed, so only_changed leaves it out.
            ("CA", "CA", "Banff", true, true),
        ] {
            let event =
                json!({"id": "C1", "before": row("Reno", before), "after": row(city, country)});
            // The last rule gives no country, so the field counts.
            for rule in [None, Some(".after.c | alpha3"), Some(".after.none")] {
                let change = moved(rule).map(&event).unwrap().unwrap();
                assert_eq!(change.update.sets_address(), is_sent, "{event} {rule:?}");
                assert_eq!(change.is_foreign, is_foreign, "{event} {rule:?}");
            }
        }
    }

    fn mapping(skipped: &[&str], update: &[(&str, &str)]) -> Mapping {
        let skipped = skipped.iter().map(|field| (*field).to_owned());
        Mapping::compile(&MappingRules {
            skipped: skipped.collect(),
            ..rules(update)
        })
        .unwrap()
    }

    fn any_event() -> impl Strategy<Value = Value> {
        let names = [
            "email",
            "phone",
            "languages",
            "city",
            "state",
            "country",
            "amount",
            "currency",
            "since",
        ];
        let name = prop::sample::select(names.to_vec());
        prop::collection::btree_map(name, any_value(), 0..9).prop_map(
            |members: BTreeMap<&str, Value>| {
                let mut event = json!(members);
                event["id"] = json!("C1");
                event
            },
        )
    }

    proptest! {
        /// FAULTS N392, N393: an event with invalid values is mapped as if it did not have these values. Only fields that
        /// belong with an invalid value are missing too.
        #[test]
        fn a_skipped_value_leaves_the_other_fields_as_they_are(event in any_event()) {
            let all: Vec<&str> = UPDATE.iter().map(|(field, _)| *field).collect();
            let skipping = mapping(&all, UPDATE);
            let change = skipping.map(&event).unwrap().unwrap();
            let skipped: Vec<Field> = change
                .skipped
                .iter()
                .map(|error| Field::parse(&error.location).unwrap())
                .collect();
            for (path, expression) in UPDATE {
                let field = Field::parse(path).unwrap();
                let alone: Result<Option<FieldValue>, ()> = mapping(&[], &[(path, expression)])
                    .map(&event)
                    .map(|change| change.unwrap().update.value(&field).cloned())
                    .map_err(drop);
                let found = change.update.value(&field);
                prop_assert_eq!(alone.is_err(), skipped.contains(&field), "{} of {}", path, event);
                match alone {
                    Ok(value) if !skipping.holds_back(skipped.iter(), &field) => {
                        prop_assert_eq!(found, value.as_ref(), "{} of {}", path, event);
                    }
                    Ok(_) | Err(()) => prop_assert!(found.is_none(), "{} of {}", path, event),
                }
            }
            let strict = mapping(&[], UPDATE).map(&event);
            prop_assert_eq!(strict.is_ok(), skipped.is_empty());
        }
    }
}
