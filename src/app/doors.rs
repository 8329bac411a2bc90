//! The doors that sources come in by, and what can be asked of them without going in.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;

use super::secrets::{LoadedAuth, SecretsWatch};
use crate::config::{Config, sources};
use crate::event::{SourceName, Visibility};
use crate::ingress::auth::{RotatingVerifier, Verifier};
use crate::ingress::{self, EventType, Source, Terms};
use crate::ops::api::{Explain, MapAgain};
use crate::time::Clock;

/// The doors by the names of their sources.
pub(super) type Sources = Arc<BTreeMap<SourceName, Source>>;

/// The sources by name, each with its secrets read; and what reads them again.
pub(super) fn open(sources: Vec<sources::Source>) -> anyhow::Result<(Sources, SecretsWatch)> {
    let mut doors = BTreeMap::new();
    let mut kept = Vec::new();
    for source in sources {
        if let Some(warning) = source.auth.warning() {
            tracing::warn!(source = source.name.as_str(), "{warning}");
        }
        let read = LoadedAuth::of(&source.auth);
        let read = read.with_context(|| format!("the secrets of source {}", source.name))?;
        let (name, auth) = (source.name.clone(), source.auth.clone());
        kept.push((name.clone(), auth, read.secrets));
        doors.insert(name, behind(read.verifier, source));
    }
    let doors = Arc::new(doors);
    let secrets = SecretsWatch::new(Arc::clone(&doors), kept);
    Ok((doors, secrets))
}

/// The sources by name, for whoever looks at events and takes none: anybody could come in.
pub(crate) fn unlocked(sources: Vec<sources::Source>) -> BTreeMap<SourceName, Source> {
    sources
        .into_iter()
        .map(|source| (source.name.clone(), behind(Verifier::none(), source)))
        .collect()
}

fn behind(verifier: Verifier, source: sources::Source) -> Source {
    let is_plain = source.frame.is_some();
    let kinds = source.event_types.into_iter().map(|(event_type, kind)| {
        let sources::Kind {
            schema,
            mapping,
            epoch,
        } = kind;
        let kind = EventType {
            schema,
            mapping,
            epoch,
            is_plain,
        };
        (event_type, kind)
    });
    Source {
        lock: RotatingVerifier::new(verifier),
        frame: source.frame,
        event_types: kinds.collect(),
        ignored: source.ignored,
        allowed_origins: source.allowed_origins.into_iter().collect(),
    }
}

/// Maps events that were kept by the sources of today.
pub(super) fn map_again(config: &Config, sources: &Sources) -> MapAgain {
    let (sources, foreign_address) = (Arc::clone(sources), config.imprint.foreign_address);
    Arc::new(move |source, event_type, event| {
        ingress::map_again(&sources, foreign_address, (source, event_type), event)
    })
}

/// Explains events by the sources of today.
pub(super) fn explain(config: &Config, sources: &Sources, clock: &Clock) -> Explain {
    let terms = terms(config, clock);
    let (bodies, kept) = (Arc::clone(sources), Arc::clone(sources));
    let of_kept = terms.clone();
    Explain {
        body: Arc::new(move |name, body, show| {
            let source = bodies.get(name)?;
            Some(ingress::explain(name, source, terms(show), body))
        }),
        kept: Arc::new(move |event_type, event, show, fresh| {
            ingress::explain_kept(&kept, event_type, of_kept(show), event, Some(fresh))
        }),
    }
}

/// What explanations need to know of the settings.
pub(crate) fn terms(
    config: &Config,
    clock: &Clock,
) -> impl Fn(Visibility) -> Terms + Clone + Send + Sync + 'static {
    let (foreign_address, clearing) = (config.imprint.foreign_address, config.imprint.clearing);
    let (events_max, ahead) = (config.ingress.batch_max, config.ingress.version_ahead_max);
    let clock = clock.clone();
    move |show| Terms {
        foreign_address,
        clearing,
        events_max,
        newest: clock.wall().after(ahead),
        show,
    }
}
