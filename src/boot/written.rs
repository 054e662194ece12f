//! Every setting of a host, a profile or a rule as people write it, and where it was written.

use crate::boot::snapshot::{BLACKED_OUT, BootSettings, Host, Origin, Sourced, Var};
use crate::model::text;
use std::fmt::{Display, Write};

/// One setting as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSetting {
    /// Its key, as the inventory has it.
    pub key: String,
    /// Its value, as nearly as it was written; of a secret where it comes from.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
}

/// Collects what is written.
struct WrittenRows(Vec<WrittenSetting>);

impl WrittenRows {
    fn add(&mut self, key: &str, value: impl Display, origin: &Origin) {
        self.0.push(WrittenSetting::of(key, value, origin));
    }

    fn add_some<T: Display>(&mut self, key: &str, value: Option<&Sourced<T>>) {
        if let Some(Sourced { value, origin }) = value {
            self.add(key, value, origin);
        }
    }
}

/// A variable as TOML would nearly have it.
struct ShownVar<'a>(&'a Var);

impl Display for ShownVar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Var::Secret(secret) => secret.source.fmt(f),
            other => f.write_str(&serde_json::to_string(other).unwrap_or_default()),
        }
    }
}

impl WrittenSetting {
    /// One that is written there.
    pub fn of(key: &str, value: impl Display, origin: &Origin) -> WrittenSetting {
        let mut shown = String::new();
        // Writing to a String cannot fail.
        let _ = write!(shown, "{value}");
        WrittenSetting {
            key: key.into(),
            value: shown,
            origin: origin.clone(),
        }
    }

    /// The same for people to see: what is called a secret is blacked out, and what crypt(3) makes of a password.
    #[must_use]
    pub fn blacked_out(self) -> WrittenSetting {
        let is_hidden = text::names_secret(&self.key) || text::holds_secret(&self.value);
        // Where a secret comes from is none; a text of that beginning is in quotes.
        match is_hidden && !self.value.starts_with("secret in ") {
            true => WrittenSetting {
                value: BLACKED_OUT.into(),
                ..self
            },
            false => self,
        }
    }
}

/// What settings say, a row each: of lists a row each entry.
pub fn written_settings(settings: &BootSettings) -> Vec<WrittenSetting> {
    let BootSettings {
        boot,
        image,
        script,
        answer,
        loaders,
        cmdline,
        options,
        install_timeout,
        disk,
        grow,
        after,
        vars,
    } = settings;
    let mut written = WrittenRows(Vec::new());
    written.add_some("boot", boot.as_ref());
    written.add_some("image", image.as_ref());
    written.add_some("script", script.as_ref());
    written.add_some("answer", answer.as_ref());
    for loader in loaders {
        written.add_some("loader", Some(loader));
    }
    for parameter in cmdline {
        written.add_some("cmdline", Some(parameter));
    }
    for (code, option) in options {
        let always = if option.value.always { " (always)" } else { "" };
        let body = text::escape(&option.value.body);
        let shown = format_args!("{body}{always}");
        written.add(&["option ", &code_digits(*code)].concat(), shown, &option.origin);
    }
    if let Some(time) = install_timeout {
        written.add(
            "install_timeout",
            format_args!("{}s", time.value.as_secs()),
            &time.origin,
        );
    }
    written.add_some("disk", disk.as_deref());
    written.add_some("grow", grow.as_ref());
    written.add_some("after", after.as_ref());
    for (key, var) in vars {
        written.add(&["vars.", key].concat(), ShownVar(&var.value), &var.origin);
    }
    written.0
}

/// What names a host, and its address: the place of each is the host's.
pub fn written_identity(host: &Host) -> Vec<WrittenSetting> {
    let mut written = WrittenRows(Vec::new());
    for mac in &host.macs {
        written.add("mac", mac, &host.origin);
    }
    for link in &host.links {
        written.add("mac", link, &host.origin);
    }
    let mut add = |key: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            written.add(key, value, &host.origin);
        }
    };
    add("uuid", host.uuid.as_ref().map(|uuid| uuid as &dyn Display));
    add("serial", host.serial.as_ref().map(|serial| serial as &dyn Display));
    add("port", host.port.as_ref().map(|port| port as &dyn Display));
    add("address", host.address.as_ref().map(|address| address as &dyn Display));
    add(
        "hostname",
        host.hostname.as_ref().map(|hostname| hostname as &dyn Display),
    );
    if host.locked {
        written.add("locked", true, &host.origin);
    }
    written.0
}

fn code_digits(code: u8) -> String {
    let mut digits = String::new();
    // Writing to a String cannot fail.
    let _ = write!(digits, "{code}");
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::snapshot::{Secret, SecretSource};
    use crate::fixtures::sourced;

    #[test]
    fn a_secret_and_what_is_called_one_are_not_shown() {
        let secret = Secret::new(SecretSource::File("/etc/s/root".into()), Some("hunter2".into()));
        let settings = BootSettings {
            vars: [
                ("a_secret".to_owned(), sourced(Var::Secret(secret))),
                ("root_password".to_owned(), sourced(Var::Text("hunter2".to_owned()))),
                ("verse".to_owned(), sourced(Var::Text("$6$hunter2".to_owned()))),
            ]
            .into(),
            ..BootSettings::default()
        };
        let values: Vec<String> = written_settings(&settings)
            .into_iter()
            .map(|row| row.blacked_out().value)
            .collect();
        assert_eq!(values, ["secret in /etc/s/root", BLACKED_OUT, BLACKED_OUT]);
    }
}
