//! Bodies of options that operators name: what each kind of value is on the wire.

use crate::model::Cidr;
use std::net::Ipv4Addr;

/// Option 3.
pub const ROUTER: u8 = 3;
/// Option 7: where a machine may log.
pub const LOG_SERVERS: u8 = 7;
/// Option 33.
pub const STATIC_ROUTES: u8 = 33;
/// Option 121.
pub const CLASSLESS_ROUTES: u8 = 121;
/// What one piece of an option holds.
pub const PIECE_BYTES_MAX: usize = 255;
/// What a default route takes of option 121: its prefix and its router.
pub const DEFAULT_ROUTE_BYTES: usize = 5;

/// An option with its body, at most [`limits::DHCP_OPTION_BYTES_MAX`]; one of more than 255 bytes is sent in
/// pieces (RFC 3396).
///
/// [`limits::DHCP_OPTION_BYTES_MAX`]: crate::model::limits::DHCP_OPTION_BYTES_MAX
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawOption {
    /// The option's number.
    pub code: u8,
    /// Its body.
    pub body: Vec<u8>,
    /// Sent even to a client whose parameter request list (55) does not name it.
    pub always: bool,
}

/// Addresses, four bytes each (option 42 and many others).
pub fn addresses(addresses: &[Ipv4Addr]) -> Vec<u8> {
    addresses.iter().flat_map(Ipv4Addr::octets).collect()
}

/// Option 119 (RFC 3397), names in full: compression saves bytes that firmware's parsers pay for.
pub fn domain_search(domains: &[String]) -> Vec<u8> {
    domains.iter().flat_map(|domain| labels(domain)).collect()
}

/// A domain name as labels behind their lengths (RFC 1035 section 3.1); labels over 63 bytes are cut.
pub fn labels(domain: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for label in domain.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        body.push(u8::try_from(label.len()).unwrap_or(63));
        body.extend_from_slice(label);
    }
    body.push(0);
    body
}

/// Option 121 (RFC 3442): each destination by its prefix and the bytes that matter, then its router.
pub fn classless_routes(routes: &[(Cidr, Ipv4Addr)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (destination, router) in routes {
        body.push(destination.prefix());
        let significant = usize::from(destination.prefix()).div_ceil(8);
        body.extend_from_slice(&destination.network().octets()[..significant]);
        body.extend_from_slice(&router.octets());
    }
    body
}

/// Puts the default route into option 121's body where it has none: a client that gets 121 must not
/// look at option 3 (RFC 3442).
pub fn add_default_route(body: &mut Vec<u8>, router: Ipv4Addr) {
    if !has_default_route(body) {
        body.push(0);
        body.extend_from_slice(&router.octets());
    }
}

fn has_default_route(body: &[u8]) -> bool {
    routes(body).any(|(prefix, _)| prefix == 0)
}

/// The routers in a body of option 121.
pub fn route_routers(body: &[u8]) -> impl Iterator<Item = Ipv4Addr> + '_ {
    routes(body).map(|(_, router)| router)
}

/// The routes in a body of option 121: their prefixes and routers. What is cut short is left out.
fn routes(mut body: &[u8]) -> impl Iterator<Item = (u8, Ipv4Addr)> + '_ {
    std::iter::from_fn(move || {
        let (prefix, rest) = body.split_first()?;
        let (_, rest) = rest.split_at_checked(usize::from(*prefix).div_ceil(8))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        body = rest;
        Some((*prefix, Ipv4Addr::from(*router)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, via: &str) -> (Cidr, Ipv4Addr) {
        (to.parse().unwrap(), via.parse().unwrap())
    }

    #[test]
    fn a_route_has_the_bytes_of_its_destination_that_matter() {
        // RFC 3442's own examples.
        let routes = [
            route("0.0.0.0/0", "10.0.0.1"),
            route("10.0.0.0/8", "10.0.0.1"),
            route("10.17.0.0/16", "10.0.0.1"),
            route("10.229.0.128/25", "10.0.0.1"),
        ];
        let body = classless_routes(&routes);
        let expected = [
            &[0, 10, 0, 0, 1][..],
            &[8, 10, 10, 0, 0, 1],
            &[16, 10, 17, 10, 0, 0, 1],
            &[25, 10, 229, 0, 128, 10, 0, 0, 1],
        ]
        .concat();
        assert_eq!(body, expected);
        assert!(has_default_route(&body));
        assert!(!has_default_route(&classless_routes(&routes[1..])));
    }

    #[test]
    fn names_are_labels_with_an_end() {
        let domains = ["rack.example".to_owned(), "example".to_owned()];
        assert_eq!(domain_search(&domains), b"\x04rack\x07example\0\x07example\0");
    }
}
