//! What a candidate inventory would change, and whom it would wipe.

use crate::fixtures::{self, artifact, draw_token, host, image, sourced, subnet};
use bootwright::admin::api::PlanBasis;
use bootwright::boot::{
    arming::{Arming, KnownInstalls, served::ServedHosts},
    plan::{ChangeKind, Picture, PlannedChanges, Wipe, WipeReason, next_boots},
    render::Templates,
    snapshot::{BootSettings, FileStamp, Host, Hosts, Snapshot, Sourced, Var},
};
use bootwright::model::{BootTarget, By, Dialect, MacAddr, WallTime};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output},
};

const NOW: WallTime = WallTime(1_764_000_000);

fn named(image: &str) -> Option<Sourced<bootwright::model::Name>> {
    Some(sourced(image.parse().unwrap()))
}

fn settings(target: BootTarget) -> BootSettings {
    BootSettings {
        image: named("debian-12"),
        answer: named("preseed"),
        ..fixtures::settings(target, "installer")
    }
}

fn target(name: &str, last: u8) -> Host {
    Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
        address: Some(Ipv4Addr::new(192, 0, 2, last)),
        settings: settings(BootTarget::Install),
        ..host(name)
    }
}

fn with(host: &Host, change: impl FnOnce(&mut Host)) -> Host {
    let mut changed = host.clone();
    change(&mut changed);
    changed
}

fn room_saying(hosts: Vec<Host>, script: &str) -> Snapshot {
    let mut templates = Templates::new();
    for (name, text) in [("installer", script), ("local", "#!ipxe\n"), ("unknown", "#!ipxe\n")] {
        let file = format!("{name}.ipxe");
        templates
            .add_script(&name.parse().unwrap(), Dialect::Ipxe, &file, text)
            .unwrap();
    }
    let preseed = "preseed".parse().unwrap();
    templates
        .add_answer(&preseed, "preseed.cfg", "answers/preseed.cfg", "for {{ name }}")
        .unwrap();
    let images = ["debian-12", "debian-13"].map(|name| (name.parse().unwrap(), image(name, "/images")));
    Snapshot {
        hosts: Hosts::new(hosts),
        templates,
        images: BTreeMap::from(images),
        subnets: vec![subnet("192.0.2.0/24")],
        ..fixtures::snapshot()
    }
}

fn room(hosts: Vec<Host>) -> Snapshot {
    room_saying(hosts, "#!ipxe\n# installs {{ name }} {{ image.name }} {{ vars }}\n")
}

/// A daemon that has been serving a room.
struct Running {
    snapshot: Snapshot,
    arming: Arming,
    served: ServedHosts,
}

impl Running {
    fn new(hosts: Vec<Host>) -> Running {
        let (snapshot, mut served) = (room(hosts), ServedHosts::default());
        for record in served.newcomers(&snapshot).records {
            served.note(&record);
        }
        Running {
            snapshot,
            arming: Arming::default(),
            served,
        }
    }

    fn armed(mut self, host: &Host) -> Running {
        let until = (WallTime(NOW.0 + 3600), By::Inventory);
        let change = self.arming.arm(NOW, host, until).unwrap();
        self.arming.settle(&change, true);
        self
    }

    fn installed(self, host: &Host) -> Running {
        use bootwright::boot::callback::Callback;
        let mut armed = self.armed(host);
        let asker = (host, Ipv4Addr::new(192, 0, 2, 7));
        armed.arming.hand_out(NOW, asker, draw_token).unwrap();
        let done = (draw_token(), Callback::Done);
        armed.arming.heard(NOW, asker, done).unwrap();
        armed
    }

    fn installing(self, host: &Host) -> Running {
        let mut armed = self.armed(host);
        let asker = (host, Ipv4Addr::new(192, 0, 2, 7));
        armed.arming.hand_out(NOW, asker, draw_token).unwrap();
        armed
    }

    /// As it comes over the socket.
    fn basis(&mut self) -> PlanBasis {
        let basis = PlanBasis {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: 7,
            ports: self.snapshot.ports,
            picture: Picture::of(&self.snapshot),
            boots: next_boots(&self.snapshot, &mut self.arming, NOW),
            installs: KnownInstalls {
                date: NOW,
                states: self.arming.in_brief(),
                served: self.served.clone(),
            },
        };
        serde_json::from_slice(&serde_json::to_vec(&basis).unwrap()).unwrap()
    }

