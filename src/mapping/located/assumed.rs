//! The values that conditions read instead of absent values.

use std::sync::LazyLock;

use serde_json::Value;

static NULL: Value = Value::Null;
static FALSE: Value = Value::Bool(false);
static TRUE: Value = Value::Bool(true);
static ZERO: LazyLock<Value> = LazyLock::new(|| Value::from(0));

/// The value that a condition reads instead of an absent value.
///
/// A condition treats an absent path as null, as jq does. A comparison with an absent path is absent too, but a
/// condition reads the result that the comparison with null would have. A field never gets an assumed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Assumed {
    Null,
    False,
    True,
    /// The length of an absent value.
    Zero,
    /// The absent result of `t?` after an error of `t`. A condition reads null. A list and `first(…)` leave this value
    /// out, as in jq.
    Hidden,
}

impl Assumed {
    pub(in crate::mapping) fn value(self) -> &'static Value {
        match self {
            Self::Null | Self::Hidden => &NULL,
            Self::False => &FALSE,
            Self::True => &TRUE,
            Self::Zero => &ZERO,
        }
    }
}

impl From<bool> for Assumed {
    fn from(is_true: bool) -> Self {
        if is_true { Self::True } else { Self::False }
    }
}
