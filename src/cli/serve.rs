//! `serve`: runs the bridge until SIGTERM or SIGINT.

use std::process::ExitCode;

use super::{Layers, read, start_log};
use crate::app::{App, block_on};
use crate::config::Purpose;
use crate::shutdown::Signals;
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
        let mut signals = Signals::listen()?;
        let app = App::start(config, sources, Clock::machine()).await?;
        app.run(async move { signals.next().await }).await
    });
    Ok(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log's thread prints the error, because standard error may be blocked and the process must end.
            log.print(&printable(&chain(error.as_ref())));
            ExitCode::FAILURE
        }
    })
}
