//! Serves one call under `/v2`, from the arrival of the request to the answer or the fault.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::Sandbox;
use super::api::SandboxCall;
use super::fault_action::{FaultAction, FaultTiming, StatusFault};
use super::faults::DELAY_MAX;
use super::reply::{ErrorWords, ReplyBody, SandboxReply};
use super::socket::{BrokenBody, SocketHandle};
use crate::time::Clock;

/// The maximum length of a request body. A typical update has about 1 KiB.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The pause between the first half of a body and the end of the connection, for the fault `short_body`.
const HALFWAY: Duration = Duration::from_millis(20);
/// The bytes that the sandbox repeats in an endless body.
const FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];
/// The length at which the sandbox ends an endless body after all. No client accepts a body of this length.
const ENDLESS_BYTES: usize = 256 * 1024 * 1024;
/// The customer id that the fault `wrong_id` puts into an answer.
const OTHER_CUSTOMER: &str = "00000000-0000-4000-8000-000000000000";

/// Answers a call as Imprint would answer, or applies the faults that the fault rules choose for the call.
pub(super) async fn serve(
    request: HttpRequest,
    payload: Payload,
    sandbox: Data<Sandbox>,
) -> HttpResponse {
    if !is_imprint_path(request.uri().path()) {
        return HttpResponse::NotFound().finish();
    }
    let read = match payload.to_bytes_limited(BODY_BYTES_MAX).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_broken)) => Err(StatusCode::BAD_REQUEST),
        Err(_too_long) => Err(StatusCode::PAYLOAD_TOO_LARGE),
    };
    let refused = read.as_ref().err().copied();
    let call = SandboxCall::read(&request, read.unwrap_or_default(), &sandbox.0.settings);
    let seq = sandbox.arrive(&call);
    let mut exchange = Exchange {
        sandbox: sandbox.as_ref().clone(),
        seq,
        call,
        wire: request.conn_data::<Arc<SocketHandle>>().cloned(),
        fault: None,
        is_closed: false,
    };
    if let Some(status) = refused {
        return exchange.send(SandboxReply::new(status, ReplyBody::Nothing));
    }
    let plan = sandbox.draw(&exchange.call);
    exchange.fault = plan.label();
    let latency = sandbox.0.settings.latency;
    pause(&sandbox.0.clock, latency.saturating_add(plan.delay_before)).await;
    let timing = plan.action.as_ref().map(FaultAction::timing);
    let answer = match timing {
        Some(FaultTiming::BeforeUpdate) => SandboxReply::new(StatusCode::OK, ReplyBody::Nothing),
        Some(FaultTiming::AfterUpdate) | None => exchange.answer(),
    };
    pause(&sandbox.0.clock, plan.delay_after).await;
    match plan.action {
        Some(action) => exchange.apply_fault(action, answer).await,
        None => exchange.send(answer),
    }
}

fn is_imprint_path(path: &str) -> bool {
    path.strip_prefix("/v2")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn pause(clock: &Clock, span: Duration) {
    if !span.is_zero() {
        clock.sleep(span.min(DELAY_MAX)).await;
    }
}

/// One call that the sandbox serves, with its entry in the ledger. The call counts as in flight until its `Exchange` is
/// dropped.
struct Exchange {
    sandbox: Sandbox,
    seq: u64,
    call: SandboxCall,
    wire: Option<Arc<SocketHandle>>,
    fault: Option<&'static str>,
    is_closed: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_closed {
            self.sandbox.close(self.seq, None, Some("client_gone"));
        }
        self.sandbox.end_call();
    }
}

impl Exchange {
    fn answer(&self) -> SandboxReply {
        self.sandbox.answer(&self.call, self.seq)
    }

    fn close(&mut self, status: Option<StatusCode>) {
        self.is_closed = true;
        let status = status.map(|status| status.as_u16());
        self.sandbox.close(self.seq, status, self.fault);
    }

    fn send(mut self, reply: SandboxReply) -> HttpResponse {
        self.close(Some(reply.status));
        reply.into_response()
    }

