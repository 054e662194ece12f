//! Machines that fail on purpose, each in a way that real ones do: what the appliance says of them can be held against
//! what is known to be wrong with them.

use serde::Serialize;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineFault {
    /// It takes no offer.
    StopsAfterOffer,
    /// Its firmware is of an architecture that hardly anybody has a loader for: 32-bit UEFI.
    StrangeFirmware,
    /// It has an address, and never asks for its loader.
    NeverFetchesLoader,
    /// It asks how large its loader is, and never for it.
    ProbesLoaderOnly,
    /// It falls silent in the middle of its loader.
    StopsInLoader,
    /// Its loader came whole, and does not run.
    LoaderHangs,
    /// Its iPXE has an address, and never asks for its script.
    NeverFetchesScript,
    /// Its script came, and asks for nothing.
    ScriptStops,
    /// It is gone at 37 % of the first file of its image.
    GoneInImage,
    /// The same twice at the same byte, as where there is too little memory.
    GoneInImageTwice,
    /// Its kernel runs, and asks for no address.
    NoSystem,
}

/// How much of a file such a machine takes, in percent.
pub const GONE_AT_PERCENT: u64 = 37;

impl MachineFault {
    /// Each of them.
    pub const ALL: [MachineFault; 11] = [
        MachineFault::StopsAfterOffer,
        MachineFault::StrangeFirmware,
        MachineFault::NeverFetchesLoader,
        MachineFault::ProbesLoaderOnly,
        MachineFault::StopsInLoader,
        MachineFault::LoaderHangs,
        MachineFault::NeverFetchesScript,
        MachineFault::ScriptStops,
        MachineFault::GoneInImage,
        MachineFault::GoneInImageTwice,
        MachineFault::NoSystem,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            MachineFault::StopsAfterOffer => "stops-after-offer",
            MachineFault::StrangeFirmware => "strange-firmware",
            MachineFault::NeverFetchesLoader => "never-fetches-loader",
            MachineFault::ProbesLoaderOnly => "probes-loader-only",
            MachineFault::StopsInLoader => "stops-in-loader",
            MachineFault::LoaderHangs => "loader-hangs",
            MachineFault::NeverFetchesScript => "never-fetches-script",
            MachineFault::ScriptStops => "script-stops",
            MachineFault::GoneInImage => "gone-in-image",
            MachineFault::GoneInImageTwice => "gone-in-image-twice",
            MachineFault::NoSystem => "no-system",
        }
    }
}

impl fmt::Display for MachineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no fault's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFault;

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no fault is called that; there are")?;
        MachineFault::ALL.iter().try_for_each(|fault| write!(f, " {fault}"))
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for MachineFault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<MachineFault, UnknownFault> {
        let mut all = MachineFault::ALL.into_iter();
        all.find(|fault| fault.name() == name).ok_or(UnknownFault)
    }
}

/// Which machines of a storm fail on purpose, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// How many machines.
    pub count: u32,
    /// Which ones: the same seed chooses the same.
    pub seed: u64,
    /// The faults that there are; every one of them where none is named.
    pub kinds: Vec<MachineFault>,
}

impl FaultPlan {
    /// The faulty ones of so many machines, by their index. Each fault is as frequent as the others.
    pub fn choose(&self, machines: u32) -> BTreeMap<u32, MachineFault> {
        let kinds = match self.kinds.as_slice() {
            [] => &MachineFault::ALL[..],
            named => named,
        };
        let mut random = self.seed;
        let mut indexes: Vec<u32> = (0..machines).collect();
        let chosen = self.count.min(machines) as usize;
        let pick = |place: usize| {
            // The first places are filled by a shuffle that ends early.
            let left = (indexes.len() - place) as u64;
            let other = place + usize::try_from(next_random(&mut random) % left).unwrap_or(0);
            indexes.swap(place, other);
            (indexes[place], kinds[place % kinds.len()])
        };
        (0..chosen).map(pick).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014): the next number of a sequence that its seed gives.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_so_many_machines_and_always_the_same() {
        let plan = |seed| FaultPlan {
            count: 100,
            seed,
            kinds: Vec::new(),
        };
        let chosen = plan(7).choose(1000);
        assert_eq!(chosen.len(), 100);
        assert_eq!(chosen, plan(7).choose(1000));
        assert_ne!(chosen, plan(8).choose(1000));
        assert!(chosen.keys().all(|index| *index < 1000));
        // They are no block of neighbours.
        assert!(chosen.keys().next_back() > Some(&800) && chosen.keys().next() < Some(&200));
        for fault in MachineFault::ALL {
            let count = chosen.values().filter(|chosen| **chosen == fault).count();
            assert!((9..=10).contains(&count), "{fault}: {count}");
        }
    }

    #[test]
    fn no_more_machines_fail_than_there_are_and_only_as_they_are_told() {
        let plan = FaultPlan {
            count: 9,
            seed: 1,
            kinds: vec![MachineFault::NoSystem],
        };
        assert_eq!(
            plan.choose(3).into_values().collect::<Vec<_>>(),
            [MachineFault::NoSystem; 3]
        );
        assert!(FaultPlan::default().choose(3).is_empty());
    }

    #[test]
    fn each_fault_is_read_by_its_own_name() {
        for fault in MachineFault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
        assert_eq!("explodes".parse::<MachineFault>(), Err(UnknownFault));
    }
}
