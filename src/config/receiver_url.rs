//! The URL of a server that receives notices or traces.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::base_url::BaseUrl;

/// The maximum length of `notices.url` and of `traces.endpoint`.
const URL_CHARS_MAX: usize = 2048;

/// The URL of a receiver. Its path and its query can be secret, because some receivers know their senders only by the URL.
#[derive(Clone)]
pub struct ReceiverUrl {
    origin: BaseUrl,
    target: SecretString,
}

/// The debug output shows only the host.
impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReceiverUrl")
            .field(&self.origin.host())
            .finish()
    }
}

impl ReceiverUrl {
    /// Parses a URL. The rules for the scheme and the host are those of `imprint.base_url`.
    pub(super) fn parse(raw: &str) -> Result<Self, String> {
        if raw.len() > URL_CHARS_MAX {
            return Err(format!("must have at most {URL_CHARS_MAX} characters"));
        }
        let is_in_url = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b);
        if !raw.bytes().all(is_in_url) {
            return Err(
                "must be a URL without spaces, a fragment and special characters".to_owned(),
            );
        }
        let authority = raw.find("://").map_or(0, |at| at + 3);
        let (_, rest) = raw.split_at_checked(authority).unwrap_or_default();
        let end = rest.find(['/', '?']).map_or(raw.len(), |at| authority + at);
        let (origin, target) = raw.split_at_checked(end).unwrap_or((raw, ""));
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Ok(Self {
            origin: BaseUrl::parse(origin)?,
            target: SecretString::from(target),
        })
    }

    /// Returns the host, for messages.
    pub fn host(&self) -> String {
        self.origin.host()
    }

    /// Returns the whole URL. No message shows it.
    pub fn expose(&self) -> String {
        format!("{}{}", self.origin.as_str(), self.target.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1037
    #[test]
    fn the_url_of_a_receiver_has_tls_or_stays_on_this_machine() {
        for (raw, expected) in [
            (
                "https://Hooks.example/a/b?c=d",
                Some("https://hooks.example/a/b?c=d"),
            ),
            (
                "https://hooks.example:8443",
                Some("https://hooks.example:8443/"),
            ),
            (
                "https://hooks.example?c=d",
                Some("https://hooks.example/?c=d"),
            ),
            ("http://127.0.0.1:9000/x", Some("http://127.0.0.1:9000/x")),
            ("http://localhost/x", Some("http://localhost/x")),
            ("http://hooks.example/x", None),
            ("https://10.0.0.1/x", None),
            ("https://169.254.169.254/x", None),
            ("https://[fd00::1]/x", None),
            ("https://user:canary@hooks.example/x", None),
            ("https://hooks.example/canary#x", None),
            ("https://hooks.example/a canary", None),
            ("hooks.example/canary", None),
            ("ftp://hooks.example/canary", None),
            ("https:///canary", None),
            ("", None),
        ] {
            let url = ReceiverUrl::parse(raw);
            let found = url.as_ref().map(ReceiverUrl::expose);
            assert_eq!(found.ok().as_deref(), expected, "{raw}");
            assert!(!format!("{url:?}").contains("canary"), "{url:?}");
        }
        let url = ReceiverUrl::parse("https://hooks.example/canary").unwrap();
        assert!(!format!("{url:?}").contains("canary"));
    }
}
