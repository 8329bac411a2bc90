//! Opens the store in the file or in the database of the settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::setting_files;
use crate::config::sealing_keys::SealingKeys;
use crate::config::{self, Config, StorePlace};
use crate::http::egress;
use crate::outbox::{self, DatabaseAddress, Outbox, ReadPassword, Setting};
use crate::sealing::KeyRing;
use crate::time::Timestamp;

/// Reads the sealing keys.
fn sealing_keys(config: &Config) -> anyhow::Result<SealingKeys> {
    let keys = config::sealing_keys::read(config.outbox.keys_dir.as_deref());
    keys.map_err(|errors| anyhow!("outbox.keys_dir: {}", errors.join("; ")))
}

/// Reads the sealing keys, and opens the store. A new store gets the configured environment and host of Imprint. Returns an error if an existing
/// store has another environment or host.
pub(super) async fn open(
    config: &Config,
    now: Timestamp,
) -> anyhow::Result<(Arc<dyn Outbox>, SealingKeys)> {
    let keys = sealing_keys(config)?;
    let outbox = open_store(config, now, Arc::clone(&keys.ring))?;
    let configured = config.imprint.destination();
    match outbox.setting(Setting::Destination).await? {
        None => {
            let stored = outbox.store_setting(Setting::Destination, configured);
            stored.await?;
        }
        Some(stored) if stored == configured => {}
        Some(stored) => bail!(
            "the store {} belongs to Imprint's environment and host \"{stored}\", but imprint.environment and imprint.base_url are \"{configured}\": set them back, set outbox.url to another store, or move the store with `imprint-bridge store rebind`, which lists the waiting entries first",
            config.outbox.place
        ),
    }
    Ok((outbox, keys))
}

fn open_store(
    config: &Config,
    now: Timestamp,
    keys: Arc<KeyRing>,
) -> anyhow::Result<Arc<dyn Outbox>> {
    let settings = &config.outbox;
    let url = || format!("outbox.url {}", settings.place);
    match &settings.place {
        StorePlace::File(path) => {
            let opened = outbox::open(path, settings.intake_max, now, keys);
            opened.with_context(url)
        }
        StorePlace::Database(address) => {
            let roots = setting_files::roots(("outbox.ca_file", settings.ca_file.as_deref()))?;
            let address = DatabaseAddress {
                url: address.clone(),
                password: settings.password_file.clone().map(database_password),
                tls: Some(egress::tls(roots.map(Arc::new), None)?),
            };
            let opened = outbox::open_database(address, settings.intake_max, keys);
            opened.with_context(url)
        }
    }
}

/// Returns a function that reads the password of the database again for each new connection, because operators rotate the
/// password while the process runs.
fn database_password(file: PathBuf) -> ReadPassword {
    Arc::new(move || match config::secret::read(&file) {
        Ok(password) => Some(password),
        Err(reason) => {
            tracing::error!(reason, "the password of the database cannot be read");
            None
        }
    })
}
