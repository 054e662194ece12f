//! What becomes of people's own scripts and answers: the template language's marks in shell text, the first
//! bytes that a loader or an installer goes by, and values that are secrets.

use super::*;

/// A host that boots `script` and has `api`, with `vars` behind.
fn room(more: &str) -> Room {
    Room::new(&host_with(&format!(
        "mac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.9\"\nimage = \"debian-12\"\nboot = \"live\"\n{more}"
    )))
}

fn with_answer(file: &str, text: &str) -> Room {
    let name = file.split(['/', '.']).next().unwrap();
    let room = room(&format!("script = \"live\"\nanswer = \"{name}\"\n"));
    room.write(&format!("answers/{file}"), text);
    room
}

/// One file of the host's answer, as it is served.
fn served_answer(room: &Room, answer: &str, file: &str) -> String {
    let snapshot = room.compiled().snapshot;
    let identity = Identity {
        mac: "52:54:00:00:00:07".parse().ok(),
        ..Identity::default()
    };
    let context = context(&snapshot, &identity);
    snapshot
        .templates
        .answer(&answer.parse().unwrap(), file, &context)
        .unwrap()
}

fn places(diagnostics: &[Diagnostic], file: &str) -> Vec<Option<(u32, u32)>> {
    let of_file = diagnostics.iter().filter(|one| one.file.ends_with(file));
    of_file.map(|one| one.place).collect()
}

#[test]
fn a_shells_length_is_refused_at_its_line_and_never_cut_out() {
    let args = "text\n%post\ndisks=(/dev/sd?)\necho \"found ${#disks[@]} disks\" >> /root/log\n\
                useradd admin\nlast() { echo \"${!#}\"; }\n%end\n";
    let open = "text\n%post\narr=(a b c)\necho \"number: ${#arr[@]}\"\n%end\n";
    for (text, place) in [(args, (4, 14)), (open, (4, 16))] {
        let report = with_answer("a.ks", text).report();
        assert_eq!(
            places(&report.errors, "a.ks"),
            [Some(place)],
            "{}",
            shown(&report.errors)
        );
        let help = report.errors[0].help.clone().unwrap_or_default();
        assert!(help.contains("{% raw %}"), "{help}");
        let way_out = format!("{{% raw %}}{text}{{% endraw %}}");
        assert_eq!(served_answer(&with_answer("a.ks", &way_out), "a", "a.ks"), text);
    }
}

#[test]
fn a_comment_over_several_lines_of_an_answer_is_warned_of_and_a_short_one_is_not() {
    let room = with_answer("a.sh", "{# mine #}\ntext\nawk '{# c\n}' #}\n");
    let warnings = room.compiled().warnings;
    assert_eq!(places(&warnings, "a.sh"), [Some((3, 6))], "{}", shown(&warnings));
}

#[test]
fn marks_of_other_languages_are_named_with_the_way_out() {
    for (text, place) in [
        ("%post\ndocker ps --format \"{{.Names}}\"\n", (2, 23)),
        ("#cloud-config\nfqdn: {{ v1.local_hostname }}.x\n", (2, 10)),
        ("a\nb {# c\nd\n", (2, 3)),
        ("{% if name %}\na\n", (1, 1)),
        ("a\n {% for x in dns %}\n{% if name %}b{% endif %}\n", (2, 2)),
        ("a\n{% raw %}\nb\n", (2, 1)),
    ] {
        let report = with_answer("a.ks", text).report();
        let reported = shown(&report.errors);
        assert_eq!(places(&report.errors, "a.ks"), [Some(place)], "{text}\n{reported}");
        assert!(reported.contains("{% raw %}"), "{reported}");
    }
    let reported = shown(&with_answer("a.ks", "x\n{% if name %}\n").report().errors);
    assert!(reported.contains("`{% if name %}` has no `{% endif %}`"), "{reported}");
}

#[test]
fn a_script_for_ipxe_begins_with_its_mark_once_it_is_rendered() {
    for (text, is_sound) in [
        ("#!ipxe\necho\n", true),
        ("\u{feff}#!ipxe\necho\n", true),
        ("{# mine #}\n#!ipxe\necho\n", true),
        ("#!ipxe\r\necho\r\n", true),
        ("\n#!ipxe\necho\n", false),
        ("echo no magic\n", false),
    ] {
        let room = room("script = \"own\"\n");
        room.write("scripts/own.ipxe", text);
        let report = room.report();
        assert_eq!(report.errors.is_empty(), is_sound, "{text:?} {}", shown(&report.errors));
        if is_sound {
            let served = script(&room.compiled().snapshot, "52:54:00:00:00:07", Firmware::Bios);
            assert_eq!(served, "#!ipxe\necho\n", "{text:?}");
        } else {
            assert_eq!(places(&report.errors, "own.ipxe"), [Some((1, 1))]);
        }
    }
    let room = Room::new(SUBNET);
    room.write("scripts/unknown.ipxe", "echo\n");
    assert_eq!(places(&room.report().errors, "unknown.ipxe"), [Some((1, 1))]);
}

