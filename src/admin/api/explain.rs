//! `GET /explain`: what a machine would be told now, and why. Its script is in it, and so is what the inventory says: not
//! for everybody who may read.

pub use crate::boot::explain::{Explanation, QuestionWords};
