//! Finds, in what clients say, the requests that matter: a Produce of Kafka, a COMMIT of PostgreSQL.

use std::collections::HashSet;

use super::way::Protocol;

/// As much of a message is looked at: the names and the statement are at its beginning.
const KEPT_BYTES_MAX: usize = 256;
/// The length of a message, which counts itself in PostgreSQL and not in Kafka.
const LENGTH_BYTES: usize = 4;

/// What a client says, message by message, however it is cut into pieces.
pub(super) struct Messages {
    protocol: Protocol,
    header: Vec<u8>,
    body: Vec<u8>,
    /// Bytes that are missing from the message; `None` while its header is.
    missing: Option<usize>,
    /// The first messages to PostgreSQL have no type.
    is_starting: bool,
    /// Prepared statements that commit.
    commits: HashSet<Vec<u8>>,
}

impl Messages {
    pub(super) fn new(protocol: Protocol) -> Self {
        let is_starting = protocol == Protocol::Postgres;
        Self { protocol, header: Vec::new(), body: Vec::new(), missing: None, is_starting, commits: HashSet::new() }
    }

    /// Takes the next piece; answers whether it completes a request that matters.
    pub(super) fn take(&mut self, mut piece: &[u8]) -> bool {
        let mut found = false;
        if self.protocol == Protocol::Other {
            return found;
        }
        loop {
            if let Some(missing) = self.missing {
                let (now, rest) = piece.split_at(missing.min(piece.len()));
                let kept = now.len().min(KEPT_BYTES_MAX - self.body.len());
                self.body.extend_from_slice(&now[..kept]);
                piece = rest;
                self.missing = Some(missing - now.len());
                if missing > now.len() {
                    return found;
                }
                found |= self.matters();
                self.header.clear();
                self.body.clear();
                self.missing = None;
            }
            let [first, rest @ ..] = piece else { return found };
            self.header.push(*first);
            piece = rest;
            let kind_bytes = usize::from(self.protocol == Protocol::Postgres && !self.is_starting);
            if let Some(length) = self.header.get(kind_bytes..).and_then(|length| <[u8; LENGTH_BYTES]>::try_from(length).ok()) {
                let counted = if self.protocol == Protocol::Postgres { LENGTH_BYTES } else { 0 };
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.missing = Some(length.saturating_sub(counted));
            }
        }
    }

    /// Whether the message that is complete now matters.
    fn matters(&mut self) -> bool {
        match self.protocol {
            // Produce is the request with the number 0.
            Protocol::Kafka => self.body.starts_with(&[0, 0]),
            Protocol::Other => false,
            Protocol::Postgres if self.is_starting => {
                // A request for TLS comes before the message that has the version, 3.
                self.is_starting = !self.body.starts_with(&[0, 3]);
                false
            }
            Protocol::Postgres => {
                let mut texts = self.body.split(|byte| *byte == 0);
                let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                match self.header.first() {
                    Some(b'Q') => first.eq_ignore_ascii_case(b"commit"),
                    // The name of a statement and its text: noted, and not run.
                    Some(b'P') => {
                        if second.eq_ignore_ascii_case(b"commit") {
                            self.commits.insert(first.to_vec());
                        } else {
                            self.commits.remove(first);
                        }
                        false
                    }
                    // A portal and the name of its statement.
                    Some(b'B') => self.commits.contains(second),
                    _ => false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + LENGTH_BYTES).expect("short").to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn kafka(number: u8, bytes: usize) -> Vec<u8> {
        let length = u32::try_from(bytes + 2).expect("short").to_be_bytes();
        [&length[..], &[0, number], &vec![7; bytes]].concat()
    }

    /// How often a request that matters was found, when all is taken in pieces of so many bytes.
    fn found(protocol: Protocol, said: &[u8], piece_bytes: usize) -> usize {
        let mut messages = Messages::new(protocol);
        said.chunks(piece_bytes).filter(|piece| messages.take(piece)).count()
    }

    #[test]
    fn a_produce_request_is_found_however_it_is_cut() {
        let said = [kafka(3, 10), kafka(0, 1000), kafka(1, 0), kafka(0, 5)].concat();
        for piece_bytes in [1, 2, 3, 7] {
            assert_eq!(found(Protocol::Kafka, &said, piece_bytes), 2, "{piece_bytes}");
        }
        assert_eq!(found(Protocol::Kafka, &said, said.len()), 1, "both are in one piece");
    }

    #[test]
    fn a_commit_is_found_when_it_is_said_and_when_it_was_prepared() {
        let tls = [0, 0, 0, 8, 4, 210, 22, 47];
        let start = [0, 0, 0, 9, 0, 3, 0, 0, 0];
        let said = [
            &tls[..],
            &start,
            &postgres(b'P', b"s1\0BEGIN\0\0\0"),
            &postgres(b'P', b"s2\0COMMIT\0\0\0"),
            &postgres(b'B', b"\0s1\0\0\0"),
            &postgres(b'B', b"\0s2\0\0\0"),
            &postgres(b'Q', b"SELECT 'COMMIT'\0"),
            &postgres(b'Q', b"COMMIT\0"),
        ]
        .concat();
        for piece_bytes in [1, 5, 11] {
            assert_eq!(found(Protocol::Postgres, &said, piece_bytes), 2, "{piece_bytes}");
        }
    }
}
