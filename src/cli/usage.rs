//! The tips about an option that a command does not have.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options that people try, each with the command, or `None` for every command, and the tip.
const TIPS: [(Option<&str>, &[&str], &str); 6] = [
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
    (
        Some("new-source"),
        &["--name", "--source", "-n"],
        "the name stands without an option: new-source NAME --sample FILE",
    ),
    (
        Some("serve"),
        &["--port", "-p", "--listen", "--host", "--bind", "--address"],
        "the setting ingress.listen has the address and the port, such as IMPRINT_BRIDGE__INGRESS__LISTEN=127.0.0.1:8080",
    ),
    (
        Some("serve"),
        &["--dry-run", "--check", "--validate", "--test"],
        "the command check reports all errors and starts nothing",
    ),
];

/// Commands that people try, each with the option that has this meaning.
const OPTIONS: [(&str, &str); 1] = [("version", "the option --version prints the version")];

/// Commands to which people pass a file or a name without its option, each with the tip.
const ARGUMENTS: [(&str, &str); 2] = [
    (
        "explain",
        "the name of the source stands after --source: explain --source NAME FILE",
    ),
    (
        "serve",
        "serve takes no file: it uses all sources in sources_dir. For the settings of the bridge, use --config FILE",
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
/// similar name and another meaning. `arguments` are the arguments of the process: the command and the others.
pub(super) fn explained(mut error: clap::Error, arguments: &[String]) -> clap::Error {
    let command = arguments.first().map_or("", String::as_str);
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some((_, meant)) = COMMANDS.iter().find(|(word, _)| *word == command)
    {
        let meant = ContextValue::Strings(vec![(*meant).to_owned()]);
        drop(error.insert(ContextKind::SuggestedSubcommand, meant));
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some((_, tip)) = OPTIONS.iter().find(|(word, _)| *word == command)
    {
        drop(error.remove(ContextKind::SuggestedSubcommand));
        return with_tip(error, tip);
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
    let of_option = TIPS.iter().find(is_meant).map(|(_, _, tip)| *tip);
    let of_argument = || {
        let is_source = |argument: &String| argument.split('=').next() == Some("--source");
        let is_name = !option.starts_with('-') && !arguments.iter().any(is_source);
        let mut commands = ARGUMENTS.iter().filter(|_| is_name);
        commands.find(|(of, _)| *of == command).map(|(_, tip)| *tip)
    };
    if let Some(tip) = of_option.or_else(of_argument) {
        drop(error.remove(ContextKind::SuggestedArg));
        return with_tip(error, tip);
    }
    error
}

/// Adds a tip to an error.
fn with_tip(mut error: clap::Error, tip: &str) -> clap::Error {
    let tip = ContextValue::StyledStrs(vec![tip.to_owned().into()]);
    drop(error.insert(ContextKind::Suggested, tip));
    error
}
