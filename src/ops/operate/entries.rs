//! The use cases that list entries, and that show one entry with its content.

use serde_json::Value;

use super::{Error, Operations, Operator};
use crate::event::{Version, Visibility};
use crate::imprint::clearing::Clearing;
use crate::imprint::{CustomerRef, Field, FieldValue, PartnerCustomerId, Update};
use crate::outbox::{
    Detail, EntryFilter, EntryId, EntryPage, EntrySelection, EntrySummary, Inspection, LaneKey,
};

/// One entry, as an operator sees it. `content` is `None` if the entry is delivered or otherwise finished, because the
/// store then erases the content.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryView {
    pub summary: EntrySummary,
    /// The CRM's id of the customer, if the store has only Imprint's id in the entry's lane, and a link to the CRM's id.
    pub partner: Option<PartnerCustomerId>,
    pub content: Option<EntryContent>,
}

/// The content of an unfinished entry, with masked or revealed values.
#[derive(Clone, PartialEq)]
pub struct EntryContent {
    /// The version and the values of the entry's update. `None` if the entry is parked as invalid, or if the bridge
    /// cannot read the stored update.
    pub update: Option<(Version, Vec<FieldView>)>,
    /// The entry's event as a `CloudEvent` in structured form. `None` if the bridge cannot parse the stored bytes.
    pub event: Option<Value>,
}

/// The debug output shows no event and no value, because the values are possibly unmasked.
impl std::fmt::Debug for EntryContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryContent").finish_non_exhaustive()
    }
}

/// One field of an update, with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldView {
    pub field: Field,
    pub value: ValueView,
}

/// The masked or revealed value of a field.
#[derive(Clone, PartialEq)]
pub enum ValueView {
    Set(Value),
    Cleared,
    /// The source cleared the field, and the request omits the field for this reason.
    Omitted(&'static str),
}

/// The debug output shows no value, because the value is possibly unmasked.
impl std::fmt::Debug for ValueView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set",
            Self::Cleared => "Cleared",
            Self::Omitted(_) => "Omitted",
        })
    }
}

impl Operations {
    /// Lists the entries that match a filter.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn list(
        &self,
        _operator: &Operator,
        filter: EntryFilter,
    ) -> Result<EntryPage, Error> {
        Ok(self.outbox.list(filter).await?)
    }

    /// Returns the summaries of entries, at most [`CHANGE_ENTRIES_MAX`](super::CHANGE_ENTRIES_MAX). Leaves out entries that
    /// the store does not have.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn summaries(
        &self,
        _operator: &Operator,
        entries: Vec<EntryId>,
    ) -> Result<Vec<EntrySummary>, Error> {
        let selection = EntrySelection::Entries(entries);
        let loaded = self.outbox.load(selection, Detail::Summaries).await?;
        let entries = loaded.entries.into_iter();
        Ok(entries.map(|entry| entry.summary).collect())
    }

    /// Returns one entry. For unmasked values, the bridge first writes an audit record.
    ///
    /// # Errors
    /// Returns an error if no entry has this number, or if the store fails.
    pub async fn show(
        &self,
        operator: &Operator,
        entry: EntryId,
        visibility: Visibility,
    ) -> Result<EntryView, Error> {
        operator.require_sight(visibility)?;
        let inspection = self.inspect(entry).await?;
        self.audit_reveal(operator, entry, visibility).await?;
        let shown = (visibility, self.rules.clearing);
        let content = inspection
            .event
            .map(|event| content(&event, inspection.update, shown));
        let partner = self.linked_partner(&inspection.summary).await?;
        Ok(EntryView {
            summary: inspection.summary,
            partner,
            content,
        })
    }

    /// Returns the CRM's id of the customer of an entry, as Imprint last confirmed it.
    async fn linked_partner(
        &self,
        summary: &EntrySummary,
    ) -> Result<Option<PartnerCustomerId>, Error> {
        let Some(LaneKey::Imprint(imprint)) = &summary.customer else {
            return Ok(None);
        };
        let customer = vec![CustomerRef::Imprint(imprint.clone())];
        let lanes = self.outbox.lanes(customer).await?;
        let links = lanes.into_iter().flat_map(|lane| lane.links);
        let newest = links.max_by_key(|link| link.confirmed_at);
        Ok(newest.map(|link| link.partner))
    }

    pub(super) async fn inspect(&self, entry: EntryId) -> Result<Inspection, Error> {
        let inspection = self.outbox.inspect(entry).await?;
        inspection.ok_or(Error::UnknownEntry)
    }

    pub(super) async fn audit_reveal(
        &self,
        operator: &Operator,
        entry: EntryId,
        visibility: Visibility,
    ) -> Result<(), Error> {
        match visibility {
            Visibility::Masked => Ok(()),
            Visibility::Revealed => {
                let event = self.audit_event(operator, "reveal", entry.to_string());
                Ok(self.outbox.append_audit(event).await?)
            }
        }
    }
}

/// Returns the content of an unfinished entry, with masked or revealed values.
pub(super) fn content(
    event: &[u8],
    update: Option<(Version, Update)>,
    (visibility, clearing): (Visibility, Clearing),
) -> EntryContent {
    let views = |update: &Update| field_views(visibility, update, clearing);
    let event = serde_json::from_slice(event).ok();
    EntryContent {
        update: update.map(|(version, update)| (version, views(&update))),
        event: event.map(|event| visibility.value(&event)),
    }
}

/// Returns the fields of an update, with masked or revealed values.
pub(super) fn field_views(
    visibility: Visibility,
    update: &Update,
    clearing: Clearing,
) -> Vec<FieldView> {
    let fields = update.iter().map(|(field, value)| FieldView {
        field: field.clone(),
        value: match value {
            FieldValue::Set(value) => ValueView::Set(visibility.value(value)),
            FieldValue::Cleared => {
                let omission = clearing.omission(field);
                omission.map_or(ValueView::Cleared, ValueView::Omitted)
            }
        },
    });
    fields.collect()
}
