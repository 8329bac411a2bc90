//! `check`: everything that is wrong, before anything runs.

use std::process::ExitCode;

use super::{Layers, read, say};
use crate::config::{Purpose, sources};

pub(super) fn run(layers: &Layers) -> ExitCode {
    let (config, sources) = match read(layers, Purpose::Check) {
        Ok(read) => read,
        Err(code) => return code,
    };
    say(format_args!(
        "configuration: {:?} profile, to {}",
        config.profile,
        config.imprint.base_url.as_str()
    ));
    if config.imprint.key_file.is_none() {
        say("  imprint.key_file is not set; serve needs it");
    }
    for source in &sources {
        say(format_args!(
            "source {}: {}",
            source.name,
            source.auth.as_str()
        ));
        if source.auth == sources::Auth::None {
            say("  anybody may send as this source");
        }
        for (event_type, kind) in &source.kinds {
            let order = kind
                .mapping
                .version_domain()
                .map_or("arrival", |_| "version");
            let fields = kind.mapping.targets().count();
            say(format_args!(
                "  {event_type}: {} maps {fields} fields, ordered by {order}",
                kind.schema.name()
            ));
        }
        for event_type in &source.ignored {
            say(format_args!("  {event_type}: ignored"));
        }
    }
    say("no faults");
    ExitCode::SUCCESS
}
