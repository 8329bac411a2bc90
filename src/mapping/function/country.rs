//! The function `alpha3` of the mapping language: codes and names of countries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;

/// Converts an alpha-2 code, an alpha-3 code or an English country name to the ISO 3166-1 alpha-3 code. The input can
/// be in upper or lower case.
pub(super) fn alpha3(text: &str) -> Conversion {
    NAMES
        .get(text.trim().to_lowercase().as_str())
        .map(|code| Value::from(*code))
        .ok_or_else(|| {
            ValueError::new(
                "The text is neither an ISO 3166-1 code nor the English name of a country.",
            )
        })
}

/// All country names and codes, in lower case.
static NAMES: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for country in rust_iso3166::ALL {
        for name in [country.alpha2, country.alpha3, country.name] {
            names.insert(name.to_lowercase(), country.alpha3);
        }
    }
    for (name, code) in ALIASES {
        names.insert(name.to_owned(), code);
    }
    names
});

/// Common names of countries that ISO 3166 does not list. Each name must be unambiguous.
const ALIASES: [(&str, &str); 44] = [
    ("aland islands", "ALA"),
    ("bolivia", "BOL"),
    ("british virgin islands", "VGB"),
    ("brunei", "BRN"),
    ("cape verde", "CPV"),
    ("cote d'ivoire", "CIV"),
    ("curacao", "CUW"),
    ("czech republic", "CZE"),
    ("democratic republic of the congo", "COD"),
    ("falkland islands", "FLK"),
    ("great britain", "GBR"),
    ("iran", "IRN"),
    ("ivory coast", "CIV"),
    ("laos", "LAO"),
    ("macau", "MAC"),
    ("micronesia", "FSM"),
    ("moldova", "MDA"),
    ("netherlands", "NLD"),
    ("north korea", "PRK"),
    ("palestine", "PSE"),
    ("republic of korea", "KOR"),
    ("reunion", "REU"),
    ("russia", "RUS"),
    ("saint martin", "MAF"),
    ("sint maarten", "SXM"),
    ("south korea", "KOR"),
    ("swaziland", "SWZ"),
    ("syria", "SYR"),
    ("taiwan", "TWN"),
    ("tanzania", "TZA"),
    ("the bahamas", "BHS"),
    ("the netherlands", "NLD"),
    ("turkey", "TUR"),
    ("turkiye", "TUR"),
    ("u.k.", "GBR"),
    ("u.s.", "USA"),
    ("u.s.a.", "USA"),
    ("uk", "GBR"),
    ("united kingdom", "GBR"),
    ("united states", "USA"),
    ("venezuela", "VEN"),
    ("us virgin islands", "VIR"),
    ("vatican city", "VAT"),
    ("vietnam", "VNM"),
];