#[test]
fn an_answer_goes_out_without_a_byte_order_mark_and_with_plain_line_ends() {
    let room = with_answer("seed/user-data", "\u{feff}#cloud-config\r\nhostname: {{ name }}\r\n");
    assert_eq!(
        served_answer(&room, "seed", "user-data"),
        "#cloud-config\nhostname: a\n"
    );
    let room = with_answer("win.cmd", "@echo off\r\n");
    assert_eq!(served_answer(&room, "win", "win.cmd"), "@echo off\r\n");
}

#[test]
fn an_answer_that_its_reader_would_pass_over_is_reported() {
    let room = with_answer("seed/user-data", "# mine\nhostname: a\n");
    assert_eq!(places(&room.compiled().warnings, "user-data"), [Some((1, 1))]);
    let report = with_answer("a.ign", "{ \"ignition\": {} ").report();
    assert_eq!(places(&report.errors, "a.ign"), [Some((1, 1))]);
}

#[test]
fn an_answer_that_its_installer_would_refuse_is_named_with_its_line_and_column() {
    let autoinstall = "#cloud-config\n{% if name %}\nautoinstall:\n  version: 2\n  identity: {}\n{% endif %}\n";
    for (file, text, place) in [
        ("seed/user-data", autoinstall, (4, 12)),
        ("a.yaml", "a: 1\nb: [\n", (2, 5)),
        ("a.ks", "text\n{% if name %}\n%post\n{% endif %}\necho\n", (3, 1)),
        ("a.ign", "{\"ignition\":\n{\"version\": \"1.0.0\"}}\n", (2, 2)),
        ("a.xml", "<?xml version=\"1.0\"?>\n<a>\n</b>\n", (3, 1)),
        ("a.toml", "[global]\ncountry = 7\n", (2, 11)),
        ("a.cfg", "d-i a/b string c\nd-i a/d\n", (2, 1)),
        ("a.json", "{\"product\": {},\n\"user\": {}}\n", (1, 2)),
    ] {
        let report = with_answer(file, text).report();
        let named = file.rsplit('/').next().unwrap();
        let reported = shown(&report.errors);
        assert_eq!(places(&report.errors, named), [Some(place)], "{file}\n{reported}");
    }
    // Where the rendered line is none of the file's own, the words say which it is.
    let report = with_answer("a.ks", "{{ name }} x\n%post\n%end\n{{ name }}'\n").compiled();
    let reported = shown(&report.warnings);
    assert_eq!(
        places(&report.warnings, "a.ks"),
        [Some((1, 1)), Some((1, 1))],
        "{reported}"
    );
    assert!(reported.contains("line 4, column 1 of the rendered text"), "{reported}");
}

/// A value that a template can't take is named by the template's word for it, at its column.
#[test]
fn a_refused_value_is_named_and_not_shown() {
    let secret = "$6$salt$abcdefgh hunter2";
    let room = room(&format!(
        "script = \"kickstart\"\nanswer = \"kickstart\"\n\
         vars = {{ disk = \"/dev/vda\", repository = \"http://192.0.2.1/r\", password_hash = \"{secret}\" }}\n"
    ));
    let report = room.report();
    let [error] = &report.errors[..] else {
        panic!("{}", shown(&report.errors));
    };
    let line = fs::read_to_string(room.path("answers/kickstart.ks")).unwrap();
    let (number, line) = line
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains("--password="))
        .unwrap();
    let column = line.find("vars.password_hash").unwrap() + 1;
    let place = (number + 1, column);
    assert_eq!(
        error.place.map(|(line, column)| (line as usize, column as usize)),
        Some(place)
    );
    assert!(
        error.message.contains("`vars.password_hash` can't be one argument"),
        "{error}"
    );
    for told in [
        error.to_string(),
        report.render(false),
        serde_json::to_string(error).unwrap(),
    ] {
        assert!(!told.contains("hunter2") && !told.contains("$6$"), "{told}");
    }
}

