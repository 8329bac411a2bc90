//! The demo runs the sandbox (a simulated Imprint), the bridge and a simulated CRM in one process.
//!
//! The simulated CRM sends generated events, and some of these events are repeated, late or invalid. In the middle of
//! the workload, the sandbox has an outage. At the end of the demo, every accepted event must be in a final state, and
//! every customer in the sandbox must have the newest accepted values. If an event or a customer is not as expected,
//! the demo reports an error. With `--keep`, the demo then leaves some rejected events for the console. The exit code of the demo is 0 only if the demo reports no error.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::oneshot;

use self::environment::DemoEnvironment;
use self::expectations::Expectations;
use self::progress::DemoProgress;
use self::summary::DemoSummary;
use self::verify::{compare_customers, count_final_states};
use self::workload::{GeneratedEvent, Workload};
use crate::app::{App, block_on, confine_to};
use crate::dispatch::pace::{Pace, Rate};
use crate::http::client::HttpClient;
use crate::ops::Figures;
use crate::sandbox::Sandbox;
use crate::sender::keyed_workers::KeyedWorkers;
use crate::sender::{EventSender, SenderAuth, events_url};
use crate::shutdown::Signals;
use crate::telemetry::{self, LogFormat};
use crate::terminal::{print_notice, print_result};
use crate::time::Clock;

mod customers;
mod environment;
mod expectations;
mod names;
mod progress;
mod showcase;
mod summary;
mod verify;
mod workload;

/// The log filter of the demo. The filter hides the expected warnings about the unauthenticated source and the outage.
const LOG: &str = "warn,imprint_bridge::app=error,imprint_bridge::dispatch=error,actix_http=off,actix_server=warn";
/// The maximum number of events that the simulated CRM has in flight at the same time.
const CONCURRENCY: usize = 64;
/// The maximum number of events of a demo. The demo keeps every event id in memory until the demo ends.
pub(crate) const EVENTS_MAX: u64 = 1_000_000;
/// The time limit for sending one event, including all attempts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The duration of the sandbox's outage.
const OUTAGE: Duration = Duration::from_millis(1_500);
/// Two fault rules of the sandbox, which reset some connections during the 4 s around [`OUTAGE`]. The first rule resets
/// a connection before the sandbox applies the update, and the second rule afterwards.
const FAULTS: &[u8] = br#"[
    {"rate": 0.02, "for_ms": 4000, "action": {"reset": true}},
    {"rate": 0.02, "for_ms": 4000, "action": {"reset": true, "after": "apply"}}
]"#;
/// The time between two checks for waiting entries.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// The basic time limit of a demo. The demo adds one second for every [`EVENTS_PER_SECOND`] events.
const DEADLINE: Duration = Duration::from_secs(120);
/// The number of events for which the demo adds one second to its time limit.
const EVENTS_PER_SECOND: u64 = 100;

/// The arguments of the command `demo`.
#[derive(Debug)]
pub(crate) struct DemoSettings {
    pub(crate) events: u64,
    pub(crate) seed: u64,
    pub(crate) rate: Option<f64>,
    pub(crate) json: bool,
    pub(crate) keep: bool,
}

/// Runs the demo. The exit code is 0 only if the demo reports no error.
pub(crate) fn run(options: &DemoSettings) -> anyhow::Result<ExitCode> {
    let folder = environment::folder()?;
    // Only the threads that the process starts later are confined, and the log has a thread.
    confine_to(folder.path());
    let _log = telemetry::start(LogFormat::Text, LOG)?;
    let environment = DemoEnvironment::start(folder, options.seed)?;
    let result = block_on(run_in(options, &environment));
    let stopped = environment.stop();
    let code = result?;
    stopped?;
    Ok(code)
}

/// Starts the bridge, and runs the demo until the result or a signal.
async fn run_in(options: &DemoSettings, environment: &DemoEnvironment) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let (config, set) = environment.bridge()?;
    let app = App::start(config, set, Clock::machine()).await?;
    let addresses = DemoAddresses {
        ingress: app.ingress,
        ops: app.ops,
        sandbox: environment.sandbox_address(),
        operator_token: environment.operator_token(),
    };
    let figures = app.figures();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut bridge = Box::pin(app.run(async move {
        let _dropped: Result<_, _> = stopped.await;
        "the demo is over"
    }));
    let run = Box::pin(DemoRun::new(options, environment, &addresses, figures)?.run());
    let summary = tokio::select! {
        ended = &mut bridge => return ended.and_then(|()| bail!("the bridge ended during the demo")),
        _signal = signals.next() => None,
        summary = run => Some(summary?),
    };
    if let Some(summary) = &summary
        && options.keep
    {
        print_summary(options, summary)?;
        let events_url = addresses.events_url()?;
        let sandbox = environment.sandbox();
        tokio::select! {
            ended = &mut bridge => return ended.and_then(|()| bail!("the bridge ended by itself")),
            left = showcase::leave_rejected_events(sandbox, events_url) => left?,
        }
        print_notice(&addresses);
        tokio::select! {
            ended = &mut bridge => return ended.and_then(|()| bail!("the bridge ended by itself")),
            _signal = signals.next() => {}
        }
    }
    drop(stop);
    bridge.await?;
    match &summary {
        None => print_notice("interrupted"),
        Some(_) if options.keep => {}
        Some(summary) => print_summary(options, summary)?,
    }
    Ok(match summary {
        Some(summary) if summary.is_correct() => ExitCode::SUCCESS,
        Some(_) | None => ExitCode::FAILURE,
    })
}

