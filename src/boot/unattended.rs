//! Installers that go on without a question, known by their parameters in a rendered script, whoever wrote it: where a
//! machine boots one at every power-on, its disk is erased each time.

use crate::model::text;

/// Parameters by which installers go on without a question, as globs, and whose they are. Talos is not
/// among them: it leaves a disk alone that it is installed on.
const UNATTENDED: [(&str, &str); 11] = [
    ("auto=true", "Debian's installer"),
    ("auto-install/enable=true", "Debian's installer"),
    ("preseed/url=*", "Debian's installer"),
    ("autoinstall", "Ubuntu's installer"),
    ("inst.ks=*", "Anaconda with a kickstart"),
    ("inst.ks.*", "Anaconda with a kickstart"),
    ("coreos.inst.install_dev=*", "the installer of Fedora CoreOS"),
    ("autoyast=*", "AutoYaST"),
    ("inst.auto=*", "Agama"),
    ("proxmox-start-auto-installer", "Proxmox' installer"),
    ("harvester.install.automatic=true", "Harvester's installer"),
];

/// The first parameter by which an installer would ask nothing, and whose it is.
pub fn unattended(script: &str) -> Option<(&str, &'static str)> {
    let words = script
        .lines()
        .filter(|line| !is_for_people(line))
        .flat_map(str::split_whitespace);
    words.map(|word| word.trim_matches(['\'', '"'])).find_map(|word| {
        let row = UNATTENDED.iter().find(|(pattern, _)| text::glob(pattern, word))?;
        Some((word, row.1))
    })
}

/// Whether a line is for people alone: a comment, or words for the console.
pub fn is_for_people(line: &str) -> bool {
    let line = line.trim_start();
    let first = line.split_whitespace().next().unwrap_or_default();
    line.starts_with('#') || line.starts_with("//") || matches!(first, "echo" | "SAY" | "say")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_that_asks_nothing_is_known_by_its_parameters_in_every_language() {
        let installers = [
            (
                "kernel --name linux http://192.0.2.1/linux auto=true url=x || goto failed",
                "Debian's installer",
            ),
            (
                "if linux /image/i/vmlinuz 'autoinstall' 'ds=nocloud;s=x'; then",
                "Ubuntu's installer",
            ),
            (
                "  APPEND inst.ks=http://192.0.2.1/a ip=dhcp",
                "Anaconda with a kickstart",
            ),
            (
                "kernel vmlinuz coreos.inst.install_dev=/dev/sda",
                "the installer of Fedora CoreOS",
            ),
        ];
        for (script, installer) in installers {
            assert_eq!(unattended(script).map(|found| found.1), Some(installer), "{script}");
        }
        for script in [
            "echo no autoinstall here",
            "# auto=true",
            "kernel vmlinuz root=live:http://192.0.2.1/x ip=dhcp",
            "kernel vmlinuz autoinstalled no-auto=true ignition.config.url=x",
        ] {
            assert_eq!(unattended(script), None, "{script}");
        }
    }
}
