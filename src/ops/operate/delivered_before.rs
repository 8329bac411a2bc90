//! Names the events whose values Imprint has before a replay.

use super::preview::ReplayedRequest;
use super::{Error, Operations};
use crate::outbox::{FieldOrigin, OriginEvent};

/// The maximum number of customers for which the preview of a replay names the events whose values Imprint has. The bridge
/// reads the store for each customer. A page of the console shows no more requests.
pub const ORIGIN_CUSTOMERS_MAX: usize = 20;

impl Operations {
    /// Adds, for the first customers of these requests, the events whose values Imprint has before the requests.
    pub(super) async fn name_delivered(
        &self,
        requests: &mut [ReplayedRequest],
    ) -> Result<(), Error> {
        let customers = requests.chunk_by_mut(|one, other| one.customer == other.customer);
        for requests in customers.take(ORIGIN_CUSTOMERS_MAX) {
            let Some(customer) = requests.first().map(|request| request.customer.clone()) else {
                continue;
            };
            let fields = requests.iter_mut().flat_map(|request| &mut request.fields);
            let delivered: Vec<_> = fields
                .filter_map(|field| field.delivered.as_mut())
                .collect();
            if delivered.is_empty() {
                continue;
            }
            let origins = self.outbox.origins(customer).await?;
            delivered
                .into_iter()
                .for_each(|before| before.event = event_of(&origins, before));
        }
        Ok(())
    }
}

/// Returns the event of a delivered value, if the store has delivered exactly this version.
fn event_of(origins: &[FieldOrigin], before: &FieldOrigin) -> Option<OriginEvent> {
    let mut origins = origins.iter();
    let origin =
        origins.find(|origin| origin.field == before.field && origin.version == before.version);
    origin?.event.clone()
}
