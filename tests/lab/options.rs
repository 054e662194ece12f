//! Rung 3: what the inventory tells machines besides, as the clients that systems run hand it to
//! their scripts; and BOOTP, as it was before DHCP.

use super::daemon::Daemon;
use super::frames::Watch;
use super::namespace::{Namespace, Wire};
use super::room::Room;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};
use tempfile::TempDir;

const MAC: &str = "02:00:00:00:00:21";

const INVENTORY: &str = r#"
[[subnet]]
cidr    = "192.0.2.0/24"
router  = "192.0.2.1"
dns     = ["192.0.2.1"]
domain  = "rack.example"
pool    = ["192.0.2.100-192.0.2.199"]
lease   = "1h"
ntp     = ["192.0.2.5", "192.0.2.6"]
search  = ["rack.example", "example"]
mtu     = 1400
routes  = [{ to = "198.51.100.0/24", via = "192.0.2.254" }]
options = [
    { code = 224, type = "text", value = "row 7" },
    { code = 225, type = "u16", value = [1, 515], always = true },
]

[[host]]
name     = "r1u07"
mac      = "02:00:00:00:00:21"
address  = "192.0.2.7"
hostname = "node-7"
"#;

/// The name that clients ask for; theirs is another.
const WISH: &str = "mine.else.example";

/// What the client's script is told at the turn called `turn`, as names and values.
fn told(turn: &str, ask: impl FnOnce(&Namespace, &TempDir, &str)) -> BTreeMap<String, String> {
    told_of(INVENTORY, turn, ask)
}

