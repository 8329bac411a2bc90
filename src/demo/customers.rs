//! Simulated customers: a customer's data in the CRM, the changes of this data, and the values that Imprint must have
//! at the end of the demo.
//!
//! The demo computes the expected values from the simulated customer and not with the mapping, so that the comparison
//! finds errors in the mapping. Email hosts and telephone numbers are from reserved ranges, so the demo never names an
//! address or a number of a real person.

use serde_json::{Map, Value, json};

use super::names::{
    CITIES, COUNTRIES, City, FIRST_NAMES, LANGUAGES, LAST_NAMES, MAIL_HOSTS, STREETS, TIERS,
};
use crate::random::SeededRandom;

#[derive(Clone, Copy, Debug)]
pub(super) struct CalendarDay {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
}

impl CalendarDay {
    /// Returns the number of whole months from this date to a later date.
    fn months_to(self, later: Self) -> u64 {
        let months = |day: Self| day.year.saturating_mul(12).saturating_add(day.month);
        let unfinished = u64::from(later.day < self.day);
        months(later)
            .saturating_sub(months(self))
            .saturating_sub(unfinished)
    }
}

/// A telephone number in the USA, and the style in which a clerk typed the number.
#[derive(Clone, Copy, Debug)]
struct PhoneNumber {
    area: &'static str,
    line: u64,
    style: u64,
}

impl PhoneNumber {
    /// Draws a telephone number in the reserved exchange 555. The number is never 555-1212, the number of directory
    /// assistance.
    fn draw(area: &'static str, random: &mut SeededRandom) -> Self {
        let line = if random.happens(500) {
            100 + random.below(100)
        } else {
            2_000 + random.below(8_000)
        };
        Self {
            area,
            line,
            style: random.below(7),
        }
    }

    fn typed(self) -> String {
        let Self { area, line, style } = self;
        match style {
            0 => format!("({area}) 555-{line:04}"),
            1 => format!("{area}-555-{line:04}"),
            2 => format!("{area}.555.{line:04}"),
            3 => format!("+1 {area} 555 {line:04}"),
            4 => format!("{area}555{line:04}"),
            5 => format!("1-{area}-555-{line:04}"),
            _six => format!("+1{area}555{line:04}"),
        }
    }

    fn e164(self) -> String {
        format!("+1{}555{:04}", self.area, self.line)
    }
}

/// A customer in the simulated CRM.
#[derive(Clone, Debug)]
pub(super) struct SimulatedCustomer {
    pub(super) partner_id: String,
    pub(super) imprint_id: String,
    pub(super) revision: u64,
    number: u64,
    first_name: &'static str,
    last_name: &'static str,
    mail_host: &'static str,
    phone: PhoneNumber,
    language: (&'static str, &'static str),
    street: String,
    apartment: Option<String>,
    city: City,
    country: &'static str,
    member_since: CalendarDay,
    spent_cents: u64,
}

impl SimulatedCustomer {
    pub(super) fn draw(number: u64, random: &mut SeededRandom) -> Self {
        let city = pick(random, &CITIES);
        Self {
            partner_id: format!("CRM-{number:06}"),
            imprint_id: uuid(random),
            revision: 0,
            number,
            first_name: pick(random, &FIRST_NAMES),
            last_name: pick(random, &LAST_NAMES),
            mail_host: pick(random, &MAIL_HOSTS),
            phone: PhoneNumber::draw(city.area, random),
            language: pick(random, &LANGUAGES),
            street: street(random),
            apartment: random.happens(400).then(|| apartment(random)),
            city,
            country: pick(random, &COUNTRIES),
            member_since: CalendarDay {
                year: 2016 + random.below(9),
                month: 1 + random.below(12),
                day: 1 + random.below(28),
            },
            spent_cents: random.below(250_000),
        }
    }

    /// Changes one part of the customer's data. The most frequent change is a purchase.
    pub(super) fn change(&mut self, random: &mut SeededRandom) {
        self.revision = self.revision.saturating_add(1);
        match random.below(10) {
            0 => self.mail_host = pick(random, &MAIL_HOSTS),
            1 => self.phone = PhoneNumber::draw(self.city.area, random),
            2 => self.last_name = pick(random, &LAST_NAMES),
            3 => self.language = pick(random, &LANGUAGES),
            4 | 5 => self.change_address(random),
            _bought => {
                let cents = match random.below(3) {
                    0 => 100 * (1 + random.below(200)),
                    _uneven => 499 + random.below(40_000),
                };
                self.spent_cents = self.spent_cents.saturating_add(cents);
            }
        }
    }

    /// Changes the address. The new address has an apartment only if the old address has an apartment.
    ///
    /// With the default setting of `imprint.clearing`, the bridge does not clear the address lines in
    /// `customer_history`, so the demo never removes an apartment.
    fn change_address(&mut self, random: &mut SeededRandom) {
        self.city = pick(random, &CITIES);
        self.street = street(random);
        if self.apartment.is_some() {
            self.apartment = Some(apartment(random));
        }
    }

    /// Returns the attribute `data` of the event that the simulated CRM sends about this customer.
    pub(super) fn data(&self) -> Value {
        let mut address = json!({
            "line1": self.street,
            "city": self.city.name,
            "state": self.city.state,
            "postal_code": self.city.postal_code,
            "country": self.country,
        });
        if let (Some(address), Some(apartment)) = (address.as_object_mut(), &self.apartment) {
            address.insert("line2".to_owned(), json!(apartment));
        }
        let CalendarDay { year, month, day } = self.member_since;
        let (dollars, cents) = (self.spent_cents / 100, self.spent_cents % 100);
        let amount = match cents {
            0 => dollars.to_string(),
            cents => format!("{dollars}.{cents:02}"),
        };
        json!({"customer": {
            "id": self.partner_id,
            "imprint_customer_id": self.imprint_id,
            "revision": self.revision,
            "email": self.email(),
            "phone": self.phone.typed(),
            "name": {"first": self.first_name, "last": self.last_name},
            "language": self.language.0,
            "address": address,
            "member_since": format!("{year}-{month:02}-{day:02}"),
            "lifetime_value": {"amount": amount, "currency": "USD"},
            "loyalty": {"tier": self.tier().1},
        }})
    }

