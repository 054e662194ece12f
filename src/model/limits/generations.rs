//! Bounds of what is kept of the generations that were in force.

/// Generations of which something is kept; the oldest go first.
pub const GENERATIONS_MAX: usize = 200;
/// Bytes on disk of all that is kept of them, the files' texts packed.
pub const GENERATIONS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of what one of them changed, by host and value; of one that changed more the counts are kept.
pub const GENERATION_CHANGES_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the packed files of one; of larger ones no text is kept, so that they leave room for others.
pub const GENERATION_FILES_BYTES_MAX: usize = 16 * 1024 * 1024;