/// The same of another inventory.
fn told_of(inventory: &str, turn: &str, ask: impl FnOnce(&Namespace, &TempDir, &str)) -> BTreeMap<String, String> {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", inventory);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC);
    let folder = TempDir::new().expect("a temporary folder");
    let (hook, seen) = (folder.path().join("hook"), folder.path().join("seen"));
    let script = format!(
        // Whole or not at all.
        "#!/bin/sh\n[ \"${{reason:-$1}}\" = {turn} ] && env > {seen}.new && mv {seen}.new {seen}\ntrue\n",
        seen = seen.display()
    );
    fs::write(&hook, script).expect("our own folder");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("our own file");
    ask(&client, &folder, &hook.to_string_lossy());
    let text = super::poll(super::SOON, || fs::read_to_string(&seen).ok());
    let text = text.unwrap_or_else(|| panic!("its script was not run at {turn}\n{}", daemon.log_tail()));
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn expect(told: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(told.get(*name).map(String::as_str), Some(*value), "{name} of {told:#?}");
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("our own folder");
    path.to_string_lossy().into_owned()
}

#[test]
fn dhclient_is_told_everything_that_it_asks_for() {
    let settings = format!(
        "option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n\
         option site-note code 224 = text;\n\
         send fqdn.fqdn \"{WISH}\";\nsend fqdn.encoded on;\nsend fqdn.server-update off;\n\
         request subnet-mask, routers, domain-name, domain-name-servers, host-name, domain-search, ntp-servers,\n\
         interface-mtu, rfc3442-classless-static-routes, site-note, fqdn.fqdn;\n"
    );
    let told = told("BOUND", |client, folder, hook| {
        let settings = write(folder, "settings", &settings);
        let (leases, pid) = (write(folder, "leases", ""), write(folder, "pid", ""));
        let files = ["-sf", hook, "-lf", &leases, "-pf", &pid, "-cf", &settings];
        client.expect("dhclient", &[&["-4", "-1"], &files[..], &["eth0"]].concat());
    });
    expect(
        &told,
        &[
            ("new_ip_address", "192.0.2.7"),
            ("new_domain_name", "rack.example"),
            ("new_domain_name_servers", "192.0.2.1"),
            ("new_host_name", "node-7"),
            ("new_ntp_servers", "192.0.2.5 192.0.2.6"),
            ("new_domain_search", "rack.example. example."),
            ("new_interface_mtu", "1400"),
            // The router among them: a client that takes 121 leaves option 3 alone (RFC 3442).
            (
                "new_rfc3442_classless_static_routes",
                "24 198 51 100 192 0 2 254 0 192 0 2 1",
            ),
            ("new_site_note", "row 7"),
            ("new_unknown_225", "0:1:2:3"),
            // The inventory's name wins over the client's, and nobody is to write it to the DNS.
            ("new_fqdn_fqdn", "node-7.rack.example"),
            ("new_fqdn_server_update", "false"),
        ],
    );
    // It asked for both, and 121 stands in place of 3 (RFC 3442).
    assert_eq!(told.get("new_routers"), None);
}

#[test]
fn udhcpc_is_told_everything_that_it_asks_for() {
    let wanted = ["hostname", "ntpsrv", "search", "mtu", "staticroutes", "224"];
    let wanted: Vec<&str> = wanted.iter().flat_map(|option| ["-O", option]).collect();
    let told = told("bound", |client, _, hook| {
        let common = [
            "udhcpc", "-f", "-q", "-n", "-t", "15", "-i", "eth0", "-s", hook, "-F", WISH,
        ];
        client.expect("busybox", &[&common[..], &wanted].concat());
    });
    expect(
        &told,
        &[
            ("ip", "192.0.2.7"),
            ("mask", "24"),
            ("domain", "rack.example"),
            ("dns", "192.0.2.1"),
            ("hostname", "node-7"),
            ("ntpsrv", "192.0.2.5 192.0.2.6"),
            ("search", "rack.example example"),
            ("mtu", "1400"),
            ("staticroutes", "198.51.100.0/24 192.0.2.254 0.0.0.0/0 192.0.2.1"),
            ("opt224", "726f772037"),
            ("opt225", "00010203"),
            // RFC 4702: the server updates nothing (N), and the client had asked it to (O).
            ("opt81", "0affff6e6f64652d372e7261636b2e6578616d706c65"),
        ],
    );
    assert_eq!(told.get("router"), None);
}

#[test]
fn dhcpcd_is_told_everything_that_it_asks_for_and_sets_the_routes() {
    let settings = "define 224 string site_note\noption ntp_servers,domain_search,interface_mtu,host_name,domain_name\n\
                    option domain_name_servers,classless_static_routes,site_note,fqdn\nnodelay\nnoarp\n";
    let mut routes = String::new();
    let told = told("BOUND", |client, folder, hook| {
        let settings = write(folder, "settings", settings);
        let folders = ["run", "lib"].map(|name| {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("our own folder");
            path.to_string_lossy().into_owned()
        });
        let script = format!(
            "mkdir -p /run/dhcpcd && mount --bind {} /run/dhcpcd && mount --bind {} /var/lib/dhcpcd && exec dhcpcd \"$@\"",
            folders[0], folders[1]
        );
        let common = ["-c", &script, "sh", "-4", "-1", "-B", "-w", "-f", &settings];
        let own = ["--script", hook, "-p", "-h", WISH, "-F", "both", "eth0"];
        client.expect("sh", &[&common[..], &own].concat());
        routes = String::from_utf8_lossy(&client.expect("ip", &["route"])).into_owned();
    });
    expect(
        &told,
        &[
            ("new_ip_address", "192.0.2.7"),
            ("new_domain_name", "rack.example"),
            ("new_domain_name_servers", "192.0.2.1"),
            ("new_host_name", "node-7"),
            ("new_ntp_servers", "192.0.2.5 192.0.2.6"),
            ("new_domain_search", "rack.example example"),
            ("new_interface_mtu", "1400"),
            (
                "new_classless_static_routes",
                "198.51.100.0/24 192.0.2.254 0.0.0.0/0 192.0.2.1",
            ),
            ("new_dhcp_renewal_time", "1800"),
            ("new_dhcp_rebinding_time", "3150"),
            ("new_site_note", "row 7"),
            ("new_fqdn", "node-7.rack.example"),
        ],
    );
    assert!(routes.contains("198.51.100.0/24 via 192.0.2.254"), "{routes}");
    assert!(routes.contains("default via 192.0.2.1"), "{routes}");
}

/// Routes of nine bytes each, more than one option holds.
const ROUTES: usize = 40;

fn with_long_routes() -> String {
    let route = |number| format!("{{ to = \"203.0.113.{}/30\", via = \"192.0.2.254\" }}", 4 * number);
    let routes: Vec<String> = (0..ROUTES).map(route).collect();
    let one = "routes  = [{ to = \"198.51.100.0/24\", via = \"192.0.2.254\" }]";
    assert!(INVENTORY.contains(one));
    INVENTORY.replace(one, &format!("routes = [{}]", routes.join(", ")))
}

#[test]
fn dhclient_puts_an_option_of_several_pieces_together() {
    let settings = "option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n\
                    send dhcp-max-message-size 1400;\nrequest subnet-mask, routers, rfc3442-classless-static-routes;\n";
    let told = told_of(&with_long_routes(), "BOUND", |client, folder, hook| {
        let settings = write(folder, "settings", settings);
        let (leases, pid) = (write(folder, "leases", ""), write(folder, "pid", ""));
        let files = ["-sf", hook, "-lf", &leases, "-pf", &pid, "-cf", &settings];
        client.expect("dhclient", &[&["-4", "-1"], &files[..], &["eth0"]].concat());
    });
    let routes = &told["new_rfc3442_classless_static_routes"];
    // The router's own is the last, of five bytes.
    assert_eq!(routes.split(' ').count(), 9 * ROUTES + 5, "{routes}");
    assert!(
        routes.starts_with("30 203 0 113 0 192 0 2 254 30 203 0 113 4 "),
        "{routes}"
    );
    assert!(routes.ends_with("30 203 0 113 156 192 0 2 254 0 192 0 2 1"), "{routes}");
    assert_eq!(told.get("new_routers"), None);
}

#[test]
fn udhcpc_puts_pieces_together_that_lie_in_the_unused_fields_of_the_header() {
    // It says that it takes 576 bytes, whatever it asks for.
    let told = told_of(&with_long_routes(), "bound", |client, _, hook| {
        let common = ["udhcpc", "-f", "-q", "-n", "-t", "15", "-i", "eth0", "-s", hook];
        client.expect("busybox", &[&common[..], &["-O", "staticroutes"]].concat());
    });
    expect(&told, &[("ip", "192.0.2.7"), ("subnet", "255.255.255.0")]);
    let routes = &told["staticroutes"];
    assert_eq!(routes.split(' ').count(), 2 * (ROUTES + 1), "{routes}");
    assert!(
        routes.ends_with("203.0.113.156/30 192.0.2.254 0.0.0.0/0 192.0.2.1"),
        "{routes}"
    );
    assert_eq!(told.get("router"), None);
}

#[test]
fn a_bootp_client_gets_its_reservation_and_a_stranger_nothing() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", INVENTORY);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC);
    let watch = Watch::new(&client);
    // It broadcasts by the kernel's routes, and a machine without an address has none.
    client.expect("ip", &["route", "add", "default", "dev", "eth0"]);
    let ask = || {
        let options = ["--dev", "eth0", "--serverbcast", "--returniffail", "--timeoutwait", "4"];
        let output = client.run("bootpc", &options);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let printed = ask();
    for words in ["IPADDR='192.0.2.7'", "NETMASK='255.255.255.0'", "GATEWAYS='192.0.2.1'"] {
        assert!(
            printed.contains(words),
            "{printed}\n{}\n{}",
            watch.text(),
            daemon.log_tail()
        );
    }
    daemon.wait_for("the reservation", |line| {
        line.is("r1u07", "acknowledged", &["192.0.2.7"])
    });
    client.expect("ip", &["link", "set", "eth0", "address", "02:00:00:00:00:22"]);
    let printed = ask();
    assert!(!printed.contains("IPADDR"), "{printed}");
    daemon.wait_for("the reason", |line| {
        line.is("02-00-00-00-00-22", "ignored", &["bootp_unreserved"])
    });
}

/// Its request ends with the fixed header, and a reply that names no server is none to it.
#[test]
fn klibcs_bootp_client_gets_its_reservation_and_the_server() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", INVENTORY);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC);
    // It leaves a file in /run, which all namespaces share.
    let ask = "mount -t tmpfs none /run && exec /usr/lib/klibc/bin/ipconfig -c bootp -t 30 eth0";
    let printed = client.expect("unshare", &["--mount", "sh", "-c", ask]);
    let printed = String::from_utf8_lossy(&printed);
    for words in ["192.0.2.7", "255.255.255.0", "rootserver: 192.0.2.1"] {
        assert!(printed.contains(words), "{printed}\n{}", daemon.log_tail());
    }
    assert_eq!(client.addresses("eth0"), ["192.0.2.7"], "{printed}");
    daemon.wait_for("the reservation", |line| {
        line.is("r1u07", "acknowledged", &["192.0.2.7"])
    });
}
