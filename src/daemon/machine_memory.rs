//! How much memory this machine has for the daemon, as far as something else than the daemon's own needs goes by it.

use crate::model::limits::{HOT_IMAGES_BYTES_DEFAULT, HOT_IMAGES_MEMORY_DIVISOR};
use nix::sys::sysinfo::sysinfo;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes for copies of image files: what the operator says, or what suits the machine.
pub(super) fn for_hot_images(said: Option<u64>) -> u64 {
    let shared = || memory().map_or(HOT_IMAGES_BYTES_DEFAULT, |bytes| bytes / HOT_IMAGES_MEMORY_DIVISOR);
    said.unwrap_or_else(|| HOT_IMAGES_BYTES_DEFAULT.min(shared()))
}

/// The machine's memory, or less where systemd or a container allows less.
fn memory() -> Option<u64> {
    let machine = sysinfo().ok().map(|known| known.ram_total());
    let allowed = fs::read_to_string("/proc/self/cgroup").ok();
    let allowed = allowed.and_then(|groups| least_allowed(Path::new("/sys/fs/cgroup"), &groups));
    machine.into_iter().chain(allowed).min()
}

/// The least that the control groups of a process allow it, one beneath the other; `groups` is what the kernel says
/// of them.
fn least_allowed(root: &Path, groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: PathBuf| {
        // The root has none, and "max" is none either.
        fs::read_to_string(group.join("memory.max"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let all = Path::new(group).ancestors().map(|group| root.join(group));
    all.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_says_counts_and_else_a_share_of_the_machine() {
        assert_eq!(for_hot_images(Some(0)), 0);
        assert_eq!(for_hot_images(Some(5 << 30)), 5 << 30);
        let default = for_hot_images(None);
        assert!(default > 0 && default <= HOT_IMAGES_BYTES_DEFAULT);
        assert!(default <= memory().unwrap() / HOT_IMAGES_MEMORY_DIVISOR);
    }

    #[test]
    fn the_least_of_the_control_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/bootwright.service");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        let groups = "0::/system.slice/bootwright.service\n";
        assert_eq!(least_allowed(root.path(), groups), None);
        fs::write(root.path().join("system.slice/memory.max"), "1000\n").unwrap();
        assert_eq!(least_allowed(root.path(), groups), Some(1000));
        fs::write(group.join("memory.max"), "700\n").unwrap();
        assert_eq!(least_allowed(root.path(), groups), Some(700));
        assert_eq!(least_allowed(root.path(), "4:memory:/old\n"), None);
    }
}
