//! One customer: why Imprint has its values, and what the next request waits for. The page shows no value.

use std::collections::BTreeMap;

use actix_web::web;
use askama::Template;
use serde::Deserialize;

use super::Console;
use super::customer_wait::WaitText;
use super::entry_filter::FilterFields;
use super::entry_row::{CustomerText, EntryText};
use super::entry_text::version_text;
use super::page::{Frame, PageResult, Section, page};
use super::visitor::Visitor;
use super::words::TimeText;
use crate::event::Version;
use crate::ops::operate::{CustomerName, CustomerView, Operations, no_entry};
use crate::outbox::{FieldOrigin, IdentityLink};
use crate::time::Timestamp;

#[derive(Template)]
#[template(path = "customer.html", config = "src/console/askama.toml")]
struct CustomerPage {
    frame: Frame,
    /// The id that the operator wrote.
    id: String,
    /// The customer with this id.
    found: Option<FoundCustomer>,
}

/// A customer as the page shows it.
struct FoundCustomer {
    is_known: bool,
    customer: CustomerText,
    links: Vec<LinkText>,
    waits: Vec<WaitText>,
    /// Says that nothing waits, if no lane of the customer waits.
    idle: String,
    origins: Vec<OriginText>,
    reassertion: Option<TimeText>,
    rows: Vec<EntryText>,
    /// The list of all entries of the customer, if the page does not show all of them.
    more: Option<String>,
}

/// A CRM's id of the customer, and Imprint's id.
struct LinkText {
    partner: String,
    /// `None` if Imprint knows no customer with the CRM's id.
    imprint: Option<String>,
    confirmed: TimeText,
}

/// The fields that Imprint has from one event.
struct OriginText {
    fields: Vec<String>,
    version: String,
    entry: u64,
    /// The id and the source of the event. `None` if the store has deleted both.
    event: Option<(String, String)>,
    delivered: Option<TimeText>,
}

/// The query of the page.
#[derive(Deserialize)]
pub(super) struct CustomerQuery {
    #[serde(default)]
    id: String,
}

/// Answers `GET /customers`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    query: web::Query<CustomerQuery>,
) -> PageResult {
    let id = query.into_inner().id.trim().to_owned();
    let now = operations.clock.now();
    let framed = console.frame_and_hold(&visitor, Section::Customers, &operations);
    let (frame, hold) = framed.await;
    let found = match id.is_empty() {
        true => None,
        false => {
            let name = CustomerName::Either(id.clone());
            let view = operations.customer(visitor.operator(), name).await?;
            Some(FoundCustomer::of(&view, &id, (hold.as_deref(), now)))
        }
    };
    page(&CustomerPage { frame, id, found })
}

impl FoundCustomer {
    fn of(view: &CustomerView, id: &str, (hold, now): (Option<&str>, Timestamp)) -> Self {
        let all = FilterFields {
            state: "all".to_owned(),
            customer: id.to_owned(),
            ..FilterFields::default()
        };
        let reassertion = view.reassert_at.map(|at| TimeText::of(at, now));
        Self {
            is_known: view.is_known,
            customer: CustomerText::of(&view.key),
            links: view
                .links
                .iter()
                .map(|link| LinkText::of(link, now))
                .collect(),
            waits: view
                .waits
                .iter()
                .map(|wait| {
                    let failure = view.failure.as_deref();
                    let failure = failure.filter(|_| wait.trials.failures > 0);
                    WaitText::of(wait, &view.stopped, hold, now).with_failure(failure)
                })
                .collect(),
            idle: no_entry(&view.stopped),
            origins: origins(&view.delivered, now),
            reassertion,
            rows: view
                .entries
                .iter()
                .map(|entry| EntryText::of(entry, now))
                .collect(),
            more: view.has_more.then(|| all.path()),
        }
    }
}

impl LinkText {
    fn of(link: &IdentityLink, now: Timestamp) -> Self {
        let imprint = link.imprint.as_ref();
        Self {
            partner: link.partner.as_str().to_owned(),
            imprint: imprint.map(|imprint| imprint.as_str().to_owned()),
            confirmed: TimeText::of(link.confirmed_at, now),
        }
    }
}

/// Groups the fields by their events, the newest first.
fn origins(delivered: &[FieldOrigin], now: Timestamp) -> Vec<OriginText> {
    let mut by_event: BTreeMap<Version, OriginText> = BTreeMap::new();
    for origin in delivered {
        let event = by_event.entry(origin.version);
        let event = event.or_insert_with(|| OriginText::of(origin, now));
        event.fields.push(origin.field.to_string());
    }
    let mut origins: Vec<OriginText> = by_event.into_values().collect();
    origins.sort_by_key(|origin| std::cmp::Reverse(origin.entry));
    origins
}

impl OriginText {
    /// Describes the event of a field, without the field.
    fn of(origin: &FieldOrigin, now: Timestamp) -> Self {
        let event = origin.event.as_ref();
        let identity = event.map(|event| &event.identity);
        Self {
            fields: Vec::new(),
            version: version_text(origin.version),
            entry: origin.version.arrival,
            event: identity.map(|identity| {
                let source = identity.source.as_str().to_owned();
                (identity.id.as_str().to_owned(), source)
            }),
            delivered: event.map(|event| TimeText::of(event.delivered_at, now)),
        }
    }
}
