//! The messages of `check` about schemas, expressions and examples.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static SOURCES: &[MessageExplanation] = &[
    row(
        &[
            "names no schema of the sources in use: a try-out opens no file…",
            "is longer than … bytes",
            "is a draft",
        ],
        "A try-out in the console reads the edited text of a source file, and no other file.",
        "Name a schema that a source in use has, and shorten the text. `imprint-bridge check` reads new schemas and long files.",
    ),
    row(
        &[
            "schema … does not compile, at #…",
            "schema …, at #…: …",
            "unknown keyword `…`; did you mean `…`?",
            "the bridge does not know this version of JSON Schema: write https://json-schema.org/draft/2020-12/schema, or remove $schema",
            "two braces follow one another, and the name of a member in double quotes must stand after the first",
            "a type is one of ……",
            "several types are a list: write \"type\": […]",
            "`…` is a format: write \"type\": \"string\", \"format\": \"…\"",
            "`required` is a list of names beside `properties`, such as \"required\": [\"id\"]",
            "the validator does not know this format…",
            "; remove `format`, or write one of …",
            "the pattern is no regular expression of the bridge, which has neither look-around nor back references, knows only the classes of Unicode, and nests groups less than 250 deep",
            "the pattern is no regular expression: …",
            "a `\\` at its end escapes nothing",
            "a `)` closes nothing",
            "nothing stands before a `*`, `+` or `?` that it can repeat; any text is `.*`",
            "a `[` has no `]`",
            "a `(` has no `)`",
            "the pattern is too large: compiled, a pattern has at most … bytes. A number in braces repeats a part that often, so write + or * instead, and limit the length with maxLength",
            "the reference leads to nothing in this schema…",
            "the bridge does not read other documents; copy the schema into $defs and refer to it with #/$defs/NAME",
            "`nullable` is not a keyword of JSON Schema; write \"type\": [\"string\", \"null\"]",
        ],
        "The schema is not valid JSON Schema, or has a misspelt keyword, which would check nothing.",
        "Correct the schema at the place that the message names.",
    ),
    row(
        &[
            "schema … has no bound: …",
            "the schema has more than … subschemas when each reference is replaced by its target",
            "more than … subschemas inside each other apply to one value",
            "the schema nests more than … subschemas",
            "the reference … does not lead to a place in this document that the bridge can find",
            "the reference … leads back to itself at the same value of an event",
        ],
        "An event could make the validation endless, slow or deep.",
        "Simplify the schema. A reference must be #, a JSON Pointer or an anchor of the same file.",
    ),
    row(
        &[
            "Imprint's update has no such field",
            "…; did you mean …?",
            "…; other data goes under metadata, such as metadata.…",
            "…; leave out secrets and the numbers of identity documents, bank accounts and payment cards, also under metadata",
            "…; it has …",
            "…; … is a group of fields, such as …",
            "…; metadata is a group of fields, such as metadata.tier",
        ],
        "The left side is not a field of Imprint's request.",
        "Use a field of schemas/imprint/update-request.schema.json, or metadata.NAME.",
    ),
    row(
        &["the result can be a constant that the field does not accept: …"],
        "Imprint would reject a constant in the expression, or a value in the table that the expression reads.",
        "Correct the constant.",
    ),
    row(
        &["the after image must be a plain path, such as `.data.after`"],
        "`only_changed.after` computes a value, but the bridge must read the fields from it.",
        "Write a path of names.",
    ),
    row(
        &[
            "`header` is available only in the expressions of [body] and in `when`",
            "`header` is written header(\"x-topic\")",
            "`header` is written header(\"x-topic\"), without the colon after the name",
        ],
        "The value of a field cannot come from a request header, or the name of the header is not valid.",
        "Read the header in [body] or in `when`.",
    ),
    row(
        &[
            "`…` is not allowed here…",
            "an expression is made of paths such as `.a.b[0]`, `|`, `//`, `==`, `and`, `or`, `if`, constants, objects, \"\\(…)\" and the functions …; an interpreted expression, which is slower, can also contain `.[]`, `.[0:5]`, `[…]`, `as $x`, `<`, `+`, `-`, `*`, `?`, `try` and jq's …; the expressions in [body] and `when` can also contain header(\"x-topic\")",
            "did you mean …?",
            "did you mean e164?",
            "if it is a member of the event, write .…; …",
            "if it is a constant text, write the text with inner quotes: '\"…\"'",
            "if it is a constant text, write the text in double quotes: \"……\"; …",
            "if it is a member of the event, write .……",
        ],
        "The expression uses a name that the mapping language does not have, or a part of jq that could loop forever or read data outside the event.",
        "Use the replacement that the message proposes.",
    ),
    row(
        &[
            "there is no table …; add [tables.…] to the source file",
            "there is no table …; there is ……",
        ],
        "`lookup` names a table that the source file does not have.",
        "Correct the name, or add the table.",
    ),
    row(
        &[
            "expected … here",
            "expected … and found …",
            "the expression should end before …",
            "a constant text stands in double quotes inside the expression: '\"…\"'",
            "the end",
            "the expression is empty",
            "jq cannot read this expression",
            "… is not defined",
        ],
        "The expression has a syntax error at the position that the message shows.",
        "Correct the expression; often a bracket, a quote or `end` is missing.",
    ),
    row(
        &[
            "a number is written as in JSON",
            "the names in an object are constants",
            "the bounds of a range are constant numbers from 0 up",
            "a path is made of constant names and item numbers; a name with brackets or dots stands in double quotes, such as .\"contact[email]\"",
        ],
        "The part of the expression must be a constant, so that the bridge knows what the expression reads.",
        "Write a constant.",
    ),
    row(
        &[
            "an expression has at most … characters",
            "an expression has at most … brackets",
            "an expression copies its input at most … times",
        ],
        "The expression is too long or too deep.",
        "Split the work: use `lookup`, or let the CRM send the value.",
    ),
    row(
        &[
            "`…` is a setting of […] and …: write `…` below the header […]",
            "`…` is a setting of the event type and …: write `…` below the header ……",
            "`…` is a setting of the event type and …: write on_invalid.FIELD = \"skip\", with the name of a field, below the header ……",
            "`…` is a setting of the file and …: write `…` before the first table of the file",
            "`…` is a setting of the file and …: write the header [tables.…], and `…` below it",
            ", before [events.\"…\".…]",
            "no field of Imprint",
            "not of this table",
        ],
        "The setting stands below the header of another table. TOML reads each key after the header of a table as a key of this table.",
        "Move the setting to the place that the message names.",
    ),
    row(
        &["is inside the table […]: write `…` before the first table of the file"],
        "TOML reads each key after the header of a table as a key of this table.",
        "Move the list to the top of the file.",
    ),
    row(
        &[
            "has both … and …",
            "has neither … nor ……; if the result today is right, write it into …: …",
            "; the bridge refuses …: …",
            "… has no …",
            "… is not an example: its name must end in one of …",
        ],
        "The files of an example do not belong together: an example is NAME.event.json with either NAME.request.json or NAME.refusal.json.",
        "Rename the file, or write the proposed result into the proposed file after you have read it.",
    ),
    row(
        &[
            "the file *… is not text",
            "is not JSON: …",
            "write \"ignored\" in double quotes",
            "the file *…: …",
            "the body",
            "has no source",
        ],
        "A file of an example cannot be read.",
        "Correct the file.",
    ),
    row(
        &[
            "  if the result of today is right, `imprint-bridge explain --source … --example FILE` prints it",
            "expected … events, found …: …",
            "expected ……, found …",
            "expected a refusal, found …",
            "expected the problem …, found …",
            "expected the error …",
            "unexpected error …",
            "…: expected …, found …",
            "…: expected …, found nothing",
            "/…: is not a member of an expected result, which can have ……",
            "the text … is no result of an example: the only text is …, for an event for which the bridge sends nothing; every other result is an object",
            "; … is skipped: … at …: …",
            "; the schema does not allow …",
            "; a field of Imprint is inside body: {\"body\": {\"…\": …}}",
        ],
        "The result of the mapping differs from the result that the example expects.",
        "Correct the mapping or the example. `imprint-bridge explain --example FILE` prints the result of today.",
    ),
    row(
        &["not read"],
        "This message is not an error: the schema has these paths, but no expression reads them.",
        "Map the paths, if Imprint needs their values.",
    ),
    row(
        &[
            "    the schema does not have …, which an expression reads; did you mean …?…",
            "Write the name in double quotes: .\"…\"",
        ],
        "The expression reads a path that the schema does not have. The schema has a similar path, which no expression reads.",
        "Correct the path, or add the path to the schema.",
    ),
    row(
        &["    no example has …, which an expression reads; did you mean …?…"],
        "The expression reads a path that no example has. The examples have a similar path, which no expression reads.",
        "Correct the path, or add an example that has it.",
    ),
    row(
        &["    in an example, …"],
        "The mapping sends a value of an example unchanged, and Imprint accepts it. The value is probably not in the form that Imprint expects, or its time has another unit.",
        "Write the function or the unit that the note names.",
    ),
    row(
        &[
            "body.id = … is a constant, so all events have one id, and the bridge refuses each event after the first: read an id that each event has for itself",
            "body.id reads …, a time: two events at one time have one id, and the bridge refuses the second one. Read the id of the event, or write id = \"digest\"",
            "… different events of one body have the id …, and the bridge refuses or parks all but the first: if each is a change of its own, body.id must read an id of each; if they are one change, correct body.split",
            "body.id gives the id … to … different events of the examples: if body.id reads a value that several events share, such as the id of the customer, the bridge refuses each event after the first",
        ],
        "The bridge knows an event by its id. A second event with the same id is a repetition, and with other content a conflict (409).",
        "Read the id of the event, or of its delivery. If the CRM sends none, write an expression with the function digest.",
    ),
    row(
        &[
            "… = … is a constant, so all events change one customer: read the id of the customer from the event",
        ],
        "The rule names the same customer for every event, so each event changes the data of this customer.",
        "Write the path of the id, such as \".customer_id\".",
    ),
    row(
        &[
            "The request has no header",
            "…; write the headers of the request into …, one on each line",
            "…; … has another name: …",
            "did you mean header(\"…\")?",
            "the function header reads a header of the request: write header(\"…\"); if `…` is a member of the event, write .…",
        ],
        "An expression reads a request header, and the example has no file with this header.",
        "Write the header into the file NAME.headers.txt beside the example, or correct its name in the expression.",
    ),
    row(
        &[
            "    sets …street_line1 and never …street_line2: Imprint keeps the second line of an earlier address, such as an apartment. If the source has one line, use `EXPRESSION | line(1; 2)` and `EXPRESSION | line(2; 2)`, which clears the second line",
        ],
        "The mapping sets the first line of a street, and no rule sets or clears the second line. After a move, the old apartment stands beside the new street.",
        "Map the second line. If the source has one line, `line(1; 2)` and `line(2; 2)` set both fields, and the second one clears the second line.",
    ),
    row(
        &[
            "sets …street_line1 and never ……: Imprint keeps the … of an earlier address. Map the …, or no part of the address",
        ],
        "The mapping sets the street, and no rule sets or clears this part of the address. When a customer moves, Imprint keeps the old city, state or ZIP code beside the new street.",
        "Map all parts of the address.",
    ),
    row(
        &[
            "… has the name of a secret, or of the number of an identity document, a bank account or a payment card: do not send such a value to Imprint",
        ],
        "The mapping sends this value under metadata. Imprint needs neither secrets nor such numbers.",
        "Remove the field. If the value is something else, choose another name.",
    ),
    row(
        &[
            "version = … is a constant, so it orders no events, and a late event can replace newer values: read a number or a time that grows with each change",
        ],
        "All events have the same version, so the bridge cannot know which one is newer.",
        "Write the path of the time or the number of the change, such as \".updated_at\", or remove `version` and `version_domain`.",
    ),
    row(
        &[
            "… reads the same path as body.id: one of the two is wrong, because a customer has several events, and each event has an id of its own",
        ],
        "If the path is the id of the event, each event changes another customer. If it is the id of the customer, the bridge refuses the second event of a customer.",
        "Read the id of the customer for `customer`, and the id of the event for `body.id`. Without an id of the event, use `digest`.",
    ),
    row(
        &[
            "    every example is invalid: no example shows a request of this mapping to Imprint",
            "  examples with an invalid event that the bridge parks: …",
        ],
        "This message is not an error, but often the sign of a wrong mapping: with `body.on_invalid = \"park\"`, the bridge accepts an invalid event and parks it.",
        "Read the errors with `imprint-bridge explain`. Correct the mapping, or keep the result if the example is meant to be invalid.",
    ),
    row(
        &[
            "  no example gives a request to Imprint, so no example tests the fields: add an example of an event that the bridge maps",
        ],
        "The bridge ignores or refuses every example of the source.",
        "Add an example of an event for which `when` is true, or of an event type that is not in `ignore`.",
    ),
    row(
        &[
            "  a draft: a running bridge does not use this source until you remove the line `draft = true`",
            "has only drafts: remove the line `draft = true` of a source that the bridge shall use",
            "must be true or false",
        ],
        "`new-source` marks each new source as a draft. The bridge accepts no event of a draft.",
        "When the source is finished, remove the line `draft = true` from its source file.",
    ),
    row(
        &[
            "all sources together may have at most … …. Counted up to the source …: …, and … others have fewer. Make the largest of them smaller, or remove sources that are not used",
            "bytes in their source files",
            "settings, rows and items of lists in their source files",
            "expressions in their event types",
            "characters in their expressions",
            "bytes in the schemas of their event types",
            "JSON values in the schemas of their event types",
            "different patterns in their schemas",
            "bytes in their compiled patterns",
        ],
        "The files are within their bounds, but together they would need too much memory. The message names the sources with the largest shares.",
        "Remove sources, event types or schemas that nobody uses. A schema counts once for each event type that names it, and a pattern counts once for all schemas.",
    ),
    row(
        &["is text in UTF-16, as some editors for Windows write it: save the file as UTF-8"],
        "The file has the byte order mark of UTF-16.",
        "Save the file as UTF-8. A byte order mark of UTF-8 and the line ends of Windows are allowed.",
    ),
    row(
        &[
            "… is not read: the name of a source file ends in .toml",
            "… is not read: a source file lies directly in sources_dir",
            "the examples in … are not run: there is no source ……",
        ],
        "The bridge reads each file NAME.toml in `sources_dir` as the source NAME, and `check` reads the examples of this source in the folder NAME beside the file. It reads no other file.",
        "Rename or move the file or the folder, or remove it.",
    ),
    row(
        &[
            "`check` takes no file: it checks all sources in sources_dir. For the settings of the bridge, use --config FILE",
        ],
        "The command line of `check` has the name of a file.",
        "Leave the name out.",
    ),
    row(
        &["not kept in the store"],
        "This message is not an error: neither does the schema describe these parts of the examples, nor can an expression read them, so the bridge drops them before it stores an event. A corrected mapping cannot read them in a stored event.",
        "Describe in the schema what a later mapping could need, or set `body.keep = \"all\"`.",
    ),
    row(
        &[
            "body.keep = \"all\" stores parts of events that no schema describes",
            "body.card_numbers = \"keep\" allows card numbers in the store",
        ],
        "This message is not an error: it names a risk that the source file accepts.",
        "Remove the setting if the source does not need it.",
    ),
    row(
        &["in no example"],
        "This message is not an error: no example sets these fields.",
        "Add an example.",
    ),
    row(
        &[
            "  runs in the jq interpreter (…): … = …",
            "    runs in the jq interpreter (…): … = …",
            "not measured: no example",
            "all of [body] takes … for the first example",
        ],
        "This message is not an error: the jq interpreter runs the expression, which is slower than a compiled expression.",
        "Nothing, or use only the compiled parts of the language.",
    ),
    row(
        &[
            "no examples; add some to …",
            "no example was read: see the errors below",
            "  …: … maps …, ordered by …",
            "configuration: … profile, destination …, store …",
            "--- waiting for a change",
            "no errors",
        ],
        "This message is not an error: it is a part of the report.",
        "Nothing.",
    ),
    row(
        &[
            "a sequence of …",
            "environment variable …",
            "the environment",
        ],
        "These texts are parts of other messages: they name a place.",
        "Nothing.",
    ),
];
