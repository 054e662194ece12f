//! Slips in an inventory that once hid behind others, or drew a crowd of complaints about what was right;
//! and what `check` can be asked to do.

use super::*;
use std::process::{Command, Output};

fn errors(inventory: &str) -> Vec<Diagnostic> {
    Room::new(inventory).report().errors
}

/// How often a diagnostic stands at that place.
fn at(diagnostics: &[Diagnostic], place: (u32, u32)) -> usize {
    diagnostics.iter().filter(|one| one.place == Some(place)).count()
}

fn many_hosts(more: &str) -> String {
    let host = |number: u32| format!("[[host]]\nname = \"h{number}\"\nserial = \"S{number}\"\n{more}");
    (0..95).map(host).collect()
}

#[test]
fn one_single_bracket_among_many_hosts_is_one_error_at_its_line() {
    let hosts = many_hosts("");
    for before in [true, false] {
        let single = "[host]\nname = \"single\"\nserial = \"x\"\n";
        let inventory = match before {
            true => format!("{SUBNET}{single}{hosts}"),
            false => format!("{SUBNET}{hosts}{single}{}", many_hosts("").replace("\"h", "\"i")),
        };
        let line = inventory.lines().position(|line| line == "[host]").unwrap() + 1;
        let errors = errors(&inventory);
        assert_eq!(errors.len(), 1, "{}", shown(&errors));
        assert_eq!(at(&errors, (u32::try_from(line).unwrap(), 1)), 1, "{}", shown(&errors));
        assert!(errors[0].to_string().contains("write it as [[host]]"), "{}", errors[0]);
    }
}

#[test]
fn a_misspelt_table_is_one_error_and_not_one_for_every_host_that_counts_on_it() {
    let hosts = many_hosts("profile = \"x\"\n");
    let profiles = errors(&format!("{SUBNET}[profiles.x]\nboot = \"local\"\n{hosts}"));
    assert_eq!((profiles.len(), at(&profiles, (5, 2))), (1, 1), "{}", shown(&profiles));
    let reserved = "[[host]]\nname = \"a\"\nserial = \"1\"\naddress = \"192.0.2.9\"\n";
    let subnets = errors(&format!("[[subnets]]\ncidr = \"192.0.2.0/24\"\n{reserved}"));
    assert_eq!((subnets.len(), at(&subnets, (1, 3))), (1, 1), "{}", shown(&subnets));
    let unnamed = errors(&format!(
        "{SUBNET}[profile.\"a b\"]\n[[host]]\nname = \"a\"\nserial = \"1\"\nprofile = \"c\"\n"
    ));
    assert_eq!((unnamed.len(), at(&unnamed, (5, 10))), (1, 1), "{}", shown(&unnamed));
}

#[test]
fn a_hosts_twin_has_its_other_faults_named() {
    let host = |name: &str, mac: u8, address: u8| {
        format!("[[host]]\nname = \"{name}\"\nmac = \"52:54:00:00:00:{mac:02}\"\naddress = \"192.0.2.{address}\"\n")
    };
    let inventory = format!("{SUBNET}{}{}{}", host("a", 1, 11), host("b", 2, 12), host("a", 2, 11));
    let errors = errors(&inventory);
    // Its name is `a`'s, its MAC is `b`'s; that its address is `a`'s goes without saying.
    assert_eq!(
        [at(&errors, (14, 8)), at(&errors, (15, 7)), errors.len()],
        [1, 1, 2],
        "{}",
        shown(&errors)
    );
}

#[test]
fn a_hostname_that_is_another_hosts_name_is_reported() {
    let errors = errors(&format!(
        "{SUBNET}[[host]]\nname = \"a\"\nserial = \"1\"\n[[host]]\nname = \"b\"\nserial = \"2\"\nhostname = \"A\"\n"
    ));
    assert_eq!((at(&errors, (11, 12)), errors.len()), (1, 1), "{}", shown(&errors));
}

#[test]
fn a_syntax_error_says_that_it_hides_the_rest() {
    let errors = errors(&format!("{SUBNET}[[host]]\nname = a b\nadress = 1 2\n"));
    let reported: Vec<bool> = errors
        .iter()
        .map(|one| one.to_string().contains("nothing else is judged until this is mended"))
        .collect();
    assert_eq!(reported, [true, false], "{}", shown(&errors));
}

