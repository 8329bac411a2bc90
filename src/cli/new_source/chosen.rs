//! Chooses between the draft of a known vendor and the general draft.

use anyhow::anyhow;

use super::drafted::{self, Drafted};
use super::samples::{self, SampleFile};
use crate::config::Config;
use crate::draft::{DraftError, Sample, SourcePlan};
use crate::event::SourceName;

/// Drafts the source from the samples, and adds notes about the headers that the samples lack.
///
/// A vendor can send records of several kinds in one form, and the draft of the vendor knows one kind. If this draft maps no
/// field, or most of the samples are invalid with it, the general draft replaces it, unless the general draft is no better.
pub(super) fn draft(
    config: &Config,
    name: &SourceName,
    samples: &mut Vec<SampleFile>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Drafted> {
    let values: Vec<Sample> = samples.iter().map(|file| file.sample.clone()).collect();
    let plan = plan(name, &values, samples)?;
    let Some(vendor) = plan.vendor() else {
        return drafted::draft(config, name, plan, samples);
    };
    let mut with_headers = samples.clone();
    let usual = samples::add_usual_headers(&mut with_headers, plan.usual_headers());
    let mut of_vendor = drafted::draft(config, name, plan, &with_headers)?;
    let Some(flaw) = flaw(&of_vendor) else {
        *samples = with_headers;
        notes.extend(usual);
        return Ok(of_vendor);
    };
    let flaw = format!("The samples have the form of {vendor}, but the draft for it {flaw}.");
    let general = drafted::draft(config, name, SourcePlan::general(name, &values), samples);
    let rank = |drafted: &Drafted| (drafted.invalid(), !drafted.maps_a_field());
    match general {
        Ok(mut general) if general.maps_a_field() && rank(&general) < rank(&of_vendor) => {
            general.draft.decisions.insert(0, format!("{flaw} So this is the general draft: compare its [auth] with the documentation of the vendor."));
            Ok(general)
        }
        Ok(_) | Err(_) => {
            of_vendor.draft.decisions.insert(0, format!("{flaw} The general draft is no better: write the fields yourself, or add a sample of the events of a customer."));
            *samples = with_headers;
            notes.extend(usual);
            Ok(of_vendor)
        }
    }
}

/// Says what is wrong with the draft of a vendor.
fn flaw(drafted: &Drafted) -> Option<String> {
    let (invalid, all) = (drafted.invalid(), drafted.samples());
    if invalid.saturating_mul(2) > all {
        let causes = drafted.causes().join("; ");
        return Some(format!(
            "takes {invalid} of {all} samples for invalid ({causes})"
        ));
    }
    (!drafted.maps_a_field()).then(|| "maps no field of Imprint".to_owned())
}

fn plan(
    name: &SourceName,
    values: &[Sample],
    samples: &[SampleFile],
) -> anyhow::Result<SourcePlan> {
    SourcePlan::of(name, values).map_err(|error| match error {
        DraftError::NoEvent { position, .. } => {
            let file = samples.get(position);
            let file = file.map(|file| file.path.display().to_string());
            anyhow!("{}: {error}", file.unwrap_or_default())
        }
        DraftError::NoSample => anyhow!(error),
    })
}
