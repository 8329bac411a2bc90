//! Explains how the current mapping turns an event into a request, expression by expression.

use super::{Error, Operations, Operator};
use crate::event::{SourceName, Visibility};
use crate::fold::{Candidate, fold};
use crate::imprint::{CustomerChange, Field};
use crate::intake::{EntryEvent, EventExplanation, Explanation};
use crate::outbox::{EntryId, Inspection};

impl Operations {
    /// Explains the event of an entry, and names the values that are stale. Before values are revealed, the audit log
    /// records it.
    ///
    /// # Errors
    /// There is no such entry, its event is erased, its source is not configured any more, or the store failed.
    pub async fn explain_entry(
        &self,
        operator: &Operator,
        entry: EntryId,
        visibility: Visibility,
    ) -> Result<EventExplanation, Error> {
        let inspection = self.inspect(entry).await?;
        let event = inspection.event.as_deref().ok_or(Error::EventErased)?;
        self.audit_reveal(operator, entry, visibility).await?;
        let receipt = &inspection.summary.receipt;
        let event = EntryEvent {
            identity: &receipt.identity,
            event_type: &receipt.event_type,
            bytes: event,
        };
        let explanation = self
            .sources
            .explain_entry(event, self.clock.wall(), visibility);
        let mut explanation = explanation.ok_or(Error::UnknownSource)?;
        if let Some(change) = explanation.change() {
            let fresh = self.fresh(&inspection, change);
            explanation.mark_stale(&fresh);
        }
        Ok(explanation)
    }

    /// Explains a body as it would be posted to a source; nothing is stored. The operator already has the body, so the audit
    /// log records nothing.
    ///
    /// # Errors
    /// There is no such source.
    pub fn explain_body(
        &self,
        _operator: &Operator,
        source: &SourceName,
        body: &[u8],
        visibility: Visibility,
    ) -> Result<Explanation, Error> {
        let now = self.clock.wall();
        let explanation = self.sources.explain_body(source, body, now, visibility);
        explanation.ok_or(Error::UnknownSource)
    }

    /// Returns the fields of which Imprint has no newer value: delivery would send these if no other entry waited.
    fn fresh(&self, inspection: &Inspection, change: &CustomerChange) -> Vec<Field> {
        let candidate = Candidate {
            version: change.version.arrived(inspection.summary.receipt.entry.0),
            update: &change.update,
        };
        let fold = fold(
            &inspection.versions,
            &[candidate],
            self.max_fold,
            self.clock.now(),
        );
        fold.update.fields().cloned().collect()
    }
}
