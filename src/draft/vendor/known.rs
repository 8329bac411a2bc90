//! The vendors whose events the bridge recognizes by their form.

use serde_json::Value;

use super::super::sample::Sample;

/// A vendor with the source that is ready for it, or with the settings of its envelope.
#[derive(Debug)]
pub(super) struct Vendor {
    /// The name for people, with the kind of the events.
    pub(super) name: &'static str,
    /// The name of the source in the template.
    pub(super) key: &'static str,
    /// The source file that the draft adapts.
    pub(super) template: &'static str,
    /// The schemas of the ready source, by file name.
    pub(super) schemas: &'static [(&'static str, &'static str)],
    /// Whether the template is a complete source with fields and schemas.
    pub(super) is_ready: bool,
    pub(super) invented: Invented,
    /// The request headers that the template reads, with a usual value.
    pub(super) usual_headers: &'static [(&'static str, &'static str)],
    /// What the person must decide.
    pub(super) decisions: &'static [&'static str],
    pub(super) is_sample: fn(&Sample) -> bool,
}

/// The names in a ready source that are invented, because each company names these members itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Invented {
    None,
    All,
    Suffix(&'static str),
    Prefix(&'static str),
    Names(&'static [&'static str]),
}

impl Invented {
    pub(super) fn contains(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Suffix(suffix) => name.ends_with(suffix),
            Self::Prefix(prefix) => name.starts_with(prefix),
            Self::Names(names) => names.contains(&name),
        }
    }
}

macro_rules! ready {
    ($key:literal) => {
        include_str!(concat!("../../../config/examples/", $key, ".toml"))
    };
}

macro_rules! schema {
    ($key:literal, $file:literal) => {
        (
            $file,
            include_str!(concat!("../../../schemas/", $key, "/", $file)),
        )
    };
}

const CURRENCY: &str = "The currency of amounts: the draft assumes US dollars.";
const TIERS: &str = "The entries of [tables.tiers]: add the names of your loyalty tiers.";
const PHONES: &str = "The country of phone numbers that are written without `+`: the draft reads them as American numbers.";

pub(super) static VENDORS: [Vendor; 11] = [
    Vendor {
        name: "Salesforce, Change Data Capture",
        key: "salesforce",
        template: ready!("salesforce"),
        schemas: &[schema!("salesforce", "contact-change.v1.json")],
        is_ready: true,
        invented: Invented::Suffix("__c"),
        usual_headers: &[],
        decisions: &[CURRENCY, TIERS, PHONES],
        is_sample: is_salesforce,
    },
    Vendor {
        name: "HubSpot, contacts",
        key: "hubspot",
        template: ready!("hubspot"),
        schemas: &[schema!("hubspot", "contact-changed.v1.json")],
        is_ready: true,
        invented: Invented::Names(&[
            "imprint_customer_id",
            "lifetime_value",
            "loyalty_tier",
            "order_count",
        ]),
        usual_headers: &[],
        decisions: &[
            "The URL in `auth.signed`: replace https://bridge.example.com by the address that HubSpot posts to.",
            CURRENCY,
            TIERS,
            PHONES,
        ],
        is_sample: is_hubspot,
    },
    Vendor {
        name: "Shopify, customers",
        key: "shopify",
        template: ready!("shopify"),
        schemas: &[
            schema!("shopify", "customer.v1.json"),
            schema!("shopify", "purchasing-summary.v1.json"),
            schema!("shopify", "tags.v1.json"),
        ],
        is_ready: true,
        invented: Invented::None,
        usual_headers: &[("x-shopify-topic", "customers/update")],
        decisions: &["The topics: remove the tables of the topics to which you do not subscribe."],
        is_sample: is_shopify,
    },
    Vendor {
        name: "Dynamics 365, events of Dataverse or rows of Power Automate",
        key: "dynamics",
        template: ready!("dynamics"),
        schemas: &[schema!("dynamics", "contact-saved.v1.json")],
        is_ready: true,
        invented: Invented::Prefix("new_"),
        usual_headers: &[],
        decisions: &[CURRENCY, TIERS, PHONES],
        is_sample: is_dynamics,
    },
    Vendor {
        name: "Segment, calls",
        key: "segment",
        template: ready!("segment"),
        schemas: &[schema!("segment", "identify.v1.json")],
        is_ready: true,
        invented: Invented::Names(&[
            "imprintCustomerId",
            "language",
            "lifetimeValue",
            "loyaltyTier",
            "orderCount",
            "plan",
        ]),
        usual_headers: &[],
        decisions: &[CURRENCY, TIERS],
        is_sample: is_segment,
    },
    Vendor {
        name: "Debezium, rows of a table",
        key: "debezium",
        template: ready!("debezium"),
        schemas: &[schema!("debezium", "customer-row.v1.json")],
        is_ready: true,
        invented: Invented::All,
        usual_headers: &[],
        decisions: &[
            "The row's own id in `body.id` and `customer.partner_id`: it must be the primary key of the table.",
            TIERS,
        ],
        is_sample: is_debezium,
    },
    Vendor {
        name: "Zendesk, user events",
        key: "zendesk",
        template: include_str!("zendesk.toml"),
        schemas: &[],
        is_ready: false,
        invented: Invented::None,
        usual_headers: &[],
        decisions: &[],
        is_sample: |sample| text(sample, "/type").starts_with("zen:event-type"),
    },
    Vendor {
        name: "Klaviyo, system webhooks",
        key: "klaviyo",
        template: include_str!("klaviyo.toml"),
        schemas: &[],
        is_ready: false,
        invented: Invented::None,
        usual_headers: &[],
        decisions: &[],
        is_sample: |sample| has(sample, "/data/0/topic") && has(sample, "/data/0/payload"),
    },
    Vendor {
        name: "Pipedrive, persons",
        key: "pipedrive",
        template: include_str!("pipedrive.toml"),
        schemas: &[],
        is_ready: false,
        invented: Invented::None,
        usual_headers: &[],
        decisions: &["The user name in `auth.user`."],
        is_sample: is_pipedrive,
    },
    Vendor {
        name: "Braze, Currents",
        key: "braze",
        template: include_str!("braze.toml"),
        schemas: &[],
        is_ready: false,
        invented: Invented::None,
        usual_headers: &[],
        decisions: &[],
        is_sample: |sample| text(sample, "/events/0/event_type").starts_with("users."),
    },
    Vendor {
        name: "Zoho CRM, records of the API",
        key: "zoho",
        template: include_str!("zoho.toml"),
        schemas: &[],
        is_ready: false,
        invented: Invented::None,
        usual_headers: &[],
        decisions: &[],
        is_sample: |sample| has(sample, "/data/0/Modified_Time") && has(sample, "/data/0/id"),
    },
];

