//! What made-up customers are made of.

/// A place as the post has it, and an area code that is used there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct City {
    pub(super) city: &'static str,
    pub(super) state: &'static str,
    pub(super) postal_code: &'static str,
    pub(super) area: &'static str,
}

const fn place(
    city: &'static str,
    state: &'static str,
    postal_code: &'static str,
    area: &'static str,
) -> City {
    City {
        city,
        state,
        postal_code,
        area,
    }
}

pub(super) static PLACES: [City; 40] = [
    place("New York", "NY", "10003", "212"),
    place("Brooklyn", "NY", "11215", "718"),
    place("Buffalo", "NY", "14201", "716"),
    place("San Francisco", "CA", "94110", "415"),
    place("Oakland", "CA", "94609", "510"),
    place("Los Angeles", "CA", "90026", "213"),
    place("San Diego", "CA", "92103", "619"),
    place("Sacramento", "CA", "95816", "916"),
    place("Seattle", "WA", "98103", "206"),
    place("Portland", "OR", "97214", "503"),
    place("Denver", "CO", "80205", "303"),
    place("Boulder", "CO", "80302", "720"),
    place("Salt Lake City", "UT", "84102", "801"),
    place("Phoenix", "AZ", "85004", "602"),
    place("Las Vegas", "NV", "89101", "702"),
    place("Austin", "TX", "78704", "512"),
    place("Dallas", "TX", "75206", "214"),
    place("Houston", "TX", "77006", "713"),
    place("Chicago", "IL", "60614", "312"),
    place("Chicago", "IL", "60647", "773"),
    place("Minneapolis", "MN", "55408", "612"),
    place("Milwaukee", "WI", "53202", "414"),
    place("Detroit", "MI", "48201", "313"),
    place("Columbus", "OH", "43215", "614"),
    place("Cleveland", "OH", "44113", "216"),
    place("Pittsburgh", "PA", "15222", "412"),
    place("Philadelphia", "PA", "19147", "215"),
    place("Baltimore", "MD", "21230", "410"),
    place("Washington", "DC", "20009", "202"),
    place("Boston", "MA", "02116", "617"),
    place("Providence", "RI", "02906", "401"),
    place("Burlington", "VT", "05401", "802"),
    place("Atlanta", "GA", "30307", "404"),
    place("Nashville", "TN", "37206", "615"),
    place("New Orleans", "LA", "70115", "504"),
    place("Miami", "FL", "33130", "305"),
    place("Tampa", "FL", "33606", "813"),
    place("Raleigh", "NC", "27601", "919"),
    place("Honolulu", "HI", "96813", "808"),
    place("Anchorage", "AK", "99501", "907"),
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

/// Tags as a CRM writes them, and the code that Imprint is to have; most customers speak English.
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

/// From how many dollars on a customer has which tier, highest first: as the CRM says it, and as Imprint is told.
pub(super) static TIERS: [(u64, &str, &str); 4] = [
    (5_000, "Platinum", "PLATINUM"),
    (1_500, "Gold", "GOLD"),
    (400, "Silver", "SILVER"),
    (0, "Bronze", "BRONZE"),
];

/// How people write the country they live in.
pub(super) static COUNTRIES: [&str; 4] = ["US", "US", "USA", "United States"];

/// Hosts that will never get mail (RFC 2606).
pub(super) static MAIL_HOSTS: [&str; 3] = ["example.com", "example.net", "example.org"];
