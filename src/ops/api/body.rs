//! Receives the body of a request to the admin API, with limits on its size and time.

use std::future::ready;
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;

use super::AdminProblem;
use super::request::malformed;
use crate::http::connection::ConnectionState;
use crate::http::single_header::SingleHeader;

/// The maximum length of a request body of the admin API.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// The time limit for receiving a request body of the admin API.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The body of a request to the admin API.
pub(super) struct AdminBody(pub(super) Bytes);

impl FromRequest for AdminBody {
    type Error = AdminProblem;
    type Future = LocalBoxFuture<'static, Result<Self, AdminProblem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = receive_body(request, payload, BODY_BYTES_MAX);
        Box::pin(async move { body.await.map(Self) })
    }
}

/// Receives a request body of at most `bytes_max` bytes. The `PayloadConfig` of the route must have the same limit.
pub(crate) fn receive_body(
    request: &HttpRequest,
    payload: &mut Payload,
    bytes_max: usize,
) -> LocalBoxFuture<'static, Result<Bytes, AdminProblem>> {
    let length = SingleHeader::read(request.headers(), CONTENT_LENGTH).text();
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Box::pin(ready(Err(AdminProblem::TooLarge)));
    }
    if let Some(connection) = request.conn_data::<Rc<ConnectionState>>() {
        connection.want_body();
    }
    let body = Bytes::from_request(request, payload);
    Box::pin(async move {
        let body = timeout(BODY_DEADLINE, body).await;
        let body = body.map_err(|_elapsed| AdminProblem::BodyTimeout)?;
        body.map_err(|error| match error.as_response_error().status_code() {
            StatusCode::PAYLOAD_TOO_LARGE => AdminProblem::TooLarge,
            _other => malformed("the request body is incomplete"),
        })
    })
}
