use actix_web::http::header::{HeaderName, HeaderValue};

use super::examination::{CapturedRequest, NamedSecret};
use super::*;

const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"id":"e-1"}"#;
const TOKENS: [&str; 2] = ["old-token-0123456789", "new-token-0123456789"];

fn secret(fill: u8) -> SecretString {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode([fill; 32]);
    SecretString::from(format!("whsec_{encoded}"))
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn signed(fill: u8, id: &str, seconds: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let key = SigningKey::parse(&secret(fill)).unwrap();
    key.sign(id, wall(seconds), body).to_vec()
}

fn header_map(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn verify(
    verifier: &Verifier,
    lines: &[(&'static str, String)],
    body: &[u8],
) -> Result<(), DenialReason> {
    let body = Untrusted::new(Bytes::copy_from_slice(body));
    let headers = header_map(lines);
    let verified = verifier.verify(head(&headers), body, wall(NOW));
    verified.map(drop).map_err(|denial| denial.reason)
}

fn head(headers: &HeaderMap) -> Head<'_> {
    Head {
        method: "POST",
        path: "/v1/sources/crm/events",
        headers,
    }
}

fn bearer(tokens: &[SecretString]) -> Result<Verifier, Error> {
    Verifier::token(TokenScheme::Bearer, tokens, SecretMinimum::default())
}

fn webhooks() -> Verifier {
    Verifier::standard_webhooks(&[secret(1), secret(2)], SecretMinimum::default()).unwrap()
}

/// Replaces a header of a valid request by each of `values`, and checks the reason for the denial.
fn check_replaced(name: &str, values: &[&str], expected: DenialReason) {
    for value in values {
        let mut lines = signed(1, "e-1", NOW, BODY);
        let line = lines.iter_mut().find(|line| line.0 == name).unwrap();
        (*value).clone_into(&mut line.1);
        assert_eq!(
            verify(&webhooks(), &lines, BODY),
            Err(expected),
            "{name}: {value}"
        );
    }
}

/// The request and the signature are the example in the Standard Webhooks specification.
#[test]
fn a_signature_equals_the_one_in_the_specification() {
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let key = SigningKey::parse(&secret).unwrap();
    let [_, _, (_, signature)] = key.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        wall(1_614_265_330),
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/// Svix sends other header names than the specification. A request must not mix the two sets of names.
#[test]
fn the_header_names_of_svix_are_accepted() {
    let standard = signed(1, "e-1", NOW, BODY);
    let svix = ["svix-id", "svix-timestamp", "svix-signature"];
    let renamed = |count: usize| {
        let mut lines = standard.clone();
        for (line, name) in lines.iter_mut().zip(svix).take(count) {
            line.0 = name;
        }
        lines
    };
    assert_eq!(verify(&webhooks(), &renamed(3), BODY), Ok(()));
    for count in [1, 2] {
        let mixed = verify(&webhooks(), &renamed(count), BODY);
        assert_eq!(mixed, Err(DenialReason::Missing), "{count}");
    }
    let mut both = renamed(3);
    both.extend(signed(3, "e-1", NOW, BODY));
    assert_eq!(
        verify(&webhooks(), &both, BODY),
        Err(DenialReason::Mismatch)
    );
}

/// FAULTS S06
#[test]
fn any_current_key_passes_and_a_removed_one_does_not() {
    for fill in [1, 2] {
        assert_eq!(
            verify(&webhooks(), &signed(fill, "e-1", NOW, BODY), BODY),
            Ok(())
        );
    }
    let removed = signed(3, "e-1", NOW, BODY);
    assert_eq!(
        verify(&webhooks(), &removed, BODY),
        Err(DenialReason::Mismatch)
    );
    let mut both = removed;
    let current = signed(2, "e-1", NOW, BODY)[2].1.clone();
    both[2].1 = format!("v1a,AAAA {} {current}", both[2].1);
    assert_eq!(verify(&webhooks(), &both, BODY), Ok(()));
}

/// FAULTS S01
#[test]
fn an_absent_header_is_missing() {
    for removed in 0..3 {
        let mut lines = signed(1, "e-1", NOW, BODY);
        lines.remove(removed);
        assert_eq!(
            verify(&webhooks(), &lines, BODY),
            Err(DenialReason::Missing)
        );
    }
    assert_eq!(verify(&webhooks(), &[], BODY), Err(DenialReason::Missing));
}

/// FAULTS S02
#[test]
fn an_unreadable_or_foreign_signature_is_refused() {
    let unreadable = [
        "",
        "v1",
        "v1,",
        "v1,???",
        "v1,not base64",
        "v2,AAAA",
        "v1a,AAAA",
        "AAAA",
    ];
    check_replaced(
        "webhook-signature",
        &unreadable[..2],
        DenialReason::Malformed,
    );
    check_replaced(
        "webhook-signature",
        &unreadable[3..],
        DenialReason::Malformed,
    );
    check_replaced(
        "webhook-signature",
        &["v1,", "v1,AAAA", "v1,AAAA v1,BBBB"],
        DenialReason::Mismatch,
    );
    let whole = signed(1, "e-1", NOW, BODY)[2].1.clone();
    let truncated = whole.get(..whole.len() - 4).unwrap();
    check_replaced("webhook-signature", &[truncated], DenialReason::Mismatch);
    let mut twice = signed(1, "e-1", NOW, BODY);
    twice.push(("webhook-id", "e-1".to_owned()));
    assert_eq!(
        verify(&webhooks(), &twice, BODY),
        Err(DenialReason::Malformed)
    );
}

/// FAULTS S03, S08
#[test]
fn one_changed_bit_anywhere_is_refused() {
    let lines = signed(1, "e-1", NOW, BODY);
    for bit in 0..BODY.len() * 8 {
        let mut body = BODY.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            verify(&webhooks(), &lines, &body),
            Err(DenialReason::Mismatch)
        );
    }
    check_replaced(
        "webhook-id",
        &["e-2", "e-1 ", "E-1"],
        DenialReason::Mismatch,
    );
    check_replaced(
        "webhook-timestamp",
        &[&(NOW + 1).to_string()],
        DenialReason::Mismatch,
    );
    assert_eq!(
        verify(&webhooks(), &lines, br#"{ "id":"e-1"}"#),
        Err(DenialReason::Mismatch)
    );
}

/// FAULTS C04, C02, C03, S05
#[test]
fn a_signature_is_good_for_300_seconds_either_way() {
    for (skew, expected) in [
        (-301, Err(DenialReason::Stale)),
        (-300, Ok(())),
        (-299, Ok(())),
        (299, Ok(())),
        (300, Ok(())),
        (301, Err(DenialReason::Stale)),
        (-NOW, Err(DenialReason::Stale)),
        (315_360_000, Err(DenialReason::Stale)),
    ] {
        let lines = signed(1, "e-1", NOW + skew, BODY);
        assert_eq!(verify(&webhooks(), &lines, BODY), expected, "{skew}");
    }
    let unreadable = [
        "",
        "now",
        "-1",
        "+1700000000",
        "1.7e9",
        "1700000000.0",
        "0x1",
        &"9".repeat(400),
    ];
    check_replaced("webhook-timestamp", &unreadable, DenialReason::Malformed);
    check_replaced(
        "webhook-timestamp",
        &["9223372036854775807", "0"],
        DenialReason::Stale,
    );
}

#[test]
fn a_bearer_token_must_be_a_configured_one() {
    let verifier = bearer(&TOKENS.map(SecretString::from)).unwrap();
    let check = |line: &str, expected| {
        let lines = [("authorization", line.to_owned())];
        assert_eq!(verify(&verifier, &lines, BODY), expected, "{line}");
    };
    for token in TOKENS {
        check(&format!("Bearer {token}"), Ok(()));
        check(&format!("bearer {token}"), Ok(()));
        check(&format!("Bearer {token}x"), Err(DenialReason::Mismatch));
        check(&format!("Basic {token}"), Err(DenialReason::Malformed));
    }
    check("Bearer old-token", Err(DenialReason::Mismatch));
    check("Bearer ", Err(DenialReason::Mismatch));
    check("Bearer", Err(DenialReason::Malformed));
    check("", Err(DenialReason::Malformed));
    assert_eq!(verify(&verifier, &[], BODY), Err(DenialReason::Missing));
}

/// FAULTS S11
#[test]
fn an_empty_or_short_secret_is_refused_at_start() {
    use base64::Engine as _;
    let of_bytes = |len: usize| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(vec![7; len]);
        SecretString::from(format!("whsec_{encoded}"))
    };
    let webhooks = |secret: SecretString| {
        Verifier::standard_webhooks(&[of_bytes(24), secret], SecretMinimum::default()).map(drop)
    };
    for len in [24, 32, 64] {
        assert_eq!(webhooks(of_bytes(len)), Ok(()), "{len}");
    }
    let secret_1 = |flaw| Err(Error::Secret { index: 1, flaw });
    for len in [0, 23] {
        let bytes_min = 24;
        let short = SecretFlaw::Short {
            bytes: len,
            bytes_min,
        };
        assert_eq!(webhooks(of_bytes(len)), secret_1(short), "{len}");
    }
    let long = SecretFlaw::Long {
        bytes: 65,
        bytes_max: 64,
    };
    assert_eq!(webhooks(of_bytes(65)), secret_1(long));
    for text in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???"] {
        let flaw = SecretFlaw::Encoding("`whsec_` and a key in base64");
        assert_eq!(webhooks(SecretString::from(text)), secret_1(flaw), "{text}");
    }
    for (text, is_short) in [
        ("", true),
        ("short", true),
        ("fifteen-chars-x", true),
        ("with a space in it", false),
        ("with-a-newline-in-it\n", false),
    ] {
        let flaw = if is_short {
            SecretFlaw::Short {
                bytes: text.len(),
                bytes_min: 16,
            }
        } else {
            SecretFlaw::Encoding("visible ASCII characters")
        };
        assert_eq!(
            bearer(&[SecretString::from(text)]).map(drop),
            Err(Error::Secret { index: 0, flaw }),
            "{text}"
        );
    }
    assert_eq!(bearer(&[]).map(drop), Err(Error::NoSecret));
    assert_eq!(
        Verifier::standard_webhooks(&[], SecretMinimum::default()).map(drop),
        Err(Error::NoSecret)
    );
}

#[test]
fn a_signature_covers_the_id_that_it_names() {
    let body = Untrusted::new(Bytes::from_static(BODY));
    let lines = header_map(&signed(1, "e-1", NOW, BODY));
    let authentic = webhooks()
        .verify(head(&lines), body.clone(), wall(NOW))
        .unwrap();
    assert!(authentic.is_about(&Attribute::parse("e-1").unwrap()));
    assert!(!authentic.is_about(&Attribute::parse("e-2").unwrap()));
    let unsigned = Verifier::none()
        .verify(head(&lines), body, wall(NOW))
        .unwrap();
    assert!(unsigned.is_about(&Attribute::parse("e-2").unwrap()));
}

/// FAULTS V5
#[test]
fn debug_output_contains_no_secret() {
    let bearer = bearer(&TOKENS.map(SecretString::from)).unwrap();
    let body = Untrusted::new("body-canary");
    let printed = format!(
        "{bearer:?} {:?} {:?} {body:?}",
        webhooks(),
        SigningKey::parse(&secret(1))
    );
    assert!(
        !printed.contains("token-") && !printed.contains("canary") && !printed.contains("AQEB")
    );
}

/// FAULTS N348: the examination of a captured request shows the signed text, and names a changed body.
#[test]
fn a_captured_request_of_standard_webhooks_is_examined() {
    let named = |fill: u8| NamedSecret {
        file: format!("secret-{fill}"),
        secret: secret(fill),
    };
    let lines = signed(1, "msg-1", NOW, BODY);
    let svix: Vec<_> = ["svix-id", "svix-timestamp", "svix-signature"]
        .into_iter()
        .zip(&lines)
        .map(|(name, line)| (name, line.1.clone()))
        .collect();
    let with_line_break = [BODY, b"\n"].concat();
    for (lines, fills, body, at, is_authentic, part) in [
        (&lines, &[2, 1][..], BODY, NOW, true, "secret-1 makes"),
        (&svix, &[1], BODY, NOW, true, "{header:svix-id} is msg-1"),
        (&lines, &[2], BODY, NOW, false, "no common mistake"),
        (
            &lines,
            &[1],
            &*with_line_break,
            NOW,
            false,
            "no line break or white space at its end",
        ),
        (
            &lines,
            &[1],
            BODY,
            NOW + 301,
            false,
            "301 s before the bridge's clock",
        ),
    ] {
        let headers = header_map(lines);
        let request = CapturedRequest {
            head: head(&headers),
            body,
            wall: wall(at),
        };
        let secrets: Vec<_> = fills.iter().map(|fill| named(*fill)).collect();
        let examination = examine_standard_webhooks(&secrets, request).unwrap();
        let report = examination.report.join("\n");
        assert_eq!(examination.is_authentic, is_authentic, "{report}");
        assert!(report.contains(part), "{part} in {report}");
    }
    let other = NamedSecret {
        file: "other".to_owned(),
        secret: SecretString::from("no-prefix"),
    };
    let headers = header_map(&lines);
    let request = CapturedRequest {
        head: head(&headers),
        body: BODY,
        wall: wall(NOW),
    };
    let (file, _) = examine_standard_webhooks(&[other], request).unwrap_err();
    assert_eq!(file, "other");
}

/// FAULTS N1478: an expression can read the id and the time of Standard Webhooks, but no unsigned ones beside the signed ones.
#[test]
fn a_header_beside_the_signed_headers_is_denied() {
    let read = [
        "svix-id",
        "svix-timestamp",
        "webhook-id",
        "webhook-timestamp",
    ];
    let read: BTreeSet<String> = read.map(str::to_owned).into();
    let (now, later) = (NOW.to_string(), (NOW + 1).to_string());
    for (extra, is_signed) in [
        (None, true),
        (Some(("svix-id", "e-1")), true),
        (Some(("svix-id", "e-2")), false),
        (Some(("svix-timestamp", &now)), true),
        (Some(("svix-timestamp", &later)), false),
    ] {
        let mut lines = signed(1, "e-1", NOW, BODY);
        lines.extend(extra.map(|(name, value)| (name, value.to_owned())));
        let headers = header_map(&lines);
        let body = Untrusted::new(Bytes::from_static(BODY));
        let authentic = webhooks().verify(head(&headers), body, wall(NOW)).unwrap();
        let verified = authentic.verify_read_headers(&headers, &read);
        assert_eq!(verified.is_ok(), is_signed, "{extra:?}");
        let unread = authentic.verify_read_headers(&headers, &BTreeSet::new());
        assert_eq!(unread, Ok(()));
    }
}
