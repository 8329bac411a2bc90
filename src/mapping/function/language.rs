//! The function `language` of the mapping language: language tags.

use serde_json::Value;

use super::super::error::ValueError;
use super::Conversion;

/// The longest language tag that BCP 47 requires software to accept (RFC 5646, September 2009, section 4.4.1).
const TAG_CHARS_MAX: usize = 35;

/// Returns the ISO 639-1 code of a language tag of BCP 47 (RFC 5646, September 2009), in lower case. The tag can
/// contain `_` instead of `-`, as locale names do.
///
/// The function `language` refuses a language without a two-letter code: the code of a related language would be a
/// guess.
pub(in crate::mapping) fn language(tag: &str) -> Conversion {
    let tag = tag.trim();
    let mut subtags = tag.split(['-', '_']);
    let primary = subtags.next().unwrap_or_default().to_ascii_lowercase();
    let is_tag = tag.len() <= TAG_CHARS_MAX
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    if !is_tag || !(2..=3).contains(&primary.len()) {
        return Err(ValueError::new(
            "The text is not a language tag, such as \"en\" or \"en-US\". The name of a language is not a language tag.",
        ));
    }
    let code = RENAMED
        .iter()
        .find(|(old, _)| *old == primary)
        .map_or(primary.as_str(), |(_, new)| new);
    if code.len() == 2 && is_known(code) {
        return Ok(Value::from(code));
    }
    Err(ValueError::new(
        "The language tag does not begin with a two-letter code of ISO 639-1, such as \"en\".",
    ))
}

fn is_known(code: &str) -> bool {
    let (codes, last) = CODES.as_bytes().as_chunks::<3>();
    codes.iter().any(|known| known.starts_with(code.as_bytes())) || last == code.as_bytes()
}

/// Withdrawn language codes that some software still writes, each with the code that replaces it in ISO 639-1.
const RENAMED: [(&str, &str); 3] = [("in", "id"), ("iw", "he"), ("ji", "yi")];

/// All language codes of ISO 639-1 (2002), each with one space after it except the last.
const CODES: &str = "\
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo \
    es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka \
    kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng \
    nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su \
    sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_list_is_known() {
        let codes: Vec<_> = CODES.split_ascii_whitespace().collect();
        assert_eq!((codes.first(), codes.last()), (Some(&"aa"), Some(&"zu")));
        for code in codes {
            assert_eq!(language(code).ok(), Some(Value::from(code)));
        }
    }

    #[test]
    fn the_reason_tells_a_name_from_a_tag() {
        for (text, reason) in [
            ("English", "such as \"en\" or \"en-US\""),
            ("en US", "not a language tag"),
            ("en-", "not a language tag"),
            ("x", "not a language tag"),
            ("i-klingon", "not a language tag"),
            ("eng", "two-letter code"),
            ("xx", "two-letter code"),
            ("fil-PH", "two-letter code"),
        ] {
            let detail = language(text).unwrap_err().detail;
            assert!(detail.contains(reason), "{text}: {detail}");
        }
    }
}
