//! The meaning of the names of members.

use super::synonyms::{self, PERSON};
pub(super) use crate::event::member_name::words;

/// Words before a name that do not change its meaning: `customer_email` means `email`.
const QUALIFIERS: [&str; 21] = [
    "buyer",
    "cardholder",
    "cf",
    "client",
    "contact",
    "current",
    "custom",
    "customer",
    "default",
    "entity",
    "holder",
    "home",
    "main",
    "member",
    "new",
    "person",
    "personal",
    "primary",
    "profile",
    "record",
    "subscriber",
];
/// Words that name another person, an organization, or the state before the change. A value of such a member is not a
/// value of the customer.
const OTHERS: [&str; 43] = [
    "actor",
    "addedby",
    "agent",
    "assigned",
    "assignee",
    "author",
    "before",
    "beneficiary",
    "changedby",
    "company",
    "createdby",
    "creator",
    "editor",
    "emergency",
    "employee",
    "employer",
    "initiator",
    "merchant",
    "modifiedby",
    "old",
    "org",
    "organisation",
    "organization",
    "owner",
    "parent",
    "performedby",
    "previous",
    "recipient",
    "referrer",
    "rep",
    "reseller",
    "seller",
    "sender",
    "shop",
    "spouse",
    "staff",
    "store",
    "submitter",
    "supplier",
    "support",
    "triggeredby",
    "updatedby",
    "vendor",
];
/// The names of members that only hold the value of their parent, as in `{"email": {"value": "…"}}`.
const HOLDERS: [&str; 4] = ["value", "val", "text", "current"];

/// The names of members that have the value of their parent, if the parent is the name of a phone number or an email
/// address, as in `{"phone_numbers": [{"number": "…"}]}`.
const CONTACT_HOLDERS: [&str; 2] = ["number", "address"];
/// Words for an object that is a customer.
const CUSTOMER_WORDS: [&str; 13] = [
    "client",
    "consumer",
    "contact",
    "customer",
    "guest",
    "lead",
    "member",
    "patient",
    "people",
    "person",
    "profile",
    "record",
    "subscriber",
];

/// Returns the name that counts on a path: the last name, or the name before it if the last one only holds the value.
pub(super) fn telling<'a>(names: &[&'a str]) -> &'a str {
    if let [.., outer, last] = names
        && CONTACT_HOLDERS.contains(&last.to_lowercase().as_str())
        && is_contact_point(outer)
    {
        return outer;
    }
    let mut names = names.iter().rev();
    let holds = |name: &&&'a str| !HOLDERS.contains(&name.to_lowercase().as_str());
    let last = names.clone().next();
    names.find(holds).or(last).copied().unwrap_or_default()
}

/// The last words of the names of times that only name the offset, as in `DATE_UPDATED_UTC`.
const OFFSETS: [&str; 2] = ["gmt", "utc"];

/// Returns the position of a name in a list of synonyms. Words that do not change the meaning are dropped.
pub(super) fn position(name: &str, synonyms: &[&str]) -> Option<usize> {
    let words = words(name);
    let mut rest = words.as_slice();
    if let [start @ .., last] = rest
        && !start.is_empty()
        && OFFSETS.contains(&last.as_str())
    {
        rest = start;
    }
    loop {
        let joined = rest.concat();
        if let Some(position) = synonyms.iter().position(|synonym| *synonym == joined) {
            return Some(position);
        }
        match rest.split_first() {
            Some((first, tail)) if !tail.is_empty() && QUALIFIERS.contains(&first.as_str()) => {
                rest = tail;
            }
            Some(_) | None => return None,
        }
    }
}

/// Returns whether a path leads to a value of another person, of an organization, or of the state before the change.
pub(super) fn concerns_other(names: &[&str]) -> bool {
    let is_other = |name: &&str| {
        let words = words(name);
        OTHERS.contains(&words.concat().as_str())
            || words.iter().any(|word| OTHERS.contains(&word.as_str()))
            || words
                .windows(2)
                .any(|pair| OTHERS.contains(&pair.concat().as_str()))
    };
    names.iter().any(is_other)
}

/// Returns whether a name is the name of phone numbers or of email addresses.
pub(super) fn is_contact_point(name: &str) -> bool {
    let fields = PERSON.iter();
    let mut known = fields.filter(|known| ["email", "phone"].contains(&known.field));
    known.any(|known| position(name, known.names).is_some())
}

