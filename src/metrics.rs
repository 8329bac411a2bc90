//! Every metric, declared once, with its help beside it.
//!
//! Labels are `&'static str` wherever they are set: they come from closed sets of the program, never from input. This
//! module knows no other of ours.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// The prefix of every name.
const NAMESPACE: &str = "imprint_bridge";

/// The closed sets of words that other modules own and that are shown before anything was counted.
#[derive(Clone, Copy, Debug)]
pub struct LabelSets {
    /// What the destination can be like; what it is like at first stands first.
    pub destination_states: &'static [&'static str],
    /// How entries end.
    pub end_states: &'static [&'static str],
}

/// Everything that is counted, and the registry that shows it.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// What the accepting side counts.
    pub ingress: IngressMetrics,
    /// What the delivering side counts.
    pub dispatch: DispatchMetrics,
    /// What administration counts.
    pub admin: AdminMetrics,
    store: StoreMetrics,
}

/// What the accepting side counts.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    /// Events kept for the first time.
    pub accepted: IntCounter,
    /// Events that were there already.
    pub duplicates: IntCounter,
    /// Events kept for the first time as ignored.
    pub ignored: IntCounter,
    /// Requests refused, by the word of the problem.
    pub refused: IntCounterVec,
    /// Requests that were not authentic, by reason.
    pub unauthenticated: IntCounterVec,
}

/// What administration counts.
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    denied: IntCounterVec,
}

impl AdminMetrics {
    fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            denied: declare.counters(
                "admin_denied_total",
                "Requests for administration that were not an operator's, by reason.",
                "reason",
            )?,
        })
    }

    /// Counts somebody who is no operator.
    pub fn denied(&self, reason: &'static str) {
        self.denied.with_label_values(&[reason]).inc();
    }
}

/// What the delivering side counts.
#[derive(Clone, Debug)]
pub struct DispatchMetrics {
    attempts: IntCounterVec,
    ended: ByWord<IntCounter>,
    parked: IntCounterVec,
    entries: Histogram,
    seconds: HistogramVec,
    in_flight: IntGauge,
    destination: ByWord<IntGauge>,
    delivered_at: IntGauge,
    lookups: IntCounterVec,
    asserted: IntCounter,
    ties: IntCounter,
    echo_mismatches: IntCounterVec,
}

/// The metrics of a family whose words are all known: every event counts here, and none has to look its word up in a map.
type ByWord<M> = Vec<(&'static str, M)>;

#[derive(Clone, Debug)]
struct StoreMetrics {
    waiting: IntGauge,
    parked: IntGauge,
    oldest: IntGauge,
}

impl Metrics {
    /// Declares everything.
    ///
    /// # Errors
    /// A name is used twice or is not a name.
    pub fn new(words: LabelSets) -> prometheus::Result<Self> {
        let registry = Registry::new();
        // CPU, memory and file descriptors, under the names that every dashboard knows.
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let declare = Declare(&registry);
        let (ingress, dispatch) = (
            IngressMetrics::new(&declare)?,
            DispatchMetrics::new(&declare, words)?,
        );
        let (admin, store) = (AdminMetrics::new(&declare)?, StoreMetrics::new(&declare)?);
        Ok(Self {
            registry,
            ingress,
            dispatch,
            admin,
            store,
        })
    }

    /// The page for Prometheus, in its text format.
    pub fn page(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    /// Says how much is in the store. It is asked for when somebody looks, because the store keeps count anyway.
    pub fn depth(&self, waiting: u64, parked: u64, oldest: Duration) {
        self.store.waiting.set(whole(waiting));
        self.store.parked.set(whole(parked));
        self.store.oldest.set(whole(oldest.as_secs()));
    }
}

impl IngressMetrics {
    fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            accepted: declare.counter("accepted_total", "Events kept for the first time.")?,
            duplicates: declare.counter("duplicates_total", "Events that had been kept before.")?,
            ignored: declare.counter(
                "ignored_total",
                "Events kept for the first time as ignored.",
            )?,
            refused: declare.counters(
                "refused_total",
                "Requests refused, by problem.",
                "problem",
            )?,
            unauthenticated: declare.counters(
                "unauthenticated_total",
                "Requests that were not authentic, by reason.",
                "reason",
            )?,
        })
    }
}

impl StoreMetrics {
    fn new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            waiting: declare.gauge("waiting_entries", "Entries that wait to be delivered.")?,
            parked: declare.gauge("parked_entries", "Entries that wait for a person.")?,
            oldest: declare.gauge(
                "oldest_waiting_seconds",
                "How long the oldest waiting entry has waited; 0 if none waits.",
            )?,
        })
    }
}

