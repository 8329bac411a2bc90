//! Tests of bridges behind a gateway: nginx with the shipped configuration deploy/gateway/nginx.conf.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use imprint_bridge::sandbox::UnseededCustomer;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::http::{self, Answer, Connection};
use crate::postgres::PostgresDatabase;
use crate::process::Process;
use crate::senders::tool;
use crate::support::{
    Event, FakeImprint, Files, KEY, POST_EVENTS, TEST_TIMEOUT, TestApp, email, receipt, wait_for,
};

const SHIPPED: &str = include_str!("../../deploy/gateway/nginx.conf");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
/// The number of senders that send at the same time, each on one connection.
const SENDERS: u32 = 4;

/// The number of events that the senders send before and after a restart.
const MORE_EVENTS: u64 = 200;

type TlsConnection = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// A running nginx. Dropping the value stops nginx.
struct Gateway {
    nginx: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Gateway {
    /// Starts nginx with the shipped configuration and the addresses of these bridges. `edit` changes the text of the
    /// configuration.
    fn start(bridges: &[SocketAddr], edit: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
        let server = |address: &SocketAddr| format!("server {address} max_fails=0;");
        let servers: Vec<_> = bridges.iter().map(server).collect();
        let mut shipped = SHIPPED.to_owned();
        for (old, new) in [
            ("server 10.0.0.11:8080 max_fails=0;", servers.join("\n")),
            ("server 10.0.0.12:8080 max_fails=0;", String::new()),
            ("listen 443 ssl;", format!("listen {address} ssl;")),
            ("/etc/nginx/tls/tls.crt", path(&tls.join("localhost.pem"))),
            ("/etc/nginx/tls/tls.key", path(&tls.join("server.key"))),
        ] {
            assert!(shipped.contains(old), "{old}");
            shipped = shipped.replace(old, &new);
        }
        std::fs::write(folder.path().join("bridge.conf"), edit(shipped)).unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {name};"));
        let main = format!(
            "daemon off; pid nginx.pid; error_log error.log; worker_processes 1;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; {} include bridge.conf; }}\n",
            temporary.join(" ")
        );
        std::fs::write(folder.path().join("nginx.conf"), main).unwrap();
        let mut nginx = Command::new(nginx());
        nginx
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf"]);
        let nginx = nginx.stderr(Stdio::inherit()).spawn().unwrap();
        let gateway = Self {
            nginx,
            address,
            _folder: folder,
        };
        wait_for("nginx listens", || TcpStream::connect(address).ok());
        gateway
    }

    /// Opens a connection with TLS.
    fn connect(&self) -> std::io::Result<TlsConnection> {
        let mut roots = RootCertStore::empty();
        let authority = include_bytes!("tls/ca.pem");
        roots
            .add(CertificateDer::from_pem_slice(authority).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(TEST_TIMEOUT))?;
        socket.set_nodelay(true)?;
        let tls = ClientConnection::new(Arc::new(tls), name).unwrap();
        Ok(Connection::of(StreamOwned::new(tls, socket)))
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.connect().unwrap().ask(line, headers, body).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        crate::process::terminate(&self.nginx);
        self.nginx.wait().unwrap();
    }
}

/// The program nginx, which tests/run unpacks if the machine has none.
fn nginx() -> PathBuf {
    let installed = PathBuf::from("/usr/sbin/nginx");
    match installed.exists() {
        true => installed,
        false => tool("NGINX", "target/nginx/usr/sbin/nginx"),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Returns an address on which nobody listens.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn imprint() -> FakeImprint {
    FakeImprint::start(|settings| settings.unknown_customer = UnseededCustomer::Created)
}

/// Writes the files of a bridge at a fixed address, with a store that another bridge shares.
fn files(imprint: &FakeImprint, database: &PostgresDatabase, address: SocketAddr) -> Files {
    let url = database.url();
    let settings = format!(
        "[ingress]\nlisten = \"{address}\"\n[outbox]\nurl = \"{url}\"\n[shutdown]\nlag = 1"
    );
    Files::write(imprint.address, KEY, &settings)
}

/// What one sender saw.
#[derive(Default)]
struct Seen {
    sent: u64,
    refusals: Vec<Answer>,
    broken: u32,
}

/// The load of all senders.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    accepted: AtomicU64,
}

impl Load {
    /// Waits until the senders have sent some more events.
    #[track_caller]
    fn wait_for_more(&self) {
        let before = self.accepted.load(Ordering::Relaxed);
        wait_for("the senders go on", || {
            let more = self.accepted.load(Ordering::Relaxed) - before;
            (more >= MORE_EVENTS).then_some(())
        });
    }
}

/// Sends one event after the other for one customer, and repeats a request whose connection broke, until the load is over.
fn send_events(gateway: &Gateway, sender: u32, load: &Load) -> Seen {
    let mut seen = Seen::default();
    let mut connection = gateway.connect();
    while !load.is_over.load(Ordering::Relaxed) {
        let (number, customer) = (seen.sent + 1, format!("c{sender}"));
        let event = email(&format!("{customer}-{number}"), &customer, number);
        let body = event.json().to_string();
        let answer = connection.and_then(|mut connection| {
            let answer = connection.ask(POST_EVENTS, &[STRUCTURED], &body)?;
            Ok((connection, answer))
        });
        match answer {
            Ok((open, answer)) if answer.status == 202 => {
                seen.sent = number;
                load.accepted.fetch_add(1, Ordering::Relaxed);
                connection = Ok(open);
            }
            Ok((open, answer)) => {
                seen.refusals.push(answer);
                connection = Ok(open);
            }
            Err(_) => {
                seen.broken += 1;
                connection = gateway.connect();
            }
        }
    }
    seen
}

/// FAULTS N1070: while the bridges behind a gateway restart one after the other, no sender sees an error, and no event
/// is lost.
#[test]
fn a_rolling_restart_behind_a_gateway_shows_no_error() {
    let (database, imprint) = (crate::postgres::database(), imprint());
    let addresses = [free_address(), free_address()];
    let bridges = addresses.map(|address| files(&imprint, &database, address));
    let mut processes = bridges.each_ref().map(Process::serve);
    for process in &processes {
        process.ready();
    }
    let gateway = Gateway::start(&addresses, |shipped| shipped);
    let load = Load::default();
    let seen = std::thread::scope(|scope| {
        let (gateway, load) = (&gateway, &load);
        let send = |sender| scope.spawn(move || send_events(gateway, sender, load));
        let senders: Vec<_> = (0..SENDERS).map(send).collect();
        load.wait_for_more();
        for (process, files) in processes.iter_mut().zip(&bridges) {
            process.terminate();
            assert!(process.wait_for_exit().success());
            *process = Process::serve(files);
            process.ready();
            load.wait_for_more();
        }
        load.is_over.store(true, Ordering::Relaxed);
        let seen = senders.into_iter().map(|sender| sender.join().unwrap());
        seen.collect::<Vec<_>>()
    });
    for (sender, seen) in seen.iter().enumerate() {
        assert_eq!(seen.refusals.len(), 0, "{:?}", seen.refusals);
        assert_eq!(seen.broken, 0, "connections that broke");
        assert!(seen.sent > 0);
        let last = format!("c{sender}-{}", seen.sent);
        wait_for(&format!("{last} is delivered"), || {
            let receipt = receipt(addresses[0], &last).ok()?;
            (receipt.json()["status"] == "delivered").then_some(())
        });
        let newest = imprint.email(&format!("c{sender}")).unwrap();
        assert_eq!(newest, format!("{last}@example.com"));
    }
}

/// FAULTS N1071: nginx has the whole body of a slow client before it opens a request to the bridge, so the deadline of
/// the bridge does not refuse the client, and the client holds nothing of the bridge.
#[test]
fn a_slow_client_stays_at_the_gateway() {
    let deadline = "[ingress]\nbody_deadline = \"500ms\"\nconnections_max = 8";
    let app = TestApp::setup().settings(deadline).start();
    let gateway = Gateway::start(&[app.ingress()], |shipped| shipped);
    let body = Event::sample().json().to_string();
    let (first, rest) = body.split_at(20);
    let head = format!(
        "{POST_EVENTS} HTTP/1.1\r\nhost: events\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{first}",
        STRUCTURED.1,
        body.len()
    );
    let mut slow: Vec<_> = (0..50).map(|_| gateway.connect().unwrap()).collect();
    for connection in &mut slow {
        connection.send(head.as_bytes()).unwrap();
    }
    let mut direct = Connection::open(app.ingress()).unwrap();
    direct.send(head.as_bytes()).unwrap();
    assert_eq!(direct.answer().unwrap().status, 408);
    let other = email("other", "c2", 1).json().to_string();
    assert_eq!(gateway.ask(POST_EVENTS, &[STRUCTURED], &other).status, 202);
    for mut connection in slow {
        connection.send(rest.as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 202);
    }
}

/// FAULTS N1072: the gateway routes only the paths for senders; the operators' pages and the metrics are unreachable, and
/// a body that is too large gets the answer of the bridge.
#[test]
fn the_gateway_routes_only_the_paths_for_senders() {
    let app = TestApp::start();
    let gateway = Gateway::start(&[app.ingress()], |shipped| shipped);
    for path in [
        "/metrics",
        "/readyz",
        "/admin/v1/status",
        "/",
        "/console",
        "/v1",
    ] {
        let answer = gateway.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    assert_eq!(gateway.ask("GET /v1/openapi.json", &[], "").status, 200);
    let answer = gateway.ask(POST_EVENTS, &[STRUCTURED], &" ".repeat(300_000));
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body.contains("problem:too_large"), "{}", answer.body);
}

/// FAULTS N1073: a gateway that changes requests gets a clear refusal for each request, never a 2xx answer.
#[test]
fn a_wrong_rewrite_fails_loudly() {
    let app = TestApp::start();
    let event = Event::sample().json().to_string();
    let pass = "proxy_pass http://imprint_bridge;";
    for (what, old, new, status, problem) in [
        (
            "a stripped prefix",
            pass,
            "proxy_pass http://imprint_bridge/;",
            404,
            "not_found",
        ),
        (
            "another prefix",
            pass,
            "proxy_pass http://imprint_bridge/v2/sources/;",
            404,
            "not_found",
        ),
        (
            "a dropped media type",
            pass,
            "proxy_set_header Content-Type \"\"; proxy_pass http://imprint_bridge;",
            415,
            "unsupported_media_type",
        ),
        (
            "a dropped body",
            pass,
            "proxy_pass_request_body off; proxy_set_header Content-Length 0; proxy_pass http://imprint_bridge;",
            400,
            "malformed",
        ),
    ] {
        let gateway = Gateway::start(&[app.ingress()], |shipped| shipped.replacen(old, new, 1));
        let answer = gateway.ask(POST_EVENTS, &[STRUCTURED], &event);
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        let body = answer.json();
        let kind = body["type"].as_str().unwrap();
        assert!(kind.ends_with(problem), "{what}: {body}");
    }
    let defaults = |shipped: String| {
        let shipped = shipped.replace("proxy_http_version 1.1;", "");
        shipped.replace("proxy_set_header Connection \"\";", "")
    };
    let gateway = Gateway::start(&[app.ingress()], defaults);
    let answer = gateway.ask(POST_EVENTS, &[STRUCTURED], &event);
    assert_eq!(
        answer.status, 202,
        "HTTP/1.0 with Connection: close: {}",
        answer.body
    );
    let again = http::ask(app.ingress(), POST_EVENTS, &[STRUCTURED], &event).unwrap();
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
}
