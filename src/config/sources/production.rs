//! The sources that the profile "production" refuses.

use std::path::Path;

use super::super::reader::SettingError;
use super::super::{Config, Profile, secret};
use super::SourceSettings;

/// Returns the errors of a source that is not safe enough for real customers.
pub(super) fn refusals(config: &Config, file: &Path, source: &SourceSettings) -> Vec<SettingError> {
    if config.profile != Profile::Production {
        return Vec::new();
    }
    let error = |key: &str, reason| SettingError {
        origin: file.display().to_string(),
        key: key.to_owned(),
        reason,
    };
    let open = source.auth.is_none().then(|| {
        error(
            "auth.kind",
            "must not be \"none\" with the profile \"production\": everybody could send events as this source".to_owned(),
        )
    });
    let replayable = replayable(source).map(|reason| error("auth.timestamp_header", reason));
    let files = source.auth.files().map(|files| files.paths.as_slice());
    let files = files.unwrap_or_default().iter();
    let exposed = files.filter_map(|file| secret::exposure(file, Some(config.profile)));
    let exposed = exposed.map(|reason| error("auth", reason));
    open.into_iter().chain(replayable).chain(exposed).collect()
}

/// Returns the error of a source whose old requests anybody can send again with effect: the signature covers no time,
/// and an event type has no version.
fn replayable(source: &SourceSettings) -> Option<String> {
    if !source.auth.lacks_signing_time() {
        return None;
    }
    let event_types = source.source.event_types.iter();
    let without_version = event_types.filter(|(_, one)| one.mapping.version_domain().is_none());
    let names: Vec<_> = without_version.map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "is required with the profile \"production\": the signature covers no time, and these event types have no version: {}. Anybody who saw an old request could send it again, and overwrite newer values",
            names.join(", ")
        )
    })
}