fn print_summary(options: &DemoSettings, summary: &DemoSummary) -> anyhow::Result<()> {
    if options.json {
        print_notice(summary);
        print_result(serde_json::to_string(&summary.figures)?);
    } else {
        print_result(summary);
    }
    for line in summary.error_lines() {
        print_notice(line);
    }
    Ok(())
}

/// The addresses of the bridge and the sandbox, and the token of the console. With `--keep`, the demo prints the addresses.
struct DemoAddresses<'a> {
    ingress: SocketAddr,
    ops: SocketAddr,
    sandbox: SocketAddr,
    operator_token: &'a str,
}

impl DemoAddresses<'_> {
    fn events_url(&self) -> anyhow::Result<String> {
        let base = format!("http://{}", self.ingress);
        events_url(&base, "crm").map_err(anyhow::Error::msg)
    }
}

impl std::fmt::Display for DemoAddresses<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ingress,
            ops,
            sandbox,
            operator_token,
        } = self;
        writeln!(f, "Everything keeps running until Ctrl-C:")?;
        writeln!(f, "  console         http://{ops}/")?;
        writeln!(f, "    log in with the token {operator_token}")?;
        writeln!(
            f,
            "  send events     http://{ingress}/v1/sources/crm/events"
        )?;
        writeln!(
            f,
            "  get a receipt   http://{ingress}/v1/sources/crm/events/demo-0000001"
        )?;
        writeln!(f, "  metrics         http://{ops}/metrics")?;
        write!(
            f,
            "  calls received  http://{sandbox}/sandbox/ledger?limit=3"
        )
    }
}

/// One run of the demo's workload.
struct DemoRun<'a> {
    options: &'a DemoSettings,
    sandbox: &'a Sandbox,
    events_url: String,
    http: HttpClient,
    clock: Clock,
    progress: DemoProgress<'a>,
    expectations: Rc<RefCell<Expectations>>,
}

impl<'a> DemoRun<'a> {
    fn new(
        options: &'a DemoSettings,
        environment: &'a DemoEnvironment,
        addresses: &DemoAddresses<'_>,
        figures: Figures,
    ) -> anyhow::Result<Self> {
        let clock = Clock::machine();
        Ok(Self {
            options,
            sandbox: environment.sandbox(),
            events_url: addresses.events_url()?,
            progress: DemoProgress::new(figures, environment, clock.clone(), options.events),
            http: HttpClient::new()?,
            clock,
            expectations: Rc::default(),
        })
    }

    /// Sends the workload, waits until the bridge has no waiting entry, and verifies the result.
    async fn run(self) -> anyhow::Result<DemoSummary> {
        self.progress.print_notice(&format!(
            "A simulated CRM sends {} changes to the bridge; Imprint will have an outage of {:.1} s.",
            self.options.events,
            OUTAGE.as_secs_f64()
        ));
        let started = self.clock.now();
        let deadline = DEADLINE + Duration::from_secs(self.options.events / EVENTS_PER_SECOND);
        let expectations = Rc::clone(&self.expectations);
        let work = async {
            self.send_workload().await?;
            self.wait_until_settled().await;
            anyhow::Ok(())
        };
        let is_in_time = tokio::select! {
            done = tokio::time::timeout(deadline, work) => match done {
                Ok(done) => { done?; true }
                Err(_elapsed) => false,
            },
            never = self.progress.show(|| expectations.borrow().answered()) => match never {},
        };
        let seconds = self.clock.now().since(started).as_secs_f64();
        let mut errors = std::mem::take(&mut self.expectations.borrow_mut().errors);
        if !is_in_time {
            errors.push(format!(
                "the demo did not end within {} s",
                deadline.as_secs()
            ));
        }
        let expectations = self.expectations.take();
        let final_states =
            count_final_states(&self.http, &self.events_url, &expectations, &mut errors).await;
        compare_customers(self.sandbox, &expectations, &mut errors);
        Ok(DemoSummary::new(
            &expectations,
            final_states,
            &self.sandbox.stats(),
            seconds,
            errors,
        ))
    }

    /// Sends all events of the workload. The events of one customer keep the order that they have in the workload.
    async fn send_workload(&self) -> anyhow::Result<()> {
        let sender = Rc::new(EventSender::new(
            self.events_url.clone(),
            SenderAuth::None,
            self.clock.clone(),
            GIVE_UP_AFTER,
        )?);
        let expectations = Rc::clone(&self.expectations);
        let workers = KeyedWorkers::start(CONCURRENCY, move |event: GeneratedEvent| {
            let (sender, expectations) = (Rc::clone(&sender), Rc::clone(&expectations));
            async move {
                let result = sender.send(Some(&event.id), &event.body).await;
                expectations.borrow_mut().record(event, result);
            }
        });
        let rate = self.options.rate.map_or(Rate::Unlimited, Rate::PerSecond);
        let mut pace = Pace::new(rate, self.clock.now());
        let events = self.options.events;
        for (number, event) in (0..).zip(Workload::new(self.options.seed, events)) {
            if number == events * 2 / 5 {
                let faults = Sandbox::parse_rules(FAULTS)?;
                self.sandbox.inject(faults).context("injecting faults")?;
            }
            if number == events / 2 {
                self.progress.print_notice("The outage of Imprint begins.");
                self.sandbox.outage(OUTAGE);
            }
            while pace.take(1, self.clock.now()) == 0 {
                tokio::time::sleep(pace.next().since(self.clock.now())).await;
            }
            let subject = event.subject.clone();
            workers.submit(Some(&subject), event).await?;
        }
        workers.finish().await
    }

    /// Waits until no entry is waiting for delivery.
    async fn wait_until_settled(&self) {
        while self.progress.read().await.waiting > 0 {
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }
}
