//! Receives a request body within a size limit and a time limit. Closes the connection if the bridge did not read the
//! whole body.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::event::EventError;
use crate::http::connection::ConnectionState;
use crate::http::single_header::SingleHeader;
use crate::ingress::auth::Untrusted;
use crate::ingress::budget::{BodyCharge, OverBudget};
use crate::ingress::{BodyLimits, Ingress, Refusal};
use crate::intake::{Rejection, RejectionClass};

/// The time after which a body that is still incomplete counts as slow.
///
/// If the budget for bodies is used up, the bridge refuses slow bodies to make room. A sender in the same region
/// transmits the largest body in less time.
const PROMPT: Duration = Duration::from_millis(250);
/// The size of one memory block for a request body. Most bodies have one event and fit into one block.
const BLOCK_BYTES: usize = 4096;

/// A complete body. The body counts against the budget for bodies until its `charge` is dropped.
pub(super) struct ReceivedBody<'a> {
    pub(super) content: Untrusted<Bytes>,
    pub(super) charge: BodyCharge<'a>,
}

/// Refuses a body that announces more bytes than the limit.
pub(super) fn check_length(headers: &HeaderMap, limits: &BodyLimits) -> Result<(), Refusal> {
    let limit_bytes = limits.body_bytes_max;
    match announced(headers) {
        Some(length) if exceeds(length, limit_bytes) => Err(Refusal::TooLarge { limit_bytes }),
        Some(_) | None => Ok(()),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = SingleHeader::read(headers, CONTENT_LENGTH).text();
    length.and_then(|length| length.parse().ok())
}

/// Receives the whole request body.
pub(super) async fn collect<'a>(
    ingress: &'a Ingress,
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<ReceivedBody<'a>, Refusal> {
    if let Some(connection) = request.conn_data::<Rc<ConnectionState>>() {
        connection.want_body();
    }
    let announced = announced(request.headers()).and_then(|length| usize::try_from(length).ok());
    let mut body = ArrivingBody {
        blocks: Vec::new(),
        allocated: 0,
        length: 0,
        charge: ingress.budget.charge(),
        limit_bytes: ingress.limits.body_bytes_max,
        bytes_max: announced.unwrap_or(usize::MAX),
    };
    let deadline = ingress.limits.body_deadline;
    // Actix polls the handler for the first time before it reads the body. Most bodies are complete at the second poll,
    // and a timer that starts between the two polls would cost a system call for each event.
    next_poll().await;
    let prompt = timeout(PROMPT.min(deadline), body.read(payload)).await;
    match prompt {
        Ok(read) => read?,
        Err(_elapsed) => {
            let gives_way = body.charge.become_slow();
            tokio::select! {
                read = timeout(deadline.saturating_sub(PROMPT), body.read(payload)) => {
                    read.map_err(|_elapsed| Refusal::BodyTimeout)??;
                }
                _ = gives_way => return Err(Refusal::BodyBudget),
            }
        }
    }
    Ok(body.complete())
}

/// Lets every task of the worker run that is ready.
pub(super) async fn next_poll() {
    let mut is_first = true;
    poll_fn(|cx| {
        if mem::take(&mut is_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

fn exceeds(length: u64, limit_bytes: usize) -> bool {
    usize::try_from(length).is_ok_and(|length| length > limit_bytes)
}

/// A body that the bridge has possibly not received completely. The body is in blocks of equal size.
///
/// One growing buffer for each body would fragment the memory of the process while thousands of bodies arrive.
struct ArrivingBody<'a> {
    blocks: Vec<Vec<u8>>,
    /// The sum of the sizes of all blocks.
    allocated: usize,
    length: usize,
    charge: BodyCharge<'a>,
    limit_bytes: usize,
    /// The value of `Content-Length`, or [`usize::MAX`] without this header.
    bytes_max: usize,
}

impl<'a> ArrivingBody<'a> {
    async fn read(&mut self, payload: &mut Payload) -> Result<(), Refusal> {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_broken| incomplete())?;
            self.length = self.length.saturating_add(chunk.len());
            if self.length > self.limit_bytes {
                let limit_bytes = self.limit_bytes;
                return Err(Refusal::TooLarge { limit_bytes });
            }
            self.push(&chunk)?;
        }
        Ok(())
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let room = |block: &Vec<u8>| block.capacity() - block.len();
            if self.blocks.last().is_none_or(|block| room(block) == 0) {
                self.add_block(bytes.len())?;
            }
            if let Some(block) = self.blocks.last_mut() {
                let fits = bytes.len().min(room(block));
                let (now, later) = bytes.split_at_checked(fits).unwrap_or((bytes, &[]));
                block.extend_from_slice(now);
                bytes = later;
            }
        }
        Ok(())
    }

    /// Charges and allocates one block. A block is smaller if the announced length or the size limit leaves less room.
    fn add_block(&mut self, wanted: usize) -> Result<(), Refusal> {
        let announced = self.bytes_max.saturating_sub(self.allocated).max(wanted);
        let allowed = self.limit_bytes.saturating_sub(self.allocated);
        let size = BLOCK_BYTES.min(announced).min(allowed);
        let charged = self.charge.grow(size);
        charged.map_err(|OverBudget| Refusal::BodyBudget)?;
        self.blocks.push(Vec::with_capacity(size));
        self.allocated += size;
        Ok(())
    }

    fn complete(mut self) -> ReceivedBody<'a> {
        self.charge.complete();
        let content = match self.blocks.pop() {
            Some(only) if self.blocks.is_empty() => only,
            last => {
                let mut content = Vec::with_capacity(self.length);
                let blocks = self.blocks.into_iter().chain(last);
                blocks.for_each(|block| content.extend_from_slice(&block));
                content
            }
        };
        ReceivedBody {
            content: Untrusted::new(content.into()),
            charge: self.charge,
        }
    }
}

/// Creates the refusal for a request body that ended too early or whose framing is not valid.
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

/// Attaches the request body to the response, so that the body is dropped only after the server has sent the response.
///
/// If the bridge dropped an unread chunked body earlier, the HTTP server would read the body to its end, even if the
/// body is endless. If the body still exists when the server has sent the response, the server closes the connection
/// instead. For a completely read body, this makes no difference.
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
