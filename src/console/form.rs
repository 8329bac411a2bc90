//! The forms of the console: receives a form of limited size, and checks that it belongs to the session.

use std::future::ready;

use actix_web::dev::Payload;
use actix_web::web::{Bytes, Query};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::ConsoleProblem;
use super::visitor::Visitor;
use crate::ops::{AdminProblem, receive_body};

/// The maximum length of a form of the console. The longest form has the numbers of the entries of one change.
pub(super) const FORM_BYTES_MAX: usize = 16 * 1024;

/// The maximum length of the forms of a route, if it is not [`FORM_BYTES_MAX`].
#[derive(Clone, Copy)]
pub(super) struct FormLimit(pub(super) usize);

/// A form of a logged-in operator, with the fields of the form.
pub(super) struct Form<T> {
    pub(super) visitor: Visitor,
    pub(super) fields: T,
}

/// A form of a logged-in operator that possibly belongs to another session, for a page that keeps what the operator wrote.
pub(super) struct AnyForm<T> {
    pub(super) visitor: Visitor,
    /// The error has the fields of a form of another session.
    pub(super) fields: Result<T, T>,
}

/// The field that every form of a session has.
#[derive(Deserialize)]
struct FormToken {
    form_token: String,
}

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = ConsoleProblem;
    type Future = LocalBoxFuture<'static, Result<Self, ConsoleProblem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = AnyForm::from_request(request, payload);
        Box::pin(async move {
            let AnyForm { visitor, fields } = form.await?;
            let fields = fields.map_err(|_other| ConsoleProblem::OtherSession)?;
            Ok(Self { visitor, fields })
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for AnyForm<T> {
    type Error = ConsoleProblem;
    type Future = LocalBoxFuture<'static, Result<Self, ConsoleProblem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // The bridge reads no form of a browser without a session.
        let visitor = match Visitor::from_request(request, payload).into_inner() {
            Ok(visitor) => visitor,
            Err(problem) => return Box::pin(ready(Err(problem))),
        };
        let limit = request.app_data::<FormLimit>();
        let bytes_max = limit.map_or(FORM_BYTES_MAX, |limit| limit.0);
        let body = receive_body(request, payload, bytes_max);
        Box::pin(async move {
            let body = body.await?;
            let FormToken { form_token } =
                parse(&body).map_err(|_missing| ConsoleProblem::OtherSession)?;
            let is_own = form_token == visitor.session.form_token;
            let fields = match (parse(&body), is_own) {
                (Ok(fields), true) => Ok(fields),
                (Ok(fields), false) => Err(fields),
                (Err(malformed), true) => return Err(malformed.into()),
                (Err(_malformed), false) => return Err(ConsoleProblem::OtherSession),
            };
            Ok(Self { visitor, fields })
        })
    }
}

/// Parses the fields of a form.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, AdminProblem> {
    let text = str::from_utf8(body).map_err(|_error| malformed())?;
    let fields = Query::<T>::from_query(text).map_err(|_error| malformed())?;
    Ok(fields.into_inner())
}

/// The error of a form that no page of the console sends. It does not repeat what the form contains.
fn malformed() -> AdminProblem {
    AdminProblem::Malformed("the form is incomplete or has a wrong field".to_owned())
}
