//! What the demo plays on: a folder that goes when it ends, the sandbox on a thread of its own, and a configuration of
//! the bridge that names these two and nothing of this machine.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use anyhow::{Context as _, anyhow};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::config::sources::{self, SourceSettings};
use crate::config::{Config, Purpose, SettingError};
use crate::random::fill_random;
use crate::sandbox::{RunningSandbox, Sandbox, SandboxSettings};
use crate::time::Clock;

/// The source that is shipped, built in: the demo runs from any folder.
const SOURCE: &str = include_str!("../../config/sources/crm.toml");
/// Its schema.
const SCHEMA: &str = include_str!("../../schemas/crm/customer-changed.v1.json");
/// Where the source looks for its schema.
const SCHEMA_NAME: &str = "crm/customer-changed.v1.json";
/// Any free port of this machine.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long Imprint takes to answer: an API that answers at once would leave nothing to fold.
const LATENCY: Duration = Duration::from_millis(5);
const KEY_BYTES: usize = 24;

/// Where the demo plays.
pub(super) struct DemoEnvironment {
    /// The sandbox: what it was sent, what it holds, what goes wrong with it.
    pub(super) sandbox: Sandbox,
    /// Where it listens.
    pub(super) address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<()>,
    folder: TempDir,
}

impl DemoEnvironment {
    /// Makes the folder and starts the sandbox; `seed` decides whom its faults meet.
    pub(super) fn start(seed: u64) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("imprint-bridge-demo-")
            .tempdir()?;
        let key = random_key()?;
        let path = folder.path().join("key");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(key.as_bytes())?;
        let mut settings = SandboxSettings::new(ANYWHERE, SecretString::from(key));
        settings.latency = LATENCY;
        settings.random_seed = seed;
        let (tell, generated) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || play_imprint(settings, &tell))?;
        let (address, sandbox, handle) =
            generated.recv().context("the sandbox did not start")??;
        Ok(Self {
            sandbox,
            address,
            handle,
            thread,
            folder,
        })
    }

    /// The bridge's configuration and its one source.
    pub(super) fn bridge(&self) -> anyhow::Result<(Config, Vec<SourceSettings>)> {
        configure(self.folder.path(), self.address)
    }

    /// Ends the sandbox and removes the folder.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        // It acts when it is called; the thread is what is waited for.
        drop(self.handle.stop(false));
        self.thread
            .join()
            .map_err(|_panic| anyhow!("the sandbox panicked"))?;
        Ok(self.folder.close()?)
    }
}

type Started = anyhow::Result<(SocketAddr, Sandbox, ServerHandle)>;

fn play_imprint(settings: SandboxSettings, tell: &mpsc::SyncSender<Started>) {
    System::new().block_on(async {
        let RunningSandbox {
            address,
            sandbox,
            handle,
            server,
        } = match Sandbox::start(settings, Clock::machine()) {
            Ok(running) => running,
            Err(error) => {
                let _nobody: Result<_, _> = tell.send(Err(error.into()));
                return;
            }
        };
        let _nobody: Result<_, _> = tell.send(Ok((address, sandbox, handle)));
        if let Err(error) = server.await {
            tracing::error!(%error, "the sandbox failed");
        }
    });
}

fn configure(folder: &Path, imprint: SocketAddr) -> anyhow::Result<(Config, Vec<SourceSettings>)> {
    let quoted = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        let path = path
            .to_str()
            .context("the temporary folder has no plain name")?;
        // What JSON escapes, TOML reads the same way.
        Ok(serde_json::to_string(path)?)
    };
    let store = format!(
        "sqlite:{}",
        folder.join("outbox.db").to_str().unwrap_or_default()
    );
    let settings = format!(
        r#"profile = "local"
sources_dir = {sources}
schemas_dir = {schemas}
[ingress]
listen = "{ANYWHERE}"
[ops]
listen = "{ANYWHERE}"
[outbox]
url = {store}
[imprint]
base_url = "http://{imprint}"
environment = "local"
key_file = {key}
rate_per_second = 0
concurrency = 64
[shutdown]
lag = "0s"
drain = "5s"
"#,
        sources = quoted("sources")?,
        schemas = quoted("schemas")?,
        key = quoted("key")?,
        store = serde_json::to_string(&store)?,
    );
    let schema = folder.join("schemas").join(SCHEMA_NAME);
    fs::create_dir_all(folder.join("sources"))?;
    fs::create_dir_all(schema.parent().unwrap_or(folder))?;
    fs::write(schema, SCHEMA)?;
    fs::write(folder.join("sources").join("crm.toml"), SOURCE)?;
    let file = folder.join("bridge.toml");
    fs::write(&file, settings)?;
    let config =
        Config::read_apart(&[file], Purpose::Serve).map_err(|faults| generated(&faults))?;
    let sources = sources::read(&config).map_err(|faults| generated(&faults))?;
    Ok((config, sources))
}

fn generated(faults: &[SettingError]) -> anyhow::Error {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow!("{}", faults.join("; "))
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    fill_random(&mut bytes)
        .map_err(|error| anyhow!("the system has no chance to give: {error}"))?;
    Ok(bytes
        .iter()
        .fold("demo_".to_owned(), |key, byte| format!("{key}{byte:02x}")))
}

/// The shipped source, read as the demo reads it.
#[cfg(test)]
pub(super) fn shipped() -> std::sync::Arc<crate::intake::Source> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "key").unwrap();
    let (_, mut sources) = configure(folder.path(), ([127, 0, 0, 1], 1).into()).unwrap();
    sources.pop().unwrap().source
}
