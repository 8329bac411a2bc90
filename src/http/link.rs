//! An open connection of [`StrictClient`](super::client::StrictClient) to its server.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_rt::net::TcpStream;
use actix_tls::connect::rustls_0_23::reexports::AsyncTlsStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::egress::{CertificateRefused, Egress};
use super::idle::Reusable;
use crate::time::Timestamp;

/// An open connection to the server.
pub(super) struct Link {
    pub(super) stream: Stream,
    /// The means with which the connection was opened.
    pub(super) egress: Arc<Egress>,
    pub(super) opened: Timestamp,
    /// The hashed target (path and query) of the last request on this connection.
    pub(super) target: u64,
    /// The time of the last answer on this connection, by the hashed target of the request.
    pub(super) targets: HashMap<u64, Timestamp>,
}

/// The byte stream of a connection, above TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<AsyncTlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl Link {
    /// Returns the reason of a failed read. Before the first answer, an alert about the certificate of the client says that
    /// the server has refused the connection.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        match self.targets.is_empty() && CertificateRefused::is_in(&error) {
            true => CertificateRefused.into(),
            false => error,
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        written.map_err(|error| self.explain_write(cx, error))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        flushed.map_err(|error| self.explain_write(cx, error))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    /// Returns the reason of a failed write. A server that refuses the connection sends the reason before it closes the
    /// connection.
    fn explain_write(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut byte = [0];
        match self.stream.poll_read(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Err(reason)) if CertificateRefused::is_in(&reason) => self.explain(reason),
            Poll::Ready(_) | Poll::Pending => error,
        }
    }
}

impl Reusable for Link {
    fn opened(&self) -> Timestamp {
        self.opened
    }

    fn answered_at(&self, target: u64) -> Option<Timestamp> {
        self.targets.get(&target).copied()
    }

    fn last_target(&self) -> u64 {
        self.target
    }

    /// Asks the kernel whether bytes have arrived, because the async runtime notices them only later.
    fn is_silent(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(self.stream.tcp(), &mut [0], flags), Err(Errno::AGAIN))
    }
}
