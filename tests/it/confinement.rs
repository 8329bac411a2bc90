//! Tests of the confinement: the running program gives up the rights that it does not need, and still does its work.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, ask};
use crate::process::{Process, weakenings, without_system_calls};
use crate::support::{FakeImprint, Files, KEY, wait_for};

const OPERATOR: &str = "token-of-the-operator-alice";
const TOKEN: &str = "token-of-the-source-1234";

/// A bridge with a folder of its own for sources, schemas and secrets.
struct ConfinedBridge {
    folder: TempDir,
    files: Files,
    imprint: FakeImprint,
}

impl ConfinedBridge {
    /// Creates the files of a bridge with the source `probe`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let imprint = FakeImprint::start(|_| {});
        let files = Files::write(imprint.address, KEY, "");
        files.write_token("alice.operator", OPERATOR);
        let bridge = Self {
            folder,
            files,
            imprint,
        };
        for name in ["sources", "schemas", "secrets/probe"] {
            fs::create_dir_all(bridge.path(name)).unwrap();
        }
        fs::write(bridge.path("schemas/any.json"), "{}").unwrap();
        fs::write(bridge.path("secrets/probe/token"), TOKEN).unwrap();
        bridge.write_source("probe", &bridge.path("secrets/probe/token"));
        bridge
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("bridge").join(name)
    }

    fn write_source(&self, name: &str, token: &Path) {
        let file = self.path(&format!("sources/{name}.toml"));
        fs::write(file, source(token)).unwrap();
    }

    fn start(&self, more: &str) -> RunningBridge<'_> {
        let (sources, schemas) = (self.path("sources"), self.path("schemas"));
        // The name of the host makes the bridge read the files of the resolver.
        let port = self.imprint.address.port();
        self.files.write_settings(&format!(
            "sources_dir = {sources:?}\nschemas_dir = {schemas:?}\n\
             [imprint]\nbase_url = \"http://localhost:{port}\"\n{more}"
        ));
        let process = Process::serve(&self.files);
        let (ingress, ops) = process.ready();
        RunningBridge {
            files: self,
            process,
            ingress,
            ops,
        }
    }
}

/// Returns the text of a source of plain JSON that authenticates with a bearer token.
fn source(token: &Path) -> String {
    format!(
        "[auth]\nkind = \"bearer\"\ntoken_files = [{token:?}]\n[body]\nformat = \"json\"\n\
         id = \".id\"\ntype = '\"p\"'\n[events.p]\nschema = \"any.json\"\n\
         customer.imprint_id = \".cid\"\n[events.p.update]\nemail = \".email\"\n"
    )
}

struct RunningBridge<'a> {
    files: &'a ConfinedBridge,
    process: Process,
    ingress: SocketAddr,
    ops: SocketAddr,
}

impl RunningBridge<'_> {
    fn operate(&self, line: &str, body: &Value) -> Answer {
        let token = format!("Bearer {OPERATOR}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        ask(self.ops, line, &headers, &body.to_string()).unwrap()
    }

    fn reload(&self) -> Value {
        let answer = self.operate("POST /admin/v1/reload", &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn post(&self, source: &str, token: &str, id: &str) -> u16 {
        let token = format!("Bearer {token}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        let body = json!({"id": id, "cid": "C-1", "email": format!("{id}@example.com")});
        let line = format!("POST /v1/sources/{source}/events");
        let answer = ask(self.ingress, &line, &headers, &body.to_string());
        answer.unwrap().status
    }

    /// Waits until the bridge accepts the token, which is in a file that the bridge has to read again.
    #[track_caller]
    fn accepts(&self, source: &str, token: &str) {
        let hangup = format!("kill -HUP {}", self.process.child.id());
        let signalled = Command::new("sh").args(["-c", &hangup]).status();
        assert!(signalled.unwrap().success());
        wait_for(token, || {
            (self.post(source, token, token) == 202).then_some(())
        });
    }

    /// Waits until Imprint has the values of an event.
    #[track_caller]
    fn is_delivered(&self, id: &str) {
        let email = format!("{id}@example.com");
        wait_for(id, || {
            (self.files.imprint.email("C-1") == Some(email.clone())).then_some(())
        });
    }

    /// Returns the weakenings that the metrics show, without those that the settings of the test cause.
    fn weakenings(&self) -> Vec<String> {
        let mut weakenings = weakenings(self.ops);
        let of_the_test = [
            "audit_key",
            "brake_off",
            "local_profile",
            "no_erasure_journal",
            "plain_http",
            "store_not_sealed",
            "undocumented_host",
            "exposed_secret",
        ];
        weakenings.retain(|name| !of_the_test.contains(&name.as_str()));
        weakenings
    }

    /// Returns the lines about the confinement in the status of every thread.
    fn thread_states(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.process.child.id());
        let statuses = fs::read_dir(tasks).unwrap().map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let lines = status.lines();
            let lines = lines
                .filter(|line| line.starts_with("NoNewPrivs:") || line.starts_with("Seccomp:"));
            lines.collect::<Vec<_>>().join(" ")
        });
        statuses.collect()
    }
}

