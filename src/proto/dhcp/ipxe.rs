//! Option 175, iPXE's encapsulated options: which features a build has.

use super::wire;

/// Feature codes of iPXE (`ipxe/features.h`, `ipxe/dhcp.h`).
const HTTP: u8 = 0x13;
const BZIMAGE: u8 = 0x18;
const EFI: u8 = 0x24;

/// What an iPXE build can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpxeFeatures {
    /// Fetches over HTTP.
    pub http: bool,
    /// Boots a Linux bzImage (BIOS builds).
    pub bzimage: bool,
    /// Boots EFI binaries, and so Linux's EFI stub.
    pub efi: bool,
}

impl IpxeFeatures {
    /// Reads option 175's body: nested options, and a feature counts when its value is not zero.
    pub(super) fn read(body: &[u8]) -> IpxeFeatures {
        let mut features = IpxeFeatures::default();
        let mut field = body;
        while let Some((code, value, rest)) = wire::next(field) {
            field = rest;
            let has = value.iter().any(|byte| *byte != 0);
            match code {
                HTTP => features.http = has,
                BZIMAGE => features.bzimage = has,
                EFI => features.efi = has,
                _ => {}
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_of_zero_is_not_there() {
        let features = IpxeFeatures::read(&[0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0x13, 1, 1, 0x18, 1, 0, 0x24, 1, 1]);
        assert_eq!(
            features,
            IpxeFeatures {
                http: true,
                bzimage: false,
                efi: true
            }
        );
    }
}
