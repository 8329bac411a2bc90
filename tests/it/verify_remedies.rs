//! The sentence of `verify` about a signature that does not match names settings. A source file with these settings accepts
//! the request.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::authentication::{SourceFolder, post};

const BODY: &str = r#"{"id":"v-1"}"#;
const SECRET: &str = "a-secret-of-the-crm-";
const WHSEC: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const AT: &str = "--at=2023-11-14T22:13:21Z";
const TIME: &str = "1700000000";
/// The settings of a source that signs the body in base64.
const HMAC: &[(&str, &str)] = &[
    ("kind", "hmac"),
    ("header", "x-sig"),
    ("encoding", "base64"),
];
/// The settings of a source that signs its time too.
const TIMED: &[(&str, &str)] = &[
    ("kind", "hmac"),
    ("header", "x-sig"),
    ("encoding", "base64"),
    ("signed", "{timestamp}.{body}"),
    ("timestamp_header", "x-time"),
];
/// The settings of a source with a list of signatures.
const LISTED: &[(&str, &str)] = &[
    ("kind", "hmac"),
    ("header", "x-sig"),
    ("encoding", "base64"),
    ("prefix", "v1,"),
    ("separator", " "),
];

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn signature(text: &str) -> String {
    STANDARD.encode(mac(SECRET.as_bytes(), text))
}

/// Returns the text of the table `[auth]`.
fn auth(settings: &BTreeMap<String, String>) -> String {
    let lines = settings
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"));
    format!("{}secret_files = [\"$/secret\"]", lines.collect::<String>())
}

fn folder(settings: &BTreeMap<String, String>, secret: &str) -> SourceFolder {
    let folder = SourceFolder::with_auth(&auth(settings)).secret("secret", secret);
    std::fs::write(folder.path("body"), BODY).unwrap();
    folder
}

/// Runs `verify` about a request with these headers. Returns whether the bridge accepts it, and the report.
fn verify(folder: &SourceFolder, lines: &[String]) -> (bool, String) {
    let body = folder.path("body");
    let mut arguments = vec!["verify", "--source", "probe", body.to_str().unwrap(), AT];
    arguments.extend(lines.iter().flat_map(|line| ["-H", line]));
    let (code, report, errors) = folder.run(&arguments);
    assert!(matches!(code, Some(0 | 2)), "{report}{errors}");
    (code == Some(0), report)
}

