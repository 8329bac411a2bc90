//! A model of Imprint under virtual time: its values, the arrival times of requests, and its answers.

use imprint_bridge::dispatch::lane_exchange::{ImprintCall, ImprintReply};
use imprint_bridge::imprint::classify::{ImprintResponse, classify};
use imprint_bridge::imprint::{
    Body, Cause, CustomerRef, ImprintId, LookupResult, Outcome, PartnerCustomerId, Request,
};
use imprint_bridge::time::Timestamp;
use serde_json::{Map, Value, json};

use super::partner::ANSWERS;
use super::plan::{Answer, AnswerOfEach, Clears, FIELDS, Fault, LATE_MAX, Plan, Silence, millis};
use super::random::SeededRandom;

/// The model of Imprint: for each field of each customer, the event whose value Imprint holds.
#[derive(Debug)]
pub(super) struct Imprint {
    held: Vec<[Option<usize>; FIELDS.len()]>,
}

/// The value that one request sends for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentValue {
    /// The request sets the field to the value of this event.
    Of(usize),
    /// The request empties the field.
    Empty,
}

/// One request to the model of Imprint on its way, with the planned answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Option<Request>,
    pub(super) about: About,
    /// The time at which the request arrives at Imprint, or `None` if the request never arrives or changes nothing.
    pub(super) arrives: Option<i64>,
    /// The time at which the answer reaches the bridge.
    pub(super) answered: i64,
    form: Form,
}

/// The operation of a request to the model of Imprint.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// An update of a customer, or `None` if the plan has no customer with the requested id.
    Update(Option<usize>),
    Retrieve(ImprintId),
    Search(PartnerCustomerId),
}

/// The form of an answer from the model of Imprint.
#[derive(Clone, Debug)]
enum Form {
    /// The model decides the answer when the request arrives.
    Served,
    Http(Http),
    /// The request gets no answer, and the client reports this outcome.
    Cut(Outcome),
}

#[derive(Clone, Debug)]
struct Http {
    status: u16,
    retry_after: Option<&'static str>,
    body: String,
}

/// The planned handling of one request by the model of Imprint.
struct Handling {
    arrives: Option<i64>,
    answered: i64,
    form: Form,
}

impl Imprint {
    pub(super) fn new(people: usize) -> Self {
        Self {
            held: vec![[None; FIELDS.len()]; people],
        }
    }

    /// Returns the event whose value Imprint holds for a customer's field.
    pub(super) fn holds(&self, person: usize, field: usize) -> Option<usize> {
        self.held[person][field]
    }

