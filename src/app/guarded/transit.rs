//! A buffer between the socket and the HTTP server.

/// Bytes that wait until their receiver takes them. An empty buffer allocates no memory.
#[derive(Default)]
pub(super) struct BytesInTransit {
    bytes: Vec<u8>,
    taken: usize,
}

impl BytesInTransit {
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) {
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.bytes
            .get(self.taken..)
            .filter(|bytes| !bytes.is_empty())
    }

    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= self.bytes.len() {
            *self = Self::default();
        }
    }
}
