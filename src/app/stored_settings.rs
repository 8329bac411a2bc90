//! Checks the settings of a store for `store verify` and at the start.

use super::source_activity::LastEvents;
use super::source_order::SourceOrders;
use crate::dispatch::destination::OperatorMode;
use crate::intake::OpenBrakes;
use crate::outbox::{Outbox, Setting};

/// Returns an error for each setting that the bridge cannot read, or that it would replace by its default.
pub(crate) fn damaged_settings(settings: &[(Setting, String)]) -> Vec<String> {
    let damaged = settings
        .iter()
        .filter(|(setting, text)| !is_readable(*setting, text));
    let errors = damaged.map(|(setting, _)| {
        format!(
            "the setting {} is damaged: restore the store from a copy without errors",
            setting.name()
        )
    });
    errors.collect()
}

/// Logs each optional setting that is damaged. The bridge works without the setting, and replaces it with the next value.
///
/// # Errors
/// Returns an error if the store fails.
pub(super) async fn log_damaged(outbox: &dyn Outbox) -> anyhow::Result<()> {
    let optional = Setting::PLAIN.into_iter();
    for setting in optional.filter(|setting| setting.is_optional()) {
        let stored = outbox.setting(setting).await?;
        if stored.is_some_and(|text| !is_readable(setting, &text)) {
            tracing::warn!(
                setting = setting.name(),
                "a setting in the store is damaged; the bridge works without it"
            );
        }
    }
    Ok(())
}

fn is_readable(setting: Setting, text: &str) -> bool {
    let is_number = |text: &str| text.parse::<i64>().is_ok();
    match setting {
        Setting::DestinationMode => OperatorMode::parse(text).is_some(),
        Setting::ThrottledUntil => text.split(' ').all(is_number),
        Setting::Destination => !text.contains(char::is_control),
        Setting::LastBackup => is_number(text),
        Setting::SourceOrders => SourceOrders::parse(Some(text)).is_ok(),
        Setting::OpenBrakes => serde_json::from_str::<OpenBrakes>(text).is_ok(),
        Setting::LastEvents => LastEvents::parse(Some(text)).is_ok(),
        // The store seals the evidence, and verifies it with its records.
        Setting::Evidence => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1302
    #[test]
    fn damaged_settings_are_named() {
        let check = |setting, text: &str| damaged_settings(&[(setting, text.to_owned())]).len();
        for (setting, right, damaged) in [
            (Setting::DestinationMode, "paused", "pauset"),
            (Setting::ThrottledUntil, "1060000 1000", "1060000 x"),
            (Setting::ThrottledUntil, "1060000", ""),
            (
                Setting::Destination,
                "local 127.0.0.1",
                "local 1\u{12}7.0.0.1",
            ),
            (Setting::LastBackup, "1060000", "yesterday"),
            (Setting::SourceOrders, "{\"crm\":{}}", "{\"crm\":1}"),
            (Setting::OpenBrakes, "{\"crm\":5}", "{\"crm\""),
            (
                Setting::LastEvents,
                "{\"crm\":{\"last\":5,\"hours\":{\"1\":2}}}",
                "{\"crm\":5}",
            ),
        ] {
            assert_eq!(check(setting, right), 0, "{right}");
            assert_eq!(check(setting, damaged), 1, "{damaged}");
        }
    }
}
