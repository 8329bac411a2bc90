//! The parts that all pages have: the frame with the navigation, and the answer.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;

use super::problem::ConsoleProblem;
use super::sentence::{Sentence, Tone};
use super::visitor::Visitor;
use super::words::TimeText;
use super::{Console, assets};
use crate::time::Timestamp;

pub(super) type PageResult = Result<HttpResponse, ConsoleProblem>;

/// The pages in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Problems,
    Entries,
    Customers,
    Destination,
    Sources,
    Audit,
}

impl Section {
    const ALL: [Self; 7] = [
        Self::Overview,
        Self::Problems,
        Self::Entries,
        Self::Customers,
        Self::Destination,
        Self::Sources,
        Self::Audit,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Problems => "Problems",
            Self::Entries => "Entries",
            Self::Customers => "Customers",
            Self::Destination => "Destination",
            Self::Sources => "Sources",
            Self::Audit => "Audit log",
        }
    }

    /// Returns the section to which a path belongs.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let begin = path.split('/').nth(1).unwrap_or_default();
        let mut sections = Self::ALL.into_iter();
        sections.find(|section| section.path().trim_start_matches('/') == begin)
    }

    fn link(self, current: Option<Self>) -> NavigationLink {
        NavigationLink {
            title: self.title(),
            path: self.path(),
            is_current: Some(self) == current,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Problems => "/problems",
            Self::Entries => "/entries",
            Self::Customers => "/customers",
            Self::Destination => "/destination",
            Self::Sources => "/sources",
            Self::Audit => "/audit",
        }
    }
}

/// The part of a page around its content.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) style: &'static str,
    pub(super) icon: &'static str,
    /// The logged-in operator. `None` hides the navigation.
    pub(super) visitor: Option<FrameVisitor>,
}

/// The part of the frame that only a logged-in operator sees.
#[derive(Clone, Debug)]
pub(super) struct FrameVisitor {
    pub(super) operator: String,
    pub(super) form_token: String,
    pub(super) destination: String,
    /// The name of this process.
    pub(super) instance: String,
    pub(super) links: Vec<NavigationLink>,
    pub(super) now: TimeText,
    /// The state of the bridge for the title of the page. `None` if nothing is wrong.
    pub(super) state_name: Option<String>,
    /// The state of the bridge in one line. `None` if nothing is wrong, or if the page has the whole sentence.
    pub(super) state_line: Option<StateLine>,
}

/// The state of the bridge in one line.
#[derive(Clone, Debug)]
pub(super) struct StateLine {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// A link in the navigation.
#[derive(Clone, Copy, Debug)]
pub(super) struct NavigationLink {
    pub(super) title: &'static str,
    pub(super) path: &'static str,
    pub(super) is_current: bool,
}

impl Frame {
    /// Returns a frame without navigation.
    pub(super) fn plain() -> Self {
        Self {
            style: assets::style_path(),
            icon: assets::icon_path(),
            visitor: None,
        }
    }

    /// Returns the token that every form of the session must have.
    pub(super) fn form_token(&self) -> &str {
        let visitor = self.visitor.as_ref();
        visitor.map_or("", |visitor| &visitor.form_token)
    }

    /// Returns the frame of a page of a section. An error can belong to no section.
    pub(super) fn new(
        visitor: &Visitor,
        console: &Console,
        section: impl Into<Option<Section>>,
        now: Timestamp,
    ) -> Self {
        let section = section.into();
        let visitor = FrameVisitor {
            operator: visitor.operator().name().to_owned(),
            form_token: visitor.session.form_token.clone(),
            destination: console.destination.clone(),
            instance: console.instance.clone(),
            links: Section::ALL.map(|other| other.link(section)).to_vec(),
            now: TimeText::of(now, now),
            state_name: None,
            state_line: None,
        };
        Self {
            visitor: Some(visitor),
            ..Self::plain()
        }
    }

    /// Adds the state of the bridge to the title of the page, so that a tab in the background shows it.
    #[must_use]
    pub(super) fn entitled(mut self, sentence: &Sentence) -> Self {
        if let Some(visitor) = self.visitor.as_mut() {
            let is_wrong = sentence.tone > Tone::Good;
            visitor.state_name = is_wrong.then(|| sentence.name.clone());
        }
        self
    }

    /// Adds the state of the bridge to the title, and in one line at the top of the page.
    #[must_use]
    pub(super) fn with_state_line(self, sentence: &Sentence) -> Self {
        let mut frame = self.entitled(sentence);
        if let Some(visitor) = frame.visitor.as_mut() {
            visitor.state_line = (sentence.tone > Tone::Notice).then(|| StateLine {
                tone: sentence.tone,
                text: sentence.headline.clone(),
            });
        }
        frame
    }
}

/// Renders a page as the answer.
pub(super) fn page(template: &impl Template) -> PageResult {
    Ok(html(&mut HttpResponse::Ok(), template.render()?))
}

pub(super) fn html(answer: &mut HttpResponseBuilder, text: String) -> HttpResponse {
    answer.content_type(ContentType::html()).body(text)
}