#[test]
fn no_report_shows_a_secret_of_the_inventory() {
    for wrong in [
        "vars = { password_hash = \"$6$salt$hunter2hash\", x = 2026-01-01 }",
        "vars = { token = \"hunter2\\n\" }",
        "adress = 1\nvars = { token = \"hunter2\" }",
        "vars = { root_password = \"hunter2\" }, ",
    ] {
        let report = Room::new(&host_with(&format!("serial = \"1\"\n{wrong}"))).report();
        let page = report.render(false) + &shown(&report.errors);
        assert!(!report.errors.is_empty() && !page.contains("hunter2"), "{page}");
    }
}

#[test]
fn an_apostrophe_in_an_ssh_key_stays_in_its_word() {
    let key = "ssh-ed25519 AAAA it's $HOME \\\"quoted\\\" #1";
    let room = room(&format!(
        "script = \"debian-installer\"\nanswer = \"preseed\"\nvars = {{ disk = \"/dev/vda\", ssh_keys = [\"{key}\"] }}\n"
    ));
    let text = served_answer(&room, "preseed", "preseed.cfg");
    let word = text.split("echo ").nth(1).unwrap().split(" >>").next().unwrap();
    let run = std::process::Command::new("sh")
        .args(["-c", &format!("printf %s {word}")])
        .output();
    assert_eq!(
        String::from_utf8(run.unwrap().stdout).unwrap(),
        "ssh-ed25519 AAAA it's $HOME \"quoted\" #1"
    );
}

#[test]
fn an_answers_own_folders_are_served_and_watched() {
    let room = with_answer("suse/autoinst.xml", "<?xml version=\"1.0\"?>\n<a/>\n");
    room.write(
        "answers/suse/rules/rules.xml",
        "<?xml version=\"1.0\"?>\n<{{ name }}/>\n",
    );
    room.write("answers/suse/classes/large/swap.xml", "<s/>\n");
    assert_eq!(
        served_answer(&room, "suse", "rules/rules.xml"),
        "<?xml version=\"1.0\"?>\n<a/>\n"
    );
    let loaded = room.compiled();
    let mut files = loaded.snapshot.templates.answers["suse"].clone();
    files.sort();
    assert_eq!(files, ["autoinst.xml", "classes/large/swap.xml", "rules/rules.xml"]);
    let folders = watched(&loaded.appliance, &room.path("bootwright.toml")).folders;
    assert!(
        folders.contains(&room.path("answers/suse/classes/large")),
        "{folders:?}"
    );
    room.write("answers/suse/1/2/3/4/5/x.xml", "<x/>\n");
    let warnings = room.compiled().warnings;
    assert_eq!(warnings.len(), 1, "{}", shown(&warnings));
    assert!(warnings[0].file.ends_with("suse/1/2/3/4/5"), "{}", warnings[0]);
}

#[test]
fn a_kernels_parameters_that_it_would_cut_off_are_warned_of_at_the_longest() {
    for (length, is_warned) in [(100, false), (5000, true)] {
        let inline = "A".repeat(length);
        let room = room(&format!(
            "script = \"live\"\ncmdline = [\"quiet\", \"talos.config.inline={inline}\"]\n"
        ));
        let warnings = room.compiled().warnings;
        let found = warnings.iter().filter(|one| one.message.contains("2047 bytes"));
        let places: Vec<_> = found.map(|one| one.place).collect();
        let wanted: &[Option<(u32, u32)>] = if is_warned { &[Some((12, 21))] } else { &[] };
        assert_eq!(places, wanted, "{}", shown(&warnings));
    }
}

#[test]
fn parameters_of_the_image_that_a_kernel_would_cut_off_are_warned_of_at_the_script() {
    let room = room("script = \"live\"\n");
    let manifest = fs::read_to_string(room.path("images/debian-12/image.toml")).unwrap();
    let long = manifest.replace("\"quiet\"", &format!("\"a={}\"", "A".repeat(5000)));
    room.write("images/debian-12/image.toml", &long);
    let warnings = room.compiled().warnings;
    let found = warnings.iter().filter(|one| one.message.contains("2047 bytes"));
    let places: Vec<_> = found.map(|one| one.place).collect();
    assert_eq!(places, [Some((11, 10))], "{}", shown(&warnings));
}

#[test]
fn an_empty_ignition_is_sound_and_any_other_empty_json_is_warned_of() {
    for (file, found) in [("a.ign", &[][..]), ("a.json", &[Some((1, 1))])] {
        let warnings = with_answer(file, "{% if vars.x is defined %}{}{% endif %}\n")
            .compiled()
            .warnings;
        assert_eq!(places(&warnings, file), found, "{}", shown(&warnings));
    }
}
