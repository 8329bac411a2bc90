use super::*;

/// Returns the bytes of each request that the HTTP server sees, for input that arrives in pieces of `piece` bytes.
fn requests(input: &[u8], piece: usize) -> Result<Vec<String>, Violation> {
    let mut framing = Framing::default();
    let mut requests = vec![];
    let mut seen = Vec::new();
    let mut buffer: Vec<u8> = Vec::new();
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let advance = framing.advance(&buffer)?;
            let taken: Vec<u8> = buffer.drain(..advance.taken).collect();
            let is_cut = |at: &usize| advance.cut.iter().any(|cut| cut.contains(at));
            seen.extend(
                (0..taken.len())
                    .filter(|at| !is_cut(at))
                    .map(|at| taken[at]),
            );
            if advance.is_complete {
                requests.push(String::from_utf8(std::mem::take(&mut seen)).unwrap());
            }
            if advance.taken == 0 {
                break;
            }
        }
    }
    Ok(requests)
}

#[track_caller]
fn check(input: &str, expected: Result<&[&str], Violation>) {
    let expected = expected.map(|requests| {
        let requests = requests.iter().map(|request| (*request).to_owned());
        requests.collect::<Vec<_>>()
    });
    for piece in [1, 2, 3, 7, 1 << 20] {
        assert_eq!(
            requests(input.as_bytes(), piece),
            expected,
            "{input:?} {piece}"
        );
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn each_request_ends_where_its_body_ends() {
    let length = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=1\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n";
    let trailer = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\nc: d\r\n\r\n";
    for request in [GET, length, chunks, trailer] {
        check(&format!("{request}{GET}"), Ok(&[request, GET]));
    }
    check(&format!("\r\n\r\n{GET}\r\n{GET}"), Ok(&[GET, GET]));
    check("GET / HTTP/1.1\r\nhost: x\r\n", Ok(&[]));
}

#[test]
fn the_server_does_not_see_the_expect_header() {
    let post = |expect: &str| format!("POST / HTTP/1.1\r\n{expect}content-length: 1\r\n\r\na");
    check(&post("Expect: 100-continue\r\n"), Ok(&[&post("")]));
    let mut framing = Framing::default();
    let input = post("Expect: 100-continue\r\n");
    assert!(framing.advance(input.as_bytes()).unwrap().expects_continue);
}

/// FAULTS N46, N47
#[test]
fn bytes_that_two_receivers_could_read_differently_are_refused() {
    let line_ends = [
        "GET / HTTP/1.1\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\n",
        "GET / HTTP/1.1\r\nhost: x\ra: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
        "\n\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
    ];
    for input in line_ends {
        check(input, Err(Violation::LineEnd));
    }
    for size in ["x", "-1", "10000000000000000", "\r\n", "1 \u{e9}x\u{1}"] {
        let input = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{size}");
        let found = requests(input.as_bytes(), 1);
        assert!(found != Ok(vec![]) || size.starts_with("1 "), "{size:?}");
    }
    for head in [
        "CONNECT x:1 HTTP/1.1",
        "POST / HTTP/1.1\r\nUpgrade: h2c, WebSocket/13",
    ] {
        check(&format!("{head}\r\n\r\n"), Err(Violation::Tunnel));
    }
    let h2c = "POST / HTTP/1.1\r\nUpgrade: h2c\r\ncontent-length: 1\r\n\r\na";
    check(h2c, Ok(&[h2c]));
}

/// FAULTS N1331
#[test]
fn another_protocol_is_recognised_at_the_first_bytes() {
    let beginnings: [(&[u8], OtherProtocol); 6] = [
        (b"\x16\x03\x01\x02\0\x01", OtherProtocol::Tls),
        (b"\x16\x03\x03", OtherProtocol::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OtherProtocol::Http2),
        (
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            OtherProtocol::Proxy,
        ),
        (b"PROXY UNKNOWN\r\n", OtherProtocol::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", OtherProtocol::Proxy),
    ];
    for (input, protocol) in beginnings {
        let expected = Err(Violation::OtherProtocol(protocol));
        assert_eq!(requests(input, 100), expected, "{input:?}");
    }
    let mut in_pieces = Framing::default();
    in_pieces.advance(b"\r\n\r\n").unwrap();
    let rest = in_pieces.advance(b"\0\r\nQUIT\n\x21\x11");
    assert!(matches!(rest, Err(Violation::OtherProtocol(_))), "{rest:?}");
    check(
        "PROXYING / HTTP/1.1\r\nhost: x\r\n\r\n",
        Ok(&["PROXYING / HTTP/1.1\r\nhost: x\r\n\r\n"]),
    );
}

#[test]
fn a_head_has_a_maximum_size() {
    let head = |size: usize| {
        let empty = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(size - empty))
    };
    assert_eq!(
        requests(head(HEAD_BYTES_MAX).as_bytes(), 100)
            .unwrap()
            .len(),
        1
    );
    let too_large = requests(head(HEAD_BYTES_MAX + 1).as_bytes(), 100);
    assert_eq!(too_large, Err(Violation::HeadTooLarge));
    let empty_lines = "\r\n".repeat(HEAD_BYTES_MAX);
    assert_eq!(
        requests(empty_lines.as_bytes(), 100),
        Err(Violation::HeadTooLarge)
    );
}
