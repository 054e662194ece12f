//! Whether an interface leads to more than machines: it has the default route, or is wireless. Whoever gives addresses
//! there by accident takes an office or a home off its network, so it is asked for by name
//! (`allow_default_route = true`).

use crate::model::{Mode, ServedInterface, Uplink};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The IPv4 routes of the main table (proc(5)), in the order of their destinations: the default one is first.
const ROUTES: &str = "/proc/thread-self/net/route";
/// So many bytes of them are read: the default routes are in there, and a router's own may be a million.
const ROUTES_BYTES_MAX: u64 = 64 * 1024;
/// `RTF_UP` and `RTF_REJECT` (linux/route.h): the route is in force, and it leads somewhere.
const UP: u32 = 0x1;
const REJECT: u32 = 0x200;

/// An interface on which no addresses are given, because that was not asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedInterface {
    /// The interface's name.
    pub name: String,
    /// Why.
    pub uplink: Uplink,
}

impl fmt::Display for GuardedInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GuardedInterface { name, uplink } = self;
        write!(
            f,
            "{name}: it {uplink}, so it leads to more than machines, and no addresses are given on it: a second DHCP \
             server takes everybody there off the network. Name the provisioning network's interface in `interfaces` \
             under [network], or set mode = \"proxy\"; where this is meant, write \
             {{ name = \"{name}\", allow_default_route = true }} there"
        )
    }
}

impl std::error::Error for GuardedInterface {}

/// What makes the interface an uplink now; `None` also where the kernel does not say.
pub fn uplink(name: &str) -> Option<Uplink> {
    let of_interface = Path::new("/sys/class/net").join(name);
    if ["wireless", "phy80211"]
        .iter()
        .any(|kind| of_interface.join(kind).exists())
    {
        return Some(Uplink::Wireless);
    }
    let has_default_route = read_routes().is_ok_and(|routes| has_default_route(&routes, name));
    has_default_route.then_some(Uplink::DefaultRoute)
}

/// Why no addresses may be given on the interface as it is now.
pub(super) fn guarded(wanted: &ServedInterface) -> Option<GuardedInterface> {
    if wanted.mode == Mode::Proxy || wanted.allow_default_route {
        return None;
    }
    let uplink = uplink(&wanted.name)?;
    let name = wanted.name.clone();
    Some(GuardedInterface { name, uplink })
}

/// Refuses the first of the interfaces on which no addresses may be given.
///
/// # Errors
/// One of them leads to more than machines.
pub fn refuse_uplinks(wanted: &[ServedInterface]) -> Result<(), GuardedInterface> {
    wanted.iter().find_map(guarded).map_or(Ok(()), Err)
}

fn read_routes() -> io::Result<String> {
    let mut routes = String::new();
    File::open(ROUTES)?.take(ROUTES_BYTES_MAX).read_to_string(&mut routes)?;
    Ok(routes)
}

/// Columns: interface, destination, gateway, flags, three counters, mask; numbers in hexadecimal digits.
fn has_default_route(routes: &str, name: &str) -> bool {
    routes.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = fields[..] else {
            return false;
        };
        let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
        interface == name && flags & (UP | REJECT) == UP
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTED: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eno1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eno4\t00000000\t0100000A\t0002\t0\t0\t100\t00000000\t0\t0\t0
*\t00000000\t00000000\t0201\t0\t0\t4278198272\t00000000\t0\t0\t0
eno2\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eno3\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
";

    #[test]
    fn the_interface_of_the_default_route_is_told_from_one_of_another_route() {
        let found: Vec<bool> = ["eno1", "eno2", "eno3", "eno4", "*", "eno"]
            .map(|name| has_default_route(ROUTED, name))
            .into();
        // A route to half of the world is none to all of it, and one that is down or rejects leads nowhere.
        assert_eq!(found, [true, false, false, false, false, false]);
        for length in 0..ROUTED.len() {
            let _ = has_default_route(&ROUTED[..length], "eno1");
        }
    }

    #[test]
    fn loopback_is_no_uplink_and_one_that_is_meant_is_not_refused() {
        assert_eq!(uplink("lo"), None);
        let served = |mode, allow_default_route| ServedInterface {
            name: "lo".to_owned(),
            mode,
            allow_default_route,
        };
        for wanted in [
            served(Mode::Dhcp, false),
            served(Mode::Proxy, false),
            served(Mode::Dhcp, true),
        ] {
            assert_eq!(refuse_uplinks(&[wanted]), Ok(()));
        }
    }
}
