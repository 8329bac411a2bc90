//! The functions `us_state` and `us_zip` of the mapping language: addresses in the USA. The abbreviations are from USPS
//! Publication 28, appendix B.

use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;

/// The code and name of each US state, the District of Columbia, each US territory, and each region of military
/// addresses.
static STATES: [(&str, &str); 59] = [
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
    ("GU", "GUAM"),
    ("MP", "NORTHERN MARIANA ISLANDS"),
    ("PR", "PUERTO RICO"),
    ("VI", "VIRGIN ISLANDS"),
    ("AA", "ARMED FORCES AMERICAS"),
    ("AE", "ARMED FORCES EUROPE"),
    ("AP", "ARMED FORCES PACIFIC"),
];

/// Converts the name or abbreviation of a US state to its two-letter code, and ignores case and dots.
pub(super) fn us_state(text: &str) -> Conversion {
    let name_or_code = text.trim().replace('.', "").to_uppercase();
    STATES
        .iter()
        .find(|(code, name)| *code == name_or_code || *name == name_or_code)
        .map(|(code, _)| Value::from(*code))
        .ok_or_else(|| {
            ValueError::new(
                "The text is neither the name nor the abbreviation of a state of the USA.",
            )
        })
}

/// Validates a ZIP code of five digits, or of nine digits as `94105-1234`. The function refuses a JSON number, because
/// a JSON number cannot keep leading zeros.
pub(super) fn us_zip(value: &Value) -> Conversion {
    const REFUSED: &str = "The value is not a text of five or nine digits.";
    let text = value
        .as_str()
        .ok_or_else(|| ValueError::new(REFUSED))?
        .trim();
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
