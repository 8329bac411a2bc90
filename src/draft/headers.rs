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
    let is_hmac = source_file.contains("kind = \"hmac\"");
    let is_time = |name: &str| is_hmac && authentication::is_signing_time(name);
    let is_unused = |name: &&str| {
        let is_common =
            COMMON.contains(name) || COMMON_STARTS.iter().any(|start| name.starts_with(start));
        let is_read = *name == "authorization" || source_file.contains(&quoted(name));
        !is_common && !is_read && !is_time(name)
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
    let signed: BTreeSet<&str> = samples
        .iter()
        .flat_map(|sample| &sample.headers)
        .filter(|(name, value)| {
            names.contains(&name.as_str()) && authentication::looks_signed(value)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let signed: Vec<&str> = signed.into_iter().collect();
    let signed = (!signed.is_empty()).then(|| format!(
        "These headers have values in the form of an HMAC signature: {}. If one of them is the signature of the request, use `kind = \"hmac\"` with this header.",
        list(&signed)
    ));
    let form = form(samples);
    let sentences = unverified
        .into_iter()
        .chain(unused)
        .chain(signed)
        .chain(form);
    let sentences: Vec<String> = sentences.collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Says that the bridge refuses the requests of the source, if their header `Content-Type` names another format than JSON.
fn form(samples: &[Sample]) -> Option<String> {
    let types = samples
        .iter()
        .filter_map(|sample| sample.header("content-type"));
    let mut types = types.map(|value| {
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    });
    let is_other =
        |name: &String| !name.ends_with("/json") && !name.ends_with("+json") && !name.is_empty();
    types.find(is_other).map(|name| format!(
        "The samples have the header `Content-Type: {name}`, and the bridge accepts only JSON. Let the source post JSON; see the recipe \"A CRM that posts forms\" in config/sources/RECIPES.md."
    ))
}
