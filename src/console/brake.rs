//! The form that opens or closes the mass-change brake of a source.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::form::Form;
use super::login::see;
use super::problem::ConsoleProblem;
use crate::event::SourceName;
use crate::ops::AdminProblem;
use crate::ops::operate::{Operations, Reason};

/// The times for which the page offers to open a brake: minutes, and the text of the choice.
pub(super) const OPEN_MINUTES: [(u64, &str); 4] = [
    (15, "15 minutes"),
    (60, "1 hour"),
    (240, "4 hours"),
    (1440, "24 hours"),
];

/// The fields of the form.
#[derive(Deserialize)]
pub(super) struct BrakeFields {
    /// The time for which the brake is open; 0 closes it.
    minutes: u64,
    reason: String,
}

/// Answers `POST /sources/{source}/brake`.
pub(super) async fn change(
    operations: web::Data<Operations>,
    source: web::Path<String>,
    form: Form<BrakeFields>,
) -> Result<HttpResponse, ConsoleProblem> {
    let Form { visitor, fields } = form;
    let source = SourceName::parse(&source)
        .map_err(|error| AdminProblem::Malformed(format!("source: {error}")))?;
    let (operator, reason) = (visitor.operator(), Reason::parse(&fields.reason)?);
    match fields.minutes {
        0 => operations.close_brake(operator, &source, reason).await?,
        minutes => {
            let span = Duration::from_secs(minutes.saturating_mul(60));
            operations
                .open_brake(operator, &source, span, reason)
                .await?
        }
    };
    Ok(see("/sources"))
}
