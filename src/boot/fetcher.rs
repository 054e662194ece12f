//! Programs that fetch files, by the name they give themselves: what each does when it is told to come back.
//!
//! An image file may have to be waited for. Who comes back after a 503 with `Retry-After` is told to: that
//! holds no connection. For most programs a 503 is the end: live-boot, busybox and wget give up, and so the
//! machine does not boot. They wait with their connection open instead. A program that no row names is one
//! of those, because waiting harms nobody.
//!
//! `curl` has no row. dracut's would come back, three times and no more, and one that a person or a script
//! runs does not; their names are the same.

/// How a program takes it that a file is not to be had yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It obeys a 503 with `Retry-After`, as often as it takes.
    ComesBack,
    /// It waits for the answer.
    Waits,
    /// It waits for the answer's body, but not for long, and for its head a few seconds only.
    WaitsForBody,
}

/// Names as they begin. All were seen to do so, but for `UefiHttpBoot`: EDK2 waits 5 s for a head
/// (`HTTP_RESPONSE_TIMEOUT` in its HttpDxe), and GRUB fetches through it under that name too. GRUB's own
/// HTTP waits half a minute for either, and systemd-pull a minute.
const ROWS: [(&str, Manner); 5] = [
    ("iPXE/", Manner::ComesBack),
    ("Cloud-Init/", Manner::ComesBack),
    ("UefiHttpBoot/", Manner::WaitsForBody),
    ("GRUB ", Manner::WaitsForBody),
    ("systemd-pull/", Manner::WaitsForBody),
];

/// The manner of who says that it is `user_agent`.
pub fn manner(user_agent: Option<&[u8]>) -> Manner {
    let name = user_agent.unwrap_or_default();
    let begins = |row: &&(&str, Manner)| {
        let beginning = name.get(..row.0.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(row.0.as_bytes()))
    };
    ROWS.iter().find(begins).map_or(Manner::Waits, |(_, manner)| *manner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_to_come_back_is_told_to() {
        for (name, expected) in [
            ("iPXE/1.0.0+git-20190125.36a4c85-5.1", Manner::ComesBack),
            ("iPXE/2.0.0", Manner::ComesBack),
            ("Cloud-Init/26.2", Manner::ComesBack),
            ("UefiHttpBoot/1.0", Manner::WaitsForBody),
            ("GRUB 2.12-9+deb13u4", Manner::WaitsForBody),
            ("Wget", Manner::Waits),
            ("Wget/1.25.0", Manner::Waits),
            ("debian-installer", Manner::Waits),
            ("curl/8.14.1", Manner::Waits),
            ("systemd-pull/262.1-1", Manner::WaitsForBody),
            ("Python-urllib/3.13", Manner::Waits),
            ("GRUBBY/1", Manner::Waits),
            ("iPXE", Manner::Waits),
        ] {
            assert_eq!(manner(Some(name.as_bytes())), expected, "{name}");
        }
        assert_eq!(manner(None), Manner::Waits);
        assert_eq!(manner(Some(b"\xff\xfe")), Manner::Waits);
    }
}
