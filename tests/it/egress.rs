//! Tests of the certificate of the bridge and of the proxy towards Imprint.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::commands;
use crate::process::{Process, command};
use crate::raw_imprint::{Accepted, RawImprint};
use crate::support::{Files, KEY, TestApp, email, post, receipt, wait_for};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls");

fn certificate(name: &str) -> CertificateDer<'static> {
    let pem = fs::read(format!("{TLS}/{name}")).unwrap();
    CertificateDer::from_pem_slice(&pem).unwrap()
}

/// Starts Imprint with a certificate. With `issuer`, Imprint accepts only clients with a certificate of this authority.
fn imprint(
    name: &str,
    issuer: Option<&str>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> RawImprint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match issuer {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut issuers = RootCertStore::empty();
            issuers.add(certificate(issuer)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(issuers), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/server.key")).unwrap();
    let tls = builder
        .with_single_cert(vec![certificate(name)], key)
        .unwrap();
    RawImprint::start_tls(Arc::new(tls), |mut accepted| accepted.serve(applied))
}

fn applied(request: &str) -> String {
    let id = request
        .split(' ')
        .nth(1)
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap();
    let body = format!("{{\"id\":\"{id}\"}}");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The files of a client certificate, which a test replaces.
struct CertificateFiles {
    folder: TempDir,
}

impl CertificateFiles {
    fn new(certificate: &str, key: &str) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.copy(certificate, "certificate.pem");
        files.copy(key, "key.pem");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(format!("{TLS}/{from}"), self.path(to)).unwrap();
    }

    fn settings(&self) -> String {
        format!(
            "client_certificate_file = {:?}\nclient_key_file = {:?}\n",
            self.path("certificate.pem"),
            self.path("key.pem")
        )
    }
}

fn settings(imprint: &RawImprint, more: &str) -> String {
    let address = imprint.address;
    format!("[imprint]\nbase_url = \"https://{address}\"\nca_file = \"{TLS}/ca.pem\"\n{more}")
}

fn is_stopped(app: &TestApp) -> bool {
    app.metric("destination_state{state=\"stopped\"}") == Some(1.0)
}

/// FAULTS N703: also with TLS 1.3, where the client has sent its request before the server refuses the certificate.
#[test]
fn imprint_asks_for_the_certificate_of_the_bridge() {
    let good = CertificateFiles::new("client.pem", "client.key");
    let foreign = CertificateFiles::new("localhost.pem", "server.key");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (what, more, is_accepted) in [
            ("with the certificate", good.settings(), true),
            ("of another issuer", foreign.settings(), false),
        ] {
            let imprint = imprint("localhost.pem", Some("client-ca.pem"), &[version]);
            let settings = settings(&imprint, &more);
            let mut app = TestApp::setup().settings(settings).start();
            app.leave_waiting_entries();
            app.accept(&email("e1", "C-1", 1));
            if is_accepted {
                app.wait_until("e1", "delivered");
            } else {
                app.wait_for("the destination is stopped", is_stopped);
                assert_eq!(app.receipt("e1")["status"], "waiting", "{what}");
            }
            let count = usize::from(is_accepted);
            assert_eq!(imprint.requests().len(), count, "{what} {version:?}");
            app.stop().unwrap();
        }
    }
}

/// FAULTS N704: the files are replaced one after the other while the bridge runs.
#[test]
fn a_new_certificate_needs_no_restart() {
    let imprint = imprint("localhost.pem", Some("client-ca.pem"), rustls::ALL_VERSIONS);
    let files = CertificateFiles::new("localhost.pem", "server.key");
    let settings = settings(&imprint, &files.settings());
    let app = TestApp::setup().settings(settings).manual_clock().start();
    app.accept(&email("e1", "C-1", 1));
    let second = Duration::from_secs(1);
    app.advance_until("the destination is stopped", second, is_stopped);
    files.copy("client.pem", "certificate.pem");
    for _ in 0..10 {
        app.advance(second);
    }
    assert_eq!(app.receipt("e1")["status"], "waiting");
    files.copy("client.key", "key.pem");
    app.advance_until("the event is delivered", second, |app| {
        app.receipt("e1")["status"] == "delivered"
    });
}

/// FAULTS N700, N701, N702: the real process uses only the configured proxy, logs why the proxy refuses, and reads new
/// credentials without a restart.
#[test]
fn only_the_configured_proxy_is_used() {
    let trap = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let environment = format!("http://{}", trap.local_addr().unwrap());
    let imprint = imprint("elsewhere.pem", None, rustls::ALL_VERSIONS);
    let server = imprint.address;
    let proxy =
        RawImprint::start(move |accepted| admit(accepted, "dXNlcjpwYXNzd29yZC10d28=", server));
    let files = Files::write(imprint.address, KEY, "");
    let credentials = files.store_file("credentials");
    fs::write(&credentials, "user:canary-one").unwrap();
    files.write_settings(&format!(
        "[imprint]\nbase_url = \"https://elsewhere.invalid\"\nenvironment = \"sandbox\"\n\
         ca_file = \"{TLS}/ca.pem\"\nproxy_url = \"{}\"\nproxy_credentials_file = {credentials:?}",
        proxy.origin()
    ));
    let mut command = command(&files);
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ] {
        command.env(name, &environment);
    }
    let mut process = Process::start(command);
    let (ingress, _) = process.ready();
    for number in 0..10 {
        let event = email(&format!("e{number}"), &format!("C-{number}"), 1);
        let body = event.json().to_string();
        let json = ("content-type", "application/cloudevents+json");
        assert_eq!(post(ingress, &[json], &body).unwrap().status, 202);
    }
    let reason = || process.log().contains("proxy_status_407").then_some(());
    wait_for("the log names the refusal", reason);
    assert_eq!(imprint.connections(), 0);
    fs::write(&credentials, "user:password-two").unwrap();
    wait_for("the events are delivered", || {
        let status =
            |number| receipt(ingress, &format!("e{number}")).unwrap().json()["status"].clone();
        (0..10)
            .all(|number| status(number) == "delivered")
            .then_some(())
    });
    assert_eq!(imprint.requests().len(), 10);
    assert!(
        proxy
            .requests()
            .iter()
            .all(|request| !request.contains(KEY))
    );
    assert!(trap.accept().is_err(), "the bridge used the environment");
    assert!(!process.log().contains("password-two"));
    process.terminate();
    process.wait_for_exit();
}

