//! The explanations of the messages that the bridge sends and prints: each has its cause and its remedy.
//!
//! The page `config/REFERENCE.md` shows these explanations and all bounds of the code. The test `tests/it/reference.rs`
//! writes the page, and fails if a message of the code has no explanation here, or if an explanation here has no message in
//! the code.

mod connections;
mod denied;
mod notation;
mod problems;
mod reasons;
mod review;
mod rules;
mod settings;
mod sources;
mod store;

pub use connections::CONNECTIONS;
pub use denied::DENIED;
pub use notation::NOTATION;
pub use problems::{ADMIN_PROBLEMS, PROBLEMS};
pub use reasons::{CAUSES, DENIALS, IGNORED, PARKED};
pub use review::REVIEW;
pub use rules::{JSON_RULES, RULES};
pub use settings::SETTINGS;
pub use sources::SOURCES;
pub use store::STORE;

/// The page `config/REFERENCE.md`.
pub const PAGE: &str = include_str!("../config/REFERENCE.md");

/// The explanation of one message, or of several messages with the same cause.
#[derive(Clone, Copy, Debug)]
pub struct MessageExplanation {
    /// The names or the texts of the messages. In a text, `…` stands for a part that differs in each message.
    pub texts: &'static [&'static str],
    pub cause: &'static str,
    pub remedy: &'static str,
}

const fn row(
    texts: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
) -> MessageExplanation {
    MessageExplanation {
        texts,
        cause,
        remedy,
    }
}

/// Returns the rows of the page that contain a text, each below the title of its section. Upper and lower case are equal.
pub fn find(text: &str) -> String {
    let text = text.to_lowercase();
    let mut found = String::new();
    let mut title = "";
    for line in PAGE.lines() {
        if line.starts_with("## ") {
            title = line;
        } else if line.starts_with("| ") && line.to_lowercase().contains(&text) {
            if !title.is_empty() {
                found.push_str(title);
                found.push('\n');
                title = "";
            }
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}
