//! How long this host has been up, and since which boot: a clock that can't be set and that outlives this
//! process.

use crate::lease::ClockMark;
use crate::model::WallTime;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Where the kernel names the boot.
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Where our unit has systemd name it, because there the file is out of sight.
const BOOT_VARIABLE: &str = "BOOTWRIGHT_BOOT_ID";

/// This host's boot, as the kernel names it; `None` where it does not say.
pub(super) fn boot() -> Option<u128> {
    let named = std::fs::read_to_string(BOOT_FILE).or_else(|_| std::env::var(BOOT_VARIABLE));
    number(&named.ok()?)
}

/// The number in 32 hexadecimal digits, which may have hyphens between them.
fn number(named: &str) -> Option<u128> {
    let digits: String = named.trim().chars().filter(|each| *each != '-').collect();
    let is_whole = digits.len() == 32;
    u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|boot| is_whole && *boot != 0)
}

/// The moment that is `date` by some calendar.
pub(super) fn mark(date: WallTime, boot: Option<u128>) -> ClockMark {
    // Time that the host was suspended counts: for its machines it passed.
    let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    ClockMark {
        date,
        boot: boot.filter(|_| up.is_ok()),
        up: up.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_number_however_it_is_written() {
        let written = number("4fb1eb12-ff5e-4d97-ad3d-5cb254dd0701\n");
        assert!(written.is_some());
        assert_eq!(number("4fb1eb12ff5e4d97ad3d5cb254dd0701"), written);
        for none in ["", "%b", "4fb1eb12", "00000000000000000000000000000000"] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    #[test]
    fn this_host_is_up_in_some_boot() {
        let (before, after) = (mark(WallTime(1), boot()), mark(WallTime(2), boot()));
        assert!(before.up <= after.up && !before.up.is_zero());
        assert!(after.is_in_boot_of(&before));
    }
}
