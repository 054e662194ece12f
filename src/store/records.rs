//! The kinds of records: how each looks on disk. A new one is a file of its own, with the bytes that it has there in
//! a test, and a row here. What they share (`codec`) is the checksum behind, and who holds an address until when.

use super::salvage::RecordKind;

pub mod arming;
pub mod attempts;
pub mod birth;
pub mod calendar;
pub mod checksums;
pub(super) mod codec;
pub mod disks;
pub mod leases;
pub mod lost;
pub mod ports;
pub mod served;

/// Every kind that there is.
pub(super) const KINDS: &[RecordKind] = &[
    leases::KIND,
    attempts::KIND,
    ports::KIND,
    checksums::KIND,
    calendar::KIND,
    lost::KIND,
    birth::BIRTH,
    birth::EPOCH,
    arming::KIND,
    served::KIND,
    disks::KIND,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Write, salvage::salvage};

    #[test]
    fn no_kinds_keys_are_anothers() {
        for (place, kind) in KINDS.iter().enumerate() {
            let others = KINDS.iter().enumerate().filter(|(other, _)| *other != place);
            for (_, other) in others {
                assert!(
                    !other.prefix.starts_with(kind.prefix),
                    "{} and {}",
                    kind.name,
                    other.name
                );
            }
        }
    }

    #[test]
    fn what_may_be_older_than_the_truth_and_harm_then_is_not_salvaged() {
        let (birth, new) = birth::begin(None, None);
        let file: Vec<u8> = new
            .iter()
            .flat_map(|write| match write {
                Write::Put { value, .. } => value.clone(),
                Write::Delete { .. } => Vec::new(),
            })
            .collect();
        let (writes, counts) = salvage(&file, KINDS);
        let keys: Vec<&[u8]> = writes.iter().map(Write::key).collect();
        assert_eq!(keys, [birth::KEY], "no epoch, of {birth:?}");
        assert_eq!(counts.len(), 1);
    }
}
