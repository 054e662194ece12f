//! The operator's socket file: made 0660, never taken from a living daemon.

use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
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

/// The owner and its group, and nobody else (Kea CVE-2025-32801).
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
pub struct SocketError(String);

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SocketError {}

impl AdminSocket {
    /// Makes the socket and its folder. A file that a dead daemon left is replaced.
    ///
    /// # Errors
    ///
    /// A living daemon listens there, something else than a socket is there, or the folder can't
    /// be written.
    pub fn bind(path: &Path) -> Result<AdminSocket, SocketError> {
        let failed = |error: io::Error| SocketError(format!("the admin socket {}: {error}", path.display()));
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
    if !there.file_type().is_socket() {
        return Err(SocketError(format!(
            "{} is there and is no socket; remove it, or name another as `socket` under [admin]",
            path.display()
        )));
    }
    match UnixStream::connect(path) {
        Ok(stream) => Err(SocketError(held_by(path, &stream))),
        Err(error) if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32) => std::fs::remove_file(path)
            .map_err(|error| SocketError(format!("the stale socket {} can't be removed: {error}", path.display()))),
        Err(error) => Err(SocketError(format!(
            "{} is there and can't be asked whether a daemon lives: {error}",
            path.display()
        ))),
    }
}

fn held_by(path: &Path, stream: &UnixStream) -> String {
    let pid =
        getsockopt(stream, PeerCredentials).map_or_else(|_| String::new(), |peer| format!(" (pid {})", peer.pid()));
    format!(
        "another bootwright{pid} serves {}; stop it, or give this one a `socket` under [admin] of its own",
        path.display()
    )
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
        let refusal = AdminSocket::bind(&path).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        assert!(AdminSocket::bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn others_can_not_connect() {
        let folder = tempfile::tempdir().unwrap();
        let socket = AdminSocket::bind(&folder.path().join("admin.sock")).unwrap();
        assert_eq!(socket.path().metadata().unwrap().permissions().mode() & 0o777, 0o660);
    }
}
