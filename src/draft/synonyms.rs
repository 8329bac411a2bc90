//! The names of members that mean a field of Imprint or an attribute of an event, in the words of several CRMs.

/// The names of one field of Imprint, the most specific names first. A name has no separators and is in lower case.
pub(super) struct Synonyms {
    /// The field at the top level of the update, which can also stand in `customer_history`.
    pub(super) field: &'static str,
    pub(super) names: &'static [&'static str],
}

/// The fields that describe the person.
#[rustfmt::skip]
pub(super) static PERSON: [Synonyms; 5] = [
    Synonyms { field: "email", names: &[
        "email", "emailaddress", "emailaddress1", "email1", "mail", "emailaddr", "useremail", "emails", "emailaddresses",
        "workemail", "correo", "courriel", "primaryemailaddress", "emailwork", "businessemail", "emailbusiness", "emailhome",
    ] },
    Synonyms { field: "phone", names: &[
        "mobilephone", "mobile", "mobilenumber", "mobilephones", "phonemobile", "mobilephonenumber", "mobileno", "cell", "cellphone", "cellnumber",
        "phone", "phonenumber", "phoneno", "telephone", "telephonenumber", "telephone1", "phone1", "tel", "msisdn",
        "phones", "phonenumbers", "userphone", "telefon", "telefono", "workphone", "phonework", "businessphone",
        "phonebusiness", "officephone", "phoneoffice", "phonehome", "sms", "smsnumber", "whatsapp", "whatsappnumber",
    ] },
    Synonyms { field: "first_name", names: &[
        "firstname", "givenname", "forename", "fname", "first", "given", "namefirst", "vorname", "prenom", "nombre",
    ] },
    Synonyms { field: "last_name", names: &[
        "lastname", "familyname", "surname", "lname", "last", "family", "namelast", "nachname", "apellido", "apellidos",
    ] },
    Synonyms { field: "preferred_language", names: &[
        "preferredlanguage", "language", "languagecode", "preferredlocale", "communicationlanguage", "locale", "lang",
        "languages",
    ] },
];

