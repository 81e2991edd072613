//! The tokens that come back from clients: receipts and cookies.

use uuid::Uuid;

use crate::checkpoint::{Offset, Partition, Position};
use crate::clock::Timestamp;
use crate::model::{PollId, Receipt, VoteId, VoterKey};
use crate::secret::Secret;

/// Bytes of which a receipt can be made: poll, voter, vote id, acceptance time, partition, offset.
const RECEIPT_BYTES: usize = 16 + 16 + 16 + 8 + 4 + 8;

/// A token that opens is the one that is made with this secret, or was before receipts were encrypted, to the letter. A receipt that
/// is made of the same bytes opens under its own secret only, and not at all once a bit of it has changed.
///
/// # Panics
///
/// When that does not hold.
pub fn token(bytes: &[u8]) {
    let (ours, theirs) = (secret(1), secret(2));
    if let Ok(text) = str::from_utf8(bytes) {
        if let Some(receipt) = ours.open_receipt(text) {
            let made = [ours.seal_receipt(&receipt), ours.seal_receipt_as_before(&receipt)];
            assert!(made.iter().any(|made| made.as_str() == text), "a second token for one receipt");
            assert_eq!(theirs.open_receipt(text), None);
        }
        if let Some(voter) = ours.open_cookie(text) {
            assert_eq!(ours.seal_cookie(voter), text, "a second cookie for one browser");
            assert_eq!(theirs.open_cookie(text), None);
        }
    }
    let Some((receipt, rest)) = receipt(bytes) else { return };
    for sealed in [ours.seal_receipt(&receipt), ours.seal_receipt_as_before(&receipt)] {
        let sealed = sealed.as_str();
        assert_eq!(ours.open_receipt(sealed), Some(receipt));
        assert_eq!(theirs.open_receipt(sealed), None, "another server's");
        assert_eq!(ours.open_cookie(sealed), None, "it is made for another use");
        let Some(forged) = forged(sealed, rest) else { continue };
        assert_eq!(ours.open_receipt(&forged), None, "{forged} for {sealed}");
    }
}

fn secret(byte: u8) -> Secret {
    Secret::new(&[byte; 32]).expect("it is long enough")
}

/// A receipt made of the first bytes, and the bytes behind them.
fn receipt(bytes: &[u8]) -> Option<(Receipt, &[u8])> {
    let (bytes, rest) = bytes.split_first_chunk::<RECEIPT_BYTES>()?;
    let millis = u64::from_be_bytes(bytes[..8].try_into().ok()?) >> 16;
    let random = bytes[6..16].try_into().ok()?;
    let micros = i64::from_be_bytes(bytes[48..56].try_into().ok()?);
    let partition = Partition(u32::from_be_bytes(bytes[56..60].try_into().ok()?));
    let offset = Offset::new(i64::from_be_bytes(bytes[60..].try_into().ok()?));
    let receipt = Receipt {
        poll: PollId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())?,
        voter: VoterKey(bytes[16..32].try_into().ok()?),
        vote_id: VoteId(Uuid::from_bytes(bytes[32..48].try_into().ok()?)),
        accepted_at: Timestamp::from_micros(micros)?,
        position: offset.map(|offset| Position { partition, offset }),
    };
    Some((receipt, rest))
}

/// The token with one bit of one character changed, or cut, or with something behind it, as the bytes say; `None` without bytes.
fn forged(token: &str, bytes: &[u8]) -> Option<String> {
    let (&place, change) = bytes.split_first()?;
    let place = usize::from(place) % token.len();
    let mut forged = token.as_bytes().to_vec();
    match change.split_first()? {
        (0..8, _) => forged.truncate(place),
        (8..16, added) => forged.extend_from_slice(if added.is_empty() { b"=" } else { added }),
        (bit, _) => forged[place] ^= 1 << (bit % 7),
    }
    String::from_utf8(forged).ok()
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn a_token_was_made_here_or_is_refused() {
        replay("token", super::token);
    }
}
