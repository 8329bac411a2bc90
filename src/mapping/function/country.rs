//! The functions `alpha3` and `is_domestic` of the mapping language: codes and names of countries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;
use super::place_name;
use crate::imprint;

/// Converts an alpha-2 code, an alpha-3 code or an English country name to the ISO 3166-1 alpha-3 code. Puerto Rico and
/// the other territories with a code of their own keep this code.
pub(in crate::mapping) fn alpha3(text: &str) -> Conversion {
    NAMES
        .get(place_name::key(text).as_str())
        .map(|code| Value::from(*code))
        .ok_or_else(|| {
            ValueError::new(
                "The text is neither an ISO 3166-1 code nor the English name of a country.",
            )
        })
}

/// Returns whether an address in a country is an address of the USA for the mail: in the USA, one of its territories or
/// a freely associated state. The input is the same as for [`alpha3`].
pub(super) fn is_domestic(text: &str) -> Conversion {
    let code = alpha3(text)?;
    Ok(Value::Bool(code.as_str().is_some_and(imprint::is_domestic)))
}

/// The keys of all country names and codes.
///
/// The names and codes are those of ISO 3166-1, as the crate `rust_iso3166` 0.2 (2025) lists them. ISO, Salesforce and
/// many forms write the name "Korea (Republic of)" also as "Korea, Republic of" or "Republic of Korea".
static NAMES: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for country in rust_iso3166::ALL {
        for name in [country.alpha2, country.alpha3, country.name] {
            names.insert(place_name::key(name), country.alpha3);
        }
        if let Some((base, qualifier)) = country.name.split_once(" (") {
            names.insert(
                place_name::key(&format!("{qualifier} {base}")),
                country.alpha3,
            );
        }
    }
    for (name, code) in ALIASES {
        names.insert(place_name::key(name), code);
    }
    names
});

