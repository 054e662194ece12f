//! Giving up what is not needed, once everything is bound and before any thread starts.
//!
//! Two capabilities stay: NET_BIND_SERVICE and NET_RAW, because an interface that appears later
//! needs its ports and its frames. Everything else goes for good, also for whatever this process
//! might start: the bounding set is cut and no_new_privs is set.
//!
//! Capabilities belong to threads (capabilities(7)), hence the order.

use crate::images::reading::open_regular;
use crate::model::limits::LAST_GOOD_DEPTH_MAX;
use capctl::{Cap, CapSet, CapState, ambient, bounding, prctl};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::stat::Mode,
    unistd::{Gid, Uid, User, fchownat, geteuid, setgroups, setresgid, setresuid},
};
use std::{
    ffi::CString,
    fmt, io,
    os::unix::fs::lchown,
    path::{Path, PathBuf},
};

/// The user that the package makes (systemd/bootwright.sysusers).
pub const DEFAULT_USER: &str = "bootwright";

/// How a folder is opened that another user may have put a link in place of.
const FOLDER_ONLY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

const KEPT: [Cap; 2] = [Cap::NET_BIND_SERVICE, Cap::NET_RAW];

/// What the user that we become must own.
pub struct Owned {
    /// These, and nothing in them.
    pub paths: Vec<PathBuf>,
    /// Everything in these folders of ours and in their folders, where they are there.
    pub all_below: Vec<PathBuf>,
}

/// Why privileges can't be given up; the daemon doesn't start then.
#[derive(Debug)]
pub enum PrivilegeError {
    /// The operator named a user that does not exist.
    NoSuchUser {
        /// As it was named.
        name: String,
    },
    /// The system refuses a step.
    Refused {
        /// The step.
        step: &'static str,
        /// Of which of our files, where it is about one.
        path: Option<PathBuf>,
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrivilegeError::NoSuchUser { name } => write!(
                f,
                "--user {}: there is no such user; make it with `useradd --system`",
                name.escape_debug()
            ),
            PrivilegeError::Refused { step, path, source } => {
                write!(f, "privileges can't be given up: {step}: ")?;
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                source.fmt(f)
            }
        }
    }
}

impl std::error::Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PrivilegeError::NoSuchUser { .. } => None,
            PrivilegeError::Refused { source, .. } => Some(source),
        }
    }
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> PrivilegeError {
    move |error| PrivilegeError::Refused {
        step,
        path: None,
        source: error.into(),
    }
}

/// The same of a capability, whose library has an error of its own.
fn not_dropped(step: &'static str) -> impl Fn(capctl::Error) -> PrivilegeError {
    move |error| failed(step)(io::Error::from_raw_os_error(error.code()))
}

/// A file of ours keeps its owner.
fn not_handed_over<E: Into<io::Error>>(path: &Path) -> impl Fn(E) -> PrivilegeError {
    move |error| PrivilegeError::Refused {
        step: "the owner of our files",
        path: Some(path.to_owned()),
        source: error.into(),
    }
}

/// Becomes `user` where we are root, hands `owned` files to it, and drops every capability but two.
/// `user` is `None` where the operator named none: then a missing [`DEFAULT_USER`] is a warning,
/// and root stays root without its powers.
///
/// # Errors
///
/// The named user does not exist, or the system refuses.
pub fn drop_privileges(user: Option<&str>, owned: &Owned) -> Result<(), PrivilegeError> {
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
    prctl::set_no_new_privs().map_err(not_dropped("no_new_privs"))
}

fn wanted_user(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    let name = user.unwrap_or(DEFAULT_USER);
    let found = User::from_name(name).map_err(failed("the user database"))?;
    match (found, user) {
        (Some(found), _) => Ok(Some(found)),
        (None, None) => Ok(None),
        (None, Some(name)) => Err(PrivilegeError::NoSuchUser { name: name.to_owned() }),
    }
}

