//! The entries that `demo --keep` leaves for an operator: Imprint rejects them, so they wait for a decision.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use crate::sandbox::Sandbox;
use crate::sender::{EventSender, SendResult, SenderAuth};
use crate::time::Clock;

/// The rejected events: the id of the customer, and the field that Imprint rejects.
const REJECTED: [(&str, &str); 3] = [
    ("demo-rejected-1", "email"),
    ("demo-rejected-2", "email"),
    ("demo-rejected-3", "phone"),
];

/// The time limit for sending one event, including all attempts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Sends events whose values the sandbox rejects once: a replay delivers them.
pub(super) async fn leave_rejected_events(
    sandbox: &Sandbox,
    events_url: String,
) -> anyhow::Result<()> {
    let auth = SenderAuth::None;
    let sender = EventSender::new(events_url, auth, Clock::machine(), GIVE_UP_AFTER)?;
    for (customer, field) in REJECTED {
        let rule = json!({
            "customer": customer, "times": 1, "action": {"status": 400, "param": field},
        });
        sandbox.inject(Sandbox::parse_rules(rule.to_string().as_bytes())?)?;
        let body = event(customer).to_string();
        match sender.send(Some(customer), body.as_bytes()).await {
            SendResult::Stored(_) => {}
            SendResult::Refused(reason)
            | SendResult::GaveUp(reason)
            | SendResult::Failed(reason) => {
                bail!("the bridge does not accept the event {customer}: {reason}")
            }
        }
    }
    Ok(())
}

fn event(customer: &str) -> serde_json::Value {
    json!({
        "specversion": "1.0", "id": customer, "source": "/crm/us", "type": "customer.changed",
        "time": "2026-01-31T09:00:00Z",
        "data": {"customer": {
            "id": format!("P-{customer}"), "imprint_customer_id": customer, "revision": 1,
            "email": "sample@example.com", "phone": "(415) 555-2671",
        }},
    })
}
