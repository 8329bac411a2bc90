//! The request headers of the samples that a draft does not use.

use std::collections::BTreeSet;

use super::authentication;
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

/// Names the signatures that the bridge does not verify, and the headers that do not stand in the source file, for a person who decides whether the source needs them.
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
    let (signatures, names): (Vec<&str>, Vec<&str>) = names
        .into_iter()
        .partition(|name| authentication::is_signature(name));
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let unverified = (!signatures.is_empty()).then(|| format!(
        "The draft does not verify these signatures: {}. The bridge verifies HMAC signatures, and no signature with a private key of the sender (RSA, ECDSA, Ed25519). If the sender offers no HMAC, let the sender add a header with a secret (`kind = \"token\"`), or let a gateway verify the signature and add such a header.",
        list(&signatures)
    ));
    let unused = (!names.is_empty()).then(|| format!(
        "The draft does not use these request headers of the samples: {}. An expression in [body] can read a header with `header(\"NAME\")`, for example the id of an event that is the same in each attempt.",
        list(&names)
    ));
    let sentences: Vec<String> = unverified.into_iter().chain(unused).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}
