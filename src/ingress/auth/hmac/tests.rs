use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderValue};

use super::super::DenialReason;
use super::*;

const SECRET: &str = "a-secret-of-the-tests";
const EVENTS: &str = "/v1/sources/crm/events";
const BODY: &str = r#"{"id":"e-1"}"#;
/// The test time: 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000_000;

/// An HMAC scheme, and a request that another implementation signed.
struct Case {
    name: &'static str,
    scheme: HmacScheme,
    secret: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    wall: i64,
}

fn scheme(header: &str, encoding: SignatureEncoding) -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        secret_encoding: SecretEncoding::Text,
        header: header.parse().unwrap(),
        header_items: HeaderItems::default(),
        encoding,
        signed: SignedText::new("{body}".parse().unwrap(), None).unwrap(),
    }
}

fn header_items(prefix: &str, separator: Option<&str>) -> HeaderItems {
    HeaderItems::new(prefix.to_owned(), separator.map(str::to_owned)).unwrap()
}

fn signed(template: &str, header: &str, unit: TimeUnit) -> SignedText {
    let signing_time = SigningTime {
        header: header.parse().unwrap(),
        header_items: HeaderItems::default(),
        unit,
        tolerance: Duration::from_mins(5),
    };
    SignedText::new(template.parse().unwrap(), Some(signing_time)).unwrap()
}

fn case(name: &'static str, scheme: HmacScheme, headers: &[(&'static str, &'static str)]) -> Case {
    Case {
        name,
        scheme,
        secret: SECRET,
        path: EVENTS,
        headers: headers.to_vec(),
        body: BODY,
        wall: NOW,
    }
}

fn github() -> Case {
    let scheme = HmacScheme {
        header_items: header_items("sha256=", None),
        ..scheme("x-hub-signature-256", SignatureEncoding::Hex)
    };
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    Case {
        secret: "It's a Secret to Everybody",
        body: "Hello, World!",
        ..case(
            "GitHub, published",
            scheme,
            &[("x-hub-signature-256", signature)],
        )
    }
}

fn slack() -> Case {
    let scheme = HmacScheme {
        header_items: header_items("v0=", None),
        signed: signed(
            "v0:{timestamp}:{body}",
            "x-slack-request-timestamp",
            TimeUnit::Seconds,
        ),
        ..scheme("x-slack-signature", SignatureEncoding::Hex)
    };
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
        &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
        &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands\
        %2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", signature),
    ];
    Case {
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        body,
        wall: 1_531_420_618_000,
        ..case("Slack, published", scheme, &headers)
    }
}

fn stripe() -> Case {
    let signing_time = SigningTime {
        header: "stripe-signature".parse().unwrap(),
        header_items: header_items("t=", Some(",")),
        unit: TimeUnit::Seconds,
        tolerance: Duration::from_mins(5),
    };
    let scheme = HmacScheme {
        header_items: header_items("v1=", Some(",")),
        signed: SignedText::new("{timestamp}.{body}".parse().unwrap(), Some(signing_time)).unwrap(),
        ..scheme("stripe-signature", SignatureEncoding::Hex)
    };
    let line = "t=1700000000,v1=2e193afb87d994dcb66242ae4378bfed72d95866f173a1c0b0df5d8ac65833b5";
    case("Stripe", scheme, &[("stripe-signature", line)])
}

fn hubspot() -> Case {
    let scheme = HmacScheme {
        signed: signed(
            "{method}https://bridge.example.com{path}{body}{timestamp}",
            "x-hubspot-request-timestamp",
            TimeUnit::Milliseconds,
        ),
        ..scheme("x-hubspot-signature-v3", SignatureEncoding::Base64)
    };
    let headers = [
        ("x-hubspot-request-timestamp", "1700000000123"),
        (
            "x-hubspot-signature-v3",
            "e6mJNU7xRw0ZT+WU0HSFpZmMcR9nuPJuvU4+byvMSic=",
        ),
    ];
    Case {
        path: "/v1/sources/crm/events?x=1",
        wall: NOW + 123,
        ..case("HubSpot", scheme, &headers)
    }
}

fn zendesk() -> [Case; 2] {
    let scheme = |template| HmacScheme {
        signed: signed(
            template,
            "x-zendesk-webhook-signature-timestamp",
            TimeUnit::Rfc3339,
        ),
        ..scheme("x-zendesk-webhook-signature", SignatureEncoding::Base64)
    };
    let headers = |at, signature| {
        [
            ("x-zendesk-webhook-signature-timestamp", at),
            ("x-zendesk-webhook-signature", signature),
        ]
    };
    let computed = headers(
        "2023-11-14T22:13:20.000Z",
        "ti32d6gTv+rHC6qblJ9XWdeXZEhVaHR5Xlu0XCR6K4Q=",
    );
    let published = headers(
        "2021-07-25T10:00:00Z",
        "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw=",
    );
    [
        case("Zendesk", scheme("{timestamp}{body}"), &computed),
        Case {
            secret: "HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA=",
            body: r#"{"say": "hello"}"#,
            wall: 1_627_207_200_000,
            ..case(
                "Zendesk's event connectors, published",
                scheme("{body}{timestamp}"),
                &published,
            )
        },
    ]
}

