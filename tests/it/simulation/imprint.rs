//! A model of Imprint under virtual time: what it holds, when a request arrives there, and what answer comes back when.

use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::imprint::classify::{ImprintResponse, classify};
use imprint_bridge::imprint::{
    Body, Cause, CustomerRef, ImprintId, LookupResult, Outcome, PartnerCustomerId, Request,
};
use imprint_bridge::time::Timestamp;
use serde_json::{Map, Value, json};

use super::plan::{Clears, FIELDS, Fault, LATE_MAX, Plan, Silence, millis};
use super::random::SeededRandom;

/// What Imprint holds of each customer, field by field: the event whose value it is.
#[derive(Debug)]
pub(super) struct Imprint {
    held: Vec<[Option<usize>; FIELDS.len()]>,
}

/// What one request says of a field (by its place in [`FIELDS`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The value of this event.
    Of(usize),
    /// That it be empty.
    Nothing,
}

/// One request on its way, and what is to come of it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Option<Request>,
    pub(super) about: About,
    /// When it arrives at Imprint, if it does and changes anything.
    pub(super) lands: Option<i64>,
    /// When the bridge hears, and what.
    pub(super) heard: i64,
    form: Form,
}

/// What a request asks of whom.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// To change a customer, `None` if Imprint has none by that id.
    Update(Option<usize>),
    Retrieve(ImprintId),
    Search(PartnerCustomerId),
}

/// An answer.
#[derive(Clone, Debug)]
enum Form {
    /// What Imprint says when the request has arrived.
    Served,
    Http(Http),
    /// None, for this reason.
    Cut(Outcome),
}

#[derive(Clone, Debug)]
struct Http {
    status: u16,
    retry_after: Option<&'static str>,
    body: String,
}

/// How one request fares.
struct Fare {
    lands: Option<i64>,
    heard: i64,
    form: Form,
}

impl Imprint {
    pub(super) fn new(people: usize) -> Self {
        Self {
            held: vec![[None; FIELDS.len()]; people],
        }
    }

    /// The event whose value Imprint holds of a field.
    pub(super) fn holds(&self, person: usize, field: usize) -> Option<usize> {
        self.held[person][field]
    }

    /// A request sets out at `now`.
    pub(super) fn exchange(
        ask: ImprintCall,
        plan: &Plan,
        now: i64,
        random: &mut SeededRandom,
    ) -> Exchange {
        let (request, about) = match ask {
            ImprintCall::Update(request) => {
                let person = person(plan, &request.customer);
                (Some(request), About::Update(person))
            }
            ImprintCall::Retrieve(customer) => (None, About::Retrieve(customer)),
            ImprintCall::Search(partner) => (None, About::Search(partner)),
        };
        let fare = fare(&about, plan, now, random);
        let deadline = now + millis(plan.deadline);
        let (heard, form) = if fare.heard > deadline {
            (deadline, Form::Cut(Outcome::Unknown(Cause::Deadline)))
        } else {
            (fare.heard, fare.form)
        };
        Exchange {
            request,
            about,
            lands: fare.lands,
            heard,
            form,
        }
    }

    /// A request arrives. What it says is done, and said back; says what was changed.
    pub(super) fn land(
        &mut self,
        exchange: &mut Exchange,
        plan: &Plan,
        now: i64,
    ) -> Vec<(usize, Said)> {
        let Some(request) = &exchange.request else {
            return Vec::new();
        };
        let About::Update(person) = exchange.about else {
            return Vec::new();
        };
        let said = said(&request.body).unwrap_or_default();
        let (done, answer) = self.update(person, &said, request, (plan, now));
        if matches!(exchange.form, Form::Served) {
            exchange.form = Form::Http(answer);
        }
        done
    }

    fn update(
        &mut self,
        person: Option<usize>,
        said: &[(usize, Said)],
        request: &Request,
        (plan, now): (&Plan, i64),
    ) -> (Vec<(usize, Said)>, Http) {
        let is_known = |person: &usize| plan.people[*person].known_from.is_some_and(|at| at <= now);
        let Some(person) = person.filter(is_known) else {
            let body = json!({"type": "CUSTOMER_NOT_FOUND_ERROR"});
            return (Vec::new(), http(404, &body));
        };
        let clears = plan.people[person].clears;
        let refuses = |(field, said): &(usize, Said)| match said {
            Said::Of(event) => plan.events[*event].poison == Some(*field),
            Said::Nothing => is_line(*field) && clears == Clears::Refuses,
        };
        if said.iter().any(refuses) {
            let body = json!({"type": "INVALID_REQUEST_ERROR", "param": "email"});
            return (Vec::new(), http(400, &body));
        }
        for (field, said) in said {
            match said {
                Said::Of(event) => self.held[person][*field] = Some(*event),
                Said::Nothing if is_line(*field) && clears == Clears::Keeps => {}
                Said::Nothing => self.held[person][*field] = None,
            }
        }
        let echo = self.echo(person, request, plan);
        (said.to_vec(), http(200, &echo))
    }

