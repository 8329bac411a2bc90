//! `serve`: runs the bridge until SIGTERM or SIGINT. At SIGHUP, the bridge reads its secret files again.

use std::process::ExitCode;

use super::{Layers, read, start_log};
use crate::app::{App, block_on};
use crate::config::Purpose;
use crate::shutdown::{Hangups, Signals};
use crate::telemetry::chain;
use crate::terminal::printable;
use crate::time::Clock;

pub(super) fn run(layers: &Layers) -> anyhow::Result<ExitCode> {
    let (config, sources) = match read(layers, Purpose::Serve) {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let log = start_log(&config)?;
    let served: anyhow::Result<()> = block_on(async {
        let (mut signals, mut hangups) = (Signals::listen()?, Hangups::listen()?);
        let app = App::start(config, sources, Clock::machine()).await?;
        let rereads = app.rereads();
        let stop = async move {
            loop {
                tokio::select! {
                    reason = signals.next() => return reason,
                    () = hangups.next() => {
                        tracing::info!("SIGHUP: the bridge reads its secret files again");
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
