//! Reads the pages of the guide: sections, code blocks, code spans and tables.

use std::fs;
use std::path::Path;

pub(super) const README: &str = "config/sources/README.md";
pub(super) const RECIPES: &str = "config/sources/RECIPES.md";
pub(super) const REFERENCE: &str = "config/sources/REFERENCE.md";

/// A code block. The info string, such as `json event`, says what the block contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) text: String,
}

/// A section: a heading with the lines up to the next heading.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Returns the sections of a page. Lines inside code blocks are no headings.
pub(super) fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut is_code = false;
    for line in read(page).lines() {
        is_code ^= line.starts_with("```");
        let title = line.trim_start_matches('#').strip_prefix(' ');
        match title.filter(|_| !is_code && line.starts_with('#')) {
            Some(title) => sections.push(Section {
                title: title.to_owned(),
                lines: Vec::new(),
            }),
            None => sections.last_mut().unwrap().lines.push(line.to_owned()),
        }
    }
    assert!(!is_code, "{page}: a code block does not end");
    sections
}

/// Returns the section of a page with this title.
pub(super) fn section(page: &str, title: &str) -> Section {
    let mut sections = sections(page).into_iter();
    let found = sections.find(|section| section.title == title);
    found.unwrap_or_else(|| panic!("{page} has no section {title}"))
}

impl Section {
    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_code = false;
        for line in &self.lines {
            match line.strip_prefix("```") {
                Some(_) if is_code => is_code = false,
                Some(kind) => {
                    is_code = true;
                    let (kind, text) = (kind.to_owned(), String::new());
                    blocks.push(Block { kind, text });
                }
                None if is_code => {
                    let text = &mut blocks.last_mut().unwrap().text;
                    text.push_str(line);
                    text.push('\n');
                }
                None => {}
            }
        }
        blocks
    }

    /// Returns the texts of all blocks of this kind, one after the other.
    pub(super) fn text_of(&self, kind: &str) -> String {
        let blocks = self.blocks();
        let texts = blocks.iter().filter(|block| block.kind == kind);
        let text: String = texts.map(|block| block.text.as_str()).collect();
        assert!(!text.is_empty(), "{}: no block {kind}", self.title);
        text
    }

    /// Returns the text before the block of this kind, from the end of the block before.
    pub(super) fn introduction(&self, kind: &str) -> String {
        let is_block = |line: &String| line.strip_prefix("```") == Some(kind);
        let at = self.lines.iter().position(is_block).unwrap();
        let before = &self.lines[..at];
        let start = before.iter().rposition(|line| line.starts_with("```"));
        before[start.map_or(0, |start| start + 1)..].join("\n")
    }

    /// Returns the cells of the rows of all tables, without the heading of a table. A `\|` in a cell is a `|`.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let lines = self.lines.iter().filter(|line| line.starts_with("| "));
        for line in lines {
            let line = line.replace("\\|", "\u{1}");
            let cells = line.trim_matches('|').split(" | ");
            let cells = cells.map(|cell| cell.trim().replace('\u{1}', "|"));
            rows.push(cells.collect());
        }
        rows
    }
}

/// Returns the code spans of a text.
pub(super) fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the names that a text consists of: runs of letters, digits and underscores.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}