    /// Returns the values that Imprint must have after an event of the day `today`, as the members of a customer
    /// object.
    pub(super) fn expected_values(&self, today: CalendarDay) -> ExpectedValues {
        let mut address = Map::new();
        let lines = [
            ("street_line1", Some(self.street.as_str())),
            ("street_line2", self.apartment.as_deref()),
            ("city", Some(self.city.name)),
            ("state", Some(self.city.state)),
            ("postal_code", Some(self.city.postal_code)),
        ];
        for (field, line) in lines {
            if let Some(line) = line {
                address.insert(field.to_owned(), json!(line));
            }
        }
        let customer = json!({
            "email": self.email(),
            "phone": self.phone.e164(),
            "first_name": self.first_name,
            "last_name": self.last_name,
            "preferred_language": self.language.1,
            "address": address,
            "metadata": {"preferred_language": self.language.1},
        });
        address.insert("country".to_owned(), json!("USA"));
        let history = json!({
            "email": self.email(),
            "phone": self.phone.e164(),
            "first_name": self.first_name,
            "last_name": self.last_name,
            "preferred_language": self.language.1,
            "address": address,
            "account_tenure": self.member_since.months_to(today),
            "ltv_amount": self.spent_cents,
            "ltv_currency": "USD",
            "loyalty_tier": self.tier().2,
        });
        ExpectedValues { customer, history }
    }

    fn email(&self) -> String {
        let (first, last) = (
            ascii_lowercase(self.first_name),
            ascii_lowercase(self.last_name),
        );
        format!("{first}.{last}{}@{}", self.number, self.mail_host)
    }

    fn tier(&self) -> (u64, &'static str, &'static str) {
        let dollars = self.spent_cents / 100;
        let reached = TIERS.iter().find(|(from, _, _)| dollars >= *from);
        reached.copied().unwrap_or_default()
    }
}

/// The values that Imprint must have for one customer at the end of the demo.
#[derive(Clone, PartialEq)]
pub(super) struct ExpectedValues {
    customer: Value,
    history: Value,
}

impl ExpectedValues {
    /// Returns the names of the fields in which the sandbox's customer differs from the expected values.
    pub(super) fn differences(&self, actual: &Value) -> Vec<String> {
        [
            ("customer", &self.customer),
            ("customer_history", &self.history),
        ]
        .into_iter()
        .flat_map(|(part, expected)| {
            let fields = expected.as_object().into_iter().flatten();
            fields.map(move |(field, value)| (part, field, value))
        })
        .filter(|(part, field, value)| {
            actual.get(*part).and_then(|part| part.get(field.as_str())) != Some(*value)
        })
        .map(|(part, field, _)| format!("{part}.{field}"))
        .collect()
    }
}

/// Picks one of the items at random. Returns the default value of the type if there are no items.
pub(super) fn pick<T: Copy + Default>(random: &mut SeededRandom, items: &[T]) -> T {
    random.choose(items).unwrap_or_default()
}

fn street(random: &mut SeededRandom) -> String {
    format!("{} {}", 1 + random.below(2_400), pick(random, &STREETS))
}

fn apartment(random: &mut SeededRandom) -> String {
    let kind = pick(random, &["Apt", "Apt", "Unit", "#"]);
    format!(
        "{kind} {}{}",
        1 + random.below(24),
        pick(random, &["", "A", "B", "C"])
    )
}

/// Draws a UUID of version 4, because Imprint's customer ids are UUIDs.
fn uuid(random: &mut SeededRandom) -> String {
    let (high, low) = (random.next_u64(), random.next_u64());
    format!(
        "{:08X}-{:04X}-4{:03X}-{:04X}-{:012X}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// Returns a name in lower-case ASCII letters, for an email address.
fn ascii_lowercase(name: &str) -> String {
    name.chars()
        .filter_map(|c| match c {
            'á' => Some('a'),
            'é' | 'ë' => Some('e'),
            'í' => Some('i'),
            'ó' => Some('o'),
            'ú' => Some('u'),
            c if c.is_ascii_alphabetic() => Some(c.to_ascii_lowercase()),
            _apostrophe => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_months_are_counted() {
        let day = |year, month, day| CalendarDay { year, month, day };
        for (from, to, months) in [
            (day(2024, 1, 10), day(2025, 2, 13), 13),
            (day(2024, 1, 14), day(2025, 2, 13), 12),
            (day(2025, 2, 13), day(2025, 2, 13), 0),
            (day(2024, 12, 28), day(2025, 1, 1), 0),
        ] {
            assert_eq!(from.months_to(to), months);
        }
    }

    #[test]
    fn differences_are_reported_by_field_name() {
        let customer = SimulatedCustomer::draw(1, &mut SeededRandom::new(1));
        let values = customer.expected_values(CalendarDay {
            year: 2025,
            month: 9,
            day: 1,
        });
        let mut actual =
            json!({"customer": values.customer, "customer_history": values.history, "updates": 1});
        assert!(values.differences(&actual).is_empty());
        actual["customer"]["email"] = json!("else@example.com");
        actual["customer_history"]["address"]["city"] = json!("Elsewhere");
        assert_eq!(
            values.differences(&actual),
            ["customer.email", "customer_history.address"]
        );
        assert_eq!(values.differences(&json!({})).len(), 17);
    }
}