    fn plan(&mut self, hosts: Vec<Host>) -> PlannedChanges {
        PlannedChanges::of(&self.basis(), &room(hosts))
    }
}

fn wiped(plan: &PlannedChanges) -> Vec<(&str, WipeReason, bool)> {
    let wipes = plan.wipes.iter();
    wipes
        .map(|Wipe { host, why, already, .. }| (host.as_str(), *why, *already))
        .collect()
}

/// Of whom, the key, old and new.
type ChangedValue<'p> = (Vec<&'p str>, &'p str, Option<&'p str>, Option<&'p str>);

/// Everything that is changed of hosts.
fn changed(plan: &PlannedChanges) -> Vec<ChangedValue<'_>> {
    let groups = plan.hosts.iter();
    groups
        .flat_map(|group| {
            group.difference.values.iter().map(|value| {
                (
                    group.hosts.iter().map(String::as_str).collect(),
                    value.key.as_str(),
                    value.old.as_deref(),
                    value.new.as_deref(),
                )
            })
        })
        .collect()
}

#[test]
fn the_same_inventory_changes_nothing_and_names_who_is_armed_all_the_same() {
    let host = target("r1u07", 7);
    let mut running = Running::new(vec![host.clone()]);
    let plan = running.plan(vec![host.clone()]);
    assert!(plan.changes_nothing() && plan.wipes.is_empty(), "{plan:?}");
    let mut armed = running.armed(&host);
    let plan = armed.plan(vec![host]);
    assert!(plan.changes_nothing(), "{plan:?}");
    assert_eq!(wiped(&plan), [("r1u07", WipeReason::Armed, true)]);
}

#[test]
fn a_host_that_boots_an_unattended_installer_every_time_is_wiped_without_being_armed() {
    let host = target("r1u07", 7);
    let mut running = Running::new(vec![host.clone()]);
    let live = with(&host, |host| host.settings = settings(BootTarget::Live));
    assert!(
        wiped(&running.plan(vec![live.clone()])).is_empty(),
        "no installer is in its script"
    );
    let installer = "#!ipxe\nkernel {{ image.kernel }} auto=true priority=critical\n";
    let candidate = |hosts| room_saying(hosts, installer);
    let plan = PlannedChanges::of(&running.basis(), &candidate(vec![live.clone()]));
    assert_eq!(wiped(&plan), [("r1u07", WipeReason::LiveInstaller, false)]);
    let locked = with(&live, |host| host.locked = true);
    let plan = PlannedChanges::of(&running.basis(), &candidate(vec![locked, host]));
    assert!(wiped(&plan).is_empty(), "{plan:?}");
    // It was so before: it is said, and it is no change.
    running.snapshot = candidate(vec![live.clone()]);
    let plan = PlannedChanges::of(&running.basis(), &candidate(vec![live]));
    assert_eq!(wiped(&plan), [("r1u07", WipeReason::LiveInstaller, true)]);
    assert!(plan.changes_nothing(), "{plan:?}");
}

#[test]
fn a_new_host_that_is_set_to_install_is_wiped_and_others_are_not() {
    let known = target("r1u07", 7);
    let mut running = Running::new(vec![known.clone()]);
    let to_its_disk = Host {
        settings: settings(BootTarget::Local),
        ..target("r1u09", 9)
    };
    let locked = Host {
        locked: true,
        ..target("r1u10", 10)
    };
    let plan = running.plan(vec![known.clone(), target("r1u08", 8), to_its_disk, locked]);
    assert_eq!(wiped(&plan), [("r1u08", WipeReason::FirstAppearance, false)]);
    assert_eq!(plan.wipes[0].image.as_deref(), Some("debian-12"));
    let added = plan.hosts.iter().filter(|group| group.kind == ChangeKind::Added);
    assert_eq!(added.map(|group| group.hosts.len()).sum::<usize>(), 3);
    // A store that never served an inventory arms nobody.
    let mut fresh = Running {
        served: ServedHosts::default(),
        ..Running::new(vec![])
    };
    assert!(wiped(&fresh.plan(vec![known])).is_empty());
}

