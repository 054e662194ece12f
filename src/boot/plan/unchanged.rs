//! Hosts that are the same in two generations, whatever line they stand on by now: nothing about them is to be said, and
//! nothing need be rendered to find that out. Of a hundred thousand an edit touches a few.

use super::next_boots;
use crate::boot::{
    arming::KnownInstalls,
    snapshot::{BootSettings, Host, Snapshot, Sourced},
};
use std::collections::HashSet;

/// The names of the hosts that are the same, and boot the same next; none where anything differs that hosts share.
pub(super) fn unchanged<'n>(before: &Snapshot, now: &'n Snapshot, installs: &KnownInstalls) -> HashSet<&'n str> {
    if !share_the_same(before, now) {
        return HashSet::new();
    }
    let (mut arming, _) = installs.after_taking(now);
    let boots_now = next_boots(before, &mut installs.arming(), installs.date);
    let boots_then = next_boots(now, &mut arming, installs.date);
    let is_same = |host: &Host| {
        let name = host.name.as_str();
        let former = before.hosts.by_name(name);
        former.is_some_and(|former| is_same_host(former, host)) && boots_now.get(name) == boots_then.get(name)
    };
    let hosts = now.hosts.iter().filter(|host| is_same(host));
    hosts.map(|host| host.name.as_str()).collect()
}

/// Whether all is the same that a host's texts may be made of beside its own values.
fn share_the_same(before: &Snapshot, now: &Snapshot) -> bool {
    let shared = |snapshot: &Snapshot| {
        let Snapshot {
            generation: _,
            ports,
            syslog,
            subnets,
            hosts: _,
            rules,
            unknown,
            images,
            live,
            loaders,
            quirks,
            templates: _,
            kept_texts: _,
        } = snapshot;
        format!("{ports:?}{syslog}{subnets:?}{rules:?}{unknown:?}{images:?}{live}{loaders:?}{quirks:?}")
    };
    before.templates.are_those_of(&now.templates) && shared(before) == shared(now)
}

/// Whether everything is the same that is said of a host.
fn is_same_host(one: &Host, other: &Host) -> bool {
    let Host {
        name,
        macs,
        links,
        uuid,
        serial,
        port,
        hostname,
        address,
        locked,
        settings,
        origin: _,
    } = one;
    (name, macs, links, uuid) == (&other.name, &other.macs, &other.links, &other.uuid)
        && (serial, port, hostname) == (&other.serial, &other.port, &other.hostname)
        && (address, locked) == (&other.address, &other.locked)
        && say_the_same(settings, &other.settings)
}

fn say_the_same(one: &BootSettings, other: &BootSettings) -> bool {
    fn same<T: PartialEq>(one: &Option<Sourced<T>>, other: &Option<Sourced<T>>) -> bool {
        one.as_ref().map(|one| &one.value) == other.as_ref().map(|other| &other.value)
    }
    fn all_same<T: PartialEq>(one: &[Sourced<T>], other: &[Sourced<T>]) -> bool {
        one.iter()
            .map(|one| &one.value)
            .eq(other.iter().map(|other| &other.value))
    }
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
    } = one;
    let option = |options: &BootSettings| -> Vec<_> {
        let all = options.options.iter();
        all.map(|(code, option)| (*code, option.value.clone())).collect()
    };
    same(boot, &other.boot)
        && same(image, &other.image)
        && same(script, &other.script)
        && same(answer, &other.answer)
        && all_same(loaders, &other.loaders)
        && all_same(cmdline, &other.cmdline)
        && (options.is_empty() && other.options.is_empty() || option(one) == option(other))
        && same(install_timeout, &other.install_timeout)
        && disk.as_ref().map(|disk| &disk.value) == other.disk.as_ref().map(|disk| &disk.value)
        && same(grow, &other.grow)
        && same(after, &other.after)
        && vars
            .iter()
            .map(|(key, var)| (key, &var.value))
            .eq(other.vars.iter().map(|(key, var)| (key, &var.value)))
}
