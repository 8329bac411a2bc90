//! The section `[traces]`: the collector of OpenTelemetry that gets the spans of the events.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::{Raw, Reader};
use super::receiver_url::ReceiverUrl;
use super::{Profile, secret, secret_path};
use crate::http::{HeaderName, header};

const ENDPOINT: [&str; 2] = ["traces", "endpoint"];
const SECRET_FILE: [&str; 2] = ["traces", "secret_file"];

/// The headers that the bridge sets itself.
const OWN_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// The settings of the traces. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    pub endpoint: ReceiverUrl,
    /// The header with the secret for the collector. `None` means that the collector needs none.
    pub secret: Option<SecretHeader>,
    /// The file with the root certificates of the collector. `None` means the public root certificates.
    pub ca_file: Option<PathBuf>,
}

/// The header with the secret for the collector.
#[derive(Clone, Debug)]
pub struct SecretHeader {
    pub(crate) name: HeaderName,
    /// The word before the secret. Empty if the header has only the secret.
    scheme: String,
    pub file: PathBuf,
}

impl SecretHeader {
    /// Returns the value of the header.
    pub fn value(&self, secret: &SecretString) -> SecretString {
        let value = format!("{} {}", self.scheme, secret.expose_secret());
        SecretString::from(value.trim_start().to_owned())
    }
}

/// Reads the section `[traces]`. Without an endpoint, the bridge exports no traces.
pub(super) fn take(reader: &mut Reader, profile: Option<Profile>) -> Option<TraceSettings> {
    let mut has_endpoint = false;
    let endpoint = reader.take_optional(&ENDPOINT, |raw| {
        has_endpoint = true;
        ReceiverUrl::parse(&raw.text()?)
    });
    let header = reader.take(&["traces", "header"], header_form);
    let file = reader.take_optional(&SECRET_FILE, secret_path::take);
    let ca_file = reader.take_optional(&["traces", "ca_file"], secret_path::take);
    let exposed = file.as_deref();
    if let Some(reason) = exposed.and_then(|file| secret::exposure(file, profile)) {
        reader.error(&SECRET_FILE, reason);
    }
    if file.is_some() && !has_endpoint {
        reader.error(&SECRET_FILE, "needs traces.endpoint");
    }
    let secret = header.zip(file);
    let secret = secret.map(|((name, scheme), file)| SecretHeader { name, scheme, file });
    Some(TraceSettings {
        endpoint: endpoint?,
        secret,
        ca_file,
    })
}

/// Reads the name of a header, and the word before the secret in it.
fn header_form(raw: Raw) -> Result<(HeaderName, String), String> {
    let text = raw.text()?;
    let (name, scheme) = text.split_once(':').unwrap_or((&text, ""));
    let scheme = scheme.trim();
    let is_word = scheme
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let name: Option<HeaderName> = name.trim().parse().ok();
    let name = name.filter(|name| is_word && !OWN_HEADERS.contains(name));
    let form = "must be the name of a header, such as x-api-key, or a name with the word before the secret, such as \"authorization: Bearer\"";
    Ok((name.ok_or(form)?, scheme.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Config, Purpose};

    /// Reads settings with this section `[traces]`.
    fn read(section: &str) -> Result<Option<TraceSettings>, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, format!("[traces]\n{section}")).unwrap();
        let config = Config::read_apart(&[file], Purpose::Check);
        let texts = |errors: Vec<crate::config::SettingError>| {
            errors.iter().map(ToString::to_string).collect()
        };
        config.map(|config| config.traces).map_err(texts)
    }

    #[test]
    fn a_header_is_a_name_and_possibly_a_word() {
        let secret = SecretString::from("s3cret");
        for (form, expected) in [
            (
                "authorization: Bearer",
                Some(("authorization", "Bearer s3cret")),
            ),
            (
                "Authorization:Basic",
                Some(("authorization", "Basic s3cret")),
            ),
            (
                "authorization: Api-Token",
                Some(("authorization", "Api-Token s3cret")),
            ),
            ("x-honeycomb-team", Some(("x-honeycomb-team", "s3cret"))),
            ("x-api-key:", Some(("x-api-key", "s3cret"))),
            ("", None),
            ("a header", None),
            ("x-key: two words", None),
            ("x-key: a: b", None),
            ("Host", None),
            ("content-type: text", None),
        ] {
            let section = format!(
                "endpoint = \"https://otel.example/v1/traces\"\nsecret_file = \"/run/x/y\"\nheader = \"{form}\""
            );
            let settings = read(&section).map(|settings| settings.unwrap().secret.unwrap());
            let found = settings.as_ref().ok().map(|header| {
                let value = header.value(&secret).expose_secret().to_owned();
                (header.name.as_str(), value)
            });
            let expected = expected.map(|(name, value)| (name, value.to_owned()));
            assert_eq!(found, expected, "{form}: {settings:?}");
        }
    }

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        assert!(read("").unwrap().is_none());
        let errors = read("secret_file = \"/run/x/y\"").unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("needs traces.endpoint"), "{errors:?}");
        // The faulty setting is the only error.
        let faulty = "endpoint = \"http://otel.example/v1/traces\"\nsecret_file = \"/run/x/y\"";
        let errors = read(faulty).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("must be https"), "{errors:?}");
    }
}