/// The names of a whole name, which a draft cannot split.
pub(super) const FULL_NAMES: [&str; 6] = [
    "name",
    "fullname",
    "displayname",
    "customername",
    "realname",
    "formattedname",
];
/// The names of the time at which the customer joined.
pub(super) const CREATED: [&str; 31] = [
    "accountcreatedat",
    "createdat",
    "created",
    "createdon",
    "createddate",
    "createddatetime",
    "createdtime",
    "datetimecreated",
    "createtime",
    "creationdate",
    "creationtime",
    "datecreated",
    "datecreate",
    "addtime",
    "signupdate",
    "signedupat",
    "signup",
    "membersince",
    "customersince",
    "registeredat",
    "registrationdate",
    "joinedat",
    "joindate",
    "joined",
    "firstseenat",
    "creationon",
    "createdate",
    "dateentered",
    "dateadded",
    "addedat",
    "insertedat",
];
pub(super) const AMOUNTS: [&str; 14] = [
    "lifetimevalue",
    "ltv",
    "ltvamount",
    "customerlifetimevalue",
    "clv",
    "totalspent",
    "totalspend",
    "lifetimespend",
    "lifetimerevenue",
    "totalrevenue",
    "amountspent",
    "lifetimeamount",
    "totalsales",
    "totalpurchasevalue",
];
pub(super) const CURRENCIES: [&str; 6] = [
    "currency",
    "currencycode",
    "currencyisocode",
    "isocurrency",
    "ltvcurrency",
    "currencyiso",
];
pub(super) const TIERS: [&str; 12] = [
    "loyaltytier",
    "tier",
    "loyaltylevel",
    "membershiptier",
    "membershiplevel",
    "loyaltystatus",
    "viptier",
    "tiername",
    "loyaltyclass",
    "statustier",
    "loyaltyprogramtier",
    "rewardtier",
];
pub(super) const COUNTS: [&str; 12] = [
    "ordercount",
    "orderscount",
    "numberoforders",
    "numorders",
    "totalorders",
    "orders",
    "transactioncount",
    "numberoftransactions",
    "transactions",
    "purchasecount",
    "totalpurchases",
    "lifetimeorders",
];
/// The names of the customer's id in the source, the most specific names first. The member `id` of the record comes
/// after these names.
pub(super) const CUSTOMER_IDS: [&str; 19] = [
    "customerid",
    "customernumber",
    "customerno",
    "customeruuid",
    "customerref",
    "contactid",
    "clientid",
    "memberid",
    "memberno",
    "personid",
    "profileid",
    "subscriberid",
    "patientid",
    "guestid",
    "externalcustomerid",
    "customerexternalid",
    "partnercustomerid",
    "userid",
    "externaluserid",
];
/// The names of the record's own id.
pub(super) const RECORD_IDS: [&str; 8] = [
    "id", "uid", "uuid", "guid", "recordid", "entityid", "objectid", "vid",
];
/// The names of an id that is the customer's id only if nothing else is: `account_id` is often the id of a company.
pub(super) const OTHER_IDS: [&str; 3] = ["externalid", "accountid", "reference"];
/// The names of an event's id.
pub(super) const EVENT_IDS: [&str; 11] = [
    "eventid",
    "eventuuid",
    "messageid",
    "notificationid",
    "deliveryid",
    "changeid",
    "idempotencykey",
    "eventkey",
    "logid",
    "msgid",
    "evtid",
];
/// The names of an event's id that are also names of the id of a setting, such as the subscription to a webhook. Only an id
/// that differs in every sample is an event's id.
pub(super) const DELIVERY_IDS: [&str; 10] = [
    "webhookid",
    "webhookuuid",
    "webhookeventid",
    "hookid",
    "callbackid",
    "requestid",
    "requestuuid",
    "payloadid",
    "triggerid",
    "pushid",
];
/// The names of an event's type.
pub(super) const EVENT_TYPES: [&str; 16] = [
    "eventtype",
    "eventname",
    "type",
    "event",
    "eventkey",
    "topic",
    "webhookevent",
    "notificationtype",
    "messagetype",
    "triggerevent",
    "trigger",
    "changetype",
    "action",
    "operation",
    "kind",
    "hook",
];
/// The names of the time of the change, the best names first: the time at which the record changed, then the time of the
/// event, then the time at which a relay read or sent the record.
pub(super) const CHANGE_TIMES: [&str; 76] = [
    "updatedat",
    "updated",
    "updatedon",
    "updateddate",
    "updateddatetime",
    "lastupdateddatetime",
    "modifieddatetime",
    "lastmodifieddatetime",
    "updatedtime",
    "updatetime",
    "dateupdated",
    "lastupdated",
    "lastupdatedat",
    "lastupdate",
    "lastupdatetime",
    "modifiedat",
    "modified",
    "modifiedon",
    "modifieddate",
    "modifiedtime",
    "datemodified",
    "datemodify",
    "dateupdate",
    "lastmodified",
    "lastmodifiedat",
    "lastmodifieddate",
    "lastmodifiedtime",
    "lastmodifiedon",
    "systemmodstamp",
    "modificationdate",
    "modificationtime",
    "changedat",
    "changed",
    "changedon",
    "editedat",
    "lasteditedat",
    "changetime",
    "lastchanged",
    "lastchangedat",
    "lastchangedon",
    "writedate",
    "writtenat",
    "updatedate",
    "modifydate",
    "modifytime",
    "changedate",
    "editdate",
    "dateedited",
    "occurredat",
    "occurred",
    "occurredon",
    "eventtime",
    "eventtimestamp",
    "eventdate",
    "eventcreatedat",
    "firedat",
    "triggeredat",
    "publishedat",
    "emittedat",
    "readat",
    "fetchedat",
    "retrievedat",
    "exportedat",
    "sentat",
    "senton",
    "senttime",
    "timestamp",
    "timestampms",
    "timestampunixtimems",
    "unixtime",
    "timestampmicro",
    "time",
    "ts",
    "tsms",
    "datetime",
    "date",
];
/// The names of a number that grows with each change.
pub(super) const SEQUENCES: [&str; 8] = [
    "revision",
    "rev",
    "sequence",
    "sequencenumber",
    "seq",
    "versionnumber",
    "lsn",
    "changenumber",
];

/// Parts of words for a change. A member `type` with such a value is the type of an event, and not the kind of a record.
pub(super) const VERBS: [&str; 15] = [
    "add", "chang", "creat", "delet", "edited", "identify", "insert", "merg", "modif", "remov",
    "save", "subscri", "updat", "upsert", "register",
];
