//! The functions `us_state` and `us_zip` of the mapping language: addresses in the USA.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;
use super::{marks, place_name};

/// The code and name of each place in USPS Publication 28 (2024), appendix B: the states, the District of Columbia, the
/// territories, the freely associated states, and the regions of military addresses. UM is only in ISO 3166-2:US (2020)
/// and in the state picklist of Salesforce (Summer 2024).
static STATES: [(&str, &str); 63] = [
    ("AL", "ALABAMA"),
    ("AK", "ALASKA"),
    ("AZ", "ARIZONA"),
    ("AR", "ARKANSAS"),
    ("CA", "CALIFORNIA"),
    ("CO", "COLORADO"),
    ("CT", "CONNECTICUT"),
    ("DE", "DELAWARE"),
    ("DC", "DISTRICT OF COLUMBIA"),
    ("FL", "FLORIDA"),
    ("GA", "GEORGIA"),
    ("HI", "HAWAII"),
    ("ID", "IDAHO"),
    ("IL", "ILLINOIS"),
    ("IN", "INDIANA"),
    ("IA", "IOWA"),
    ("KS", "KANSAS"),
    ("KY", "KENTUCKY"),
    ("LA", "LOUISIANA"),
    ("ME", "MAINE"),
    ("MD", "MARYLAND"),
    ("MA", "MASSACHUSETTS"),
    ("MI", "MICHIGAN"),
    ("MN", "MINNESOTA"),
    ("MS", "MISSISSIPPI"),
    ("MO", "MISSOURI"),
    ("MT", "MONTANA"),
    ("NE", "NEBRASKA"),
    ("NV", "NEVADA"),
    ("NH", "NEW HAMPSHIRE"),
    ("NJ", "NEW JERSEY"),
    ("NM", "NEW MEXICO"),
    ("NY", "NEW YORK"),
    ("NC", "NORTH CAROLINA"),
    ("ND", "NORTH DAKOTA"),
    ("OH", "OHIO"),
    ("OK", "OKLAHOMA"),
    ("OR", "OREGON"),
    ("PA", "PENNSYLVANIA"),
    ("RI", "RHODE ISLAND"),
    ("SC", "SOUTH CAROLINA"),
    ("SD", "SOUTH DAKOTA"),
    ("TN", "TENNESSEE"),
    ("TX", "TEXAS"),
    ("UT", "UTAH"),
    ("VT", "VERMONT"),
    ("VA", "VIRGINIA"),
    ("WA", "WASHINGTON"),
    ("WV", "WEST VIRGINIA"),
    ("WI", "WISCONSIN"),
    ("WY", "WYOMING"),
    ("AS", "AMERICAN SAMOA"),
    ("FM", "FEDERATED STATES OF MICRONESIA"),
    ("GU", "GUAM"),
    ("MH", "MARSHALL ISLANDS"),
    ("MP", "NORTHERN MARIANA ISLANDS"),
    ("UM", "UNITED STATES MINOR OUTLYING ISLANDS"),
    ("PW", "PALAU"),
    ("PR", "PUERTO RICO"),
    ("VI", "VIRGIN ISLANDS"),
    ("AA", "ARMED FORCES AMERICAS (EXCEPT CANADA)"),
    ("AE", "ARMED FORCES EUROPE, THE MIDDLE EAST, AND CANADA"),
    ("AP", "ARMED FORCES PACIFIC"),
];

/// Other names of the places in [`STATES`].
///
/// The sources are the names of ISO 3166-2:US (2020) and of the territories in ISO 3166-1, the state picklist of
/// Salesforce (Summer 2024), and the single regions of the military code AE, which Publication 28 has in one row.
static ALIASES: [(&str, &str); 20] = [
    ("Armed Forces Africa", "AE"),
    ("Armed Forces Americas", "AA"),
    ("Armed Forces Canada", "AE"),
    ("Armed Forces Europe", "AE"),
    ("Armed Forces Europe, Middle East, Africa and Canada", "AE"),
    ("Armed Forces Europe, Africa, Middle East and Canada", "AE"),
    ("Armed Forces Middle East", "AE"),
    ("Armed Forces of the Americas", "AA"),
    ("Armed Forces of the Pacific", "AP"),
    ("Commonwealth of Puerto Rico", "PR"),
    ("Commonwealth of the Northern Mariana Islands", "MP"),
    ("Micronesia", "FM"),
    ("Micronesia, Federated States of", "FM"),
    ("Republic of Palau", "PW"),
    ("Republic of the Marshall Islands", "MH"),
    ("U.S. Virgin Islands", "VI"),
    ("United States Virgin Islands", "VI"),
    ("Virgin Islands of the United States", "VI"),
    ("Virgin Islands, U.S.", "VI"),
    ("Washington, D.C.", "DC"),
];

