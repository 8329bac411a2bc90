//! The format of an email address.
//!
//! Imprint's contract says `format: email`. JSON Schema Validation 2020-12 (June 2022), section 7.3.1, defines this
//! format as the `Mailbox` of RFC 5321 (October 2008), section 4.1.2. As RFC 6531 (February 2012) allows, the address
//! can also contain letters and digits outside ASCII. The bridge accepts no other character outside ASCII: an invisible
//! one, such as U+200B, comes from copied text and belongs to no address.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::mapping::function::marks::is_invisible;

/// The maximum length of an email address that mail can be sent to (RFC 5321, section 4.5.3.1.3, erratum 1690).
pub(super) const ADDRESS_BYTES_MAX: usize = 254;
/// The maximum length of the part before the `@` (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// The maximum length of a part of a domain (RFC 1035, November 1987, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// The characters other than letters and digits that `atext` allows (RFC 5322, October 2008, section 3.2.3).
const ATOM_MARKS: &str = "!#$%&'*+-/=?^_`{|}~";

/// Returns whether a text is one email address, without a display name.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    text.len() <= ADDRESS_BYTES_MAX
        && local.len() <= LOCAL_BYTES_MAX
        && (is_dot_string(local) || is_quoted_string(local))
        && (is_domain(domain) || is_address_literal(domain))
}

/// Names the flaw of a text that is almost an email address.
pub(super) fn flaw(text: &str) -> Option<&'static str> {
    let trimmed = text.trim();
    if trimmed.len() < text.len() && is_email(trimmed) {
        return Some(
            "The email address has white space before or after it; the function trim removes it.",
        );
    }
    if trimmed.starts_with("mailto:") && is_email(trimmed.trim_start_matches("mailto:")) {
        return Some(
            "The text is a link with mailto: before the email address; write if .email[0:7] == \"mailto:\" then .email[7:] else .email end, with the path of the value.",
        );
    }
    let mut parts = trimmed
        .split([',', ';'])
        .map(str::trim)
        .filter(|part| !part.is_empty());
    if trimmed.contains([',', ';']) && parts.clone().next().is_some() && parts.all(is_email) {
        return Some(
            "The text has a comma or a semicolon beside its email address, and Imprint takes one address; write .email | split(\",\") | first with the path of the value and with its separator.",
        );
    }
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    if visible.len() < text.len() && is_email(&visible) {
        return Some(
            "The email address has an invisible character, such as U+200B from copied text. The source must send it without this character.",
        );
    }
    let (_, domain) = text.rsplit_once('@')?;
    let lacks_only_a_dot = !domain.contains('.') && is_email(&format!("{text}.a"));
    lacks_only_a_dot.then_some(
        "The domain of the email address has no dot. An email address has the form name@domain, such as ann@example.com.",
    )
}

fn is_dot_string(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| c.is_alphanumeric() || ATOM_MARKS.contains(c))
    };
    local.split('.').all(is_atom)
}

fn is_quoted_string(local: &str) -> bool {
    let inner = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return false;
    };
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        let fits = match character {
            '\\' => characters.next().is_some_and(is_printable),
            '"' => false,
            other => is_printable(other) || other.is_alphanumeric(),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Returns whether a text is a domain with at least two parts. RFC 5321, section 2.3.5, requires the full name of a
/// domain.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

fn is_address_literal(domain: &str) -> bool {
    let inner = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|address| match address.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => address.parse::<Ipv4Addr>().is_ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_mailbox() {
        let longest_local = format!("{}@b.c", "a".repeat(LOCAL_BYTES_MAX));
        let labels = "a23456789.".repeat(25);
        let longest = format!("ab@{labels}c");
        assert_eq!(longest.len(), ADDRESS_BYTES_MAX);
        for text in [
            "a@b.c",
            "a+b_c@mail.example.com",
            "o'neil.x/y=z@example.com",
            "ä@b.de",
            "jörg@müller.example",
            "用户@例子.广告",
            "1@2.3",
            "\"ann lee\"@example.com",
            "\"a@b\"@example.com",
            "\"a\\\"b\\\\\"@example.com",
            "\"\"@example.com",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "a@b-c.d",
            &longest_local,
            &longest,
        ] {
            assert!(is_email(text), "{text}");
        }
    }

    /// FAULTS N324
    #[test]
    fn anything_else_is_no_address() {
        let long_local = format!("a{}@b.c", "a".repeat(LOCAL_BYTES_MAX));
        let long_label = format!("a@{}.c", "a".repeat(LABEL_BYTES_MAX + 1));
        let long = format!("abc@{}c", "a23456789.".repeat(25));
        for text in [
            "",
            "@",
            "a@b",
            "@b.c",
            "a@",
            "a.b.c",
            "a@b@c.d",
            "a@.c",
            "a@b.",
            "a@b..c",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a b@c.d",
            "a @b.c",
            " a@b.c",
            "a@b.c ",
            "a@b.c,",
            "a@b.c;",
            "a@b.c,d@e.f",
            "a,b@c.d",
            "a;b@c.d",
            "a@b.c\u{200b}",
            "\u{feff}a@b.c",
            "a\u{ad}b@c.d",
            "a@b\u{200d}.c",
            "\u{202a}a@b.c\u{202c}",
            "a\u{a0}b@c.d",
            "a@b.c，",
            "a＠b.c",
            "mailto:a@b.c",
            "<a@b.c>",
            "Ann <a@b.c>",
            "a@b_c.d",
            "a@-b.c",
            "a@b-.c",
            "a@b.c/d",
            "a(x)@b.c",
            "\"ann@example.com",
            "\"a\"b\"@example.com",
            "\"a\\\"@example.com",
            "\"a\u{200b}\"@example.com",
            "\"a\"b@example.com",
            "a@[192.0.2]",
            "a@[IPv6:1]",
            "a@192.0.2.1]",
            &long_local,
            &long_label,
            &long,
        ] {
            assert!(!is_email(text), "{text}");
        }
    }
}
