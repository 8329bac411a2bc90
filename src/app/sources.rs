//! Creates the sources of the running bridge: an endpoint with secrets for the event listener, and a mapping for
//! intake.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;

use super::reread::Rereads;
use super::secrets::{LoadedAuth, SecretsWatch};
use crate::config::sources::SourceSettings;
use crate::ingress::auth::RotatingVerifier;
use crate::ingress::{Endpoint, Endpoints, SourceQuota, StorageLimit};
use crate::intake::{IntakeSettings, Sources};
use crate::metrics::IngressMetrics;
use crate::time::Clock;

/// Reads the secrets of all sources, and builds an endpoint and a mapping for each source.
pub(super) fn open(
    settings: Vec<SourceSettings>,
    intake: IntakeSettings,
    counts: &IngressMetrics,
    clock: Clock,
) -> anyhow::Result<(Endpoints, Arc<Sources>, SecretsWatch)> {
    let mut endpoints = BTreeMap::new();
    let mut secrets = Vec::new();
    let mut sources = Vec::new();
    for settings in settings {
        let warnings = settings.warnings();
        let SourceSettings {
            source,
            auth,
            allowed_origins,
            unsigned_headers,
            quota,
        } = settings;
        let name = source.name.clone();
        for warning in warnings {
            tracing::warn!(source = name.as_str(), "{warning}");
        }
        counts.unsigned_headers(name.as_str(), unsigned_headers.len());
        let storage_quota = match quota.stored_bytes {
            StorageLimit::Unlimited => None,
            StorageLimit::Bytes(bytes) => Some(bytes),
        };
        counts.source(name.as_str(), storage_quota);
        let loaded = LoadedAuth::of(&auth);
        let loaded = loaded.with_context(|| format!("the secrets of source {name}"))?;
        secrets.push((name.clone(), auth, loaded.secrets));
        sources.push(Arc::clone(&source));
        let endpoint = Endpoint {
            read_headers: source.read_headers(),
            source,
            verifier: RotatingVerifier::new(loaded.verifier),
            allowed_origins,
            unsigned_headers,
            quota: SourceQuota::new(quota, clock.now()),
        };
        endpoints.insert(name, endpoint);
    }
    let endpoints = Arc::new(endpoints);
    let secrets = SecretsWatch::new(Arc::clone(&endpoints), secrets, Rereads::new(clock));
    Ok((endpoints, Arc::new(Sources::new(sources, intake)), secrets))
}