#[test]
fn a_host_that_is_renamed_or_whose_mac_is_given_away_is_not_wiped() {
    let (one, two) = (target("r1u07", 7), target("r1u08", 8));
    let mut running = Running::new(vec![one.clone(), two.clone()]).armed(&one);
    let renamed = with(&one, |host| host.name = "db1".parse().unwrap());
    let plan = running.plan(vec![renamed, two.clone()]);
    assert!(plan.wipes.is_empty(), "{plan:?}");
    assert_eq!(
        (plan.renamed[0].from.as_str(), plan.renamed[0].to.as_str()),
        ("r1u07", "db1")
    );
    assert_eq!(plan.disarmed, ["r1u07"]);

    let (mac_one, mac_two) = (one.macs.clone(), two.macs.clone());
    let swapped = vec![
        with(&one, |host| host.macs = mac_two.clone()),
        with(&two, |host| host.macs = mac_one.clone()),
    ];
    let plan = running.plan(swapped);
    assert!(plan.wipes.is_empty(), "{plan:?}");
    let (old, new) = (Some("02:00:00:00:00:07"), Some("02:00:00:00:00:08"));
    assert!(changed(&plan).contains(&(vec!["r1u07"], "mac", old, new)), "{plan:?}");
    // And to a host that was not there.
    let plan = running.plan(vec![with(&one, |host| host.name = "new".parse().unwrap())]);
    assert!(plan.wipes.is_empty(), "{plan:?}");
}

#[test]
fn an_install_under_way_is_named_whose_host_is_renamed_taken_out_or_another_machine() {
    let host = target("r1u07", 7);
    let interrupted = |hosts: Vec<Host>| {
        let mut running = Running::new(vec![host.clone()]).installing(&host);
        running.plan(hosts).interrupted
    };
    let image = with(&host, |host| host.settings.image = named("debian-13"));
    let to_its_disk = with(&host, |host| host.settings.boot = Some(sourced(BootTarget::Local)));
    for goes_on in [host.clone(), image, to_its_disk] {
        assert!(interrupted(vec![goes_on]).is_empty());
    }
    let renamed = with(&host, |host| host.name = "r1u99".parse().unwrap());
    let other = with(&host, |host| host.macs = vec![MacAddr([2, 0, 0, 0, 0, 9])]);
    for hosts in [vec![renamed], vec![], vec![other]] {
        assert_eq!(interrupted(hosts), ["r1u07"]);
    }
    let mut armed = Running::new(vec![host.clone()]).armed(&host);
    assert!(armed.plan(vec![]).interrupted.is_empty(), "it has not begun");
}

#[test]
fn another_image_is_a_wipe_of_an_armed_host_and_none_of_an_installed_one() {
    let host = target("r1u07", 7);
    let newer = with(&host, |host| host.settings.image = named("debian-13"));
    let image = (vec!["r1u07"], "image", Some("debian-12"), Some("debian-13"));
    let plan = Running::new(vec![host.clone()]).armed(&host).plan(vec![newer.clone()]);
    assert_eq!(wiped(&plan), [("r1u07", WipeReason::Armed, false)]);
    assert_eq!(plan.wipes[0].image.as_deref(), Some("debian-13"));
    assert!(changed(&plan).contains(&image), "{plan:?}");
    let mut installed = Running::new(vec![host.clone()]).installed(&host);
    let plan = installed.plan(vec![newer]);
    assert!(plan.wipes.is_empty() && !plan.changes_nothing(), "{plan:?}");
    assert!(changed(&plan).contains(&image));
}

#[test]
fn a_running_host_that_is_set_to_install_is_not_armed_by_it() {
    let local = Host {
        settings: settings(BootTarget::Local),
        ..target("r1u07", 7)
    };
    let plan = Running::new(vec![local]).plan(vec![target("r1u07", 7)]);
    assert!(plan.wipes.is_empty(), "{plan:?}");
    assert_eq!(
        changed(&plan),
        [(vec!["r1u07"], "boot", Some("local"), Some("install"))]
    );
    let then = plan.hosts[0].boots_then.as_ref().unwrap();
    assert_eq!(then.target, "local");
    assert!(then.why.as_ref().is_some_and(|why| why.contains("not armed")));
}