impl DispatchMetrics {
    fn new(declare: &Declare<'_>, words: LabelSets) -> prometheus::Result<Self> {
        let ended = declare.counters("ended_total", "Entries that ended, by how.", "state")?;
        let destination = declare.gauges(
            "destination_state",
            "1 for what the destination is like now.",
            "state",
        )?;
        let dispatch = Self {
            attempts: declare.counters(
                "attempts_total",
                "Requests to Imprint, by what came of them.",
                "outcome",
            )?,
            ended: by_word(words.end_states, |word| ended.with_label_values(&[word])),
            parked: declare.counters(
                "parked_total",
                "Entries that were parked, by why.",
                "reason",
            )?,
            entries: declare.histogram(
                "request_entries",
                "Entries one request carried.",
                ENTRIES,
            )?,
            seconds: declare.histograms(
                "request_duration_seconds",
                "From a request to what came of it.",
                "outcome",
                LATENCIES,
            )?,
            in_flight: declare.gauge("requests_in_flight", "Requests under way.")?,
            destination: by_word(words.destination_states, |word| {
                destination.with_label_values(&[word])
            }),
            delivered_at: declare.gauge(
                "last_delivered_timestamp_seconds",
                "When an entry was last delivered; 0 for never.",
            )?,
            lookups: declare.counters(
                "lookups_total",
                "Searches and retrieves, by what came of them.",
                "outcome",
            )?,
            asserted: declare.counter(
                "asserted_total",
                "Facts sent once more, because an older request may have landed after them.",
            )?,
            ties: declare.counter(
                "version_ties_total",
                "Entries with the version of another one and other facts.",
            )?,
            echo_mismatches: declare.counters(
                "echo_mismatch_total",
                "Facets that Imprint echoed otherwise than they were sent.",
                "group",
            )?,
        };
        if let Some(first) = words.destination_states.first() {
            dispatch.condition(first);
        }
        Ok(dispatch)
    }

    /// Counts a request and what came of it.
    pub fn attempt(&self, outcome: &'static str, entries: usize, took: Duration) {
        self.attempts.with_label_values(&[outcome]).inc();
        self.seconds
            .with_label_values(&[outcome])
            .observe(took.as_secs_f64());
        self.entries
            .observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }

    /// Counts a search or a retrieve and what came of it.
    pub fn lookup(&self, outcome: &'static str) {
        self.lookups.with_label_values(&[outcome]).inc();
    }

    /// Counts facts that were sent once more.
    pub fn asserted(&self, facts: usize) {
        self.asserted
            .inc_by(u64::try_from(facts).unwrap_or(u64::MAX));
    }

    /// Counts entries that tied with another.
    pub fn ties(&self, entries: usize) {
        self.ties.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    /// Counts a group that was echoed otherwise than it was sent.
    pub fn echo_differs(&self, group: &'static str) {
        self.echo_mismatches.with_label_values(&[group]).inc();
    }

    /// Counts the end of an entry.
    pub fn ended(&self, state: &'static str) {
        let ended = self.ended.iter().find(|(word, _)| *word == state);
        if let Some((_, ended)) = ended {
            ended.inc();
        }
    }

    /// Counts an entry that was parked.
    pub fn parked(&self, reason: &'static str) {
        self.parked.with_label_values(&[reason]).inc();
    }

    /// Notes when an entry was last delivered, in seconds since the Unix epoch.
    pub fn delivered_at(&self, seconds: i64) {
        self.delivered_at.set(seconds);
    }

    /// Says what the destination is like.
    pub fn condition(&self, condition: &'static str) {
        for (word, gauge) in &self.destination {
            gauge.set(i64::from(*word == condition));
        }
    }

    /// Says how many more (or, negative, fewer) requests are under way.
    pub fn in_flight(&self, change: i64) {
        self.in_flight.add(change);
    }
}

/// From half a millisecond to half a minute.
const LATENCIES: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// How many entries a request carries.
const ENTRIES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

fn by_word<M>(words: &[&'static str], metric: impl Fn(&'static str) -> M) -> ByWord<M> {
    words.iter().map(|word| (*word, metric(word))).collect()
}

/// Makes metrics that are registered.
struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(opts(name, help), &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(
            HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()),
        )?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(
            HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()),
            &[label],
        )?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
