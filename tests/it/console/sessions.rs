//! Tests of the login, the session cookie, the forms and the headers of the console.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Browser, FORM, HOST, TOKEN, encoded};
use crate::http::Connection;
use crate::process::Process;
use crate::support::{FakeImprint, Files, KEY, TestApp};

fn start() -> TestApp {
    let app = TestApp::setup().operator("alice", TOKEN).manual_clock();
    app.start()
}

/// FAULTS N860: a wrong token, a forged cookie and no cookie show no page.
#[test]
fn a_page_requires_a_session() {
    let app = start();
    let mut browser = Browser::new(&app);
    let answer = browser.get("/");
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/login"))
    );
    let answer = browser.get("/?state=parked&after=3");
    let login = answer.header("location").unwrap().to_owned();
    assert_eq!(login, "/login?next=%2F%3Fstate%3Dparked%26after%3D3");
    let form = browser.page(&login);
    assert_eq!(super::hidden(&form, "next"), "/?state=parked&#38;after=3");

    let wrong = browser.post("/login", &[("token", "no-operator-has-it"), ("next", "/")]);
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.body.contains("No operator has this token"),
        "{}",
        wrong.body
    );
    assert!(!wrong.body.contains("no-operator-has-it"), "{}", wrong.body);
    assert_eq!(wrong.header("set-cookie"), None);
    assert_eq!(
        app.metric("admin_denied_total{reason=\"mismatch\"}"),
        Some(1.0)
    );

    let right = [("token", TOKEN), ("next", "/?state=parked&after=3")];
    let answer = browser.post("/login", &right);
    assert_eq!(answer.header("location"), Some("/?state=parked&after=3"));
    let cookie = browser.cookie.clone().unwrap();
    assert!(browser.page("/").contains("alice"));
    let (name, value) = cookie.split_once('=').unwrap();
    for forged in [
        format!("{name}={}", value.replacen("YWxpY2U", "Ym9i", 1)),
        format!("{name}={value}A"),
        format!("{name}={}", value.rsplit_once('.').unwrap().0),
        format!("{name}="),
        format!("other={value}"),
    ] {
        browser.cookie = Some(forged.clone());
        assert_eq!(browser.get("/").status, 303, "{forged}");
    }
    browser.cookie = Some(format!("a=b; {cookie}"));
    assert_eq!(browser.get("/").status, 200);
}

/// FAULTS N861
#[test]
fn a_session_ends_after_an_idle_time_and_after_a_working_day() {
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let first = browser.cookie.clone();
    for _ in 0..47 {
        app.advance(Duration::from_mins(10));
        assert_eq!(browser.get("/").status, 200);
    }
    assert_ne!(browser.cookie, first, "the answers renewed the cookie");
    app.advance(Duration::from_mins(10));
    assert_eq!(browser.get("/").status, 303, "8 h after the login");

    let mut browser = Browser::logged_in(&app, TOKEN);
    app.advance(Duration::from_mins(15));
    assert_eq!(browser.get("/").status, 303, "15 min without a request");
}

/// FAULTS N862
#[test]
fn a_logout_and_a_removed_token_end_the_session_at_once() {
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let cookie = browser.cookie.clone();
    let answer = browser.submit("/logout", &[]);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/login"))
    );
    assert_eq!(browser.cookie, None, "the browser deletes the cookie");
    let cleared = answer.header("clear-site-data");
    assert_eq!(cleared, Some("\"cache\", \"storage\""));
    browser.cookie = cookie;
    assert_eq!(
        browser.get("/").status,
        303,
        "a copy of the cookie has ended too"
    );

    let mut browser = Browser::logged_in(&app, TOKEN);
    std::fs::remove_file(app.files.token_file("alice")).unwrap();
    let cookie = browser.cookie.take();
    app.advance_until("the session has ended", Duration::from_secs(3), |app| {
        let cookie = cookie.clone();
        let ops = app.ops();
        Browser { ops, cookie }.get("/").status == 303
    });
}

/// FAULTS N1442: no test read the log lines of a login, and they did not have the address.
#[test]
fn a_login_and_a_logout_are_in_the_log() {
    let imprint = FakeImprint::start(|_settings| {});
    let files = Files::write(imprint.address, KEY, "");
    files.write_token("alice", TOKEN);
    let mut process = Process::serve(&files);
    let mut browser = Browser {
        ops: process.ready().1,
        cookie: None,
    };
    let form = browser.page("/login");
    assert!(form.contains("name=\"token\" type=\"password\""), "{form}");
    assert!(!form.contains("onpaste"), "{form}");
    let answer = browser.post("/login", &[("token", TOKEN)]);
    assert_eq!(answer.status, 303);
    let answer = browser.submit("/logout", &[]);
    assert_eq!(answer.status, 303);
    process.terminate();
    assert_eq!(process.wait_for_exit().code(), Some(0));
    let log = process.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let line = |message: &str| {
        let mut found = lines.iter().filter(|line| line["message"] == message);
        let line = found.next().unwrap();
        assert!(found.next().is_none(), "{log}");
        assert_eq!(
            (&line["operator"], &line["level"]),
            (&json!("alice"), &json!("INFO"))
        );
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() >= 20 && time.ends_with('Z'), "in UTC: {time}");
        line
    };
    let login = line("an operator logged in to the console");
    assert_eq!(login["peer"], "127.0.0.1");
    line("an operator logged out of the console");
    assert!(!log.contains(TOKEN), "{log}");
}

