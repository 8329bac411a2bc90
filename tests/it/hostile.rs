//! Tests of hostile and broken clients on both listeners: bytes that two receivers could read differently, clients that
//! do not read, and clients that stall.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use imprint_bridge::time::Clock;

use crate::http::{self, Connection};
use crate::process::Process;
use crate::support::{Event, FakeImprint, Files, KEY, POST_EVENTS, TestApp, metric, wait_for};

const STRUCTURED: &str = "content-type: application/cloudevents+json\r\n";

fn post_head(headers: &str) -> String {
    format!("POST /v1/sources/crm/events HTTP/1.1\r\nhost: bridge\r\n{STRUCTURED}{headers}\r\n")
}

fn event(id: &str) -> String {
    Event::new(id, "c1", 1)
        .email("canary@example.com")
        .json()
        .to_string()
}

/// Sends bytes on a new connection, and asserts that the bridge refuses them and closes the connection.
#[track_caller]
fn check_refused(address: SocketAddr, bytes: &str, status: u16, word: &str) -> String {
    let mut connection = Connection::open(address).unwrap();
    connection.send(bytes.as_bytes()).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, status, "{bytes:?} {}", answer.body);
    let problem = format!("urn:imprint-bridge:problem:{word}");
    assert_eq!(answer.json()["type"], problem, "{bytes:?}");
    let end = connection.answer().unwrap_err().kind();
    assert!(
        [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&end),
        "{bytes:?} {end}"
    );
    answer.json()["detail"].to_string()
}

/// FAULTS N46: actix-http accepts lines that end in LF only.
#[test]
fn a_line_that_does_not_end_in_cr_lf_is_refused() {
    let app = TestApp::start();
    for address in [app.ingress(), app.ops()] {
        let heads = [
            "GET /livez HTTP/1.1\nhost: x\n\n",
            "GET /livez HTTP/1.1\r\nhost: x\n\r\n",
            "GET /livez HTTP/1.1\r\nhost: x\r\na: b\rc: d\r\n\r\n",
        ];
        for head in heads {
            check_refused(address, head, 400, "malformed_http");
        }
    }
    let chunks = format!(
        "{}1\n{{\r\n0\r\n\r\n",
        post_head("transfer-encoding: chunked\r\n")
    );
    check_refused(app.ingress(), &chunks, 400, "malformed");
    assert_eq!(
        app.metric("refused_total{problem=\"malformed_http\",source=\"\"}"),
        Some(3.0)
    );
}

/// FAULTS N1331: a CRM has an address with https://, or a gateway sends the PROXY protocol. The answer names the cause, and
/// so do the log and the list of refused requests, which have the same detail.
#[test]
fn a_client_with_another_protocol_learns_the_cause() {
    let app = TestApp::start();
    for (head, cause) in [
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}", "this port has no TLS"),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "speaks HTTP/2 without TLS",
        ),
        (
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            "sends the PROXY protocol",
        ),
    ] {
        let detail = check_refused(app.ingress(), head, 400, "malformed_http");
        assert!(detail.contains(cause), "{detail}");
    }
}

/// FAULTS N47: actix-http ignores the length of a request with `Upgrade: websocket`, and takes the next request for its
/// body.
#[test]
fn a_request_for_a_tunnel_is_refused() {
    let app = TestApp::start();
    let body = event("e-1");
    let length = format!("content-length: {}\r\n", body.len());
    let upgrade = format!("{length}connection: upgrade\r\nupgrade: websocket\r\n");
    for address in [app.ingress(), app.ops()] {
        check_refused(
            address,
            &format!("{}{body}", post_head(&upgrade)),
            400,
            "tunnel",
        );
        check_refused(
            address,
            "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
            400,
            "tunnel",
        );
    }
    // Java's client asks for HTTP/2 with the first request of a connection; the bridge may ignore that.
    let mut java = Connection::open(app.ingress()).unwrap();
    let h2c = format!(
        "{length}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n"
    );
    java.send(format!("{}{body}", post_head(&h2c)).as_bytes())
        .unwrap();
    assert_eq!(java.answer().unwrap().status, 202);
    app.wait_until("e-1", "delivered");
}

