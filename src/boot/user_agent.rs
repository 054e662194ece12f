//! How clients react to a busy server, by their `User-Agent`: retry after a 503, or wait with the connection open.
//!
//! An image file may have to be waited for. A client that retries after a 503 with `Retry-After` gets
//! one: that holds no connection. For most programs a 503 is the end: live-boot, busybox and wget give up, and so the
//! machine does not boot. Those wait with their connection open instead. A program that no row names is
//! treated the same way, because waiting does no harm.
//!
//! `curl` has no row. dracut's would come back, three times and no more, and one that a person or a script
//! runs does not; their names are the same.

/// How a program takes it that a file is not to be had yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryBehaviour {
    /// It obeys a 503 with `Retry-After`, as often as it takes.
    Retries,
    /// It waits for the answer.
    Waits,
    /// It waits for the answer's body, but not for long, and for its head a few seconds only.
    WaitsForBody,
}

/// Names as they begin. All were seen to do so, but for `UefiHttpBoot`: EDK2 waits 5 s for a head
/// (`HTTP_RESPONSE_TIMEOUT` in its HttpDxe), and GRUB fetches through it under that name too. GRUB's own
/// HTTP waits half a minute for either, and systemd-pull a minute.
const ROWS: [(&str, RetryBehaviour); 5] = [
    ("iPXE/", RetryBehaviour::Retries),
    ("Cloud-Init/", RetryBehaviour::Retries),
    ("UefiHttpBoot/", RetryBehaviour::WaitsForBody),
    ("GRUB ", RetryBehaviour::WaitsForBody),
    ("systemd-pull/", RetryBehaviour::WaitsForBody),
];

/// The manner of who says that it is `user_agent`.
pub fn retry_behaviour(user_agent: Option<&[u8]>) -> RetryBehaviour {
    let name = user_agent.unwrap_or_default();
    let begins = |row: &&(&str, RetryBehaviour)| {
        let beginning = name.get(..row.0.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(row.0.as_bytes()))
    };
    ROWS.iter()
        .find(begins)
        .map_or(RetryBehaviour::Waits, |(_, retry_behaviour)| *retry_behaviour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_to_come_back_is_told_to() {
        for (name, expected) in [
            ("iPXE/1.0.0+git-20190125.36a4c85-5.1", RetryBehaviour::Retries),
            ("iPXE/2.0.0", RetryBehaviour::Retries),
            ("Cloud-Init/26.2", RetryBehaviour::Retries),
            ("UefiHttpBoot/1.0", RetryBehaviour::WaitsForBody),
            ("GRUB 2.12-9+deb13u4", RetryBehaviour::WaitsForBody),
            ("Wget", RetryBehaviour::Waits),
            ("Wget/1.25.0", RetryBehaviour::Waits),
            ("debian-installer", RetryBehaviour::Waits),
            ("curl/8.14.1", RetryBehaviour::Waits),
            ("systemd-pull/262.1-1", RetryBehaviour::WaitsForBody),
            ("Python-urllib/3.13", RetryBehaviour::Waits),
            ("GRUBBY/1", RetryBehaviour::Waits),
            ("iPXE", RetryBehaviour::Waits),
        ] {
            assert_eq!(retry_behaviour(Some(name.as_bytes())), expected, "{name}");
        }
        assert_eq!(retry_behaviour(None), RetryBehaviour::Waits);
        assert_eq!(retry_behaviour(Some(b"\xff\xfe")), RetryBehaviour::Waits);
    }
}
