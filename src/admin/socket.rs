//! The operator's socket file: made 0660, never taken from a living daemon.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::{
    fmt,
    fs::{DirBuilder, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// The owner and its group, and no other user (Kea CVE-2025-32801).
const SOCKET_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o750;

/// The socket, listening; its file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    /// The folder, if it was not there before us: then it is ours to clear away from.
    made_folder: Option<PathBuf>,
    listener: UnixListener,
}

/// Why the socket can't be made.
#[derive(Debug)]
pub enum SocketError {
    /// A living daemon listens there.
    Held {
        /// Where.
        path: PathBuf,
        /// Its process, where the system tells.
        pid: Option<i32>,
    },
    /// Something else than a socket is there.
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// What is there can't be asked whether a daemon lives.
    Unclear {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What a dead daemon left can't be removed.
    Stale {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses the socket, its mode or its folder.
    System {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::Held { path, pid } => {
                f.write_str("another bootwright")?;
                if let Some(pid) = pid {
                    write!(f, " (pid {pid})")?;
                }
                write!(
                    f,
                    " serves {}; stop it, or give this one a `socket` under [admin] of its own",
                    path.display()
                )
            }
            SocketError::NoSocket { path } => write!(
                f,
                "{} is there and is no socket; remove it, or name another as `socket` under [admin]",
                path.display()
            ),
            SocketError::Unclear { path, source } => write!(
                f,
                "{} is there and can't be asked whether a daemon lives: {source}",
                path.display()
            ),
            SocketError::Stale { path, source } => {
                write!(f, "the stale socket {} can't be removed: {source}", path.display())
            }
            SocketError::System { path, source } => write!(f, "the admin socket {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SocketError::Held { .. } | SocketError::NoSocket { .. } => None,
            SocketError::Unclear { source, .. }
            | SocketError::Stale { source, .. }
            | SocketError::System { source, .. } => Some(source),
        }
    }
}

impl AdminSocket {
    /// Makes the socket and its folder. A file that a dead daemon left is replaced.
    ///
    /// # Errors
    ///
    /// A living daemon listens there, something else than a socket is there, or the folder can't
    /// be written.
    pub fn bind(path: &Path) -> Result<AdminSocket, SocketError> {
        let failed = |source| SocketError::System {
            path: path.to_owned(),
            source,
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let made_folder = folder.filter(|folder| !folder.exists()).map(Path::to_owned);
        if let Some(folder) = &made_folder {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(folder)
                .map_err(failed)?;
        }
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(AdminSocket {
            path: path.to_owned(),
            made_folder,
            listener,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was made: the socket, and its folder if that was missing.
    pub fn made(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.made_folder.as_deref())
    }

    /// The listening socket, for the current runtime.
    ///
    /// # Errors
    ///
    /// Out of file descriptors.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Where the folder is not ours to write, the next start replaces the file.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes way for a new socket, or says why not.
fn clear(path: &Path) -> Result<(), SocketError> {
    let Ok(there) = path.symlink_metadata() else {
        return Ok(());
    };
    let path = path.to_owned();
    if !there.file_type().is_socket() {
        return Err(SocketError::NoSocket { path });
    }
    match UnixStream::connect(&path) {
        Ok(stream) => Err(SocketError::Held {
            path,
            pid: getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid()),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(&path).map_err(|source| SocketError::Stale { path, source })
        }
        Err(source) => Err(SocketError::Unclear { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let living = AdminSocket::bind(&path).unwrap();
        let refusal = AdminSocket::bind(&path).unwrap_err();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(
            matches!(&refusal, SocketError::Held { pid: Some(pid), .. } if *pid == own),
            "{refusal}"
        );
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        let refusal = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(refusal, SocketError::NoSocket { .. }), "{refusal}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_named_with_what_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run"), "a file").unwrap();
        let refusal = AdminSocket::bind(&folder.path().join("run/below/admin.sock")).unwrap_err();
        let source = std::error::Error::source(&refusal).and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(
            source.map(io::Error::kind),
            Some(io::ErrorKind::NotADirectory),
            "{refusal}"
        );
    }

    #[test]
    fn others_can_not_connect() {
        let folder = tempfile::tempdir().unwrap();
        let socket = AdminSocket::bind(&folder.path().join("admin.sock")).unwrap();
        assert_eq!(socket.path().metadata().unwrap().permissions().mode() & 0o777, 0o660);
    }
}