/// FAULTS N48
#[test]
fn a_refused_head_is_never_answered_with_100_continue() {
    let app = TestApp::start();
    let expect = |length: usize| format!("content-length: {length}\r\nexpect: 100-continue\r\n");
    let other_type = "POST /v1/sources/crm/events HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let other_source = "POST /v1/sources/other/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    for (head, status) in [
        (post_head(&expect(10_000_000)), 413),
        (other_type.to_owned(), 415),
        (other_source.to_owned(), 404),
    ] {
        let mut connection = Connection::open(app.ingress()).unwrap();
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, status, "{head}");
    }
    let body = event("e-1");
    let mut connection = Connection::open(app.ingress()).unwrap();
    for _ in 0..2 {
        connection
            .send(post_head(&expect(body.len())).as_bytes())
            .unwrap();
        assert_eq!(connection.answer().unwrap().status, 100);
        connection.send(body.as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 202);
    }
    app.wait_until("e-1", "delivered");
}

/// FAULTS N45
#[test]
fn pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 200;
    let app = TestApp::start();
    let mut connection = Connection::open(app.ingress()).unwrap();
    let requests: String = (0..REQUESTS)
        .map(|number| {
            let body = event(&format!("e-{number}"));
            let length = format!("content-length: {}\r\n", body.len());
            format!("{}{body}", post_head(&length))
        })
        .collect();
    connection.send(requests.as_bytes()).unwrap();
    for number in 0..REQUESTS {
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.json()["accepted"][0]["id"], format!("e-{number}"));
    }
    app.wait_for("all are delivered", |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
}

/// Returns the CPU time of a process in clock ticks, of which Linux has 100 per second.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let fields: Vec<&str> = fields.collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// FAULTS N45: actix-http wakes itself without end while its read buffer is full and its queue of requests is full too.
#[test]
fn clients_that_pipeline_and_never_read_cost_no_cpu_time() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    let process = Process::serve(&files);
    let (ingress, ops) = process.ready();
    let requests = |address, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(500);
        let mut client = Connection::open(address).unwrap();
        // The receive and send buffers of the kernel fill up only after some rounds.
        wait_for("the connection is blocked", || {
            client.send_until_blocked(request.as_bytes()).unwrap();
            Some(())
        });
        client
    };
    let clients: Vec<Connection> = (0..5)
        .flat_map(|_| [requests(ingress, "/v1/x"), requests(ops, "/metrics")])
        .collect();
    // The bridge works until the buffers of the kernel are full.
    wait_for("the process is idle", || {
        let clock = Clock::machine();
        let (start, before) = (clock.now(), cpu_ticks(process.child.id()));
        wait_for("a second passes", || {
            (clock.now().since(start) >= Duration::from_secs(1)).then_some(())
        });
        (cpu_ticks(process.child.id()) - before < 5).then_some(())
    });
    assert_eq!(http::ask(ops, "GET /livez", &[], "").unwrap().status, 200);
    drop(clients);
}

/// FAULTS N44: the deadline of actix-http applies to the first head of a connection only.
#[test]
fn every_head_of_a_connection_has_a_deadline() {
    let app = TestApp::setup()
        .settings("[ingress]\nhead_deadline = \"200ms\"")
        .start();
    let mut connection = Connection::open(app.ingress()).unwrap();
    assert_eq!(connection.ask("GET /v1/x", &[], "").unwrap().status, 404);
    connection.send(b"GET /v1/x HTTP/1.1\r\nhost:").unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, 408, "{}", answer.body);
    let first = Connection::open(app.ingress()).unwrap().answer().unwrap();
    assert_eq!(first.status, 408, "{}", first.body);
}

