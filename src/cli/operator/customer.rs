//! The commands that export and erase everything that the store has of a customer.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

use super::table::at;
use super::{Bridge, exit_code};
use crate::http::Method;
use crate::telemetry::{self, LogFormat};
use crate::terminal::print_result;

/// The maximum number of pages that one export reads. The bridge ends an export earlier, unless a customer has a million
/// entries.
const PAGES_MAX: usize = 40_000;

/// The id of the customer.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct NamedCustomer {
    /// Imprint's id or the CRM's id of the customer.
    #[arg(long)]
    customer: Option<String>,
    /// Imprint's id of the customer. Necessary only if the same text is the CRM's id of another customer.
    #[arg(long)]
    imprint_id: Option<String>,
    /// The CRM's own id of the customer. Necessary only if the same text is Imprint's id of another customer.
    #[arg(long)]
    partner_id: Option<String>,
}

impl NamedCustomer {
    pub(super) fn members(&self) -> Value {
        let ids = [
            ("customer", &self.customer),
            ("imprint_id", &self.imprint_id),
            ("partner_id", &self.partner_id),
        ];
        let ids = ids.into_iter();
        let ids = ids.filter_map(|(name, id)| Some((name.to_owned(), json!(id.as_ref()?))));
        Value::Object(ids.collect())
    }
}

/// The arguments of the command `export`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportOptions {
    #[command(flatten)]
    bridge: Bridge,
    #[command(flatten)]
    customer: NamedCustomer,
    /// The operator's reason for the command. The bridge records the reason in the audit log.
    #[arg(long)]
    reason: Option<String>,
}

/// Prints everything that the store has of a customer, as JSON.
pub(in crate::cli) fn export(options: &ExportOptions) -> anyhow::Result<ExitCode> {
    let mut body = json!({"of": options.customer.members(), "reason": options.reason});
    let mut whole = Map::new();
    let _log = telemetry::start(LogFormat::Text, "warn")?;
    for _ in 0..PAGES_MAX {
        let path = "/customers/export";
        let page = options
            .bridge
            .call_with_log(&Method::POST, path, Some(&body))?;
        let next = at(&page, "next").clone();
        append(&mut whole, page);
        if next.is_null() {
            whole.remove("next");
            print_result(format_args!("{:#}", Value::Object(whole)));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(members) = body.as_object_mut() {
            members.insert("page".to_owned(), next);
        }
    }
    bail!("the customer has more than {PAGES_MAX} pages of entries")
}

/// Appends the entries of a page to the pages before.
fn append(whole: &mut Map<String, Value>, page: Value) {
    let Value::Object(page) = page else {
        return;
    };
    for (name, value) in page {
        let is_paged = ["entries", "unmapped"].contains(&name.as_str());
        match (whole.get_mut(&name), value) {
            (Some(Value::Array(before)), Value::Array(more)) if is_paged => before.extend(more),
            (Some(_), _) => {}
            (None, value) => {
                whole.insert(name, value);
            }
        }
    }
}

/// The arguments of the command `erase`.
#[derive(Debug, Args)]
pub(in crate::cli) struct EraseOptions {
    #[command(flatten)]
    bridge: Bridge,
    #[command(flatten)]
    customer: NamedCustomer,
    /// Ignore every later event of the customer. A later `erase` without this option ends the block.
    #[arg(long)]
    block: bool,
    /// The operator's reason for the command. The bridge records the reason in the audit log, which nobody can erase:
    /// write no personal data.
    #[arg(long)]
    reason: String,
}

/// Erases a customer, and prints what the bridge erased and what it cannot promise.
pub(in crate::cli) fn erase(options: &EraseOptions) -> anyhow::Result<ExitCode> {
    let body = json!({
        "of": options.customer.members(), "block": options.block, "reason": options.reason,
    });
    let path = "/customers/erase";
    let answer = options.bridge.call(&Method::POST, path, Some(&body))?;
    options.bridge.show(&answer, erased);
    Ok(exit_code(*at(&answer, "known") == true))
}

fn erased(answer: &Value) -> Vec<String> {
    let number = |name| at(answer, name).as_u64().unwrap_or_default();
    let mut lines = vec![format!(
        "{} entries erased, {} of them were not delivered and are now discarded",
        number("entries"),
        number("discarded")
    )];
    let is = |name, value| *at(answer, name) == value;
    let unconfirmed = at(answer, "unconfirmed").as_array();
    let unconfirmed = unconfirmed.into_iter().flatten().map(Value::to_string);
    let unconfirmed: Vec<String> = unconfirmed.collect();
    let notes = [
        (is("known", false), "the store had nothing of a customer with this id: look at the spelling".to_owned()),
        (
            is("unblocked", true),
            "the block of this id has ended. After the erasure, the store does not know which ids belong together: an event that also names another blocked id is still ignored, so end the block of each id of the customer".to_owned(),
        ),
        (
            is("kept_out", false),
            "a mapping of the customer's events has no version, or an erased entry was unreadable, so the bridge delivers an old event that its sender sends again under a new id: with --block, the bridge ignores every later event of the customer".to_owned(),
        ),
        (
            number("unreadable") > 0,
            format!("{} entries outside the lanes of the customer are unreadable, and can be entries of the customer: `status` names missing sealing keys, and `parked` lists invalid events", number("unreadable")),
        ),
        (
            number("unjudged") > 0,
            format!("nothing tells the customer of {} invalid parked events, because the mapping of their source computes the id from values that the events lack, or the source is gone: look at them with `parked --parked-for invalid`, and `discard` the events of the customer", number("unjudged")),
        ),
        (
            is("in_log", true),
            "a backup is in progress and contains the customer: delete it. The bridge truncates the log of the store within a minute after the backup".to_owned(),
        ),
        (
            !unconfirmed.is_empty(),
            format!("these bridges on the same database have not confirmed that they have forgotten the customer: {}. Each of them forgets the customer as soon as it reaches the database: repeat the command until no bridge is named, or stop the bridge", unconfirmed.join(", ")),
        ),
        (true, "older backups still contain the customer: delete them".to_owned()),
    ];
    let notes = notes.into_iter().filter(|(is_true, _)| *is_true);
    lines.extend(notes.map(|(_, note)| note));
    lines
}