fn owned(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = settings.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Changes the settings as the sentence says.
fn follow(settings: &mut BTreeMap<String, String>, sentence: &str) {
    for (joint, names) in [(" is \"", "auth."), (" = \"", "")] {
        let parts: Vec<&str> = sentence.split(joint).collect();
        for pair in parts.windows(2) {
            let (before, value) = (pair[0], pair[1]);
            let key = before.rsplit([' ', ',']).next().unwrap();
            let Some(key) = key.strip_prefix(names) else {
                continue;
            };
            let key = key.trim_start_matches("auth.");
            let value = value.split('"').next().unwrap();
            settings.insert(key.to_owned(), value.to_owned());
        }
    }
    for (key, sign) in [
        ("separator", "auth.separator is left out"),
        ("timestamp_header", "auth.timestamp_header and the other"),
    ] {
        if sentence.contains(sign) {
            settings.retain(|known, _| !known.starts_with(key.trim_end_matches("_header")));
        }
    }
}

/// FAULTS N1481: the settings that `verify` names are accepted by `check`, and the signature matches with them.
#[test]
fn the_settings_that_verify_names_accept_the_request() {
    let sig = |value: &str| vec![format!("x-sig: {value}"), format!("x-time: {TIME}")];
    let of_body = signature(BODY);
    let hex: String = mac(SECRET.as_bytes(), BODY)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (settings, lines) in [
        (HMAC, sig(&format!("v2,{of_body}"))),
        (HMAC, sig(&format!("sha256= {hex}"))),
        (HMAC, sig(&format!("t={TIME},v1={of_body}"))),
        (LISTED, sig(&of_body)),
        (LISTED, sig(&format!("sha256={hex}"))),
        (TIMED, sig(&of_body)),
        (TIMED, sig(&format!("sha256={hex}"))),
    ] {
        let mut settings = owned(settings);
        let (is_authentic, report) = verify(&folder(&settings, SECRET), &lines);
        assert!(!is_authentic, "{report}");
        let sentence = report.lines().find(|line| line.contains("matches if"));
        follow(
            &mut settings,
            sentence.unwrap_or_else(|| panic!("{report}")),
        );
        let (is_authentic, report) = verify(&folder(&settings, SECRET), &lines);
        assert!(is_authentic, "{sentence:?} {settings:?}: {report}");
    }
}

/// FAULTS N1481: the same for senders that almost follow Standard Webhooks.
#[test]
fn the_settings_of_an_almost_standard_webhook_accept_the_request() {
    let key = [7; 32];
    let code = |text: &str| STANDARD.encode(mac(&key, text));
    for signature in [
        code(&format!("m-1.{TIME}.{BODY}")),
        format!("v1,{}", code(BODY)),
        format!("v1,{}", code(&format!("{TIME}.{BODY}"))),
        format!("v2,{}", code(&format!("m-1.{TIME}.{BODY}"))),
    ] {
        let lines = [
            "webhook-id: m-1".to_owned(),
            format!("webhook-timestamp: {TIME}"),
            format!("webhook-signature: {signature}"),
        ];
        let standard = owned(&[("kind", "standard_webhooks")]);
        let (is_authentic, report) = verify(&folder(&standard, WHSEC), &lines);
        assert!(!is_authentic, "{report}");
        let sentence = report.lines().find(|line| line.contains("matches if"));
        let mut settings = owned(&[("kind", "hmac")]);
        follow(
            &mut settings,
            sentence.unwrap_or_else(|| panic!("{report}")),
        );
        let secret = WHSEC.trim_start_matches("whsec_");
        let (is_authentic, report) = verify(&folder(&settings, secret), &lines);
        assert!(is_authentic, "{sentence:?} {settings:?}: {report}");
    }
}

/// FAULTS N1481: no setting selects one of two signatures without a prefix, so the sentence names none.
#[test]
fn a_list_without_prefixes_needs_another_sender() {
    let other = STANDARD.encode([0; 32]);
    for line in [
        format!("{},{other}", signature(BODY)),
        format!("{other},{}", signature(BODY)),
        // The time of one request is no prefix.
        format!("t={TIME},{}", signature(BODY)),
    ] {
        let folder = folder(&owned(HMAC), SECRET);
        let (is_authentic, report) = verify(&folder, &[format!("x-sig: {line}")]);
        assert!(!is_authentic, "{report}");
        assert!(
            report.contains("the sender sends only this one signature"),
            "{report}"
        );
        assert!(!report.contains("auth.separator is"), "{report}");
    }
}

/// FAULTS N1477: the URL-safe alphabet of base64, and base64 without padding, are signatures too.
#[test]
fn a_signature_in_each_form_of_base64_is_accepted() {
    let bytes = mac(SECRET.as_bytes(), BODY);
    let folder = folder(&owned(HMAC), SECRET);
    let app = folder.start();
    for (signature, is_right) in [
        (STANDARD.encode(&bytes), true),
        (URL_SAFE_NO_PAD.encode(&bytes), true),
        (
            STANDARD.encode(&bytes).trim_end_matches('=').to_owned(),
            true,
        ),
        (URL_SAFE_NO_PAD.encode(&bytes[1..]), false),
        (format!("{}*", STANDARD.encode(&bytes)), false),
    ] {
        let answer = post(&app, &[("x-sig", &signature)], BODY);
        assert_eq!(
            answer.status != 401,
            is_right,
            "{signature}: {}",
            answer.body
        );
        let (is_authentic, report) = verify(&folder, &[format!("x-sig: {signature}")]);
        assert_eq!(is_authentic, is_right, "{report}");
    }
}

/// FAULTS N1482: `verify` denies a request whose attributes or ids the signature does not cover, as the bridge does.
#[test]
fn verify_denies_what_the_signature_does_not_cover() {
    let code = STANDARD.encode(mac(&[7; 32], &format!("m-1.{TIME}.{BODY}")));
    let lines = |more: &[&str]| {
        let mut lines = vec![
            "webhook-id: m-1".to_owned(),
            format!("webhook-timestamp: {TIME}"),
            format!("webhook-signature: v1,{code}"),
            "content-type: application/json".to_owned(),
        ];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        lines
    };
    let auth = auth(&owned(&[("kind", "standard_webhooks")]));
    let events = "[events.p]\nschema = \"any.json\"\ncustomer.imprint_id = \".data.cid\"\n[events.p.update]\nemail = \".data.email\"";
    let folder = SourceFolder::new("", &auth, events).secret("secret", WHSEC);
    std::fs::write(folder.path("body"), BODY).unwrap();
    let binary = [
        "ce-specversion: 1.0",
        "ce-type: probe",
        "ce-source: x",
        "ce-id: m-1",
    ];
    let mut other = binary;
    other[3] = "ce-id: m-2";
    for (more, part) in [
        (&[][..], "the bridge accepts"),
        (
            &binary,
            "the signature does not cover ce-source, ce-type: the bridge answers 415",
        ),
        (
            &other,
            "the header ce-id differs from the signed webhook-id",
        ),
    ] {
        let (_, report) = verify(&folder, &lines(more));
        assert!(report.contains(part), "{report}");
    }
}

/// FAULTS N1477: the same for Standard Webhooks, whose secret can have each form too.
#[test]
fn a_standard_webhook_in_each_form_of_base64_is_accepted() {
    let key = [0xfb; 32];
    let bytes = mac(&key, &format!("m-1.{TIME}.{BODY}"));
    let forms = |bytes: &[u8]| {
        let standard = STANDARD.encode(bytes);
        let bare = standard.trim_end_matches('=').to_owned();
        [standard, bare, URL_SAFE_NO_PAD.encode(bytes)]
    };
    for secret in forms(&key) {
        let standard = owned(&[("kind", "standard_webhooks")]);
        let folder = folder(&standard, &format!("whsec_{secret}"));
        for signature in forms(&bytes) {
            let lines = [
                "webhook-id: m-1".to_owned(),
                format!("webhook-timestamp: {TIME}"),
                format!("webhook-signature: v1,{signature}"),
            ];
            let (is_authentic, report) = verify(&folder, &lines);
            assert!(is_authentic, "{secret} {signature}: {report}");
        }
    }
}

/// FAULTS N1511: a header with the right token occurs twice. Nothing else is wrong.
#[test]
fn a_token_that_occurs_twice_is_the_only_cause() {
    for (auth, header) in [
        (
            "kind = \"bearer\"\n",
            format!("authorization: Bearer {SECRET}"),
        ),
        (
            "kind = \"token\"\nheader = \"x-key\"\n",
            format!("x-key: {SECRET}"),
        ),
    ] {
        let folder = SourceFolder::with_auth(&format!("{auth}token_files = [\"$/secret\"]"));
        let folder = folder.secret("secret", SECRET);
        std::fs::write(folder.path("body"), BODY).unwrap();
        let (is_authentic, report) = verify(&folder, &[header.clone(), header]);
        assert!(
            !is_authentic && report.contains("occurs 2 times"),
            "{report}"
        );
        for wrong in ["check auth.", "cuts the secret", "compare the secret"] {
            assert!(!report.contains(wrong), "{wrong} in {report}");
        }
    }
}

/// FAULTS N1512: `event` is no misspelt `event_id`.
#[test]
fn a_name_with_another_word_is_no_misspelt_name() {
    let more = "[body]\nformat = \"json\"\nid = \".event_id\"\ntype = '\"p\"'\n[events.p]\nschema = \"any.json\"\n\
                customer.imprint_id = \".cid\"\n[events.p.update]\nemail = \".email\"\n";
    let app = SourceFolder::new("", "kind = \"none\"", more).start();
    for (member, is_named) in [("event", false), ("event_ids", true), ("eventID", true)] {
        let body = format!("{{\"{member}\": \"1\", \"cid\": \"c\", \"email\": \"a@b.com\"}}");
        let answer = post(&app, &[], &body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        let found = answer.body.contains("The body has a value at");
        assert_eq!(found, is_named, "{member}: {}", answer.body);
    }
}
