//! Finds the known name that a misspelt name probably means, so that an error message can suggest the known name.

/// The minimum similarity of a suggestion, from 0 (nothing in common) to 1 (equal). Below this value, most suggestions
/// are wrong: `verbose` is not `error`.
const SIMILARITY_MIN: f64 = 0.84;
/// The minimum similarity of a name that is only misspelt.
const MISSPELLING_MIN: f64 = 0.94;
/// The minimum length of a name in which one wrong letter is a misspelling. A shorter name becomes another name.
const LONG_CHARS_MIN: usize = 4;
/// The minimum length of a name in which two wrong letters are a misspelling.
const TWO_WRONG_CHARS_MIN: usize = 8;
/// The minimum length of a name that can be a part of a suggestion, as `zip` is a part of `us_zip`. The part is at least
/// half of the suggestion. Shorter names are parts of too many names.
const PART_CHARS_MIN: usize = 3;

/// Returns the known name that is most similar to `name`, or `None` if no known name is similar.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    best(known, SIMILARITY_MIN, |known| similarity(name, known))
}

/// Returns the known name that `name` misspells: the name with other letter case, with other separators or with one or
/// two wrong letters. The comparison is stricter than the comparison of [`nearest`].
pub(crate) fn misspelt<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let name = plain(name);
    best(known, MISSPELLING_MIN, |known| {
        let known = plain(known);
        let is_long = name.len() >= LONG_CHARS_MIN && known.len() >= LONG_CHARS_MIN;
        if is_long && strsim::osa_distance(&name, &known) <= 1 {
            return 1.0;
        }
        strsim::jaro_winkler(&name, &known)
    })
}

/// Returns the known name that `name` misspells, or of which `name` is at least one half.
pub(crate) fn misspelt_or_part<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str> + Clone,
) -> Option<&'n str> {
    misspelt(name, known.clone()).or_else(|| best(known, SIMILARITY_MIN, |known| part(name, known)))
}

/// Returns whether a long name differs from another in at most two letters.
pub(crate) fn has_two_wrong_letters(name: &str, other: &str) -> bool {
    let is_long = |name: &str| name.chars().count() >= TWO_WRONG_CHARS_MIN;
    is_long(name) && is_long(other) && strsim::osa_distance(name, other) <= 2
}

/// Returns whether a name is probably another name with a typing error. Names with different digits, and the singular and the
/// plural of a word, are different names.
pub(crate) fn is_typo(name: &str, other: &str) -> bool {
    let (plain_name, plain_other) = (plain(name), plain(other));
    let is_plural = |one: &str, other: &str| one.strip_suffix('s').is_some_and(|one| one == other);
    let is_long = |text: &str| text.chars().count() >= LONG_CHARS_MIN;
    let is_near = is_long(&plain_name)
        && is_long(&plain_other)
        && strsim::osa_distance(&plain_name, &plain_other) <= 1
        || has_two_wrong_letters(name, other);
    plain_name == plain_other
        || is_near
            && digits(name) == digits(other)
            && !is_plural(&plain_name, &plain_other)
            && !is_plural(&plain_other, &plain_name)
}

/// Returns whether a name is probably another name with one wrong letter.
pub(crate) fn has_one_wrong_letter(name: &str, other: &str) -> bool {
    is_typo(name, other) && strsim::osa_distance(name, other) <= 1
}

/// Returns whether two names differ only in letter case and separators.
pub(crate) fn has_same_letters(name: &str, other: &str) -> bool {
    plain(name) == plain(other)
}

/// Returns whether two words have the same digits, in any order.
pub(crate) fn has_same_digits(word: &str, other: &str) -> bool {
    let sorted = |word: &str| {
        let mut digits: Vec<char> = digits(word).chars().collect();
        digits.sort_unstable();
        digits
    };
    sorted(word) == sorted(other)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn best<'n>(
    known: impl IntoIterator<Item = &'n str>,
    least: f64,
    similarity: impl Fn(&str) -> f64,
) -> Option<&'n str> {
    let mut best = None;
    for candidate in known {
        let found = similarity(candidate);
        if found >= least && best.is_none_or(|(most, _)| found > most) {
            best = Some((found, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Returns the end of an error message about an unknown name: the suggestion of a similar name, or an empty text.
pub(crate) fn suggestion<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let nearest = nearest(name, known);
    nearest.map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

/// Returns the similarity of two names without letter case and separators: 1 for equal names.
fn similarity(name: &str, other: &str) -> f64 {
    let (name, other) = (plain(name), plain(other));
    if name == other {
        return 1.0;
    }
    strsim::jaro_winkler(&name, &other).max(part(&name, &other))
}

/// Returns the least similarity of a suggestion if one of the names is a large part of the other, and otherwise 0.
fn part(name: &str, other: &str) -> f64 {
    let (name, other) = (plain(name), plain(other));
    let is_part = |part: &str, whole: &str| {
        part.len() >= PART_CHARS_MIN && 2 * part.len() >= whole.len() && whole.contains(part)
    };
    if is_part(&name, &other) || is_part(&other, &name) {
        SIMILARITY_MIN
    } else {
        0.0
    }
}

fn plain(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_told_from_another_name() {
        for (name, other, is_typing_error) in [
            ("emial", "email", true),
            ("frstName", "firstName", true),
            ("datafields", "dataFields", true),
            ("email", "emails", false),
            ("line1", "line2", false),
            ("zip", "tip", false),
            ("Zip", "zip", true),
            ("Phone", "HomePhone", false),
        ] {
            assert_eq!(is_typo(name, other), is_typing_error, "{name} {other}");
        }
    }

    #[test]
    fn a_similar_name_is_suggested_and_no_other() {
        let known = [
            "first_name",
            "email",
            "e164",
            "us_zip",
            "lookup",
            "schema",
            "version_domain",
            "error",
            "warn",
            "unsigned_headers",
            "info",
            "customer_history.address.city",
        ];
        for (name, expected) in [
            ("firstName", Some("first_name")),
            ("first-nam", Some("first_name")),
            ("emial", Some("email")),
            ("e146", Some("e164")),
            ("zip", Some("us_zip")),
            ("lokup", Some("lookup")),
            ("schma", Some("schema")),
            ("versoin_domain", Some("version_domain")),
            ("WARNING", Some("warn")),
            (
                "customer_history.adress.city",
                Some("customer_history.address.city"),
            ),
            ("header", None),
            ("verbose", None),
            ("birthday", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(suggestion("emial", known), "; did you mean email?");
        assert_eq!(suggestion("x", known), "");
    }
}
