//! `GET /plan-basis`: what `bootwright plan` holds a candidate against. It has the inventory's values in it, and so is
//! not for everybody who may read.

pub use crate::boot::plan::PlanBasis;
