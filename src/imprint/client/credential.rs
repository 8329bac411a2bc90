//! The keys for Imprint's API, and the headers that contain the keys.

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use awc::http::header::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::key_choice::{KeyAge, KeyChoice, KeyVerdict};

/// The authorization scheme with which the client sends the API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScheme {
    /// The header `Authorization: Bearer <key>`.
    Bearer,
    /// The header `Authorization: Basic`, with the API key as user name and an empty password.
    Basic,
}

/// The keys for Imprint's API, and the authorization scheme. The bridge can replace the keys while requests are in
/// flight.
pub struct Credential {
    scheme: KeyScheme,
    /// The keys in use. The client holds the lock only while it copies the headers or changes the choice, never across
    /// an await.
    keys: RwLock<KeysInUse>,
    chosen: Notify,
}

/// The secrets for Imprint's API.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys<'a> {
    pub newer: &'a SecretString,
    /// The key that a rotation replaces. The client uses it until the newer key works.
    pub older: Option<&'a SecretString>,
    pub merchant: Option<&'a SecretString>,
}

/// The headers of both keys, and the choice between them.
#[derive(Clone, PartialEq, Eq)]
struct KeysInUse {
    newer: KeyHeaders,
    older: Option<KeyHeaders>,
    choice: KeyChoice,
}

/// The headers that contain the keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyHeaders {
    pub(super) authorization: HeaderValue,
    pub(super) merchant_key: Option<HeaderValue>,
}

/// The error of an API key with a character that an HTTP header cannot contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key consists of visible ASCII characters without spaces")]
pub struct KeyError;

impl Credential {
    /// Creates the authentication headers from the secrets.
    ///
    /// # Errors
    /// Returns [`KeyError`] if an HTTP header cannot contain one of the secrets.
    pub fn new(scheme: KeyScheme, keys: ApiKeys<'_>) -> Result<Self, KeyError> {
        Ok(Self {
            scheme,
            keys: RwLock::new(KeysInUse::new(scheme, keys)?),
            chosen: Notify::new(),
        })
    }

    /// Uses the given keys for every later request, and returns whether a given key differs from the current key.
    ///
    /// # Errors
    /// Returns [`KeyError`] if an HTTP header cannot contain a given key. After this error, the current keys stay in
    /// use.
    pub fn replace(&self, keys: ApiKeys<'_>) -> Result<KeyChange, KeyError> {
        let fresh = KeysInUse::new(self.scheme, keys)?;
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if current.newer == fresh.newer && current.older == fresh.older {
            return Ok(KeyChange::Unchanged);
        }
        *current = fresh;
        Ok(KeyChange::Changed)
    }

    /// Returns a short hash of the API key in use and the merchant key. The hash shows whether two processes used the
    /// same keys, and reveals neither key.
    pub fn fingerprint(&self) -> [u8; 8] {
        let KeyHeaders {
            authorization,
            merchant_key,
        } = self.headers();
        let mut hash = Sha256::new();
        hash.update(authorization.as_bytes());
        hash.update([0]);
        hash.update(merchant_key.as_ref().map_or(&[][..], HeaderValue::as_bytes));
        let mut short = [0; 8];
        for (byte, of_hash) in short.iter_mut().zip(hash.finalize()) {
            *byte = of_hash;
        }
        short
    }

    /// Returns whether the older key is in use, because Imprint refused the newer key.
    pub fn uses_older(&self) -> bool {
        self.present().choice == KeyChoice::Older
    }

    /// Uses the newer key again if the older key is in use.
    pub fn retry_newer(&self) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.choice = keys.choice.retried();
    }

    /// Resolves when the client has chosen the other key.
    pub async fn chosen(&self) {
        self.chosen.notified().await;
    }

    pub(super) fn headers(&self) -> KeyHeaders {
        let keys = self.present();
        match (keys.choice.age(), &keys.older) {
            (KeyAge::Older, Some(older)) => older.clone(),
            (KeyAge::Newer | KeyAge::Older, _) => keys.newer.clone(),
        }
    }

    /// Records what the answer to a request with these headers shows about the key.
    pub(super) fn answered(&self, sent: &KeyHeaders, verdict: KeyVerdict) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let age = if *sent == keys.newer {
            KeyAge::Newer
        } else if Some(sent) == keys.older.as_ref() {
            KeyAge::Older
        } else {
            // The key has been replaced since the request.
            return;
        };
        let before = keys.choice;
        keys.choice = before.after(age, verdict);
        if before.age() != keys.choice.age() {
            self.chosen.notify_one();
        }
    }

    fn present(&self) -> RwLockReadGuard<'_, KeysInUse> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeysInUse {
    fn new(scheme: KeyScheme, keys: ApiKeys<'_>) -> Result<Self, KeyError> {
        let headers = |key| KeyHeaders::new(scheme, key, keys.merchant);
        let newer = headers(keys.newer)?;
        let older = keys.older.map(headers).transpose()?;
        let older = older.filter(|older| *older != newer);
        let choice = match older {
            Some(_) => KeyChoice::Trial,
            None => KeyChoice::Newer,
        };
        Ok(Self {
            newer,
            older,
            choice,
        })
    }
}

impl KeyHeaders {
    fn new(
        scheme: KeyScheme,
        key: &SecretString,
        merchant_key: Option<&SecretString>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            authorization: authorization(scheme, key)?,
            merchant_key: merchant_key
                .map(|key| sensitive(key.expose_secret()))
                .transpose()?,
        })
    }
}

/// The effect of replacing the keys with [`Credential::replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The given keys were already in use.
    Unchanged,
    /// A given key replaced another key.
    Changed,
}

/// Prints only the authorization scheme, because the API key is a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

fn authorization(scheme: KeyScheme, key: &SecretString) -> Result<HeaderValue, KeyError> {
    let key = key.expose_secret();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(KeyError);
    }
    match scheme {
        KeyScheme::Bearer => sensitive(&format!("Bearer {key}")),
        KeyScheme::Basic => sensitive(&format!("Basic {}", BASE64.encode(format!("{key}:")))),
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, KeyError> {
    let mut value = HeaderValue::from_str(text).map_err(|_not_a_header| KeyError)?;
    value.set_sensitive(true);
    Ok(value)
}
