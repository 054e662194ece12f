//! Hosts that differ in nothing but their words are tried by a few of them. What is wrong with one of them alone is
//! found all the same, and named with it, wherever it stands among the others.

use super::*;

/// Hosts of a room.
const HOSTS: usize = 40;

/// Where the odd host stands among them.
const PLACES: [usize; 4] = [0, 1, 2, HOSTS - 1];

/// A script that shows, quotes, asks and includes.
const SCRIPT: &str = "#!ipxe\nkernel {{ image.kernel }} host={{ name }} disk={{ vars.disk | arg }} {{ vars.more | default(\"a\") }} \
                      {{ cmdline }}\n{% if vars.role == \"db\" %}\n{% include \"retry\" %}\n{% include \"own\" %}\n{% endif %}\n\
                      {% if uuid %}\necho {{ vars.of_uuid }}\n{% endif %}\nboot\n";
const USER_DATA: &str =
    "#cloud-config\nhostname: {{ hostname }}\ntag: {{ vars.tag }}\n{{ vars.one }}: 1\n{{ vars.two }}: 2\n";
const KICKSTART: &str = "text\n{{ vars.command | default(\"skipx\") }}\n";
const IGNITION: &str = "{\"ignition\": {\"version\": \"{{ vars.version | default(\"3.3.0\") }}\"}}\n";

/// A room in which one host has other lines than all the others.
fn room(odd_at: usize, (usual, odd): (&str, &str)) -> Room {
    let mut inventory = format!(
        "{SUBNET}[profile.all]\nimage = \"debian-12\"\nboot = \"live\"\nscript = \"own-script\"\nanswer = \"all\"\n"
    );
    for host in 0..HOSTS {
        let (name, lines) = match host == odd_at {
            true => ("odd".to_owned(), odd),
            false => (format!("r{host}u07"), usual),
        };
        inventory += &format!(
            "[[host]]\nname = \"{name}\"\nmac = \"52:54:00:00:00:{:02x}\"\naddress = \"192.0.2.{}\"\nserial = \"SN{host:04}\"\n\
             profile = \"all\"\n{lines}\n",
            host + 1,
            host + 10
        );
    }
    let room = Room::new(&inventory);
    room.write("scripts/own-script.ipxe", SCRIPT);
    room.write("scripts/own.ipxe", "echo {{ vars.only_here }}\n");
    room.write("answers/all/user-data", USER_DATA);
    room.write("answers/all/all.ks", KICKSTART);
    room.write("answers/all/all.ign", IGNITION);
    room
}

const USUAL: &str = "vars = { disk = \"/dev/sda\", tag = \"t7\", role = \"web\", one = \"k1\", two = \"k2\" }";

/// The usual lines with other ones in them.
fn usual_but(from: &str, to: &str) -> String {
    assert!(USUAL.contains(from));
    USUAL.replace(from, to)
}

#[test]
fn hosts_that_differ_in_their_words_alone_are_sound() {
    let report = room(3, (USUAL, &usual_but("/dev/sda", "/dev/nvme0n1"))).load();
    let warnings = report
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .warnings;
    assert_eq!(shown(&warnings), "");
}

#[test]
fn what_is_wrong_with_one_host_alone_is_found_wherever_it_stands() {
    let long = format!("more = \"{}\" }}", "x".repeat(2100));
    let own = |from: &str, to: &str| usual_but(from, to);
    for (odd, file, words) in [
        // A variable that it lacks, in a script and in an answer.
        (
            own("disk = \"/dev/sda\", ", ""),
            "own-script.ipxe",
            "`vars.disk` has no value here",
        ),
        (own("tag = \"t7\", ", ""), "user-data", "`vars.tag` has no value here"),
        // A value that a filter refuses, and one that no script may have.
        (
            own("/dev/sda", "/dev/sda 1"),
            "own-script.ipxe",
            "can't be one argument",
        ),
        (own("}", ", more = \"a || b\" }"), "own-script.ipxe", "end the command"),
        // A value that breaks YAML, and plain words that do: of two keys that are one, and one that the text has.
        (own("t7", "a: b: ["), "user-data", "rendered for host `odd`"),
        (own("k2", "k1"), "user-data", "duplicated key"),
        (own("k2", "hostname"), "user-data", "duplicated key"),
        // A branch that it alone takes, and a file that it alone includes.
        (
            own("\"web\"", "\"db\""),
            "own.ipxe",
            "`vars.only_here` has no value here",
        ),
        (
            format!("uuid = \"11111111-2222-3333-4444-555555555555\"\n{USUAL}"),
            "own-script.ipxe",
            "`vars.of_uuid` has no value here",
        ),
        // Plain words where a reader knows only some.
        (own("}", ", command = \"tetx\" }"), "all.ks", "tetx"),
        (own("}", ", version = \"9.9.9\" }"), "all.ign", "9.9.9"),
        // A plain word that starts an installer, and parameters that are too many.
        (own("}", ", more = \"autoinstall\" }"), "inventory.toml", "autoinstall"),
        (own("}", &format!(", {long}")), "inventory.toml", "the rest is lost"),
    ] {
        for odd_at in PLACES {
            // The others have such values too, and theirs are sound.
            let usual = usual_but("}", ", more = \"quiet\", command = \"text\", version = \"3.4.0\" }");
            let room = room(odd_at, (&usual, &odd));
            let loaded = room.load();
            let found = match &loaded {
                Ok(loaded) => &loaded.warnings,
                Err(report) if report.errors.is_empty() => &report.warnings,
                Err(report) => &report.errors,
            };
            let is_it = |one: &&Diagnostic| {
                one.message.contains("host `odd`") && !one.message.contains("more)") && one.message.contains(words)
            };
            let it: Vec<&Diagnostic> = found.iter().filter(is_it).collect();
            let is_there = match file {
                "inventory.toml" => it.iter().any(|one| one.place.is_some()),
                file => it.iter().any(|one| one.file.ends_with(file) && one.place.is_some()),
            };
            assert!(is_there, "{odd} at {odd_at}: {}", shown(found));
        }
    }
}

