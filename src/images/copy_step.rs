//! What is told of an image while it is made.

/// What has just been done of making an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// So many bytes are to be copied in all.
    Begins(u64),
    /// So many more were.
    Copied(u64),
}

/// Is told of every step; says whether to go on.
pub type CopyCallback<'a> = &'a mut dyn FnMut(CopyStep) -> bool;