    fn echo(&self, person: usize, request: &Request, plan: &Plan) -> Value {
        let mut echo = Map::new();
        let mut address = Map::new();
        for (field, event) in self.held[person].iter().enumerate() {
            let Some(event) = event.filter(|_| !FIELDS[field].contains('.')) else {
                continue;
            };
            let place = if is_line(field) {
                &mut address
            } else {
                &mut echo
            };
            place.insert(FIELDS[field].to_owned(), value(field, event));
        }
        echo.insert("id".to_owned(), json!(request.customer.as_str()));
        echo.insert("address".to_owned(), Value::Object(address));
        if let Some(partner) = &plan.people[person].partner {
            echo.insert("partner_customer_id".to_owned(), json!(partner.as_str()));
        }
        Value::Object(echo)
    }
}

impl Exchange {
    /// What the bridge makes of it.
    pub(super) fn answer(&self, plan: &Plan, (now, wall): (i64, Timestamp)) -> ImprintReply {
        let outcome = match &self.form {
            Form::Cut(outcome) => outcome.clone(),
            Form::Http(http) => self.read(http, wall),
            Form::Served => return ImprintReply::Lookup(self.found(plan, now)),
        };
        match self.about {
            About::Update(_) => ImprintReply::Outcome(outcome),
            About::Retrieve(_) | About::Search(_) => {
                ImprintReply::Lookup(LookupResult::Failed(outcome))
            }
        }
    }

    fn read(&self, http: &Http, wall: Timestamp) -> Outcome {
        let asked = self.request.clone().unwrap_or_else(|| Request {
            customer: ImprintId::parse("nobody").unwrap(),
            body: Body::default(),
            cleared: Vec::new(),
        });
        let retry_after: Vec<String> = http.retry_after.iter().map(ToString::to_string).collect();
        let reply = ImprintResponse {
            status: http.status,
            retry_after: &retry_after,
            body: http.body.as_bytes(),
        };
        match (classify(&asked, reply, wall), &self.request) {
            // A look-up that is refused says so itself.
            (Outcome::Unclear(cause), None) => Outcome::Denied(cause),
            (outcome, _) => outcome,
        }
    }

    fn found(&self, plan: &Plan, now: i64) -> LookupResult {
        let is_known = |person: usize| plan.people[person].known_from.is_some_and(|at| at <= now);
        match &self.about {
            About::Update(_) => LookupResult::Failed(Outcome::Unknown(Cause::Protocol)),
            About::Retrieve(customer) => match person(plan, customer) {
                Some(person) if is_known(person) => LookupResult::Found(customer.clone()),
                Some(_) | None => LookupResult::NotFound,
            },
            About::Search(partner) => {
                let by_partner = |person: &usize| {
                    plan.people[*person].partner.as_ref() == Some(partner) && is_known(*person)
                };
                match (0..plan.people.len()).find(by_partner) {
                    Some(person) if plan.people[person].is_twin => LookupResult::Ambiguous,
                    Some(person) => LookupResult::Found(plan.people[person].imprint.clone()),
                    None => LookupResult::NotFound,
                }
            }
        }
    }
}

/// How a request fares that sets out now.
fn fare(about: &About, plan: &Plan, now: i64, random: &mut SeededRandom) -> Fare {
    let took = random.pick(&[3, 20, 120, 900]) + random.between(0, 30);
    let well = Fare {
        lands: Some(now + took / 2),
        heard: now + took,
        form: Form::Served,
    };
    let is_of = |victim: usize| match about {
        About::Update(person) => *person == Some(victim),
        About::Retrieve(_) | About::Search(_) => false,
    };
    let quick = now + took.min(40);
    let refused = |status| answers(quick, status, None);
    match plan.fault(now) {
        None => well,
        Some(Fault::Flaky(per_mille)) if random.chance(per_mille) => flaky(&well, now, random),
        Some(Fault::Outage(Silence::Refuses)) => cut(quick, Outcome::Unavailable(Cause::Connect)),
        Some(Fault::Outage(Silence::Says503)) => refused(503),
        Some(Fault::Outage(Silence::Swallows)) => swallowed(),
        Some(Fault::Throttled(hint)) => answers(quick, 429, Some(hint)),
        Some(Fault::KeyRefused) => refused(401),
        Some(Fault::AllForbidden) => refused(403),
        Some(Fault::Hanging(victim)) if is_of(victim) && random.chance(200) => Fare {
            lands: Some(now + random.between(0, LATE_MAX)),
            ..swallowed()
        },
        Some(Fault::Hanging(victim)) if is_of(victim) => swallowed(),
        Some(Fault::Failing(victim)) if is_of(victim) => refused(500),
        Some(Fault::Forbidden(victim)) if is_of(victim) => refused(403),
        Some(Fault::Flaky(_) | Fault::Hanging(_) | Fault::Failing(_) | Fault::Forbidden(_)) => well,
    }
}

