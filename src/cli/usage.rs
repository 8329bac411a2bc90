//! The tips about an option that a command does not have.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options that people try, each with the command, or `None` for every command, and the tip.
const TIPS: [(Option<&str>, &[&str], &str); 3] = [
    (
        Some("check"),
        &["--source", "--sources", "--name"],
        "check has no such option: it checks all sources",
    ),
    (
        None,
        &["-c", "-f"],
        "the option --config FILE names the file with the settings",
    ),
    (
        Some("explain"),
        &["--event", "--file", "--body", "--sample"],
        "the file with the request body stands without an option: explain --source NAME FILE",
    ),
];

/// The commands of other systems, each with the command that has this meaning.
const COMMANDS: [(&str, &str); 7] = [
    ("init", "new-source"),
    ("lint", "check"),
    ("run", "serve"),
    ("server", "serve"),
    ("start", "serve"),
    ("test", "check"),
    ("validate", "check"),
];

/// Replaces the tips of clap about an unknown option. Clap proposes to pass the option as a file after `--`, or an option with a
/// similar name and another meaning. `command` is the first argument.
pub(super) fn explained(mut error: clap::Error, command: &str) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some((_, meant)) = COMMANDS.iter().find(|(word, _)| *word == command)
    {
        let meant = ContextValue::Strings(vec![(*meant).to_owned()]);
        drop(error.insert(ContextKind::SuggestedSubcommand, meant));
    }
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    drop(error.remove(ContextKind::Suggested));
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let option = option.split('=').next().unwrap_or_default();
    let is_meant = |(of, options, _): &&(Option<&str>, &[&str], &str)| {
        of.is_none_or(|of| of == command) && options.contains(&option)
    };
    if let Some((_, _, tip)) = TIPS.iter().find(is_meant) {
        drop(error.remove(ContextKind::SuggestedArg));
        let tip = ContextValue::StyledStrs(vec![(*tip).into()]);
        drop(error.insert(ContextKind::Suggested, tip));
    }
    error
}
