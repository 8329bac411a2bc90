//! The section `[notices]`: the webhook that gets the notices for operators.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::base_url::BaseUrl;
use super::reader::{Raw, Reader};
use super::{Profile, secret, secret_path};
use crate::ingress::auth::SigningKey;

/// The maximum length of `notices.instance`.
const INSTANCE_CHARS_MAX: usize = 64;
/// The maximum length of `notices.url`.
const URL_CHARS_MAX: usize = 2048;

const URL: [&str; 2] = ["notices", "url"];
const SECRET_FILE: [&str; 2] = ["notices", "secret_file"];

/// The settings of the notices. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct NoticeSettings {
    pub url: WebhookUrl,
    pub secret_file: PathBuf,
    /// The file with the root certificates of the receiver. `None` means the public root certificates.
    pub ca_file: Option<PathBuf>,
}

/// The URL of a receiver. Its path and its query can be secret, because some receivers know their senders only by the URL.
#[derive(Clone)]
pub struct WebhookUrl {
    origin: BaseUrl,
    target: SecretString,
}

/// The debug output shows only the host.
impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookUrl")
            .field(&self.origin.host())
            .finish()
    }
}

impl WebhookUrl {
    /// Parses a URL. The rules for the scheme and the host are those of `imprint.base_url`.
    fn parse(raw: &str) -> Result<Self, String> {
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

/// Reads the name of this process for operators. It is empty without the setting.
pub(super) fn take_instance(reader: &mut Reader) -> String {
    let instance = reader.take_optional(&["notices", "instance"], instance);
    instance.unwrap_or_default()
}

/// Reads the section `[notices]`. Without a URL, the bridge sends no notices.
pub(super) fn take(reader: &mut Reader, profile: Option<Profile>) -> Option<NoticeSettings> {
    // The error of a wrong setting is enough: the other setting does not lack it.
    let (mut has_url, mut has_secret_file) = (false, false);
    let url = reader.take_optional(&URL, |raw| {
        has_url = true;
        WebhookUrl::parse(&raw.text()?)
    });
    let secret_file = reader.take_optional(&SECRET_FILE, |raw| {
        has_secret_file = true;
        secret_path::take(raw)
    });
    let ca_file = reader.take_optional(&["notices", "ca_file"], secret_path::take);
    let exposed = secret_file.as_deref();
    if let Some(reason) = exposed.and_then(|file| secret::exposure(file, profile)) {
        reader.error(&SECRET_FILE, reason);
    }
    match (url, secret_file) {
        (Some(url), Some(secret_file)) => {
            return Some(NoticeSettings {
                url,
                secret_file,
                ca_file,
            });
        }
        (Some(_), None) if !has_secret_file => reader.error(&URL, "needs notices.secret_file"),
        (None, Some(_)) if !has_url => reader.error(&SECRET_FILE, "needs notices.url"),
        (Some(_), None) | (None, Some(_) | None) => {}
    }
    None
}

fn instance(raw: Raw) -> Result<String, String> {
    let text = raw.text()?;
    let is_visible = text.chars().all(|c| c.is_ascii_graphic());
    match is_visible && text.len() <= INSTANCE_CHARS_MAX {
        true => Ok(text),
        false => Err(format!(
            "must have at most {INSTANCE_CHARS_MAX} visible ASCII characters"
        )),
    }
}

/// Checks the secret that signs the notices. The flaw continues a sentence that begins with the file, and does not
/// contain the secret.
pub(crate) fn check_secret(secret: &SecretString) -> Result<(), String> {
    let key = SigningKey::parse(secret).map(drop);
    key.map_err(|flaw| format!("must have a secret of Standard Webhooks: the content {flaw}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1037
    #[test]
    fn a_webhook_url_has_tls_or_stays_on_this_machine() {
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
            let url = WebhookUrl::parse(raw);
            let found = url.as_ref().map(WebhookUrl::expose);
            assert_eq!(found.ok().as_deref(), expected, "{raw}");
            assert!(!format!("{url:?}").contains("canary"), "{url:?}");
        }
        let url = WebhookUrl::parse("https://hooks.example/canary").unwrap();
        assert!(!format!("{url:?}").contains("canary"));
    }
}
