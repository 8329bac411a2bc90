//! Reads the sender's authentication from the arguments of `send`, or from a source file of the bridge.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use secrecy::SecretString;

use super::SenderAuth;
use crate::config::sources::SecretFiles;
use crate::config::{secret, sources};
use crate::ingress::auth::hmac::HmacKeys;
use crate::ingress::auth::{SecretMinimum, SigningKey, TokenScheme};

/// The secret files in the arguments of `send`.
#[derive(Debug)]
pub(crate) struct SenderAuthFiles {
    pub(crate) source_file: Option<PathBuf>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
}

/// Reads the secret files, and returns the sender's authentication.
pub(super) fn read(options: &SenderAuthFiles) -> anyhow::Result<SenderAuth> {
    let (secret, token) = (
        options.secret_file.as_deref(),
        options.token_file.as_deref(),
    );
    if let Some(file) = &options.source_file {
        return of_source(file, secret, token);
    }
    match (secret, token) {
        (Some(file), _) => standard_webhooks(file, SecretMinimum::default()),
        (None, Some(file)) => bearer(read_secret(file)?),
        (None, None) => Ok(SenderAuth::None),
    }
}

fn of_source(
    file: &Path,
    secret: Option<&Path>,
    token: Option<&Path>,
) -> anyhow::Result<SenderAuth> {
    let auth = sources::read_auth(file).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!(errors.join("\n"))
    })?;
    let first = |files: &SecretFiles, named: Option<&Path>| {
        let file = named
            .map(Path::to_path_buf)
            .or_else(|| files.paths.first().cloned());
        file.context("the source names no secret file")
    };
    match (auth, secret, token) {
        (sources::Auth::None, None, None) => Ok(SenderAuth::None),
        (sources::Auth::Token(scheme, files), None, token) => {
            let token = read_secret(&first(&files, token)?)?;
            Ok(SenderAuth::Token(scheme, token))
        }
        (sources::Auth::StandardWebhooks(files), secret, None) => {
            standard_webhooks(&first(&files, secret)?, files.minimum)
        }
        (sources::Auth::Hmac(scheme, files), secret, None) => {
            let file = first(&files, secret)?;
            let keys = HmacKeys::new(*scheme, &[read_secret(&file)?], files.minimum);
            keys.map(|keys| SenderAuth::Hmac(Box::new(keys)))
                .with_context(|| file.display().to_string())
        }
        (auth, _, _) => Err(anyhow!(
            "{} has auth.kind {}, which does not use the given secret file or token file",
            file.display(),
            auth.as_str()
        )),
    }
}

fn bearer(token: SecretString) -> anyhow::Result<SenderAuth> {
    Ok(SenderAuth::Token(TokenScheme::Bearer, token))
}

fn standard_webhooks(file: &Path, minimum: SecretMinimum) -> anyhow::Result<SenderAuth> {
    let key = SigningKey::parse_with(&read_secret(file)?, minimum);
    key.map(SenderAuth::Signature).map_err(|flaw| {
        let file = file.display();
        anyhow!(
            "{file} has no Standard Webhooks secret, which is whsec_ and 24 to 64 bytes in base64: the content {flaw}"
        )
    })
}

fn read_secret(file: &Path) -> anyhow::Result<SecretString> {
    secret::read(file).map_err(|reason| anyhow!(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry;

    /// Returns the kind of authentication, without the secret.
    const fn kind(authentication: &SenderAuth) -> &'static str {
        match authentication {
            SenderAuth::None => "none",
            SenderAuth::Token(scheme, _) => scheme.as_str(),
            SenderAuth::Signature(_) => "standard webhooks",
            SenderAuth::Hmac(_) => "hmac",
        }
    }

    /// A test case: the section `[auth]`, the secret file, the token file, and the expected kind or a part of the error
    /// text.
    type Row = (
        &'static str,
        [Option<&'static str>; 2],
        Result<&'static str, &'static str>,
    );

    const NEITHER: [Option<&str>; 2] = [None, None];
    const BEARER: &str = "kind = \"bearer\"\ntoken_files = [\"absent\"]";
    const HMAC: &str =
        "kind = \"hmac\"\nheader = \"x-s\"\nencoding = \"hex\"\nsecret_files = [\"absent\"]";
    const ROWS: [Row; 14] = [
        ("kind = \"none\"", NEITHER, Ok("none")),
        ("kind = \"none\"", [Some("whsec"), None], Err("none")),
        (
            "kind = \"bearer\"\ntoken_files = [\"token\"]",
            NEITHER,
            Ok("bearer"),
        ),
        (
            "kind = \"token\"\nheader = \"x-key\"\ntoken_files = [\"token\"]",
            NEITHER,
            Ok("token"),
        ),
        (
            "kind = \"basic\"\nuser = \"crm\"\npassword_files = [\"token\"]",
            NEITHER,
            Ok("basic"),
        ),
        (BEARER, NEITHER, Err("absent")),
        (BEARER, [None, Some("token")], Ok("bearer")),
        (BEARER, [Some("whsec"), None], Err("bearer")),
        (
            "kind = \"standard_webhooks\"\nsecret_files = [\"whsec\"]",
            NEITHER,
            Ok("standard webhooks"),
        ),
        (
            "kind = \"standard_webhooks\"\nsecret_files = [\"token\"]",
            NEITHER,
            Err("whsec_ and 24"),
        ),
        (HMAC, NEITHER, Err("absent")),
        (HMAC, [Some("token"), None], Ok("hmac")),
        (HMAC, [None, Some("token")], Err("hmac")),
        (
            "kind = \"hmac\"\nsecret_files = []\nsigned = \"x\"",
            NEITHER,
            Err("auth.signed"),
        ),
    ];

    #[test]
    fn the_source_file_decides_how_its_sender_authenticates() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("token"), "token-of-the-crm-0123").unwrap();
        std::fs::write(path("whsec"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let inside = format!("[\"{}/", folder.path().display());
        for (auth, [secret, token], expected) in ROWS {
            // The function `read_auth` ignores errors outside the section `[auth]`, such as the unknown setting
            // `other`.
            let text = format!("other = 1\n[auth]\n{}\n", auth.replace("[\"", &inside));
            std::fs::write(path("crm.toml"), text).unwrap();
            let read = read(&SenderAuthFiles {
                source_file: Some(path("crm.toml")),
                secret_file: secret.map(path),
                token_file: token.map(path),
            });
            let outcome = read
                .as_ref()
                .map(kind)
                .map_err(|error| telemetry::chain(error.as_ref()));
            match (&outcome, expected) {
                (Ok(kind), Ok(expected)) => assert_eq!(*kind, expected, "{auth}"),
                (Err(outcome), Err(expected)) => {
                    assert!(outcome.contains(expected), "{auth}: {outcome}");
                }
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{auth}: {outcome:?}"),
            }
            assert!(!format!("{outcome:?}").contains("MfKQ"), "{auth}");
        }
    }
}
