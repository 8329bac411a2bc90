//! `demo`: a stand-in for Imprint, the bridge, and a CRM that tells a story, in one command.
//!
//! The story is told fast, with repetitions, late events and mistakes, and Imprint goes down in the middle of it. In the
//! end every accepted event must have ended and every customer must be right; the exit code says whether that is so.

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
use self::verify::{customers, final_states};
use self::workload::{GeneratedEvent, Workload};
use crate::app::{App, block_on};
use crate::dispatch::pace::{Pace, Rate};
use crate::http::client::HttpClient;
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
mod summary;
mod verify;
mod workload;

/// What is logged: that the source is not authenticated and that Imprint goes down is no news here, and servers need not
/// say that they start.
const LOG: &str = "warn,imprint_bridge::app=error,imprint_bridge::dispatch=error,actix_http=off,actix_server=warn";
/// How many events the CRM sends side by side.
const LANES: usize = 64;
/// The most events: their ids are remembered until the end.
pub(crate) const EVENTS_MAX: u64 = 1_000_000;
/// How long the CRM tries one event.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// How long Imprint is down.
const OUTAGE: Duration = Duration::from_millis(1_500);
/// What goes wrong around the outage: connections are reset, before an update is made and after it.
const TROUBLE: &[u8] = br#"[
    {"rate": 0.02, "for_ms": 4000, "action": {"reset": true}},
    {"rate": 0.02, "for_ms": 4000, "action": {"reset": true, "after": "apply"}}
]"#;
/// How often it is looked whether anything still waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long all of it may take, and how many events add a second to that.
const DEADLINE: Duration = Duration::from_secs(120);
const EVENTS_PER_SECOND: u64 = 100;

/// What is played; the arguments of the command.
#[derive(Debug)]
pub(crate) struct DemoSettings {
    pub(crate) events: u64,
    pub(crate) seed: u64,
    pub(crate) rate: Option<f64>,
    pub(crate) json: bool,
    pub(crate) keep: bool,
}

pub(crate) fn run(options: &DemoSettings) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text, LOG)?;
    let environment = DemoEnvironment::start(options.seed)?;
    let played = block_on(perform(options, &environment));
    let stopped_environment = environment.stop();
    let code = played?;
    stopped_environment?;
    Ok(code)
}

/// Runs the bridge, and the story against it.
async fn perform(
    options: &DemoSettings,
    environment: &DemoEnvironment,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let (config, sources) = environment.bridge()?;
    let app = App::start(config, sources).await?;
    let addresses = DemoAddresses {
        ingress: app.ingress,
        ops: app.ops,
        sandbox: environment.sandbox_address(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let mut bridge = Box::pin(app.run(async move {
        let _dropped: Result<_, _> = stopped.await;
        "the demo is over"
    }));
    let play = Box::pin(DemoRun::new(options, environment, &addresses)?.play());
    let summary = tokio::select! {
        ended = &mut bridge => return ended.and_then(|()| bail!("the bridge ended in the middle")),
        _signal = signals.next() => None,
        played = play => Some(played?),
    };
    if let Some(summary) = &summary
        && options.keep
    {
        tell(options, summary)?;
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
        Some(summary) => tell(options, summary)?,
    }
    Ok(match summary {
        Some(summary) if summary.is_right() => ExitCode::SUCCESS,
        Some(_) | None => ExitCode::FAILURE,
    })
}

fn tell(options: &DemoSettings, summary: &DemoSummary) -> anyhow::Result<()> {
    if options.json {
        print_notice(summary);
        print_result(serde_json::to_string(&summary.figures)?);
    } else {
        print_result(summary);
    }
    for line in summary.complaints() {
        print_notice(line);
    }
    Ok(())
}

/// Where everything is.
struct DemoAddresses {
    ingress: SocketAddr,
    ops: SocketAddr,
    sandbox: SocketAddr,
}

impl std::fmt::Display for DemoAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ingress,
            ops,
            sandbox,
        } = self;
        writeln!(f, "Everything stays up until Ctrl-C:")?;
        writeln!(
            f,
            "  send events      http://{ingress}/v1/sources/crm/events"
        )?;
        writeln!(
            f,
            "  ask for one      http://{ingress}/v1/sources/crm/events/demo-0000001"
        )?;
        writeln!(f, "  metrics          http://{ops}/metrics")?;
        write!(
            f,
            "  what Imprint got http://{sandbox}/sandbox/ledger?limit=3"
        )
    }
}

