//! Adapts the source file of a vendor to the samples: the name of the source, the kind of the records, the primary key.

use serde_json::Value;

use super::super::names;
use super::super::path::JsonPath;
use super::super::sample::Sample;
use super::known::Vendor;

/// The compound addresses of Salesforce's objects, the best one first.
const SALESFORCE_ADDRESSES: [&str; 5] = [
    "MailingAddress",
    "PersonMailingAddress",
    "Address",
    "BillingAddress",
    "ShippingAddress",
];
/// The lines of Salesforce's `split` that read the parts of the compound field Name.
const SALESFORCE_NAME: &str = "     + {Name: ($payload.Name
         | with_entries(.key as $part | select(.value != null or ($nulled | any(. == \"Name.\\($part)\")))))}
";
/// The texts of the expressions of Debezium for `PostgreSQL`, and the texts for `MySQL`.
const DEBEZIUM_POSITION: [(&str, &str); 3] = [
    (
        "{name, schema, table, lsn, ts_ms}",
        "{name, db, table, file, pos, row, ts_ms}",
    ),
    (
        "\\(.source.name)/\\(.source.lsn)/\\((.after // .before).id)",
        "\\(.source.name)/\\(.source.file)/\\(.source.pos)/\\(.source.row)",
    ),
    (
        "\\(.source.schema).\\(.source.table)",
        "\\(.source.db).\\(.source.table)",
    ),
];

/// The source file of a vendor, adapted to the samples.
#[derive(Debug)]
pub(super) struct Adaptation {
    pub(super) text: String,
    /// Whether the records of the samples are of another kind than those of the ready source, so that every member can
    /// have another name.
    pub(super) is_other_record: bool,
}

pub(super) fn adapt(vendor: &Vendor, source: &str, samples: &[Sample]) -> Adaptation {
    let key = vendor.key;
    let text = vendor.template.replace(
        &format!("The source \"{key}\""),
        &format!("The source \"{source}\""),
    );
    let text = text.replace(&format!("sources/{key}"), &format!("sources/{source}"));
    let text = text.replace(
        &format!("schema = \"{key}/"),
        &format!("schema = \"{source}/"),
    );
    let unchanged = |text| Adaptation {
        text,
        is_other_record: false,
    };
    let Some(body) = samples.first().map(|sample| &sample.body) else {
        return unchanged(text);
    };
    match key {
        "salesforce" => salesforce(text, body),
        "dynamics" => dynamics(text, body),
        "debezium" => debezium(text, body),
        _ => unchanged(text),
    }
}

fn salesforce(mut text: String, body: &Value) -> Adaptation {
    let nested = body.pointer("/data/payload");
    let Some(payload) = nested.or_else(|| body.get("payload")) else {
        return Adaptation {
            text,
            is_other_record: false,
        };
    };
    if nested.is_some() {
        text = text.replace("\n.payload as $payload\n", "\n.data.payload as $payload\n");
    }
    let entity = payload
        .pointer("/ChangeEventHeader/entityName")
        .and_then(Value::as_str);
    let entity = entity.filter(|entity| *entity != "Contact" && is_word(entity));
    let Some(entity) = entity else {
        return Adaptation {
            text,
            is_other_record: false,
        };
    };
    text = text.replace("\"Contact.", &format!("\"{entity}."));
    let has = |name: &str| payload.get(name).is_some_and(|value| !value.is_string());
    if !has("Name") {
        text = text.replace(SALESFORCE_NAME, "");
    }
    if let Some(address) = SALESFORCE_ADDRESSES.iter().find(|name| has(name)) {
        text = text.replace("MailingAddress", address);
    }
    Adaptation {
        text,
        is_other_record: true,
    }
}

fn dynamics(text: String, body: &Value) -> Adaptation {
    let table = body.get("PrimaryEntityName").and_then(Value::as_str);
    match table.filter(|table| *table != "contact" && is_word(table)) {
        Some(table) => Adaptation {
            text: text.replace("\"contact.", &format!("\"{table}.")),
            is_other_record: true,
        },
        None => Adaptation {
            text,
            is_other_record: false,
        },
    }
}

fn debezium(mut text: String, body: &Value) -> Adaptation {
    let event = body.get("payload").unwrap_or(body);
    let source = |name: &str| {
        event
            .pointer(&format!("/source/{name}"))
            .and_then(Value::as_str)
    };
    let is_postgres = event.pointer("/source/lsn").is_some();
    if !is_postgres {
        for (postgres, mysql) in DEBEZIUM_POSITION {
            text = text.replace(postgres, mysql);
        }
    }
    let schema = source(if is_postgres { "schema" } else { "db" }).unwrap_or_default();
    let table = format!("{schema}.{}", source("table").unwrap_or_default());
    let is_other = table != "public.customers" && table.split('.').all(is_word);
    if is_other {
        text = text.replace(
            "events.\"public.customers\"",
            &format!("events.\"{table}\""),
        );
    }
    let row = event
        .get("after")
        .filter(|row| row.is_object())
        .or_else(|| event.get("before"));
    if let Some(key) = row.and_then(primary_key).filter(|key| key != "id") {
        let path = JsonPath::of(&[&key]).expression();
        text = text.replace(
            "(.after // .before).id)",
            &format!("(.after // .before){path})"),
        );
        let path = JsonPath::of(&["after", &key]).expression();
        let setting = format!(
            "customer.partner_id = {}",
            super::super::document::toml_text(&path)
        );
        text = text.replace("customer.partner_id = \".after.id\"", &setting);
    }
    Adaptation {
        text,
        is_other_record: is_other || !is_postgres,
    }
}

/// Returns the column that is probably the primary key: `id`, or the first column whose name ends in `id` and is not
/// Imprint's id.
fn primary_key(row: &Value) -> Option<String> {
    let columns = row.as_object()?;
    if columns.contains_key("id") {
        return Some("id".to_owned());
    }
    let is_key = |name: &&String| {
        let words = names::words(name);
        words.last().is_some_and(|word| word.ends_with("id")) && !names::is_imprint_id(name)
    };
    let own =
        |name: &&String| names::position(name, &super::super::synonyms::CUSTOMER_IDS).is_some();
    let named = columns.keys().find(own);
    named.or_else(|| columns.keys().find(is_key)).cloned()
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::known::VENDORS;
    use super::*;

    /// A change of a ready source must not silently end an adaptation.
    #[test]
    fn the_ready_sources_have_the_texts_that_an_adaptation_replaces() {
        let template = |key: &str| {
            VENDORS
                .iter()
                .find(|vendor| vendor.key == key)
                .unwrap()
                .template
        };
        for (key, texts) in [
            (
                "salesforce",
                vec![
                    "\n.payload as $payload\n",
                    "\"Contact.",
                    SALESFORCE_NAME,
                    "MailingAddress",
                ],
            ),
            ("dynamics", vec!["\"contact."]),
            (
                "debezium",
                vec![
                    "events.\"public.customers\"",
                    "(.after // .before).id)",
                    "customer.partner_id = \".after.id\"",
                ],
            ),
            (
                "debezium",
                DEBEZIUM_POSITION.map(|(postgres, _)| postgres).to_vec(),
            ),
        ] {
            for text in texts {
                assert!(template(key).contains(text), "{key}: {text}");
            }
        }
    }
}
