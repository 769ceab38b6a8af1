//! By what a receiver knows that a message is ours and young: an HMAC over its moment and its body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header that it stands in.
pub(super) const HEADER: &str = "x-unknot-signature";

/// `t=SECONDS,v1=HEX`: the moment in seconds since 1970, and HMAC-SHA256 over it, a full stop and the body.
pub(super) fn signature(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    let moment = seconds.to_string();
    let digest = hmac_sha256(secret, &[moment.as_bytes(), b".", body]);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={moment},v1={hex}")
}

fn hmac_sha256(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(secret);
    let Ok(mut mac) = mac else { unreachable!("a key of any length will do") };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Cases 1, 2, 3, 6 and 7 of RFC 4231.
    #[test]
    fn it_is_the_hmac_of_the_standard() {
        let long_key = [0xaa; 131];
        let larger: &[u8] = b"This is a test using a larger than block-size key and a larger than block-size data. \
                              The key needs to be hashed before being used by the HMAC algorithm.";
        for (key, data, expected) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &long_key,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (&long_key, larger, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ] {
            assert_eq!(hex(hmac_sha256(key, &[data])), expected);
        }
    }

    #[test]
    fn the_moment_is_signed_as_well() {
        let signed = signature(b"Jefe", 1, b"body");
        assert!(signed.starts_with("t=1,v1="), "{signed}");
        assert_eq!(signed.strip_prefix("t=1,v1="), Some(hex(hmac_sha256(b"Jefe", &[b"1.body"])).as_str()));
        assert_ne!(
            signature(b"Jefe", 2, b"body").split_once(",").map(|(_, v1)| v1.to_owned()),
            signed.split_once(",").map(|(_, v1)| v1.to_owned())
        );
    }
}