/// While we are still root: it takes CAP_SETPCAP.
fn cut_bounding_set() -> Result<(), PrivilegeError> {
    for cap in Cap::probe_supported().iter().filter(|cap| !KEPT.contains(cap)) {
        bounding::ensure_dropped(cap).map_err(not_dropped("the bounding set"))?;
    }
    bounding::clear_unknown().map_err(not_dropped("the bounding set"))
}

fn become_user(user: &User, owned: &Owned) -> Result<(), PrivilegeError> {
    for path in &owned.paths {
        // Not what a link names: the folder belongs to a user with fewer rights than we have now.
        lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(not_handed_over(path))?;
    }
    for folder in &owned.all_below {
        hand_over_below(folder, user.uid, user.gid).map_err(not_handed_over(folder))?;
    }
    // Without this the kernel takes all capabilities at the change of user.
    prctl::set_keepcaps(true).map_err(not_dropped("PR_SET_KEEPCAPS"))?;
    become_ids(user.uid, user.gid).map_err(failed("the change of user"))
}

/// Hands over everything below a folder. Each step goes from an open folder to what is in it and follows no
/// link: who owns these folders may swap one for a link to another's while we walk.
fn hand_over_below(folder: &Path, uid: Uid, gid: Gid) -> nix::Result<()> {
    match Dir::open(folder, FOLDER_ONLY, Mode::empty()) {
        Ok(folder) => hand_over_in(folder, uid, gid, LAST_GOOD_DEPTH_MAX + 1),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
        Err(error) => Err(error),
    }
}

fn hand_over_in(mut folder: Dir, uid: Uid, gid: Gid, depth: usize) -> nix::Result<()> {
    let entries = folder.iter().map(|entry| Ok(entry?.file_name().to_owned()));
    let names: Vec<CString> = entries.collect::<nix::Result<_>>()?;
    for name in names
        .iter()
        .filter(|name| ![&b"."[..], b".."].contains(&name.as_bytes()))
    {
        fchownat(
            &folder,
            name.as_c_str(),
            Some(uid),
            Some(gid),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
        match Dir::openat(&folder, name.as_c_str(), FOLDER_ONLY, Mode::empty()) {
            Ok(inner) if depth > 0 => hand_over_in(inner, uid, gid, depth - 1)?,
            Ok(_) | Err(Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn become_ids(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn keep_two_capabilities() -> Result<(), PrivilegeError> {
    let refused = not_dropped("capabilities");
    let had = CapState::get_current().map_err(&refused)?;
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
        ambient::clear().map_err(&refused)?;
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
    state.set_current().map_err(&refused)
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
    open_regular(path).err().map(|error| (path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    #[test]
    fn all_below_a_folder_is_handed_over_and_nothing_that_a_link_in_it_leads_to() {
        if !geteuid().is_root() {
            return;
        }
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        for folder in ["accepted/4/answers/preseed", "others"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for file in ["accepted/4/answers/preseed/a.cfg", "others/shadow"] {
            fs::write(path(file), "").unwrap();
        }
        symlink(path("others"), path("accepted/4/scripts")).unwrap();
        let owner = |name: &str| {
            let there = fs::symlink_metadata(path(name)).unwrap();
            (there.uid(), there.gid())
        };
        hand_over_below(&path("accepted"), Uid::from_raw(4711), Gid::from_raw(4712)).unwrap();
        for ours in [
            "4",
            "4/answers",
            "4/answers/preseed",
            "4/answers/preseed/a.cfg",
            "4/scripts",
        ] {
            assert_eq!(owner(&format!("accepted/{ours}")), (4711, 4712), "{ours}");
        }
        symlink(path("others"), path("linked")).unwrap();
        hand_over_below(&path("linked"), Uid::from_raw(4711), Gid::from_raw(4712)).unwrap();
        hand_over_below(&path("missing"), Uid::from_raw(4711), Gid::from_raw(4712)).unwrap();
        assert_eq!([owner("others"), owner("others/shadow")], [(0, 0); 2]);
    }
}
