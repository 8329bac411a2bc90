//! The condition of the profile "production" that concerns the process and not a setting.

use crate::config::{Config, Profile, SettingError};
use crate::core_dump;

/// Returns an error if the profile is "production" and a core dump could contain secrets and personal data.
pub(super) fn core_dumps(config: &Config) -> Option<SettingError> {
    let is_refused = config.profile == Profile::Production && !core_dump::is_forbidden();
    is_refused.then(|| SettingError {
        origin: String::new(),
        key: "profile".to_owned(),
        reason: "must not be \"production\", because the operating system does not let this process forbid core dumps".to_owned(),
    })
}
