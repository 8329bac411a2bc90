//! The messages about expressions and lines that are written as in another language.

use super::check_source;

/// An expression of another language, and a part of the only error.
const OTHER_LANGUAGES: &[(&str, &str)] = &[
    (
        ".a | e164(DE)",
        "a text stands in quotes: write e164(\"DE\") instead of e164(DE)",
    ),
    (
        ".a | lookup(tiers)",
        "write lookup(\"tiers\") instead of lookup(tiers)",
    ),
    (
        ".a | moment(ms)",
        "write moment(\"ms\") instead of moment(ms)",
    ),
    (
        ".a | join(x)",
        "a text stands in quotes: write join(\"x\") instead of join(x)",
    ),
    (
        "if .a == false then None else .a end",
        "`None` is not allowed here; the value that clears a field is null",
    ),
    (
        "if .a == True then .b else null end",
        "`True` is not allowed here; write true in lower case",
    ),
    (
        ".a | capitalize",
        "`capitalize` is not allowed here; use title",
    ),
    (
        ".a | ascii",
        "`ascii` is not allowed here; no function replaces letters",
    ),
    (
        ".a | shorten",
        "`shorten` is not allowed here; after a pipe stands a function; an expression is made of",
    ),
    ("[[city]]", "if it is a member of the event, write .city ("),
    ("if .a == false then null else .a", "the `if` has no `end`"),
    (
        "if .a then .b else if .c then .d else null end",
        "write `elif` instead of `else if`",
    ),
    (
        "if !.a then .b else null end",
        "write `.a | not` instead of `!.a`",
    ),
    (
        ".city.includes(\"x\")",
        "a function stands after a pipe: `.city | includes(…)` instead of `.city.includes(…)`",
    ),
    (
        ".name.split(\" \")[0]",
        "a function stands after a pipe: `.name | split(…)`",
    ),
    (
        ".city.toLowerCase()",
        "a function stands after a pipe: `.city | toLowerCase(…)`",
    ),
    (".city ?? null", "write `//` instead of `??`"),
    (
        ".city == \"\" ? null : .city",
        "write `if .a then .b else .c end`",
    ),
    (".city =~ \"^S\"", "regular expressions are not available"),
    (
        "/contact/city",
        "a path begins with a dot: write .contact.city",
    ),
    ("%city%", "an expression is not a template"),
    ("${city}", "an expression is not a template"),
    (
        ".city | trim()",
        "write `trim` without the empty parentheses",
    ),
    (
        "if .city is null then null else .city end",
        "compare with ==",
    ),
    (
        "if .city <> \"X\" then .city else null end",
        "compare with !=",
    ),
    (
        ".city as c | .c",
        "the name of a variable begins with a dollar sign",
    ),
    (
        "if .a AND .b then .c else null end",
        "write `and` in lower case",
    ),
    (
        "event.Record.EMAIL",
        "a path begins in the event: write .Record.EMAIL; if `event` is a member of the event, write .event.Record.EMAIL",
    ),
    ("{Record.EMAIL}", "an expression is not a template"),
    ("{% Record.EMAIL %}", "an expression is not a template"),
    ("#{Record.EMAIL}", "an expression is not a template"),
    (
        "//Record/EMAIL",
        "a path begins with a dot: write .Record.EMAIL",
    ),
    (".Record.EMAIL;", "an expression ends without a semicolon"),
    (".Record.EMAIL |", "the expression ends with `|`"),
    (".Record.", "the expression ends with a dot"),
    (".Record..EMAIL", "write one dot between two names"),
    (
        ". Record.EMAIL",
        "write the name of the member directly after its dot",
    ),
    (".Record.TAGS[*].NAME", "write `[]` for each item of a list"),
    (
        ".Record.PHONE e164",
        "a `|` or an operator is missing before `e164`",
    ),
    (
        "if (.a) { null } else { .b }",
        "write `if .a then .b else .c end`",
    ),
    (
        "case when .a then null else .b end",
        "write `if .a then .b else .c end`",
    ),
    (
        "iif(.a, null, .b)",
        "`iif` is not allowed here; write `if .a then .b else .c end`",
    ),
    (
        "if isEmpty(.a) then null else .a end",
        "`isEmpty` is not allowed here; compare with null",
    ),
    (".a | date(\"yyyy-MM-dd\")", "`date` takes no argument"),
];

/// FAULTS N995: an argument, a word or brackets in an expression are those of another language.
#[test]
fn an_expression_of_another_language_names_its_notation() {
    for (wrong, expected) in OTHER_LANGUAGES.iter().copied() {
        check_source("\".email\"", &format!("'{wrong}'"), &[expected]);
    }
}

/// FAULTS N996: a line of TOML has a word or a sign of another language.
#[test]
fn a_line_of_another_language_has_its_probable_cause() {
    for (from, to, expected) in [
        (
            "ignore =",
            "draft = yes\nignore =",
            "probable cause: write true or false, without quotes",
        ),
        (
            "ignore =",
            "draft = True\nignore =",
            "probable cause: write true or false, without quotes",
        ),
        ("\".email\"", "null", "probable cause: TOML has no null"),
        (
            "\".email\"",
            "\"\\(.email)\"",
            "probable cause: a text with a backslash stands in single quotes",
        ),
        (
            "ignore =",
            "// my source\nignore =",
            "probable cause: a comment begins with #",
        ),
        (
            "metadata.tier",
            "metadata.my tier",
            "probable cause: a name with a space stands in quotes",
        ),
        (
            "\".email\"",
            "\".email\",",
            "probable cause: a line ends without a comma",
        ),
        (
            "email = \".email\"",
            "email => \".email\"",
            "probable cause: a setting is written NAME = VALUE",
        ),
        (
            "ignore =",
            "{\"auth\": 1}\nignore =",
            "probable cause: the line is JSON; the bridge reads TOML and not JSON",
        ),
        // FAULTS N1054
        (
            "ignore =",
            "export ignore =",
            "probable cause: a setting is written NAME = VALUE, without a word such as export",
        ),
        (
            "ignore =",
            "draft = on\nignore =",
            "probable cause: write \"on\" or \"off\" in quotes, or true or false without quotes",
        ),
    ] {
        check_source(from, to, &[expected]);
    }
}