#[test]
fn an_edit_that_reaches_forty_hosts_is_said_once() {
    let hosts: Vec<Host> = (1..=40)
        .map(|number| target(&format!("r1u{number:02}"), number))
        .collect();
    let edited = hosts.iter().map(|host| {
        with(host, |host| {
            let zone = sourced(Var::Text("UTC".to_owned()));
            host.settings.vars.insert("zone".to_owned(), zone);
            let password = sourced(Var::Text("hunter2".to_owned()));
            host.settings.vars.insert("root_password".to_owned(), password);
        })
    });
    let plan = Running::new(hosts.clone()).plan(edited.collect());
    assert_eq!(plan.hosts.len(), 1, "{plan:?}");
    assert_eq!(plan.hosts[0].hosts.len(), 40);
    let keys: Vec<&str> = changed(&plan).iter().map(|(_, key, ..)| *key).collect();
    assert_eq!(keys, ["vars.root_password", "vars.zone"]);
    assert_eq!(plan.hosts[0].difference.texts, ["script installer.ipxe"]);
    let shown = serde_json::to_string(&plan).unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("UTC"), "{shown}");
}

#[test]
fn what_machines_share_is_compared_too() {
    let hosts = vec![target("r1u07", 7)];
    let mut running = Running::new(hosts.clone());
    let basis = running.basis();
    let mut candidate = room_saying(hosts, "#!ipxe\n# installs {{ name }} otherwise\n");
    candidate.subnets[0].router = Some(Ipv4Addr::new(192, 0, 2, 254));
    candidate.subnets.push(subnet("198.51.100.0/24"));
    let debian = candidate.images.get_mut("debian-12").unwrap();
    debian.kernel = Some(artifact("linux", [7; 32], FileStamp::NO_FILE));
    let plan = PlannedChanges::of(&basis, &candidate);
    assert!(plan.wipes.is_empty());
    assert_eq!(plan.hosts[0].difference.texts, ["script installer.ipxe"]);
    assert!(plan.hosts[0].difference.values.is_empty());
    let parts: Vec<(&str, ChangeKind)> = plan
        .appliance
        .iter()
        .map(|part| (part.what.as_str(), part.kind))
        .collect();
    assert_eq!(
        parts,
        [
            ("image debian-12", ChangeKind::Changed),
            ("subnet 192.0.2.0/24", ChangeKind::Changed),
            ("subnet 198.51.100.0/24", ChangeKind::Added)
        ]
    );
    assert_eq!(plan.appliance[0].hosts, ["r1u07"]);
    assert_eq!(plan.appliance[0].difference.values[0].key, "kernel linux");
}

fn command(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright"));
    command.args(arguments).output().unwrap()
}

fn planned(socket: &Path) -> (Option<i32>, Value) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let output = command(&[
        "plan",
        &config.to_string_lossy(),
        "--json",
        "--socket",
        &socket.to_string_lossy(),
    ]);
    let printed = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    (output.status.code(), answer)
}

#[test]
fn without_a_daemon_of_the_same_version_there_is_no_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (code, answer) = planned(&folder.path().join("none.sock"));
    assert_eq!((code, &answer["code"]), (Some(1), &Value::from("no-daemon")));
    let mut running = Running::new(vec![]);
    let other = PlanBasis {
        version: "9.9.9".to_owned(),
        ..running.basis()
    };
    let refusal = r#"{"api":1,"code":"not-found","title":"t","detail":"nothing is at /v1/plan-basis"}"#;
    for (head, body) in [
        ("404 Not Found", refusal.to_owned()),
        ("200 OK", serde_json::to_string(&other).unwrap()),
    ] {
        let socket = folder.path().join("admin.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
            while asked.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let length = body.len();
            let version = "Server: bootwright/0.1.0\r\nBootwright-API: 1";
            write!(
                stream,
                "HTTP/1.1 {head}\r\n{version}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        });
        let (code, answer) = planned(&socket);
        assert_eq!(
            (code, &answer["code"]),
            (Some(1), &Value::from("version-mismatch")),
            "{head}"
        );
        assert!(
            answer["help"]
                .as_str()
                .is_some_and(|help| help.contains("systemctl restart bootwright"))
        );
    }
}
