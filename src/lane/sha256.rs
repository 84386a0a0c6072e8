//! `sha256:<hex>` labels of profiles and argvs. Pure.

use sha2::{Digest, Sha256};

/// Returns the label of `bytes`.
pub(super) fn label(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn label_is_lower_case_hex_behind_the_algorithm() {
        assert_eq!(
            super::label(b"abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
