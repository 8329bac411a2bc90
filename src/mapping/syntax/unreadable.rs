//! The errors of jaq's lexer, and notation that jaq reads in another way than its author means.

use jaq_core::load::lex::{Expect, StrPart, Tok, Token};

use super::{ExpressionError, foreign_advice, index_before, offset, quoted_name};

/// The notation of other languages for a second value. jq reads it as two question marks of a path.
const NO_SECOND_VALUE: &str = "write `//` instead of `??`, such as .a // .b";

/// Returns the errors of the lexer. One wrong character breaks several rules of the lexer at the same position, but one
/// error is enough.
pub(super) fn errors<'c>(
    code: &'c str,
    mut found: Vec<(Expect<&'c str>, &'c str)>,
) -> Vec<ExpressionError> {
    let is_interpolation = |open: &str| {
        let before = offset(code, open).and_then(|start| code.get(..start));
        open == "(" && before.is_some_and(|before| before.ends_with('\\'))
    };
    // The quote after an open `\(` begins another text for the lexer, so the open text is no cause.
    let interpolation = found.iter().find_map(|(expected, rest)| {
        let is_open = |open: &&str| rest.is_empty() && is_interpolation(open);
        opened(expected).filter(is_open)
    });
    if let Some(open) = interpolation {
        found.retain(|(_, rest)| !rest.is_empty());
        let reason = "the `\\(` here has no `)`".to_owned();
        let mut errors = errors(code, found);
        errors.push(ExpressionError::at(code, open, reason));
        return errors;
    }
    found.dedup_by_key(|(_, rest)| rest.len());
    let error = |(expected, rest): (Expect<&'c str>, &'c str)| {
        let is_end = rest.is_empty() || rest.starts_with([')', ']', '}']);
        match opened(&expected).filter(|_| is_end) {
            Some(open) => ExpressionError::at(code, open, unclosed(open)),
            None => ExpressionError::at(code, rest, unreadable(code, expected.as_str(), rest)),
        }
    };
    found.into_iter().map(error).collect()
}

/// Returns the bracket or the quote whose end the lexer expected.
const fn opened<'c>(expected: &Expect<&'c str>) -> Option<&'c str> {
    if let Expect::Delim(open) = expected {
        return Some(open);
    }
    None
}

fn unclosed(open: &str) -> String {
    let close = match open {
        "(" => ")",
        "[" => "]",
        "{" => "}",
        _quote => return "the text that begins here has no closing double quote".to_owned(),
    };
    format!("the `{open}` here has no `{close}`")
}

/// Returns the place and the reason of two question marks, at any depth of the expression.
pub(super) fn misread<'c>(tokens: &[Token<&'c str>]) -> Option<(&'c str, &'static str)> {
    let is_question = |token: &Token<&str>| matches!(token, Token("?", Tok::Sym));
    let pair = tokens
        .windows(2)
        .find(|pair| pair.iter().all(is_question))
        .and_then(|pair| pair.first());
    if let Some(Token(slice, _)) = pair {
        return Some((slice, NO_SECOND_VALUE));
    }
    tokens.iter().find_map(|Token(_, token)| match token {
        Tok::Block(inner) => misread(inner),
        Tok::Str(parts) => parts.iter().find_map(|part| match part {
            StrPart::Term(inner) => misread(std::slice::from_ref(inner)),
            StrPart::Str(_) | StrPart::Char(_) => None,
        }),
        Tok::Word | Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => None,
    })
}

/// Explains why jaq's lexer refuses a character. The most common mistakes get an error message of their own.
fn unreadable(code: &str, expected: &str, found: &str) -> String {
    let first = found.chars().next();
    if let Some(advice) = quoted_name(code, found) {
        return advice;
    }
    let advice = match first {
        Some('\'' | '‘' | '’' | '“' | '”') => {
            Some("a text is written in plain double quotes, as in e164(\"US\")")
        }
        Some('&') if found.starts_with("&&") => Some("write `and` instead of `&&`"),
        Some('&') => Some(
            "there is no `&`: write `and` between two conditions, and a text such as \"\\(.a) \\(.b)\" to join two texts",
        ),
        Some('.') if code.trim_start().starts_with("$.") => {
            Some("a path begins with a dot, such as .email, without `$`")
        }
        Some('\u{ff01}'..='\u{ff5e}' | '\u{3002}') => {
            Some("the character is a full-width one: write the plain character of ASCII")
        }
        Some(
            sign @ ('\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'),
        ) => {
            return format!(
                "an invisible character (U+{:04X}) stands here: delete it",
                u32::from(sign)
            );
        }
        Some(_) | None if expected == "digit" => {
            return index_before(code, found)
                .unwrap_or_else(|| format!("expected {expected} here"));
        }
        Some('`') => Some("an expression has no back quotes"),
        Some(')' | ']' | '}') if expected == "token" => {
            Some("a bracket closes here that no bracket opens")
        }
        Some(_) | None => None,
    };
    let advice = advice.map(str::to_owned);
    let advice = advice.or_else(|| foreign_advice(code, found, expected));
    advice.unwrap_or_else(|| match first {
        Some(letter) if !letter.is_ascii() && letter.is_alphabetic() => format!(
            "a name with a letter other than A to Z (here U+{:04X}) stands in double quotes, such as .\"name\"",
            u32::from(letter)
        ),
        Some(_) | None => format!("expected {expected} here"),
    })
}