/// Gives a client with these credentials a connection to `server`, as a proxy does.
fn admit(mut accepted: Accepted, credentials: &str, server: std::net::SocketAddr) {
    let Some(request) = accepted.request() else {
        return;
    };
    if request.contains(&format!("proxy-authorization: Basic {credentials}\r\n")) {
        accepted.send("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        accepted.tunnel(server);
    } else {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        drop(accepted.send(refusal));
    }
}

/// FAULTS N703, N700: `check` names each unusable file or setting, and shows nothing of its content.
#[test]
fn check_reads_the_files_for_the_connections_to_imprint() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("{path:?}")
    };
    let broken = write("broken.pem", "-----BEGIN PRIVATE KEY-----\ncanary\n");
    let password = write("password", "canary");
    let certificate = format!("client_certificate_file = \"{TLS}/client.pem\"\n");
    let pair = format!("{certificate}client_key_file = \"{TLS}/client.key\"\n");
    let proxy = "proxy_url = \"http://proxy.example:3128\"\n";
    let plain = "base_url = \"http://127.0.0.1:1\"\nenvironment = \"local\"\n";
    let absent = folder.path().join("absent");
    for (settings, expected) in [
        (pair.clone(), ""),
        (format!("{pair}{proxy}"), ""),
        (format!("{certificate}client_key_file = {absent:?}"), ""),
        (certificate.clone(), "needs imprint.client_key_file"),
        (
            format!("{certificate}client_key_file = {broken}"),
            "contains no private key in the format PEM",
        ),
        (
            format!("{certificate}client_key_file = \"{TLS}/server.key\""),
            "is not the key of the certificate",
        ),
        (
            pair.replace("client.pem", "client.key"),
            "contains no certificate in the format PEM",
        ),
        (
            format!("proxy_credentials_file = {password}"),
            "needs imprint.proxy_url",
        ),
        (
            format!("{proxy}proxy_credentials_file = {password}"),
            "must have a user, a colon and a password",
        ),
        (
            "proxy_url = \"http://user:canary@proxy.example:3128\"".to_owned(),
            "imprint.proxy_url: must not contain a user",
        ),
        (
            format!("{plain}{proxy}"),
            "imprint.proxy_url: needs imprint.base_url with https",
        ),
        (
            format!("{plain}{pair}"),
            "imprint.client_certificate_file: needs imprint.base_url with https",
        ),
    ] {
        check(folder.path(), &settings, expected);
    }
}

/// FAULTS N544: the private key and the credentials are secret files like all others.
#[test]
fn production_refuses_a_key_or_credentials_that_everybody_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    for (more, setting) in [
        (
            format!("client_certificate_file = \"{TLS}/client.pem\"\nclient_key_file"),
            "imprint.client_key_file",
        ),
        (
            "proxy_url = \"http://proxy.example:3128\"\nproxy_credentials_file".to_owned(),
            "imprint.proxy_credentials_file",
        ),
    ] {
        let settings = folder.path().join("settings.toml");
        fs::write(&settings, format!("[imprint]\n{more} = {secret:?}")).unwrap();
        fs::write(&secret, "user:canary").unwrap();
        for (mode, is_refused) in [(0o644, true), (0o640, false)] {
            fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
            let arguments = ["check", "--profile", "production", "--config"];
            let arguments = [&arguments[..], &[settings.to_str().unwrap()]].concat();
            let errors = commands::text(&commands::run(&arguments, "").stderr);
            let refusal = format!("{setting}: {} must not be readable", secret.display());
            assert_eq!(errors.contains(&refusal), is_refused, "{errors}");
            assert!(!errors.contains("canary"), "{errors}");
        }
    }
}

#[track_caller]
fn check(folder: &Path, settings: &str, expected: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = folder.join("settings.toml");
    let folders =
        format!("sources_dir = \"{root}/config/sources\"\nschemas_dir = \"{root}/schemas\"");
    fs::write(&file, format!("{folders}\n[imprint]\n{settings}")).unwrap();
    let output = commands::run(&["check", "--config", file.to_str().unwrap()], "");
    let errors = commands::text(&output.stderr);
    assert_eq!(
        errors.is_empty(),
        expected.is_empty(),
        "{settings}: {errors}"
    );
    assert!(errors.contains(expected), "{settings}: {errors}");
    assert!(!errors.contains("canary"), "{errors}");
}
