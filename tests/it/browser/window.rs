//! A window of Chromium, as the commands of WebDriver (W3C Recommendation, 5 June 2018) that the tests need.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::http::Connection;
use crate::support::wait_for;

const DRIVER: &str = "/usr/bin/chromedriver";
const CHROMIUM: &str = "/usr/bin/chromium";
/// The name of the member with the id of an element (WebDriver, section 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The error of an element of an earlier page.
const STALE: &str = "stale element reference";

/// Whether the browser runs the scripts of pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scripts {
    Allowed,
    Blocked,
}

/// A window of a browser of its own. Dropping the value ends the browser.
pub(super) struct Window {
    driver: Child,
    address: SocketAddr,
    session: String,
    console: SocketAddr,
}

impl Window {
    /// Starts a browser for the console at this address.
    pub(super) fn open(console: SocketAddr, scripts: Scripts) -> Self {
        for path in [DRIVER, CHROMIUM] {
            assert!(
                Path::new(path).exists(),
                "{path} is missing: tests/run installs it"
            );
        }
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut ports = lines.filter_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], ports.next().unwrap()));
        let mut window = Self {
            driver,
            address,
            session: String::new(),
            console,
        };
        let mut options = json!({"binary": CHROMIUM, "args": ["--headless=new", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,1000"]});
        if scripts == Scripts::Blocked {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        let capabilities =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let session = window.ask("POST /session", &capabilities);
        window.session = session["sessionId"].as_str().unwrap().to_owned();
        window
    }

    /// Opens a path of the console.
    pub(super) fn go(&self, path: &str) {
        let url = format!("http://{}{path}", self.console);
        self.command("POST", "url", &json!({"url": url}));
    }

    /// Returns the path of the page with its query.
    pub(super) fn path(&self) -> String {
        let url = self.command("GET", "url", &Value::Null);
        let origin = format!("http://{}", self.console);
        url.as_str().unwrap().replace(&origin, "")
    }

    pub(super) fn reload(&self) {
        self.command("POST", "refresh", &json!({}));
    }

    /// Writes a token into the page to log in, and sends it.
    #[track_caller]
    pub(super) fn log_in(&self, token: &str) {
        self.write("#token", token);
        self.press("Log in");
    }

    /// Returns the visible text of the page.
    pub(super) fn text(&self) -> String {
        self.text_of("body")
    }

    /// Returns the visible text of the first element of a CSS selector.
    #[track_caller]
    pub(super) fn text_of(&self, selector: &str) -> String {
        let element = self.find("css selector", selector);
        let text = self.command("GET", &format!("element/{element}/text"), &Value::Null);
        text.as_str().unwrap().to_owned()
    }

    /// Returns the content of a field.
    #[track_caller]
    pub(super) fn content_of(&self, selector: &str) -> String {
        let element = self.find("css selector", selector);
        let path = format!("element/{element}/property/value");
        let content = self.command("GET", &path, &Value::Null);
        content.as_str().unwrap().to_owned()
    }

    /// Fails if the page does not show these texts.
    #[track_caller]
    pub(super) fn shows(&self, texts: &[&str]) {
        let page = self.text();
        for text in texts {
            assert!(page.contains(text), "{text} in {}: {page}", self.path());
        }
    }

    /// Loads the page again until it shows a text.
    pub(super) fn wait_for(&self, text: &str) {
        wait_for(text, || {
            self.reload();
            self.text().contains(text).then_some(())
        });
    }

    /// Follows the first link with this text.
    #[track_caller]
    pub(super) fn follow(&self, link: &str) {
        self.click("xpath", &format!("//a[normalize-space()='{link}']"));
    }

    /// Presses the first button that begins with this text.
    #[track_caller]
    pub(super) fn press(&self, button: &str) {
        let path = format!("//button[starts-with(normalize-space(), '{button}')]");
        self.click("xpath", &path);
    }

    /// Presses a button of a form that lacks a value, so that the browser keeps the page.
    #[track_caller]
    pub(super) fn press_in_vain(&self, button: &str) {
        let path = format!("//button[starts-with(normalize-space(), '{button}')]");
        self.click_only("xpath", &path);
    }

    /// Replaces the content of a field.
    #[track_caller]
    pub(super) fn write(&self, selector: &str, text: &str) {
        let element = self.find("css selector", selector);
        self.command("POST", &format!("element/{element}/clear"), &json!({}));
        self.command(
            "POST",
            &format!("element/{element}/value"),
            &json!({"text": text}),
        );
    }

    /// Runs a script with a callback as its last argument, and returns what the callback gets.
    pub(super) fn run(&self, script: &str) -> Value {
        let script = json!({"script": script, "args": []});
        self.command("POST", "execute/async", &script)
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub(super) fn devtools(&self, name: &str, parameters: &Value) {
        let body = json!({"cmd": name, "params": parameters});
        self.command("POST", "goog/cdp/execute", &body);
    }

    /// Returns a picture of the window, as PNG in base64.
    pub(super) fn picture(&self) -> String {
        let picture = self.command("GET", "screenshot", &Value::Null);
        picture.as_str().unwrap().to_owned()
    }

    /// Clicks an element, and waits until its page is gone: a command for the next page would otherwise abort the way to it.
    #[track_caller]
    fn click(&self, strategy: &str, selector: &str) {
        let page = self.find("css selector", "html");
        self.click_only(strategy, selector);
        wait_for("the next page", || {
            let answer = self.command("GET", &format!("element/{page}/name"), &Value::Null);
            (answer["error"] == STALE).then_some(())
        });
    }

    #[track_caller]
    fn click_only(&self, strategy: &str, selector: &str) {
        let element = self.find(strategy, selector);
        self.command("POST", &format!("element/{element}/click"), &json!({}));
    }

    #[track_caller]
    fn find(&self, strategy: &str, selector: &str) -> String {
        let body = json!({"using": strategy, "value": selector});
        let found = self.command("POST", "element", &body);
        let id = found[ELEMENT].as_str();
        let missing = || panic!("{selector} is not on {}: {}", self.path(), self.text());
        id.map_or_else(missing, str::to_owned)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(&format!("{method} /session/{}/{path}", self.session), body)
    }

    /// Sends a command to the driver. Of the errors, only a missing element and one of an earlier page are answers.
    fn ask(&self, line: &str, body: &Value) -> Value {
        let body = match body.is_null() {
            true => String::new(),
            false => body.to_string(),
        };
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut connection = Connection::open(self.address).unwrap();
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.answer().unwrap();
        let mut value = answer.json()["value"].clone();
        // While the next page replaces the earlier one, the driver calls an element of the earlier page by another name.
        let message = value["message"].as_str().unwrap_or_default();
        if message.contains("does not belong to the document") {
            value = json!({"error": STALE});
        }
        let is_missing = value["error"] == "no such element" || value["error"] == STALE;
        assert!(answer.status == 200 || is_missing, "{line} {body}: {value}");
        value
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // The browser belongs to the group of its driver. After a failed test, a command is possibly still running.
        if !std::thread::panicking() {
            self.ask(&format!("DELETE /session/{}", self.session), &Value::Null);
        }
        let group = Pid::from_child(&self.driver);
        kill_process_group(group, Signal::KILL).unwrap();
        self.driver.wait().unwrap();
    }
}
