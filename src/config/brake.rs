//! The mass-change brake of sources. The table `[brake]` of the settings contains the defaults. The table `[brake]` of a
//! source file has the same keys and overrides the defaults.

use std::time::Duration;

use super::Profile;
use super::reader::{Raw, Reader};
use crate::intake::{BRAKE_CUSTOMERS_MAX, BrakeLimits, BrakePolicy};

/// The minimum of `brake.window`. A shorter window has too few changes for a judgement.
const WINDOW_MIN: Duration = Duration::from_mins(1);
/// The maximum of `brake.window`. The counts of a longer window would seldom survive until its end, because they are not
/// stored.
const WINDOW_MAX: Duration = Duration::from_hours(24);

/// The settings of one table `[brake]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeSettings {
    profile: Profile,
    mode: BrakeMode,
    limits: BrakeLimits,
}

/// The value of `brake.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrakeMode {
    /// On with the profile `production`, and off with the profile `local`.
    Profile,
    On,
    Off,
}

impl BrakeSettings {
    #[cfg(test)]
    pub(in crate::config) const OFF: Self = Self {
        profile: Profile::Local,
        mode: BrakeMode::Off,
        limits: BrakeLimits {
            window: WINDOW_MIN,
            customers_max: 0,
            share_percent_max: 0,
            same_value_max: 0,
            cleared_max: 0,
        },
    };

    /// Reads the default brake of a source.
    pub(super) fn take(reader: &mut Reader, profile: Option<Profile>) -> Option<Self> {
        let place = |key| ["brake", key];
        let mode = reader.take(&place("mode"), mode);
        let window = reader.take(&place("window"), window);
        let customers_max = reader.take(&place("customers_max"), customers);
        let share_percent_max = reader.take(&place("share_percent_max"), percent);
        let same_value_max = reader.take(&place("same_value_max"), customers);
        let cleared_max = reader.take(&place("cleared_max"), customers);
        Some(Self {
            profile: profile?,
            mode: mode?,
            limits: BrakeLimits {
                window: window?,
                customers_max: customers_max?,
                share_percent_max: share_percent_max?,
                same_value_max: same_value_max?,
                cleared_max: cleared_max?,
            },
        })
    }

    /// Reads the brake of a source file. A key that the file does not contain has the default of `self`.
    pub(super) fn take_source(self, reader: &mut Reader) -> BrakePolicy {
        let place = |key| ["brake", key];
        let mode = reader.take_optional(&place("mode"), mode);
        let window = reader.take_optional(&place("window"), window);
        let customers_max = reader.take_optional(&place("customers_max"), customers);
        let share_percent_max = reader.take_optional(&place("share_percent_max"), percent);
        let same_value_max = reader.take_optional(&place("same_value_max"), customers);
        let cleared_max = reader.take_optional(&place("cleared_max"), customers);
        let default = self.limits;
        match is_on(mode.unwrap_or(self.mode), self.profile) {
            false => BrakePolicy::Off,
            true => BrakePolicy::On(BrakeLimits {
                window: window.unwrap_or(default.window),
                customers_max: customers_max.unwrap_or(default.customers_max),
                share_percent_max: share_percent_max.unwrap_or(default.share_percent_max),
                same_value_max: same_value_max.unwrap_or(default.same_value_max),
                cleared_max: cleared_max.unwrap_or(default.cleared_max),
            }),
        }
    }
}

fn is_on(mode: BrakeMode, profile: Profile) -> bool {
    match mode {
        BrakeMode::Profile => profile == Profile::Production,
        BrakeMode::On => true,
        BrakeMode::Off => false,
    }
}

fn mode(raw: Raw) -> Result<BrakeMode, String> {
    raw.word(&[
        ("profile", BrakeMode::Profile),
        ("on", BrakeMode::On),
        ("off", BrakeMode::Off),
    ])
}

fn window(raw: Raw) -> Result<Duration, String> {
    raw.duration(WINDOW_MIN, WINDOW_MAX)
}

fn customers(raw: Raw) -> Result<usize, String> {
    raw.count(0, u64::try_from(BRAKE_CUSTOMERS_MAX).unwrap_or(u64::MAX))
}

fn percent(raw: Raw) -> Result<usize, String> {
    raw.count(0, 100)
}

#[cfg(test)]
mod tests {
    use super::super::environment::Variables;
    use super::super::merged;
    use super::*;

    /// Returns the brake of a source with this source file, and the errors of the file.
    fn policy(profile: Profile, file: &str) -> (BrakePolicy, Vec<String>) {
        let settings = merged(&[], &Variables::default()).unwrap();
        let mut reader = Reader::new("", settings);
        let default = BrakeSettings::take(&mut reader, Some(profile)).unwrap();
        let file = config::File::from_str(file, config::FileFormat::Toml);
        let table = config::Source::collect(&file).unwrap();
        let table = config::Value::new(None, config::ValueKind::Table(table));
        let mut reader = Reader::new("crm.toml", table);
        let policy = default.take_source(&mut reader);
        let errors = reader.finish();
        (policy, errors.iter().map(ToString::to_string).collect())
    }

    /// FAULTS N887
    #[test]
    fn the_brake_is_on_in_production_and_off_on_a_developers_machine() {
        let (production, errors) = policy(Profile::Production, "");
        assert_eq!(errors, [""; 0]);
        let limits = BrakeLimits {
            window: Duration::from_mins(15),
            customers_max: 900,
            share_percent_max: 0,
            same_value_max: 25,
            cleared_max: 50,
        };
        assert_eq!(production, BrakePolicy::On(limits));
        assert_eq!(policy(Profile::Local, "").0, BrakePolicy::Off);
        for (mode, profile, is_on) in [
            ("on", Profile::Local, true),
            ("off", Profile::Production, false),
            ("profile", Profile::Production, true),
            ("profile", Profile::Local, false),
        ] {
            let file = format!("[brake]\nmode = \"{mode}\"");
            let (policy, _) = policy(profile, &file);
            assert_eq!(policy != BrakePolicy::Off, is_on, "{mode} {profile:?}");
        }
    }

    #[test]
    fn a_source_file_overrides_single_limits() {
        let (crm, errors) = policy(
            Profile::Production,
            "[brake]\nwindow = \"1h\"\nsame_value_max = 0\n",
        );
        assert_eq!(errors, [""; 0]);
        let BrakePolicy::On(limits) = crm else {
            panic!("{crm:?}")
        };
        let expected = (Duration::from_hours(1), 0, 900);
        let found = (limits.window, limits.same_value_max, limits.customers_max);
        assert_eq!(found, expected);
        let wrong = "[brake]\nwindow = \"1s\"\ncustomers_max = 10001\nshare_percent_max = 101\nmode = \"yes\"\n";
        let (_, errors) = policy(Profile::Production, wrong);
        assert_eq!(errors.len(), 4, "{errors:?}");
    }
}
