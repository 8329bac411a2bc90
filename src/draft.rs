//! Drafts the files of a new source from sample bodies: the source file, the schemas, and the reasons for each setting.
//!
//! A draft begins as a [`SourcePlan`]: the authentication, the format of the bodies, the event types. If the samples have
//! the form of a known vendor, the plan is the source that is ready for this vendor. The caller compiles the plan and reads the events of the samples with it, because only the compiled expression `body.split` knows the form in
//! which schema and mapping see an event. [`SourcePlan::with_fields`] then recognizes the fields in these events. At last, the
//! caller runs the samples through the bridge's own pipeline, and [`SourceDraft::switch_off_refused`] turns every setting that
//! the pipeline refuses for a sample into a comment. So a draft always passes `check`.
//!
//! The module is pure: it reads and writes no files.

use std::collections::BTreeSet;

use self::generic::GenericPlan;
use self::secrets::SensitivePlace;
use self::vendor::VendorPlan;
use crate::event::SourceName;

mod account;
mod address;
mod address_names;
mod authentication;
mod body;
mod candidates;
mod document;
mod doubt;
mod emptied;
mod envelope;
mod event_id;
mod event_type;
mod false_values;
mod field_draft;
mod fields;
mod flat_names;
mod form;
mod generic;
mod headers;
mod leaves;
mod list_items;
mod lists;
mod misfit;
mod names;
mod notification;
mod order;
mod path;
mod person;
mod related;
mod removal;
mod review;
mod sample;
mod schema;
mod secrets;
mod source_draft;
mod synonyms;
mod vendor;

pub use review::{Review, review};
pub use sample::{Sample, SampleView};
pub use source_draft::{RecognizedSetting, SchemaDraft, SourceDraft};

/// The error of samples from which the bridge cannot draft a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// There is no sample.
    #[error("there is no sample")]
    NoSample,
    /// A sample has no event. The number is the position of the sample.
    #[error("the sample {reason}; a sample is a request body with at least one event")]
    NoEvent {
        position: usize,
        reason: &'static str,
    },
}

/// The first part of a draft: everything except the fields.
#[derive(Debug)]
pub struct SourcePlan {
    kind: PlanKind,
    /// The places of the values in the samples that look like secrets.
    secrets: Vec<SensitivePlace>,
    /// The sentence about the request headers that the source file does not use.
    unused_headers: Option<String>,
}

#[derive(Debug)]
enum PlanKind {
    Generic(GenericPlan),
    Vendor(VendorPlan),
}

impl SourcePlan {
    /// Plans a source from samples.
    ///
    /// # Errors
    /// Returns an error if a sample has no event, or if the events of a known vendor have no values.
    pub fn of(source: &SourceName, samples: &[Sample]) -> Result<Self, DraftError> {
        if samples.is_empty() {
            return Err(DraftError::NoSample);
        }
        for (position, sample) in samples.iter().enumerate() {
            let reason = sample.emptiness().or_else(|| vendor::emptiness(sample));
            if let Some(reason) = reason {
                return Err(DraftError::NoEvent { position, reason });
            }
        }
        Ok(match VendorPlan::of(source, samples) {
            Some(plan) => Self::of_kind(PlanKind::Vendor(plan), samples),
            None => Self::general(source, samples),
        })
    }

    /// Plans a source from samples with events, as if no vendor were known.
    pub fn general(source: &SourceName, samples: &[Sample]) -> Self {
        let plan = GenericPlan::of(source, samples);
        Self::of_kind(PlanKind::Generic(plan), samples)
    }

    fn of_kind(kind: PlanKind, samples: &[Sample]) -> Self {
        let secrets = samples.iter().cloned();
        let secrets: BTreeSet<SensitivePlace> = secrets
            .flat_map(|mut sample| sample.replace_sensitive())
            .collect();
        let plan = Self {
            kind,
            secrets: secrets.into_iter().collect(),
            unused_headers: None,
        };
        let unused_headers = headers::unused(samples, &plan.render());
        Self {
            unused_headers,
            ..plan
        }
    }

    /// Returns the name of the vendor with the kind of its events, if the plan is the source that is ready for a vendor.
    pub const fn vendor(&self) -> Option<&'static str> {
        match &self.kind {
            PlanKind::Generic(_) => None,
            PlanKind::Vendor(plan) => Some(plan.vendor()),
        }
    }

    /// Returns the request headers that the source file reads, and that the samples possibly lack, with a usual value.
    pub const fn usual_headers(&self) -> &'static [(&'static str, &'static str)] {
        match &self.kind {
            PlanKind::Generic(_) => &[],
            PlanKind::Vendor(plan) => plan.usual_headers(),
        }
    }

    /// Returns the text of a source file that reads the events of the samples.
    pub fn render(&self) -> String {
        match &self.kind {
            PlanKind::Generic(plan) => plan.render(),
            PlanKind::Vendor(plan) => plan.render(),
        }
    }

    /// Returns the schemas for [`SourcePlan::render`]. They accept every event.
    pub fn schemas(&self) -> Vec<SchemaDraft> {
        match &self.kind {
            PlanKind::Generic(plan) => plan.schemas(),
            PlanKind::Vendor(plan) => plan.schemas(),
        }
    }

    /// Recognizes the fields in the events of the samples.
    pub fn with_fields(self, views: &[SampleView]) -> SourceDraft {
        let mut draft = match self.kind {
            PlanKind::Generic(plan) => plan.with_fields(views),
            PlanKind::Vendor(plan) => plan.with_fields(views),
        };
        draft.warn_of_secrets(&self.secrets);
        draft.decisions.extend(self.unused_headers);
        draft
    }
}
