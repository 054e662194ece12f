//! The files that the soak's operator edits: what is sound in them, by a stamp that each edit raises, and
//! the slips of which each must be refused.

use super::acts::Edited;
use super::hosts::{HOSTS, REAL};
use std::fmt::Write;

/// How long a lease lasts: a soak sees many of them end.
pub const LEASE_S: u64 = 600;

/// The files as they are to be.
pub struct Files {
    settings: String,
    /// The edits of the inventory, the script and the answer.
    pub inventory: u32,
    pub script: u32,
    pub answer: u32,
}

impl Files {
    pub fn new(settings: String) -> Files {
        Files {
            settings,
            inventory: 1,
            script: 1,
            answer: 1,
        }
    }

    /// Where a file lies in the room.
    pub fn path(file: Edited) -> &'static str {
        match file {
            Edited::Inventory => "inventory.toml",
            Edited::Script => "scripts/soak.ipxe",
            Edited::ServerReply => "answers/soak.cfg",
            Edited::Settings => "bootwright.toml",
        }
    }

    /// A new sound version of a file.
    pub fn edit(&mut self, file: Edited) -> String {
        match file {
            Edited::Inventory => self.inventory += 1,
            Edited::Script => self.script += 1,
            Edited::ServerReply => self.answer += 1,
            Edited::Settings => {}
        }
        self.compiled(file)
    }

    /// The version that is meant to be in force.
    pub fn compiled(&self, file: Edited) -> String {
        match file {
            Edited::Inventory => self.inventory_text(),
            Edited::Script => format!(
                "#!ipxe\necho {{{{ name }}}} of inventory {{{{ vars.stamp }}}} by script {}\n\
                 kernel {{{{ image.kernel }}}} url={{{{ answer.url }}}}\nboot\n",
                self.script
            ),
            Edited::ServerReply => format!(
                "{{{{ name }}}} of inventory {{{{ vars.stamp }}}} by answer {}\n",
                self.answer
            ),
            Edited::Settings => self.settings.clone(),
        }
    }

    /// The line that a host's script says.
    pub fn script_line(&self, host: &str) -> String {
        format!("echo {host} of inventory {} by script {}", self.inventory, self.script)
    }

    /// A host's answer.
    pub fn answer_text(&self, host: &str) -> String {
        format!("{host} of inventory {} by answer {}\n", self.inventory, self.answer)
    }

    fn inventory_text(&self) -> String {
        let mut text = format!(
            "[[subnet]]\ncidr = \"198.18.0.0/16\"\nrouter = \"198.18.0.1\"\n\
             pool = [\"198.18.1.0-198.18.63.255\"]\nlease = \"{LEASE_S}s\"\n\n\
             [[subnet]]\ncidr = \"198.19.0.0/16\"\npool = [\"198.19.1.0-198.19.63.255\"]\nlease = \"{LEASE_S}s\"\n\n\
             [profile.fleet]\nimage = \"small\"\nboot = \"live\"\nscript = \"live\"\n\n\
             [[rule]]\nmatch = {{ arch = \"x86_64\" }}\nprofile = \"fleet\"\n\n\
             [profile.listed]\nimage = \"small\"\nboot = \"live\"\nscript = \"soak\"\nanswer = \"soak\"\n\
             vars = {{ stamp = {} }}\n",
            self.inventory
        );
        for host in HOSTS.iter().chain([&REAL]) {
            let (name, mac, address) = (host.name(), host.mac(), host.address());
            write!(
                text,
                "\n[[host]]\nname = \"{name}\"\nmac = \"{mac}\"\naddress = \"{address}\"\nprofile = \"listed\"\n"
            )
            .expect("a String takes every write");
        }
        text
    }

    /// A version that must be refused, by the number of its slip.
    pub fn spoilt(&self, file: Edited, kind: u32) -> String {
        let compiled = self.compiled(file);
        let host = |rest: &str| format!("{compiled}\n[[host]]\nname = \"slip\"\n{rest}\n");
        let slips = match file {
            Edited::Inventory => vec![
                host("mac = \"02:00:00:00:00:99\"\naddress = \"192.0.2.99\""),
                host("mac = \"02:00:00:00:00:99\"\ncolour = \"red\""),
                host(&format!("mac = \"{}\"", HOSTS[0].mac())),
                host("mac = \"02:00:00:00:00:99\"\nprofile = \"lsited\""),
                format!("{compiled}\n[[host]\nname = \"half"),
            ],
            Edited::Script => vec![
                compiled.replace("{{ name }}", "{{ nam }}"),
                format!("{compiled}{{% if name %}}\n"),
                format!("{compiled}{{{{ name | nothing }}}}\n"),
            ],
            Edited::ServerReply => vec![
                format!("{compiled}{{{{ vars.missing }}}}\n"),
                format!("{compiled}{{% for host in %}}\n"),
            ],
            Edited::Settings => vec![
                compiled.replace("mode = \"dhcp\"", "mode = \"dhcp"),
                format!("{compiled}\n[http]\nport = \"eighty\"\n"),
                format!("{compiled}\n[htpp]\nport = 80\n"),
            ],
        };
        slips[kind as usize % slips.len()].clone()
    }
}
