//! The names that artifacts get, and what a parameter means.

use super::names::artifact_name;
use super::*;
use crate::model::Name;

#[test]
fn an_artifacts_name_is_fit_for_a_url_whatever_the_file_is_called() {
    for (file, name) in [
        ("vmlinuz-6.1.0-18-amd64", "vmlinuz-6.1.0-18-amd64"),
        ("ubuntu 24.04 (1).iso", "ubuntu_24.04__1_.iso"),
        ("..", "file-"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("", "file-"),
        ("image.toml", "file-image.toml"),
        ("é", "file-"),
    ] {
        assert_eq!(artifact_name(file), name, "{file}");
        assert!(artifact_name(file).parse::<Name>().is_ok());
    }
    assert!(artifact_name(&"x".repeat(300)).parse::<Name>().is_ok());
}

#[test]
fn no_two_artifacts_have_the_same_name() {
    let mut names = ArtifactNames::default();
    let taken = ["initrd.gz", "gtk/initrd.gz", "a/b/initrd.gz"].map(|path| names.take(path));
    assert_eq!(taken, ["initrd.gz", "2-initrd.gz", "3-initrd.gz"]);
}

#[test]
fn what_means_the_medium_is_told_from_what_every_boot_needs() {
    for medium in [
        "file=/cdrom/preseed/ubuntu.seed",
        "preseed/file=/cdrom/simple-cdd/default.preseed",
        "root=live:CDLABEL=Fedora",
        "inst.stage2=hd:LABEL=Rocky",
        "iso-scan/filename=${iso_path}",
        "archisolabel=ARCH_202406",
        "---",
        "||",
        "quiet",
        "a\nb",
        "",
    ] {
        assert!(is_of_medium(medium), "{medium}");
    }
    for needed in [
        "boot=casper",
        "boot=live",
        "rd.live.image",
        "inst.stage2=http://192.0.2.1/tree",
        "console=ttyS0,115200",
        "root=/dev",
    ] {
        assert!(!is_of_medium(needed), "{needed}");
    }
}
