//! The files with the certificate with which the bridge identifies itself to Imprint, and with its private key.

use std::path::Path;

use rustls::Error as TlsError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

use super::held_secret::{SecretFileError, SecretRead};
use super::secret_file::flaw;
use crate::config::{ClientCertificateFiles, regular_file};
use crate::http::egress::{self, ClientCertificate};

/// The maximum size of the file with the certificate, and of the file with its key. A certificate with its chain has a few
/// KiB.
const PEM_BYTES_MAX: u64 = 256 * 1024;
/// Separates the two files in the text of a certificate with its key. PEM has no such character.
const SEPARATOR: char = '\0';

/// Reads both files as one text, because a certificate is of no use without its key. A flaw names its file, and contains
/// nothing of the file.
pub(super) fn read(files: &ClientCertificateFiles) -> SecretRead {
    let certificate = read_text(&files.certificate)?;
    let key = read_text(&files.key)?;
    let lacks = |file: &Path, what: &str| {
        SecretFileError::Unusable(format!("{} contains no {what}", file.display()))
    };
    if chain(certificate.expose_secret()).is_none() {
        let what = "certificate in the format PEM";
        return Err(lacks(&files.certificate, what));
    }
    // The error of the parser is left out, because it could show a part of the key.
    if PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).is_err() {
        let what = "private key in the format PEM without a password";
        return Err(lacks(&files.key, what));
    }
    let text = [certificate.expose_secret(), key.expose_secret()];
    Ok(SecretString::from(text.join(&SEPARATOR.to_string())))
}

fn read_text(file: &Path) -> SecretRead {
    let content = regular_file::read(file, PEM_BYTES_MAX);
    let content = content.map_err(|error| flaw(file, error.at(file)))?;
    match String::from_utf8(content) {
        Ok(text) if !text.contains(SEPARATOR) => Ok(SecretString::from(text)),
        Ok(_) | Err(_) => {
            let reason = format!("{} is not text in the format PEM", file.display());
            Err(SecretFileError::Unusable(reason))
        }
    }
}

fn chain(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().ok()?;
    (!chain.is_empty()).then_some(chain)
}

/// Parses the text that [`read`] returns.
pub(super) fn parse(text: &SecretString) -> Option<ClientCertificate> {
    let (certificate, key) = text.expose_secret().split_once(SEPARATOR)?;
    Some(ClientCertificate {
        chain: chain(certificate)?,
        key: PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?,
    })
}

/// Checks that the key belongs to the certificate, and that the TLS library knows its kind. The flaw continues a sentence
/// that begins with the file of the key.
pub(super) fn check(text: &SecretString) -> Result<(), String> {
    match egress::tls(None, parse(text)) {
        Ok(_) => Ok(()),
        Err(TlsError::InconsistentKeys(_)) => {
            Err("is not the key of the certificate in imprint.client_certificate_file".to_owned())
        }
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}
