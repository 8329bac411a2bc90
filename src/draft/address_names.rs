//! The names of members that mean a part of an address, in the words of several CRMs.

use super::names::words;

/// The parts of an address, with the names of each part.
#[rustfmt::skip]
static ADDRESS: [(AddressPart, &[&str]); 6] = [
    (AddressPart::Line1, &[
        "streetline1", "addressline1", "line1", "address1", "street1", "streetaddress1", "addr1", "street",
        "streetaddress", "addressstreet", "streetname", "addrline1", "address",
    ]),
    (AddressPart::Line2, &[
        "streetline2", "addressline2", "line2", "address2", "street2", "streetaddress2", "addr2", "addrline2", "apt",
        "apartment", "suite", "unit",
    ]),
    (AddressPart::City, &["city", "town", "locality", "addresslocality", "municipality", "cityname"]),
    (AddressPart::State, &[
        "state", "province", "stateprovince", "stateorprovince", "region", "statecode", "provincecode", "stateabbr",
        "addressregion", "administrativearea", "administrativedistrict", "administrativedistrictlevel1", "statename",
    ]),
    (AddressPart::PostalCode, &["postalcode", "zip", "zipcode", "postcode", "zippostalcode", "postalzip"]),
    (AddressPart::Country, &["countrycode", "country", "countryiso", "countryiso2", "countryname", "addresscountry", "countryid"]),
];

/// Words before the name of an address part, with their rank. The address with the lowest rank is the best one for the
/// mail to the customer.
const ADDRESS_KINDS: [(&str, u8); 21] = [
    ("mailing", 0),
    ("mail", 0),
    ("postal", 0),
    ("residential", 1),
    ("residence", 1),
    ("home", 1),
    ("permanent", 1),
    ("primary", 1),
    ("default", 1),
    ("personal", 1),
    ("main", 1),
    ("contact", 2),
    ("customer", 2),
    ("person", 2),
    ("billing", 3),
    ("business", 3),
    ("office", 3),
    ("work", 3),
    ("shipping", 4),
    ("delivery", 4),
    ("other", 5),
];
/// The rank of an address without such a word.
const ADDRESS_RANK: u8 = 2;
/// The words for an address as a whole.
const ADDRESS_WORDS: [&str; 6] = [
    "address",
    "address1",
    "addr",
    "addresses",
    "location",
    "adresse",
];

/// The names of the members of an object with the state or the country, the best name first.
const HOLDERS: [&str; 20] = [
    "code",
    "isocode",
    "iso",
    "iso2",
    "alpha2",
    "alpha2code",
    "iso3",
    "alpha3",
    "alpha3code",
    "abbreviation",
    "abbr",
    "shortname",
    "value",
    "id",
    "key",
    "refname",
    "name",
    "label",
    "text",
    "displayvalue",
];

/// A part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AddressPart {
    Line1,
    Line2,
    City,
    State,
    PostalCode,
    Country,
}

/// Returns the part of an address that a name means, with the kind of the address and the position of the name in the
/// list of names. The kind is the text before the part, such as `mailing`.
pub(super) fn address_part(name: &str) -> Option<(AddressPart, String, usize)> {
    let words = words(name);
    for start in 0..words.len().min(3) {
        let (kind, part) = words.split_at_checked(start)?;
        let is_kind = |word: &String| {
            let word = word.as_str();
            ADDRESS_WORDS.contains(&word) || ADDRESS_KINDS.iter().any(|(kind, _)| *kind == word)
        };
        if !kind.iter().all(is_kind) {
            return None;
        }
        let joined = part.concat();
        let found = ADDRESS.iter().find_map(|(part, names)| {
            let position = names.iter().position(|name| *name == joined)?;
            Some((*part, kind_of(kind), position))
        });
        if found.is_some() {
            return found;
        }
    }
    match words.as_slice() {
        [word] => joined_part(word),
        _ => None,
    }
}

/// Returns the position of the name of a member in an object such as `{"value": "US", "text": "United States"}`.
pub(super) fn holder_position(name: &str) -> Option<usize> {
    let joined = words(name).concat();
    HOLDERS.iter().position(|holder| *holder == joined)
}

/// Returns the part of an address that a single word means, if the word begins with the kind of the address, such as
/// `mailingcity`.
fn joined_part(word: &str) -> Option<(AddressPart, String, usize)> {
    ADDRESS_KINDS.iter().find_map(|(kind, _)| {
        let rest = word.strip_prefix(kind)?;
        ADDRESS.iter().find_map(|(part, names)| {
            let position = names.iter().position(|name| *name == rest)?;
            Some((*part, (*kind).to_owned(), position))
        })
    })
}

/// Returns the kind of an address without the word `address`: the parts `primary_address_street` and `primary_city` belong to
/// one address.
fn kind_of(words: &[String]) -> String {
    let is_kind = |word: &&String| !["address", "addr"].contains(&word.as_str());
    words.iter().filter(is_kind).cloned().collect()
}

/// Returns the rank of an address by the words of its container and of its kind.
pub(super) fn address_rank(container: &str, kind: &str) -> u8 {
    let joined = format!("{}{kind}", words(container).concat());
    let ranks = ADDRESS_KINDS
        .iter()
        .filter(|(word, _)| joined.contains(word));
    ranks.map(|(_, rank)| *rank).next().unwrap_or(ADDRESS_RANK)
}

/// Returns whether a name is the name of an address as a whole, such as `default_address`.
pub(super) fn is_address(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| ADDRESS_WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_part_has_its_kind() {
        for (name, part, kind) in [
            ("address1", AddressPart::Line1, ""),
            ("address1_line2", AddressPart::Line2, "address1"),
            ("address1_stateorprovince", AddressPart::State, "address1"),
            ("MailingPostalCode", AddressPart::PostalCode, "mailing"),
            ("billing_country_code", AddressPart::Country, "billing"),
            ("home_address_city", AddressPart::City, "home"),
            ("addressStreet", AddressPart::Line1, ""),
            ("addressStreet2", AddressPart::Line2, ""),
            ("addressCity", AddressPart::City, ""),
            ("primary_address_street", AddressPart::Line1, "primary"),
            ("primary_address_city", AddressPart::City, "primary"),
            ("ADDRESS_MAIL_STREET", AddressPart::Line1, "mail"),
            ("mailingstreet", AddressPart::Line1, "mailing"),
            ("mailingzip", AddressPart::PostalCode, "mailing"),
            ("otherstate", AddressPart::State, "other"),
            ("zip", AddressPart::PostalCode, ""),
        ] {
            let found = address_part(name).map(|(part, kind, _)| (part, kind));
            assert_eq!(found, Some((part, kind.to_owned())), "{name}");
        }
        assert_eq!(address_part("marketing_state"), None);
        assert_eq!(address_part("marketingstate"), None);
        assert!(address_rank("mailing_address", "") < address_rank("", "billing"));
    }
}
