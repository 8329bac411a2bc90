//! The settings about the request headers that the bridge reads: a header that decides something must be signed, or the
//! source file must list it in `unsigned_headers`.

use std::collections::BTreeSet;

use super::super::reader::{Raw, Reader};
use super::Auth;
use crate::event::cloudevents;
use crate::ingress::PRIORITY;
use crate::ingress::auth::covers_header;
use crate::spelling;

/// The headers that contain a secret or a session. An expression must not read them, because the bridge stores the
/// headers that `when` reads, and shows ids and types.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The places of the setting in a source file.
const PLACES: [&[&str]; 2] = [LIST, &["auth", "unsigned_headers"]];
const LIST: &[&str] = &["unsigned_headers"];

/// Reads the headers that the bridge believes although the signature does not cover them.
///
/// For a source without signatures, the setting `unsigned_headers` has no effect: a token covers the whole request.
pub(super) fn take_unsigned(reader: &mut Reader) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for place in PLACES {
        names.extend(
            reader
                .take_optional(place, lower_case)
                .into_iter()
                .flatten(),
        );
    }
    names
}

/// Reports the headers that the source must not read, must sign or must list, and the listed headers that have no
/// effect. Returns the listed headers. `read` has the headers that the expressions of the source read.
pub(super) fn checked_unsigned(
    reader: &mut Reader,
    auth: &Auth,
    (listed, read): (BTreeSet<String>, &BTreeSet<String>),
) -> BTreeSet<String> {
    for name in read {
        if SECRET_HEADERS.contains(&name.as_str()) || secret_header(auth).as_ref() == Some(name) {
            let reason = format!(
                "an expression must not read header(\"{name}\"), because this header contains a secret"
            );
            reader.error(&[], reason);
        }
    }
    for name in &listed {
        let is_attribute = name != "ce-" && cloudevents::is_attribute(name);
        if name != PRIORITY && !is_attribute && !read.contains(name) {
            let suggestion = spelling::suggestion(name, read.iter().map(String::as_str));
            let reason = format!(
                "must name headers such as \"ce-time\" or headers that an expression reads: no expression reads {name}{suggestion}"
            );
            reader.error(LIST, reason);
        }
    }
    let covers = |name: &str| match auth {
        Auth::None | Auth::Token(..) => true,
        Auth::StandardWebhooks(_) => covers_header(name),
        Auth::Hmac(scheme, _) => scheme.covers_header(name),
    };
    let unread = |listed: &&String| !read.contains(*listed);
    let unread: Vec<&str> = listed.iter().filter(unread).map(String::as_str).collect();
    for name in read.iter().filter(|name| !listed.contains(*name)) {
        // A misspelt name in the list has its error already.
        if !covers(name) && spelling::nearest(name, unread.iter().copied()).is_none() {
            let reason = format!(
                "must list {name}: an expression reads this header, and the signature does not cover it. If the sender can sign the header, add {{header:{name}}} to auth.signed instead"
            );
            reader.error(LIST, reason);
        }
        if let Auth::Hmac(scheme, _) = auth
            && let Some(reason) = scheme.header_flaw(name)
        {
            reader.error(&["auth", "signed"], reason);
        }
    }
    match auth {
        Auth::None | Auth::Token(..) => BTreeSet::new(),
        Auth::StandardWebhooks(_) | Auth::Hmac(..) => listed,
    }
}

/// Returns a warning about each header whose name has the form in which CGI, PHP and Ruby show a header to a program, such as
/// `HTTP_X_SIGNATURE`. `read` has the headers that the expressions of the source read.
pub(super) fn of_programs(auth: &Auth, read: &BTreeSet<String>) -> Vec<String> {
    let names = auth.headers().into_iter().chain(read.iter().cloned());
    let warnings = names.filter_map(|name| {
        let shown = name.to_ascii_uppercase();
        let sent = shown.strip_prefix("HTTP_")?.replace('_', "-");
        let sent = sent.to_ascii_lowercase();
        Some(format!(
            "no request has a header {name}, which is the name of the header {sent} inside a program: write {sent}"
        ))
    });
    warnings.collect()
}

