//! The functions of jq and of other languages that the mapping language does not have, with its own notation for them.

/// Functions and operators of jq and of other languages, each with the notation of the mapping language.
pub(super) const REPLACEMENTS: [(&[&str], &str); 25] = [
    (
        &[
            "ascii_downcase",
            "downcase",
            "tolower",
            "tolowercase",
            "lowercase",
            "lcase",
        ],
        "use lower",
    ),
    (
        &[
            "ascii_upcase",
            "upcase",
            "toupper",
            "touppercase",
            "uppercase",
            "ucase",
        ],
        "use upper",
    ),
    (&["tostring", "tojson", "str", "string"], "use text"),
    (&["tonumber", "toint", "int", "number"], "use whole"),
    (&["strip", "ltrim", "rtrim"], "use trim"),
    (
        &[
            "test", "match", "capture", "scan", "sub", "gsub", "splits", "regex", "replace",
        ],
        "regular expressions are not available; use lookup, split, digits or ==",
    ),
    (
        &["startswith", "endswith"],
        "a text can only be compared as a whole, with == or lookup, or cut with split",
    ),
    (
        &["contains", "inside", "index", "indices", "IN", "includes"],
        "a list contains the text x if any(. == \"x\") is true; a text can only be compared as a whole, with == or lookup, or cut with split",
    ),
    (
        &["now", "today", "date_now", "input", "inputs", "env", "$ENV"],
        "an expression reads only the event, so that the same event always gives the same request",
    ),
    (
        &[
            "def", "reduce", "foreach", "while", "until", "range", "recurse", "..", "repeat",
        ],
        "an expression has no definitions and no loops except map, any, all and select",
    ),
    (&["="], "compare with =="),
    (
        &[
            "isempty",
            "is_empty",
            "isnull",
            "is_null",
            "isblank",
            "is_blank",
            "exists",
            "isset",
            "defined",
            "isdefined",
        ],
        "compare with null, such as .a == null",
    ),
    (
        &["iif", "ifelse", "if_else", "choose", "ternary", "cond"],
        "write `if .a then .b else .c end`",
    ),
    (
        &["none", "nil", "null", "undefined"],
        "the value that clears a field is null, in lower case",
    ),
    (&["true"], "write true in lower case"),
    (&["false"], "write false in lower case"),
    (&["not"], "write `.a | not`, in lower case"),
    (
        &["|=", "//=", "+=", "-=", "*=", "/=", "%="],
        "an expression only reads; it assigns nothing",
    ),
    (
        &[","],
        "an expression has one result; write .a // .b, or a text such as \"\\(.a) \\(.b)\"",
    ),
    (
        &[
            "strftime", "strptime", "todate", "fromdate", "dateadd", "mktime", "gmtime",
        ],
        "use date, utc, moment or months_since",
    ),
    (
        &["concat", "format"],
        "write a text such as \"\\(.first) \\(.last)\"",
    ),
    (
        &["default", "coalesce", "ifnull", "nvl"],
        "use //, such as .a // .b",
    ),
    (
        &["getpath"],
        "write the names as a path, such as .data.values",
    ),
    (
        &[
            "uuid",
            "uuidv4",
            "uuid4",
            "guid",
            "newguid",
            "random",
            "rand",
            "randomuuid",
        ],
        "the same event must always have the same id: use digest, or a member that stays equal when the source sends the event again",
    ),
    (
        &["del", "delpaths"],
        "use with_entries(select(.key != \"name\")) to leave out a member",
    ),
];

/// Functions of jq and of other languages whose names can also be names of members, each with the notation of the mapping
/// language. The advice fits only a name that stands like a function: after `|`, or with arguments.
pub(super) const CALLED_REPLACEMENTS: [(&[&str], &str); 16] = [
    (
        &[
            "hash", "md5", "sha1", "sha256", "sha512", "crc32", "checksum",
        ],
        "use digest",
    ),
    (
        &[
            "capitalize",
            "ucfirst",
            "proper",
            "titlecase",
            "title_case",
            "initcap",
            "ucwords",
        ],
        "use title",
    ),
    (
        &[
            "ascii",
            "unidecode",
            "slugify",
            "normalize",
            "transliterate",
        ],
        "no function replaces letters with an accent; for a phone number use e164",
    ),
    (
        &[
            "ltrimstr",
            "rtrimstr",
            "trimstr",
            "removeprefix",
            "removesuffix",
            "trimprefix",
            "trimsuffix",
        ],
        "no function removes the beginning or the end of a text; .[2:] leaves out its first two characters, and \
         split(\"-\") | last takes the part after a separator",
    ),
    (
        &["substring", "substr", "slice", "left", "right", "mid"],
        "write .[0:2] for the first two characters of a text, and .[2:] for the characters after them",
    ),
    (
        &[
            "from_epoch_ms",
            "from_epoch",
            "fromepoch",
            "from_unixtime",
            "from_unix",
            "fromunixtime",
            "from_timestamp",
            "epoch",
            "epoch_ms",
            "unixtime",
        ],
        "use moment(\"ms\") for a number of milliseconds since 1970, and moment(\"s\") for seconds",
    ),
    (
        &[
            "fromdateiso8601",
            "todateiso8601",
            "parse_date",
            "parse_time",
            "to_date",
            "to_datetime",
            "to_utc",
            "datetime",
            "iso8601",
            "to_iso8601",
            "toisostring",
        ],
        "use utc for a text with a time, and date for a text with a date",
    ),
    (&["sort"], "use sort_by(.)"),
    (
        &["filter", "where"],
        "use map(select(…)), such as map(select(.primary))",
    ),
    (
        &["find", "detect"],
        "use first(.[] | select(…)), such as first(.[] | select(.primary))",
    ),
    (
        &["phone", "phone_number", "format_phone", "e_164"],
        "use e164 for a phone number",
    ),
    (
        &["min", "max", "min_by", "max_by"],
        "use sort_by(.) | first for the least item, and sort_by(.) | last for the greatest",
    ),
    (
        &["unique_by", "group_by"],
        "unique leaves out equal items, and map(select(…)) takes the items with a property",
    ),
    (
        &["map_values"],
        "use map for a list, and with_entries for an object",
    ),
    (
        &[
            "floor", "ceil", "round", "trunc", "fabs", "abs", "sqrt", "pow",
        ],
        "an expression has only whole numbers and never rounds; for an amount of money use minor_units",
    ),
    (
        &[
            "fromjson",
            "parse",
            "json",
            "parse_json",
            "from_json",
            "json_decode",
        ],
        "an expression reads no JSON inside a text, so the sender must post this JSON itself",
    ),
];
