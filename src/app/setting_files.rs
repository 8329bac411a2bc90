//! The files that settings name and that `serve` reads at its start, besides the secrets of the sources. `check` reads the
//! same files, so that an operator learns about a flaw before the start.

use std::path::Path;

use anyhow::{Context as _, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::client_certificate;
use super::held_secret::SecretFileError;
use super::secret_file::flaw;
use crate::config::egress::check_credentials;
use crate::config::notices::check_secret;
use crate::config::operators::different_tokens;
use crate::config::{
    ClientCertificateFiles, Config, EgressSettings, NoticeSettings, TraceSettings, regular_file,
    secret,
};

/// The maximum size of the file `imprint.ca_file`. A file with all public root certificates has about 250 KB.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads the files that the settings name, and returns their errors.
///
/// Only a secret can be missing: the machine of an author need not have the secrets.
pub(crate) fn setting_file_errors(config: &Config) -> Vec<SecretFileError> {
    let imprint = &config.imprint;
    let keys = [
        ("imprint.key_file", &imprint.key_file),
        ("imprint.previous_key_file", &imprint.previous_key_file),
        ("imprint.merchant_key_file", &imprint.merchant_key_file),
    ];
    let mut errors: Vec<SecretFileError> = Vec::new();
    for (setting, file) in keys {
        if let Some(file) = file {
            let read = secret::read(file).map(drop);
            errors.extend(
                read.err()
                    .map(|reason| secret_error(setting, file, &reason)),
            );
        }
    }
    for operator in &config.operators {
        let read = operator.token().map(drop);
        let file = &operator.token_file;
        errors.extend(
            read.err()
                .map(|reason| secret_error("ops.token_files", file, &reason)),
        );
    }
    let same = different_tokens(&config.operators).err();
    errors
        .extend(same.map(|reason| SecretFileError::Unusable(format!("ops.token_files: {reason}"))));
    for (file, flaw) in config.audit_keys.flaws() {
        let error = |reason: String| secret_error("ops.audit_key_files", file, &reason);
        errors.extend(flaw.map(error));
    }
    let outbox = &config.outbox;
    if let Some(file) = &outbox.password_file {
        let read = secret::read(file).map(drop);
        let error = |reason: String| secret_error("outbox.password_file", file, &reason);
        errors.extend(read.err().map(error));
    }
    for certificates in [
        ("imprint.ca_file", imprint.ca_file.as_deref()),
        ("outbox.ca_file", outbox.ca_file.as_deref()),
    ] {
        let error = roots(certificates).err();
        errors.extend(error.map(|error| SecretFileError::Unusable(format!("{error:#}"))));
    }
    errors.extend(egress_errors(&imprint.egress));
    errors.extend(config.notices.iter().flat_map(notice_errors));
    errors.extend(config.traces.iter().flat_map(trace_errors));
    errors
}

/// Returns the errors of the files for the notices.
fn notice_errors(settings: &NoticeSettings) -> Vec<SecretFileError> {
    let file = &settings.secret_file;
    let named = |flaw| format!("{} {flaw}", file.display());
    let read = secret::read(file);
    let reason = read.and_then(|secret| check_secret(&secret).map_err(named));
    let error = |reason: String| secret_error("notices.secret_file", file, &reason);
    let secret = reason.err().map(error);
    let certificates = ("notices.ca_file", settings.ca_file.as_deref());
    let roots = roots(certificates).err();
    let roots = roots.map(|error| SecretFileError::Unusable(format!("{error:#}")));
    secret.into_iter().chain(roots).collect()
}

/// Returns the errors of the files for the collector of traces.
fn trace_errors(settings: &TraceSettings) -> Vec<SecretFileError> {
    let secret = settings.secret.as_ref().and_then(|secret| {
        let reason = secret::read(&secret.file).err()?;
        Some(secret_error("traces.secret_file", &secret.file, &reason))
    });
    let certificates = ("traces.ca_file", settings.ca_file.as_deref());
    let roots = roots(certificates).err();
    let roots = roots.map(|error| SecretFileError::Unusable(format!("{error:#}")));
    secret.into_iter().chain(roots).collect()
}

/// Returns the errors of the files for the connections to Imprint.
fn egress_errors(settings: &EgressSettings) -> Vec<SecretFileError> {
    let certificate = settings.certificate.as_ref();
    let certificate = certificate.and_then(certificate_error);
    let proxy = settings.proxy.as_ref();
    let file = proxy.and_then(|proxy| proxy.credentials_file.as_deref());
    let credentials = file.and_then(|file| {
        let named = |flaw| format!("{} {flaw}", file.display());
        let read = secret::read(file);
        let reason = read.and_then(|secret| check_credentials(&secret).map_err(named));
        let setting = "imprint.proxy_credentials_file";
        Some(secret_error(setting, file, &reason.err()?))
    });
    certificate.into_iter().chain(credentials).collect()
}

fn certificate_error(files: &ClientCertificateFiles) -> Option<SecretFileError> {
    let named = |reason: &str| format!("imprint.client_certificate_file: {reason}");
    match client_certificate::read(files) {
        Ok(text) => {
            let flaw = client_certificate::check(&text).err()?;
            let reason = format!("{} {flaw}", files.key.display());
            Some(SecretFileError::Unusable(named(&reason)))
        }
        Err(SecretFileError::Missing(reason)) => Some(SecretFileError::Missing(named(&reason))),
        Err(SecretFileError::Unusable(reason) | SecretFileError::Silent(reason)) => {
            Some(SecretFileError::Unusable(named(&reason)))
        }
    }
}

/// Adds the name of the setting to the reason why a secret file cannot be used. The reason names the file.
fn secret_error(setting: &str, file: &Path, reason: &str) -> SecretFileError {
    flaw(file, format!("{setting}: {reason}"))
}

/// Reads the configured root certificates. The bridge uses them instead of the public root certificates.
pub(super) fn roots(
    (setting, file): (&str, Option<&Path>),
) -> anyhow::Result<Option<RootCertStore>> {
    let Some(file) = file else { return Ok(None) };
    let unusable = || format!("{setting} {}", file.display());
    let content = regular_file::read(file, CA_FILE_BYTES_MAX);
    let content = content.map_err(|error| anyhow::anyhow!("{setting}: {}", error.at(file)))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&content) {
        roots
            .add(certificate.with_context(unusable)?)
            .with_context(unusable)?;
    }
    if roots.is_empty() {
        bail!("{} contains no certificate in the format PEM", unusable());
    }
    Ok(Some(roots))
}