    /// Starts a request to the model of Imprint at `now`, and plans its arrival and its answer.
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
        let handling = handling(&about, plan, now, random);
        let deadline = now + millis(plan.deadline);
        let (answered, form) = if handling.answered > deadline {
            (deadline, Form::Cut(Outcome::Unknown(Cause::Deadline)))
        } else {
            (handling.answered, handling.form)
        };
        Exchange {
            request,
            about,
            arrives: handling.arrives,
            answered,
            form,
        }
    }

    /// Applies an arriving request to the model of Imprint, and returns the changes.
    pub(super) fn arrive(
        &mut self,
        exchange: &mut Exchange,
        plan: &Plan,
        now: i64,
    ) -> Vec<(usize, SentValue)> {
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
        said: &[(usize, SentValue)],
        request: &Request,
        (plan, now): (&Plan, i64),
    ) -> (Vec<(usize, SentValue)>, Http) {
        let is_known = |person: &usize| plan.people[*person].known_from.is_some_and(|at| at <= now);
        let Some(person) = person.filter(is_known) else {
            let body = json!({"type": "CUSTOMER_NOT_FOUND_ERROR"});
            return (Vec::new(), http(404, &body));
        };
        let clears = plan.people[person].clears;
        let refuses = |(field, said): &(usize, SentValue)| match said {
            SentValue::Of(event) => plan.events[*event].poison == Some(*field),
            SentValue::Empty => is_line(*field) && clears == Clears::Refuses,
        };
        if said.iter().any(refuses) {
            let body = json!({"type": "INVALID_REQUEST_ERROR", "param": "email"});
            return (Vec::new(), http(400, &body));
        }
        for (field, said) in said {
            match said {
                SentValue::Of(event) => self.held[person][*field] = Some(*event),
                SentValue::Empty if is_line(*field) && clears == Clears::Keeps => {}
                SentValue::Empty => self.held[person][*field] = None,
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
    /// Returns the exchange of a request whose arrival changes nothing at Imprint.
    pub(super) fn without_arrival(self) -> Self {
        Self {
            arrives: None,
            ..self
        }
    }

    /// Returns Imprint's answer to the request in the form in which the bridge's client classifies the answer.
    pub(super) fn answer(&self, plan: &Plan, (now, wall): (i64, Timestamp)) -> ImprintReply {
        let outcome = match &self.form {
            Form::Cut(outcome) => outcome.clone(),
            Form::Http(http)
                if http.body == MISROUTED && matches!(self.about, About::Retrieve(_)) =>
            {
                return ImprintReply::Lookup(LookupResult::NotFound);
            }
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
            body: &http.body,
        };
        match (classify(&asked, reply, wall), &self.request) {
            // Only an update with an unclear answer needs a lookup, so an unclear answer to a lookup counts as denied.
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

/// Returns the handling of a request that is sent at `now`.
fn handling(about: &About, plan: &Plan, now: i64, random: &mut SeededRandom) -> Handling {
    let took = random.pick(&[3, 20, 120, 900]) + random.between(0, 30);
    let well = Handling {
        arrives: Some(now + took / 2),
        answered: now + took,
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
        Some(Fault::Misrouted) => misrouted(quick),
        Some(Fault::Hanging(victim)) if is_of(victim) && random.chance(200) => Handling {
            arrives: Some(now + random.between(0, LATE_MAX)),
            ..swallowed()
        },
        Some(Fault::Hanging(victim)) if is_of(victim) => swallowed(),
        Some(Fault::Failing(victim)) if is_of(victim) => refused(500),
        Some(Fault::Forbidden(victim)) if is_of(victim) => refused(403),
        Some(Fault::Answers(victims, answer)) if (0..victims).any(is_of) => answer.handling(quick),
        Some(Fault::Each(victims, answers)) => match (0..victims).find(|victim| is_of(*victim)) {
            Some(victim) => answers.of(victim).handling(quick),
            None => well,
        },
        Some(Fault::Answers(..)) => well,
        Some(Fault::Flaky(_) | Fault::Hanging(_) | Fault::Failing(_) | Fault::Forbidden(_)) => well,
    }
}

impl AnswerOfEach {
    fn of(self, victim: usize) -> Answer {
        ANSWERS[(self.first + victim * self.step) % ANSWERS.len()]
    }
}

impl Answer {
    /// Returns the handling of a request that gets this answer.
    fn handling(self, answered: i64) -> Handling {
        match self {
            Self::Status(status, hint) => answers(answered, status, hint),
            Self::Typed(status, kind) => Handling {
                arrives: None,
                answered,
                form: Form::Http(http(status, &json!({"type": kind}))),
            },
            Self::Nothing => swallowed(),
            Self::Short => cut(answered, Outcome::Unknown(Cause::Disconnected)),
            Self::Stray => stray(answered),
        }
    }
}

/// Returns the answer to a request of another customer.
fn stray(answered: i64) -> Handling {
    let echo = json!({"id": "CUST-OTHER", "address": {}});
    Handling {
        arrives: None,
        answered,
        form: Form::Http(http(200, &echo)),
    }
}

/// Returns a random failure of a request.
fn flaky(well: &Handling, now: i64, random: &mut SeededRandom) -> Handling {
    let lost = Outcome::Unknown(Cause::Disconnected);
    let late = Some(now + random.between(0, LATE_MAX));
    match random.between(0, 14) {
        13 => stray(well.answered),
        0 | 1 => Handling {
            arrives: well.arrives,
            ..cut(well.answered, lost)
        },
        2 => cut(well.answered, lost),
        3 | 4 => Handling {
            arrives: late,
            ..cut(well.answered, lost)
        },
        5 | 6 => Handling {
            arrives: late,
            ..swallowed()
        },
        7 => swallowed(),
        // Imprint, or a gateway in front of Imprint, gives up, and the request still arrives later.
        8 => Handling {
            arrives: late,
            ..answers(well.answered, random.pick(&[408, 500, 502, 503, 504]), None)
        },
        // Imprint applies the request, but a gateway in front of Imprint answers 500.
        9 => Handling {
            arrives: well.arrives,
            ..answers(well.answered, 500, None)
        },
        10 => answers(well.answered, 429, Some("2")),
        11 => answers(well.answered, 404, None),
        _ => cut(well.answered, Outcome::Unavailable(Cause::Connect)),
    }
}

fn answers(answered: i64, status: u16, retry_after: Option<&'static str>) -> Handling {
    Handling {
        arrives: None,
        answered,
        form: Form::Http(Http {
            status,
            retry_after,
            body: String::new(),
        }),
    }
}

/// The body of a gateway's 404.
const MISROUTED: &str = "<html>no such route</html>";

/// Returns the answer of a gateway that knows no route to Imprint.
fn misrouted(answered: i64) -> Handling {
    Handling {
        arrives: None,
        answered,
        form: Form::Http(Http {
            status: 404,
            retry_after: None,
            body: MISROUTED.to_owned(),
        }),
    }
}

fn cut(answered: i64, outcome: Outcome) -> Handling {
    Handling {
        arrives: None,
        answered,
        form: Form::Cut(outcome),
    }
}

/// Returns the handling of a request without an answer before the deadline.
fn swallowed() -> Handling {
    cut(i64::MAX, Outcome::Unknown(Cause::Deadline))
}

fn http(status: u16, body: &Value) -> Http {
    Http {
        status,
        retry_after: None,
        body: body.to_string(),
    }
}

/// Returns the planned customer with this Imprint id, even if Imprint does not know the customer yet.
pub(super) fn person(plan: &Plan, customer: &ImprintId) -> Option<usize> {
    let mut people = plan.people.iter();
    people.position(|person| person.imprint.is_same(customer.as_str()))
}

/// Returns the planned customer whose Imprint id an event names.
pub(super) fn named(plan: &Plan, customer: &CustomerRef) -> Option<usize> {
    customer.imprint().and_then(|id| person(plan, id))
}

/// Returns the value to which an event sets a field. The value contains the number of the event.
pub(super) fn value(field: usize, event: usize) -> Value {
    match FIELDS[field] {
        "customer_history.account_tenure" => json!(event),
        "metadata.k" => json!({"of": [event]}),
        _ => json!(format!("n{event}")),
    }
}

/// Returns true if a field is a line of the address.
pub(super) fn is_line(field: usize) -> bool {
    matches!(FIELDS[field], "street_line1" | "street_line2" | "city")
}

/// Returns the value that an update body sends for each field, or `None` if the body contains a value that no event
/// can have set.
pub(super) fn said(body: &Body) -> Option<Vec<(usize, SentValue)>> {
    let mut said = Vec::new();
    read(&body.to_object(), "", &mut said)?;
    Some(said)
}

fn read(object: &Map<String, Value>, path: &str, said: &mut Vec<(usize, SentValue)>) -> Option<()> {
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

fn what(value: &Value) -> Option<SentValue> {
    match value {
        Value::Null => Some(SentValue::Empty),
        Value::String(text) if text.is_empty() => Some(SentValue::Empty),
        Value::String(text) => Some(SentValue::Of(text.strip_prefix('n')?.parse().ok()?)),
        Value::Number(number) => Some(SentValue::Of(number.as_u64()?.try_into().ok()?)),
        Value::Object(open) => {
            let event = open.get("of")?.get(0)?.as_u64()?;
            Some(SentValue::Of(event.try_into().ok()?))
        }
        Value::Bool(_) | Value::Array(_) => None,
    }
}