/// The keys of all names and codes. ISO 3166-2 writes the code as `US-CA`.
static NAMES: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for (code, name) in STATES {
        for name in [code, name, &format!("US-{code}")] {
            names.insert(place_name::key(name), code);
        }
    }
    for (name, code) in ALIASES {
        names.insert(place_name::key(name), code);
    }
    names
});

/// Converts the name or abbreviation of a US state, territory or military region to its two-letter code.
pub(in crate::mapping) fn us_state(text: &str) -> Conversion {
    NAMES
        .get(place_name::key(text).as_str())
        .map(|code| Value::from(*code))
        .ok_or_else(|| {
            ValueError::new(
                "The text is neither the name nor the abbreviation of a state or territory of the USA.",
            )
        })
}

/// The maximum length of a text with a ZIP code. A ZIP code has at most 10 characters, and white space around it.
const ZIP_CHARS_MAX: usize = 40;

/// Validates a ZIP code of five digits, or of nine digits as `94105-1234`, with any hyphen. The function refuses a JSON number, because
/// a JSON number cannot keep leading zeros.
pub(super) fn us_zip(value: &Value) -> Conversion {
    const REFUSED: &str = "The value is not a text of five or nine digits.";
    let text = value
        .as_str()
        .filter(|text| text.chars().count() <= ZIP_CHARS_MAX);
    let text = text.ok_or_else(|| ValueError::new(REFUSED))?;
    let visible = text.chars().filter(|c| !marks::is_invisible(*c));
    let plain = visible.map(|c| if marks::is_hyphen(c) { '-' } else { c });
    let plain: String = plain.collect();
    let text = plain.trim();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let (zip, more) = match (text.split_once('-'), digits, text.len()) {
        (Some((zip, more)), 9, 10) if zip.len() == 5 => (zip, more),
        (None, 5, 5) => (text, ""),
        (None, 9, 9) => text.split_at(5),
        (_, _, _) => return Err(ValueError::new(REFUSED)),
    };
    Ok(Value::from(if more.is_empty() {
        zip.to_owned()
    } else {
        format!("{zip}-{more}")
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_zip_code_has_five_or_nine_digits_and_any_hyphen() {
        for (text, expected) in [
            ("94105", Some("94105")),
            ("941051234", Some("94105-1234")),
            ("94105\u{2013}1234", Some("94105-1234")),
            ("\u{202a}94105\u{2011}1234\u{202c}", Some("94105-1234")),
            ("94105--1234", None),
            ("94105\u{2013}", None),
            ("941 05", None),
            ("9410\u{661}", None),
            (&format!("94105{}x", " ".repeat(ZIP_CHARS_MAX)), None),
            ("", None),
        ] {
            assert_eq!(
                us_zip(&json!(text)).ok(),
                expected.map(Value::from),
                "{text}"
            );
        }
        assert!(us_zip(&json!(94105)).is_err());
    }

    #[test]
    fn a_state_is_found_by_its_code_and_its_names() {
        for (code, name) in STATES
            .iter()
            .copied()
            .chain(ALIASES.map(|(name, code)| (code, name)))
        {
            for text in [code, name, &name.to_lowercase(), &format!("US-{code}")] {
                assert_eq!(us_state(text).ok(), Some(Value::from(code)), "{text}");
            }
        }
        for (text, expected) in [
            ("U.S. Virgin Islands", Some("VI")),
            ("US Virgin Islands", Some("VI")),
            ("Armed Forces Middle East", Some("AE")),
            ("armed forces europe, the middle east, & canada", Some("AE")),
            ("MH", Some("MH")),
            ("pw", Some("PW")),
            ("us-ca", Some("CA")),
            ("Washington D.C.", Some("DC")),
            ("Washington", Some("WA")),
            ("N.Y.", Some("NY")),
            ("British Virgin Islands", None),
            ("UM", Some("UM")),
            ("US", None),
            ("CA-ON", None),
            ("Calif.", None),
            ("Ontario", None),
            ("", None),
        ] {
            assert_eq!(us_state(text).ok(), expected.map(Value::from), "{text}");
        }
    }
}