/// One performance.
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
        addresses: &DemoAddresses,
    ) -> anyhow::Result<Self> {
        let base = format!("http://{}", addresses.ingress);
        let (http, clock) = (HttpClient::new()?, Clock::machine());
        let metrics_url = format!("http://{}/metrics", addresses.ops);
        Ok(Self {
            options,
            sandbox: environment.sandbox(),
            events_url: events_url(&base, "crm").map_err(anyhow::Error::msg)?,
            progress: DemoProgress::new(
                http.clone(),
                metrics_url,
                environment,
                clock.clone(),
                options.events,
            ),
            http,
            clock,
            expectations: Rc::default(),
        })
    }

    /// Tells the story, waits for its end, and looks whether all is well.
    async fn play(self) -> anyhow::Result<DemoSummary> {
        self.progress.print_notice(&format!(
            "A CRM sends {} changes of made-up customers to the bridge; Imprint will be down for {:.1} s.",
            self.options.events,
            OUTAGE.as_secs_f64()
        ));
        let started = self.clock.now();
        let deadline = DEADLINE + Duration::from_secs(self.options.events / EVENTS_PER_SECOND);
        let expectations = Rc::clone(&self.expectations);
        let generated = async {
            self.stream().await?;
            self.settle().await
        };
        let in_time = tokio::select! {
            generated = tokio::time::timeout(deadline, generated) => match generated {
                Ok(generated) => { generated?; true }
                Err(_elapsed) => false,
            },
            blind = self.progress.show(|| expectations.borrow().answered()) => return Err(blind.context("the metrics")),
        };
        let seconds = self.clock.now().since(started).as_secs_f64();
        let mut wrong = std::mem::take(&mut self.expectations.borrow_mut().wrong);
        if !in_time {
            wrong.push(format!("it was not over within {} s", deadline.as_secs()));
        }
        let expectations = self.expectations.take();
        let final_states =
            final_states(&self.http, &self.events_url, &expectations, &mut wrong).await;
        customers(self.sandbox, &expectations, &mut wrong);
        Ok(DemoSummary::new(
            &expectations,
            final_states,
            &self.sandbox.stats(),
            seconds,
            wrong,
        ))
    }

    /// Sends the story, the events of each customer in the story's order.
    async fn stream(&self) -> anyhow::Result<()> {
        let sender = Rc::new(EventSender::new(
            self.events_url.clone(),
            SenderAuth::None,
            self.clock.clone(),
            GIVE_UP_AFTER,
        )?);
        let expectations = Rc::clone(&self.expectations);
        let lanes = KeyedWorkers::start(LANES, move |event: GeneratedEvent| {
            let (sender, expectations) = (Rc::clone(&sender), Rc::clone(&expectations));
            async move {
                let end = sender.send(Some(&event.id), &event.body).await;
                expectations.borrow_mut().enter(event, end);
            }
        });
        let rate = self.options.rate.map_or(Rate::Unlimited, Rate::PerSecond);
        let mut pace = Pace::new(rate, self.clock.now());
        let events = self.options.events;
        for (number, event) in (0..).zip(Workload::new(self.options.seed, events)) {
            if number == events * 2 / 5 {
                let trouble = Sandbox::parse_rules(TROUBLE)?;
                self.sandbox.inject(trouble).context("making trouble")?;
            }
            if number == events / 2 {
                self.progress.print_notice("Imprint goes down.");
                self.sandbox.outage(OUTAGE);
            }
            while pace.take(1, self.clock.now()) == 0 {
                tokio::time::sleep(pace.next().since(self.clock.now())).await;
            }
            let subject = event.subject.clone();
            lanes.submit(Some(&subject), event).await?;
        }
        lanes.finish().await
    }

    /// Waits until nothing waits any more.
    async fn settle(&self) -> anyhow::Result<()> {
        while self.progress.read().await?.waiting > 0.0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}
