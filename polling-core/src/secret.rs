//! The server's secret and what is made with it: voter keys, receipts, cookies, owner tokens.
//!
//! Each use has a key of its own, derived from the secret by HMAC-SHA-256 over a tag that names the use, so that a value
//! made for one purpose is worth nothing for another.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use uuid::Uuid;

use crate::model::{OwnerKey, PollId, Receipt, VoterIdentity, VoterKey};
use crate::receipt_token::ReceiptSeal;
pub use crate::receipt_token::ReceiptToken;

/// Bytes of a secret, at least: as many as the digest has, so that guessing the key is no easier than guessing a code.
pub const SECRET_BYTES_MIN: usize = 32;
/// Bytes of an authentication code in a token: a forger has one chance in 2^128.
pub(crate) const CODE_BYTES: usize = 16;
/// What every owner token begins with, so that a reader of a leaked log knows what it is looking at.
const OWNER_TOKEN_PREFIX: &str = "owner_";

pub(crate) type Code = Hmac<Sha256>;

/// The secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a secret must have at least {SECRET_BYTES_MIN} bytes")]
pub struct SecretTooShort;

/// Makes and checks every token of the system. Never prints itself.
#[derive(Clone)]
pub struct Secret {
    voter: Code,
    receipt: ReceiptSeal,
    cookie: Code,
    check: Code,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

impl Secret {
    /// Derives the keys from a secret of at least [`SECRET_BYTES_MIN`] bytes. Every server of a cluster needs the same one.
    ///
    /// # Errors
    ///
    /// When it is shorter.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort);
        }
        Ok(Self {
            voter: derived(bytes, b"polling voter key v1"),
            receipt: ReceiptSeal::new(derived_key(bytes, b"polling receipt v2"), derived(bytes, b"polling receipt v1")),
            cookie: derived(bytes, b"polling voter cookie v1"),
            check: derived(bytes, b"polling secret check v1"),
        })
    }

    /// A value that says whether two secrets are the same, and nothing else of them: what to keep beside data that was made with one.
    #[must_use]
    pub fn check_value(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.check.clone().finalize().into_bytes())
    }

    /// The pseudonym of a voter in a poll.
    #[must_use]
    pub fn voter_key(&self, poll: PollId, identity: VoterIdentity<'_>) -> VoterKey {
        let mut code = self.voter.clone();
        code.update(poll.as_uuid().as_bytes());
        // The tag keeps a declared name from being taken for somebody's cookie or token.
        match identity {
            VoterIdentity::Declared(name) => {
                code.update(b"declared:");
                code.update(name.as_bytes());
            }
            VoterIdentity::Token(subject) => {
                code.update(b"token:");
                code.update(subject.as_bytes());
            }
            VoterIdentity::Cookie(id) => {
                code.update(b"cookie:");
                code.update(id.as_bytes());
            }
        }
        VoterKey(truncated(code, b""))
    }

    /// The token for a receipt: opaque, safe in a URL, 115 characters. Whoever has it can read nothing in it and can ask what became
    /// of the vote. One receipt has one token.
    #[must_use]
    pub fn seal_receipt(&self, receipt: &Receipt) -> ReceiptToken {
        self.receipt.seal(receipt)
    }

    /// Reads a receipt's token. `None` for one that this secret did not make.
    #[must_use]
    pub fn open_receipt(&self, token: &str) -> Option<Receipt> {
        self.receipt.open(token)
    }

    /// A token as receipts had it before they were encrypted.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn seal_receipt_as_before(&self, receipt: &Receipt) -> ReceiptToken {
        self.receipt.seal_as_before(receipt)
    }

    /// The value of a cookie that names a browser.
    #[must_use]
    pub fn seal_cookie(&self, voter: Uuid) -> String {
        let mut bytes = [0_u8; 16 + CODE_BYTES];
        bytes[..16].copy_from_slice(voter.as_bytes());
        bytes[16..].copy_from_slice(&truncated(self.cookie.clone(), voter.as_bytes()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cookie's value. `None` for one that this secret did not make.
    #[must_use]
    pub fn open_cookie(&self, value: &str) -> Option<Uuid> {
        let mut bytes = [0_u8; 16 + CODE_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        let expected = truncated(self.cookie.clone(), &bytes[..16]);
        bool::from(expected.ct_eq(&bytes[16..])).then(|| Uuid::from_bytes(bytes[..16].try_into().unwrap_or_default()))
    }
}

/// The token that makes its holder the owner of a poll.
///
/// It holds 256 random bits, so its plain digest is safe to keep: there is nothing to guess.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerToken(String);

impl OwnerToken {
    /// Makes a new one from 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(format!("{OWNER_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether a bearer token is of this kind at all.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(OWNER_TOKEN_PREFIX)
    }

    /// The token itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a store keeps of it.
    #[must_use]
    pub fn key(&self) -> OwnerKey {
        Self::key_of(&self.0)
    }

    /// Whether `text` is the token behind `key`. Takes the same time whatever `text` is.
    #[must_use]
    pub fn matches(text: &str, key: &OwnerKey) -> bool {
        Self::key_of(text).0.ct_eq(&key.0).into()
    }

    fn key_of(text: &str) -> OwnerKey {
        OwnerKey(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OwnerToken(redacted)")
    }
}

fn derived(secret: &[u8], tag: &[u8]) -> Code {
    keyed(&derived_key(secret, tag))
}

fn derived_key(secret: &[u8], tag: &[u8]) -> [u8; 32] {
    keyed(secret).chain_update(tag).finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Code {
    Code::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The code of what `code` was given before, and of `bytes`.
pub(crate) fn truncated(code: Code, bytes: &[u8]) -> [u8; CODE_BYTES] {
    let full: [u8; 32] = code.chain_update(bytes).finalize().into_bytes().into();
    let mut short = [0; CODE_BYTES];
    short.copy_from_slice(&full[..CODE_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; 32]).expect("long enough")
    }

    #[test]
    fn a_cookie_opens_only_under_its_secret() {
        let voter = Uuid::from_u128(77);
        let value = secret(1).seal_cookie(voter);
        assert_eq!(secret(1).open_cookie(&value), Some(voter));
        assert_eq!(secret(2).open_cookie(&value), None);
        assert_eq!(secret(1).open_cookie(""), None);
    }

    #[test]
    fn voters_are_told_apart_by_poll_identity_and_kind() {
        let (first, second) = (PollId::new(Timestamp::MIN), PollId::new(Timestamp::MIN));
        let key = |poll, identity| secret(1).voter_key(poll, identity);
        let ann = key(first, VoterIdentity::Declared("ann"));
        assert_eq!(ann, key(first, VoterIdentity::Declared("ann")));
        assert_ne!(ann, key(second, VoterIdentity::Declared("ann")));
        assert_ne!(ann, key(first, VoterIdentity::Token("ann")));
        assert_ne!(ann, secret(2).voter_key(first, VoterIdentity::Declared("ann")));
    }

    #[test]
    fn an_owner_token_matches_only_its_own_key() {
        let (mine, yours) = (OwnerToken::from_random([1; 32]), OwnerToken::from_random([2; 32]));
        assert!(OwnerToken::matches(mine.reveal(), &mine.key()));
        assert!(!OwnerToken::matches(yours.reveal(), &mine.key()));
        assert_eq!(format!("{mine:?}"), "OwnerToken(redacted)");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(Secret::new(&[0; 31]).map(|_| ()), Err(SecretTooShort));
    }
}
