//! Receives a request body within a size limit and a time limit. Closes the connection if the bridge did not read the
//! whole body.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt as _};

use crate::event::EventError;
use crate::http::connection::ConnectionState;
use crate::http::single_header::SingleHeader;
use crate::ingress::auth::Untrusted;
use crate::ingress::{BodyLimits, Refusal};
use crate::intake::{Rejection, RejectionClass};

/// Receives the whole request body.
pub(super) async fn collect(
    request: &HttpRequest,
    payload: &mut Payload,
    limits: &BodyLimits,
) -> Result<Untrusted<Bytes>, Refusal> {
    let limit_bytes = limits.body_bytes_max;
    let announced = SingleHeader::read(request.headers(), "content-length").text();
    if announced.is_some_and(|length| {
        length
            .parse()
            .is_ok_and(|length: u64| exceeds(length, limit_bytes))
    }) {
        return Err(Refusal::TooLarge { limit_bytes });
    }
    if let Some(connection) = request.conn_data::<Rc<ConnectionState>>() {
        connection.want_body();
    }
    match tokio::time::timeout(limits.body_deadline, read(payload, limit_bytes)).await {
        Ok(read) => read.map(Untrusted::new),
        Err(_elapsed) => Err(Refusal::BodyTimeout),
    }
}

fn exceeds(length: u64, limit_bytes: usize) -> bool {
    usize::try_from(length).is_ok_and(|length| length > limit_bytes)
}

async fn read(
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit_bytes: usize,
) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken| incomplete())?;
        if body.len() + chunk.len() > limit_bytes {
            return Err(Refusal::TooLarge { limit_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Creates the refusal for a request body that ended too early or has broken framing. The sender rarely reads the
/// response.
fn incomplete() -> Refusal {
    Refusal::from(Rejection::new(
        RejectionClass::Malformed,
        vec![EventError {
            pointer: String::new(),
            rule: "incomplete".to_owned(),
            location: "http".to_owned(),
            detail: "The request body is incomplete.".to_owned(),
        }],
    ))
}

/// Adds the rest of the request body to the response, which holds the rest until the server has sent the response.
///
/// The HTTP server reads a dropped chunked body to its end, even if the body is endless. If the response still holds
/// the body after the server has sent the response, the server closes the connection instead. For a completely read
/// body, holding has no effect.
pub(super) fn hold_body(response: HttpResponse, payload: Payload) -> HttpResponse {
    response.map_body(|_, body| HeldBody { body, payload }.boxed())
}

struct HeldBody {
    body: BoxBody,
    #[expect(dead_code, reason = "it is held until the response is dropped")]
    payload: Payload,
}

impl MessageBody for HeldBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
