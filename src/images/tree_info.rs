//! What a medium says of itself: `.treeinfo` of the Fedora family and SUSE, `.disk/info` of Debian's.

use super::tree::Tree;
use crate::model::{Cpu, limits::BOOT_MENU_BYTES_MAX};

/// The parts of a `.treeinfo` that name what boots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TreeInfo {
    /// Such as `Rocky Linux 9.4`.
    pub(super) name: String,
    pub(super) cpu: Option<Cpu>,
    /// Kernels, each with its initrd.
    pub(super) images: Vec<(String, Option<String>)>,
}

impl TreeInfo {
    pub(super) fn of(tree: &Tree) -> Option<TreeInfo> {
        [".treeinfo", "treeinfo"]
            .iter()
            .find_map(|path| head(tree, path))
            .map(|text| TreeInfo::read(&text))
    }

    /// Sections of `key = value`; the first value of a key counts.
    fn read(text: &str) -> TreeInfo {
        let mut sections: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                sections.push((section, Vec::new()));
            } else if let (Some((_, keys)), Some((key, value))) = (sections.last_mut(), line.split_once('=')) {
                keys.push((key.trim(), value.trim()));
            }
        }
        fn value<'t>(keys: &[(&'t str, &'t str)], wanted: &str) -> Option<&'t str> {
            let found = keys.iter().find(|(key, value)| *key == wanted && !value.is_empty());
            found.map(|(_, value)| value.trim_start_matches('/'))
        }
        let of = |section: &str, key: &str| {
            let found = sections.iter().find(|(name, _)| *name == section);
            found.and_then(|(_, keys)| value(keys, key))
        };
        let arch = of("general", "arch").or(of("tree", "arch")).unwrap_or_default();
        let family = [of("general", "family"), of("general", "version")];
        let images = sections
            .iter()
            .filter(|(name, _)| name.strip_prefix("images-") == Some(arch));
        TreeInfo {
            name: match of("general", "name") {
                Some(name) => name.to_owned(),
                None => family.into_iter().flatten().collect::<Vec<_>>().join(" "),
            },
            cpu: Cpu::from_name(arch),
            images: images
                .filter_map(|(_, keys)| {
                    Some((
                        value(keys, "kernel")?.to_owned(),
                        value(keys, "initrd").map(str::to_owned),
                    ))
                })
                .collect(),
        }
    }
}

/// The first line of Debian's and Ubuntu's own label.
pub(super) fn disk_info(tree: &Tree) -> Option<String> {
    let text = head(tree, ".disk/info")?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn head(tree: &Tree, path: &str) -> Option<String> {
    let head = tree.file(path)?.head(BOOT_MENU_BYTES_MAX).ok()?;
    Some(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_names_its_kernel_and_what_it_is_for() {
        let text = "[general]\nname = Rocky Linux 9.4\nfamily = Rocky Linux\nversion = 9.4\narch = aarch64\n\n\
                    [images-aarch64]\nkernel = images/pxeboot/vmlinuz\ninitrd = images/pxeboot/initrd.img\n\
                    [images-xen]\nkernel = images/xen/vmlinuz\n[variant-BaseOS]\nid=BaseOS";
        let info = TreeInfo::read(text);
        assert_eq!((info.name.as_str(), info.cpu), ("Rocky Linux 9.4", Some(Cpu::Arm64)));
        let named = (
            "images/pxeboot/vmlinuz".to_owned(),
            Some("images/pxeboot/initrd.img".to_owned()),
        );
        assert_eq!(info.images, [named]);
        assert_eq!(TreeInfo::read("no\n[section\nkey = value"), TreeInfo::default());
    }
}
