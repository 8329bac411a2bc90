//! `serve`: runs the bridge until SIGTERM or SIGINT.

use std::process::ExitCode;

use super::{Layers, read, start_log};
use crate::app::{App, block_on};
use crate::config::Purpose;
use crate::shutdown::Signals;
use crate::time::Clock;

pub(super) fn run(layers: &Layers) -> anyhow::Result<ExitCode> {
    let (config, sources) = match read(layers, Purpose::Serve) {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    start_log(&config)?;
    block_on(async {
        let mut signals = Signals::listen()?;
        let app = App::start(config, sources, Clock::machine()).await?;
        app.run(async move { signals.next().await }).await?;
        Ok(ExitCode::SUCCESS)
    })
}
