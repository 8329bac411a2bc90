//! Opens the store in the file or in the database of the settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::{setting_files, shared_clock, stored_settings};
use crate::config::sealing_keys::SealingKeys;
use crate::config::{self, Config, Profile, StorePlace};
use crate::http::egress;
use crate::outbox::{self, DatabaseAddress, Durability, Outbox, ReadPassword, Setting};
use crate::sealing::KeyRing;
use crate::time::{Clock, Timestamp};

/// Reads the sealing keys.
fn sealing_keys(config: &Config) -> anyhow::Result<SealingKeys> {
    let keys = config::sealing_keys::read(config.outbox.keys_dir.as_deref());
    keys.map_err(|errors| anyhow!("outbox.keys_dir: {}", errors.join("; ")))
}

/// Reads the sealing keys, and opens the store. A new store gets the configured environment and host of Imprint. Returns an error if an existing
/// store has another environment or host.
///
/// Also returns the clock of the bridge: the clock of the store, if several bridges share the store.
pub(super) async fn open(
    config: &Config,
    clock: Clock,
) -> anyhow::Result<(Arc<dyn Outbox>, SealingKeys, Clock)> {
    let keys = sealing_keys(config)?;
    let outbox = open_store(config, clock.now(), Arc::clone(&keys.ring))?;
    let clock = match outbox.shared_time().await? {
        Some(shared) => shared_clock::set(&clock, shared),
        None => clock,
    };
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
    stored_settings::log_damaged(&*outbox).await?;
    Ok((outbox, keys, clock))
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
            let address = database_address(config, address.clone())?;
            let opened = outbox::open_database(address, settings.intake_max, keys);
            opened.with_context(url)
        }
    }
}

/// Returns the address of a database with the password, the root certificates and the profile of the settings.
pub(crate) fn database_address(config: &Config, url: String) -> anyhow::Result<DatabaseAddress> {
    let settings = &config.outbox;
    let roots = setting_files::roots(("outbox.ca_file", settings.ca_file.as_deref()))?;
    Ok(DatabaseAddress {
        url,
        password: settings.password_file.clone().map(database_password),
        tls: Some(egress::tls(roots.map(Arc::new), None)?),
        durability: match config.profile {
            Profile::Production => Durability::Required,
            Profile::Local => Durability::Any,
        },
    })
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
