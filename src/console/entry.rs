//! One entry: the life of its event as a timeline, and its content with masked values. A revealer can reveal the values.

use actix_web::web;
use askama::Template;

use super::Console;
use super::change_form::ChangeAction;
use super::entry_life::{LifeStep, life};
use super::entry_row::EntryText;
use super::entry_text::{ErrorText, FieldText, version_text};
use super::form::Form;
use super::login::NoFields;
use super::page::{Frame, PageResult, Section, page};
use super::visitor::Visitor;
use crate::event::{Attribute, Visibility};
use crate::ops::operate::{EntryContent, EntryView, Operations, Role};
use crate::ops::parse_entry;
use crate::outbox::State;
use crate::time::Timestamp;

#[derive(Template)]
#[template(path = "entry.html", config = "src/console/askama.toml")]
struct OneEntryPage {
    frame: Frame,
    row: EntryText,
    ce_source: Option<String>,
    /// The CRM's id of the customer, if the store has it in addition to Imprint's id.
    partner: Option<String>,
    steps: Vec<LifeStep>,
    /// The errors of an invalid event.
    errors: Vec<ErrorText>,
    /// The errors of the fields that the update leaves out.
    skipped: Vec<ErrorText>,
    /// The cleared fields that no request sends, each with the reason.
    omitted: Vec<(String, String)>,
    content: Option<ContentText>,
    is_revealed: bool,
    /// True if the operator may reveal the values.
    is_revealer: bool,
    /// The actions on the entry that the operator may use.
    actions: Vec<ChangeAction>,
    /// True if the store has no update of the entry, so that a replay must map the event.
    is_unmapped: bool,
}

/// The content of an entry that has not ended.
struct ContentText {
    /// The version of the values, as the source gave it.
    version: Option<String>,
    fields: Vec<FieldText>,
    event: Option<String>,
}

/// Answers `GET /entries/{number}`.
pub(super) async fn show(
    visitor: Visitor,
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    number: web::Path<String>,
) -> PageResult {
    entry_page(
        &visitor,
        &console,
        &operations,
        (&number, Visibility::Masked),
    )
    .await
}

/// Answers `POST /entries/{number}/reveal`.
pub(super) async fn reveal(
    console: web::Data<Console>,
    operations: web::Data<Operations>,
    number: web::Path<String>,
    form: Form<NoFields>,
) -> PageResult {
    let visitor = form.visitor;
    entry_page(
        &visitor,
        &console,
        &operations,
        (&number, Visibility::Revealed),
    )
    .await
}

async fn entry_page(
    visitor: &Visitor,
    console: &Console,
    operations: &Operations,
    (number, visibility): (&str, Visibility),
) -> PageResult {
    let entry = parse_entry(number)?;
    let view = operations.show(visitor.operator(), entry, visibility);
    let view = view.await?;
    let now = operations.clock.now();
    let framed = console.frame_and_hold(visitor, Section::Entries, operations);
    let (frame, hold) = framed.await;
    let template = OneEntryPage {
        is_revealed: visibility == Visibility::Revealed,
        is_revealer: visitor.may(Role::Revealer),
        actions: actions(visitor, view.summary.receipt.state),
        ..OneEntryPage::of(frame, view, (hold.as_deref(), now))
    };
    page(&template)
}

fn actions(visitor: &Visitor, state: State) -> Vec<ChangeAction> {
    let actions = ChangeAction::of_state(state);
    actions.filter(|_| visitor.may(Role::Operator)).collect()
}

impl OneEntryPage {
    /// Describes an entry whose values are masked.
    fn of(frame: Frame, view: EntryView, (hold, now): (Option<&str>, Timestamp)) -> Self {
        let receipt = &view.summary.receipt;
        let ce_source = receipt.identity.ce_source.as_ref();
        let omitted = receipt.omitted().into_iter();
        Self {
            frame,
            row: EntryText::of(&view.summary, now),
            ce_source: ce_source.map(Attribute::as_str).map(str::to_owned),
            partner: view.partner.as_ref().map(|id| id.as_str().to_owned()),
            steps: life(receipt, hold, now),
            errors: receipt.errors.iter().map(ErrorText::of).collect(),
            skipped: receipt.skipped().into_iter().map(ErrorText::of).collect(),
            omitted: omitted
                .map(|(field, reason)| (field.to_owned(), reason.to_owned()))
                .collect(),
            content: view.content.map(ContentText::of),
            is_revealed: false,
            is_revealer: false,
            actions: Vec::new(),
            is_unmapped: !receipt.errors.is_empty(),
        }
    }
}

impl ContentText {
    fn of(content: EntryContent) -> Self {
        let (version, fields) = content.update.unzip();
        let fields = fields.unwrap_or_default().into_iter();
        Self {
            version: version.map(version_text),
            fields: fields.map(FieldText::of).collect(),
            event: content.event.map(|event| format!("{event:#}")),
        }
    }
}