/// Returns the header that contains the secret of the source.
fn secret_header(auth: &Auth) -> Option<String> {
    match auth {
        Auth::Token(scheme, _) => Some(scheme.header().as_str().to_owned()),
        Auth::None | Auth::StandardWebhooks(_) | Auth::Hmac(..) => None,
    }
}

fn lower_case(raw: Raw) -> Result<Vec<String>, String> {
    let names = raw.texts()?;
    let is_lower_case = |name: &String| {
        !name.is_empty()
            && !name
                .bytes()
                .any(|byte| byte.is_ascii_uppercase() || byte == b' ')
    };
    if names.iter().all(is_lower_case) {
        Ok(names)
    } else {
        Err("must name headers such as \"ce-time\", in lower case".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use config::{File, FileFormat, Value, ValueKind};

    use super::super::SecretFiles;
    use super::*;
    use crate::ingress::auth::TokenScheme;

    /// Reads the settings in `text`, and returns the listed headers and the errors.
    fn read(text: &str, auth: &Auth, read: &[&str]) -> (Vec<String>, Vec<String>) {
        let table = config::Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .build()
            .unwrap()
            .try_deserialize()
            .unwrap();
        let mut reader = Reader::new("file", Value::new(None, ValueKind::Table(table)));
        let listed = take_unsigned(&mut reader);
        let read = read.iter().map(|name| (*name).to_owned()).collect();
        let listed = checked_unsigned(&mut reader, auth, (listed, &read));
        let errors = reader.finish().iter().map(ToString::to_string).collect();
        (listed.into_iter().collect(), errors)
    }

    #[test]
    fn only_a_signature_can_leave_headers_uncovered() {
        let signed = Auth::StandardWebhooks(SecretFiles::default());
        for (list, headers, errors) in [
            ("[]", vec![], 0),
            ("[\"ce-time\", \"ce-id\"]", vec!["ce-id", "ce-time"], 0),
            ("[\"priority\"]", vec!["priority"], 0),
            ("[\"CE-Time\"]", vec![], 1),
            ("[\"x-topic\"]", vec!["x-topic"], 1),
            ("[\"ce-\"]", vec!["ce-"], 1),
        ] {
            let headers: Vec<_> = headers.into_iter().map(str::to_owned).collect();
            for table in ["", "[auth]\n"] {
                let text = format!("{table}unsigned_headers = {list}\n");
                let found = read(&text, &signed, &[]);
                assert_eq!(
                    (found.0, found.1.len()),
                    (headers.clone(), errors),
                    "{list}"
                );
            }
        }
        let bearer = Auth::Token(TokenScheme::Bearer, SecretFiles::default());
        for auth in [Auth::None, bearer] {
            let text = "[auth]\nunsigned_headers = [\"ce-time\"]\n";
            let (listed, errors) = read(text, &auth, &[]);
            assert_eq!((listed.len(), errors.len()), (0, 0), "{auth:?}");
            let text = "unsigned_headers = [\"x-topic\"]\n";
            assert_eq!(
                read(text, &auth, &["x-topic"]),
                (vec![], vec![]),
                "{auth:?}"
            );
        }
    }

    /// FAULTS N349: a header that decides something must be signed or listed.
    #[test]
    fn a_header_that_an_expression_reads_is_signed_or_listed() {
        let webhooks = Auth::StandardWebhooks(SecretFiles::default());
        let (_, errors) = read("", &webhooks, &["x-topic", "webhook-id", "svix-id"]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("must list x-topic"), "{errors:?}");
        let listed = read("unsigned_headers = [\"x-topic\"]", &webhooks, &["x-topic"]);
        assert_eq!(listed, (vec!["x-topic".to_owned()], vec![]));
        let own = TokenScheme::Header {
            name: "x-key".parse().unwrap(),
            prefix: String::new(),
        };
        let own = Auth::Token(own, SecretFiles::default());
        for name in ["x-key", "authorization", "cookie"] {
            let (_, errors) = read("", &own, &[name]);
            assert_eq!(errors.len(), 1, "{name}");
            assert!(errors[0].contains("contains a secret"), "{errors:?}");
        }
    }
}
