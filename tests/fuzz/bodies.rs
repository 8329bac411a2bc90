//! Hostile bodies: mutations of example events, and events with the members that expensive expressions read.

use serde_json::{Map, Value, json};

/// The maximum size of a body, as `config/default.toml` sets it.
const BODY_BYTES_MAX: usize = 262_144;

/// A source of chance with a seed (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    /// Creates the source of chance of one body, so that the fuzzer can make a body again without the bodies before it.
    /// The steps that mix the number into the seed are those of `SplitMix64`.
    pub(crate) const fn of_body(seed: u64, number: u64) -> Self {
        let state = (seed << 40).wrapping_add(number);
        let state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((state ^ (state >> 31)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from((self.next() >> 11) % limit).unwrap()
    }

    pub(crate) fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        items.get(self.below(items.len())).unwrap()
    }

    /// Returns a size from 1 to `max`; each order of magnitude is equally likely.
    fn size(&mut self, max: usize) -> usize {
        let bits = usize::try_from(max.ilog2()).unwrap() + 1;
        let limit = 1_usize << self.below(bits + 1);
        (self.below(limit) + 1).min(max)
    }
}

/// Turns an example event of a source into a hostile body. Returns also a word for the kind of the body.
pub(crate) fn body(random: &mut Random, source: &str, mut event: Value) -> (String, Vec<u8>) {
    let is_nasty = source == "nasty" || source.starts_with("split");
    let max = 1 << (8 + random.below(11));
    let kind = if is_nasty {
        fill(random, &mut event, max)
    } else {
        let changes = 1 + random.below(4);
        for _ in 0..changes {
            let value = hostile(random, max / changes);
            place(random, &mut event, value);
        }
        format!("{changes} changes")
    };
    let mut bytes = serde_json::to_vec(&event).unwrap();
    if random.below(50) == 0 {
        let at = random.below(bytes.len());
        bytes.truncate(at);
    }
    bytes.truncate(BODY_BYTES_MAX);
    (kind, bytes)
}

/// Gives an event the members that the expressions of the sources in `tests/fuzz/sources` read.
fn fill(random: &mut Random, event: &mut Value, max: usize) -> String {
    let number = random.below(25);
    let kind = match number {
        22.. => "all".to_owned(),
        number => format!("n{number}"),
    };
    let parts = 1 + random.below(4);
    let part = max / parts;
    *event = json!({"id": "a", "type": kind, "many": [1, 2], "t": "abc"});
    for _ in 0..parts {
        let (name, value) = match random.below(7) {
            0 => ("t", text(random, part)),
            1 => ("many", list(random, part)),
            2 => ("o", object(random, part)),
            3 => ("deep", deep(random, part)),
            4 => ("keyed", keyed(random, part)),
            5 => ("rows", rows(random, part)),
            _ => ("deep", hostile(random, part)),
        };
        event
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value);
    }
    kind
}

/// Puts a value at a random place of an event.
fn place(random: &mut Random, event: &mut Value, value: Value) {
    let mut here = event;
    for _ in 0..random.below(6) {
        let inner = match &*here {
            Value::Object(members) => members.len(),
            Value::Array(items) => items.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        if inner == 0 {
            break;
        }
        let index = random.below(inner);
        here = match here {
            Value::Object(members) => members.values_mut().nth(index).unwrap(),
            Value::Array(items) => items.get_mut(index).unwrap(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
        };
    }
    *here = value;
}

fn hostile(random: &mut Random, max: usize) -> Value {
    match random.below(9) {
        0 => text(random, max),
        1 => list(random, max),
        2 => object(random, max),
        3 => deep(random, max),
        4 => keyed(random, max),
        5 => rows(random, max),
        6 => Value::Null,
        7 => json!(random.next()),
        _ => random
            .of(&[
                json!("x"),
                json!(1.5),
                json!(-7),
                json!(true),
                json!("415 555 2671"),
                json!("2025-02-13"),
                json!("\u{0390}"),
            ])
            .clone(),
    }
}

fn text(random: &mut Random, max: usize) -> Value {
    let letter = *random.of(&["a", " ", "x", "a b ", "\u{0390}", "\n", "1", "~1"]);
    let count = random.size(max.min(65_000)) / letter.len();
    Value::from(letter.repeat(count))
}

fn list(random: &mut Random, max: usize) -> Value {
    let item = random
        .of(&[
            json!(1),
            json!("a"),
            json!([]),
            json!({}),
            json!({"a": 1}),
            json!(null),
        ])
        .clone();
    let is_counted = random.below(2) == 0;
    let count = random.size(max) / (item.to_string().len() + 1);
    (0..count)
        .map(|number| {
            if is_counted {
                json!(number)
            } else {
                item.clone()
            }
        })
        .collect()
}

fn object(random: &mut Random, max: usize) -> Value {
    let count = (random.size(max) / 10).min(9_000);
    let members: Map<String, Value> = (0..count)
        .map(|number| (format!("k{number}"), json!(number)))
        .collect();
    Value::Object(members)
}

fn deep(random: &mut Random, max: usize) -> Value {
    let depth = 1 + random.below(28);
    let width = 1 + random.below(3);
    let mut value = random
        .of(&[json!(1), json!("A"), json!({"a": 1}), json!(7)])
        .clone();
    let mut size = value.to_string().len();
    for level in 0..depth {
        let count = if size * width < max { width } else { 1 };
        let inner = vec![value; count];
        value = if level % 3 == 0 {
            json!({"a": inner})
        } else {
            json!(inner)
        };
        size = size * count + 2;
    }
    value
}

fn keyed(random: &mut Random, max: usize) -> Value {
    let key = "k".repeat(random.size((max / 2).min(65_000)));
    json!({ key: list(random, max / 2) })
}

fn rows(random: &mut Random, max: usize) -> Value {
    let name = random
        .of(&[
            json!("415 555 2671"),
            json!("a@b.c"),
            json!("x y"),
            json!(null),
            json!(7),
        ])
        .clone();
    let count = (random.size(max) / 40).min(4_000);
    (0..count)
        .map(|number| json!({"id": number, "name": name}))
        .collect()
}
