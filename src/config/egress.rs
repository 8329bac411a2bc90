//! The settings for the connections to Imprint: the certificate of the bridge, and the proxy.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::base_url::{self, BaseUrl};
use super::reader::Reader;
use super::{Profile, secret, secret_path};

/// The settings for the connections to Imprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressSettings {
    pub certificate: Option<ClientCertificateFiles>,
    pub proxy: Option<ProxySettings>,
}

/// The files with the certificate with which the bridge identifies itself to Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The proxy between the bridge and Imprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// The scheme `http`, a host and a port.
    pub url: String,
    pub credentials_file: Option<PathBuf>,
}

const CERTIFICATE: [&str; 2] = ["imprint", "client_certificate_file"];
const KEY: [&str; 2] = ["imprint", "client_key_file"];
const PROXY: [&str; 2] = ["imprint", "proxy_url"];
const CREDENTIALS: [&str; 2] = ["imprint", "proxy_credentials_file"];

/// Reads the settings for the connections to Imprint. They have an effect only with TLS.
pub(super) fn take(
    reader: &mut Reader,
    profile: Option<Profile>,
    base_url: Option<&BaseUrl>,
) -> EgressSettings {
    let settings = EgressSettings {
        certificate: take_certificate(reader, profile),
        proxy: take_proxy(reader, profile),
    };
    if base_url.is_some_and(|url| !url.has_tls()) {
        for (place, is_set) in [
            (CERTIFICATE, settings.certificate.is_some()),
            (PROXY, settings.proxy.is_some()),
        ] {
            if is_set {
                reader.error(&place, "needs imprint.base_url with https");
            }
        }
    }
    settings
}

fn take_certificate(
    reader: &mut Reader,
    profile: Option<Profile>,
) -> Option<ClientCertificateFiles> {
    let certificate = reader.take_optional(&CERTIFICATE, secret_path::take);
    let key = take_secret_file(reader, &KEY, profile);
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(ClientCertificateFiles { certificate, key }),
        (None, None) => {}
        (Some(_), None) => reader.error(&CERTIFICATE, "needs imprint.client_key_file"),
        (None, Some(_)) => reader.error(&KEY, "needs imprint.client_certificate_file"),
    }
    None
}

fn take_proxy(reader: &mut Reader, profile: Option<Profile>) -> Option<ProxySettings> {
    let url = reader.take_optional(&PROXY, |raw| proxy_url(&raw.text()?));
    let credentials_file = take_secret_file(reader, &CREDENTIALS, profile);
    if url.is_none() && credentials_file.is_some() {
        reader.error(&CREDENTIALS, "needs imprint.proxy_url");
    }
    url.map(|url| ProxySettings {
        url,
        credentials_file,
    })
}

fn take_secret_file(
    reader: &mut Reader,
    place: &[&str],
    profile: Option<Profile>,
) -> Option<PathBuf> {
    let file = reader.take_optional(place, secret_path::take);
    if let Some(reason) = file
        .as_deref()
        .and_then(|file| secret::exposure(file, profile))
    {
        reader.error(place, reason);
    }
    file
}

/// Parses the URL of a proxy, and returns it in a canonical spelling.
///
/// The bridge speaks TLS with Imprint, through the proxy. TLS with the proxy itself would protect only the name of
/// Imprint's host and the credentials for the proxy.
fn proxy_url(raw: &str) -> Result<String, String> {
    let rest = raw.strip_prefix("http://");
    let rest = rest.ok_or("must start with http://: the bridge speaks TLS through the proxy")?;
    let (host, port) = base_url::authority(rest.strip_suffix('/').unwrap_or(rest))?;
    let port = port.ok_or("must have a port, such as http://proxy.example.com:3128")?;
    Ok(format!("http://{host}:{port}"))
}

/// Checks the credentials for the proxy. The flaw continues a sentence that begins with the file of the credentials, and
/// does not contain them.
pub(crate) fn check_credentials(credentials: &SecretString) -> Result<(), String> {
    let user = credentials.expose_secret().split_once(':');
    match user.is_some_and(|(user, _)| !user.is_empty()) {
        true => Ok(()),
        false => Err("must have a user, a colon and a password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N700
    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        for (raw, expected) in [
            (
                "http://Proxy.example.:3128/",
                Some("http://proxy.example:3128"),
            ),
            ("http://10.1:80", Some("http://10.0.0.1:80")),
            ("http://[::1]:1", Some("http://[::1]:1")),
            ("http://proxy.example", None),
            ("https://proxy.example:3128", None),
            ("proxy.example:3128", None),
            ("http://user:canary@proxy.example:3128", None),
            ("http://proxy.example:3128/path", None),
            ("http://proxy.example:0", None),
            ("", None),
        ] {
            let url = proxy_url(raw);
            assert_eq!(url.as_deref().ok(), expected, "{raw}");
            assert!(!format!("{url:?}").contains("canary"), "{url:?}");
        }
    }
}
