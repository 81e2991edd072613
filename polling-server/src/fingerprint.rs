//! Numbers that tell bytes apart, the same on every server, where nothing depends on their strength.

/// FNV-1a of 64 bits.
pub(crate) fn fingerprint<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the test vectors at <http://www.isthe.com/chongo/tech/comp/fnv/>.
    #[test]
    fn it_is_the_hash_that_it_is_said_to_be() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
