//! The addresses on which the bridge and the sandbox listen.

use std::net::{IpAddr, SocketAddr};

/// The form of an address, in errors.
pub(crate) const FORM: &str = "an IP address and a port, such as 127.0.0.1:8080";

/// Parses an IP address with a port.
///
/// # Errors
/// Returns the expected form, and the probable mistake.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_unreadable| format!("must be {FORM}{}", mistake(text)))
}

/// Returns the end of the error that names the mistake.
fn mistake(text: &str) -> &'static str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_number(text) {
        return "; the address before the port is missing";
    }
    if is_address(text) || text == "localhost" {
        return "; the port is missing";
    }
    match text.rsplit_once(':') {
        Some(("localhost", _)) => "; write 127.0.0.1 instead of localhost",
        Some(("" | "*", _)) => "; write 0.0.0.0 before the port for all addresses of the machine",
        Some((host, port)) if is_address(host) && is_number(port) => "; a port is at most 65535",
        Some(_) | None if text.contains("://") => "; write no scheme such as http://",
        Some(_) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1221
    #[test]
    fn the_error_names_the_part_that_is_wrong() {
        for (text, expected) in [
            ("127.0.0.1:70000", "a port is at most 65535"),
            ("[::1]:70000", "a port is at most 65535"),
            ("localhost:8080", "instead of localhost"),
            (
                ":8080",
                "write 0.0.0.0 before the port for all addresses of the machine",
            ),
            ("8080", "the address before the port is missing"),
            ("127.0.0.1", "the port is missing"),
            ("http://127.0.0.1:8080", "write no scheme such as http://"),
            ("bridge.internal:8080", "such as 127.0.0.1:8080"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.contains(FORM) && error.ends_with(expected),
                "{text}: {error}"
            );
        }
        assert!(parse(" [::1]:8080 ").is_ok());
    }
}
