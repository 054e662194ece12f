//! Memory that nobody can change any more, this process included: a file in memory that is filled, sealed, mapped for
//! reading, and sent by the kernel itself (`sendfile(2)`).
//!
//! To map a file is to die of SIGBUS once somebody truncates it. Nobody can truncate this one: the mapping is made
//! after F_SEAL_SHRINK, which can't be taken back (F_SEAL_SEAL).

use nix::libc;
use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd},
    ptr::NonNull,
};

/// A name for whoever looks at the process; the file is in no folder.
const NAME: &CStr = c"bootwright-image";
/// MFD_NOEXEC_SEAL of linux/memfd.h: no program is ever run from it. Linux 6.3 has it, and may be told to
/// refuse files without it.
const NO_EXECUTION: libc::c_uint = 8;
/// What can't be done to the file any more.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;

/// A file in memory that is yet to be filled.
///
/// # Errors
/// The kernel refuses one.
pub fn memory_file() -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    made(flags | NO_EXECUTION).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => made(flags),
        _ => Err(error),
    })
}

fn made(flags: libc::c_uint) -> io::Result<File> {
    // SAFETY: the name ends with a zero byte, and the kernel only reads it.
    let descriptor = unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor and nothing else has it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Bytes that stay what they are.
#[derive(Debug)]
pub struct SealedMemory {
    file: File,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is for reading alone, and nothing can write to what it shows (F_SEAL_WRITE).
unsafe impl Send for SealedMemory {}
// SAFETY: as above: it is shared as any `&[u8]` is.
unsafe impl Sync for SealedMemory {}

impl SealedMemory {
    /// Seals a file in memory that was filled.
    ///
    /// # Errors
    /// The kernel refuses it, or the file is empty.
    pub fn seal(file: File) -> io::Result<SealedMemory> {
        // SAFETY: fcntl(2) takes no pointer here.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // After the seal: it has this length from now on.
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping of a file that can neither shrink nor be written to, which `file` keeps.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let start = NonNull::new(mapped.cast()).filter(|_| mapped != libc::MAP_FAILED);
        let start = start.ok_or_else(io::Error::last_os_error)?;
        Ok(SealedMemory { file, start, length })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has so many bytes, is there until this is dropped, and nothing writes to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Where a part of [`SealedMemory::bytes`] begins; `None` where it is no part of these.
    pub fn offset_of(&self, part: &[u8]) -> Option<u64> {
        let offset = part.as_ptr().addr().checked_sub(self.start.as_ptr().addr())?;
        let end = offset.checked_add(part.len())?;
        (end <= self.length).then_some(offset as u64)
    }

    /// Has the kernel send so many bytes from `offset` on, or as many as the socket takes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where the socket takes none now, or what the kernel says.
    pub fn send_to(&self, socket: &impl AsFd, offset: u64, count: usize) -> io::Result<usize> {
        let mut offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: the pointer is to a live number, which the kernel reads and moves on.
        let sent = unsafe {
            libc::sendfile(
                socket.as_fd().as_raw_fd(),
                self.file.as_raw_fd(),
                &raw mut offset,
                count,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for SealedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's alone, and every slice of it borrows from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::unix::fs::FileExt,
        thread,
    };

    fn sealed(bytes: &[u8]) -> SealedMemory {
        let mut file = memory_file().unwrap();
        file.write_all(bytes).unwrap();
        SealedMemory::seal(file).unwrap()
    }

    #[test]
    fn what_is_sealed_can_neither_be_written_to_nor_cut_nor_unsealed() {
        let memory = sealed(b"kernel");
        assert_eq!(memory.bytes(), b"kernel");
        assert!(memory.file.write_all_at(b"x", 0).is_err());
        assert!(memory.file.set_len(1).is_err() && memory.file.set_len(100).is_err());
        // Through another descriptor of the same file too.
        let again = File::options()
            .write(true)
            .open(format!("/proc/self/fd/{}", memory.file.as_raw_fd()));
        assert!(again.is_err() || again.is_ok_and(|again| again.write_all_at(b"x", 0).is_err()));
        assert_eq!(memory.bytes(), b"kernel");
    }

    #[test]
    fn a_part_is_known_by_where_it_lies_and_what_lies_elsewhere_is_none() {
        let memory = sealed(b"kernel");
        let bytes = memory.bytes();
        assert_eq!(memory.offset_of(&bytes[2..5]), Some(2));
        assert_eq!(memory.offset_of(bytes), Some(0));
        assert_eq!(memory.offset_of(b"kernel"), None);
        assert_eq!(sealed(b"kernel").offset_of(bytes), None);
    }

    #[test]
    fn the_kernel_sends_the_part_that_it_is_told_to() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let memory = sealed(&bytes);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        let (mut offset, end) = (1000, 190_001);
        while offset < end {
            offset += memory.send_to(&server, offset as u64, end - offset).unwrap();
        }
        drop(server);
        assert!(reader.join().unwrap() == bytes[1000..190_001]);
    }

    #[test]
    fn an_empty_file_is_refused_and_not_mapped() {
        assert!(SealedMemory::seal(memory_file().unwrap()).is_err());
    }
}