/// One of the many ways in which one request can fail.
fn flaky(well: &Fare, now: i64, random: &mut SeededRandom) -> Fare {
    let lost = Outcome::Unknown(Cause::Disconnected);
    let late = Some(now + random.between(0, LATE_MAX));
    match random.between(0, 13) {
        0 | 1 => Fare {
            lands: well.lands,
            ..cut(well.heard, lost)
        },
        2 => cut(well.heard, lost),
        3 | 4 => Fare {
            lands: late,
            ..cut(well.heard, lost)
        },
        5 | 6 => Fare {
            lands: late,
            ..swallowed()
        },
        7 => swallowed(),
        8 => answers(well.heard, 503, None),
        // Applied, and then something in front of it broke.
        9 => Fare {
            lands: well.lands,
            ..answers(well.heard, 500, None)
        },
        10 => answers(well.heard, 429, Some("2")),
        11 => answers(well.heard, 404, None),
        _ => cut(well.heard, Outcome::Unavailable(Cause::Connect)),
    }
}

fn answers(heard: i64, status: u16, retry_after: Option<&'static str>) -> Fare {
    Fare {
        lands: None,
        heard,
        form: Form::Http(Http {
            status,
            retry_after,
            body: String::new(),
        }),
    }
}

fn cut(heard: i64, outcome: Outcome) -> Fare {
    Fare {
        lands: None,
        heard,
        form: Form::Cut(outcome),
    }
}

/// Nothing comes back before the deadline.
fn swallowed() -> Fare {
    cut(i64::MAX, Outcome::Unknown(Cause::Deadline))
}

fn http(status: u16, body: &Value) -> Http {
    Http {
        status,
        retry_after: None,
        body: body.to_string(),
    }
}

/// The customer of an id, whether Imprint knows them yet or not.
pub(super) fn person(plan: &Plan, customer: &ImprintId) -> Option<usize> {
    let mut people = plan.people.iter();
    people.position(|person| person.imprint.is_same(customer.as_str()))
}

/// Whom an event that names an Imprint id is about.
pub(super) fn named(plan: &Plan, customer: &CustomerRef) -> Option<usize> {
    customer.imprint().and_then(|id| person(plan, id))
}

/// The value that an event sets a field to; it names the event.
pub(super) fn value(field: usize, event: usize) -> Value {
    match FIELDS[field] {
        "customer_history.account_tenure" => json!(event),
        "metadata.k" => json!({"of": [event]}),
        _ => json!(format!("n{event}")),
    }
}

/// Whether a field is a line of the address.
pub(super) fn is_line(field: usize) -> bool {
    matches!(FIELDS[field], "street_line1" | "street_line2" | "city")
}

/// What a body says, field by field; `None` if it says anything that no event can have said.
pub(super) fn said(body: &Body) -> Option<Vec<(usize, Said)>> {
    let mut said = Vec::new();
    read(&body.to_object(), "", &mut said)?;
    Some(said)
}

fn read(object: &Map<String, Value>, path: &str, said: &mut Vec<(usize, Said)>) -> Option<()> {
    for (key, value) in object {
        let path = format!("{path}{key}");
        match (FIELDS.iter().position(|field| *field == path), value) {
            (Some(field), value) => said.push((field, what(value)?)),
            (None, Value::Object(inner)) => read(inner, &format!("{path}."), said)?,
            (None, _) => return None,
        }
    }
    Some(())
}

fn what(value: &Value) -> Option<Said> {
    match value {
        Value::Null => Some(Said::Nothing),
        Value::String(text) if text.is_empty() => Some(Said::Nothing),
        Value::String(text) => Some(Said::Of(text.strip_prefix('n')?.parse().ok()?)),
        Value::Number(number) => Some(Said::Of(number.as_u64()?.try_into().ok()?)),
        Value::Object(open) => {
            let event = open.get("of")?.get(0)?.as_u64()?;
            Some(Said::Of(event.try_into().ok()?))
        }
        Value::Bool(_) | Value::Array(_) => None,
    }
}
