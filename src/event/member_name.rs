//! The words of the name of a member, and the names of members whose values must not leave the source.

/// The last words of the name of a credential.
const CREDENTIAL_WORDS: [&str; 15] = [
    "apikey",
    "authorization",
    "credential",
    "credentials",
    "hmac",
    "jwt",
    "otp",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "signature",
    "token",
];
/// The last two words of the name of a credential.
const CREDENTIAL_PAIRS: [&str; 10] = [
    "accesskey",
    "apikey",
    "authkey",
    "encryptionkey",
    "privatekey",
    "secretkey",
    "sharedkey",
    "signingkey",
    "webhookkey",
    "writekey",
];
/// The words that make a name the name of a number of a person or of a payment card.
const IDENTITY_WORDS: [&str; 6] = ["cvc", "cvc2", "cvv", "cvv2", "ssn", "ssn4"];
/// The last words of such a name, joined.
const IDENTITY_ENDINGS: [&str; 30] = [
    "bankaccount",
    "bankaccountnumber",
    "cardno",
    "cardnumber",
    "ccno",
    "ccnumber",
    "creditcard",
    "creditcardnumber",
    "debitcard",
    "debitcardnumber",
    "driverlicense",
    "driverlicensenumber",
    "driverslicense",
    "driverslicensenumber",
    "iban",
    "itin",
    "nationalid",
    "nationalidnumber",
    "nationalinsurancenumber",
    "pan",
    "passportno",
    "passportnumber",
    "routingnumber",
    "socialsecurity",
    "socialsecuritynumber",
    "taxid",
    "taxidentificationnumber",
    "taxidnumber",
    "taxpayerid",
    "tin",
];
/// The words of cards that pay nothing.
const OTHER_CARDS: [&str; 8] = [
    "bonus",
    "business",
    "club",
    "gift",
    "library",
    "loyalty",
    "member",
    "membership",
];

/// The kind of a value that a source file must not map, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SensitiveKind {
    /// A password, a token or another secret.
    Credential,
    /// The number of an identity document, of a bank account or of a payment card.
    Identity,
}

impl SensitiveKind {
    /// Returns the kind of the values of a member, or `None` if its name, such as `email`, is none of a sensitive value.
    pub fn of(name: &str) -> Option<Self> {
        let words = words(name);
        let is_word = |known: &[&str], word: &String| known.contains(&word.as_str());
        let is_pair = || {
            let last = words.windows(2).next_back().map(<[String]>::concat);
            last.is_some_and(|pair| CREDENTIAL_PAIRS.contains(&pair.as_str()))
        };
        if words
            .last()
            .is_some_and(|word| is_word(&CREDENTIAL_WORDS, word))
            || is_pair()
        {
            return Some(Self::Credential);
        }
        let is_ending = || {
            let endings = (0..words.len()).filter_map(|start| words.get(start..));
            let mut endings = endings.map(<[String]>::concat);
            let is_other = words.iter().any(|word| is_word(&OTHER_CARDS, word));
            !is_other && endings.any(|ending| IDENTITY_ENDINGS.contains(&ending.as_str()))
        };
        let is_identity = words.iter().any(|word| is_word(&IDENTITY_WORDS, word)) || is_ending();
        is_identity.then_some(Self::Identity)
    }
}

/// Returns the words of a member name in lower case: `Imprint_Customer_Id__c` has the words `imprint`, `customer`, `id`.
pub fn words(name: &str) -> Vec<String> {
    // Salesforce marks the names of custom fields, and Dynamics 365 those of custom columns.
    let name = name
        .strip_suffix("__c")
        .or_else(|| name.strip_suffix("__pc"))
        .unwrap_or(name);
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            is_open = false;
            continue;
        }
        let starts = !is_open || (c.is_uppercase() && was_lower);
        was_lower = c.is_lowercase() || c.is_numeric();
        is_open = true;
        let lower = c.to_lowercase();
        match words.last_mut() {
            Some(word) if !starts => word.extend(lower),
            Some(_) | None => words.push(lower.collect()),
        }
    }
    let is_publisher = |word: &String| {
        let code = word.strip_prefix("cr");
        let is_code =
            |code: &str| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        word == "hs" || code.is_some_and(is_code)
    };
    if words.len() > 1 && words.first().is_some_and(is_publisher) {
        words.remove(0);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N1046
    #[test]
    fn a_name_says_whether_its_value_is_sensitive() {
        for (names, expected) in [
            (
                "password access_token X-Api-Key clientSecret",
                Some(SensitiveKind::Credential),
            ),
            (
                "ssn customer_ssn ssn_last4 socialSecurityNumber tax_id TaxId__c card_number cardNumber creditCardNumber \
                 cc_number cvv card_cvc iban passport_number drivers_license",
                Some(SensitiveKind::Identity),
            ),
            (
                "email id loyalty_card_number membershipCardNo tax_rate account_number token_type password_changed_at \
                 company phone_number martin pantry card_type",
                None,
            ),
        ] {
            for name in names.split_whitespace() {
                assert_eq!(SensitiveKind::of(name), expected, "{name}");
            }
        }
    }
}
