//! Giving up what is not needed, once everything is bound and before any thread starts.
//!
//! Two capabilities stay: NET_BIND_SERVICE and NET_RAW, because an interface that appears later
//! needs its ports and its frames. Everything else goes for good, also for whatever this process
//! might start: the bounding set is cut and no_new_privs is set.
//!
//! Capabilities belong to threads (capabilities(7)), hence the order.

use capctl::{Cap, CapSet, CapState, ambient, bounding, prctl};
use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};
use std::{
    fmt,
    fs::File,
    os::unix::fs::lchown,
    path::{Path, PathBuf},
};

/// The user that the package makes (systemd/bootwright.sysusers).
pub const DEFAULT_USER: &str = "bootwright";

const KEPT: [Cap; 2] = [Cap::NET_BIND_SERVICE, Cap::NET_RAW];

/// Why privileges can't be given up; the daemon doesn't start then.
#[derive(Debug)]
pub struct PrivilegeError(String);

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PrivilegeError {}

fn failed(what: &'static str) -> impl Fn(&dyn fmt::Display) -> PrivilegeError {
    move |error| PrivilegeError(format!("privileges can't be given up: {what}: {error}"))
}

/// Becomes `user` where we are root, hands `owned` files to it, and drops every capability but two.
/// `user` is `None` where the operator named none: then a missing [`DEFAULT_USER`] is a warning,
/// and root stays root without its powers.
///
/// # Errors
///
/// The named user does not exist, or the system refuses.
pub fn drop_privileges(user: Option<&str>, owned: &[PathBuf]) -> Result<(), PrivilegeError> {
    if geteuid().is_root() {
        cut_bounding_set()?;
        match wanted_user(user)? {
            Some(user) => become_user(&user, owned)?,
            None => tracing::warn!(
                "there is no user `{DEFAULT_USER}`, so this stays user 0 with all but two capabilities dropped; make it with `useradd --system {DEFAULT_USER}`, or name one with --user"
            ),
        }
    }
    keep_two_capabilities()?;
    prctl::set_no_new_privs().map_err(|error| failed("no_new_privs")(&error))
}

fn wanted_user(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    let name = user.unwrap_or(DEFAULT_USER);
    let found = User::from_name(name).map_err(|error| failed("the user database")(&error))?;
    match (found, user) {
        (Some(found), _) => Ok(Some(found)),
        (None, None) => Ok(None),
        (None, Some(name)) => Err(PrivilegeError(format!(
            "--user {}: there is no such user; make it with `useradd --system`",
            name.escape_debug()
        ))),
    }
}

/// While we are still root: it takes CAP_SETPCAP.
fn cut_bounding_set() -> Result<(), PrivilegeError> {
    for cap in Cap::probe_supported().iter().filter(|cap| !KEPT.contains(cap)) {
        bounding::ensure_dropped(cap).map_err(|error| failed("the bounding set")(&error))?;
    }
    bounding::clear_unknown().map_err(|error| failed("the bounding set")(&error))
}

fn become_user(user: &User, owned: &[PathBuf]) -> Result<(), PrivilegeError> {
    for path in owned {
        // Not what a link names: the folder belongs to somebody with fewer rights than we have now.
        lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|error| failed("the owner of our files")(&format!("{}: {error}", path.display())))?;
    }
    // Without this the kernel takes all capabilities at the change of user.
    prctl::set_keepcaps(true).map_err(|error| failed("PR_SET_KEEPCAPS")(&error))?;
    become_ids(user.uid, user.gid).map_err(|error| failed("the change of user")(&error))
}

fn become_ids(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn keep_two_capabilities() -> Result<(), PrivilegeError> {
    let refused = failed("capabilities");
    let had = CapState::get_current().map_err(|error| refused(&error))?;
    let mut kept = CapSet::empty();
    for cap in KEPT {
        if had.permitted.has(cap) {
            kept.add(cap);
        } else {
            tracing::warn!(
                "CAP_{cap:?} is not ours: an interface that appears later can't be served; start as root or through systemd/bootwright.service"
            );
        }
    }
    if ambient::is_supported() {
        ambient::clear().map_err(|error| refused(&error))?;
    }
    // Under systemd there is no more than this, and its filter for system calls refuses capset.
    if had.permitted == kept && had.effective == kept {
        return Ok(());
    }
    let state = CapState {
        effective: kept,
        permitted: kept,
        inheritable: CapSet::empty(),
    };
    state.set_current().map_err(|error| refused(&error))
}

/// Says which of the operator's files we may not read any more, so that the next reload does not
/// fail at night because of it. Looks at the paths and at what is directly in those that are folders.
pub fn warn_of_unreadable(paths: &[PathBuf]) {
    for (path, error) in paths.iter().flat_map(|path| unreadable(path)) {
        tracing::warn!(
            "{} can't be read as the user this runs as ({error}): the next reload will fail; mend its mode or owner",
            path.display()
        );
    }
}

/// Everything at and directly in `path` that can't be opened for reading.
fn unreadable(path: &Path) -> Vec<(PathBuf, std::io::Error)> {
    let entries = match (path.is_dir(), path.read_dir()) {
        (false, _) => return check_file(path).into_iter().collect(),
        (true, Err(error)) => return vec![(path.to_owned(), error)],
        (true, Ok(entries)) => entries,
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|entry| entry.is_file())
        .filter_map(|entry| check_file(&entry))
        .collect()
}

fn check_file(path: &Path) -> Option<(PathBuf, std::io::Error)> {
    File::open(path).err().map(|error| (path.to_owned(), error))
}
