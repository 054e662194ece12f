//! What is done to the daemon: each act with all its numbers, as the seed gives them.

use std::fmt;

/// Numbers by a seed (SplitMix64): the same ones on every machine.
pub struct Random(u64);

impl Random {
    /// Each part has a row of its own, so that its order does not depend on how far the one before came.
    pub fn new(seed: u64, part: Part) -> Random {
        Random(seed ^ ((part as u64 + 1) << 56))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, least: u32, most: u32) -> u32 {
        least + u32::try_from(self.next() % u64::from(most - least + 1)).expect("less than a u32")
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, u32::try_from(choices.len() - 1).expect("a short list")) as usize]
    }
}

/// A stretch of the soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The daemon is killed now and then.
    Killed,
    /// One process lives on: what leaks shows.
    Long,
    /// It is killed again, now that it is old.
    KilledAgain,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Killed, Part::Long, Part::KilledAgain];

    pub fn words(self) -> &'static str {
        match self {
            Part::Killed | Part::KilledAgain => "the daemon is killed now and then",
            Part::Long => "one process lives on",
        }
    }
}

/// Machines that boot at once behind a relay.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    pub machines: u32,
    pub spread_s: u32,
    pub firmware: &'static str,
    /// The first one's place among all machines there ever are: some come again, some are new.
    pub first: u32,
}

/// A file that people edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    Inventory,
    Script,
    ServerReply,
    Settings,
}

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Stopped,
}

/// What the wire suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flap {
    /// The interface is switched off and on.
    Interface,
    /// The cable is pulled and put back.
    Carrier,
    /// Its address goes and comes back.
    Address,
}

/// One act.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Storm(Storm),
    /// Systems that ask for an address, one after the other: new ones and some that come again.
    Newcomers {
        count: u32,
        again: u32,
    },
    /// A sound edit; in place, or as editors do it, by a new file.
    Edit {
        file: Edited,
        in_place: bool,
    },
    /// An unsound edit, one of several kinds, that is mended later.
    Spoil {
        file: Edited,
        kind: u32,
    },
    /// SIGHUP, or the command.
    Reload {
        hangup: bool,
    },
    Flap {
        what: Flap,
        times: u32,
        pause_ms: u32,
    },
    /// Clients that begin transfers and leave.
    WalkAway {
        clients: u32,
    },
    /// Datagrams that mean nothing, to every port.
    Noise {
        seed: u32,
        count: u32,
    },
    /// The daemon ends while systems ask for addresses, and starts again; perhaps on files that are refused.
    End {
        end: End,
        after_ms: u32,
        spoilt: Option<(Edited, u32)>,
    },
    /// The daemon ends in the middle of a storm, and starts again.
    EndInStorm {
        end: End,
        after_ms: u32,
        storm: Storm,
    },
}

const FILES: [Edited; 4] = [Edited::Inventory, Edited::Script, Edited::ServerReply, Edited::Settings];

impl Act {
    /// The next one of a part.
    pub fn draw(random: &mut Random, part: Part) -> Act {
        let dice = random.between(0, 99);
        match part {
            Part::Killed | Part::KilledAgain if dice < 45 => Act::draw_end(random),
            Part::Killed | Part::Long | Part::KilledAgain => Act::draw_living(random),
        }
    }

