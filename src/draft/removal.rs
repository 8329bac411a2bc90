//! Recognizes the event types that say that the source deleted or merged a customer.

use super::names;
use super::path::quoted;

/// The starts of words that say that the source removed a customer.
const REMOVALS: [&str; 7] = [
    "anonymi", "delet", "destroy", "eras", "merg", "purg", "redact",
];
/// The start of a word that says that the source removed something, which is not necessarily a customer.
const REMOVED: &str = "remov";
/// The starts of words that say that the customer still exists.
const CHANGES: [&str; 9] = [
    "added", "chang", "creat", "modif", "restor", "save", "subscri", "updat", "upsert",
];
/// The words for a customer, and the words that say nothing.
const CUSTOMERS: [&str; 16] = [
    "account",
    "client",
    "contact",
    "crm",
    "customer",
    "event",
    "lead",
    "member",
    "object",
    "people",
    "person",
    "profile",
    "record",
    "subscriber",
    "user",
    "webhook",
];

/// Returns whether a text says that the source removed a customer, and names nothing else that it possibly removed. `MERGE` alone is
/// a change in some systems.
pub(super) fn names_only_the_customer(text: &str) -> bool {
    let words = names::words(text);
    let is_known = |word: &String| {
        let customer = CUSTOMERS.iter().find_map(|customer| {
            let rest = word.strip_prefix(customer)?;
            Some(rest.strip_prefix('s').unwrap_or(rest))
        });
        let rest = customer.unwrap_or(word);
        let starts = REMOVALS.iter().chain([&REMOVED]);
        rest.is_empty() || starts.into_iter().any(|start| rest.starts_with(start))
    };
    let is_merge = |word: &String| word.starts_with("merg") && word != "merged";
    is_removal(text) && words.iter().all(is_known) && !words.iter().any(is_merge)
}

/// Returns whether the name of an event type says that the source deleted or merged a customer. Such an event has no new data
/// of the customer, or the data of a record that no longer exists.
pub(super) fn is_removal(event_type: &str) -> bool {
    let words = names::words(event_type);
    let is_one_of = |word: &str, starts: &[&str]| {
        let is_start = |start: &&str| word.starts_with(start);
        starts.iter().any(is_start)
    };
    // `contactdeleted` is one word.
    let rest = |word: &str| {
        let customer = CUSTOMERS
            .iter()
            .find_map(|customer| word.strip_prefix(customer));
        let rest = customer.map(|rest| rest.strip_prefix('s').unwrap_or(rest));
        rest.filter(|rest| !rest.is_empty())
            .unwrap_or(word)
            .to_owned()
    };
    let words: Vec<String> = words.iter().map(|word| rest(word)).collect();
    let removes = words.iter().any(|word| is_one_of(word, &REMOVALS));
    let is_customer = |word: &String| {
        let one = word.strip_suffix('s').unwrap_or(word);
        CUSTOMERS.contains(&one) || word.starts_with(REMOVED)
    };
    let removes_customer =
        words.iter().any(|word| word.starts_with(REMOVED)) && words.iter().all(is_customer);
    let mut actions = words.iter().filter(|word| !is_customer(word));
    let changes = actions.any(|word| is_one_of(word, &CHANGES));
    (removes || removes_customer) && !changes
}

/// Says that the draft ignores an event type.
pub(super) fn decision(event_type: &str) -> String {
    format!(
        "The event type {}: its name says that the source deleted or merged the customer, so the draft ignores these events (`ignore`). The bridge deletes no customer at Imprint. If the events have data that Imprint must get, delete the name from `ignore`, and write a table for the type; see the recipe \"Deleted customers\" in config/sources/RECIPES.md.",
        quoted(event_type)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N671: the names of deletions and merges in the spellings of several systems.
    #[test]
    fn names_of_deletions_and_merges_are_recognized_in_every_spelling() {
        for name in [
            "ContactDelete",
            "contact.deleted",
            "contact_deleted",
            "contactdeleted",
            "CONTACT_DELETION",
            "customers/delete",
            "contact.merge",
            "contact-merged",
            "person.destroyed",
            "customers/redact",
            "user.erased",
            "delete",
            "deleted",
            "contacts.removed",
            "subscriber.remove",
            "contact.anonymized",
            "contact.privacyDeletion",
        ] {
            assert!(is_removal(name), "{name}");
        }
        for name in [
            "ContactUpdate",
            "contact.created",
            "emergency_contact.updated",
            "merge_field.updated",
            "contact.tag.removed",
            "list_member_removed",
            "contact.restored",
            "contact.undeleted",
            "customer",
            "unsubscribe",
        ] {
            assert!(!is_removal(name), "{name}");
        }
    }
}
