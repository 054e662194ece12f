//! What the allocator holds of memory that nobody has any more. It is no socket, and here because this is the module of
//! `unsafe`.

/// Gives it back to the system. A load of a long inventory takes several times what is kept of it, and glibc holds what
/// lies between pieces that are kept.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
