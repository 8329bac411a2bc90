//! Explains how the current mapping turns an event into a request, expression by expression.

use super::replay::is_invalid;
use super::{Error, Operations, Operator};
use crate::event::{RequestHeaders, SourceName, Visibility};
use crate::fold::Candidate;
use crate::imprint::{CustomerChange, Field};
use crate::intake::{EntryEvent, EventExplanation, Explanation, RequestMessage};
use crate::outbox::EntryId;

impl Operations {
    /// Explains how the current mapping maps an entry's event, and marks the values that are older than Imprint's
    /// values. For unmasked values, the bridge first writes an audit record.
    ///
    /// # Errors
    /// Returns an error if no entry has this number, if the entry's event is erased, if the entry's source is not
    /// configured any more, or if the store fails.
    pub async fn explain_entry(
        &self,
        operator: &Operator,
        entry: EntryId,
        visibility: Visibility,
    ) -> Result<EventExplanation, Error> {
        operator.require_sight(visibility)?;
        let inspection = self.inspect(entry).await?;
        let event = inspection.event.ok_or(Error::EventErased)?;
        self.audit_reveal(operator, entry, visibility).await?;
        let receipt = inspection.summary.receipt;
        let (sources, now) = (self.sources.sources(), self.clock.shared_wall());
        let explain = move || {
            let event = EntryEvent {
                identity: &receipt.identity,
                event_type: &receipt.event_type,
                bytes: &event,
                is_invalid: is_invalid(&receipt),
            };
            sources.explain_entry(event, now, visibility)
        };
        let explanation = self.map_apart(explain).await?;
        let mut explanation = explanation.ok_or(Error::UnknownSource)?;
        if let Some(change) = explanation.change() {
            let fresh = self.fresh(entry, change).await?;
            explanation.mark_stale(&fresh);
        }
        Ok(explanation)
    }

    /// Explains how the mapping of a source maps a request body. The bridge stores nothing and writes no audit record,
    /// because the operator already has the body.
    ///
    /// # Errors
    /// Returns an error if no source has this name.
    pub async fn explain_body(
        &self,
        _operator: &Operator,
        source: SourceName,
        (headers, body): (RequestHeaders, Vec<u8>),
        visibility: Visibility,
    ) -> Result<Explanation, Error> {
        let (sources, now) = (self.sources.sources(), self.clock.shared_wall());
        let explain = move || {
            let message = RequestMessage {
                headers: &headers,
                body: &body,
            };
            sources.explain_body(&source, message, now, visibility)
        };
        let explanation = self.map_apart(explain).await?;
        explanation.ok_or(Error::UnknownSource)
    }

    /// Returns the fields that the bridge would send now if no other entry of the customer waited: the fields of the
    /// update without a newer value at Imprint.
    async fn fresh(&self, entry: EntryId, change: &CustomerChange) -> Result<Vec<Field>, Error> {
        let lanes = self.outbox.lanes(vec![change.customer.clone()]).await?;
        let candidate = Candidate {
            version: change.version.arrived(entry.0),
            update: &change.update,
            jump_max: change.jump_max,
            floors: None,
        };
        let is_newer = |field: &&Field| {
            let mut versions = lanes.iter().map(|lane| &lane.versions);
            versions.all(|versions| versions.covering(field, &candidate).is_none())
        };
        Ok(change.update.fields().filter(is_newer).cloned().collect())
    }
}
