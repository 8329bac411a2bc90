//! The command that resets the versions of a customer.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::Bridge;
use super::table::{self, at};
use crate::http::Method;

/// The arguments of the command `reset-versions`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ResetOptions {
    #[command(flatten)]
    bridge: Bridge,
    #[command(flatten)]
    customer: CustomerOption,
    /// The operator's reason for the command. The bridge records the reason in the audit log.
    #[arg(long)]
    reason: String,
}

/// The id of the customer.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct CustomerOption {
    /// Imprint's id of the customer.
    #[arg(long)]
    imprint_id: Option<String>,
    /// The CRM's own id of the customer.
    #[arg(long)]
    partner_id: Option<String>,
}

/// Resets the versions of a customer, and prints the number of fields.
pub(in crate::cli) fn reset_versions(options: &ResetOptions) -> anyhow::Result<ExitCode> {
    let CustomerOption {
        imprint_id,
        partner_id,
    } = &options.customer;
    let ids = [("imprint_id", imprint_id), ("partner_id", partner_id)];
    let ids = ids
        .into_iter()
        .filter_map(|(key, id)| Some((key.to_owned(), json!(id.as_ref()?))));
    let mut body: Map<String, Value> = ids.collect();
    body.insert("reason".to_owned(), json!(options.reason));
    let path = "/customers/reset-versions";
    let body = Value::Object(body);
    let answer = options.bridge.call(&Method::POST, path, Some(&body))?;
    options.bridge.show(&answer, |answer| {
        let fields = table::text(at(answer, "fields"));
        let mut lines = vec![format!("versions of {fields} fields reset")];
        let floors = at(answer, "floors").as_u64().unwrap_or_default();
        if floors > 0 {
            lines.push(format!(
                "{floors} fields keep the version of an erased value: the bridge sends only newer values"
            ));
        }
        lines
    });
    Ok(ExitCode::SUCCESS)
}
