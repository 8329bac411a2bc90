//! The names, cities and other values from which the demo builds simulated customers.

/// A city of a simulated customer, with one of the city's postal codes and telephone area codes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) state: &'static str,
    pub(super) postal_code: &'static str,
    pub(super) area: &'static str,
}

const fn city(
    name: &'static str,
    state: &'static str,
    postal_code: &'static str,
    area: &'static str,
) -> City {
    City {
        name,
        state,
        postal_code,
        area,
    }
}

pub(super) static CITIES: [City; 40] = [
    city("New York", "NY", "10003", "212"),
    city("Brooklyn", "NY", "11215", "718"),
    city("Buffalo", "NY", "14201", "716"),
    city("San Francisco", "CA", "94110", "415"),
    city("Oakland", "CA", "94609", "510"),
    city("Los Angeles", "CA", "90026", "213"),
    city("San Diego", "CA", "92103", "619"),
    city("Sacramento", "CA", "95816", "916"),
    city("Seattle", "WA", "98103", "206"),
    city("Portland", "OR", "97214", "503"),
    city("Denver", "CO", "80205", "303"),
    city("Boulder", "CO", "80302", "720"),
    city("Salt Lake City", "UT", "84102", "801"),
    city("Phoenix", "AZ", "85004", "602"),
    city("Las Vegas", "NV", "89101", "702"),
    city("Austin", "TX", "78704", "512"),
    city("Dallas", "TX", "75206", "214"),
    city("Houston", "TX", "77006", "713"),
    city("Chicago", "IL", "60614", "312"),
    city("Chicago", "IL", "60647", "773"),
    city("Minneapolis", "MN", "55408", "612"),
    city("Milwaukee", "WI", "53202", "414"),
    city("Detroit", "MI", "48201", "313"),
    city("Columbus", "OH", "43215", "614"),
    city("Cleveland", "OH", "44113", "216"),
    city("Pittsburgh", "PA", "15222", "412"),
    city("Philadelphia", "PA", "19147", "215"),
    city("Baltimore", "MD", "21230", "410"),
    city("Washington", "DC", "20009", "202"),
    city("Boston", "MA", "02116", "617"),
    city("Providence", "RI", "02906", "401"),
    city("Burlington", "VT", "05401", "802"),
    city("Atlanta", "GA", "30307", "404"),
    city("Nashville", "TN", "37206", "615"),
    city("New Orleans", "LA", "70115", "504"),
    city("Miami", "FL", "33130", "305"),
    city("Tampa", "FL", "33606", "813"),
    city("Raleigh", "NC", "27601", "919"),
    city("Honolulu", "HI", "96813", "808"),
    city("Anchorage", "AK", "99501", "907"),
];

pub(super) static FIRST_NAMES: [&str; 48] = [
    "Abigail", "Ahmed", "Aisha", "Amelia", "Andre", "Beatriz", "Benjamin", "Camila", "Carlos",
    "Chloé", "Daniel", "Darnell", "Diego", "Elena", "Elijah", "Emma", "Ethan", "Fatima", "Grace",
    "Hannah", "Henry", "Hiroshi", "Imani", "Isabella", "Jamal", "James", "Jia", "José", "Julia",
    "Kenji", "Kwame", "Liam", "Lucía", "Maya", "Mei", "Michael", "Mohammed", "Noah", "Olivia",
    "Priya", "Renée", "Samuel", "Sofia", "Thuy", "Wei", "William", "Zoë", "Zachary",
];

pub(super) static LAST_NAMES: [&str; 48] = [
    "Abdi",
    "Anderson",
    "Baker",
    "Begum",
    "Brown",
    "Carter",
    "Chen",
    "Cohen",
    "Davis",
    "Diaz",
    "Edwards",
    "Evans",
    "Fischer",
    "Flores",
    "Garcia",
    "González",
    "Green",
    "Haddad",
    "Hall",
    "Ibrahim",
    "Jackson",
    "Johnson",
    "Kaya",
    "Khan",
    "Kim",
    "Kowalski",
    "Lee",
    "Lopez",
    "Martin",
    "Martínez",
    "Miller",
    "Nakamura",
    "Nguyen",
    "Novák",
    "O'Brien",
    "Okafor",
    "Patel",
    "Pérez",
    "Reyes",
    "Rossi",
    "Silva",
    "Singh",
    "Smith",
    "Tanaka",
    "Taylor",
    "Washington",
    "Wilson",
    "Yang",
];

pub(super) static STREETS: [&str; 24] = [
    "Main St",
    "Oak Ave",
    "Maple Ave",
    "Cedar Ln",
    "Elm St",
    "Washington Ave",
    "Lake Shore Dr",
    "Park Ave",
    "2nd St",
    "5th Ave",
    "Broadway",
    "Sunset Blvd",
    "Highland Ave",
    "Lincoln Ave",
    "Pine St",
    "Walnut St",
    "Church St",
    "River Rd",
    "Chestnut St",
    "Madison Ave",
    "Mission St",
    "Spring St",
    "Union St",
    "Prospect Pl",
];

/// Language tags as a CRM writes them. Each tag is paired with the language code that Imprint must have.
pub(super) static LANGUAGES: [(&str, &str); 10] = [
    ("en-US", "en"),
    ("en-US", "en"),
    ("en-US", "en"),
    ("en-US", "en"),
    ("en", "en"),
    ("es-US", "es"),
    ("es-MX", "es"),
    ("zh-Hans-US", "zh"),
    ("vi-VN", "vi"),
    ("fr_CA", "fr"),
];

/// The loyalty tiers, highest tier first. A row has the minimum spending in dollars, the tier's name in the CRM, and
/// the tier's name at Imprint.
pub(super) static TIERS: [(u64, &str, &str); 4] = [
    (5_000, "Platinum", "PLATINUM"),
    (1_500, "Gold", "GOLD"),
    (400, "Silver", "SILVER"),
    (0, "Bronze", "BRONZE"),
];

/// The spellings of the USA in the simulated CRM.
pub(super) static COUNTRIES: [&str; 4] = ["US", "US", "USA", "United States"];

/// Email hosts that never receive mail (RFC 2606).
pub(super) static MAIL_HOSTS: [&str; 3] = ["example.com", "example.net", "example.org"];
