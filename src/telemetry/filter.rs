//! Checks the log filter. The log itself accepts a filter whose words match no module, and then logs nothing or too much.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::spelling;

/// The levels of the log.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// The crates that write to the log.
const CRATES: [&str; 9] = [
    "imprint_bridge",
    "actix_http",
    "actix_rt",
    "actix_server",
    "actix_web",
    "awc",
    "h2",
    "mio",
    "rustls",
];

/// Checks that each part of a log filter is a level, or a module with a level.
///
/// # Errors
/// Returns the reason why the log filter is not valid.
pub fn check_filter(filter: &str) -> Result<(), String> {
    filter.split(',').map(str::trim).try_for_each(check_part)?;
    match EnvFilter::try_new(filter) {
        Ok(_valid) => Ok(()),
        Err(_invalid) => Err(USAGE.to_owned()),
    }
}

const USAGE: &str = "must be a level (error, warn, info, debug, trace or off), or levels of modules, such as \"info,imprint_bridge::dispatch=debug\", without spaces";

fn check_part(part: &str) -> Result<(), String> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let Some((module, level)) = part.split_once('=') else {
        if is_level(part) {
            return Ok(());
        }
        return Err(format!("{USAGE}{}", spelling::suggestion(part, LEVELS)));
    };
    if !is_level(level) {
        return Err(format!("{USAGE}{}", spelling::suggestion(level, LEVELS)));
    }
    let mut path = module.split("::");
    let first = path.next().unwrap_or_default();
    if !CRATES.contains(&first) {
        let suggestion = if is_room(first) {
            format!("; did you mean imprint_bridge::{module}?")
        } else {
            spelling::suggestion(first, CRATES)
        };
        return Err(format!("names a module that never logs{suggestion}"));
    }
    match path.next() {
        Some(room) if first == "imprint_bridge" && !is_room(room) => Err(format!(
            "names a module that never logs{}",
            spelling::suggestion(room, rooms())
        )),
        Some(_) | None => Ok(()),
    }
}

/// Lists the rooms of the bridge: the modules that `lib.rs` declares.
fn rooms() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("../lib.rs").lines();
    lines.filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

fn is_room(name: &str) -> bool {
    rooms().any(|room| room == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N421: a word in the log filter that is no level and matches nothing is an error.
    #[test]
    fn a_log_filter_has_only_levels_and_modules_that_log() {
        for filter in [
            "info",
            "WARN",
            "off",
            "info,actix_server=warn,actix_http=off",
            "imprint_bridge::dispatch::core=trace",
            "imprint_bridge=debug",
        ] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
        for (filter, cause) in [
            ("verbose", "must be a level"),
            ("warning", "did you mean warn?"),
            ("", "must be a level"),
            ("info,", "must be a level"),
            ("info, imprint_bridge=debug", "without spaces"),
            (
                "info,dispatch=debug",
                "did you mean imprint_bridge::dispatch?",
            ),
            (
                "info,imprint_bridge::dispach=debug",
                "did you mean dispatch?",
            ),
            ("info,imprintbridge=debug", "did you mean imprint_bridge?"),
            ("info,actix_htp=off", "did you mean actix_http?"),
            ("info,imprint_bridge=loud", "must be a level"),
            ("info,imprint_bridge", "must be a level"),
            ("info,imprint_bridge[span]=debug", "never logs"),
        ] {
            let reason = check_filter(filter).unwrap_err();
            assert!(reason.contains(cause), "{filter}: {reason}");
        }
    }

    #[test]
    fn every_crate_of_the_list_is_a_dependency() {
        let lock = include_str!("../../Cargo.lock");
        for name in CRATES {
            let named = |name: &str| lock.contains(&format!("\nname = \"{name}\"\n"));
            assert!(named(name) || named(&name.replace('_', "-")), "{name}");
        }
    }
}
