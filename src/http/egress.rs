//! The means by which [`StrictClient`](super::client::StrictClient) reaches its server: the TLS configuration, with the
//! certificate of the client, and the proxy.
//!
//! The bridge can replace them while requests are in flight. A connection that was opened with earlier means carries no
//! further request.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, Error as TlsError, RootCertStore};

use super::proxy::Proxy;

/// The means by which a client reaches its server.
#[derive(Clone, Debug)]
pub struct Egress {
    pub tls: Arc<ClientConfig>,
    /// The proxy for servers with TLS. A client connects to a server without TLS directly.
    pub proxy: Option<Arc<Proxy>>,
}

impl Egress {
    /// Connects directly.
    pub const fn direct(tls: Arc<ClientConfig>) -> Self {
        Self { tls, proxy: None }
    }
}

/// The certificate of the client with its chain, and the private key of the certificate.
#[derive(Debug)]
pub struct ClientCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Creates a TLS configuration that trusts the root certificates in `roots`.
///
/// Without `roots`, the configuration trusts the public certificate authorities. With `certificate`, the client
/// identifies itself to a server that asks for a certificate.
///
/// # Errors
/// Returns an error if the TLS library rejects the settings, or if the key does not belong to the certificate.
pub fn tls(
    roots: Option<Arc<RootCertStore>>,
    certificate: Option<ClientCertificate>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let public = || RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.unwrap_or_else(|| Arc::new(public())));
    let mut config = match certificate {
        Some(ClientCertificate { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The error for a server that refuses the certificate of the client, or the lack of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server refuses the certificate of the client")]
pub struct CertificateRefused;

impl CertificateRefused {
    /// Returns whether a failed read means that the server refuses the certificate of the client.
    ///
    /// Only before the first answer on a connection does this alert prove that the server has read no request: with TLS
    /// 1.3, the client sends its request before the server has checked the certificate.
    pub(super) fn is_in(error: &io::Error) -> bool {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(tls, Some(TlsError::AlertReceived(alert)) if Self::is_about(*alert))
    }

    /// Returns whether a TLS alert of a server can only concern the certificate of the client.
    const fn is_about(alert: AlertDescription) -> bool {
        matches!(
            alert,
            AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
        )
    }
}

impl From<CertificateRefused> for io::Error {
    fn from(error: CertificateRefused) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, error)
    }
}
