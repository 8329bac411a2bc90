//! Finds the settings of another kind of authentication in the table `[auth]` of a source file.

use std::collections::BTreeSet;

use super::super::reader::Reader;

/// The settings of each kind, except `kind` itself, the settings of every kind and the files with the secrets.
const KINDS: [(&str, &[&str]); 6] = [
    ("none", &[]),
    ("bearer", &[]),
    ("token", &["header", "prefix"]),
    ("basic", &["user"]),
    ("standard_webhooks", &[]),
    (
        "hmac",
        &[
            "algorithm",
            "encoding",
            "header",
            "prefix",
            "secret_encoding",
            "separator",
            "signed",
            "timestamp_header",
            "timestamp_prefix",
            "timestamp_unit",
            "tolerance",
        ],
    ),
];

/// The settings of `[auth]` that do not depend on the kind.
pub(super) const OF_EVERY_KIND: [&str; 5] = [
    "kind",
    "password_files",
    "secret_bytes_min",
    "secret_files",
    "token_files",
];

/// Returns the settings that only this kind has.
pub(super) fn settings_of(kind: &str) -> &'static [&'static str] {
    let own = KINDS.iter().find(|(name, _)| *name == kind);
    own.map_or(&[], |(_, settings)| *settings)
}

/// Returns whether the table `[auth]` has a setting of this name with any kind.
pub(super) fn is_setting(name: &str) -> bool {
    let mut of_kinds = KINDS.iter().flat_map(|(_, settings)| *settings);
    OF_EVERY_KIND.contains(&name) || of_kinds.any(|known| *known == name)
}

/// Adds one error for the settings that another kind has, and forgets them.
pub(super) fn report(reader: &mut Reader, kind: &str) {
    let own = settings_of(kind);
    let known = KINDS
        .iter()
        .flat_map(|(_, settings)| settings.iter().copied());
    let is_of_other = |key: &&str| !own.contains(key) && reader.has(&["auth", key]);
    let found: BTreeSet<&str> = known.filter(is_of_other).collect();
    let has_all = |(_, settings): &&(&str, &[&str])| found.iter().all(|key| settings.contains(key));
    let other = KINDS.iter().find(has_all).map_or("hmac", |(name, _)| *name);
    if found.is_empty() {
        return;
    }
    let reason = format!(
        "has settings of kind = \"{other}\": {}; leave them out with kind = \"{kind}\", or correct the kind",
        found.iter().copied().collect::<Vec<_>>().join(", ")
    );
    reader.error(&["auth"], reason);
    for key in found {
        reader.forget(&["auth", key]);
    }
}