fn segment() -> Case {
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha1,
        ..scheme("x-signature", SignatureEncoding::Hex)
    };
    let signature = "b9bbc6a3dd7a51245ebdf2babcccb824660d33d8";
    case("Segment", scheme, &[("x-signature", signature)])
}

fn cases() -> Vec<Case> {
    let shopify = case(
        "Shopify",
        scheme("x-shopify-hmac-sha256", SignatureEncoding::Base64),
        &[(
            "x-shopify-hmac-sha256",
            "KwGXx78yl5N8wRfRd1uS0VKu8z6+ONXhKOtCvGUjSMw=",
        )],
    );
    let long = HmacScheme {
        algorithm: Algorithm::Sha512,
        secret_encoding: SecretEncoding::Base64,
        signed: SignedText::new("{{{header:ce-id}}}\n{body}".parse().unwrap(), None).unwrap(),
        ..scheme("x-mac", SignatureEncoding::Hex)
    };
    let signature = "de17f9e9b5f6b0f445e20fbfe0bcb4ca280c307d21c36bb4f156fe9931897a9e\
                     e3e0a898d8d95fc8263bb3fb29b9ba2662c7ccd1ed2c2e063f14840d5272bd63";
    let long = Case {
        secret: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNE\
                 RUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJ\
                 iouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsc=",
        ..case(
            "a key longer than a block",
            long,
            &[("ce-id", "e-1"), ("x-mac", signature)],
        )
    };
    let mut cases = vec![
        github(),
        slack(),
        stripe(),
        hubspot(),
        segment(),
        shopify,
        long,
    ];
    cases.extend(zendesk());
    cases
}

impl Case {
    fn keys(&self, secrets: &[&str]) -> HmacKeys {
        let secrets: Vec<_> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        HmacKeys::new(self.scheme.clone(), &secrets, SecretMinimum::default()).unwrap()
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let lines = self.headers.iter();
        lines
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }

    fn verify(&self) -> Result<(), DenialReason> {
        self.verify_with(&self.lines(), self.path, self.body.as_bytes())
    }

    fn verify_with(
        &self,
        headers: &[(&str, String)],
        path: &str,
        body: &[u8],
    ) -> Result<(), DenialReason> {
        let headers = header_map(headers);
        let head = Head {
            method: "POST",
            path,
            headers: &headers,
        };
        self.keys(&[self.secret])
            .verify(head, body, Timestamp::from_millis(self.wall))
            .map_err(|denial| denial.reason)
    }

    /// Returns the test case with another value of one header.
    fn with(mut self, name: &str, value: &'static str) -> Self {
        let line = self.headers.iter_mut().find(|line| line.0 == name).unwrap();
        line.1 = value;
        self
    }

    fn at(mut self, wall: i64) -> Self {
        self.wall = wall;
        self
    }
}

