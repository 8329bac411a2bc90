//! The causes of the outcomes of requests to Imprint.

use std::fmt;

use crate::http::proxy::ProxyError;

/// The cause of an outcome. The set of causes is small and fixed, because every cause is a log value and a metric
/// label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The HTTP client could not connect to Imprint.
    Connect,
    /// Imprint's host name did not resolve.
    Dns,
    /// The TLS handshake with Imprint failed for a reason other than the certificate.
    Tls,
    /// The certificate of Imprint's server is not valid.
    Certificate,
    /// Imprint's server refuses the certificate of the bridge, or requires one.
    ClientCertificate,
    /// The configured proxy gave no connection to Imprint.
    Proxy(ProxyError),
    /// The deadline of the request passed before Imprint had answered.
    Deadline,
    /// The connection ended, or its data became unreadable, before the client had received Imprint's whole answer.
    Disconnected,
    /// Imprint's answer breaks the rules of HTTP/1.1, or more than one answer came, or the client could not build the
    /// request.
    Protocol,
    /// Imprint's answer is longer than the response limit.
    TooLong,
    /// Imprint's answer is a 2xx without a JSON object.
    Unreadable,
    /// Imprint's answer is a 2xx with the id of a different customer.
    WrongCustomer,
    /// Imprint's answer had this HTTP status.
    Status(u16),
}

impl Cause {
    /// Returns whether the cause is a status with which Imprint refuses an operation but accepts the API key: 403, 404,
    /// 405 or 410.
    pub const fn is_forbidden(self) -> bool {
        matches!(self, Self::Status(403..=405 | 410))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::ClientCertificate => "client_certificate",
            Self::Proxy(error) => return write!(f, "proxy_{error}"),
            Self::Deadline => "deadline",
            Self::Disconnected => "disconnected",
            Self::Protocol => "protocol",
            Self::TooLong => "too_long",
            Self::Unreadable => "unreadable",
            Self::WrongCustomer => "wrong_customer",
            Self::Status(status) => return write!(f, "status_{status}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_word() {
        for (cause, word) in [
            (Cause::Connect, "connect"),
            (Cause::Dns, "dns"),
            (Cause::Tls, "tls"),
            (Cause::Certificate, "certificate"),
            (Cause::ClientCertificate, "client_certificate"),
            (Cause::Proxy(ProxyError::Dns), "proxy_dns"),
            (Cause::Proxy(ProxyError::Connect), "proxy_connect"),
            (Cause::Proxy(ProxyError::Deadline), "proxy_deadline"),
            (Cause::Proxy(ProxyError::Disconnected), "proxy_disconnected"),
            (Cause::Proxy(ProxyError::Protocol), "proxy_protocol"),
            (Cause::Proxy(ProxyError::Status(407)), "proxy_status_407"),
            (Cause::Deadline, "deadline"),
            (Cause::Disconnected, "disconnected"),
            (Cause::Protocol, "protocol"),
            (Cause::TooLong, "too_long"),
            (Cause::Unreadable, "unreadable"),
            (Cause::WrongCustomer, "wrong_customer"),
            (Cause::Status(503), "status_503"),
        ] {
            assert_eq!(cause.to_string(), word);
        }
    }

    #[test]
    fn only_403_to_405_forbid_an_operation() {
        for status in [401, 402, 406] {
            assert!(!Cause::Status(status).is_forbidden(), "{status}");
        }
        for status in [403, 404, 405] {
            assert!(Cause::Status(status).is_forbidden(), "{status}");
        }
        assert!(!Cause::Certificate.is_forbidden());
    }
}
