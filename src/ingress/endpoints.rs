//! The endpoints of the sources. The bridge replaces all endpoints together when the files of the sources change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::HttpRequest;

use super::auth::Verifier;
use super::brake::SourceBrake;
use super::field_counts::FieldCounts;
use super::quota::SourceQuota;
use super::refusal::Refusal;
use super::replaceable::Replaceable;
use crate::event::SourceName;
use crate::intake::{IntakeSettings, Source, Sources};
use crate::spelling;

/// The endpoints of one set of sources. A request uses the set with which it began until the request ends.
#[derive(Debug)]
pub struct Endpoints {
    by_name: BTreeMap<SourceName, Arc<Endpoint>>,
    /// The sources of the endpoints. They turn requests into outbox entries.
    sources: Arc<Sources>,
}

/// The endpoint to which one source sends its events, with the rules for the requests.
#[derive(Debug)]
pub struct Endpoint {
    /// The configuration of the source that sends requests to this endpoint.
    pub source: Arc<Source>,
    /// The verifier that proves that a request comes from the source.
    pub verifier: Replaceable<Verifier>,
    /// The origins (DNS names in lower case) to which the CloudEvents handshake grants permission.
    pub allowed_origins: BTreeSet<String>,
    /// The headers that the bridge believes without a signature: `ce-` headers of binary mode, the header `priority`, or
    /// headers that the expressions of the source read.
    pub unsigned_headers: BTreeSet<String>,
    /// The headers that the expressions of the source read.
    pub read_headers: BTreeSet<String>,
    /// The quotas of the source. If a new set does not change the quotas of the source, both sets share this value, so
    /// that the change of the set grants no additional events.
    pub quota: Arc<SourceQuota>,
    /// The mass-change brake of the source.
    pub brake: SourceBrake,
    /// The counters of the fields that the source maps.
    pub fields: FieldCounts,
}

impl Endpoints {
    /// Creates the endpoints of a set of sources.
    pub fn new(endpoints: impl IntoIterator<Item = Arc<Endpoint>>, intake: IntakeSettings) -> Self {
        let named = |endpoint: Arc<Endpoint>| (endpoint.source.name.clone(), endpoint);
        let by_name: BTreeMap<_, _> = endpoints.into_iter().map(named).collect();
        let sources = by_name.values().map(|one| Arc::clone(&one.source));
        Self {
            sources: Arc::new(Sources::new(sources, intake)),
            by_name,
        }
    }

    /// Returns the sources of the endpoints.
    pub const fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Returns the endpoint of the source with this name.
    pub fn get(&self, name: &SourceName) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }

    /// Returns all endpoints, sorted by the names of their sources.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_name.values()
    }

    /// Returns the name of the source that a misspelt name probably means.
    pub(super) fn similar(&self, name: &str) -> Option<&str> {
        spelling::nearest(name, self.by_name.keys().map(SourceName::as_str))
    }

    /// Returns the first source whose name is a part of a path.
    pub(super) fn named_in(&self, path: &str) -> Option<&str> {
        let names = path
            .split('/')
            .filter_map(|part| SourceName::parse(part).ok());
        let mut known = names.filter_map(|name| self.by_name.get_key_value(&name));
        known.next().map(|(name, _)| name.as_str())
    }

    /// Returns the endpoint of the source in the path of a request.
    pub(super) fn of_request(&self, request: &HttpRequest) -> Result<&Endpoint, Refusal> {
        let name = request.match_info().get("source");
        let name = name.and_then(|name| SourceName::parse(name).ok());
        let endpoint = name.and_then(|name| self.by_name.get(&name));
        endpoint.map(Arc::as_ref).ok_or(Refusal::UnknownSource)
    }
}
