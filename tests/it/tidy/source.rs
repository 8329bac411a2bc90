//! The source files in the form that the code rules check: without comments, string contents and test items.

use std::fs;
use std::path::{Path, PathBuf};

/// One production source file.
pub(super) struct Source {
    /// The path of the file below `src`, such as `dispatch/policy.rs`.
    pub(super) path: String,
    /// The code of the file with all line breaks, so that lines can be counted.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: without_test_items(&blanked(text)),
        }
    }

    /// Returns the room (top-level module) of the file, such as `dispatch`.
    pub(super) fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Returns the module path of the file, such as `["dispatch", "policy"]`. The path of `lib.rs` and `main.rs` is
    /// empty.
    pub(super) fn module(&self) -> Vec<&str> {
        match self.path.trim_end_matches(".rs") {
            "lib" | "main" => Vec::new(),
            path => path.split('/').collect(),
        }
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every source file below `src` that is not a test.
pub(super) fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let files = files_below(&folder);
    assert!(files.len() > 100, "only {} files below src", files.len());
    files
        .iter()
        .map(|file| (file.strip_prefix(&folder).unwrap().to_str().unwrap(), file))
        .filter(|(path, _)| !path.contains("/tests/") && !path.ends_with("/tests.rs"))
        .map(|(path, file)| Source::new(path, &fs::read_to_string(file).unwrap()))
        .collect()
}

/// Returns the path of every Rust file below a folder.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Removes comments, strings and character literals from Rust code, but keeps all line breaks.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let before = code.chars().next_back();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest, before) {
            length
        } else if next == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        let (skipped, after) = rest.split_at(length);
        code.extend(skipped.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    code
}

/// Returns the length of the raw string at the start of `rest`.
fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    let is_in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let content = raw[hashes..].strip_prefix('"').filter(|_| !is_in_word)?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end)? + end.len();
    Some(rest.len() - content.len() + length)
}

/// Returns the length of the string literal at the start of `rest`.
fn quoted(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of the character literal at the start of `rest`. A lifetime is not a character literal.
fn character(rest: &str) -> Option<usize> {
    let content = rest.strip_prefix('\'')?;
    let first = content.chars().next()?;
    let skipped = if first == '\\' { 2 } else { first.len_utf8() };
    let end = content.get(skipped..)?.find('\'')?;
    (first == '\\' || end == 0).then_some(1 + skipped + end + 1)
}

/// Removes every item with the attribute `#[cfg(test)]` from Rust code.
fn without_test_items(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        rest = &item[item_length(item)..];
    }
    kept.push_str(rest);
    kept
}

/// Returns the position directly after the item that begins at `start`.
pub(super) fn item_end(code: &str, start: usize) -> usize {
    start + item_length(&code[start..])
}

/// Returns the length of an item, up to the item's semicolon or the brace that closes the item's body.
fn item_length(item: &str) -> usize {
    let (mut depth, mut brackets) = (0_usize, 0_usize);
    for (at, c) in item.char_indices() {
        match c {
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

#[test]
fn comments_strings_and_test_items_are_not_code() {
    let code = |text: &str| Source::new("a.rs", text).code;
    assert_eq!(code("a // b\nc /* d\n */ e"), "a \nc \n e");
    assert_eq!(code(r#"f("crate::x\" {", r"y", 'z', '\'')"#), "f(, , , )");
    assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    assert_eq!(code("r#\"{\"#; var"), "; var");
    assert_eq!(
        code("#[cfg(test)]\nmod tests;\nuse crate::x;"),
        "\nuse crate::x;"
    );
    assert_eq!(code("a\n#[cfg(test)]\nmod t { fn f() { } }\nb"), "a\n\nb");
}
