//! The texts of a source file: string literals that are messages for people.

/// Returns the string literals of a file that have at least two words, without tests and comments. `…` stands for each
/// inserted value.
pub(super) fn messages(file: &str) -> Vec<String> {
    let code = file.split("#[cfg(test)]\nmod tests").next().unwrap();
    let texts = strings(code).into_iter().map(|text| shown(&text));
    texts
        .filter(|text| is_message(text))
        .map(|text| text.trim().to_owned())
        .collect()
}

fn is_message(text: &str) -> bool {
    let is_word = |word: &&str| word.chars().filter(|letter| letter.is_alphabetic()).count() >= 2;
    let is_code = text.contains("def ") || text.contains("__");
    (!is_code || text.contains("must ")) && text.split_whitespace().filter(is_word).count() >= 2
}

/// Returns the contents of all string literals.
fn strings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(length) = character(rest) {
            rest = &rest[length..];
        } else if first == '"' {
            let (text, after) = string(&rest[1..]);
            found.push(text);
            rest = after;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Returns the content of the string literal that begins before `rest`, and the code after it.
fn string(rest: &str) -> (String, &str) {
    let mut text = String::new();
    let mut left = rest.chars();
    while let Some(letter) = left.next() {
        match letter {
            '"' => break,
            '\\' => match left.next() {
                // The literal goes on at the first letter of the next line.
                Some('\n') => left = left.as_str().trim_start().chars(),
                Some('n') => text.push_str("\\n"),
                Some(escaped) => text.push(escaped),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, left.as_str())
}

/// Returns the length of the character literal at the start of `rest`.
fn character(rest: &str) -> Option<usize> {
    let content = rest.strip_prefix('\'')?;
    let first = content.chars().next()?;
    let length = if first == '\\' {
        1 + content[1..].chars().next()?.len_utf8()
    } else {
        first.len_utf8()
    };
    content[length..].starts_with('\'').then_some(length + 2)
}

/// Replaces each `{…}` of a format string by `…`, and each double brace by one brace.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '{' | '}' if after.starts_with(first) => {
                shown.push(first);
                &after[1..]
            }
            '{' => {
                shown.push('…');
                after.split_once('}').map_or("", |(_, after)| after)
            }
            _ => {
                shown.push(first);
                after
            }
        };
    }
    shown
}

#[test]
fn the_texts_of_code_are_found() {
    let code = "// a \"comment here\"\nlet x = '\"'; f(\"one {name} two\\n {{x}} \\\n     three\", \"single\");\n\
                #[cfg(test)]\nmod tests { g(\"not this one\") }";
    assert_eq!(messages(code), ["one … two\\n {x} three"]);
    assert_eq!(shown("{{{a}{b}}}"), "{……}");
}
