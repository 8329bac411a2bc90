//! Protocols that are not HTTP/1.1.

/// A protocol that a wrong address or a wrong setting of a gateway brings to a port for HTTP/1.1 without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherProtocol {
    /// TLS: a handshake record of RFC 8446, section 5.1.
    Tls,
    /// HTTP/2 without TLS: the connection preface of RFC 9113, section 3.4.
    Http2,
    /// The PROXY protocol, version 1 or 2, of the specification of `HAProxy`.
    Proxy,
}

impl OtherProtocol {
    /// The first bytes of a connection in these protocols. No HTTP/1.1 request starts with them.
    const BEGINNINGS: [(&'static [u8], Self); 6] = [
        (b"\x16\x03", Self::Tls),
        (b"PRI * HTTP/2.0\r\n", Self::Http2),
        (b"PROXY TCP", Self::Proxy),
        (b"PROXY UNKNOWN", Self::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n", Self::Proxy),
        // The first four bytes of the signature are empty lines, which possibly arrived before.
        (b"\0\r\nQUIT\n", Self::Proxy),
    ];

    /// Returns the protocol that the first bytes of a request belong to.
    pub(super) fn find(input: &[u8]) -> Option<Self> {
        let mut beginnings = Self::BEGINNINGS.into_iter();
        let found = beginnings.find(|(beginning, _)| input.starts_with(beginning));
        found.map(|(_, protocol)| protocol)
    }
}