#[test]
fn a_name_that_no_installer_takes_is_refused_unless_it_has_a_hostname() {
    for (name, better) in [
        ("r1_u01", "r1-u01"),
        ("r1u02-", "r1u02"),
        ("r1.-a", "r1.a"),
        ("r1u03.", "r1u03"),
    ] {
        let host = format!("{SUBNET}[[host]]\nname = \"{name}\"\nserial = \"1\"\n");
        let report = errors(&host);
        assert_eq!(
            (at(&report, (6, 8)), report.len()),
            (1, 1),
            "{name}: {}",
            shown(&report)
        );
        assert!(
            report[0].to_string().contains(&format!("hostname = \"{better}")),
            "{}",
            report[0]
        );
        assert_eq!(errors(&format!("{host}hostname = \"r1u01\"\n")).len(), 0);
    }
    assert_eq!(
        errors(&format!("{SUBNET}[[host]]\nname = \"r1u07.rack-1\"\nserial = \"1\"\n")).len(),
        0
    );
    assert_eq!(at(&errors(&host_with("serial = \"1\"\nhostname = \"-a\"")), (8, 12)), 1);
}

#[test]
fn what_a_host_calls_itself_is_in_its_templates() {
    let room = Room::new(&host_with(
        "serial = \"1\"\nmac = \"52:54:00:00:00:07\"\nhostname = \"db1\"\nscript = \"own\"",
    ));
    room.write("scripts/own.ipxe", "#!ipxe\n{{ name }} {{ hostname }}\n");
    let text = script(&room.compiled().snapshot, "52:54:00:00:00:07", Firmware::Bios);
    assert_eq!(text, "#!ipxe\na db1\n");
}

#[test]
fn a_var_that_no_template_asks_for_is_warned_of_once() {
    let room = Room::new(&format!(
        "{SUBNET}{}",
        many_hosts("vars = { pasword_hash = \"x\", disk = \"y\" }\n")
    ));
    let warnings = room.compiled().warnings;
    assert_eq!((at(&warnings, (8, 25)), warnings.len()), (1, 1), "{}", shown(&warnings));
    let reported = warnings[0].to_string();
    assert!(
        reported.contains("`vars.pasword_hash`") && reported.contains("did you mean `password_hash`?"),
        "{reported}"
    );
    room.write("answers/all.json", "{{ vars | tojson }}\n");
    assert_eq!(room.compiled().warnings.len(), 0);
}

#[test]
fn a_folder_in_a_folder_of_inventories_is_reported() {
    let room = Room::new("");
    fs::remove_file(room.path("inventory.toml")).unwrap();
    room.write("inventory.toml/a.toml", SUBNET);
    room.write(
        "inventory.toml/row-2/b.toml",
        "[[host]]\nname = \"a\"\nserial = \"1\"\n",
    );
    let loaded = room.compiled();
    assert_eq!(loaded.snapshot.hosts.len(), 0);
    assert_eq!(loaded.warnings.len(), 1, "{}", shown(&loaded.warnings));
    assert!(loaded.warnings[0].file.ends_with("inventory.toml/row-2"));
}

#[test]
fn an_address_to_listen_at_does_nothing_and_says_so() {
    let room = Room::new(SUBNET);
    room.write(
        "bootwright.toml",
        &format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:8067\"\n"),
    );
    let warnings = room.compiled().warnings;
    assert_eq!((at(&warnings, (9, 10)), warnings.len()), (1, 1), "{}", shown(&warnings));
}

#[test]
fn what_stands_in_the_shipped_settings_is_the_default() {
    let room = Room::new(SUBNET);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bootwright.toml");
    let of = |config: &str| {
        room.write("bootwright.toml", config);
        bootwright::config::appliance(&room.path("bootwright.toml")).unwrap()
    };
    let text = fs::read_to_string(shipped).unwrap();
    assert_eq!(of(&text), of("[network]\ninterfaces = [\"eno2\"]\n"));
    assert!(text.contains("but for `scripts` and `images` where `make install` put this file"));
}

