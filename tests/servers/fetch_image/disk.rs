//! A disk image that comes over the network: an install knows as much of it as of one that was added.

use super::{
    place::{Place, ProgressLines, noise, request, sha256},
    server::{Server, answer},
};
use bootwright::images::{NewImage, add, catalogue::Remote, fetch::fetch};
use std::{fs, path::Path, process::Command};

const IMAGE_BYTES: usize = 9 * 1024 * 1024 + 5;

/// What an image's description says of its disk.
fn disk_of(folder: &Path) -> String {
    let description = fs::read_to_string(folder.join("image.toml")).unwrap();
    description[description.find("disk    = ").unwrap()..].to_owned()
}

#[test]
fn what_is_fetched_has_the_sums_that_image_add_writes_unless_they_are_not_wanted() {
    let place = Place::new();
    let raw = place.0.path().join("disk.raw");
    let mut image = noise(IMAGE_BYTES);
    // What firmware knows a disk by.
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&raw, image).unwrap();
    let packed = Command::new("gzip").arg("-k").arg(&raw).status().unwrap();
    assert!(packed.success());
    for (name, has_unpacked) in [("disk.raw", false), ("disk.raw.gz", true)] {
        let file = place.0.path().join(name);
        let bytes = fs::read(&file).unwrap();
        let sum = sha256(&bytes);
        let server = Server::start(move |_, _, stream| answer(stream, "200 OK", &[], &bytes));
        let fetched = |called: &str, disk_sums| {
            let mut request = request(String::new(), None);
            request.entry.kernel = None;
            request.entry.cmdline.clear();
            request.entry.disk = Some(Remote {
                url: format!("{}{name}", server.base),
                sha256: Some(sum),
                ..Remote::default()
            });
            request.name = called.parse().unwrap();
            request.replace = true;
            request.disk_sums = disk_sums;
            let added = fetch(&place.images(), &request, &ProgressLines::default()).unwrap();
            disk_of(&added.folder)
        };
        let added = NewImage {
            name: "added".parse().unwrap(),
            cpu: None,
            kernel: None,
            initrds: Vec::new(),
            disk: Some(file.as_path().into()),
            cmdline: Vec::new(),
            replace: true,
            disk_sums: true,
        };
        let added = disk_of(&add(&place.images(), &added).unwrap().folder);
        let whole = fetched("fetched", true);
        assert_eq!(whole, added);
        assert!(
            whole.contains("pieces = ") && whole.contains("unpacked = ") == has_unpacked,
            "{whole}"
        );
        let bare = fetched("bare", false);
        assert!(
            bare.contains("sha256") && !bare.contains("pieces") && !bare.contains("unpacked"),
            "{bare}"
        );
    }
}