    /// Applies a fault. `answer` is the real answer if the sandbox has already made the update. Otherwise `answer` is
    /// empty.
    async fn apply_fault(mut self, action: FaultAction, answer: SandboxReply) -> HttpResponse {
        match action {
            FaultAction::Status(fault) => {
                let error = self.error(&fault);
                let Some(lands_after_ms) = fault.lands_after_ms else {
                    return self.send(error);
                };
                self.close(Some(error.status));
                self.land(Duration::from_millis(lands_after_ms));
                error.into_response()
            }
            FaultAction::Body { body, status, .. } => {
                self.send(SandboxReply::new(status.code(), ReplyBody::Verbatim(body)))
            }
            FaultAction::Hang { .. } => {
                self.close(None);
                self.until_client_gone().await;
                self.reset()
            }
            FaultAction::LandsLate { lands_after_ms } => {
                self.land_after(Duration::from_millis(lands_after_ms)).await
            }
            FaultAction::Reset { .. } => self.reset(),
            FaultAction::Interim { interim, then_ms } => {
                self.send_interim(interim.code());
                pause(&self.sandbox.0.clock, Duration::from_millis(then_ms)).await;
                self.send(answer)
            }
            FaultAction::StallBody { .. } => self.stall(answer),
            FaultAction::ShortBody { .. } => self.cut_short(answer),
            FaultAction::WrongId { .. } => self.send(about_another_customer(answer)),
            FaultAction::EndlessBody { .. } => self.never_end(),
            // The function `serve` has already waited for the delays.
            FaultAction::Latency { .. } => self.send(answer),
        }
    }

    /// Sends no answer, and makes the update after a delay.
    async fn land_after(mut self, span: Duration) -> HttpResponse {
        let gone = self.until_client_gone();
        self.close(None);
        self.land(span);
        gone.await;
        HttpResponse::Ok().finish()
    }

    /// Makes the update after a delay, even if the client has closed the connection.
    #[expect(
        clippy::disallowed_methods,
        reason = "the fault is a request that is still processed after its client has gone"
    )]
    fn land(self, span: Duration) {
        actix_web::rt::spawn(async move {
            pause(&self.sandbox.0.clock, span).await;
            self.answer();
        });
    }

    fn error(&self, fault: &StatusFault) -> SandboxReply {
        let words = ErrorWords {
            status: fault.status.code(),
            kind: fault.r#type.as_deref(),
            param: fault.param.as_deref(),
            details: fault.message.iter().cloned().collect(),
            path: &self.call.path,
            now: self.sandbox.0.clock.wall(),
        };
        let mut reply = SandboxReply::error(fault.shape, &words);
        for text in fault.retry_after.texts() {
            reply.headers.push((header::RETRY_AFTER, text.value()));
        }
        if let Some(location) = &fault.location {
            reply.headers.push((header::LOCATION, location.value()));
        }
        reply
    }

    fn send_interim(&self, status: u16) {
        if let Some(Err(error)) = self.wire.as_ref().map(|wire| wire.send_interim(status)) {
            tracing::warn!(%error, "the sandbox could not send an interim answer");
        }
    }

    fn reset(mut self) -> HttpResponse {
        self.close(None);
        if let Some(Err(error)) = self.wire.as_ref().map(|wire| wire.reset_at_close()) {
            tracing::warn!(%error, "the sandbox could not reset a connection, and closes the connection instead");
        }
        HttpResponse::Ok().body(BrokenBody::at_once(self))
    }

    fn stall(mut self, answer: SandboxReply) -> HttpResponse {
        self.close(Some(answer.status));
        let (kind, bytes) = answer.content.into_bytes();
        let gone = self.until_client_gone();
        HttpResponse::build(answer.status)
            .insert_header((header::CONTENT_TYPE, kind))
            .body(
                BrokenBody::at_once(self)
                    .promising(bytes.len().max(1))
                    .after(gone),
            )
    }

    fn cut_short(mut self, answer: SandboxReply) -> HttpResponse {
        self.close(Some(answer.status));
        let (kind, mut bytes) = answer.content.into_bytes();
        let promised = bytes.len().max(1);
        bytes.truncate(promised / 2);
        HttpResponse::build(answer.status)
            .insert_header((header::CONTENT_TYPE, kind))
            .body(
                BrokenBody::at_once(self)
                    .promising(promised)
                    .with(bytes.into())
                    .after(tokio::time::sleep(HALFWAY)),
            )
    }

    fn never_end(mut self) -> HttpResponse {
        self.close(Some(StatusCode::OK));
        let id = Value::from(self.call.customer.as_deref().unwrap_or(OTHER_CUSTOMER));
        let start = format!(r#"{{"id":{id},"metadata":{{"filler":""#);
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(
                BrokenBody::at_once(self)
                    .with(start.into())
                    .filled(Bytes::from_static(&FILLER), ENDLESS_BYTES),
            )
    }

    fn until_client_gone(&self) -> impl Future<Output = ()> + use<> {
        let wire = self.wire.clone();
        async move {
            if let Some(wire) = wire {
                wire.until_client_gone().await;
            }
        }
    }
}

/// Replaces the customer id in an answer with the id of another customer. Does not change an answer without a customer
/// id.
fn about_another_customer(mut answer: SandboxReply) -> SandboxReply {
    if let ReplyBody::Json(Value::Object(body)) = &mut answer.content
        && body.contains_key("id")
    {
        body.insert("id".to_owned(), json!(OTHER_CUSTOMER));
    }
    answer
}