fn check(room: &Room, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright"));
    command.arg("check").args(arguments).arg(room.path("bootwright.toml"));
    command.output().unwrap()
}

#[test]
fn an_inventory_can_be_checked_where_its_images_are_not() {
    let room = Room::new(&host_with(
        "mac = \"52:54:00:00:00:07\"\nboot = \"live\"\nimage = \"elsewhere\"\nscript = \"debian-installer\"\n\
         answer = \"preseed\"\nvars = { disk = \"/dev/vda\" }",
    ));
    fs::remove_dir_all(room.path("images")).unwrap();
    assert!(!check(&room, &[]).status.success());
    assert!(check(&room, &["--without-images"]).status.success());
    // A description that is kept beside the inventory is judged, and its artifacts are not looked for.
    room.image("described", "arm64");
    fs::remove_file(room.path("images/described/linux")).unwrap();
    assert!(check(&room, &["--without-images"]).status.success());
    room.write("images/described/image.toml", "kernel = { file = \"linux\" }\n");
    assert!(!check(&room, &["--without-images"]).status.success());
    // Everything else is judged as ever.
    fs::remove_dir_all(room.path("images")).unwrap();
    // What reads `pxelinux.cfg` itself needs none for iPXE, and the image may be for such a machine.
    fs::remove_file(room.path("scripts/debian-installer.ipxe")).unwrap();
    assert!(check(&room, &["--without-images"]).status.success());
    fs::remove_file(room.path("scripts/debian-installer.pxelinux")).unwrap();
    assert!(!check(&room, &["--without-images"]).status.success());
}

/// Of an image that is not there nobody knows what machines it is for, and how many initrds it has.
#[test]
fn an_image_that_is_not_there_to_be_checked_is_not_held_against_its_script_and_loader() {
    let host = "mac = \"52:54:00:00:00:07\"\nboot = \"live\"\nimage = \"elsewhere\"\nscript = \"own\"";
    let is_sound = |script: &str, text: &str| {
        let room = Room::new(&host_with(host));
        room.write("bootwright.toml", &format!("{CONFIG}[unknown]\npolicy = \"ignore\"\n"));
        room.write(&format!("scripts/{script}"), text);
        for loader in ["undionly.kpxe", "snponly.efi"] {
            fs::remove_file(room.path("loaders").join(loader)).unwrap();
        }
        let run = check(&room, &["--without-images"]);
        (run.status.success(), String::from_utf8(run.stderr).unwrap())
    };
    for (script, text, compiled) in [
        ("own.pxelinux", "LABEL linux\n  KERNEL {{ image.path }}linux\n", true),
        ("own.ipxe", "#!ipxe\ninitrd {{ image.initrds[1].url }}\n", true),
        ("own.ipxe", "#!ipxe\ninitrd {{ image.initrds[99].url }}\n", false),
    ] {
        let (is_sound, reported) = is_sound(script, text);
        assert_eq!(is_sound, compiled, "{script} {text}: {reported}");
    }
}

#[test]
fn what_check_finds_goes_to_standard_output_where_it_is_asked_to() {
    let room = Room::new(&host_with("serial = \"1\"\nadress = 1"));
    for (arguments, to_stdout) in [(&[][..], false), (&["--stdout"], true)] {
        let run = check(&room, arguments);
        let (reported, silent) = match to_stdout {
            true => (run.stdout, run.stderr),
            false => (run.stderr, run.stdout),
        };
        let reported = String::from_utf8(reported).unwrap();
        assert!(
            reported.contains("`adress`") && reported.ends_with("1 error\n"),
            "{reported}"
        );
        assert!(silent.is_empty() && run.status.code() == Some(1));
    }
}

