//! The environment of the demo: a temporary folder, a sandbox on its own thread, and a configuration with which the
//! bridge uses only this folder and this sandbox.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::config::source_set::SourceSet;
use crate::config::{Config, Purpose, SettingError};
use crate::random::fill_random;
use crate::sandbox::{BackgroundSandbox, Sandbox, SandboxSettings};
use crate::time::Clock;

/// The example source `crm`. The binary contains this source, so that the demo runs from any folder.
const SOURCE: &str = include_str!("../../config/sources/crm.toml");
/// The JSON Schema of the example source `crm`.
const SCHEMA: &str = include_str!("../../schemas/crm/customer-changed.v1.json");
/// The path of the schema in the example source `crm`.
const SCHEMA_NAME: &str = "crm/customer-changed.v1.json";
/// The listen address of the demo's listeners: any free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The sandbox's latency. Without latency, entries would not wait in lanes, and the bridge would have nothing to fold.
const LATENCY: Duration = Duration::from_millis(5);
/// The number of random bytes in the API key and in the operator's token of the demo.
const KEY_BYTES: usize = 24;
/// The number of bytes in a sealing key.
const SEALING_KEY_BYTES: usize = 32;
/// The folder of the demo's sealing key.
const SEALING_FOLDER: &str = "sealing-keys";
/// The token file of the demo's operator. Its name has the operator's name and roles.
const OPERATOR_FILE: &str = "demo.operator.revealer";

/// The sandbox and the temporary files of one demo.
pub(super) struct DemoEnvironment {
    sandbox: BackgroundSandbox,
    folder: TempDir,
    /// The token with which a person logs in to the console of the demo.
    operator_token: String,
}

/// Creates the temporary folder of a demo.
pub(super) fn folder() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("imprint-bridge-demo-").tempdir()?)
}

impl DemoEnvironment {
    /// Writes the secrets into the temporary folder, and starts the sandbox. The seed decides which calls get the sandbox's faults.
    pub(super) fn start(folder: TempDir, seed: u64) -> anyhow::Result<Self> {
        let key = format!("demo_{}", random_hex::<KEY_BYTES>()?);
        write_secret(&folder.path().join("key"), &key)?;
        let operator_token = random_hex::<KEY_BYTES>()?;
        write_secret(&folder.path().join(OPERATOR_FILE), &operator_token)?;
        // The store is sealed, as in production. The key ends with the demo.
        let sealing = folder.path().join(SEALING_FOLDER);
        fs::create_dir(&sealing)?;
        write_secret(
            &sealing.join("demo.key"),
            &random_hex::<SEALING_KEY_BYTES>()?,
        )?;
        let mut settings = SandboxSettings::new(ANY_PORT, SecretString::from(key));
        settings.latency = LATENCY;
        settings.random_seed = seed;
        Ok(Self {
            sandbox: BackgroundSandbox::start(settings, Clock::machine())?,
            folder,
            operator_token,
        })
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.sandbox.sandbox
    }

    pub(super) fn operator_token(&self) -> &str {
        &self.operator_token
    }

    pub(super) fn sandbox_address(&self) -> SocketAddr {
        self.sandbox.address
    }

    /// Returns the bridge's configuration and the bridge's only source.
    pub(super) fn bridge(&self) -> anyhow::Result<(Config, SourceSet)> {
        configure(self.folder.path(), self.sandbox.address)
    }

    /// Stops the sandbox and removes the temporary folder.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        drop(self.sandbox);
        Ok(self.folder.close()?)
    }
}

fn configure(folder: &Path, imprint: SocketAddr) -> anyhow::Result<(Config, SourceSet)> {
    let quoted = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        let path = path
            .to_str()
            .context("the path of the temporary folder is not UTF-8")?;
        // `serde_json` escapes a string only with escapes that TOML also has, so the JSON string is a valid TOML
        // string.
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
listen = "{ANY_PORT}"
[ops]
listen = "{ANY_PORT}"
token_files = [{operator}]
[outbox]
url = {store}
keys_dir = {keys}
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
        operator = quoted(OPERATOR_FILE)?,
        keys = quoted(SEALING_FOLDER)?,
        store = serde_json::to_string(&store)?,
    );
    let schema = folder.join("schemas").join(SCHEMA_NAME);
    fs::create_dir_all(folder.join("sources"))?;
    fs::create_dir_all(schema.parent().unwrap_or(folder))?;
    fs::write(schema, SCHEMA)?;
    fs::write(folder.join("sources").join("crm.toml"), SOURCE)?;
    let file = folder.join("bridge.toml");
    fs::write(&file, settings)?;
    let config = Config::read_apart(&[file], Purpose::Serve).map_err(|errors| joined(&errors))?;
    match SourceSet::read(&config) {
        Ok(set) => Ok((config, set)),
        Err(unusable) => Err(joined(&unusable.into_errors(&config))),
    }
}

fn joined(errors: &[SettingError]) -> anyhow::Error {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow!("{}", errors.join("; "))
}

/// Creates a file that only this user can read.
fn write_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

fn random_hex<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    fill_random(&mut bytes).map_err(|error| anyhow!("reading the random source: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the example source `crm` in the same way as the demo.
#[cfg(test)]
pub(super) fn shipped() -> std::sync::Arc<crate::intake::Source> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "key").unwrap();
    fs::write(folder.path().join(OPERATOR_FILE), "0123456789abcdef").unwrap();
    fs::create_dir(folder.path().join(SEALING_FOLDER)).unwrap();
    let (_, mut set) = configure(folder.path(), ([127, 0, 0, 1], 1).into()).unwrap();
    set.sources.pop().unwrap().source
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sealing_keys;

    /// FAULTS X32: the first thing that a person tries does what production does.
    #[test]
    fn the_store_of_a_demo_is_sealed_with_a_new_key() {
        let key = || {
            let environment = DemoEnvironment::start(folder().unwrap(), 1).unwrap();
            let (config, _) = environment.bridge().unwrap();
            let keys = sealing_keys::read(config.outbox.keys_dir.as_deref()).unwrap();
            environment.stop().unwrap();
            keys.ring.newest().unwrap()
        };
        assert_ne!(key(), key());
    }
}