/// Returns how probably an id with these names is the id of a customer. The lowest rank is the most probable one. A user is
/// a customer in some systems, and an employee in others.
pub(super) fn customer_rank(names: &[&str]) -> u8 {
    if names_a_user(names) {
        return 2;
    }
    let is_customer = |name: &&str| words(name).iter().any(|word| is_customer_word(word));
    u8::from(!names.iter().any(is_customer))
}

/// Returns whether a word in lower case is a word for a customer, or its plural.
pub(super) fn is_customer_word(word: &str) -> bool {
    let one = word.strip_suffix('s').unwrap_or(word);
    CUSTOMER_WORDS.contains(&one)
}

/// Returns the letters of a name in lower case, without the `s` of a plural.
pub(super) fn singular(name: &str) -> String {
    let letters = words(name).concat();
    letters.strip_suffix('s').unwrap_or(&letters).to_owned()
}

/// Returns whether a name on a path has the word for a user, who can be an employee.
pub(super) fn names_a_user(names: &[&str]) -> bool {
    let is_user = |word: &String| ["user", "users", "userid"].contains(&word.as_str());
    names.iter().any(|name| words(name).iter().any(is_user))
}

/// Returns whether a name is the name of an event's id.
pub(super) fn is_event_id(name: &str) -> bool {
    position(name, &synonyms::EVENT_IDS).is_some() || is_delivery_id(name)
}

/// Returns whether a name is the name of an event's id in some systems, and the name of the id of a setting in others. Such a
/// `webhook_id` is the same in every event.
pub(super) fn is_delivery_id(name: &str) -> bool {
    position(name, &synonyms::DELIVERY_IDS).is_some()
}

/// Returns whether the last word of a name is a word for an id.
pub(super) fn ends_in_id(name: &str) -> bool {
    let words = words(name);
    let last = words.last();
    last.is_some_and(|word| ["id", "uuid", "guid"].contains(&word.as_str()))
}

/// Returns whether a name is the name of a date of birth.
pub(super) fn is_birth(name: &str) -> bool {
    let words = words(name);
    let is_birth = |word: &String| word.starts_with("birth") || word == "dob";
    words.iter().any(is_birth) || words.concat() == "born"
}

/// Returns whether a name is the name of Imprint's id of the customer.
pub(super) fn is_imprint_id(name: &str) -> bool {
    let joined = words(name).concat();
    joined.contains("imprint") && joined.ends_with("id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_meaning_in_every_spelling() {
        for (field, names) in [
            (
                "email",
                "email Email EmailAddress emailaddress1 customer_email primaryEmail PersonEmail",
            ),
            (
                "phone",
                "phone MobilePhone mobile_phone telephone1 phoneNumber contact-phone",
            ),
            (
                "first_name",
                "first_name FirstName firstname given_name givenName first.name",
            ),
            (
                "last_name",
                "last_name LastName surname family_name familyName",
            ),
            (
                "preferred_language",
                "Preferred_Language__c new_language hs_language locale",
            ),
        ] {
            for name in names.split(' ') {
                let found = PERSON
                    .iter()
                    .find(|known| position(name, known.names).is_some());
                assert_eq!(found.map(|known| known.field), Some(field), "{name}");
            }
        }
        for name in [
            "email_opt_in",
            "emailed",
            "phone_verified",
            "first_order",
            "language_count",
        ] {
            let found = PERSON
                .iter()
                .find(|known| position(name, known.names).is_some());
            assert!(found.is_none(), "{name}");
        }
    }

    #[test]
    fn the_values_of_other_persons_are_not_the_customers() {
        for names in [
            &["owner", "email"][..],
            &["sales_rep_email"],
            &["created_by", "name"],
            &["previous", "email"],
            &["actor", "id"],
            &["changedBy", "id"],
        ] {
            assert!(concerns_other(names), "{names:?}");
        }
        for names in [
            &["customer", "email"][..],
            &["data", "object", "phone"],
            &["ordercount"],
        ] {
            assert!(!concerns_other(names), "{names:?}");
        }
        assert!(is_imprint_id("Imprint_Customer_Id__c") && is_imprint_id("new_imprintcustomerid"));
        assert_eq!(telling(&["properties", "email", "value"]), "email");
        assert_eq!(telling(&["value"]), "value");
        assert_eq!(telling(&["phone_numbers", "number"]), "phone_numbers");
        assert_eq!(telling(&["home", "number"]), "number");
    }
}
