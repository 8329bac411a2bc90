//! The key of a name of a country or state. Different spellings of one name have the same key.

/// Returns the key of a name: words of lower-case letters and digits, separated by one space.
///
/// The key has no accents, no punctuation and no word "the", and has "saint" for "St." and "and" for "&". A code of one
/// word stays as it is.
pub(super) fn key(name: &str) -> String {
    if name.len() == "US".len() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return name.to_ascii_lowercase();
    }
    let mut plain = String::with_capacity(name.len());
    for character in name.chars().flat_map(char::to_lowercase) {
        match character {
            '&' => plain.push_str(" and "),
            '.' | '\'' | '’' | '‘' | '`' | '´' | 'ʼ' => {}
            // The accents of letters that are written as two characters.
            '\u{300}'..='\u{36f}' => {}
            other if other.is_alphanumeric() => plain.push(without_accent(other)),
            _between => plain.push(' '),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let is_code = words.len() == 1;
    let mut key = String::with_capacity(plain.len());
    for word in words.into_iter().filter(|word| *word != "the") {
        if !key.is_empty() {
            key.push(' ');
        }
        key.push_str(if word == "st" && !is_code {
            "saint"
        } else {
            word
        });
    }
    key
}

/// Returns the basic letter of a lower-case letter with an accent, for the letters in the names of ISO 3166-1 and in
/// usual spellings of them.
const fn without_accent(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' => 'n',
        'ò'..='ö' | 'ø' | 'ō' => 'o',
        'ù'..='ü' | 'ū' => 'u',
        'ý' | 'ÿ' => 'y',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (name, expected) in [
            ("Korea (the Republic of)", "korea republic of"),
            ("  U.S.  Virgin\u{a0}Islands ", "us virgin islands"),
            ("Côte d’Ivoire", "cote divoire"),
            ("St. Lucia", "saint lucia"),
            ("ST", "st"),
            (
                "Armed Forces Europe, the Middle East, & Canada",
                "armed forces europe middle east and canada",
            ),
            ("The", ""),
            ("", ""),
        ] {
            assert_eq!(key(name), expected, "{name}");
        }
    }
}
