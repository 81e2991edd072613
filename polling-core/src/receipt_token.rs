//! Receipts as tokens: what a client keeps, passes on, and puts into links.
//!
//! A token says nothing to whoever has it. A vote id in it could be used to vote again under it, and so to find out by trying what was
//! chosen, or to be given the cookie of the voter. So the whole is encrypted, by AES-SIV ([RFC 5297](https://www.rfc-editor.org/rfc/rfc5297)):
//! it is deterministic, so every server makes the same token of a receipt, and again when the vote is sent again, without a nonce that
//! they would have to agree on.

use std::fmt;

use aes_siv::siv::Aes128Siv;
use aes_siv::{KeyInit, Tag};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::checkpoint::{Offset, Partition, Position};
use crate::clock::Timestamp;
use crate::model::{PollId, Receipt, VoteId, VoterKey};
use crate::secret::{CODE_BYTES, Code, truncated};

/// First byte of every token that is made.
const LAYOUT: u8 = 2;
/// First byte of the tokens that were made before: layout, content in the clear, code. Still read, because people have them, and
/// because in a rolling upgrade some servers still make them.
const FORMER_LAYOUT: u8 = 1;
/// Poll, voter, vote id, acceptance time, whether there is a position, partition, offset.
const CONTENT_BYTES: usize = 16 + 16 + 16 + 8 + 1 + 4 + 8;
/// Either layout has as many: layout, code, content in whatever order.
const TOKEN_BYTES: usize = 1 + CODE_BYTES + CONTENT_BYTES;

/// Characters of a token: four for three bytes, without padding.
const TOKEN_CHARS: usize = (TOKEN_BYTES * 4).div_ceil(3);

/// A receipt as a client keeps it: 115 characters that are safe in a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReceiptToken([u8; TOKEN_CHARS]);

impl ReceiptToken {
    fn encoding(bytes: &[u8; TOKEN_BYTES]) -> Self {
        let mut characters = [0; TOKEN_CHARS];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut characters).expect("the length of a token is fixed");
        Self(characters)
    }

    /// The token.
    ///
    /// # Panics
    ///
    /// Never: base64 is ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("base64 is ASCII")
    }

    /// The token, whose characters are all ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ReceiptToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for ReceiptToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ReceiptToken").field(&self.as_str()).finish()
    }
}

/// Turns receipts into tokens and back.
#[derive(Clone)]
pub(crate) struct ReceiptSeal {
    /// Half of it authenticates, and half of it encrypts.
    key: [u8; 32],
    former: Code,
}

impl ReceiptSeal {
    pub(crate) const fn new(key: [u8; 32], former: Code) -> Self {
        Self { key, former }
    }

    pub(crate) fn seal(&self, receipt: &Receipt) -> ReceiptToken {
        let mut bytes = [0_u8; TOKEN_BYTES];
        bytes[0] = LAYOUT;
        bytes[1 + CODE_BYTES..].copy_from_slice(&content_of(receipt));
        let code = Aes128Siv::new(&self.key.into())
            .encrypt_inout_detached([[LAYOUT]], (&mut bytes[1 + CODE_BYTES..]).into())
            .expect("one header, and more than a block to encrypt");
        bytes[1..=CODE_BYTES].copy_from_slice(&code);
        ReceiptToken::encoding(&bytes)
    }

    pub(crate) fn open(&self, token: &str) -> Option<Receipt> {
        let mut bytes = [0_u8; TOKEN_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        match bytes[0] {
            LAYOUT => {
                let code = Tag::try_from(&bytes[1..=CODE_BYTES]).ok()?;
                let content = &mut bytes[1 + CODE_BYTES..];
                Aes128Siv::new(&self.key.into()).decrypt_inout_detached([[LAYOUT]], (&mut *content).into(), &code).ok()?;
                receipt_of(content)
            }
            FORMER_LAYOUT => {
                let (body, code) = bytes.split_at(1 + CONTENT_BYTES);
                let expected = truncated(self.former.clone(), body);
                bool::from(expected.ct_eq(code)).then(|| receipt_of(&body[1..])).flatten()
            }
            _ => None,
        }
    }

    /// A token as it was made before, for those who check that it is still read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn seal_as_before(&self, receipt: &Receipt) -> ReceiptToken {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = FORMER_LAYOUT;
        bytes[1..=CONTENT_BYTES].copy_from_slice(&content_of(receipt));
        let code = truncated(self.former.clone(), &bytes[..=CONTENT_BYTES]);
        bytes[1 + CONTENT_BYTES..].copy_from_slice(&code);
        ReceiptToken::encoding(&bytes)
    }
}

fn content_of(receipt: &Receipt) -> [u8; CONTENT_BYTES] {
    let mut content = [0; CONTENT_BYTES];
    content[..16].copy_from_slice(receipt.poll.as_uuid().as_bytes());
    content[16..32].copy_from_slice(&receipt.voter.0);
    content[32..48].copy_from_slice(receipt.vote_id.0.as_bytes());
    content[48..56].copy_from_slice(&receipt.accepted_at.as_micros().to_be_bytes());
    if let Some(position) = receipt.position {
        content[56] = 1;
        content[57..61].copy_from_slice(&position.partition.0.to_be_bytes());
        content[61..].copy_from_slice(&position.offset.get().to_be_bytes());
    }
    content
}