/// Common names of countries that ISO 3166-1 does not list. Each name must be unambiguous.
///
/// The sources are the country picklist of Salesforce (Summer 2024, which keeps older names of ISO 3166-1), and the
/// English names of Unicode CLDR 45 (2024), which Shopify and many address forms use.
const ALIASES: [(&str, &str); 68] = [
    ("bolivia", "BOL"),
    ("british virgin islands", "VGB"),
    ("brunei", "BRN"),
    ("burma", "MMR"),
    ("cape verde", "CPV"),
    ("caribbean netherlands", "BES"),
    ("chinese taipei", "TWN"),
    ("cocos islands", "CCK"),
    ("congo brazzaville", "COG"),
    ("congo kinshasa", "COD"),
    ("cote d ivoire", "CIV"),
    ("czech republic", "CZE"),
    ("czechia (czech republic)", "CZE"),
    ("democratic republic of the congo", "COD"),
    ("east timor", "TLS"),
    ("eswatini (swaziland)", "SWZ"),
    ("falkland islands", "FLK"),
    ("falkland islands (islas malvinas)", "FLK"),
    ("great britain", "GBR"),
    ("holy see (vatican city state)", "VAT"),
    ("hong kong sar", "HKG"),
    ("hong kong sar china", "HKG"),
    ("iran", "IRN"),
    ("ivory coast", "CIV"),
    ("laos", "LAO"),
    ("libyan arab jamahiriya", "LBY"),
    ("macao sar", "MAC"),
    ("macao sar china", "MAC"),
    ("macau", "MAC"),
    ("macedonia", "MKD"),
    ("macedonia, the former yugoslav republic of", "MKD"),
    ("micronesia", "FSM"),
    ("moldova", "MDA"),
    ("myanmar (burma)", "MMR"),
    ("netherlands", "NLD"),
    ("north korea", "PRK"),
    ("palestine", "PSE"),
    ("palestinian territories", "PSE"),
    ("palestinian territory, occupied", "PSE"),
    ("pitcairn islands", "PCN"),
    ("republic of the congo", "COG"),
    ("republic of ireland", "IRL"),
    ("russia", "RUS"),
    ("saint helena", "SHN"),
    ("saint martin", "MAF"),
    ("sint maarten", "SXM"),
    ("slovak republic", "SVK"),
    ("south georgia and south sandwich islands", "SGS"),
    ("south korea", "KOR"),
    ("swaziland", "SWZ"),
    ("syria", "SYR"),
    ("taiwan", "TWN"),
    ("tanzania", "TZA"),
    ("timor leste", "TLS"),
    ("turkey", "TUR"),
    ("uae", "ARE"),
    ("uk", "GBR"),
    ("united kingdom", "GBR"),
    ("united states", "USA"),
    ("united states virgin islands", "VIR"),
    ("us minor outlying islands", "UMI"),
    ("us outlying islands", "UMI"),
    ("us virgin islands", "VIR"),
    ("vatican", "VAT"),
    ("vatican city", "VAT"),
    ("vatican city state", "VAT"),
    ("venezuela", "VEN"),
    ("vietnam", "VNM"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<String> {
        alpha3(text).ok()?.as_str().map(str::to_owned)
    }

    /// A simplified name must not hide the name or the code of another country.
    #[test]
    fn every_country_is_found_by_its_codes_and_its_name() {
        for country in rust_iso3166::ALL {
            for name in [country.alpha2, country.alpha3, country.name] {
                assert_eq!(code(name).as_deref(), Some(country.alpha3), "{name}");
                let lower = name.to_lowercase();
                assert_eq!(code(&lower).as_deref(), Some(country.alpha3), "{lower}");
            }
        }
        for (name, alpha3) in ALIASES {
            assert_eq!(code(name).as_deref(), Some(alpha3), "{name}");
        }
    }

    /// FAULTS N323
    #[test]
    fn a_territory_is_domestic_under_every_name() {
        for (text, expected) in [
            ("US", Some(true)),
            ("Puerto Rico", Some(true)),
            ("FSM", Some(true)),
            ("United States Minor Outlying Islands", Some(true)),
            ("Samoa", Some(false)),
            ("VG", Some(false)),
            ("Korea", None),
        ] {
            assert_eq!(is_domestic(text).ok(), expected.map(Value::Bool), "{text}");
        }
    }

    #[test]
    fn a_name_is_found_in_every_usual_spelling() {
        for (text, expected) in [
            ("Korea, Republic of", Some("KOR")),
            ("Korea (the Republic of)", Some("KOR")),
            ("Republic of Korea", Some("KOR")),
            ("Korea, Democratic People's Republic of", Some("PRK")),
            ("Democratic People’s Republic of Korea", Some("PRK")),
            ("Congo, the Democratic Republic of the", Some("COD")),
            ("Congo - Kinshasa", Some("COD")),
            ("Republic of the Congo", Some("COG")),
            ("Côte d’Ivoire", Some("CIV")),
            ("Cote d'Ivoire", Some("CIV")),
            ("Co\u{302}te d`Ivoire", Some("CIV")),
            ("Bolivia, Plurinational State of", Some("BOL")),
            ("Venezuela, Bolivarian Republic of", Some("VEN")),
            ("Iran, Islamic Republic of", Some("IRN")),
            ("Moldova, Republic of", Some("MDA")),
            ("Tanzania, United Republic of", Some("TZA")),
            ("Taiwan, Province of China", Some("TWN")),
            ("Macedonia, the former Yugoslav Republic of", Some("MKD")),
            ("Micronesia, Federated States of", Some("FSM")),
            ("Saint Martin (French part)", Some("MAF")),
            ("Trinidad & Tobago", Some("TTO")),
            ("St. Kitts & Nevis", Some("KNA")),
            ("São Tomé & Príncipe", Some("STP")),
            ("ST", Some("STP")),
            ("Guinea-Bissau", Some("GNB")),
            ("The Gambia", Some("GMB")),
            ("The Bahamas", Some("BHS")),
            ("TÜRKİYE", Some("TUR")),
            ("Virgin Islands, U.S.", Some("VIR")),
            ("U.S. Virgin Islands", Some("VIR")),
            ("Virgin Islands, British", Some("VGB")),
            ("U.S.A.", Some("USA")),
            ("U.K.", Some("GBR")),
            ("PR", Some("PRI")),
            ("puerto rico", Some("PRI")),
            ("\u{a0}US ", Some("USA")),
            ("Korea", None),
            ("Virgin Islands", None),
            ("America", None),
            ("Guernsey, Jersey", None),
            ("XK", None),
            ("the", None),
            ("", None),
        ] {
            assert_eq!(code(text).as_deref(), expected, "{text}");
        }
    }
}
