//! A fuzzer of intake: hostile bodies against the shipped sources and against sources with expensive expressions and
//! schemas. It asserts that no body takes more memory than [`MEMORY_BYTES_MAX`], and reports the longest CPU time.
//!
//! `IMPRINT_BRIDGE_FUZZ_BODIES` sets the number of bodies, `IMPRINT_BRIDGE_FUZZ_FROM` the number of the first body, and
//! `IMPRINT_BRIDGE_FUZZ_SEED` the seed. With `IMPRINT_BRIDGE_FUZZ_ONLY`, a list of numbers such as `17,960544`, the fuzzer
//! runs only these bodies. Times mean something only in an optimised build on a quiet machine. There, set
//! `IMPRINT_BRIDGE_FUZZ_TIME` to let the fuzzer fail if a body takes longer than [`TIME_MAX`]:
//!
//! ```sh
//! IMPRINT_BRIDGE_FUZZ_TIME=1 IMPRINT_BRIDGE_FUZZ_BODIES=1000000 cargo test --profile dist --test fuzz
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an unexpected value fails the test, and the figures are the output"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use cap::Cap;
use imprint_bridge::config::{Config, Purpose, sources};
use imprint_bridge::event::{RequestHeaders, SourceName, TraceReading};
use imprint_bridge::intake::{Encoding, EntryContext, RequestMessage, Source, Sources};
use imprint_bridge::outbox::Priority;
use imprint_bridge::time::Timestamp;
use mimalloc::MiMalloc;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use bodies::Random;

mod bodies;

/// The memory that one body may take, with everything that intake makes from the body.
const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The goal for the CPU time of one body.
const TIME_MAX: Duration = Duration::from_millis(50);
/// The number of times that the fuzzer repeats a body above [`TIME_MAX`]. The shortest time counts, because the CPU time
/// of a thread contains the time that the host of a virtual machine gives to other machines.
const REPEATS: u32 = 2;
/// The number of bodies in the usual run.
const BODIES: u64 = 2_000;
/// The number of bodies in the full run.
const BODIES_FULL: u64 = 100_000;
/// The size of a worker's stack in the service.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// The folders of the sources and of their schemas.
const FOLDERS: [(&str, &str); 3] = [
    ("config/sources", "schemas"),
    ("config/examples", "schemas"),
    ("tests/fuzz/sources", "tests/fuzz/schemas"),
];

// The allocator of the service, so that the times are those of the service. `Cap` aborts the process above its limit, so
// a fault cannot take all memory of the machine.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, 1024 * 1024 * 1024);

/// The names of the sources in a folder, each with its examples.
type Seeds = Vec<(SourceName, Vec<Seed>)>;

/// An example of a source.
#[derive(Clone)]
struct Seed {
    event: Value,
    headers: RequestHeaders,
}

/// The largest figures of all bodies for one source.
#[derive(Clone, Debug, Default)]
struct Worst {
    bodies: u64,
    accepted: u64,
    over_50_ms: u64,
    time: Duration,
    slowest: String,
}

fn main() {
    let run = std::thread::Builder::new().stack_size(STACK_BYTES);
    run.spawn(fuzz).unwrap().join().unwrap();
}

fn fuzz() {
    let number = |name: &str| {
        let text = std::env::var_os(name)?.into_string().unwrap();
        Some(text.parse::<u64>().unwrap())
    };
    let bodies = number("IMPRINT_BRIDGE_FUZZ_BODIES").unwrap_or_else(usual);
    let seed = number("IMPRINT_BRIDGE_FUZZ_SEED").unwrap_or(1);
    let from = number("IMPRINT_BRIDGE_FUZZ_FROM").unwrap_or(0);
    let numbers = only().unwrap_or_else(|| (from..from + bodies).collect());
    let sets: Vec<(Sources, Seeds)> = FOLDERS.into_iter().map(load).collect();
    let mut worst: BTreeMap<String, Worst> = BTreeMap::new();
    let mut memory = (0, String::new());
    for &number in &numbers {
        let mut random = Random::of_body(seed, number);
        let (sources, seeds) = random.of(&sets);
        let (name, seeds) = random.of(seeds);
        let source = sources.get(name).unwrap();
        let seed_event = random.of(seeds);
        let (kind, body) = bodies::body(&mut random, name.as_str(), seed_event.event.clone());
        let message = RequestMessage {
            headers: &seed_event.headers,
            body: &body,
        };
        let before = ALLOCATOR.allocated();
        let peak_before = ALLOCATOR.max_allocated();
        let (is_accepted, mut time) = measured(sources, source, message);
        let peak = ALLOCATOR.max_allocated();
        // The highest peak up to now hides the smaller peaks after it.
        let taken = if peak > peak_before { peak - before } else { 0 };
        assert!(
            taken <= MEMORY_BYTES_MAX,
            "{name} {kind} body {number} needs {taken} bytes"
        );
        memory = memory.max((taken, format!("{name} {kind} body {number}")));
        if time > TIME_MAX {
            let repeated = (0..REPEATS).map(|_| measured(sources, source, message).1);
            time = repeated.fold(time, Duration::min);
        }
        let worst = worst.entry(name.as_str().to_owned()).or_default();
        worst.bodies += 1;
        worst.accepted += u64::from(is_accepted);
        worst.over_50_ms += u64::from(time > TIME_MAX);
        if time > TIME_MAX {
            println!("{name} {kind} body {number}: {time:?}");
        }
        if time > worst.time {
            worst.time = time;
            worst.slowest = format!("{kind}, {} bytes, body {number}", body.len());
        }
    }
    for (name, worst) in &worst {
        println!("{name}: {worst:?}");
    }
    let (bodies, kib) = (numbers.len(), memory.0 / 1024);
    println!(
        "{bodies} bodies with seed {seed}: at most {kib} KiB for one body ({})",
        memory.1
    );
    if std::env::var_os("IMPRINT_BRIDGE_FUZZ_TIME").is_some() {
        let slow: u64 = worst.values().map(|worst| worst.over_50_ms).sum();
        assert_eq!(slow, 0, "bodies take longer than {TIME_MAX:?}");
    }
}