    /// Its kind, for the summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Act::Storm(_) => "storms",
            Act::Newcomers { .. } => "crowds of new machines",
            Act::Edit { .. } => "edits",
            Act::Spoil { .. } => "slips",
            Act::Reload { .. } => "reloads",
            Act::Flap { .. } => "flaps",
            Act::WalkAway { .. } => "walks away",
            Act::Noise { .. } => "noises",
            Act::End { end, .. } | Act::EndInStorm { end, .. } => match end {
                End::Killed => "kills",
                End::Stopped => "stops",
            },
        }
    }

    fn draw_end(random: &mut Random) -> Act {
        let end = random.one_of(&[End::Killed, End::Killed, End::Stopped]);
        let after_ms = random.between(5, 400);
        match random.between(0, 3) {
            0 => Act::EndInStorm {
                end,
                after_ms: after_ms * 4,
                storm: draw_storm(random),
            },
            1 => Act::End {
                end,
                after_ms,
                spoilt: Some((random.one_of(&FILES), random.between(0, 99))),
            },
            _ => Act::End {
                end,
                after_ms,
                spoilt: None,
            },
        }
    }

    fn draw_living(random: &mut Random) -> Act {
        match random.between(0, 99) {
            0..25 => Act::Storm(draw_storm(random)),
            25..40 => Act::Newcomers {
                count: random.between(20, 120),
                again: random.between(0, 40),
            },
            40..55 => Act::Edit {
                file: random.one_of(&FILES[..3]),
                in_place: random.between(0, 1) == 1,
            },
            55..70 => Act::Spoil {
                file: random.one_of(&FILES),
                kind: random.between(0, 99),
            },
            70..77 => Act::Reload {
                hangup: random.between(0, 1) == 1,
            },
            77..87 => Act::Flap {
                what: random.one_of(&[Flap::Interface, Flap::Carrier, Flap::Address]),
                times: random.between(1, 10),
                pause_ms: random.between(0, 250),
            },
            87..95 => Act::WalkAway {
                clients: random.between(2, 16),
            },
            _ => Act::Noise {
                seed: random.between(0, u32::MAX - 1),
                count: random.between(50, 500),
            },
        }
    }
}

fn draw_storm(random: &mut Random) -> Storm {
    Storm {
        machines: random.between(20, 120),
        spread_s: random.between(0, 4),
        firmware: random.one_of(&["uefi", "uefi", "bios"]),
        first: random.between(0, 4000),
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Storm(storm) => write!(f, "{storm}"),
            Act::Newcomers { count, again } => write!(f, "{count} new machines come, and {again} again"),
            Act::Edit { file, in_place } => {
                let how = if *in_place { "in place" } else { "by a new file" };
                write!(f, "{} edited {how}", file.words())
            }
            Act::Spoil { file, kind } => write!(f, "{} spoilt by slip {kind}", file.words()),
            Act::Reload { hangup: true } => f.write_str("reload by SIGHUP"),
            Act::Reload { hangup: false } => f.write_str("reload by the command"),
            Act::Flap { what, times, pause_ms } => {
                write!(f, "{} flaps {times} times, {pause_ms} ms each", what.words())
            }
            Act::WalkAway { clients } => write!(f, "{clients} clients walk away from their transfers"),
            Act::Noise { seed, count } => write!(f, "{count} datagrams of noise {seed}"),
            Act::End { end, after_ms, spoilt } => {
                write!(f, "{} after {after_ms} ms of new machines", end.words())?;
                match spoilt {
                    Some((file, kind)) => write!(f, ", with {} spoilt by slip {kind}", file.words()),
                    None => Ok(()),
                }
            }
            Act::EndInStorm { end, after_ms, storm } => {
                write!(f, "{} {after_ms} ms into a {storm}", end.words())
            }
        }
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Storm {
            machines,
            spread_s,
            firmware,
            first,
        } = self;
        write!(
            f,
            "storm of {machines} {firmware} machines from {first} within {spread_s} s"
        )
    }
}

impl Edited {
    fn words(self) -> &'static str {
        match self {
            Edited::Inventory => "the inventory",
            Edited::Script => "the script",
            Edited::ServerReply => "the answer",
            Edited::Settings => "bootwright.toml",
        }
    }
}

impl End {
    fn words(self) -> &'static str {
        match self {
            End::Killed => "killed",
            End::Stopped => "stopped",
        }
    }
}

impl Flap {
    fn words(self) -> &'static str {
        match self {
            Flap::Interface => "the interface",
            Flap::Carrier => "its cable",
            Flap::Address => "its address",
        }
    }
}
