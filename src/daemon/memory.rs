//! How much memory the C library's allocator keeps for itself.
//!
//! It has an arena for each thread, up to eight a processor, and a thread takes whichever is free. What it gives
//! back stays in its arena. Reloads, long answers to operators and files are made by threads that come and go, so
//! in time each arena grows to the largest of them: with 10,000 hosts and two processors 68 MiB became 302 after
//! twelve reloads, and there were sixteen arenas to fill. With few arenas, which give back what is at their end,
//! it was 49 and stayed at 108.
//!
//! The allocator reads this from the environment before a program's first line, so the program is begun once
//! more, as the same process. Whoever says something of it in the environment means it, and is obeyed. Other C
//! libraries know nothing of these variables, and do without them.

use crate::model::limits::{ALLOCATOR_ARENAS_MAX, ALLOCATOR_KEPT_BYTES};
use std::{env, io, os::unix::process::CommandExt, path::Path, process::Command};

const ARENAS: &str = "MALLOC_ARENA_MAX";
/// Free bytes at the end of an arena that are given back, and the size from which a piece of memory is a mapping of
/// its own, which goes back at once. Each by itself would have the allocator raise the other as it goes.
const KEPT: [&str; 2] = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];
/// Where all of these can be set as well.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Begins this program once more with bounds for its allocator, where there are none. To be called before
/// anything is open or running.
///
/// # Errors
/// The system begins it no more; that is no reason not to serve.
pub(super) fn bound() -> io::Result<()> {
    match is_bounded(|name| env::var_os(name).is_some()) {
        true => Ok(()),
        false => Err(again(&env::current_exe()?).exec()),
    }
}

/// Whether the environment, or this program before, has set the arenas.
fn is_bounded(is_set: impl Fn(&str) -> bool) -> bool {
    is_set(ARENAS) || is_set(TUNABLES)
}

fn again(program: &Path) -> Command {
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(ARENAS, ALLOCATOR_ARENAS_MAX.to_string());
    for name in KEPT {
        command.env(name, ALLOCATOR_KEPT_BYTES.to_string());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_begun_once_more_and_no_oftener_and_what_operators_say_counts() {
        assert!(!is_bounded(|_| false));
        assert!(is_bounded(|name| name == TUNABLES));
        let command = again(Path::new("/usr/bin/bootwright"));
        let names: Vec<&str> = command.get_envs().filter_map(|(name, _)| name.to_str()).collect();
        assert!(is_bounded(|name| names.contains(&name)), "{names:?}");
        assert_eq!(command.get_args().count(), env::args_os().count() - 1);
    }
}