/// Returns the number of bodies of a run without settings.
fn usual() -> u64 {
    if std::env::var_os("IMPRINT_BRIDGE_TEST_FULL").is_some() {
        BODIES_FULL
    } else {
        BODIES
    }
}

/// Reads the numbers of the bodies that the fuzzer runs. `None` means that no list is given.
fn only() -> Option<Vec<u64>> {
    let list = std::env::var_os("IMPRINT_BRIDGE_FUZZ_ONLY")?;
    let list = list.into_string().unwrap();
    let numbers = list.split(',').map(|number| number.parse().unwrap());
    Some(numbers.collect())
}

/// Runs intake for one body. Returns whether intake accepts the body, and the CPU time.
fn measured(sources: &Sources, source: &Source, message: RequestMessage<'_>) -> (bool, Duration) {
    let started = cpu_time();
    let is_accepted = accept(sources, source, message);
    (is_accepted, cpu_time().saturating_sub(started))
}

/// Returns the CPU time of this thread. The time that other programs take on a busy machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Runs intake as the event route does. Returns whether intake accepts the body.
fn accept(sources: &Sources, source: &Source, message: RequestMessage<'_>) -> bool {
    let context = EntryContext {
        accepted_at: Timestamp::from_millis(1_739_484_487_000),
        wall_time: Timestamp::from_millis(1_739_484_487_000),
        priority: Priority::Live,
        digest_key: [7; 32],
        traces: TraceReading::Off,
    };
    let encoding = Encoding::of_body(source, message.body);
    sources
        .entries(source, &encoding, message, &context)
        .is_ok()
}

/// Loads the sources of a folder, each with its examples.
fn load((folder, schemas): (&str, &str)) -> (Sources, Seeds) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("fuzz.toml");
    let folder = root.join(folder);
    let schemas = root.join(schemas);
    fs::write(
        &file,
        format!("sources_dir = {folder:?}\nschemas_dir = {schemas:?}\n"),
    )
    .unwrap();
    let config = Config::read_apart(&[file], Purpose::Check).unwrap();
    let settings =
        sources::read(&config).unwrap_or_else(|errors| panic!("{}: {errors:?}", folder.display()));
    let named = settings.iter().map(|settings| {
        let name = settings.source.name.clone();
        let seeds = seeds(&folder.join(name.as_str()));
        (name, seeds)
    });
    // Four of eight bodies in the last folder have the expensive event types, and four have an expensive split.
    let copies = |(name, seeds): (SourceName, Vec<Seed>)| {
        let count = if name.as_str() == "nasty" { 4 } else { 1 };
        vec![(name, seeds); count]
    };
    let named = named.flat_map(copies).collect();
    let sources = settings.into_iter().map(|settings| settings.source);
    (Sources::new(sources, config.intake), named)
}

fn seeds(folder: &Path) -> Vec<Seed> {
    let files = fs::read_dir(folder).into_iter().flatten();
    let paths = files.map(|file| file.unwrap().path());
    let texts = paths.map(|path| path.to_str().unwrap().to_owned());
    let examples = texts.filter_map(|path| path.strip_suffix(".event.json").map(ToOwned::to_owned));
    // The order of the files in a folder differs between machines, and the bodies must not.
    let examples: BTreeSet<String> = examples.collect();
    let mut seeds: Vec<Seed> = examples.iter().map(|example| seed(example)).collect();
    if seeds.is_empty() {
        seeds.push(Seed {
            event: json!({"id": "a", "type": "n"}),
            headers: RequestHeaders::default(),
        });
    }
    seeds
}

/// Reads an example. `path` is the path of its files, without the endings.
fn seed(path: &str) -> Seed {
    let event = fs::read(format!("{path}.event.json")).unwrap();
    let headers = fs::read_to_string(format!("{path}.headers.txt")).unwrap_or_default();
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<&str, &str> = headers.collect();
    Seed {
        event: serde_json::from_slice(&event).unwrap(),
        headers: RequestHeaders::of_json(&json!(headers)),
    }
}
