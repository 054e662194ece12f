//! `bootwright image add` from ISOs and folders: what is found in the layouts of the distributions,
//! and what hostile, damaged and interrupted ones leave behind. ISOs are made by xorriso.

mod distributions;
mod hostile;
mod interrupted;
mod shelf;
mod sources;
