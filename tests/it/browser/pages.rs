//! Each page of the console in each colour scheme and at three widths: axe-core finds no violation, nothing is wider than the
//! window, and a picture is written to `target/screenshots`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Scripts, TOKEN, Window, logged_in};
use crate::console::park;
use crate::support::{TestApp, email};

/// The widths of the pictures: a telephone, a laptop and a large screen.
const WIDTHS: [u32; 3] = [320, 1280, 1920];
const HEIGHT: u32 = 900;
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Runs axe-core on the page.
const AXE: &str = "const done = arguments[0];
axe.run(document, {resultTypes: ['violations']}).then(result => done(result.violations.map(
  rule => `${rule.id}: ${rule.nodes.map(node => node.target.join(' ')).join(', ')}`)), error => done([String(error)]));";

/// The accessibility engine axe-core of Deque Systems.
fn axe() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
    fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{path:?} is missing: tests/run fetches it"))
}

/// Looks at the page of a window in every form. Returns the violations.
fn look(window: &Window, name: &str, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    window.run(&format!("{}\narguments[0]();", axe()));
    for scheme in SCHEMES {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        window.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
        for width in WIDTHS {
            let size =
                json!({"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false});
            window.devtools("Emulation.setDeviceMetricsOverride", &size);
            let page = format!("{name}-{width}-{scheme}");
            let wide = window.run("arguments[0](document.documentElement.scrollWidth);");
            if wide.as_u64().is_none_or(|wide| wide > u64::from(width)) {
                found.push(format!("{page}: {wide} wide"));
            }
            let picture = STANDARD.decode(window.picture()).unwrap();
            fs::write(folder.join(format!("{page}.png")), picture).unwrap();
            // The styles of the largest window are those of the one before it.
            if width != WIDTHS[2] {
                let violations = window.run(AXE);
                let violations: Vec<Value> = violations.as_array().unwrap().clone();
                found.extend(violations.iter().map(|rule| format!("{page}: {rule}")));
            }
        }
    }
    found
}

/// A bridge with entries in several states, and a mass change.
fn start() -> TestApp {
    let app = TestApp::setup()
        .operator("alice", TOKEN)
        .settings("[brake]\nmode = \"on\"\ncustomers_max = 3")
        .start();
    park(&app, "e1", "c1", 1);
    park(&app, "e2", "c2", 1);
    for number in 3..=6 {
        app.accept(&email(&format!("e{number}"), &format!("c{number}"), 1));
    }
    app.wait_until("e3", "delivered");
    app
}

/// FAULTS N1465: every page in each form.
#[test]
fn every_page_is_accessible_and_fits_its_window() {
    let app = start();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&folder).unwrap();
    let window = Window::open(app.ops(), Scripts::Allowed);
    window.go("/login");
    let mut found = look(&window, "login", &folder);
    drop(window);
    let window = logged_in(&app, Scripts::Allowed);
    for (name, path) in [
        ("overview", "/"),
        ("problems", "/problems"),
        ("entries", "/entries?state=all"),
        ("entries-empty", "/entries?state=discarded"),
        ("entries-error", "/entries?state=none"),
        ("entry", "/entries/1"),
        ("customers", "/customers"),
        ("customer", "/customers?id=c1"),
        ("customer-unknown", "/customers?id=c99"),
        ("destination", "/destination"),
        ("sources", "/sources"),
        ("try-out", "/sources/crm/try"),
        ("passed", "/sources/crm/passed"),
        ("audit", "/audit"),
        ("not-found", "/nowhere"),
    ] {
        window.go(path);
        found.extend(look(&window, name, &folder));
    }
    window.go("/entries/1");
    window.press("Replay");
    found.extend(look(&window, "preview", &folder));
    window.write("#reason", "a test");
    window.press("Replay 1 entry");
    found.extend(look(&window, "changed", &folder));
    assert_eq!(found, Vec::<String>::new());
}
