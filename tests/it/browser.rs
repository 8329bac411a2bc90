//! Tests of the console in a real browser: Debian's Chromium, through its WebDriver.
//!
//! The operator of these tests only clicks, types and reads what is on the page.

use std::time::Duration;

use self::window::{Scripts, Window};
use crate::support::TestApp;

mod pages;
mod walks;
mod window;

/// The admin API token of the operator `alice`, who has every role.
const TOKEN: &str = "op-canary-token-1";

/// Opens the console of a bridge in a new browser, and logs in.
#[track_caller]
fn logged_in(app: &TestApp, scripts: Scripts) -> Window {
    let window = Window::open(app.ops(), scripts);
    window.go("/");
    window.log_in(TOKEN);
    window
}

/// The idle time after which a session ends.
const IDLE: Duration = Duration::from_mins(15);
