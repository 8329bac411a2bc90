//! The request headers of the samples that a draft does not use.

use std::collections::BTreeSet;

use super::path::quoted;
use super::sample::Sample;

/// The headers that say nothing about an event.
const COMMON: [&str; 17] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "pragma",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-request-id",
];
/// The starts of the names of headers that proxies add, and of headers that a kind of authentication reads.
const COMMON_STARTS: [&str; 9] = [
    "ce-",
    "cf-",
    "forwarded",
    "svix-",
    "trace",
    "webhook-",
    "x-amzn-",
    "x-b3-",
    "x-forwarded-",
];

/// Names the headers that do not stand in the source file, for a person who decides whether the source needs them.
pub(super) fn unused(samples: &[Sample], source_file: &str) -> Option<String> {
    let headers = samples.iter().flat_map(|sample| &sample.headers);
    let is_unused = |name: &&str| {
        let is_common =
            COMMON.contains(name) || COMMON_STARTS.iter().any(|start| name.starts_with(start));
        let is_read = *name == "authorization" || source_file.contains(&quoted(name));
        !is_common && !is_read
    };
    let names = headers.map(|(name, _)| name.as_str());
    let names: BTreeSet<&str> = names.filter(is_unused).collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    Some(format!(
        "The draft does not use these request headers of the samples: {}. An expression in [body] can read a header with `header(\"NAME\")`, for example the id of an event that is the same in each attempt.",
        names.join(", ")
    ))
}