/// FAULTS N44: a client that sends an empty line behind a body gets no second answer, which a gateway would take for the
/// answer to its next request.
#[test]
fn an_empty_line_behind_a_body_gets_no_answer() {
    let app = TestApp::setup()
        .settings("[ingress]\nhead_deadline = \"100ms\"")
        .start();
    let mut connection = Connection::open(app.ingress()).unwrap();
    for id in ["e-1", "e-2"] {
        let body = event(id);
        let head = post_head(&format!("content-length: {}\r\n", body.len()));
        connection
            .send(format!("{head}{body}\r\n").as_bytes())
            .unwrap();
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.json()["accepted"][0]["id"], id);
        let (clock, start) = (Clock::machine(), Clock::machine().now());
        wait_for("the deadline passes", || {
            (clock.now().since(start) >= Duration::from_millis(500)).then_some(())
        });
    }
    app.wait_until("e-2", "delivered");
}

/// FAULTS N51: a client that sends more than the bridge reads gets the refusal, and not a reset of its connection.
#[test]
fn a_client_that_goes_on_sending_sees_the_refusal() {
    let app = TestApp::start();
    let more = "x".repeat(100_000);
    let requests = [
        (
            format!("GET /v1/x HTTP/1.1\r\nhost: x\r\na: {more}\r\n\r\n"),
            431,
        ),
        (
            format!("GET /v1/x HTTP/1.1\nhost: x\r\na: {more}\r\n\r\n"),
            400,
        ),
        (
            format!("GET /v1/x HTTP/1.1\r\nhost: x\r\n(a): b\r\n\r\n{more}"),
            400,
        ),
        (
            format!("GET /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\n{more}"),
            400,
        ),
        (
            format!(
                "{}zz\r\n{more}",
                post_head("transfer-encoding: chunked\r\n")
            ),
            400,
        ),
        (
            format!("{}{more}", post_head("content-length: 100000000\r\n")),
            413,
        ),
    ];
    for address in [app.ingress(), app.ops()] {
        for (request, status) in &requests {
            // Five times, because a reset reaches the client at different moments.
            for _ in 0..5 {
                let mut connection = Connection::open(address).unwrap();
                connection.send(request.as_bytes()).unwrap();
                let answer = connection.answer();
                let (start, _) = request.split_at(150);
                let answer = answer.unwrap_or_else(|error| panic!("{start:?} {error}"));
                let is_expected = answer.status == *status || address == app.ops();
                assert!(is_expected, "{start:?} {}", answer.body);
                let end = connection.answer().unwrap_err().kind();
                assert_eq!(end, ErrorKind::UnexpectedEof, "{start:?}");
            }
        }
    }
}

/// FAULTS N53: the HTTP server answers some heads with 400 or 431 and without a body.
#[test]
fn every_refused_head_gets_a_problem_document() {
    let app = TestApp::start();
    let many = "a: b\r\n".repeat(97);
    for address in [app.ingress(), app.ops()] {
        for (head, status, word) in [
            (
                "GET /livez HTTP/3\r\nhost: x\r\n\r\n",
                400,
                "malformed_http",
            ),
            ("GET /livez HTTP/1.1\r\n\r\n", 400, "malformed_http"),
            ("GET /livez\r\n\r\n", 400, "malformed_http"),
            (
                "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
                400,
                "malformed_http",
            ),
            (
                &format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
                431,
                "head_too_large",
            ),
        ] {
            check_refused(address, head, status, word);
        }
    }
    let count = app.metric("refused_total{problem=\"malformed_http\",source=\"\"}");
    assert_eq!(count, Some(4.0));
}