#[test]
fn a_host_with_a_port_that_nobody_is_believed_to_tell_is_an_error_and_where_only_the_router_is_a_warning() {
    let subnet = |cidr: &str, lines: &str| format!("[[subnet]]\ncidr = \"{cidr}\"\n{lines}");
    let here = |lines: &str| subnet("192.0.2.0/24", lines);
    let there = |lines: &str| subnet("198.51.100.0/24", lines);
    let shared = "network = \"rack\"\n";
    let host = |lines: &str| format!("[[host]]\nname = \"r1u07\"\nport = \"sw7/1\"\n{lines}");
    let at_home = host("address = \"192.0.2.9\"\n");
    let (router, other_router) = ("router = \"192.0.2.1\"\n", "router = \"198.51.100.1\"\n");
    // Errors, warnings, and the line of what is said.
    let cases = [
        (here("") + &at_home, (1, 0), Some(2)),
        (here("ports_from = []\n") + &at_home, (1, 0), Some(2)),
        (here("") + &host(""), (1, 0), Some(2)),
        (here(router) + &at_home, (0, 1), Some(2)),
        (here(router) + &host(""), (0, 1), Some(2)),
        (here(&format!("{router}ports_from = []\n")) + &at_home, (1, 0), Some(2)),
        (
            here(&format!("{router}ports_from = [\"192.0.2.1\"]\n")) + &at_home,
            (0, 0),
            None,
        ),
        (here("ports_from = [\"switch\"]\n") + &at_home, (0, 0), None),
        // What another subnet says counts for another wire, unless it is the same.
        (there(other_router) + &here("") + &at_home, (0, 1), Some(5)),
        (there(other_router) + &here("") + &host(""), (0, 1), Some(2)),
        (
            there(&format!("{shared}ports_from = [\"switch\"]\n")) + &here(shared) + &at_home,
            (0, 0),
            None,
        ),
        // What can't be read is one error, and a host without a port is none.
        (here("ports_from = [\"switches\"]\n") + &at_home, (1, 0), Some(3)),
        (here("") + "[[host]]\nname = \"r1u07\"\nserial = \"1\"\n", (0, 0), None),
    ];
    for (inventory, counts, line) in cases {
        let (errors, warnings) = match Room::new(&inventory).load() {
            Ok(loaded) => (Vec::new(), loaded.warnings),
            Err(report) => (report.errors, report.warnings),
        };
        let reported: Vec<Diagnostic> = errors.iter().chain(&warnings).cloned().collect();
        assert_eq!((errors.len(), warnings.len()), counts, "{inventory}\n{reported:?}");
        let lines: Vec<u32> = reported.iter().filter_map(|reported| Some(reported.place?.0)).collect();
        assert_eq!(lines, Vec::from_iter(line), "{inventory}\n{reported:?}");
    }
}

#[test]
fn a_guest_with_hosts_at_ports_needs_a_subnet_that_says_whose_word_counts() {
    let room = Room::new("[[host]]\nname = \"r1u07\"\nport = \"sw7/1\"\n");
    room.write(
        "bootwright.toml",
        &CONFIG.replace("interfaces", "mode = \"proxy\"\ninterfaces"),
    );
    let errors = room.report().errors;
    assert_eq!((errors.len(), at(&errors, (3, 8))), (1, 1), "{errors:?}");
}

#[test]
fn whose_word_on_switch_ports_counts_is_the_routers_or_whom_the_subnet_names() {
    let of = |lines: &str| {
        let ports_from = Room::new(&format!("[[subnet]]\ncidr = \"192.0.2.0/24\"\n{lines}\n")).compiled();
        let ports_from = ports_from.snapshot.subnets[0].ports_from.clone();
        let relays: Vec<String> = ports_from.relays.iter().map(ToString::to_string).collect();
        (relays.join(" "), ports_from.switches)
    };
    let router = "router = \"192.0.2.1\"\n";
    for (lines, relays, switches) in [
        (String::new(), "", false),
        (router.to_owned(), "192.0.2.1/32", false),
        (format!("{router}ports_from = []"), "", false),
        (format!("{router}ports_from = [\"switch\"]"), "", true),
        (
            "ports_from = [\"192.0.2.2\", \"198.18.0.0/24\", \"switch\"]".to_owned(),
            "192.0.2.2/32 198.18.0.0/24",
            true,
        ),
    ] {
        assert_eq!(of(&lines), (relays.to_owned(), switches), "{lines}");
    }
    let wrong = errors("[[subnet]]\ncidr = \"192.0.2.0/24\"\nports_from = [\"switches\"]\n");
    assert_eq!((wrong.len(), at(&wrong, (3, 15))), (1, 1), "{}", shown(&wrong));
}