fn header_map(lines: &[(&str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn signatures_of_other_implementations_are_accepted() {
    for case in cases() {
        assert_eq!(case.verify(), Ok(()), "{}", case.name);
    }
}

/// Signing a published request again gives the published signature, in the same headers.
#[test]
fn signing_gives_the_published_signatures() {
    for case in cases() {
        let (given, expected): (Vec<_>, Vec<_>) = case
            .lines()
            .into_iter()
            .partition(|(name, _)| *name == "ce-id");
        let headers = header_map(&given);
        let head = Head {
            method: "POST",
            path: case.path,
            headers: &headers,
        };
        let at = Timestamp::from_millis(case.wall);
        let signed = case.keys(&[case.secret, "YW5vdGhlci1zZWNyZXQtdGhhbi10aGF0"]);
        let signed = signed.sign(head, at, case.body.as_bytes()).unwrap();
        let lines: Vec<_> = signed
            .iter()
            .map(|(n, v)| (n.as_str(), v.clone()))
            .collect();
        // The bridge writes signing times with milliseconds, but the published signing time has none.
        if case.name.contains("event connectors") {
            let verified = case.verify_with(&lines, case.path, case.body.as_bytes());
            assert_eq!(verified, Ok(()), "{}", case.name);
        } else {
            assert_eq!(lines, expected, "{}", case.name);
        }
    }
}

/// Returns the position of every byte of every header.
fn places(lines: &[(&str, String)]) -> Vec<(usize, usize)> {
    let of_line = |(line, (_, value)): (usize, &(&str, String))| {
        (0..value.len()).map(move |index| (line, index)).collect()
    };
    let places: Vec<Vec<_>> = lines.iter().enumerate().map(of_line).collect();
    places.concat()
}

/// Returns the value with another digit at `index`. The other digit is not the same hexadecimal digit in the other
/// case.
fn changed(value: &str, index: usize) -> String {
    let mut value = value.as_bytes().to_vec();
    value[index] = if value[index] == b'7' { b'4' } else { b'7' };
    String::from_utf8(value).unwrap()
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    for case in cases() {
        let lines = case.lines();
        for index in 0..case.body.len() {
            let mut body = case.body.as_bytes().to_vec();
            body[index] ^= 1;
            let verified = case.verify_with(&lines, case.path, &body);
            assert_eq!(verified, Err(DenialReason::Mismatch), "{}", case.name);
        }
        for (line, index) in places(&lines) {
            let mut lines = lines.clone();
            lines[line].1 = changed(&lines[line].1, index);
            let verified = case.verify_with(&lines, case.path, case.body.as_bytes());
            assert!(verified.is_err(), "{}: {:?}", case.name, lines[line]);
        }
    }
    let case = hubspot();
    let lines = case.lines();
    for path in [
        EVENTS,
        "/v1/sources/crm/events?x=2",
        "/v1/sources/CRM/events?x=1",
    ] {
        let verified = case.verify_with(&lines, path, BODY.as_bytes());
        assert_eq!(verified, Err(DenialReason::Mismatch), "{path}");
    }
}

#[test]
fn any_current_secret_passes_and_a_removed_one_does_not() {
    let case = stripe();
    let headers = header_map(&case.lines());
    let head = Head {
        method: "POST",
        path: EVENTS,
        headers: &headers,
    };
    let other = "the-secret-of-tomorrow";
    for (secrets, expected) in [
        (vec![SECRET, other], Ok(())),
        (vec![other, SECRET], Ok(())),
        (vec![other], Err(DenialReason::Mismatch)),
    ] {
        let verified = case
            .keys(&secrets)
            .verify(head, BODY.as_bytes(), Timestamp::from_millis(NOW))
            .map_err(|denial| denial.reason);
        assert_eq!(verified, expected, "{secrets:?}");
    }
}

/// The `Stripe-Signature` header of Stripe is a list.
#[test]
fn a_list_has_one_time_and_up_to_eight_signatures() {
    const GOOD: &str = "v1=2e193afb87d994dcb66242ae4378bfed72d95866f173a1c0b0df5d8ac65833b5";
    let bad = "v1=00,".repeat(7);
    for (line, expected) in [
        (format!("t=1700000000,v0=ab,{GOOD}"), Ok(())),
        (format!("{GOOD} , t=1700000000"), Ok(())),
        (
            format!("t=1700000000,{}", GOOD.to_uppercase().replace('V', "v")),
            Ok(()),
        ),
        (format!("t=1700000000,{bad}{GOOD}"), Ok(())),
        (
            format!("t=1700000000,{bad}v1=00,{GOOD}"),
            Err(DenialReason::Mismatch),
        ),
        (
            format!("t=1700000000,t=1700000000,{GOOD}"),
            Err(DenialReason::Malformed),
        ),
        (GOOD.to_owned(), Err(DenialReason::Malformed)),
        (
            format!("t=01700000000,{GOOD}"),
            Err(DenialReason::Malformed),
        ),
        (
            format!("t=+1700000000,{GOOD}"),
            Err(DenialReason::Malformed),
        ),
        (format!("t=,{GOOD}"), Err(DenialReason::Malformed)),
        (
            format!("t={},{GOOD}", "9".repeat(40)),
            Err(DenialReason::Malformed),
        ),
        ("t=1700000000".to_owned(), Err(DenialReason::Malformed)),
        (
            "t=1700000000,v1=xyz,v1=0".to_owned(),
            Err(DenialReason::Malformed),
        ),
        (
            "t=1700000000,v1=+1".to_owned(),
            Err(DenialReason::Malformed),
        ),
        (String::new(), Err(DenialReason::Malformed)),
    ] {
        let lines = [("stripe-signature", line.clone())];
        let verified = stripe().verify_with(&lines, EVENTS, BODY.as_bytes());
        assert_eq!(verified, expected, "{line}");
    }
}

#[test]
fn a_header_must_occur_exactly_once() {
    for case in cases() {
        for index in 0..case.headers.len() {
            let mut lines = case.lines();
            let line = lines.remove(index);
            let body = case.body.as_bytes();
            let verified = case.verify_with(&lines, case.path, body);
            assert_eq!(
                verified,
                Err(DenialReason::Missing),
                "{}: {}",
                case.name,
                line.0
            );
            lines.extend([line.clone(), line.clone()]);
            let verified = case.verify_with(&lines, case.path, body);
            assert_eq!(
                verified,
                Err(DenialReason::Malformed),
                "{}: {}",
                case.name,
                line.0
            );
        }
    }
    let without_prefix = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let case = github().with("x-hub-signature-256", without_prefix);
    assert_eq!(case.verify(), Err(DenialReason::Malformed));
    let truncated = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e";
    let case = github().with("x-hub-signature-256", truncated);
    assert_eq!(case.verify(), Err(DenialReason::Mismatch));
}

#[test]
fn a_signature_is_valid_within_the_tolerance_in_both_directions() {
    let zendesk = || zendesk().into_iter().next().unwrap();
    let makes: [(fn() -> Case, i64); 3] = [(stripe, NOW), (hubspot, NOW + 123), (zendesk, NOW)];
    for (make, signed_at) in makes {
        for (skew, expected) in [
            (-301_000, Err(DenialReason::Stale)),
            (-300_000, Ok(())),
            (0, Ok(())),
            (300_000, Ok(())),
            (301_000, Err(DenialReason::Stale)),
            (-signed_at, Err(DenialReason::Stale)),
        ] {
            let case = make().at(signed_at + skew);
            assert_eq!(case.verify(), expected, "{} {skew}", case.name);
        }
    }
    // The verifier compares a signing time in its own unit: seconds with seconds, and milliseconds with milliseconds.
    assert_eq!(stripe().at(NOW + 300_999).verify(), Ok(()));
    assert_eq!(
        hubspot().at(NOW + 300_124).verify(),
        Err(DenialReason::Stale)
    );
}

#[test]
fn a_short_or_undecodable_secret_is_refused_with_its_index() {
    use SecretEncoding::{Base64, Hex, Text};
    let short = |bytes| {
        Some(SecretFlaw::Short {
            bytes,
            bytes_min: 16,
        })
    };
    let not = |encoding: SecretEncoding| Some(SecretFlaw::Encoding(encoding.alphabet()));
    for (encoding, text, flaw) in [
        (Text, "sixteen-bytes-is", None),
        (Text, "fifteen-bytes-i", short(15)),
        (Base64, "AAAAAAAAAAAAAAAAAAAAAA==", None),
        (Base64, "AAAAAAAAAAAAAAAAAAAA", short(15)),
        (Base64, "not base64 at all, but long", not(Base64)),
        (Hex, "00112233445566778899aabbccddeeFF", None),
        (Hex, "00112233445566778899aabbccddee", short(15)),
        (Hex, "00112233445566778899aabbccddeef", not(Hex)),
        (Hex, "00112233445566778899aabbccddeegg", not(Hex)),
    ] {
        let scheme = HmacScheme {
            secret_encoding: encoding,
            ..scheme("x-signature", SignatureEncoding::Hex)
        };
        let good = match encoding {
            Text | Base64 => "c2l4dGVlbi1ieXRlcy1pcy1nb29k",
            Hex => "00112233445566778899aabbccddeeff",
        };
        let secrets = [good, text].map(SecretString::from);
        let expected = flaw.map_or(Ok(()), |flaw| Err(Error::Secret { index: 1, flaw }));
        let keys = HmacKeys::new(scheme, &secrets, SecretMinimum::default());
        assert_eq!(keys.map(drop), expected, "{text}");
    }
    let shorter = HmacKeys::new(
        scheme("x-signature", SignatureEncoding::Hex),
        &[SecretString::from("short")],
        SecretMinimum::of_bytes(5),
    );
    assert!(shorter.is_ok(), "the operator allows 5 bytes");
    let none = HmacKeys::new(
        scheme("x-signature", SignatureEncoding::Hex),
        &[],
        SecretMinimum::default(),
    );
    assert_eq!(none.map(drop), Err(Error::NoSecret));
}

#[test]
fn an_absent_header_cannot_be_signed() {
    let case = cases()
        .into_iter()
        .find(|case| case.name.contains("block"))
        .unwrap();
    let headers = HeaderMap::new();
    let head = Head {
        method: "POST",
        path: EVENTS,
        headers: &headers,
    };
    let signed = case
        .keys(&[case.secret])
        .sign(head, Timestamp::from_millis(NOW), b"{}");
    assert_eq!(signed, None);
}

/// FAULTS V5
#[test]
fn debug_output_contains_no_secret() {
    let case = segment();
    let printed = format!("{:?}", case.keys(&[SECRET]));
    assert!(
        !printed.contains(SECRET) && printed.contains("x-signature"),
        "{printed}"
    );
}
