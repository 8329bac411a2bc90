//! One HTTP/1 listener. Between each socket and actix-web is a guarded stream; see [`super::guarded`].
//!
//! The bridge does not use `actix_web::HttpServer`, because it cannot put its own stream into that server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{ServiceFactoryExt as _, apply_fn_factory, map_config};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Server, Service, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Bytes};
use actix_web::{App, Error};
use anyhow::Context as _;
use rustix::net::sockopt;

use super::guarded::{Guarded, StreamLimits};
use super::linger::SharedSocket;
use super::places::Places;
use crate::http::connection::ConnectionState;

/// The time limit for closing a connection after its last answer.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The size of the receive buffer and of the send buffer that the bridge requests for a connection. The kernel doubles
/// this number.
///
/// The size is enough for 1 Gbit/s in the same region, and limits the memory for a client that does not read.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// The maximum number of connections that the kernel has established but the server has not yet accepted. The default
/// of actix-web is the same.
///
/// The kernel drops further connection attempts, and the clients try again after a second.
const ACCEPT_QUEUE_MAX: i32 = 1024;

/// One HTTP/1 listener. The listener has no TLS, because the gateway terminates TLS.
pub(super) struct Listener {
    pub(super) places: Places,
    pub(super) listen: SocketAddr,
    pub(super) workers: usize,
    pub(super) keep_alive: Duration,
    pub(super) shutdown_timeout_seconds: u64,
    pub(super) limits: StreamLimits,
}

impl Listener {
    /// Binds the address and starts to listen. Each worker calls `configure` on its own thread.
    pub(super) fn bind(
        self,
        configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> anyhow::Result<(SocketAddr, Server)> {
        let (places, listen) = (Arc::new(self.places), self.listen);
        let name = places.listener();
        let socket = TcpListener::bind(listen);
        let socket = socket.with_context(|| format!("{name} {listen}"))?;
        // The standard library sets the accept queue to 128 connections, which is too few for a burst of senders.
        rustix::net::listen(&socket, ACCEPT_QUEUE_MAX).context("cannot set the accept queue")?;
        let address = socket.local_addr().context("the listener has no address")?;
        limit_buffers(&socket).context("cannot set the size of socket buffers")?;
        let builder = Server::build();
        let draining = builder.graceful_shutdown_signal();
        let drains = move || {
            let draining = draining.clone();
            async move { draining.notified().await }
        };
        let (limits, keep_alive) = (self.limits, self.keep_alive);
        let server = builder
            .workers(self.workers)
            .max_concurrent_connections(places.for_worker(self.workers))
            .shutdown_timeout(self.shutdown_timeout_seconds)
            .disable_signals()
            .listen(name, socket, move || {
                let app = App::new()
                    .configure(configure.clone())
                    .wrap_fn(tell_answered);
                let http = HttpService::build()
                    .graceful_shutdown_signal(drains.clone())
                    .keep_alive(keep_alive)
                    // The value 0 turns off the time limit of actix for request heads. The guarded stream has its own
                    // time limit for every head.
                    .client_request_timeout(Duration::ZERO)
                    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                    .local_addr(address)
                    .on_connect_ext(|io: &GuardedSocket, data| {
                        data.insert(io.shared());
                    })
                    .h1(map_config(app, |()| AppConfig::default())
                        .map_err(|error| error.error_response()));
                let (limits, places) = (limits.clone(), Arc::clone(&places));
                apply_fn_factory(http, move |io, http| serve(io, http, &places, &limits))
            })
            .with_context(|| format!("{name} {listen}"))?;
        Ok((address, server.run()))
    }
}

type GuardedSocket = Guarded<SharedSocket<TcpStream>>;

/// Serves one connection. Closes the connection if the listener has no place for it.
fn serve<S>(
    io: TcpStream,
    http: &S,
    places: &Arc<Places>,
    limits: &StreamLimits,
) -> impl Future<Output = Result<(), DispatchError>> + use<S>
where
    S: Service<(GuardedSocket, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let served = places.enter().map(|place| {
        let (peer, socket) = (io.peer_addr().ok(), SharedSocket::new(io));
        let place = Rc::new(place);
        let guarded = Guarded::new(socket.clone(), Rc::clone(&place), limits.clone());
        let connection = guarded.shared();
        (http.call((guarded, peer)), socket, place, connection)
    });
    async move {
        let (served, socket, place, connection) = served.ok_or_else(no_place)?;
        let served = served.await;
        if may_send(&served, &connection) {
            socket.linger(&place).await;
        }
        served
    }
}

/// Returns the error that closes a new connection. This happens if all places are taken and the bridge works on a
/// request of every open connection.
fn no_place() -> DispatchError {
    DispatchError::Io(io::ErrorKind::ConnectionRefused.into())
}

/// Returns whether the client is possibly still sending on a connection that the server has finished.
fn may_send(served: &Result<(), DispatchError>, connection: &ConnectionState) -> bool {
    match served {
        Ok(()) => connection.is_cut(),
        Err(DispatchError::Io(_) | DispatchError::DisconnectTimeout) => false,
        // The server refused the request because its bytes are not valid.
        Err(_) => true,
    }
}

/// Limits the memory of the kernel for each connection. In a container, this memory counts as memory of the process. A
/// connection inherits the buffer sizes from the listening socket.
fn limit_buffers(socket: &TcpListener) -> rustix::io::Result<()> {
    sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES)?;
    sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES)
}

/// Tells the guarded stream of the connection when the server has the complete answer to this request.
fn tell_answered<S>(
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    let answer = Answer(request.conn_data().cloned());
    let response = service.call(request);
    async move {
        let response = response.await?;
        Ok(response.map_body(|_, body| AnsweredBody { body, answer }.boxed()))
    }
}

/// A guard that marks the request as answered when it is dropped.
struct Answer(Option<Rc<ConnectionState>>);

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.answer();
        }
    }
}

/// The body of an answer. The server drops this value when it has all bytes of the body.
struct AnsweredBody {
    body: BoxBody,
    #[expect(dead_code, reason = "it is counted when it is dropped")]
    answer: Answer,
}

impl MessageBody for AnsweredBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