/// FAULTS N863: another site makes the browser of an operator send a form.
#[test]
fn a_form_of_another_site_changes_nothing() {
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let overview = browser.page("/");
    let token = super::hidden(&overview, "form_token").to_owned();
    let with_token = encoded(&[("form_token", &token)]);
    let own = format!("http://{HOST}");
    let own = ("origin", own.as_str());
    for (headers, body, status) in [
        (vec![], &with_token, 403),
        (vec![("origin", "null")], &with_token, 403),
        (
            vec![("origin", "http://bridge.evil.example")],
            &with_token,
            403,
        ),
        (vec![own, ("sec-fetch-site", "same-site")], &with_token, 403),
        (
            vec![own, ("sec-fetch-site", "cross-site")],
            &with_token,
            403,
        ),
        (vec![own], &String::new(), 403),
        (vec![own], &encoded(&[("form_token", "guess")]), 403),
        (vec![own], &"x".repeat(16 * 1024 + 1), 413),
    ] {
        let headers = [&headers[..], &[FORM]].concat();
        let answer = browser.ask("POST /logout", &headers, body);
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(browser.get("/").status, 200, "still logged in: {headers:?}");
    }
    let other = Browser::logged_in(&app, TOKEN).page("/");
    let other = super::hidden(&other, "form_token").to_owned();
    let answer = browser.post("/logout", &[("form_token", &other)]);
    assert_eq!(answer.status, 403, "the token of another session");
    let headers = [("sec-fetch-site", "same-origin"), FORM];
    let answer = browser.ask("POST /logout", &headers, &with_token);
    assert_eq!(answer.status, 303);
}

/// FAULTS N864
#[test]
fn a_cookie_is_only_for_this_host_and_not_for_scripts() {
    let app = start();
    let login = encoded(&[("token", TOKEN)]);
    for (origin, name, attributes) in [
        (
            "http://bridge",
            "imprint-bridge-session-",
            "Path=/; HttpOnly; SameSite=Strict",
        ),
        (
            "https://bridge",
            "__Host-imprint-bridge-session-",
            "Path=/; HttpOnly; SameSite=Strict; Secure",
        ),
    ] {
        let mut browser = Browser::new(&app);
        let answer = browser.ask("POST /login", &[("origin", origin), FORM], &login);
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let (set, rest) = cookie.split_once("; ").unwrap();
        let set = set.split('=').next().unwrap();
        assert!(set.starts_with(name), "{set}");
        assert_eq!((set.len(), rest), (name.len() + 8, attributes));
        assert!(!cookie.contains(TOKEN), "{cookie}");
        assert_eq!(browser.get("/").status, 200);
    }
}

/// FAULTS N1125: the browser also sends cookies of another console on the same host, or of an old session.
#[test]
fn a_cookie_of_another_session_hides_no_session() {
    let app = start();
    let browser = Browser::logged_in(&app, TOKEN);
    let own = browser.cookie.unwrap();
    let ops = app.ops();
    let name = own.split('=').next().unwrap();
    for cookies in [
        format!("__Host-{name}=old; {own}"),
        format!("{name}=other; {own}"),
        format!("{own}; {name}=other"),
    ] {
        let cookie = Some(cookies.clone());
        assert_eq!(Browser { ops, cookie }.get("/").status, 200, "{cookies}");
    }
    let many = format!("{name}=other; ").repeat(8);
    let cookie = Some(format!("{many}{own}"));
    assert_eq!(Browser { ops, cookie }.get("/").status, 303, "a bound");
}

