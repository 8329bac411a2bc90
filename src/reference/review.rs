//! The notes of `check` about mappings and settings that are valid and probably wrong.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static REVIEW: &[MessageExplanation] = &[
    row(
        &["without the line `draft = true`, this is an error: … …"],
        "The draft orders a field by another rule than a source in use. A running bridge does not use a draft, so this is no error yet.",
        "Give both the same order. If the other source is the example source crm, or is not used, remove its file.",
    ),
    row(
        &[
            "… reads …, and no expression reads … beside it: Imprint gets an address without the house number. Write a text of both, such as \"\\(.…) \\(.…)\"",
            "… reads …, and no expression reads … beside it: Imprint gets an address without it. Map it to street_line2",
            "… reads …, and no expression reads … beside it: the bridge takes each address for an address in the USA. Set customer_history.address.country, or `address.country` of the event type",
        ],
        "The source keeps the parts of an address in different members, and the mapping does not read one of them.",
        "Join the number and the street in one text, map an apartment to the second line, and map the country.",
    ),
    row(
        &[
            "an example sets …, and … is absent: Imprint keeps the second line of the former address. If an absent line means that the address has none, write … = 'if (…) != null then (…) // null else (…) end'",
        ],
        "An event with an address has no member for the second line of the street, and an absent member says nothing.",
        "If the source leaves out the member of an empty line, write the expression of the note. If the source can send a part of an address, leave the mapping as it is.",
    ),
    row(
        &[
            "in an example, … is null, so … is absent, and the event changes …: Imprint keeps the former … in the new address. If null means that the source has no value, …",
            "write … = 'if … then null else … end'",
            "let the expression of … give null for it",
        ],
        "An expression reads a member of an object, and an event has null in the place of the object. A member of null is absent, and an absent value changes nothing at Imprint.",
        "Write the expression of the note, which clears the field. If null means that the source does not know the value, leave the mapping as it is.",
    ),
    row(
        &[
            "in an example, … has only the first part of …, and no other field has the rest: Imprint gets an address without it. If the rest is a second line, map it to …",
        ],
        "The expression divides a text with split, and takes the first part.",
        "Map the second part to the second line of the street. If Imprint must not get it, leave the mapping as it is.",
    ),
    row(
        &[
            "… and … have different values in an example: they read … and …. Imprint gets both; if they mean the same, correct one of the expressions",
            "… reads …, and … reads it too: one of the two is probably wrong",
            "… has the whole name in …, and … has a part of it: Imprint gets this part twice",
        ],
        "Two expressions contradict each other: a field and its copy under `customer_history` have different values, or two different fields have the value of one place.",
        "Correct the path of one of the two. If both are right, leave them.",
    ),
    row(
        &[
            "… = \"…\" is a constant, so all customers get it: read the value from the event",
            "… = \"…\" is a constant, and an example has another country in …: the bridge takes each address for an address in this country. Read the country from the event",
            "no example has …, so … has the value after // in every example: correct the path, or add an example with a value",
            "no example gives … a value: it reads …, and no expression reads …; did you mean …?",
            "… asks for the country, and no rule gives it: the bridge takes each address for an address in the USA. Set customer_history.address.country, or `address.country` of the event type",
        ],
        "Every customer would get the same value of the field, or none.",
        "Write the path of the value in the event. If the note is about an optional member, add an example that has it.",
    ),
    row(
        &[
            "the bridge ignores every example of this event type: …",
            "`when` reads …, which no example has",
            "none meets the condition `when` = …. Correct it, or add an example that meets it",
            "the bridge leaves out … in every example: …",
            "only_changed.before and only_changed.after are equal, so no field ever changes, and the bridge ignores every event",
            "no example has …, which body.time reads: the events have no time",
            "no example has a value in …, which body.split makes: correct body.split, or add an example with the value",
            "… compares the names of members with \"…\", and no example has this name; did you mean …?",
            "body.split compares the text in … with a constant that differs in upper and lower case, so they are not equal: write the constant as the event has it",
        ],
        "The rule has no effect, or the bridge sends nothing: a path is wrong, or the value has a wrong form in every example.",
        "Correct the path or the expression, or add an example in which the rule has an effect.",
    ),
    row(
        &[
            "… has the whole name in …, and Imprint takes it for the first name. Write .name | trim | split(\" \") | first with the path of the name, and for … .name | trim | split(\" \") | .[1:] | join(\" \")",
        ],
        "The source has the name of a person in one member.",
        "Divide the name into the first word and the other words, or map the members with the two names if the source has them.",
    ),
    row(
        &[
            "… reads …, which by its name is no id of a customer, and all examples have the same value there: read the id of the customer, otherwise every event changes one customer",
            "… reads …, …, and no expression reads …, beside the values of the customer: did you mean …?",
            "by its name a value of many customers",
            "the id of another record",
        ],
        "The path is the id of the company's account at the source, the role of a person, or a status. Many events have this value.",
        "Write the path of the customer's id. If the path is right, add an example of another customer.",
    ),
    row(
        &[
            "… reads …, an email address, which can change, and no expression reads the id in …: did you mean …?",
            "… reads …, …: if it is the id of the source, write …",
            "by its name the source's own id of the customer",
            "and an example has a value there without the form of Imprint's ids, which are UUIDs",
        ],
        "A customer can change the email address, and Imprint knows a customer by its own id or by the partner customer id, which is the id of the source.",
        "Write the path of the id of the source as `customer.partner_id`.",
    ),
    row(
        &[
            "examples with different names and email addresses have one …: if it is no id of one customer, an event changes the data of another one",
        ],
        "The examples are invented, or the path is no id of a customer.",
        "Write the path of the customer's id. Give each invented person an id.",
    ),
    row(
        &[
            "… is …, and an example has different ids in … and …: if they are ids of two systems, one customer's id can be the other id of another customer, who then gets the change. Read one of them",
            "… and … read …: customers with an equal value there are one customer for the bridge. Read the id of the customer",
            "… reads …, by its name no id of a customer: customers with an equal value there are one customer for the bridge. Read the id of the customer",
            "… ends in // …: …. Leave out the alternative, so that the bridge refuses such an event",
            "all events without an id have this one, and the bridge refuses each after the first",
            "an event without a version counts as older or newer than all others",
            "all events without an id change one customer",
        ],
        "The path is no id, or the expression takes an id of another system if the first one is absent. Two customers can have one value there.",
        "Write the path of one id, which each customer has. Ignore events without it with `when`.",
    ),
    row(
        &[
            "… reads item … of …, and the items have another order in another example: take the item by its …, such as first(.[] | select(.… == \"…\")) after the path of the list",
            "… reads item … of …, a list of named values, which another customer can have in another order: take the item by its …, such as first(.[] | select(.… == \"…\") | .value) after the path of the list",
        ],
        "The list has named values, such as the custom fields of a CRM, and each customer can have others of them.",
        "Select the item by its name, as the note shows.",
    ),
    row(
        &[
            "in an example, … reads ten digits in …, a number of the USA without its country code, and makes a number of another country of them: write e164(\"US\")",
            "in an example, … puts +1 before a number that begins with + and has its country code: it becomes the number of another person. Write e164(\"US\"), which leaves such a number as it is",
        ],
        "The source sends national numbers, and the expression adds a + or another country's code.",
        "Write `e164(\"US\")` with the path of the number. If the country of the customer is another one, add it to the example.",
    ),
    row(
        &[
            "… reads …, by its name another value, and not …, which has the name of the field; did you mean …?",
            "… reads … if the event has no …: by its name … is another value, so leave out `// …`",
            "only_changed.before is …, by its name the row after the change, or only_changed.after is …, by its name the row before it: if the two are exchanged, Imprint gets the old values",
        ],
        "The names of two members are exchanged in the mapping, or the path ends in the name of a neighbour.",
        "Write the path that the note names. If the names of the source mislead, leave the mapping as it is.",
    ),
    row(
        &[
            "most examples clear … at Imprint, and some of them have a value in …, which no expression reads; did you mean …?",
        ],
        "The mapping reads a member that most customers do not have, and an empty value clears the field.",
        "Write the path that the note names, or an alternative with //. If the field must be empty for these customers, leave it.",
    ),
    row(
        &[
            "… … // \"\", so an event without the member clears … at Imprint: leave out // \"\", or write // null if an absent member means that the source has no value",
            "ends in",
            "… … // \"…\", so all customers without a value get this one: leave out the constant",
        ],
        "The value after // stands for a member that is absent or null.",
        "Leave out the part from // on: an absent member then changes nothing at Imprint.",
    ),
    row(
        &[
            "state is the first two letters of a name, such as TE for Texas: the function us_state gives the code of a state",
        ],
        "The code of a state is not always the start of its name.",
        "Write the path with `| us_state`, and nothing else.",
    ),
    row(
        &[
            "in an example, … reads item … of …, and … reads item …: the parts of one address must come from one item",
            "in an example, … reads the first item of …, and … is true in another item: if that one is the right item, write first(.…[] | select(.…)) with the path of the list",
            "in an example, … reads the first item of …, and … has another value: did you mean …?",
        ],
        "The source sends several addresses in a list, and the order of the list says nothing.",
        "Choose one item with the same expression in all parts of the address, or the member that has the preferred value.",
    ),
    row(
        &[
            "in an example, … reads the first item of …, and another item has another id: if each item is a change, set body.split, which makes an event of each item",
            "in an example, body.split takes only … of …, and the other items change nothing at Imprint: if each item is a change, write [] in the place of …",
            "the first item",
            "the last item",
            "body.split makes an event of each item of …, and reads … too: if all events get a value of the first item, read it from the item of each",
        ],
        "The body has several records, and the mapping reads the first one: the bridge would lose the others.",
        "Set `body.split`. If the other items are no changes of customers, leave the mapping as it is.",
    ),
    row(
        &[
            "an example of the type … changes the customer like an edit: if the source removed the customer, list the type in `ignore`",
            "an example says in … that the source removed the customer, and changes the customer like an edit, because no expression reads …: read it in body.type or in `when`",
        ],
        "A table for several event types, or a constant type, also takes the event of a removal. Its values are the last ones of the customer, or none.",
        "List the type in `ignore`, or write a condition such as when = '.action != \"delete\"'.",
    ),
    row(
        &[
            "the schema … has no keyword that checks a value, so it accepts every event: write the properties of the event, or let the command new-source infer them from a sample",
        ],
        "The schema is {}, true, or an event of the source in the place of a schema.",
        "Write a schema with the keyword properties, or let `imprint-bridge new-source` infer one.",
    ),
    row(
        &[
            "version reads …, …: it stays equal when the customer changes, so it orders no events…",
            "the mapping has no version, so a late event can replace newer values, and no expression reads …: if it is the time of the change, write it as the version",
            "… reads …, a date of birth: read the time at which the account was created",
            "; did you mean …?",
            "a date of birth",
            "the time at which the source created the customer",
            "by its name an id",
        ],
        "The version must grow with each change of a customer, and the time of the creation stays the same.",
        "Write the path of the time of the change, or of a number that grows.",
    ),
    row(
        &[
            "examples of one customer have different values of a field and the same version, so the bridge cannot know which of them is newer: if the source sends such events, version must read a value that grows with each change",
        ],
        "The examples are invented, or the version does not grow with each change.",
        "Write different times into invented examples. If they are real events, read another value for the version.",
    ),
    row(
        &[
            "no field reads …, the row of only_changed.after, so the bridge finds no change and ignores every event that has the row before it: read the fields from this row",
            "no example has …, which only_changed.after reads, so the bridge finds no change: correct the path…",
            "… reads …, a value before the change: read it from the row of only_changed.after",
            "no example of this event type has …, which only_changed.before reads: without this row, the bridge sends all fields of an event. Correct the path, or add an example of a change",
            "no example of this event type has …, which only_changed.before reads, and an example without an event of this type has it: look at body.type, at the keys of the event types, and at `ignore`; if they are right, add an example of a change",
            "an example has …, which only_changed.before reads, and the events of it do not: without this row, the bridge sends all fields of an event. Let body.split copy the row into the event",
            "in an example, … has another value than the row after the change, and only_changed.before gives the row after it all the same, so the bridge ignores the event: of two objects with +, the second one wins",
            "in an example, … is null or absent, and only_changed.before gives the row after the change all the same, so the bridge ignores the event: let only_changed.before give no value for a new customer, such as select(.old != null) | …",
        ],
        "The path of `only_changed` is wrong, or each example is the event of a new customer.",
        "Correct the path, or the paths of the fields, or add an example with the row before the change.",
    ),
    row(
        &[
            "no example has a property of the schema …, so the schema checks nothing: it is probably the schema of another event, or of the data inside the event",
            "the event of an example is a list: split = \".[]\" in [body] makes an event of each item of the body",
        ],
        "The schema and the examples have no path in common.",
        "Name the schema of this event. The schema describes the whole event: for a CloudEvent, its data stands in the property `data`.",
    ),
    row(
        &["no request has a header …, which is the name of the header … inside a program: write …"],
        "PHP, Ruby and CGI show a header such as X-Signature to a program as HTTP_X_SIGNATURE. The request has the name with hyphens.",
        "Write the name of the header in the request.",
    ),
    row(
        &[
            "the environment variable … is not read: …",
            "the environment variable … is not read: write …",
            "the option --config FILE names the file with the settings",
            "imprint.proxy_url has the URL of the proxy for the requests to Imprint, and it is not set",
            "the bridge sends each request to Imprint through the proxy in imprint.proxy_url, if it is set",
        ],
        "The variable has the name of a setting of another system, or one underscore after IMPRINT_BRIDGE.",
        "Use the setting that the note names, or remove the variable.",
    ),
    row(
        &[
            "… is a source of its own, with the secret files of …, and a running bridge takes its events: if it is a copy, give the name of its file another ending than .toml",
        ],
        "Each file NAME.toml in `sources_dir` is a source, also a copy of another file.",
        "Remove the copy, or give its name another ending. If it is another source, it needs a secret of its own.",
    ),
    row(
        &["no example has the type … in `ignore`; did you mean …?"],
        "The bridge ignores only the types with exactly these names, and refuses an event of another unknown type.",
        "Correct the name in `ignore`. If the source sends both types, leave it.",
    ),
    row(
        &["the body has a list in /…: `split = \".…[]\"` in [body] makes an event of each item"],
        "The source posts several records in one body, and the mapping reads one record.",
        "Write the setting `split` of the message into the table [body], and read the id and the type in the item.",
    ),
];
