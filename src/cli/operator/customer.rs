//! The command that exports everything that the store has of a customer.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Bridge;
use super::table::at;
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