fn receipt_of(content: &[u8]) -> Option<Receipt> {
    let position = if content[56] == 1 {
        let partition = Partition(u32::from_be_bytes(content[57..61].try_into().ok()?));
        let offset = Offset::new(i64::from_be_bytes(content[61..].try_into().ok()?))?;
        Some(Position { partition, offset })
    } else {
        None
    };
    Some(Receipt {
        poll: PollId::from_uuid(Uuid::from_bytes(content[..16].try_into().ok()?))?,
        voter: VoterKey(content[16..32].try_into().ok()?),
        vote_id: VoteId(Uuid::from_bytes(content[32..48].try_into().ok()?)),
        accepted_at: Timestamp::from_micros(i64::from_be_bytes(content[48..56].try_into().ok()?))?,
        position,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// The token of each layout that was ever shipped, of one receipt with a position, and under one secret.
    const GOLDEN: &str =
        "Aop0PzsqVICBlpaCdhrl4OOgIf5bELLxs-T1jhSGlnB-sNKBLmIwhqv1dbIwqQJakmSDnb5N3uH196OQRTkmgG96aMsB6tz_S8nPnR9CktDg5x5_vSI";
    const GOLDEN_BEFORE: &str =
        "AQGbdtqoAHAAgAAAAAAAACoDAwMDAwMDAwMDAwMDAwMDEREREREREREREREREREREQAGZRcommJAAQAAAAsAAAAAAAAwOZcNU0cl0L1e9TVZPVl3AX8";

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; 32]).expect("long enough")
    }

    fn receipt(position: Option<Position>) -> Receipt {
        Receipt {
            poll: PollId::parse("019b76da-a800-7000-8000-00000000002a").expect("a poll"),
            voter: VoterKey([3; 16]),
            vote_id: VoteId(Uuid::from_bytes([0x11; 16])),
            accepted_at: Timestamp::from_micros(1_800_000_000_123_456).expect("in range"),
            position,
        }
    }

    fn position() -> Position {
        Position { partition: Partition(11), offset: Offset::new(12_345).expect("not negative") }
    }

    #[test]
    fn a_receipt_opens_to_what_was_sealed() {
        for receipt in [receipt(None), receipt(Some(position()))] {
            let token = secret(1).seal_receipt(&receipt);
            assert_eq!(token.as_str().len(), 115);
            assert_eq!(secret(1).open_receipt(token.as_str()), Some(receipt));
            assert_eq!(secret(2).open_receipt(token.as_str()), None, "another server's");
            assert_eq!(secret(1).seal_receipt(&receipt), token, "by every server, and each time");
        }
    }

    #[test]
    fn a_receipt_with_any_bit_changed_does_not_open() {
        let opens = |bytes: &[u8]| secret(1).open_receipt(&URL_SAFE_NO_PAD.encode(bytes)).is_some();
        for token in [secret(1).seal_receipt(&receipt(None)), secret(1).seal_receipt_as_before(&receipt(None))] {
            let bytes = URL_SAFE_NO_PAD.decode(token.as_bytes()).expect("it is encoded");
            assert!(opens(&bytes));
            for bit in 0..bytes.len() * 8 {
                let mut forged = bytes.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(&forged), "changed at {bit}");
            }
            assert!(!opens(&bytes[..bytes.len() - 1]));
            assert!(!opens(&[&*bytes, &[0]].concat()));
        }
    }

    #[test]
    fn a_token_shows_nothing_of_the_vote_and_of_the_voter() {
        let receipt = receipt(Some(position()));
        let bytes = URL_SAFE_NO_PAD.decode(secret(1).seal_receipt(&receipt).as_bytes()).expect("it is encoded");
        let shows = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
        assert!(!shows(&[0x11; 4]), "of the vote id");
        assert!(!shows(&[3; 4]), "of the voter");
        assert!(!shows(&receipt.poll.as_uuid().as_bytes()[..4]));
        let mut later = receipt;
        later.position = None;
        let other = URL_SAFE_NO_PAD.decode(secret(1).seal_receipt(&later).as_bytes()).expect("it is encoded");
        let equal = bytes.iter().zip(&other).filter(|(left, right)| left == right).count();
        assert!(equal < 10, "{equal} bytes of two receipts of one vote are the same");
    }

    #[test]
    fn tokens_that_people_have_stay_good() {
        let receipt = receipt(Some(position()));
        assert_eq!(secret(1).seal_receipt(&receipt).as_str(), GOLDEN);
        assert_eq!(secret(1).seal_receipt_as_before(&receipt).as_str(), GOLDEN_BEFORE);
        for token in [GOLDEN, GOLDEN_BEFORE] {
            assert_eq!(secret(1).open_receipt(token), Some(receipt));
            assert_eq!(secret(2).open_receipt(token), None);
        }
    }
}