/// FAULTS N52: heads that stall before their end, of clients that send nothing else.
#[test]
fn stalled_heads_do_not_fill_the_memory() {
    const STALLED: usize = 600;
    let app = TestApp::start();
    let head = format!("GET /v1/x HTTP/1.1\r\nhost: x\r\na: {}", "x".repeat(16_000));
    let mut stalled: Vec<Connection> = (0..STALLED)
        .map(|_| {
            let mut connection = Connection::open(app.ingress()).unwrap();
            connection.send(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    app.wait_for("the last heads are refused", |app| {
        let refused = app.metric("refused_total{problem=\"head_budget\",source=\"\"}");
        refused.is_some_and(|refused| refused >= 50.0)
    });
    let last = stalled.last_mut().unwrap().answer().unwrap();
    assert_eq!((last.status, last.header("retry-after")), (503, Some("1")));
    app.accept(&Event::new("e-1", "c1", 1).email("canary@example.com"));
    drop(stalled);
    wait_for("a large head is accepted again", || {
        let mut connection = Connection::open(app.ingress()).unwrap();
        connection
            .send(format!("{head}\r\n\r\n").as_bytes())
            .unwrap();
        (connection.answer().unwrap().status == 404).then_some(())
    });
    app.wait_until("e-1", "delivered");
}

/// FAULTS N45: a client that does not read its answers loses the connection after 20 s.
#[test]
fn a_client_that_never_reads_loses_its_connection() {
    let app = TestApp::start();
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    let mut client = Connection::open(app.ops()).unwrap();
    wait_for("the bridge ends the connection", || {
        client
            .send_until_blocked(request.as_bytes())
            .is_err()
            .then_some(())
    });
}

/// FAULTS I02: after the refusal, the bridge does not read an endless body.
#[test]
fn an_endless_body_ends_with_the_refusal() {
    let app = TestApp::start();
    for address in [app.ingress(), app.ops()] {
        let mut connection = Connection::open(address).unwrap();
        let head =
            "POST /admin/v1/explain HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.send(head.as_bytes()).unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        wait_for("the connection ends", || {
            connection.send(chunk.as_bytes()).is_err().then_some(())
        });
    }
    assert!(
        metric(
            &app.ops_get("/metrics").body,
            "refused_total{problem=\"not_found\",source=\"\"}"
        )
        .is_some()
    );
}

/// FAULTS N43: bodies that stall, of clients that only know the name of a source.
#[test]
fn stalled_bodies_do_not_lock_out_a_sender() {
    const STALLED: usize = 100;
    let settings =
        "[ingress]\nbody_bytes_max = 65536\nbodies_bytes_max = 262144\nbody_deadline = \"60s\"";
    let app = TestApp::setup().settings(settings).start();
    let head = post_head("content-length: 65536\r\n");
    let body = format!("{head}{}", " ".repeat(60_000));
    let refused = std::cell::Cell::new(0);
    let stalled: Vec<Connection> = (0..STALLED)
        .map(|_| {
            let mut connection = Connection::open(app.ingress()).unwrap();
            connection.send(body.as_bytes()).unwrap();
            connection
        })
        .collect();
    wait_for("an event is accepted", || {
        let answer = app.post(&Event::new("e-1", "c1", 1).email("canary@example.com"));
        if answer.status == 503 {
            assert_eq!(
                answer.json()["type"],
                "urn:imprint-bridge:problem:body_budget"
            );
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused.set(refused.get() + 1);
        }
        (answer.status == 202).then_some(())
    });
    app.wait_until("e-1", "delivered");
    // At most four of the bodies fit into the budget, and later ones take the place of the ones that stall.
    app.wait_for("the other bodies are refused", |app| {
        let refused = app.metric("refused_total{problem=\"body_budget\",source=\"crm\"}");
        refused.is_some_and(|refused| refused >= 90.0)
    });
    drop(stalled);
    for number in 2..20 {
        app.accept(&Event::new(&format!("e-{number}"), "c1", number));
    }
    app.wait_for("all are delivered", |app| {
        app.metric("waiting_entries") == Some(0.0)
    });
}

/// FAULTS N43
#[test]
fn the_ops_listener_reads_no_body_without_a_token() {
    let token = "token-of-ann-0123456789";
    let app = TestApp::setup().operator("ann", token).start();
    let head = |token: &str, length: usize| {
        format!(
            "POST /admin/v1/explain?source=crm HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    for (token, length, status) in [
        ("token-of-eve", 10, 401),
        (token, 300_000, 413),
        (token, 10, 100),
    ] {
        let mut connection = Connection::open(app.ops()).unwrap();
        connection.send(head(token, length).as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, status, "{length}");
    }
}

/// FAULTS N49: a client that stalls on the ops listener loses its connection, within the body of a change or in a head.
#[test]
fn a_stalled_admin_request_has_a_deadline() {
    let token = "token-of-ann-0123456789";
    let app = TestApp::setup().operator("ann", token).start();
    let head = format!(
        "POST /admin/v1/explain?source=crm HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n"
    );
    let mut body = Connection::open(app.ops()).unwrap();
    body.send(head.as_bytes()).unwrap();
    let mut line = Connection::open(app.ops()).unwrap();
    line.send(b"GET /livez HTTP/1.1\r\nhost").unwrap();
    let answer = body.answer().unwrap();
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert_eq!(
        answer.json()["type"],
        "urn:imprint-bridge:problem:body_timeout"
    );
    // The connection ends, with or without an answer.
    if let Ok(answer) = line.answer() {
        assert_eq!(answer.status, 408, "{}", answer.body);
    }
}

/// FAULTS N49
#[test]
fn probes_are_answered_while_admin_requests_stall() {
    let token = "token-of-ann-0123456789";
    let app = TestApp::setup().operator("ann", token).start();
    let head = format!(
        "POST /admin/v1/explain?source=crm HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n"
    );
    let stalled: Vec<Connection> = (0..16)
        .map(|_| {
            let mut connection = Connection::open(app.ops()).unwrap();
            connection.send(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let ask = || http::ask(app.ops(), "GET /admin/v1/entries", &headers, "").unwrap();
    wait_for("the admin API is busy", || {
        let answer = ask();
        (answer.status == 503).then(|| assert_eq!(answer.header("retry-after"), Some("1")))
    });
    for probe in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(app.ops_get(probe).status, 200, "{probe}");
    }
    drop(stalled);
    wait_for("the admin API answers again", || {
        (ask().status == 200).then_some(())
    });
}

/// FAULTS N50
#[test]
fn idle_connections_lock_out_neither_senders_nor_probes_nor_a_new_key() {
    const OPEN_FILES: usize = 140;
    let imprint = FakeImprint::start(|_settings| {});
    let settings = "[imprint]\nconcurrency = 8";
    let files = Files::write(imprint.address, "sk_test_canary_old", settings);
    let process = Process::serve_with_open_files(&files, OPEN_FILES);
    let (ingress, ops) = process.ready();
    // A gateway keeps its connection, on which it has sent an authentic event.
    let mut gateway = Connection::open(ingress).unwrap();
    let headers = [("content-type", "application/cloudevents+json")];
    let mut post = |id: &str| {
        gateway
            .ask(POST_EVENTS, &headers, &event(id))
            .unwrap()
            .status
    };
    assert_eq!(post("e-1"), 202);
    let idle: Vec<Connection> = (0..2 * OPEN_FILES)
        .flat_map(|_| [Connection::open(ingress), Connection::open(ops)])
        .map(Result::unwrap)
        .collect();
    assert_eq!(post("e-2"), 202);
    let late = http::ask(ingress, POST_EVENTS, &headers, &event("e-3")).unwrap();
    assert_eq!(late.status, 202);
    for probe in ["/livez", "/readyz", "/metrics"] {
        let answer = http::ask(ops, &format!("GET {probe}"), &[], "").unwrap();
        assert_eq!(answer.status, 200, "{probe}");
    }
    files.write_key(KEY);
    wait_for("the events are delivered with the new key", || {
        let answer = http::ask(ops, "GET /metrics", &[], "").unwrap();
        (metric(&answer.body, "waiting_entries") == Some(0.0)).then_some(())
    });
    drop(idle);
}

/// FAULTS N50: the bridge raises its limit of open files up to the one that the machine allows.
#[test]
fn a_low_limit_of_open_files_is_raised() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "[imprint]\nconcurrency = 8");
    let process = Process::serve_with_limits(&files, "ulimit -S -n 64 && ulimit -H -n 512");
    process.ready();
}

/// FAULTS N50: too few descriptors are an error at the start and not a fault later.
#[test]
fn a_process_with_too_few_descriptors_does_not_start() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "[imprint]\nconcurrency = 8");
    let mut process = Process::serve_with_open_files(&files, 64);
    assert_eq!(process.wait_for_exit().code(), Some(1), "{}", process.log());
    assert!(
        process.log().contains("may open 64 files"),
        "{}",
        process.log()
    );
}
