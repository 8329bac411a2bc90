//! The errors of the console, each as a page with the same texts as the problems of the admin API.

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, LOCATION, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::page::{Frame, html};
use super::words::capitalized;
use crate::ops::AdminProblem;

/// What a browser asked for with the cookie of a session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedSession {
    Page,
    Form,
}

impl EndedSession {
    /// Returns the word for the address of the page to log in.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Form => "form",
        }
    }
}

/// The reason why a request to the console failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConsoleProblem {
    #[error("No operator is configured. Set ops.token_files to enable the console.")]
    Disabled,
    #[error("Too many requests of operators are in progress. Reload the page in a moment.")]
    Busy,
    /// The answer leads to the page to log in.
    #[error("The session has ended. Log in.")]
    LoginRequired {
        /// The page to show after the login.
        target: Option<String>,
        /// What the browser asked for with the cookie of a session that has ended.
        ended: Option<EndedSession>,
    },
    #[error("The form does not come from a page of this console, so nothing was changed.")]
    OtherOrigin,
    #[error(
        "The form belongs to another session, so nothing was changed. Go back, reload the page and repeat."
    )]
    OtherSession,
    #[error(
        "Choose at least one entry in the list, or use the buttons for all entries that match."
    )]
    NothingChosen {
        /// The page with the list.
        back: String,
    },
    #[error("The console has no page at this address.")]
    NotFound,
    #[error(
        "This address needs the entries that you choose in the list, so nothing was changed. Choose the entries again."
    )]
    FormOnly,
    /// The answer is a text, because a program reads it.
    #[error(
        "This is the ops listener, which accepts no events. Post events to the event listener: the setting ingress.listen has its address."
    )]
    EventListener,
    #[error(
        "This bridge knows no such mass change. A restart loses the counts of the brake, and each of several bridges knows only the mass changes that it counted: look at the console of the bridge that held the entries."
    )]
    UnknownMassChange,
    #[error("The bridge cannot render the page.")]
    Render(#[from] askama::Error),
    #[error(transparent)]
    Failed(AdminProblem),
}

impl<E: Into<AdminProblem>> From<E> for ConsoleProblem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[derive(Template)]
#[template(path = "problem.html", config = "src/console/askama.toml")]
struct ProblemPage {
    frame: Frame,
    title: &'static str,
    detail: String,
    /// The page to which the operator returns, and the text of the link.
    back: (String, &'static str),
}

impl ConsoleProblem {
    const fn title(&self) -> &'static str {
        match self {
            Self::Disabled => "Console disabled",
            Self::Busy => "Too many requests",
            Self::LoginRequired { .. } => "Log in",
            Self::OtherOrigin => "Form of another site",
            Self::OtherSession => "Form of another session",
            Self::NothingChosen { .. } => "No entry chosen",
            Self::NotFound | Self::EventListener => "Page not found",
            Self::FormOnly => "No entry chosen",
            Self::UnknownMassChange => "Mass change not known",
            Self::Render(_) => "Page not rendered",
            Self::Failed(problem) => problem.title(),
        }
    }

    /// Returns what a page says. A text of the admin API begins with a lower-case letter and has no full stop.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Failed(problem) => format!("{}.", capitalized(&problem.to_string())),
            Self::Disabled
            | Self::Busy
            | Self::LoginRequired { .. }
            | Self::OtherOrigin
            | Self::OtherSession
            | Self::NothingChosen { .. }
            | Self::NotFound
            | Self::FormOnly
            | Self::EventListener
            | Self::UnknownMassChange
            | Self::Render(_) => self.to_string(),
        }
    }
}

impl ResponseError for ConsoleProblem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::LoginRequired { .. } => StatusCode::SEE_OTHER,
            Self::Disabled | Self::OtherOrigin | Self::OtherSession => StatusCode::FORBIDDEN,
            Self::NothingChosen { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::FormOnly | Self::EventListener | Self::UnknownMassChange => {
                StatusCode::NOT_FOUND
            }
            Self::Render(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Failed(problem) => problem.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::LoginRequired { target, ended } = self {
            let target = target.as_deref().filter(|target| *target != "/");
            let next = target.map(|target| utf8_percent_encode(target, NON_ALPHANUMERIC));
            let next = next.map(|next| format!("next={next}"));
            let ended = ended.map(|ended| format!("ended={}", ended.as_str()));
            let query: Vec<String> = ended.into_iter().chain(next).collect();
            let query = match query.as_slice() {
                [] => String::new(),
                pairs => format!("?{}", pairs.join("&")),
            };
            return HttpResponse::SeeOther()
                .insert_header((LOCATION, format!("/login{query}")))
                .finish();
        }
        if matches!(self, Self::EventListener) {
            return HttpResponse::NotFound()
                .content_type(ContentType::plaintext())
                .body(format!("{self}\n"));
        }
        self.page(Frame::plain())
    }
}

impl ConsoleProblem {
    /// Returns whether the problem is a page that a logged-in operator reads.
    pub(super) const fn is_page(&self) -> bool {
        !matches!(self, Self::LoginRequired { .. } | Self::EventListener)
    }

    /// Returns the page in this frame.
    pub(super) fn page(&self, frame: Frame) -> HttpResponse {
        let page = ProblemPage {
            frame,
            title: self.title(),
            detail: self.detail(),
            back: if let Self::NothingChosen { back } = self {
                (back.clone(), "Back to the list")
            } else if matches!(self, Self::FormOnly) {
                ("/entries".to_owned(), "Back to the list")
            } else {
                ("/".to_owned(), "Go to the overview")
            },
        };
        let mut answer = HttpResponse::build(self.status_code());
        if matches!(self, Self::Busy) {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        page.render().map_or_else(
            |_error| HttpResponse::InternalServerError().finish(),
            |text| html(&mut answer, text),
        )
    }
}