fn has(sample: &Sample, pointer: &str) -> bool {
    sample.body.pointer(pointer).is_some()
}

fn text<'s>(sample: &'s Sample, pointer: &str) -> &'s str {
    sample
        .body
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn is_salesforce(sample: &Sample) -> bool {
    has(sample, "/payload/ChangeEventHeader") || has(sample, "/data/payload/ChangeEventHeader")
}

fn is_hubspot(sample: &Sample) -> bool {
    let is_change = has(sample, "/0/subscriptionType") && has(sample, "/0/portalId");
    let contact = [
        "/id",
        "/properties",
        "/createdAt",
        "/updatedAt",
        "/archived",
    ];
    is_change || contact.iter().all(|pointer| has(sample, pointer))
}

fn is_shopify(sample: &Sample) -> bool {
    let has_customer = |pointer| text(sample, pointer).starts_with("gid://shopify/Customer/");
    sample.header("x-shopify-topic").is_some()
        || has_customer("/admin_graphql_api_id")
        || has_customer("/customerId")
}

fn is_dynamics(sample: &Sample) -> bool {
    let is_context = has(sample, "/PrimaryEntityName") && has(sample, "/InputParameters");
    let is_row =
        has(sample, "/contactid") && (has(sample, "/modifiedon") || has(sample, "/SdkMessage"));
    is_context || is_row
}

fn is_segment(sample: &Sample) -> bool {
    let calls = ["alias", "group", "identify", "page", "screen", "track"];
    calls.contains(&text(sample, "/type"))
        && has(sample, "/messageId")
        && (has(sample, "/userId") || has(sample, "/anonymousId"))
}

fn is_debezium(sample: &Sample) -> bool {
    let is_change = |start: &str| {
        let member = |name: &str| has(sample, &format!("{start}/{name}"));
        member("op") && member("source/table") && (member("after") || member("before"))
    };
    is_change("") || is_change("/payload")
}

fn is_pipedrive(sample: &Sample) -> bool {
    let is_second = text(sample, "/meta/version").starts_with('2') && has(sample, "/meta/entity");
    let is_first =
        has(sample, "/meta/object") && has(sample, "/meta/action") && has(sample, "/current");
    is_second || is_first
}

/// Returns whether a body is a notification of Zoho CRM, which has only ids.
pub(super) fn is_zoho_notification(body: &Value) -> bool {
    let members = ["/channel_id", "/module", "/ids", "/operation"];
    members
        .iter()
        .all(|pointer| body.pointer(pointer).is_some())
}
