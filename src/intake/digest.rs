//! The stored form of an event, and the digest of the event's content. Intake serialises the event once, and uses the
//! bytes for the stored form and for the digest.

use std::ops::Range;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::Value;
use sha2::Sha256;

use crate::event::RequestHeaders;
use crate::outbox::Digest;

/// The members of an event that are the content of the event. Trace headers and the order of keys are not content.
const CONTENT: [&str; 3] = ["type", "subject", "data"];
/// The member of a stored event that contains the request headers. The name of a CloudEvents attribute has no
/// underscore.
const HEADERS: &str = "request_headers";
/// The initial capacity of the buffer for a serialised event.
const EVENT_BYTES_USUAL: usize = 1024;
/// The block size of SHA-256. A shorter key is padded with zeros, as HMAC requires.
const BLOCK_BYTES: usize = 64;

/// An event in the form that the store keeps.
pub(super) struct StoredEvent {
    pub(super) bytes: Vec<u8>,
    /// The ranges of the [`CONTENT`] members in `bytes`. If the event does not have a member, the range of the member
    /// is empty.
    content: [Range<usize>; CONTENT.len()],
}

impl StoredEvent {
    /// Serialises an event envelope, and the request headers that the mapping of the event reads. The envelope is a JSON
    /// object, or any JSON value if the event is invalid.
    pub(super) fn new(envelope: &Value, headers: Option<&Value>) -> Self {
        let mut stored = Self {
            bytes: Vec::with_capacity(EVENT_BYTES_USUAL),
            content: [const { 0..0 }; CONTENT.len()],
        };
        let Some(members) = envelope.as_object() else {
            stored.write(envelope);
            return stored;
        };
        let members = members.iter().map(|(name, value)| (name.as_str(), value));
        // A member of the event with the name of the headers would otherwise count as the headers.
        let members = members.filter(|(name, _)| *name != HEADERS);
        let headers = headers.map(|headers| (HEADERS, headers));
        for (index, (name, value)) in members.chain(headers).enumerate() {
            stored.bytes.push(if index == 0 { b'{' } else { b',' });
            stored.write(name);
            stored.bytes.push(b':');
            let start = stored.bytes.len();
            stored.write(value);
            let range = start..stored.bytes.len();
            let content = CONTENT.iter().zip(&mut stored.content);
            content
                .filter(|(member, _)| **member == name)
                .for_each(|(_, slot)| *slot = range.clone());
        }
        stored.bytes.push(b'}');
        stored
    }

    /// Removes a member of an event that has the name of the request headers. Otherwise a mapping could read the member at
    /// the arrival of the event, and the bridge would take it for the headers when it reads the stored event.
    pub(super) fn remove_headers(envelope: &mut Value) {
        if let Some(members) = envelope.as_object_mut() {
            members.remove(HEADERS);
        }
    }

    /// Parses the stored form of an event. The current mapping need not read the same request headers as the mapping that
    /// stored the event.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Value, RequestHeaders)> {
        let mut envelope: Value = serde_json::from_slice(bytes).ok()?;
        let members = envelope.as_object_mut();
        let headers = members.and_then(|members| members.remove(HEADERS));
        let headers = headers.as_ref().map(RequestHeaders::of_json);
        Some((envelope, headers.unwrap_or_default()))
    }

    /// Computes the digest of the event's content with the key of the store.
    ///
    /// The digest shows whether an event with a known id is a repeated event or a different event.
    pub(super) fn digest(&self, key: &[u8; 32]) -> Digest {
        let [event_type, subject, data] = self.content.clone().map(|range| self.member(range));
        let parts = [b"[", event_type, b",", subject, b",", data, b"]"];
        Digest(of_parts(key, parts))
    }

    /// Computes the digest of the whole event, for an invalid event whose content the bridge cannot tell from its other
    /// members.
    pub(super) fn digest_of_all(&self, key: &[u8; 32]) -> Digest {
        Digest(of_parts(key, [self.bytes.as_slice()]))
    }

    fn write<T: Serialize + ?Sized>(&mut self, value: &T) {
        // JSON values and texts always serialise to memory without an error.
        let _written = serde_json::to_writer(&mut self.bytes, value);
    }

    /// Returns the serialised bytes of an event member. Returns `null` if the event does not have the member.
    fn member(&self, range: Range<usize>) -> &[u8] {
        self.bytes
            .get(range)
            .filter(|member| !member.is_empty())
            .unwrap_or(b"null")
    }
}

/// Computes the keyed digest of these parts, one after the other.
pub(super) fn of_parts<'a>(key: &[u8; 32], parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    let mut digest = [0; 16];
    for (slot, byte) in digest.iter_mut().zip(mac.finalize().into_bytes()) {
        *slot = byte;
    }
    digest
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; BLOCK_BYTES];
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    Hmac::<Sha256>::new(&block.into())
}
