//! The section `[notices]`: the webhook that gets the notices for operators.

use std::path::PathBuf;

use secrecy::SecretString;

use super::reader::{Raw, Reader};
use super::receiver_url::ReceiverUrl;
use super::{Profile, secret, secret_path};
use crate::ingress::auth::SigningKey;

/// The maximum length of `notices.instance`.
const INSTANCE_CHARS_MAX: usize = 64;

const URL: [&str; 2] = ["notices", "url"];
const SECRET_FILE: [&str; 2] = ["notices", "secret_file"];

/// The settings of the notices. The file `config/default.toml` describes each setting.
#[derive(Clone, Debug)]
pub struct NoticeSettings {
    pub url: ReceiverUrl,
    pub secret_file: PathBuf,
    /// The file with the root certificates of the receiver. `None` means the public root certificates.
    pub ca_file: Option<PathBuf>,
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
        ReceiverUrl::parse(&raw.text()?)
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