#[test]
fn what_is_wrong_with_many_is_one_cause_and_counts_them_all() {
    let lacking = usual_but("disk = \"/dev/sda\", ", "");
    let report = room(HOSTS, (&lacking, "")).report();
    let found: Vec<&Diagnostic> = report
        .errors
        .iter()
        .filter(|one| one.message.contains("vars.disk"))
        .collect();
    assert_eq!(found.len(), 1, "{}", shown(&report.errors));
    assert!(
        found[0].message.contains("host `r0u07` (and 39 more)"),
        "{}",
        found[0].message
    );
    let starts = usual_but("}", ", more = \"autoinstall\" }");
    let warnings = room(HOSTS, (&starts, "")).compiled().warnings;
    assert!(
        warnings[0].message.contains("host `r0u07` (and 39 more) boots `live`"),
        "{}",
        shown(&warnings)
    );
}

/// An inventory that is long enough to be read in pieces, with something between and something in one host.
fn long(between: &str, in_one: &str) -> String {
    let mut inventory = "[[subnet]]\ncidr = \"198.18.0.0/15\"\n".to_owned();
    for host in 0..1500 {
        inventory += &format!(
            "[[host]] # the next one\nname = \"r{host}\"\nmac = \"52:54:00:00:{:02x}:{:02x}\"\naddress = \"198.18.{}.{}\"\n",
            host / 256,
            host % 256,
            1 + host / 250,
            1 + host % 250
        );
        match host {
            700 => inventory += between,
            1400 => inventory += in_one,
            _ => {}
        }
    }
    inventory
}

/// Where in a text something stands first, as diagnostics say it.
fn place_of(text: &str, words: &str) -> (u32, u32) {
    let at = text.find(words).unwrap();
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
    (u32::try_from(line).unwrap(), u32::try_from(column).unwrap())
}

#[test]
fn a_long_inventory_is_read_in_pieces_and_what_is_wrong_stands_at_its_line() {
    let between = "[host.vars]\ndisk = \"/dev/sda\"\nmore = 1\n[profile.x]\ncmdline = [\"a\"]\n[[rule]]\nmatch = {}\n";
    for (between, in_one, words, said) in [
        (
            "",
            "adress = \"198.18.0.9\"\n",
            "adress",
            "unknown key `adress` in a host",
        ),
        ("", "uuid = \"7\"\n", "\"7\"", "is not a UUID"),
        (
            "",
            "serial = \"SN1\"\n[[host]]\nname = \"r3\"\nserial = \"SN2\"\n",
            "\"r3\"\nserial",
            "listed twice",
        ),
        ("[[rule]]\nmach = {}\n", "", "mach", "unknown key `mach`"),
        ("[profile.x]\ninherits = [\"y\"]\n", "", "\"y\"", "there is none"),
        // No TOML, in a host and elsewhere; and what is TOML in pieces alone.
        ("", "serial = SN1\n", "SN1", "not TOML"),
        ("[profile.x\n", "", "[profile.x\n", "not TOML"),
        (
            "[profile.x]\n[host.vars]\ndisk = 7\n",
            "disk = \n",
            "\n[[host]] # the next one\nname = \"r1401\"",
            "not TOML",
        ),
        (
            "",
            "vars = { note = \"\"\"a\n[[host]]\nname = \"b\"\n\"\"\" }\n",
            "\"\"\"a",
            "control character",
        ),
    ] {
        let inventory = long(between, in_one);
        let report = Room::new(&inventory).report();
        let (line, _) = place_of(&inventory, words);
        let is_it = |one: &Diagnostic| {
            one.message.contains(said) && one.place.is_some_and(|(at, _)| (line..=line + 1).contains(&at))
        };
        assert!(
            report.errors.iter().any(is_it),
            "{words} in line {line}: {}",
            shown(&report.errors)
        );
    }
    let snapshot = Room::new(&long(between, "locked = true\n")).compiled().snapshot;
    assert_eq!((snapshot.hosts.len(), snapshot.rules.len()), (1500, 1));
    let with_vars = snapshot.hosts.by_name("r700").unwrap();
    assert_eq!(with_vars.settings.vars.len(), 2);
    let (line, column) = place_of(&long(between, ""), "[[host]] # the next one\nname = \"r1499\"");
    let last = &snapshot.hosts.by_name("r1499").unwrap().origin;
    assert_eq!(
        (last.line, last.column),
        (line + 1, column),
        "one line more stands before it"
    );
    assert!(snapshot.hosts.by_name("r1400").unwrap().locked);
}