/// FAULTS N1315: a browser sends a cookie to every port of a host, so a login at a second console ended the session at the first
/// one.
#[test]
fn a_login_at_another_console_on_the_same_host_ends_no_session() {
    let apps = [start(), start()];
    let [first, second] = apps.each_ref().map(|app| {
        let cookie = Browser::logged_in(app, TOKEN).cookie.unwrap();
        let (name, value) = cookie.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    assert_ne!(first.0, second.0);
    let jar = format!("{}={}; {}={}", first.0, first.1, second.0, second.1);
    for app in &apps {
        let ops = app.ops();
        let cookie = Some(jar.clone());
        assert_eq!(Browser { ops, cookie }.get("/").status, 200);
    }
    // The cookie of a store stays the same after a restart.
    let [mut app, _other] = apps;
    app.stop().unwrap();
    app.restart();
    let ops = app.ops();
    let cookie = Some(jar);
    assert_eq!(Browser { ops, cookie }.get("/").status, 200);
}

/// FAULTS N1316: the page to log in told neither that the session had ended, nor to which bridge it belongs.
#[test]
fn the_page_to_log_in_says_why_and_where() {
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    app.advance(Duration::from_mins(15));
    let cookie = browser.cookie.clone();
    let answer = browser.get("/entries");
    let login = answer.header("location").unwrap().to_owned();
    assert_eq!(login, "/login?ended=page&next=%2Fentries");
    let page = browser.page(&login);
    assert!(
        page.contains("Your session ended: after 15 minutes"),
        "{page}"
    );
    assert!(page.contains("title=\"Name of this bridge\">"), "{page}");
    browser.cookie = cookie;
    let answer = browser.post("/sources/crm/brake", &[("minutes", "0")]);
    let login = answer.header("location").unwrap().to_owned();
    assert_eq!(login, "/login?ended=form");
    let page = browser.page(&login);
    assert!(page.contains("so nothing was changed"), "{page}");
    let page = Browser::new(&app).page("/login");
    assert!(!page.contains("session ended"), "{page}");
}

/// FAULTS N1126: clients without a session send logins slowly.
#[test]
fn slow_logins_lock_out_no_operator_who_is_logged_in() {
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let login = "POST /login HTTP/1.1\r\nhost: bridge\r\norigin: http://bridge\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\ntoken=";
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(app.ops()).unwrap();
            connection.send(login.as_bytes()).unwrap();
            connection
        })
        .collect();
    assert_eq!(browser.get("/").status, 200);
    let answers = slow
        .into_iter()
        .map(|mut connection| connection.answer().unwrap().status);
    let answers: Vec<u16> = answers.collect();
    // The bridge refuses the logins beyond the limit at once, and the others do not stay long.
    let refused = answers.iter().filter(|status| **status == 503).count();
    let too_slow = answers.iter().filter(|status| **status == 408).count();
    assert_eq!(refused + too_slow, 20, "{answers:?}");
    assert!(refused > 0 && too_slow > 0, "{answers:?}");
}

/// FAULTS N501: the console has the same limit on failed logins as the admin API.
#[test]
fn failed_logins_at_the_console_are_limited() {
    let app = start();
    let mut browser = Browser::new(&app);
    for _ in 0..10 {
        assert_eq!(browser.post("/login", &[("token", "guess")]).status, 401);
    }
    let answer = browser.post("/login", &[("token", TOKEN)]);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("60"))
    );
    assert!(
        answer.body.contains("Too many failed logins"),
        "{}",
        answer.body
    );
    app.advance(Duration::from_mins(1));
    assert_eq!(browser.post("/login", &[("token", TOKEN)]).status, 303);
}

/// FAULTS N865
#[test]
fn every_answer_forbids_scripts_frames_and_caching() {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let app = start();
    let mut browser = Browser::logged_in(&app, TOKEN);
    let page = browser.page("/");
    for forbidden in ["<script", "<style", " style=", " onclick=", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for (line, status) in [
        ("GET /", 200),
        ("GET /login", 303),
        ("GET /nothing-here", 404),
        ("PUT /", 404),
        ("POST /logout", 403),
    ] {
        let answer = browser.ask(line, &[], "");
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(
            answer.header("content-security-policy"),
            Some(POLICY),
            "{line}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{line}");
    }
    let (_, path) = page.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let answer = Browser::new(&app).get(path.split('"').next().unwrap());
    assert_eq!(answer.status, 200, "{path}");
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("text/css; charset=utf-8"));
    let caching = answer.header("cache-control");
    assert_eq!(caching, Some("public, max-age=31536000, immutable"));
    let public = crate::http::ask(app.ingress(), "GET /login", &[], "").unwrap();
    assert_eq!(public.status, 404, "the event listener has no console");
    let without_operators = TestApp::start();
    let answer = Browser::new(&without_operators).get("/");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("ops.token_files"), "{}", answer.body);
}

/// FAULTS N865: the name of an operator comes from a file name, and a page shows it as text.
#[test]
fn a_hostile_name_of_an_operator_stays_text() {
    const NAME: &str = "<b>eve&'<!--";
    let app = TestApp::setup().operator(NAME, TOKEN).start();
    let page = Browser::logged_in(&app, TOKEN).page("/");
    assert!(!page.contains("<b>"), "{page}");
    assert!(page.contains("&#60;b&#62;eve&#38;&#39;&#60;!--"), "{page}");
}