/// FAULTS N541, N542: the process can read no folder that it does not need. It still resolves names, delivers, and
/// copies the store.
#[test]
fn the_running_bridge_reads_only_what_it_needs() {
    let bridge = ConfinedBridge::new();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("token");
    fs::write(&secret, TOKEN).unwrap();
    let running = bridge.start("");
    assert_eq!(running.weakenings(), Vec::<String>::new());
    let states = running.thread_states();
    assert!(states.len() > 3, "{states:?}");
    let is_confined = |state: &String| state == "NoNewPrivs:\t1 Seccomp:\t2";
    assert!(states.iter().all(is_confined), "{states:?}");

    assert_eq!(running.post("probe", TOKEN, "first"), 202);
    running.is_delivered("first");
    let copied = running.operate("POST /admin/v1/store/backup", &json!({"name": "copy.db"}));
    assert_eq!(copied.status, 200, "{}", copied.body);

    let link = bridge.path("secrets/probe/link");
    symlink(&secret, &link).unwrap();
    for token in [secret, link] {
        bridge.write_source("erp", &token);
        let result = running.reload();
        assert_eq!(result["outcome"], "refused", "{result}");
        let error = result["errors"][0].as_str().unwrap();
        assert!(error.contains(token.to_str().unwrap()), "{error}");
        assert!(
            error.contains("add the folder to confinement.readable"),
            "{error}"
        );
        assert_eq!(running.post("probe", TOKEN, "still"), 202);
    }
}

