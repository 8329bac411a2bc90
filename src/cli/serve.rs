//! `serve`: runs the bridge until SIGTERM or SIGINT. At SIGHUP, the bridge reads its secret files and the files of
//! its sources again.

use std::process::ExitCode;

use super::{Layers, all_read, print_errors, start_log};
use crate::app::{App, block_on, confine};
use crate::config::source_set::SourceSet;
use crate::config::{Config, Purpose, SettingError, unread_variables};
use crate::shutdown::{Hangups, Signals};
use crate::telemetry::chain;
use crate::terminal::printable;
use crate::time::Clock;

pub(super) fn run(layers: &Layers) -> anyhow::Result<ExitCode> {
    // From here on, SIGHUP does not end the process. The handler stays in place without a listener.
    block_on(async { Hangups::listen().map(drop) })?;
    let (config, set) = match read_set(layers) {
        Ok(read) => read,
        Err(errors) => return Ok(print_errors(&errors)),
    };
    // Only the threads that the process starts later are confined, and the log has a thread.
    confine(&config, &set.sources);
    let log = start_log(&config)?;
    for note in unread_variables(&config) {
        tracing::warn!("{note}");
    }
    let served: anyhow::Result<()> = block_on(async {
        let (mut signals, mut hangups) = (Signals::listen()?, Hangups::listen()?);
        let app = App::start(config, set, Clock::machine()).await?;
        let rereads = app.rereads();
        let stop = async move {
            loop {
                tokio::select! {
                    reason = signals.next() => return reason,
                    () = hangups.next() => {
                        tracing::info!("SIGHUP: the bridge reads its secret files and the files of its sources again");
                        rereads.read_now();
                    }
                }
            }
        };
        app.run(stop).await
    });
    Ok(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log's thread prints the error. If standard error is blocked, the process still ends.
            log.print(&printable(&chain(error.as_ref())));
            ExitCode::FAILURE
        }
    })
}

fn read_set(layers: &Layers) -> Result<(Config, SourceSet), Vec<SettingError>> {
    let read = Config::read_all(&layers.config, None, Purpose::Serve);
    let read_set = |config: &Config| {
        let set = SourceSet::read(config);
        set.map_err(|unusable| unusable.into_errors(config))
    };
    all_read(read, read_set)
}
