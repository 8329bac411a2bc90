//! The mass-change brakes that operators have opened, as the store keeps them. Every bridge with the same store obeys them,
//! also after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::SourceName;
use crate::time::Timestamp;

/// The time until which each open brake is open, in milliseconds since 1970, by source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBrakes(BTreeMap<String, i64>);

impl OpenBrakes {
    /// Parses the text of the store. A damaged text opens no brake: a closed brake holds entries, and loses none.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Returns the text for the store.
    pub fn text(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Opens the brake of a source until a time, or closes it. Forgets the brakes whose time is over.
    #[must_use]
    pub fn with(mut self, source: &SourceName, until: Option<Timestamp>, now: Timestamp) -> Self {
        self.0.retain(|_, until| now.as_millis() < *until);
        match until {
            Some(until) => self.0.insert(source.to_string(), until.as_millis()),
            None => self.0.remove(source.as_str()),
        };
        self
    }

    /// Returns the time until which the brake of a source is open. `None` if no operator opened it.
    pub fn until(&self, source: &SourceName) -> Option<Timestamp> {
        let until = self.0.get(source.as_str());
        until.copied().map(Timestamp::from_millis)
    }

    /// Returns the sources whose brakes are open at this time, each with the time until which it is open.
    pub fn open_at(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        let brakes = self.0.iter();
        let brakes =
            brakes.map(|(source, until)| (source.as_str(), Timestamp::from_millis(*until)));
        brakes.filter(move |(_, until)| now.as_millis() < until.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_keeps_the_open_brakes() {
        let [crm, erp] = ["crm", "erp"].map(|name| SourceName::parse(name).unwrap());
        let at = Timestamp::from_millis;
        let open = OpenBrakes::default().with(&crm, Some(at(20)), at(0));
        let open = open.with(&erp, Some(at(10)), at(0));
        let read = OpenBrakes::parse(&open.text());
        assert_eq!(read, open);
        assert_eq!(
            (read.until(&crm), read.until(&erp)),
            (Some(at(20)), Some(at(10)))
        );
        // The brake of erp was open until 10.
        assert_eq!(read.open_at(at(10)).collect::<Vec<_>>(), [("crm", at(20))]);
        let closed = read.with(&crm, None, at(10));
        assert_eq!(closed, OpenBrakes::default());
        assert_eq!(OpenBrakes::parse("no JSON"), OpenBrakes::default());
    }
}