/// FAULTS N541: other programs replace files, links and folders, and add new ones. The bridge reads them as before.
#[test]
fn a_confined_bridge_reads_what_other_programs_replace() {
    let bridge = ConfinedBridge::new();
    let write = |name: &str, text: &str| fs::write(bridge.path(name), text).unwrap();
    let rename = |from: &str, to: &str| fs::rename(bridge.path(from), bridge.path(to)).unwrap();
    // As Kubernetes mounts a Secret.
    fs::create_dir_all(bridge.path("mounts/erp/..1")).unwrap();
    write("mounts/erp/..1/token", "erp-token-number-one");
    symlink("..1", bridge.path("mounts/erp/..data")).unwrap();
    symlink("..data/token", bridge.path("mounts/erp/token")).unwrap();
    bridge.write_source("erp", &bridge.path("mounts/erp/token"));
    // The source file is a link to a folder of its own.
    fs::create_dir(bridge.folder.path().join("linked")).unwrap();
    let linked = bridge.folder.path().join("linked/shop.toml");
    fs::write(&linked, source(&bridge.path("secrets/probe/token"))).unwrap();
    symlink(&linked, bridge.path("sources/shop.toml")).unwrap();
    let running = bridge.start("");
    assert_eq!(running.post("erp", "erp-token-number-one", "e1"), 202);
    assert_eq!(running.post("shop", TOKEN, "s1"), 202);

    write("secrets/probe/token.new", "renamed-token-1234");
    rename("secrets/probe/token.new", "secrets/probe/token");
    running.accepts("probe", "renamed-token-1234");

    fs::create_dir(bridge.path("mounts/erp/..2")).unwrap();
    write("mounts/erp/..2/token", "erp-token-number-two");
    symlink("..2", bridge.path("mounts/erp/..new")).unwrap();
    rename("mounts/erp/..new", "mounts/erp/..data");
    fs::remove_dir_all(bridge.path("mounts/erp/..1")).unwrap();
    running.accepts("erp", "erp-token-number-two");

    fs::create_dir(bridge.path("secrets/other")).unwrap();
    write("secrets/other/token", "token-in-another-folder");
    rename("secrets/probe", "secrets/old");
    rename("secrets/other", "secrets/probe");
    running.accepts("probe", "token-in-another-folder");

    fs::create_dir_all(bridge.path("secrets/new/deep")).unwrap();
    write("secrets/new/deep/token", "token-of-a-new-folder");
    fs::create_dir(bridge.path("schemas/new")).unwrap();
    write("schemas/new/any.json", "{}");
    let text = source(&bridge.path("secrets/new/deep/token"));
    write(
        "sources/new.toml",
        &text.replace("any.json", "new/any.json"),
    );
    assert_eq!(running.reload()["outcome"], "reloaded");
    assert_eq!(running.post("new", "token-of-a-new-folder", "n1"), 202);

    fs::write(&linked, text).unwrap();
    for folder in ["sources", "schemas"] {
        let copy = bridge.path("copy");
        let mut command = Command::new("cp");
        command.arg("-a").args([&bridge.path(folder), &copy]);
        assert!(command.status().unwrap().success());
        rename(folder, &format!("{folder}.old"));
        rename("copy", folder);
    }
    fs::remove_file(bridge.path("sources/new.toml")).unwrap();
    let result = running.reload();
    assert_eq!(result["outcome"], "reloaded", "{result}");
    assert_eq!(result["removed"], json!(["new"]));
    assert_eq!(result["changed"], json!(["shop"]));

    bridge.files.write_key("another-key");
    wait_for("the bridge uses the new key", || {
        let changed = "the API key or the merchant key changed";
        running.process.log().contains(changed).then_some(())
    });
}

/// FAULTS N543: the kernel has neither Landlock nor seccomp, as some container runtimes answer.
#[test]
fn a_bridge_without_the_means_of_the_kernel_works_and_says_so() {
    let bridge = ConfinedBridge::new();
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_seccomp];
    let running = without_system_calls(&calls, &[], || bridge.start(""));
    assert_eq!(running.weakenings(), ["files_open", "system_calls_open"]);
    assert_eq!(running.post("probe", TOKEN, "first"), 202);
    running.is_delivered("first");
    for text in [
        "the kernel has no Landlock",
        "the kernel refuses the filter",
    ] {
        let log = running.process.log();
        assert_eq!(log.matches(text).count(), 1, "{log}");
    }
}

/// FAULTS N543
#[test]
fn an_operator_switches_the_confinement_off_or_allows_a_folder() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("token");
    fs::write(&secret, TOKEN).unwrap();
    let readable = format!("[confinement]\nreadable = [{:?}]", outside.path());
    let settings: [(&str, &[&str]); 2] = [
        ("[confinement]\nmode = \"off\"", &["confinement_off"]),
        (&readable, &[]),
    ];
    for (settings, weakenings) in settings {
        let bridge = ConfinedBridge::new();
        let running = bridge.start(settings);
        assert_eq!(running.weakenings(), weakenings);
        bridge.write_source("erp", &secret);
        let result = running.reload();
        assert_eq!(result["outcome"], "reloaded", "{settings}: {result}");
        assert_eq!(running.post("erp", TOKEN, "e1"), 202);
    }
}
