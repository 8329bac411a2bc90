//! The function `header("name")`, which reads a header of the request. Only the expressions in `[body]` and the condition
//! `when` can read headers.

use jaq_core::load::parse::Term;

use super::syntax::constant;

/// The name of the function.
pub(super) const NAME: &str = "header";
/// The notation of a call, for error messages.
const USAGE: &str = "`header` is written header(\"x-topic\")";
const COLON: &str = "`header` is written header(\"x-topic\"), without the colon after the name";

/// Returns the error of a call with wrong arguments.
pub(super) fn usage(arguments: &[Term<&str>]) -> String {
    let name = match arguments {
        [name] => constant(name).unwrap_or_default(),
        [] | [_, ..] => String::new(),
    };
    match name.trim().ends_with(':') {
        true => COLON.to_owned(),
        false => USAGE.to_owned(),
    }
}

/// Returns the header that a call `header(…)` reads, in lower case. Returns `None` if the arguments of the call are
/// wrong.
pub(super) fn name_of(arguments: &[Term<&str>]) -> Option<String> {
    let [name] = arguments else { return None };
    let name = constant(name)?.to_ascii_lowercase();
    // RFC 9110, section 5.6.2: a header name is a token.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_token)).then_some(name)
}

/// Returns the place of a header, for the list of the places that an expression reads.
pub(super) fn place(name: &str) -> String {
    format!("header(\"{name}\")")
}
