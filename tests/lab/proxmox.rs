//! Rung 3: whoever speaks as Proxmox VE's installer (9.2.7) does: the real dhclient with the options that the installer
//! has it ask for, its POST of the machine's facts, and the webhook at its end.

use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use serde_json::{Value, json};
use std::fs;

const MAC: &str = "52:54:00:00:00:07";
/// What the installer adds to dhclient.conf (its `unconfigured.sh`).
const DHCLIENT: &str = "option proxmox-auto-installer-manifest-url code 250 = text;\n\
    option proxmox-auto-installer-cert-fingerprint code 251 = text;\n\
    request subnet-mask, broadcast-address, time-offset, routers, domain-name, domain-name-servers, host-name;\n\
    also request proxmox-auto-installer-manifest-url, proxmox-auto-installer-cert-fingerprint;\n";

/// One of the lease file's options, as the installer takes it: the last word of its line, without quotes.
fn option(lease: &str, name: &str) -> Option<String> {
    let line = lease
        .lines()
        .find(|line| line.trim().starts_with(&format!("option {name}")))?;
    let last = line.split(' ').next_back()?;
    Some(last[1..last.len() - 2].to_owned())
}

/// dhclient's lease file.
fn lease(client: &Namespace, room: &Room, conf: &str) -> String {
    let path = |name: &str| room.path(name).to_string_lossy().into_owned();
    room.write("dhclient.conf", conf);
    let (conf, lease, pid) = (path("dhclient.conf"), path("dhclient.leases"), path("dhclient.pid"));
    let _ = fs::remove_file(&lease);
    let once = [
        "-1",
        "-v",
        "-sf",
        "/bin/true",
        "-cf",
        &conf,
        "-lf",
        &lease,
        "-pf",
        &pid,
        "eth0",
    ];
    client.expect("dhclient", &once);
    let ended = client.run("sh", &["-c", "kill $(cat \"$0\")", &pid]);
    assert!(ended.status.success(), "{}", text(&ended));
    fs::read_to_string(&lease).expect("dhclient keeps its lease")
}

/// The machine's facts, field by field as the installer has them.
fn facts(mac: &str) -> String {
    json!({
        "$schema": {"version": "1.0"},
        "product": {"fullname": "Proxmox VE", "product": "pve", "enable_btrfs": true},
        "iso": {"release": "9.2", "isorelease": "1"},
        "network_interfaces": [{"link": "enp2s0", "mac": "02:00:00:00:09:09"}, {"link": "enp1s0", "mac": mac}],
        "dmi": {"baseboard": {}, "chassis": {}, "system": {"serial": "SN-7", "name": "a"}},
    })
    .to_string()
}

/// POSTs as the installer does; the status, the type and the body.
fn post(client: &Namespace, url: &str, (accept, body): (&str, &str)) -> (String, String, String) {
    let (accept, kind) = (
        format!("Accept: {accept}"),
        "Content-Type: application/json; charset=utf-8",
    );
    let shown = "\n%{http_code} %{content_type}";
    let asked = [
        "-sS",
        "-H",
        &accept,
        "-H",
        kind,
        "--data-binary",
        body,
        "-w",
        shown,
        url,
    ];
    let answered = String::from_utf8(client.expect("curl", &asked)).expect("our own text");
    let (body, shown) = answered.rsplit_once('\n').expect("curl shows it");
    let (status, kind) = shown.split_once(' ').expect("both");
    (status.to_owned(), kind.to_owned(), body.to_owned())
}

fn room() -> Room {
    let host = format!(
        "[[host]]\nname = \"r1u07\"\nmac = \"{MAC}\"\naddress = \"192.0.2.11\"\nboot = \"install\"\nscript = \"once\"\n\
         answer = \"proxmox\"\nvars = {{ disk = \"/dev/vda\", password_hash = \"$6$x$y\", ssh_keys = [\"ssh-ed25519 AAAA ada\"] }}\n\
         [[host]]\nname = \"r1u08\"\nmac = \"52:54:00:00:00:08\"\naddress = \"192.0.2.12\"\n"
    );
    Room::new(&host).with_script("once", "#!ipxe\n# installs {{ name }}\n")
}

#[test]
fn proxmoxs_installer_is_told_where_its_answer_is_and_gets_it_by_post_and_says_that_it_is_done() {
    let wire = Wire::new();
    let room = room();
    let daemon = Daemon::start(&wire, &room);
    let armed = ask(&room, &["arm", "r1u07", "--for", "2h"]);
    assert!(armed.status.success(), "{}", text(&armed));
    let client = wire.client_at(MAC, "192.0.2.11");
    client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);

    let told = lease(&client, &room, DHCLIENT);
    let url = format!("http://{SERVER}/answer/r1u07/proxmox.toml");
    assert_eq!(
        option(&told, "proxmox-auto-installer-manifest-url"),
        Some(url.clone()),
        "{told}"
    );
    assert_eq!(option(&told, "proxmox-auto-installer-cert-fingerprint"), None, "{told}");
    let unasked = lease(&client, &room, "request subnet-mask, routers;\n");
    assert!(
        !unasked.contains("unknown-250") && !unasked.contains("proxmox"),
        "{unasked}"
    );

    let prefers = "application/json, application/toml;q=0.5";
    let one_for_all = format!("http://{SERVER}/answer");
    for asked in [&url, &one_for_all] {
        let (status, kind, body) = post(&client, asked, (prefers, &facts(MAC)));
        assert_eq!((status.as_str(), kind.as_str()), ("200", "application/json"), "{body}");
        let answer: Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!(answer["disk-setup"]["disk-list"], json!(["/dev/vda"]));
        assert_eq!(answer["global"]["root-ssh-keys"], json!(["ssh-ed25519 AAAA ada"]));
        let (_, kind, toml) = post(&client, asked, ("application/toml", &facts(MAC)));
        assert_eq!(kind, "application/toml");
        assert_eq!(toml::from_str::<Value>(&toml).expect("it is TOML"), answer);
    }
    let other = wire.client_at("52:54:00:00:00:08", "192.0.2.12");
    for (asker, facts) in [(&client, facts("52:54:00:00:00:99")), (&other, facts(MAC))] {
        assert_eq!(post(asker, &url, (prefers, &facts)).0, "403");
    }
    assert_eq!(post(&other, &one_for_all, (prefers, &facts(MAC))).0, "403");

    let (_, _, body) = post(&client, &url, (prefers, &facts(MAC)));
    let answer: Value = serde_json::from_str(&body).expect("it is JSON");
    let hook = answer["post-installation-webhook"]["url"]
        .as_str()
        .expect("it is under way");
    // What udev knows of three dozen disks and interfaces is more than is kept of it.
    let udev: Value = (0..40)
        .map(|number| json!({"size": number, "udev-properties": {"ID": "x".repeat(2000)}}))
        .collect();
    let done = json!({"$schema": {"version": "1.2"}, "debian-version": "13.4", "fqdn": "r1u07.example", "disks": udev});
    for _ in 0..2 {
        assert_eq!(
            post(&client, hook, ("*/*", &done.to_string())).0,
            "200",
            "{}",
            daemon.log_tail()
        );
    }
    assert_eq!(post(&other, hook, ("*/*", &done.to_string())).0, "403");
    assert_eq!(ask_json(&room, "hosts")[0]["install"]["state"], "installed");
    assert_eq!(
        post(&client, &url, (prefers, &facts(MAC))).0,
        "403",
        "its install is over"
    );
}
