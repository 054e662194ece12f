//! Folders and ISOs to import from, and a folder of images to import into.

use bootwright::images::{self, FoundImage, ImageChoice, NewImage, found_in};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

pub struct Shelf(TempDir);

impl Shelf {
    pub fn new() -> Shelf {
        Shelf(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn images(&self) -> PathBuf {
        self.path("images")
    }

    /// A folder with these files.
    pub fn folder(&self, files: &[(&str, Vec<u8>)]) -> PathBuf {
        let folder = self.path("tree");
        for (file, bytes) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// An ISO of these files with Rock Ridge and Joliet, as distributions make them.
    pub fn iso(&self, files: &[(&str, Vec<u8>)]) -> PathBuf {
        self.iso_with(files, &["-R", "-J", "-joliet-long"])
    }

    pub fn iso_with(&self, files: &[(&str, Vec<u8>)], options: &[&str]) -> PathBuf {
        let folder = self.folder(files);
        let iso = self.path("medium.iso");
        pack(&folder, &iso, options);
        iso
    }

    /// What the images' folder shows and hides.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.images()).into_iter().flatten().map(Result::unwrap);
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright"));
        command
            .current_dir(self.0.path())
            .args(["image", "add"])
            .args(arguments);
        command.args(["--images", "images"]);
        command
    }

    pub fn add(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

pub fn pack(folder: &Path, iso: &Path, options: &[&str]) {
    let packed = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-V", "BOOTWRIGHT"])
        .args(options)
        .arg("-o")
        .args([iso, folder])
        .output()
        .expect("xorriso is installed by tests/install-packages.sh");
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
}

/// The header of an x86_64 kernel, and a word that tells one from another.
pub fn kernel(word: &str) -> Vec<u8> {
    let mut bytes = vec![0; 3000];
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&[0x0F, 0x02]);
    bytes[0x236] = 1;
    bytes.extend(word.as_bytes());
    bytes
}

/// The header of an arm64 kernel.
pub fn arm64_kernel() -> Vec<u8> {
    let mut bytes = vec![0; 5000];
    bytes[0x38..0x3C].copy_from_slice(b"ARM\x64");
    bytes
}

pub fn text(words: &str) -> Vec<u8> {
    words.as_bytes().to_vec()
}

pub fn found(source: &Path) -> FoundImage {
    found_in(source, &ImageChoice::default()).unwrap()
}

/// Makes an image of what was found, as the command does.
pub fn add(images: &Path, found: &FoundImage) -> Result<images::Added, images::ImageError> {
    let new = NewImage {
        name: "it".parse().unwrap(),
        cpu: found.cpu,
        kernel: Some(found.kernel.content.clone()),
        initrds: found.initrds.iter().map(|initrd| initrd.content.clone()).collect(),
        disk: found.disk.as_ref().map(|disk| disk.content.clone()),
        cmdline: found.cmdline.clone(),
        replace: true,
        disk_sums: true,
    };
    images::add(images, &new)
}

pub fn output(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
